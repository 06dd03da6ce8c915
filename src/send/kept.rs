//! How many connections to channels stay open for the next attempts. The client's pool bounds them for each host, and
//! forgets none for a minute: whoever pushes to a new host each time would have it hold all the connections that the
//! process may have.
//!
//! So each attempt asks for a place in the pool, of which there are a fixed number for all hosts. One without a place is
//! sent over a connection that ends with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The places in the pool, by origin.
pub(super) struct Kept {
    most: usize,
    /// How long the pool holds an unused connection, at most.
    held: Duration,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    origins: HashMap<Arc<str>, Origin>,
    /// The places of all origins.
    places: usize,
    looked: Option<Instant>,
}

/// What is known of one origin.
struct Origin {
    /// Attempts that have a place.
    under_way: usize,
    /// As many connections may be open, used or not.
    places: usize,
    /// Most attempts at once since `since`: what the pool has besides has not been used since.
    most: usize,
    since: Instant,
}

/// An attempt's place. It stays with the origin, since the connection may stay open even if the attempt did not end well.
pub(super) struct Place {
    kept: Arc<Kept>,
    origin: Arc<str>,
    leaves: bool,
}

impl Kept {
    pub(super) fn new(most: usize, held: Duration) -> Self {
        Self { most, held, table: Mutex::default() }
    }

    /// A place for an attempt, if there is one: one of the origin's, else a new one.
    pub(super) fn place(self: &Arc<Self>, origin: &str, now: Instant) -> Option<Place> {
        let mut table = self.lock();
        let has_own = table.origins.get(origin).is_some_and(|origin| origin.under_way < origin.places);
        if !has_own {
            if table.places >= self.most {
                table.forget_unused(self.held, now);
            }
            if table.places >= self.most {
                return None;
            }
            table.places += 1;
        }
        let name = match table.origins.get_key_value(origin) {
            Some((name, _)) => Arc::clone(name),
            None => {
                let name: Arc<str> = origin.into();
                let unused = Origin { under_way: 0, places: 0, most: 0, since: now };
                table.origins.insert(Arc::clone(&name), unused);
                name
            }
        };
        if let Some(origin) = table.origins.get_mut(&name) {
            origin.places += usize::from(!has_own);
            origin.under_way += 1;
            origin.most = origin.most.max(origin.under_way);
        }
        drop(table);
        Some(Place { kept: Arc::clone(self), origin: name, leaves: false })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Takes back the places of connections that the pool has closed by now. Looks at all origins, so not at each attempt.
    fn forget_unused(&mut self, held: Duration, now: Instant) {
        let between = held / 60;
        if self.looked.is_some_and(|looked| now.duration_since(looked) < between) {
            return;
        }
        self.looked = Some(now);
        for origin in self.origins.values_mut() {
            if now.duration_since(origin.since) >= held {
                origin.places = origin.most;
                origin.most = origin.under_way;
                origin.since = now;
            }
        }
        self.forget_empty();
    }

    fn forget_empty(&mut self) {
        self.origins.retain(|_, origin| origin.places > 0);
        self.places = self.origins.values().map(|origin| origin.places).sum();
    }
}

impl Place {
    /// No connection was made.
    pub(super) fn leave(mut self) {
        self.leaves = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.kept.lock();
        let Some(origin) = table.origins.get_mut(&self.origin) else { return };
        origin.under_way -= 1;
        if self.leaves {
            origin.places -= 1;
            let is_empty = origin.places == 0;
            table.places -= 1;
            if is_empty {
                table.origins.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELD: Duration = Duration::from_secs(60);

    fn kept(most: usize) -> Arc<Kept> {
        Arc::new(Kept::new(most, HELD))
    }

    fn count(kept: &Kept) -> (usize, usize) {
        let table = kept.lock();
        assert_eq!(table.places, table.origins.values().map(|origin| origin.places).sum::<usize>());
        (table.places, table.origins.len())
    }

    #[test]
    fn there_are_so_many_places_and_no_more() {
        let now = Instant::now();
        let kept = kept(3);
        let (one, two) = (kept.place("a", now).unwrap(), kept.place("a", now).unwrap());
        let three = kept.place("b", now).unwrap();
        assert!(kept.place("c", now).is_none() && kept.place("a", now).is_none());
        drop(one);
        let again = kept.place("a", now).expect("the one that is left there");
        again.leave();
        drop(kept.place("c", now).expect("there was no connection"));
        assert!(kept.place("d", now).is_none(), "it may still be open");
        drop((two, three));
        assert_eq!(count(&kept), (3, 3));
    }

    #[test]
    fn who_cannot_be_reached_takes_no_place() {
        let now = Instant::now();
        let kept = kept(2);
        for number in 0..100 {
            kept.place(&number.to_string(), now).expect("the one before is gone").leave();
        }
        assert_eq!(count(&kept), (0, 0));
    }

    #[test]
    fn places_of_connections_that_were_closed_come_back() {
        let mut now = Instant::now();
        let kept = kept(4);
        let places: Vec<_> = (0..3).map(|_| kept.place("busy", now).unwrap()).collect();
        drop(places);
        drop(kept.place("once", now).unwrap());
        assert!(kept.place("new", now).is_none());
        now += HELD;
        // Three at once were open in this time, and are looked at from now on.
        assert!(kept.place("new", now).is_none());
        drop(kept.place("busy", now).unwrap());
        now += HELD;
        drop(kept.place("new", now).expect("one of those that were not used"));
        assert_eq!(count(&kept), (2, 2), "one each of busy and new");
    }

    #[test]
    fn an_attempt_that_is_under_way_keeps_its_place() {
        let mut now = Instant::now();
        let kept = kept(1);
        let slow = kept.place("slow", now).unwrap();
        for _ in 0..5 {
            now += HELD;
            assert!(kept.place("new", now).is_none());
        }
        drop(slow);
        now += HELD;
        assert!(kept.place("new", now).is_none(), "it was used at the beginning of this time");
        now += HELD;
        assert!(kept.place("new", now).is_some());
    }
}
