//! Which database a test runs on, and on PostgreSQL a database of its own for each.
//!
//! The server is found by the variable `FANFARE_TEST_POSTGRES`, the URL of a user who may create databases. Without it
//! the PostgreSQL half is skipped, and says so on standard error. A test's database is copied as files from one that
//! is migrated once in each process: that takes no longer than making the tables in a schema, and LISTEN, NOTIFY and
//! advisory locks stay within a database. Its collation is that of a language, so that the suite shows what relies on
//! the order of bytes.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::{LazyLock, Once};

use fanfare::domain::agenda::Limits;
use fanfare::store::{Location, SecretKey, Store};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::{mpsc, oneshot};

tokio::task_local! {
    /// The database that the test runs on; `both!` sets it.
    pub static DATABASE: Database;
}

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// The one that `both!` has chosen, else SQLite.
    pub fn of_this_test() -> Self {
        DATABASE.try_with(|database| *database).unwrap_or(Self::Sqlite)
    }
}

/// Makes tests of async functions, one for each database. A function that is not named here is never used, and the
/// compiler says so.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $name() {
                    use $crate::support::database::{DATABASE, Database};
                    DATABASE.scope(Database::Sqlite, super::$name()).await;
                }
            )+
        }
        $crate::support::database::on_postgres!($($name),+);
    };
}
pub(crate) use both;

/// The half of `both!` for what only PostgreSQL can do.
macro_rules! on_postgres {
    ($($name:ident),+ $(,)?) => {
        mod postgres {
            $(
                #[tokio::test]
                async fn $name() {
                    use $crate::support::database::{DATABASE, Database, there_is_postgres};
                    if there_is_postgres() {
                        DATABASE.scope(Database::Postgres, super::$name()).await;
                    }
                }
            )+
        }
    };
}
pub(crate) use on_postgres;

const VARIABLE: &str = "FANFARE_TEST_POSTGRES";
const SKIPPED: &str = "
  ####################################################################
  #  The PostgreSQL half of the tests is SKIPPED: its tests say `ok`  #
  #  and have not run. FANFARE_TEST_POSTGRES names no server.         #
  #  `tests/run` brings one up and runs everything.                   #
  ####################################################################
";
/// Connections that a server under test opens at most.
pub const CONNECTIONS: u32 = 10;
/// How the names of our databases begin; the process's number follows.
const PREFIX: &str = "fanfare_test_";

/// The server's URL, if there is one.
fn server() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|url| !url.is_empty())
}

/// Whether the PostgreSQL half can run. Says so if not: once, and past the capture of a test's output.
pub fn there_is_postgres() -> bool {
    static TOLD: Once = Once::new();
    let there = server().is_some();
    if !there {
        TOLD.call_once(tell_that_it_is_skipped);
    }
    there
}

/// Says that the PostgreSQL half is skipped, where it is seen although tests pass.
pub fn tell_that_it_is_skipped() {
    let _ = std::io::stderr().write_all(SKIPPED.as_bytes());
}

/// A database of one's own; it is removed when this goes out of scope.
#[derive(Debug)]
pub struct Fresh {
    pub url: String,
    name: String,
}

impl Fresh {
    /// Makes one that is migrated; fails if there is no server.
    pub async fn new() -> Self {
        Self::make(Content::Tables).await
    }

    /// One with nothing in it, as an operator makes it.
    pub async fn empty() -> Self {
        Self::make(Content::Nothing).await
    }

    async fn make(content: Content) -> Self {
        let (made, name) = oneshot::channel();
        KEEPER.send(Order::Make(content, made)).expect("a keeper of databases");
        let name = name.await.expect("a database; see above why there is none");
        Self { url: at(&name), name }
    }

    /// A connection to it beside the servers.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.expect("a connection")
    }

    /// All rows of all tables, as text.
    pub async fn dump(&self) -> Vec<u8> {
        let mut conn = self.connect().await;
        let tables: Vec<(String,)> =
            sqlx::query_as("SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'")
                .fetch_all(&mut conn)
                .await
                .expect("tables");
        let mut dump = Vec::new();
        for (table,) in tables {
            let all = AssertSqlSafe(format!("SELECT row_to_json(t)::text FROM {table} t"));
            let rows: Vec<(String,)> = sqlx::query_as(all).fetch_all(&mut conn).await.expect("rows");
            dump.extend(rows.into_iter().flat_map(|(row,)| row.into_bytes()));
        }
        dump
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // If the keeper is gone, so is the process; the next one clears up.
        let _ = KEEPER.send(Order::Remove(std::mem::take(&mut self.name)));
    }
}

