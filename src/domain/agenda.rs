//! Which lane's tasks start next, and when to look again: concurrency limited per destination host, fair among
//! accounts, without asking the database about lanes that have nothing due.
//!
//! A lane is `account@host`. The agenda knows for each lane when its next task is due: never later than the truth, at
//! times earlier (then a claim finds nothing and corrects it). However many lanes there are, a round looks at those that
//! it picks and at few others: lanes that are not due stand in the order of their times, those that are due with their
//! account, and those that only lack a place at their host with the host.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Most attempts under way at once on one node.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Altogether.
    pub total: usize,
    /// To one destination host.
    pub per_host: usize,
}

impl Limits {
    /// How many an account may run while others run so many: three quarters of what they leave. However many accounts
    /// hang, the next one finds room.
    fn of_owner(self, others: usize) -> usize {
        (self.total.saturating_sub(others) * 3 / 4).max(1)
    }

    /// The same for a lane among those of its host, so that accounts whose requests hang leave room at a host that all
    /// use. Rounded up: of two or three places at a host none can be held back.
    fn of_lane(self, others: usize) -> usize {
        (self.per_host.saturating_sub(others) * 3).div_ceil(4)
    }
}

/// Lanes or accounts that wait for their turn: what runs least comes first, then what was served longest ago.
type Queue = BTreeSet<(usize, u64, Arc<str>)>;

/// What to claim of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Its name.
    pub lane: String,
    /// How many tasks.
    pub most: i64,
    /// None that waits is due before this time, in milliseconds.
    pub since: i64,
}

/// A claim has found what was due so long before it, in milliseconds. What is committed later, or becomes due again, is told
/// by whoever commits it; the margin is for what is committed at the same time.
const SETTLED_MS: i64 = 1000;

impl Ask {
    /// Whether a claim that gave so many tasks leaves more behind, as like as not.
    pub fn is_filled(&self, given: usize) -> bool {
        i64::try_from(given).is_ok_and(|given| given >= self.most)
    }

    /// From when on to look again, after a claim that gave everything due up to a time.
    pub fn since_after(&self, up_to: i64) -> i64 {
        up_to.saturating_sub(SETTLED_MS).max(self.since)
    }

    /// Up to so many tasks of a lane, whenever they are due.
    pub fn any(lane: &str, most: i64) -> Self {
        Self { lane: lane.to_owned(), most, since: i64::MIN }
    }
}

/// What is due, and what runs.
#[derive(Debug, Clone)]
pub struct Agenda {
    limits: Limits,
    lanes: HashMap<Arc<str>, Lane>,
    /// Lanes whose next task is due at a time.
    timers: BTreeSet<(i64, Arc<str>)>,
    owners: HashMap<Arc<str>, Owner>,
    /// Accounts with lanes that are ready.
    queue: Queue,
    /// Only hosts at which something runs or waits for a place.
    hosts: HashMap<Arc<str>, Host>,
    /// Hosts that may have a place for a lane that waits for one.
    open: BTreeSet<Arc<str>>,
    running: usize,
    /// Counts picks, to serve first what waited longest.
    turn: u64,
}

#[derive(Debug, Clone)]
struct Lane {
    place: Place,
    running: usize,
    served: u64,
    /// When the first task is due that is known of and not being claimed.
    since: i64,
}

impl Default for Lane {
    fn default() -> Self {
        Self { place: Place::Nowhere, running: 0, served: 0, since: i64::MAX }
    }
}

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing is known to be due, or it is being claimed.
    Nowhere,
    /// Among the timers.
    Timer(i64),
    /// With its account.
    Ready,
    /// With its host, which is full for it.
    Parked,
}

#[derive(Debug, Clone, Default)]
struct Owner {
    running: usize,
    served: u64,
    ready: Queue,
}

#[derive(Debug, Clone, Default)]
struct Host {
    running: usize,
    parked: Queue,
}

