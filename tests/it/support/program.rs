//! The program itself as a process, in a folder of its own and with no settings but those that a test gives.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::PATIENCE;
use super::client::Client;

/// A folder to run the program in, with its settings.
pub struct Program {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

/// What the program said before it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The server as a process. It is killed when it goes out of scope.
pub struct Server {
    pub address: SocketAddr,
    /// The line that said so.
    pub ready: String,
    child: Child,
    /// What it says after it is ready; ends when the process ends.
    log: Option<JoinHandle<String>>,
}

impl Program {
    /// An empty folder; a server listens on a free port.
    pub fn new() -> Self {
        let variables = vec![("FANFARE_LISTEN".to_owned(), "127.0.0.1:0".to_owned())];
        Self { folder: TempDir::new().expect("a folder"), variables }
    }

    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.variables.push((variable.to_owned(), value.to_owned()));
        self
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program, or the one that `FANFARE_TEST_PROGRAM` names, behind words such as `env` that it is started by.
    pub fn command(&self, by: &[&str], args: &[&str]) -> Command {
        let given = std::env::var("FANFARE_TEST_PROGRAM").ok();
        let words = [by, &[given.as_deref().unwrap_or(env!("CARGO_BIN_EXE_fanfare"))], args].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.variables.iter().cloned()).current_dir(self.folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub async fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, "").await
    }

    /// Runs it to its end with this on standard input.
    pub async fn run_with(&self, args: &[&str], input: &str) -> Ended {
        self.run_by(&[], args, input).await
    }

    /// The same, started by another program, which must become it.
    pub async fn run_by(&self, by: &[&str], args: &[&str], input: &str) -> Ended {
        let (mut command, input) = (self.command(by, args), input.to_owned());
        let run = spawn_blocking(move || {
            let mut child = command.spawn().expect("the program");
            // It may have ended without reading.
            let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
            child.wait_with_output().expect("its output")
        });
        let output = timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("{args:?} does not end")).expect("a run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Starts the server and waits until it says that it is ready.
    pub async fn serve(&self) -> Server {
        self.serve_by(&[]).await
    }

    /// The same, started by another program, which must become it.
    pub async fn serve_by(&self, by: &[&str]) -> Server {
        let mut child = self.command(by, &["serve"]).spawn().expect("the program");
        let errors = BufReader::new(child.stderr.take().expect("its errors"));
        let (found, ready) = oneshot::channel();
        let log = spawn_blocking(move || follow(errors, found));
        let mut server = Server { address: ([0, 0, 0, 0], 0).into(), ready: String::new(), child, log: Some(log) };
        server.ready = match timeout(PATIENCE, ready).await.expect("a server in time") {
            Ok(line) => line,
            Err(_) => panic!("it ended before it was ready: {}", server.log().await),
        };
        let address = server.ready.split("ready on http://").nth(1).and_then(|rest| rest.split('/').next());
        server.address = address.and_then(|text| text.parse().ok()).expect("an address in the line");
        server
    }
}

/// Hands over the line that says that the server is ready, and hands back all others.
fn follow(errors: impl BufRead, ready: oneshot::Sender<String>) -> String {
    let (mut ready, mut rest) = (Some(ready), String::new());
    for line in errors.lines().map_while(Result::ok) {
        match ready.take_if(|_| line.contains("ready on http://")) {
            Some(ready) => drop(ready.send(line)),
            None => rest.extend([line.as_str(), "\n"]),
        }
    }
    rest
}

impl Server {
    /// Somebody who calls it.
    pub fn client(&self, token: Option<&str>) -> Client {
        Client::new(Arc::new(Mutex::new(self.address)), token.map(str::to_owned))
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name; answers how the process ended and what it said after it was ready.
    pub async fn end(mut self, signal: &str) -> (Option<i32>, String) {
        let sent = Command::new("kill").args(["-s", signal, &self.child.id().to_string()]).status().expect("kill");
        assert!(sent.success());
        // Its log ends with the process.
        let log = self.log().await;
        (self.child.wait().expect("an end").code(), log)
    }

    async fn log(&mut self) -> String {
        let log = self.log.take().expect("asked for once");
        timeout(PATIENCE, log).await.expect("an end in time").expect("its log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
