//! So many of something in so much time for each of many, such as mails to an address.

use std::collections::HashMap;
use std::hash::Hash;

use super::time::Timestamp;

/// Entries that are kept; beyond it, those that have ended go, and then all.
const MOST: usize = 20_000;

/// What one node remembers.
#[derive(Debug)]
pub struct Allowance<K> {
    most: u32,
    window_ms: i64,
    /// How many were taken, and when the first of them.
    taken: HashMap<K, (u32, Timestamp)>,
}

impl<K: Hash + Eq> Allowance<K> {
    /// So many within so many milliseconds.
    pub fn new(most: u32, window_ms: i64) -> Self {
        Self { most, window_ms, taken: HashMap::new() }
    }

    /// Takes one.
    ///
    /// # Errors
    /// How many milliseconds to wait until there are more.
    pub fn take(&mut self, key: K, now: Timestamp) -> Result<(), i64> {
        let over = |since: Timestamp, window_ms| now.0 - since.0 >= window_ms || now < since;
        if self.taken.len() >= MOST {
            let window_ms = self.window_ms;
            self.taken.retain(|_, (_, since)| !over(*since, window_ms));
            if self.taken.len() >= MOST {
                self.taken.clear();
            }
        }
        let (count, since) = self.taken.entry(key).or_insert((0, now));
        if over(*since, self.window_ms) {
            (*count, *since) = (0, now);
        }
        if *count >= self.most {
            return Err(since.0 + self.window_ms - now.0);
        }
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_window_for_each() {
        let mut mails = Allowance::new(2, 1000);
        let (at, a, b) = (Timestamp, 50_000, 50_001);
        assert_eq!([mails.take(a, at(0)), mails.take(a, at(10)), mails.take(b, at(10))], [Ok(()); 3]);
        assert_eq!((mails.take(a, at(10)), mails.take(a, at(999))), (Err(990), Err(1)));
        assert_eq!((mails.take(a, at(1000)), mails.take(a, at(5))), (Ok(()), Ok(())), "a clock that was set back");
        for n in 0..50_000 {
            mails.take(n, at(2000)).unwrap();
        }
        assert!(mails.taken.len() <= MOST);
    }
}
