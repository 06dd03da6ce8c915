//! Tasks that are claimed before there is a place for them, so that a lane whose deliveries go quickly need not ask the
//! database for every few of them.
//!
//! How many it holds of a lane follows from how fast they went: none until a lane has shown that it flows, and none any
//! more once some had to be given back. A task in stock counts as running, and cannot be revoked: it must be gone soon.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Most and fewest tasks of a flowing lane that one claim takes ahead.
pub const MOST_AHEAD: usize = 512;
const FEWEST: usize = 8;
/// A lane flows if what one claim gave was used up within so many milliseconds.
const FLOWS_MS: i64 = 100;

/// What is claimed ahead, by lane.
#[derive(Debug)]
pub struct Stock<T> {
    shelves: HashMap<Arc<str>, Shelf<T>>,
    /// The shelves with tasks, in the order of their times. With a long line of lanes there are many more shelves.
    filled: BTreeSet<(i64, Arc<str>)>,
    held: usize,
    /// Most tasks of all lanes together.
    most: usize,
}

#[derive(Debug)]
struct Shelf<T> {
    tasks: VecDeque<T>,
    /// When they were claimed, in milliseconds.
    since: i64,
    /// Whether that claim left more behind, as like as not.
    more: bool,
    /// How many the next claim may take ahead.
    ahead: usize,
}

/// What is left of a lane that is due now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// More, in stock or in the database as like as not.
    Some,
    /// Nothing that is known of.
    Unknown,
}

impl<T> Stock<T> {
    /// An empty one, for at most so many tasks.
    pub fn new(most: usize) -> Self {
        Self { shelves: HashMap::new(), filled: BTreeSet::new(), held: 0, most }
    }

    /// How many tasks of a lane to claim beyond those that can start.
    pub fn ahead(&self, lane: &str) -> usize {
        self.shelves.get(lane).map_or(0, |shelf| shelf.ahead).min(self.most.saturating_sub(self.held))
    }

    /// How many to claim now although there are some: the shelf of a lane that flows is more than half empty.
    pub fn refill(&self, lane: &str) -> Option<usize> {
        let shelf = self.shelves.get(lane).filter(|shelf| shelf.more && shelf.tasks.len() * 2 <= shelf.ahead)?;
        Some(self.ahead(lane)).filter(|ahead| shelf.ahead > 0 && *ahead > 0)
    }

    /// Whether nothing of this lane is here.
    pub fn is_dry(&self, lane: &str) -> bool {
        self.shelves.get(lane).is_none_or(|shelf| shelf.tasks.is_empty())
    }

    /// Puts away what a claim gave; `more` if it gave all that it was asked for.
    pub fn put(&mut self, lane: &str, tasks: impl IntoIterator<Item = T>, more: bool, now: i64) {
        let name = self.shelves.get_key_value(lane).map_or_else(|| lane.into(), |(name, _)| name.clone());
        let fresh = || Shelf { tasks: VecDeque::new(), since: i64::MIN, more, ahead: 0 };
        let shelf = self.shelves.entry(name.clone()).or_insert_with(fresh);
        let flows = (0..=FLOWS_MS).contains(&now.saturating_sub(shelf.since));
        shelf.ahead = if flows { (shelf.ahead * 2).clamp(FEWEST, MOST_AHEAD) } else { 0 };
        self.filled.remove(&(shelf.since, name.clone()));
        let before = shelf.tasks.len();
        shelf.tasks.extend(tasks);
        self.held += shelf.tasks.len() - before;
        (shelf.since, shelf.more) = (now, more);
        if !shelf.tasks.is_empty() {
            self.filled.insert((now, name));
        }
        self.left(lane);
    }

    /// Up to so many tasks of a lane, those first that were claimed first.
    pub fn take(&mut self, lane: &str, most: usize) -> (Vec<T>, Left) {
        let Some(shelf) = self.shelves.get_mut(lane) else { return (Vec::new(), Left::Unknown) };
        let taken: Vec<T> = shelf.tasks.drain(..most.min(shelf.tasks.len())).collect();
        self.held -= taken.len();
        if shelf.tasks.is_empty() && !taken.is_empty() {
            self.filled.remove(&(shelf.since, lane.into()));
        }
        (taken, self.left(lane))
    }

    /// When the task was claimed that has been here longest.
    pub fn oldest(&self) -> Option<i64> {
        self.filled.first().map(|(since, _)| *since)
    }

    /// Everything that was claimed at this time or before it: its lanes do not flow any more.
    pub fn give_up(&mut self, until: i64) -> Vec<T> {
        let mut given_up = Vec::new();
        while let Some((since, _)) = self.filled.first()
            && *since <= until
            && let Some((_, lane)) = self.filled.pop_first()
            && let Some(shelf) = self.shelves.get_mut(&lane)
        {
            shelf.ahead = 0;
            given_up.extend(shelf.tasks.drain(..));
            self.left(&lane);
        }
        self.held -= given_up.len();
        given_up
    }

