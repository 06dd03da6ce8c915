//! Limits hold for all nodes of a PostgreSQL together, within about a second. Needs `FANFARE_TEST_POSTGRES`, the URL of a
//! server where databases may be made; without it the test says that it was skipped.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare::app::{App, SystemClock, Tuning};
use fanfare::config::{Config, Secret};
use fanfare::domain::account::Role;
use fanfare::domain::id::unguessable;
use fanfare::domain::time::Clock;
use fanfare::flow::door::Visitor;
use fanfare::flow::login::{create_account, login};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::http_sink::HttpSink;
use crate::support::world::{PASSWORD, webhook};

/// One exchange and some more.
const SOON: Duration = Duration::from_millis(1200);

struct Node {
    app: App,
    folder: TempDir,
}

impl Node {
    async fn start(url: &str, quota: u32) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
        config.data_dir = folder.path().to_owned();
        config.database_url = Some(Secret::new(url));
        config.secret_key = Some(Secret::new("07".repeat(32)));
        config.delivery.allow = vec!["127.0.0.1".to_owned()];
        config.database.max_connections = 4;
        config.limits.per_pusher_per_minute = 10;
        config.limits.daily_quota = quota;
        let app = App::start_with(&config, Arc::new(SystemClock::default()), Tuning::of(&config)).await.unwrap();
        Self { app, folder }
    }

    fn client(&self, token: &str) -> Client {
        Client::new(Arc::new(Mutex::new(self.app.address)), Some(token.to_owned()))
    }

    async fn token(&self) -> String {
        let engine = &self.app.engine;
        let email = "ann@example.com";
        create_account(&engine.store, engine.clock.now(), email, PASSWORD.to_owned(), Role::User).await.unwrap();
        login(engine, email, PASSWORD, &Visitor::new(None, None)).await.unwrap().token.unwrap()
    }

    async fn stop(self) {
        self.app.stop().await.unwrap();
        drop(self.folder);
    }
}

/// A database of its own, and what drops it.
async fn database() -> Option<(String, PgConnection, String)> {
    let Ok(server) = std::env::var("FANFARE_TEST_POSTGRES") else {
        eprintln!("SKIPPED: without FANFARE_TEST_POSTGRES nothing is known about PostgreSQL");
        return None;
    };
    let mut connection = PgConnection::connect(&server).await.unwrap();
    let name = format!("limits_{}", unguessable(rand::random()));
    let make = format!("CREATE DATABASE {name}");
    sqlx::query(sqlx::AssertSqlSafe(make)).execute(&mut connection).await.unwrap();
    let mut url: url::Url = server.parse().unwrap();
    url.set_path(&name);
    Some((url.to_string(), connection, name))
}

/// So many of the pushes are accepted.
async fn accepted(who: &Client, pusher: &str, count: usize) -> usize {
    let mut accepted = 0;
    for _ in 0..count {
        let answer = who.push(pusher, json!({})).await;
        assert!(matches!(answer.status, 200 | 429), "{}", answer.body);
        accepted += usize::from(answer.status == 200);
    }
    accepted
}

#[tokio::test]
async fn limits_hold_for_all_nodes_together() {
    let Some((url, mut connection, name)) = database().await else { return };
    let sink = HttpSink::start().await;
    let one = Node::start(&url, 14).await;
    let token = one.token().await;
    let other = Node::start(&url, 14).await;
    let (here, there) = (one.client(&token), other.client(&token));
    let hook = here.preset("webhook", webhook(&sink)).await;
    let second = here.preset("webhook", webhook(&sink)).await;

    assert_eq!(accepted(&here, &hook, 7).await, 7);
    tokio::time::sleep(SOON).await;
    let more = accepted(&there, &hook, 8).await;
    // 10 at once, and one every six seconds.
    assert!((3..=4).contains(&more), "{more} of the three that were left");
    let used = 7 + more;

    tokio::time::sleep(SOON).await;
    assert_eq!(accepted(&here, &second, 5).await, 14 - used, "of the quota, what the other has not used");
    tokio::time::sleep(SOON).await;
    assert_eq!(there.push(&second, json!({})).await.code(), "quota_exceeded");

    let third = Node::start(&url, 14).await;
    assert_eq!(third.client(&token).push(&second, json!({})).await.code(), "quota_exceeded", "a new node knows");

    // A node on which nothing happens writes nothing.
    tokio::time::sleep(SOON).await;
    let mut ours = PgConnection::connect(&url).await.unwrap();
    let told: (i64,) = sqlx::query_as("SELECT MAX(told_at) FROM usage").fetch_one(&mut ours).await.unwrap();
    tokio::time::sleep(SOON).await;
    let later: (i64,) = sqlx::query_as("SELECT MAX(told_at) FROM usage").fetch_one(&mut ours).await.unwrap();
    assert_eq!(told, later);
    assert!(told.0 <= SystemClock::default().now().0);
    ours.close().await.unwrap();

    for node in [one, other, third] {
        node.stop().await;
    }
    let drop = format!("DROP DATABASE {name}");
    sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
}
