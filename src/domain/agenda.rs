//! Which lane's tasks start next, and when to look again: concurrency limited per destination host, fair among
//! accounts, without asking the database about lanes that have nothing due.
//!
//! A lane is `account@host`. The agenda knows for each lane when its next task is due: never later than the truth, at
//! times earlier (then a claim finds nothing and corrects it).

use std::collections::HashMap;

/// Most attempts under way at once on one node.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Altogether.
    pub total: usize,
    /// To one destination host; so the most in one lane, too.
    pub per_host: usize,
}

impl Limits {
    /// One account may take three quarters of all, so that others always find room.
    fn per_owner(self) -> usize {
        (self.total * 3 / 4).max(1)
    }
}

/// What is due, and what runs.
#[derive(Debug)]
pub struct Agenda {
    limits: Limits,
    lanes: HashMap<String, Lane>,
    hosts: HashMap<String, usize>,
    owners: HashMap<String, usize>,
    running: usize,
    /// Counts claims, to serve first the lane that waited longest.
    turn: u64,
}

#[derive(Debug, Default)]
struct Lane {
    due: Option<i64>,
    running: usize,
    served: u64,
}

/// Most lanes in one claim, so that one transaction stays short.
const MOST_PICKS: usize = 64;

impl Agenda {
    /// An agenda that knows of nothing.
    pub fn new(limits: Limits) -> Self {
        Self { limits, lanes: HashMap::new(), hosts: HashMap::new(), owners: HashMap::new(), running: 0, turn: 0 }
    }

    /// A task of this lane is due at this time, in milliseconds. True if that is earlier than anything known of the lane.
    pub fn note(&mut self, lane: &str, run_at: i64) -> bool {
        if !self.lanes.contains_key(lane) {
            self.lanes.insert(lane.to_owned(), Lane::default());
        }
        match self.lanes.get_mut(lane) {
            Some(known) if known.due.is_none_or(|due| run_at < due) => {
                known.due = Some(run_at);
                true
            }
            _ => false,
        }
    }

    /// The lanes to claim from now, and how many tasks of each. They count as having nothing due until `claimed`.
    pub fn picks(&mut self, now: i64) -> Vec<(String, i64)> {
        let mut due: Vec<(usize, u64, String)> = self
            .lanes
            .iter()
            .filter(|(name, lane)| lane.due.is_some_and(|due| due <= now) && self.room(name, lane) > 0)
            .map(|(name, lane)| (lane.running, lane.served, name.clone()))
            .collect();
        due.sort_unstable();
        due.truncate(MOST_PICKS);
        let mut free = self.limits.total.saturating_sub(self.running);
        let share = free.div_ceil(due.len().max(1)).max(1);
        let mut planned = Planned::default();
        let mut picks = Vec::new();
        for (_, _, name) in due {
            let Some(lane) = self.lanes.get(&name) else { continue };
            let (owner, host) = parts(&name);
            let most = self.room(&name, lane).min(share).min(free);
            let most = most.min(planned.left(&self.owners, owner, self.limits.per_owner(), true));
            let most = most.min(planned.left(&self.hosts, host, self.limits.per_host, false));
            if most == 0 {
                continue;
            }
            planned.take(owner, host, most);
            free -= most;
            self.turn += 1;
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.served = self.turn;
                lane.due = None;
            }
            picks.push((name, i64::try_from(most).unwrap_or(i64::MAX)));
        }
        picks
    }

    /// A claim gave so many tasks of a lane, whose next one is due at `next_due`.
    pub fn claimed(&mut self, name: &str, count: usize, next_due: Option<i64>) {
        if let Some(due) = next_due {
            self.note(name, due);
        }
        if count == 0 {
            self.forget_if_idle(name);
            return;
        }
        let (owner, host) = parts(name);
        *self.hosts.entry(host.to_owned()).or_default() += count;
        *self.owners.entry(owner.to_owned()).or_default() += count;
        self.lanes.entry(name.to_owned()).or_default().running += count;
        self.running += count;
    }

    /// One task of a lane no longer runs.
    pub fn ended(&mut self, name: &str) {
        let (owner, host) = parts(name);
        lower(&mut self.hosts, host);
        lower(&mut self.owners, owner);
        self.running = self.running.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(name) {
            lane.running = lane.running.saturating_sub(1);
        }
        self.forget_if_idle(name);
    }

    /// When the next task is due that there is room for. `None`: only a new task or the end of a running one can help.
    pub fn next_wake(&self) -> Option<i64> {
        self.lanes
            .iter()
            .filter(|(name, lane)| lane.due.is_some() && self.room(name, lane) > 0)
            .filter_map(|(_, lane)| lane.due)
            .min()
    }

    fn room(&self, name: &str, lane: &Lane) -> usize {
        let (owner, host) = parts(name);
        let left = |limit: usize, used: usize| limit.saturating_sub(used);
        left(self.limits.per_host, lane.running)
            .min(left(self.limits.per_host, self.hosts.get(host).copied().unwrap_or(0)))
            .min(left(self.limits.per_owner(), self.owners.get(owner).copied().unwrap_or(0)))
            .min(left(self.limits.total, self.running))
    }

    fn forget_if_idle(&mut self, name: &str) {
        if self.lanes.get(name).is_some_and(|lane| lane.due.is_none() && lane.running == 0) {
            self.lanes.remove(name);
        }
    }
}

