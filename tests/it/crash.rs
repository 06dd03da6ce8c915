//! Nodes are killed again and again while pushes are accepted: every push that was answered arrives, and nothing arrives
//! twice but what was on the wire at a kill, under the same `Idempotency-Key`. `tests/crash.sh` runs it at length.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::caller::{Met, arrivals, at_rest, number, owned, owner, push};
use crate::support::client::{Client, text};
use crate::support::cluster::Cluster;
use crate::support::http_sink::{HttpSink, Play};
use crate::support::program::{Program, Server};
use crate::support::scene::Scene;
use crate::support::world::webhook;

const CLIENTS: usize = 8;
/// Deliveries at a time on one node.
const CONCURRENCY: usize = 32;
/// What one kill can repeat: so many on the wire, as many that wait for a commit, and as many in the commit under way.
const MOST_REPEATED: usize = 3 * CONCURRENCY;
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_loses_nothing() {
    let rounds = number("FANFARE_CRASH_ROUNDS", 3);
    Trial::start(None, 1).await.run(rounds, Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "leases take their time; tests/crash.sh runs it"]
async fn of_two_nodes_on_postgresql_either_may_be_killed() {
    let Some(cluster) = Cluster::start() else { return };
    let rounds = number("FANFARE_CRASH_ROUNDS", 3);
    Trial::start(Some(&cluster), 2).await.run(rounds, Duration::from_secs(60)).await;
}

/// What receives: one that answers at once, one that takes its time, one that says "try again" to every third request,
/// and one that refuses for good.
struct Sinks {
    quick: HttpSink,
    slow: HttpSink,
    flaky: HttpSink,
    dead: HttpSink,
}

impl Sinks {
    async fn start() -> Self {
        let sinks = Self {
            quick: HttpSink::start().await,
            slow: HttpSink::start().await,
            flaky: HttpSink::start().await,
            dead: HttpSink::start().await,
        };
        sinks.slow.cycle(vec![Play::status(200).after(Duration::from_millis(60))]);
        sinks.flaky.cycle(vec![Play::status(503), Play::status(200), Play::status(200)]);
        sinks.dead.cycle(vec![Play::status(400)]);
        sinks
    }
}

/// A node: its program, its process, and where that listens now.
struct Node {
    program: Program,
    server: Option<Server>,
    address: Arc<Mutex<SocketAddr>>,
}

impl Node {
    async fn start(cluster: Option<&Cluster>) -> Self {
        let mut program = owned()
            .with("FANFARE_SECRET_KEY", KEY)
            .with("FANFARE_DELIVERY_CONCURRENCY", &CONCURRENCY.to_string())
            .with("FANFARE_DELIVERY_ATTEMPT_TIMEOUT_S", "2")
            .with("FANFARE_DELIVERY_RETRY_WAITS_S", "1,1,1,1,1,1,1,1,1,1");
        if let Some(cluster) = cluster {
            program = program.with("FANFARE_DATABASE_URL", &cluster.url());
        }
        let server = program.serve().await;
        let address = Arc::new(Mutex::new(server.address));
        Self { program, server: Some(server), address }
    }

    async fn kill(&mut self) -> Instant {
        let server = self.server.take().expect("a running node");
        server.end("KILL").await;
        Instant::now()
    }

    async fn restart(&mut self) {
        let server = self.program.serve().await;
        *self.address.lock().unwrap() = server.address;
        self.server = Some(server);
    }
}

/// What the clients push to, and what was answered.
#[derive(Default)]
struct Book {
    pushers: Vec<(&'static str, String)>,
    accepted: Mutex<Vec<(&'static str, Vec<String>)>>,
    turned_away: AtomicU64,
    over: AtomicBool,
}

struct Trial {
    sinks: Sinks,
    nodes: Vec<Node>,
    ann: Client,
    book: Arc<Book>,
}

impl Trial {
    async fn start(cluster: Option<&Cluster>, nodes: usize) -> Self {
        let (sinks, mut started) = (Sinks::start().await, Vec::new());
        for _ in 0..nodes {
            started.push(Node::start(cluster).await);
        }
        let first = started[0].server.as_ref().unwrap();
        let ann = owner(first).await;
        let ann = Client::new(Arc::clone(&started[0].address), Some(ann.token().to_owned()));
        let mut pushers = Vec::new();
        for (name, sink) in [("quick", &sinks.quick), ("slow", &sinks.slow), ("flaky", &sinks.flaky)] {
            pushers.push((name, ann.preset("webhook", webhook(sink)).await));
        }
        let [a, b, c] = [("a", &sinks.dead), ("b", &sinks.slow), ("c", &sinks.quick)]
            .map(|(name, sink)| Scene::member(name, sink, json!({})));
        let group = json!({ "pushers": [a, b, c], "strategy": "fallback" });
        pushers.push(("fallback", ann.group(group).await));
        Self { sinks, nodes: started, ann, book: Arc::new(Book { pushers, ..Book::default() }) }
    }

    async fn run(mut self, rounds: u64, limit: Duration) {
        let addresses: Vec<_> = self.nodes.iter().map(|node| Arc::clone(&node.address)).collect();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| tokio::spawn(keep_pushing(addresses[n % addresses.len()].clone(), self.book.clone())))
            .collect();
        let longest = number("FANFARE_CRASH_SECONDS", 1) * 1000;
        let mut kills = Vec::new();
        for round in 0..rounds {
            tokio::time::sleep(Duration::from_millis(rand::random_range(200..=longest.max(200)))).await;
            let node = usize::try_from(round).unwrap() % self.nodes.len();
            kills.push(self.nodes[node].kill().await);
            self.nodes[node].restart().await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.book.over.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }
        at_rest(&self.ann, limit).await;
        self.check(&kills).await;
    }

    async fn check(&self, kills: &[Instant]) {
        let accepted = std::mem::take(&mut *self.book.accepted.lock().unwrap());
        let [quick, slow, flaky, dead] =
            [&self.sinks.quick, &self.sinks.slow, &self.sinks.flaky, &self.sinks.dead].map(arrivals);
        for (kind, keys) in &accepted {
            let arrived: &[_] = match *kind {
                "quick" => &[quick.contains_key(&keys[0])],
                "slow" => &[slow.contains_key(&keys[0])],
                "flaky" => &[flaky.contains_key(&keys[0])],
                _ => &[dead.contains_key(&keys[0]), slow.contains_key(&keys[1]), !quick.contains_key(&keys[2])],
            };
            assert!(arrived.iter().all(|well| *well), "accepted and lost: {kind} {keys:?} {arrived:?}");
        }
        let mut repeated = 0;
        for (key, times) in quick.iter().chain(&slow).chain(&dead) {
            for pair in times.windows(2) {
                let killed_between = kills.iter().any(|kill| pair[0] <= *kill && *kill <= pair[1]);
                assert!(killed_between, "{key} arrived twice, and no node was killed between");
                repeated += 1;
            }
        }
        let count = accepted.len();
        assert!(repeated <= kills.len() * MOST_REPEATED, "{repeated} arrived twice");
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        accepted.iter().for_each(|(kind, _)| *kinds.entry(kind).or_default() += 1);
        let turned_away = self.book.turned_away.load(Ordering::SeqCst);
        eprintln!(
            "{} kills: {count} pushes accepted ({kinds:?}), {turned_away} not answered; all arrived, {repeated} attempts repeated",
            kills.len()
        );
        assert!(kinds.len() == 4 && count > 10 * kills.len(), "hardly anything was accepted: {kinds:?}");
        self.states(&accepted).await;
    }

    /// A sample, the flaky ones above all, is told as it was: no accepted task failed or is gone.
    async fn states(&self, accepted: &[(&str, Vec<String>)]) {
        for (kind, keys) in accepted.iter().rev().take(200) {
            let mut states = Vec::new();
            for key in keys {
                states.push(text(&self.ann.task(key).await["state"]));
            }
            let expected: &[&str] = if keys.len() == 3 { &["failed", "succeeded", "skipped"] } else { &["succeeded"] };
            assert_eq!(states, expected, "{kind} {keys:?}");
        }
    }
}

/// Pushes one after the other, whatever becomes of the node.
async fn keep_pushing(address: Arc<Mutex<SocketAddr>>, book: Arc<Book>) {
    while !book.over.load(Ordering::SeqCst) {
        let (kind, pusher) = &book.pushers[rand::random_range(0..book.pushers.len())];
        let delay = if rand::random_range(0..4) == 0 { 1 } else { 0 };
        let at = *address.lock().unwrap();
        match push(at, pusher, &json!({ "content": "c", "delay": delay })).await {
            Met::Accepted(data) => {
                let tasks = data["tasks"].as_array().expect("tasks");
                let keys = tasks.iter().map(|task: &Value| text(&task["task_id"])).collect();
                book.accepted.lock().unwrap().push((kind, keys));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Met::Busy(_) | Met::Nothing => {
                book.turned_away.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
