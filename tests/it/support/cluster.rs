//! A PostgreSQL server of a test's own, in a folder of its own, that can be stopped and started again. It is never one
//! that others use.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// The server; it is ended when this is dropped.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    /// Who runs it: PostgreSQL refuses to run as root.
    user: Option<String>,
    port: u16,
}

impl Cluster {
    /// Makes and starts one; says so loudly if the machine has no PostgreSQL.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("\n*** SKIPPED: no PostgreSQL server (initdb, pg_ctl) on this machine: {}", test_name());
            return None;
        };
        let folder = TempDir::new().expect("a folder");
        let root = output(Command::new("id").arg("-u")) == "0";
        let user = root.then(|| std::env::var("FANFARE_TEST_POSTGRES_USER").unwrap_or_else(|_| "postgres".to_owned()));
        if let Some(user) = &user {
            output(Command::new("chown").arg(user).arg(folder.path()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let cluster = Self { folder, programs, user, port };
        let data = cluster.data();
        cluster.run("initdb", &["-D", &data, "-U", "fanfare", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]);
        cluster.begin();
        Some(cluster)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The URL of its one database.
    pub fn url(&self) -> String {
        self.url_by(self.address())
    }

    /// The same by way of another address.
    pub fn url_by(&self, address: SocketAddr) -> String {
        format!("postgres://fanfare@{address}/postgres")
    }

    /// Starts it, and waits until it takes connections.
    pub fn begin(&self) {
        let settings = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c max_connections=100",
            self.port
        );
        let log = self.folder.path().join("log").display().to_string();
        self.run("pg_ctl", &["start", "-w", "-s", "-D", &self.data(), "-l", &log, "-o", &settings]);
    }

    /// Ends it: `immediate` as a crash would, `fast` as an administrator would.
    pub fn end(&self, how: &str) {
        self.run("pg_ctl", &["stop", "-w", "-s", "-D", &self.data(), "-m", how]);
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, args: &[&str]) {
        output(self.command(program).args(args));
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match &self.user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It may have been ended by the test.
        let _ = self.command("pg_ctl").args(["stop", "-w", "-s", "-m", "immediate", "-D", &self.data()]).output();
    }
}

/// Runs it to its end; what it printed.
fn output(command: &mut Command) -> String {
    // Into files, not pipes: a server that is started keeps what it was given open.
    let errors = tempfile::NamedTempFile::new().expect("a file");
    let printed = tempfile::NamedTempFile::new().expect("a file");
    command.stdin(std::process::Stdio::null());
    command.stdout(printed.reopen().expect("a file")).stderr(errors.reopen().expect("a file"));
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file.path()).expect("a text");
    assert!(status.success(), "{command:?}: {}{}", text(&printed), text(&errors));
    text(&printed).trim().to_owned()
}

/// Where the server's programs are: `FANFARE_TEST_POSTGRES_BIN`, the path, or where Debian puts them.
fn programs() -> Option<PathBuf> {
    let given = std::env::var_os("FANFARE_TEST_POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut known: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    known.sort();
    let all = given.into_iter().chain(std::env::split_paths(&path)).chain(known.into_iter().rev());
    all.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("pg_ctl").is_file())
}

fn test_name() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}