/// Most lanes in one claim, so that one transaction stays short: whoever comes meanwhile waits for its end.
pub const MOST_PICKS: usize = 16;

impl Agenda {
    /// An agenda that knows of nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            timers: BTreeSet::new(),
            owners: HashMap::new(),
            queue: Queue::new(),
            hosts: HashMap::new(),
            open: BTreeSet::new(),
            running: 0,
            turn: 0,
        }
    }

    /// A task of this lane is due at this time, in milliseconds. True if that is earlier than anything known of the lane.
    pub fn note(&mut self, lane: &str, run_at: i64) -> bool {
        let name = match self.lanes.get_key_value(lane) {
            Some((name, _)) => name.clone(),
            None => {
                let name: Arc<str> = lane.into();
                self.lanes.insert(name.clone(), Lane::default());
                name
            }
        };
        let Some(known) = self.lanes.get_mut(lane) else { return false };
        known.since = known.since.min(run_at);
        match known.place {
            Place::Ready | Place::Parked => return false,
            Place::Timer(due) if due <= run_at => return false,
            Place::Timer(due) => {
                self.timers.remove(&(due, name.clone()));
            }
            Place::Nowhere => {}
        }
        known.place = Place::Timer(run_at);
        self.timers.insert((run_at, name));
        true
    }

    /// As `note`, for a task that is not to be tried before `until`.
    pub fn defer(&mut self, lane: &str, run_at: i64, until: i64) -> bool {
        let news = self.note(lane, run_at.max(until));
        if let Some(known) = self.lanes.get_mut(lane) {
            known.since = known.since.min(run_at);
        }
        news
    }

    /// What to claim now. The lanes count as having nothing due until `claimed`.
    pub fn picks(&mut self, now: i64) -> Vec<Ask> {
        while let Some((due, _)) = self.timers.first()
            && *due <= now
            && let Some((_, lane)) = self.timers.pop_first()
        {
            self.make_ready(&lane);
        }
        for host in std::mem::take(&mut self.open) {
            self.unpark(&host);
        }
        let free = self.limits.total.saturating_sub(self.running);
        let share = free.div_ceil(self.ready_lanes().clamp(1, MOST_PICKS)).max(1);
        let mut picked: Vec<(Arc<str>, usize, i64)> = Vec::new();
        while picked.len() < MOST_PICKS && self.running < self.limits.total {
            if let Some((lane, room)) = self.best() {
                let most = room.min(share);
                let since = self.pick(&lane, most);
                picked.push((lane, most, since));
            } else if let Some(host) = self.open.pop_first() {
                self.unpark(&host);
            } else {
                break;
            }
        }
        // They count as running once they are claimed.
        for (lane, most, _) in &picked {
            self.count(lane, 0, *most);
        }
        let ask = |(lane, most, since): (Arc<str>, usize, i64)| {
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            Ask { lane: lane.to_string(), most, since }
        };
        picked.into_iter().map(ask).collect()
    }

    /// Takes a place for a task that is due as it is made, if nothing waits for that place; false if it has to wait.
    pub fn admit(&mut self, lane: &str, now: i64) -> bool {
        let (_, host) = parts(lane);
        let waits = match self.lanes.get(lane).map(|lane| lane.place) {
            Some(Place::Ready | Place::Parked) => true,
            Some(Place::Timer(due)) => due <= now,
            Some(Place::Nowhere) | None => false,
        };
        let others_wait = !self.queue.is_empty() || self.hosts.get(host).is_some_and(|host| !host.parked.is_empty());
        if waits || others_wait || self.room(lane) == 0 {
            return false;
        }
        self.claimed(lane, 1, None);
        true
    }

    /// How many tasks of a lane may start now.
    pub fn room(&self, lane: &str) -> usize {
        self.lane_room(lane).min(self.owner_room(parts(lane).0))
    }

    /// A claim gave so many tasks of a lane, whose next one is due at `next_due` or later.
    pub fn claimed(&mut self, name: &str, count: usize, next_due: Option<i64>) {
        if let Some(due) = next_due {
            self.note(name, due);
        }
        if count > 0 && !self.lanes.contains_key(name) {
            self.lanes.insert(name.into(), Lane::default());
        }
        self.count(name, count, 0);
        self.forget_if_idle(name);
    }

    /// One task of a lane no longer runs.
    pub fn ended(&mut self, name: &str) {
        self.count(name, 0, 1);
        self.forget_if_idle(name);
    }

    /// When the next task is due that is not yet. Whatever is due already and was not picked waits for the end of
    /// something that runs.
    pub fn next_wake(&self) -> Option<i64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The lane whose turn it is, and how many of its tasks may start. Lanes met on the way that have no place at their
    /// host are put with it.
    fn best(&mut self) -> Option<(Arc<str>, usize)> {
        loop {
            // Who runs more never has more room than who runs less, so if the first has none nobody has.
            let owner = self.queue.first()?.2.clone();
            let of_owner = self.owner_room(&owner);
            if of_owner == 0 {
                return None;
            }
            let lane = self.owners.get(&owner)?.ready.first()?.2.clone();
            let room = self.lane_room(&lane);
            if room > 0 {
                return Some((lane, room.min(of_owner)));
            }
            self.leave_ready(&lane);
            self.park(&lane);
        }
    }

    /// Takes a lane out, as if so many of its tasks ran; since when it was due.
    fn pick(&mut self, lane: &Arc<str>, most: usize) -> i64 {
        self.leave_ready(lane);
        self.turn += 1;
        let turn = self.turn;
        let mut since = i64::MAX;
        if let Some(known) = self.lanes.get_mut(lane) {
            known.served = turn;
            std::mem::swap(&mut known.since, &mut since);
        }
        self.change_owner(parts(lane).0, |owner| owner.served = turn);
        self.count(lane, most, 0);
        since
    }

    /// Puts a lane that is due with its account, or with its host if that is full.
    fn make_ready(&mut self, lane: &Arc<str>) {
        if self.lane_room(lane) == 0 {
            return self.park(lane);
        }
        let Some(known) = self.lanes.get_mut(lane) else { return };
        known.place = Place::Ready;
        let key = (known.running, known.served, lane.clone());
        self.change_owner(parts(lane).0, |owner| {
            owner.ready.insert(key);
        });
    }

    fn leave_ready(&mut self, lane: &Arc<str>) {
        let Some(known) = self.lanes.get_mut(lane) else { return };
        known.place = Place::Nowhere;
        let key = (known.running, known.served, lane.clone());
        self.change_owner(parts(lane).0, |owner| {
            owner.ready.remove(&key);
        });
    }

    fn park(&mut self, lane: &Arc<str>) {
        let Some(known) = self.lanes.get_mut(lane) else { return };
        known.place = Place::Parked;
        let host: Arc<str> = parts(lane).1.into();
        self.hosts.entry(host).or_default().parked.insert((known.running, known.served, lane.clone()));
    }

    /// Sends lanes back to their accounts, as many as the host has places for; whose account has no room itself counts
    /// for none. If there may be more, the host stays open.
    fn unpark(&mut self, host: &Arc<str>) {
        let free = self.limits.per_host.saturating_sub(self.hosts.get(host).map_or(0, |host| host.running));
        let mut left = free;
        while let Some((_, _, lane)) = self.hosts.get(host).and_then(|host| host.parked.first()).cloned() {
            // Who runs more at the host never has more room there than who runs less.
            if self.lane_room(&lane) == 0 {
                break;
            }
            if left == 0 {
                self.open.insert(host.clone());
                break;
            }
            if let Some(known) = self.hosts.get_mut(host) {
                known.parked.pop_first();
            }
            self.make_ready(&lane);
            left -= usize::from(self.owner_room(parts(&lane).0) > 0);
        }
        self.forget_host_if_idle(host);
    }

    /// Changes how many tasks of a lane run, and with it what its account and its host run. Whatever stands in an order
    /// by these numbers changes its place.
    fn count(&mut self, lane: &str, more: usize, less: usize) {
        let Some((name, known)) = self.lanes.get_key_value(lane) else { return };
        let (name, before, less) = (name.clone(), known.running, less.min(known.running + more));
        let (owner, host) = parts(lane);
        let (old, new) = (before, before + more - less);
        let (place, served) = (known.place, known.served);
        if let Some(known) = self.lanes.get_mut(lane) {
            known.running = new;
        }
        self.running = self.running + more - less;
        self.change_owner(owner, |owner| {
            owner.running = owner.running + more - less;
            if place == Place::Ready {
                owner.ready.remove(&(old, served, name.clone()));
                owner.ready.insert((new, served, name.clone()));
            }
        });
        self.change_host(host, |host| {
            host.running = host.running + more - less;
            if place == Place::Parked {
                host.parked.remove(&(old, served, name.clone()));
                host.parked.insert((new, served, name.clone()));
            }
        });
        if less > 0 && self.hosts.get(host).is_some_and(|host| !host.parked.is_empty()) {
            self.open.insert(host.into());
        }
    }

    /// Changes an account, and its place in the queue.
    fn change_owner(&mut self, name: &str, change: impl FnOnce(&mut Owner)) {
        let key = match self.owners.get_key_value(name) {
            Some((key, _)) => key.clone(),
            None => name.into(),
        };
        let owner = self.owners.entry(key.clone()).or_default();
        self.queue.remove(&(owner.running, owner.served, key.clone()));
        change(owner);
        if !owner.ready.is_empty() {
            self.queue.insert((owner.running, owner.served, key));
        } else if owner.running == 0 {
            self.owners.remove(name);
        }
    }

    fn change_host(&mut self, name: &str, change: impl FnOnce(&mut Host)) {
        if !self.hosts.contains_key(name) {
            self.hosts.insert(name.into(), Host::default());
        }
        if let Some(host) = self.hosts.get_mut(name) {
            change(host);
        }
        self.forget_host_if_idle(name);
    }

    fn forget_host_if_idle(&mut self, name: &str) {
        if self.hosts.get(name).is_some_and(|host| host.running == 0 && host.parked.is_empty()) {
            self.hosts.remove(name);
        }
    }

    fn forget_if_idle(&mut self, name: &str) {
        if self.lanes.get(name).is_some_and(|lane| lane.place == Place::Nowhere && lane.running == 0) {
            self.lanes.remove(name);
        }
    }

    /// Lanes that may start something, counted as far as a round goes.
    fn ready_lanes(&self) -> usize {
        let owners = self.queue.iter().take(MOST_PICKS).take_while(|(_, _, name)| self.owner_room(name) > 0);
        owners.filter_map(|(_, _, name)| Some(self.owners.get(name)?.ready.len())).sum()
    }

    fn lane_room(&self, lane: &str) -> usize {
        let own = self.lanes.get(lane).map_or(0, |lane| lane.running);
        let all = self.hosts.get(parts(lane).1).map_or(0, |host| host.running);
        let left = self.limits.per_host.saturating_sub(all);
        self.limits.of_lane(all.saturating_sub(own)).saturating_sub(own).min(left)
    }

    fn owner_room(&self, owner: &str) -> usize {
        let own = self.owners.get(owner).map_or(0, |owner| owner.running);
        let left = self.limits.total.saturating_sub(self.running);
        self.limits.of_owner(self.running.saturating_sub(own)).saturating_sub(own).min(left)
    }
}

/// The name of the lane of an account's tasks to a host.
pub fn lane(owner: &str, host: &str) -> String {
    format!("{owner}@{host}")
}

fn parts(lane: &str) -> (&str, &str) {
    lane.split_once('@').unwrap_or((lane, ""))
}

#[cfg(test)]
#[path = "agenda_tests.rs"]
mod tests;
