//! The database goes away while the server runs, and comes back: what was accepted is delivered, once; what comes
//! meanwhile is refused at once; nobody restarts anything.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::support::caller::{Met, arrivals, at_rest, number, owned, owner, push, told, until_ready};
use crate::support::client::text;
use crate::support::cluster::Cluster;
use crate::support::http_sink::{HttpSink, Play};
use crate::support::proxy::Proxy;
use crate::support::scene::Scene;
use crate::support::world::webhook;

/// Longest that anybody waits to learn that the database is gone, and longest once that is known.
const TO_FIND_OUT: Duration = Duration::from_secs(4);
const ONCE_KNOWN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_goes_and_comes_back() {
    let Some(cluster) = Cluster::start() else { return };
    let gone_for = Duration::from_secs(number("FANFARE_OUTAGE_SECONDS", 4));
    let program = owned().with("FANFARE_DATABASE_URL", &cluster.url()).with("FANFARE_DELIVERY_ATTEMPT_TIMEOUT_S", "2");
    let server = program.serve().await;
    let ann = owner(&server).await;
    let (quick, slow) = (HttpSink::start().await, HttpSink::start().await);
    slow.script(vec![Play::status(200).after(Duration::from_millis(1500)); 5]);
    let (hook, slow_hook) = (ann.preset("webhook", webhook(&quick)).await, ann.preset("webhook", webhook(&slow)).await);
    let mut accepted = Vec::new();
    for n in 0..8 {
        let (hook, delay) = if n < 5 { (&slow_hook, 0) } else { (&hook, 2) };
        accepted.push(text(&ann.pushed(hook, json!({ "n": n, "delay": delay })).await["task_id"]));
    }
    slow.expect(5).await;

    cluster.end("immediate");
    let gone = Instant::now();
    let find_out = refused(server.address, &hook).await;
    assert!(find_out < TO_FIND_OUT, "{find_out:?}");
    until_ready(server.address, false, TO_FIND_OUT).await;
    for _ in 0..20 {
        let took = refused(server.address, &hook).await;
        assert!(took < ONCE_KNOWN, "{took:?}");
    }
    let begun = Instant::now();
    assert_eq!(ann.push(&hook, json!({})).await.refusal(), (503, "busy"));
    assert!(begun.elapsed() < ONCE_KNOWN, "with a token: {:?}", begun.elapsed());
    let read = ann.get("/task/").await;
    assert_eq!((read.refusal(), read.header("retry-after")), ((503, "busy"), Some("5")));
    tokio::time::sleep(gone_for.saturating_sub(gone.elapsed())).await;
    assert_eq!((slow.requests().len(), quick.requests().len()), (5, 0), "nothing can be claimed meanwhile");

    cluster.begin();
    until_ready(server.address, true, Duration::from_secs(10)).await;
    accepted.push(text(&ann.pushed(&hook, json!({ "n": "new" })).await["task_id"]));
    at_rest(&ann, Duration::from_secs(10)).await;
    let arrived: BTreeMap<_, _> = arrivals(&quick).into_iter().chain(arrivals(&slow)).collect();
    for task in &accepted {
        assert_eq!(arrived.get(task).map(Vec::len), Some(1), "{task}");
        assert_eq!(ann.task(task).await["state"], "succeeded");
    }
    assert_eq!(arrived.len(), accepted.len(), "what was refused did not arrive");
    let (code, log) = server.end("TERM").await;
    assert_eq!(code, Some(0), "{log}");
    let most = 40 + 10 * usize::try_from(gone_for.as_secs()).unwrap();
    assert!(told(&log) < most, "told too often:\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "waiting in vain takes its time; tests/crash.sh runs it"]
async fn a_connection_to_postgresql_that_hangs_is_given_up() {
    let Some(cluster) = Cluster::start() else { return };
    let proxy = Proxy::start(cluster.address()).await;
    // Few connections, so that all of them hang.
    let program = owned()
        .with("FANFARE_DATABASE_URL", &cluster.url_by(proxy.address))
        .with("FANFARE_DATABASE_MAX_CONNECTIONS", "2");
    let server = program.with("FANFARE_DELIVERY_ATTEMPT_TIMEOUT_S", "2").serve().await;
    let ann = owner(&server).await;
    let sink = HttpSink::start().await;
    let hook = ann.preset("webhook", webhook(&sink)).await;
    // So that whatever uses the database is in the middle of it.
    let pushers: Vec<_> = (0..4).map(|_| tokio::spawn(push_until_refused(server.address, hook.clone()))).collect();
    sink.expect(50).await;
    let listened = listening(&cluster).await;

    proxy.cut();
    let cut = Instant::now();
    let mut accepted = Vec::new();
    for pusher in pushers {
        accepted.extend(pusher.await.unwrap());
    }
    assert!(cut.elapsed() < Duration::from_secs(12), "{:?}", cut.elapsed());
    until_ready(server.address, false, TO_FIND_OUT).await;
    // Long enough for every place in the pool to be tried.
    while cut.elapsed() < Duration::from_secs(40) {
        let took = refused(server.address, &hook).await;
        assert!(took < ONCE_KNOWN, "{took:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    proxy.mend();
    until_ready(server.address, true, Duration::from_secs(10)).await;
    let begun = Instant::now();
    let new = text(&ann.pushed(&hook, json!({})).await["task_id"]);
    while !arrivals(&sink).contains_key(&new) {
        assert!(begun.elapsed() < Duration::from_secs(5), "the claimer does not go on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    while listening(&cluster).await.iter().all(|process| listened.contains(process)) {
        assert!(begun.elapsed() < Duration::from_secs(30), "the other nodes are not heard any more");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A claim that nobody was told of ends with its lease, and leases stand for a while after an outage.
    at_rest(&ann, Duration::from_secs(40)).await;
    let arrived = arrivals(&sink);
    assert!(accepted.iter().all(|task| arrived.contains_key(task)));
    assert!(arrived.values().all(|times| times.len() == 1));
}

/// The processes of PostgreSQL on which somebody listens.
async fn listening(cluster: &Cluster) -> Vec<i32> {
    let mut connection = PgConnection::connect(&cluster.url()).await.unwrap();
    let ask = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %'";
    sqlx::query_scalar(ask).fetch_all(&mut connection).await.unwrap()
}

/// Pushes one after the other until one is refused; those that were accepted.
async fn push_until_refused(address: SocketAddr, hook: String) -> Vec<String> {
    let mut accepted = Vec::new();
    loop {
        match push(address, &hook, &json!({})).await {
            Met::Accepted(data) => accepted.push(text(&data["task_id"])),
            Met::Busy(_) => return accepted,
            Met::Nothing => panic!("no answer"),
        }
    }
}

#[tokio::test]
async fn an_outcome_that_cannot_be_recorded_stops_no_other() {
    let scene = Scene::start().await;
    let file = SqliteConnectOptions::new().filename(scene.world.folder().join("fanfare.db"));
    let mut connection = SqliteConnection::connect_with(&file).await.unwrap();
    let trigger = "CREATE TRIGGER poison BEFORE UPDATE ON task WHEN NEW.attempt_log LIKE '%poison%' \
        BEGIN SELECT RAISE(ABORT, 'poison'); END";
    sqlx::query(trigger).execute(&mut connection).await.unwrap();
    scene.sink.script(vec![Play::status(200), Play::json(200, "poison"), Play::status(200)]);
    let mut tasks = Vec::new();
    for _ in 0..20 {
        tasks.push(scene.task(json!({})).await);
    }
    scene.world.settle().await;
    let mut failed = 0;
    for task in tasks {
        let task = scene.ann.task(&task).await;
        match task["state"].as_str() {
            Some("succeeded") => {}
            _ => {
                assert_eq!(
                    (&task["state"], &task["error"]["code"]),
                    (&json!("failed"), &json!("outcome_unrecordable"))
                );
                failed += 1;
            }
        }
    }
    assert_eq!((failed, scene.sink.requests().len()), (1, 20));
}

/// Pushes what must be refused; how long that took.
async fn refused(address: SocketAddr, hook: &str) -> Duration {
    let begun = Instant::now();
    match push(address, hook, &json!({})).await {
        Met::Busy(1..=60) => begun.elapsed(),
        met => panic!("{met:?} while the database is gone"),
    }
}
