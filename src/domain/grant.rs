//! What one node may let through of a limit that several share, without asking for each. Whatever all hold is counted as
//! used already, so that together they never pass it.

use super::time::Timestamp;

/// How long a grant is good for. What is left of it then is given up, for others to have.
const LASTS_MS: i64 = 1000;

/// So many that were granted, and are good for a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    left: u32,
    /// How many were granted at a time.
    size: u32,
    given_at: Timestamp,
}

impl Grant {
    /// Nothing is granted yet.
    pub fn none(now: Timestamp) -> Self {
        Self { left: 0, size: 0, given_at: now }
    }

    /// Takes so many out of it, if it has them and is still good.
    pub fn take(&mut self, count: u32, now: Timestamp) -> bool {
        let takes = count <= self.left && !self.has_ended(now);
        if takes {
            self.left -= count;
        }
        takes
    }

    /// How many to ask for, to have at least `count` and at most `most` where that is more: twice as many as last time if
    /// they were used up at once, else no more than needed.
    pub fn to_ask(&self, count: u32, most: u32, now: Timestamp) -> u32 {
        let doubled = if self.has_ended(now) { 0 } else { self.size.saturating_mul(2) };
        doubled.min(most).max(count)
    }

    /// Takes in what was granted. What was left of one that had ended is good again.
    pub fn add(&mut self, count: u32, now: Timestamp) {
        *self = Self { left: self.left.saturating_add(count), size: count, given_at: now };
    }

    /// No more was to be had: the next time no more than needed is asked for.
    pub fn refused(&mut self) {
        self.size = 0;
    }

    /// Puts back what was taken and then not used.
    pub fn put_back(&mut self, count: u32) {
        self.left = self.left.saturating_add(count);
    }

    /// How many are left.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Gives up what is left of one that is no longer good, or of any with `all`.
    pub fn give_up(&mut self, all: bool, now: Timestamp) -> u32 {
        if all || self.has_ended(now) { std::mem::take(&mut self.left) } else { 0 }
    }

    /// A clock that was set back ends it as well.
    fn has_ended(&self, now: Timestamp) -> bool {
        !(0..LASTS_MS).contains(&(now.0 - self.given_at.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_grow_while_they_are_used_up_and_end_when_they_are_not() {
        let at = |ms: i64| Timestamp(1_800_000_000_000 + ms);
        let mut grant = Grant::none(at(0));
        assert_eq!((grant.take(1, at(0)), grant.to_ask(1, 100, at(0))), (false, 1));
        for (ms, asked) in [(0, 1), (1, 2), (2, 4), (3, 8), (4, 10), (5, 10)] {
            assert_eq!(grant.to_ask(1, 10, at(ms)), asked, "no more than the most");
            grant.add(asked, at(ms));
            assert!((0..asked).all(|_| grant.take(1, at(ms))) && !grant.take(1, at(ms)));
        }
        assert_eq!(grant.to_ask(25, 10, at(6)), 25, "what is needed, at any rate");
        grant.refused();
        assert_eq!(grant.to_ask(1, 10, at(6)), 1);

        grant.add(5, at(10));
        assert!(grant.take(2, at(1009)) && !grant.take(4, at(1009)));
        assert_eq!((grant.give_up(false, at(1009)), grant.left()), (0, 3));
        grant.put_back(1);
        assert!(!grant.take(1, at(1010)) && !grant.take(1, at(9)), "too late, and before its time");
        assert_eq!((grant.to_ask(1, 10, at(1010)), grant.give_up(false, at(1010)), grant.left()), (1, 4, 0));
        grant.add(3, at(2000));
        grant.add(3, at(4500));
        assert_eq!((grant.give_up(true, at(4500)), grant.give_up(true, at(4500))), (6, 0));
    }
}