/// What one round of picks has promised, so that lanes of one host or account do not get more together than each alone.
#[derive(Default)]
struct Planned {
    owners: HashMap<String, usize>,
    hosts: HashMap<String, usize>,
}

impl Planned {
    fn left(&self, running: &HashMap<String, usize>, key: &str, limit: usize, owner: bool) -> usize {
        let planned = if owner { &self.owners } else { &self.hosts };
        let used = running.get(key).copied().unwrap_or(0) + planned.get(key).copied().unwrap_or(0);
        limit.saturating_sub(used)
    }

    fn take(&mut self, owner: &str, host: &str, count: usize) {
        *self.owners.entry(owner.to_owned()).or_default() += count;
        *self.hosts.entry(host.to_owned()).or_default() += count;
    }
}

/// The name of the lane of an account's tasks to a host.
pub fn lane(owner: &str, host: &str) -> String {
    format!("{owner}@{host}")
}

fn parts(lane: &str) -> (&str, &str) {
    lane.split_once('@').unwrap_or((lane, ""))
}

fn lower(counts: &mut HashMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agenda() -> Agenda {
        Agenda::new(Limits { total: 8, per_host: 4 })
    }

    /// Claims everything that is picked, as if each lane had tasks without end.
    fn fill(agenda: &mut Agenda, now: i64) -> Vec<(String, i64)> {
        let mut all = Vec::new();
        loop {
            let picks = agenda.picks(now);
            if picks.is_empty() {
                return all;
            }
            for (lane, most) in picks {
                agenda.claimed(&lane, usize::try_from(most).unwrap(), Some(0));
                all.push((lane, most));
            }
        }
    }

    #[test]
    fn nothing_is_picked_before_it_is_due() {
        let mut agenda = agenda();
        assert!(agenda.note("ann@a", 100));
        assert!(!agenda.note("ann@a", 200), "later than known");
        assert!(agenda.picks(99).is_empty());
        assert_eq!(agenda.next_wake(), Some(100));
        assert_eq!(agenda.picks(100), [("ann@a".to_owned(), 4)]);
        assert_eq!(agenda.next_wake(), None, "picked lanes have nothing due until the claim says so");
        agenda.claimed("ann@a", 1, Some(200));
        assert_eq!(agenda.next_wake(), Some(200));
    }

    #[test]
    fn a_note_during_a_claim_is_kept() {
        let mut agenda = agenda();
        agenda.note("ann@a", 100);
        agenda.picks(100);
        agenda.note("ann@a", 101);
        agenda.claimed("ann@a", 1, None);
        assert_eq!(agenda.next_wake(), Some(101));
    }

    #[test]
    fn a_hanging_host_leaves_room_for_others() {
        let mut agenda = agenda();
        agenda.note("ann@hangs", 0);
        fill(&mut agenda, 10);
        assert_eq!(agenda.running, 4);
        assert_eq!(agenda.next_wake(), None, "no room at that host");
        agenda.note("ann@works", 0);
        assert_eq!(fill(&mut agenda, 10), [("ann@works".to_owned(), 2)], "an account leaves a quarter to others");
        agenda.note("bob@works", 0);
        assert!(!fill(&mut agenda, 10).is_empty());
    }

    #[test]
    fn accounts_share_a_host_in_turn() {
        let mut agenda = agenda();
        agenda.note("ann@a", 0);
        fill(&mut agenda, 0);
        agenda.note("bob@a", 5);
        assert!(agenda.picks(10).is_empty(), "the host is full");
        agenda.ended("ann@a");
        assert_eq!(agenda.picks(10), [("bob@a".to_owned(), 1)], "who runs least comes first");
    }

    #[test]
    fn lanes_of_one_host_never_exceed_it_together() {
        let mut agenda = agenda();
        for owner in ["ann", "bob", "cid", "dan", "eve", "fay"] {
            agenda.note(&lane(owner, "a"), 0);
        }
        fill(&mut agenda, 0);
        assert_eq!(agenda.running, 4);
    }

    #[test]
    fn an_idle_lane_is_forgotten() {
        let mut agenda = agenda();
        agenda.note("ann@a", 0);
        agenda.picks(0);
        agenda.claimed("ann@a", 1, None);
        agenda.ended("ann@a");
        assert!(agenda.lanes.is_empty() && agenda.hosts.is_empty() && agenda.owners.is_empty());
    }
}
