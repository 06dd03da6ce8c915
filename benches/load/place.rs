//! Where tasks are kept while they are measured: a folder of its own for SQLite, a database of its own on the PostgreSQL
//! server that `FANFARE_TEST_POSTGRES` names; and the servers on it. Removes what it made.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};
use fanfare::store::Location;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tempfile::TempDir;

use crate::folder;
use crate::server::{Server, processor_micros, processor_micros_with_children};

/// Which database, and how many servers on it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SQLite with `synchronous = full`, as it is by default.
    Full,
    /// SQLite with `synchronous = normal`.
    Normal,
    /// PostgreSQL, with so many nodes.
    Postgres(usize),
}

impl Kind {
    /// How the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "SQLite",
            Self::Normal => "SQLite, synchronous = normal",
            Self::Postgres(1) => "PostgreSQL",
            Self::Postgres(_) => "PostgreSQL, two nodes",
        }
    }

    /// Whether there is a server for it.
    pub fn is_there(self) -> bool {
        !matches!(self, Self::Postgres(_)) || server().is_some()
    }
}

fn server() -> Option<String> {
    std::env::var("FANFARE_TEST_POSTGRES").ok().filter(|url| !url.is_empty())
}

/// A place of its own for one scenario.
pub struct Place {
    pub kind: Kind,
    // Dropped, and so removed, at the end.
    folder: TempDir,
    database: Option<Database>,
}

impl Place {
    /// An empty one.
    pub async fn new(kind: Kind) -> anyhow::Result<Self> {
        let database = match kind {
            Kind::Postgres(_) => Some(Database::create().await?),
            Kind::Full | Kind::Normal => None,
        };
        Ok(Self { kind, folder: folder()?, database })
    }

    /// For whoever writes into it directly, while no server runs on it.
    pub fn location(&self) -> Location {
        match &self.database {
            Some(database) => Location::Postgres { url: database.url(), max_connections: 4 },
            None => Location::Sqlite { file: self.folder.path().join("fanfare.db"), durable: false },
        }
    }

    /// The database on PostgreSQL.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Starts one server on it, with settings of its own (variables and their values).
    pub async fn start(&self, settings: &[(&str, &str)]) -> anyhow::Result<Server> {
        let url = self.database.as_ref().map(Database::url);
        let mut all = settings.to_vec();
        match self.kind {
            Kind::Full => {}
            Kind::Normal => all.push(("FANFARE_DATABASE_SYNCHRONOUS", "normal")),
            Kind::Postgres(_) => all.push(("FANFARE_DATABASE_URL", url.as_deref().unwrap_or_default())),
        }
        Server::start(self.folder.path(), &all).await
    }

    /// Starts as many servers as there are to be.
    pub async fn start_all(&self, settings: &[(&str, &str)]) -> anyhow::Result<Nodes> {
        let count = if let Kind::Postgres(count) = self.kind { count } else { 1 };
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.push(self.start(settings).await?);
        }
        Ok(Nodes(servers))
    }

    /// Time on a processor that the database's server has spent so far; 0 where it is part of ours.
    pub async fn database_micros(&self) -> anyhow::Result<u64> {
        match &self.database {
            Some(database) => database.processor_micros().await,
            None => Ok(0),
        }
    }
}

/// The servers on a place.
pub struct Nodes(Vec<Server>);

impl Nodes {
    /// Where they are.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|server| server.address).collect()
    }

    /// Makes a Preset on `webhook`; answers its id.
    pub async fn make_preset(&self, endpoint: &str) -> anyhow::Result<String> {
        self.0.first().context("no server")?.make_preset(endpoint).await
    }

    /// Time on a processor so far, all together.
    pub fn processor_micros(&self) -> anyhow::Result<u64> {
        self.0.iter().map(Server::processor_micros).sum()
    }

    /// The most memory that one of them took, in MiB.
    pub fn most_memory(&self) -> anyhow::Result<f64> {
        let peaks: Vec<u64> = self.0.iter().map(|server| Ok(server.memory()?.1)).collect::<anyhow::Result<_>>()?;
        Ok(peaks.into_iter().max().unwrap_or_default() as f64 / 1024.0)
    }
}

/// A database on the PostgreSQL server; it is dropped with this.
pub struct Database {
    name: String,
}

impl Database {
    async fn create() -> anyhow::Result<Self> {
        let name = format!("fanfare_load_{:016x}", rand::random::<u64>());
        command(&format!("CREATE DATABASE {name}")).await?;
        // What the scenarios before this one left in the server's memory must not be written out during this one.
        command("CHECKPOINT").await?;
        Ok(Self { name })
    }

    fn url(&self) -> String {
        with_database(&server().unwrap_or_default(), &self.name)
    }

    /// Single-row commits per second by so many clients of `pgbench`, into a table of its own; `None` if there is no
    /// `pgbench`.
    pub async fn single_row_commits(&self, clients: usize, lasting: Duration) -> anyhow::Result<Option<f64>> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        sqlx::query("CREATE TABLE single (id BIGSERIAL PRIMARY KEY, content TEXT NOT NULL)")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        let script = tempfile::NamedTempFile::new()?;
        // About what a task comes to in its row.
        std::fs::write(script.path(), format!("INSERT INTO single (content) VALUES ('{}');\n", "x".repeat(600)))?;
        let mut command = Command::new(std::env::var("FANFARE_LOAD_PGBENCH").unwrap_or_else(|_| "pgbench".to_owned()));
        command
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", lasting.as_secs().max(1)))
            .arg("--file")
            .arg(script.path())
            .arg(self.url());
        let done = match tokio::task::spawn_blocking(move || command.output()).await? {
            Ok(done) => done,
            Err(_) => return Ok(None),
        };
        let text = String::from_utf8_lossy(&done.stdout);
        let Some(rate) = text.lines().find_map(|line| line.strip_prefix("tps = ")) else {
            bail!("pgbench: {}", String::from_utf8_lossy(&done.stderr));
        };
        Ok(Some(rate.split_whitespace().next().unwrap_or_default().parse()?))
    }

    /// All processes of the server together; only if it runs on this machine.
    async fn processor_micros(&self) -> anyhow::Result<u64> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        let row = sqlx::query("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let own: i32 = row.try_get(0)?;
        let micros = of_siblings(u32::try_from(own)?);
        connection.close().await?;
        micros
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(command(&statement))
        });
        if !matches!(dropped.join(), Ok(Ok(()))) {
            eprintln!("load: the database {} is left over", self.name);
        }
    }
}

async fn command(statement: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(&server().context("no PostgreSQL")?).await?;
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await?;
    Ok(connection.close().await?)
}

/// The URL with another database.
fn with_database(url: &str, name: &str) -> String {
    let (before, query) = url.split_once('?').map_or((url, String::new()), |(url, query)| (url, format!("?{query}")));
    let server = before.rsplit_once('/').map_or(before, |(server, _)| server);
    format!("{server}/{name}{query}")
}

/// What a process, its parent, and the parent's other children have spent.
fn of_siblings(process: u32) -> anyhow::Result<u64> {
    let parent = parent(process).context("the database runs elsewhere")?;
    let mut sum = processor_micros_with_children(parent)?;
    for entry in std::fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if self::parent(id) == Some(parent) {
            // One may end meanwhile.
            sum += processor_micros(id).unwrap_or_default();
        }
    }
    Ok(sum)
}

fn parent(process: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
