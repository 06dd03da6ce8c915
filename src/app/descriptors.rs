//! How many files and connections the system lets this process have open, shared out so that whoever connects cannot take
//! the connections that deliveries need.

use crate::config::Config;

/// Needed beside connections of clients and of deliveries: the database, the log, connections kept for later.
const OTHERS: u64 = 128;

/// The settings as they can be held: raises the limit on open files as far as they need it and the system allows, and
/// lowers the settings where that is not enough.
pub fn fit(config: &Config) -> Config {
    let mut fitting = config.clone();
    let databases = u64::from(config.database.max_connections);
    let (connections, deliveries) = (config.limits.connections as u64, config.delivery.concurrency as u64);
    // A delivery may leave a connection behind, which is kept for the next one.
    let needed = connections + 2 * deliveries + databases + OTHERS;
    let Some(limit) = raise(needed).filter(|limit| *limit < needed) else { return fitting };
    let (most_connections, most_deliveries) = share(limit.saturating_sub(databases), connections, deliveries);
    tracing::warn!(
        limit,
        needed,
        "the limit on open files (ulimit -n) is too low for the settings: at most {most_connections} connections and \
         {most_deliveries} deliveries at a time"
    );
    fitting.limits.connections = usize::try_from(most_connections).unwrap_or(usize::MAX);
    fitting.delivery.concurrency = usize::try_from(most_deliveries).unwrap_or(usize::MAX);
    fitting
}

/// Connections and deliveries that fit within a limit on open files: a quarter each, half is for the rest.
fn share(limit: u64, connections: u64, deliveries: u64) -> (u64, u64) {
    let others = OTHERS.min(limit / 4);
    let most_deliveries = deliveries.min(((limit - others) / 4).max(1));
    let left = (limit - others).saturating_sub(2 * most_deliveries);
    (connections.min(left.max(1)), most_deliveries)
}

/// The limit on open files, after it was raised to what is needed, if it may be.
#[cfg(unix)]
fn raise(needed: u64) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current?;
    let wanted = maximum.map_or(needed, |most| most.min(needed));
    if wanted <= current {
        return Some(current);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => Some(wanted),
        Err(_) => Some(current),
    }
}

#[cfg(not(unix))]
fn raise(_: u64) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_is_shared_and_leaves_room_for_others() {
        for (limit, connections, deliveries, expected) in [
            (1024, 600, 256, (448, 224)),
            (256, 600, 256, (96, 48)),
            (96, 600, 256, (36, 18)),
            (1024, 100, 256, (100, 224)),
            (1024, 600, 4, (600, 4)),
            (8, 600, 256, (4, 1)),
            (0, 600, 256, (1, 1)),
        ] {
            let (connections, deliveries) = share(limit, connections, deliveries);
            assert_eq!((connections, deliveries), expected, "{limit}");
            assert!(limit < 8 || connections + 2 * deliveries + OTHERS.min(limit / 4) <= limit, "{limit}");
        }
    }
}