    /// What is left of a lane; one with nothing is forgotten.
    fn left(&mut self, lane: &str) -> Left {
        match self.shelves.get(lane) {
            Some(shelf) if shelf.more || !shelf.tasks.is_empty() => Left::Some,
            _ => {
                self.shelves.remove(lane);
                Left::Unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A claim of a lane without end, of which some can start; answers how many it took ahead.
    fn claim(stock: &mut Stock<u32>, lane: &str, now: i64) -> usize {
        let ahead = stock.ahead(lane);
        let numbers = 0..u32::try_from(ahead).unwrap();
        stock.put(lane, numbers, true, now);
        ahead
    }

    fn use_up(stock: &mut Stock<u32>, lane: &str) {
        while !stock.take(lane, 5).0.is_empty() {}
    }

    #[test]
    fn a_lane_that_flows_is_claimed_ahead_more_and_more() {
        let mut stock = Stock::new(1000);
        let mut taken = Vec::new();
        for round in 0..10 {
            taken.push(claim(&mut stock, "a", round * 50));
            use_up(&mut stock, "a");
        }
        assert_eq!(taken, [0, 0, 8, 16, 32, 64, 128, 256, 512, 512]);
        assert_eq!(claim(&mut stock, "b", 500), 0, "another lane");
        assert_eq!(claim(&mut stock, "a", 650), 512);
        use_up(&mut stock, "a");
        assert_eq!(claim(&mut stock, "a", 651), 0, "the claim before took long to be used up");
    }

    #[test]
    fn a_shelf_is_refilled_when_it_is_half_empty() {
        let mut stock = Stock::new(600);
        assert_eq!(stock.refill("a"), None);
        for now in 0..9 {
            claim(&mut stock, "a", now);
            assert_eq!(stock.is_dry("a"), now < 2);
            use_up(&mut stock, "a");
        }
        claim(&mut stock, "a", 9);
        stock.take("a", 255);
        assert_eq!((stock.held, stock.refill("a")), (257, None));
        stock.take("a", 1);
        assert_eq!(stock.refill("a"), Some(344), "no more than there is room for");
        stock.put("a", [], false, 10);
        assert_eq!(stock.refill("a"), None, "the database has no more");
    }

    #[test]
    fn the_clock_going_back_is_no_flow() {
        let mut stock = Stock::new(1000);
        claim(&mut stock, "a", 100);
        claim(&mut stock, "a", 50);
        assert_eq!(stock.ahead("a"), 0);
    }

    #[test]
    fn what_is_given_up_comes_once_and_ends_the_flow() {
        let mut stock = Stock::new(1000);
        for now in 0..3 {
            claim(&mut stock, "a", now);
        }
        assert_eq!(stock.oldest(), Some(2));
        assert!(stock.give_up(1).is_empty(), "too young");
        assert_eq!(stock.give_up(2), (0..8).collect::<Vec<_>>());
        assert_eq!((stock.oldest(), stock.ahead("a"), stock.held), (None, 0, 0));
        assert_eq!(stock.take("a", 9), (vec![], Left::Some), "the database has more");
    }

    #[test]
    fn a_lane_of_which_nothing_is_left_is_forgotten() {
        let mut stock = Stock::new(1000);
        stock.put("a", [], false, 0);
        assert!(stock.shelves.is_empty());
        stock.put("a", [], true, 0);
        stock.put("a", [1, 2], false, 1);
        assert_eq!(stock.take("a", 1), (vec![1], Left::Some));
        assert_eq!(stock.take("a", 1), (vec![2], Left::Unknown));
        assert!(stock.shelves.is_empty());
        stock.put("b", [3], false, 0);
        assert_eq!(stock.give_up(0), [3]);
        assert!(stock.shelves.is_empty());
    }

    proptest! {
        /// Nothing is lost or doubled, no lane's tasks change their order, and the bound holds.
        #[test]
        fn what_goes_in_comes_out_once(steps in proptest::collection::vec((0..3_usize, 0..100_usize, 0..200_i64), 0..60)) {
            let lanes = ["a", "b", "c"];
            let mut stock = Stock::new(100);
            let (mut next, mut now) = (0, 0);
            let mut seen = [-1, -1, -1_i64];
            let mut out = 0;
            for (lane, most, later) in steps {
                now += later;
                let (taken, _) = stock.take(lanes[lane], most);
                if taken.is_empty() {
                    let ahead = stock.ahead(lanes[lane]);
                    // What there was room for comes with it.
                    let fresh: Vec<_> = (next..).take(ahead + most).map(|number| (lane, number)).collect();
                    next += i64::try_from(ahead + most).unwrap();
                    stock.put(lanes[lane], fresh, most > 20, now);
                }
                let given_up = if later > 180 { stock.give_up(now - 150) } else { Vec::new() };
                for (of, number) in taken.into_iter().chain(given_up) {
                    prop_assert!(number > seen[of]);
                    seen[of] = number;
                    out += 1;
                }
                prop_assert!(lanes.iter().all(|lane| stock.held + stock.ahead(lane) <= stock.held.max(100)));
                prop_assert_eq!(stock.held, stock.shelves.values().map(|shelf| shelf.tasks.len()).sum::<usize>());
                let filled = stock.shelves.iter().filter(|(_, shelf)| !shelf.tasks.is_empty());
                let filled: BTreeSet<_> = filled.map(|(lane, shelf)| (shelf.since, lane.clone())).collect();
                prop_assert_eq!(&filled, &stock.filled);
                prop_assert_eq!(next, out + i64::try_from(stock.held).unwrap());
            }
        }
    }
}