enum Content {
    Nothing,
    Tables,
}

enum Order {
    Make(Content, oneshot::Sender<String>),
    Remove(String),
}

/// Makes and removes databases, on a thread and a connection that outlive every test.
static KEEPER: LazyLock<mpsc::UnboundedSender<Order>> = LazyLock::new(|| {
    let (orders, arrived) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    std::thread::spawn(move || runtime.block_on(keep(arrived)));
    orders
});

async fn keep(mut arrived: mpsc::UnboundedReceiver<Order>) {
    let url = server().expect("asked for only where there is one");
    let mut conn = PgConnection::connect(&url).await.expect("the server that FANFARE_TEST_POSTGRES names");
    let key: u32 = rand::random();
    assert!(lock(&mut conn, key).await, "two processes with one number");
    clear_up(&mut conn).await;
    let template = format!("{PREFIX}{key}_template");
    let empty = "TEMPLATE template0 ENCODING UTF8 LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    run(&mut conn, format!("CREATE DATABASE {template} {empty}")).await;
    migrate(&template).await;
    let mut count = 0;
    while let Some(order) = arrived.recv().await {
        match order {
            Order::Make(content, made) => {
                let name = format!("{PREFIX}{key}_{count}");
                count += 1;
                let copied = match content {
                    Content::Nothing => empty.to_owned(),
                    Content::Tables => format!("TEMPLATE {template} STRATEGY FILE_COPY"),
                };
                run(&mut conn, format!("CREATE DATABASE {name} {copied}")).await;
                // Whoever asked may have given up.
                let _ = made.send(name);
            }
            Order::Remove(name) => remove(&mut conn, &name).await,
        }
    }
}

/// Brings a database up to date, and leaves nothing in it that belongs to a key.
async fn migrate(name: &str) {
    let location = Location::Postgres { url: at(name), max_connections: 1 };
    let limits = Limits { total: 1, per_host: 1 };
    let store = Store::open(&location, &SecretKey::from_bytes([0; 32]), limits).await.expect("a migrated database");
    store.close().await;
    let mut conn = PgConnection::connect(&at(name)).await.expect("a connection");
    run(&mut conn, "DELETE FROM setting".to_owned()).await;
    conn.close().await.expect("an end");
}

/// Removes the databases of processes that are gone: each living one holds a lock on its number.
async fn clear_up(conn: &mut PgConnection) {
    let found: Vec<(String,)> = sqlx::query_as("SELECT datname::text FROM pg_database WHERE datname LIKE $1")
        .bind(format!("{PREFIX}%"))
        .fetch_all(&mut *conn)
        .await
        .expect("a list of databases");
    let owner = |name: &str| name.strip_prefix(PREFIX)?.split('_').next()?.parse::<u32>().ok();
    let mut gone = BTreeSet::new();
    for (name, owner) in found.iter().filter_map(|(name,)| Some((name, owner(name)?))) {
        // A lock that is ours already is one of a process that was found gone.
        if gone.contains(&owner) || lock(conn, owner).await {
            gone.insert(owner);
            remove(conn, name).await;
        }
    }
}

async fn lock(conn: &mut PgConnection, key: u32) -> bool {
    let locked: (bool,) = sqlx::query_as("SELECT pg_try_advisory_lock($1)")
        .bind(i64::from(key))
        .fetch_one(conn)
        .await
        .expect("an answer");
    locked.0
}

async fn remove(conn: &mut PgConnection, name: &str) {
    run(conn, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
}

async fn run(conn: &mut PgConnection, sql: String) {
    let shown = sql.clone();
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{shown}: {error}"));
}

/// The URL of another database of the same server.
fn at(name: &str) -> String {
    let server = server().expect("asked for only where there is one");
    let mut url = url::Url::parse(&server).expect("a URL");
    url.set_path(name);
    url.into()
}
