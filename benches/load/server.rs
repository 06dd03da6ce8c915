//! The servers that are measured, as child processes: started, made ready for pushes, asked for their memory, ended.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::http::{Connection, request};

/// The account that the first start makes.
pub const EMAIL: &str = "load@example.com";
const PASSWORD: &str = "correct horse battery";
/// What secrets are sealed with; the bench itself writes into a database that a server then opens.
pub const SECRET_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// The unit of times under `/proc`, the same on every usual Linux.
const TICK_MICROS: u64 = 10_000;
/// Stands in the line that says the server is ready, before its address.
const READY: &str = "ready on http://";
/// One address pushes to one Pusher as fast as it can: what limits are for. They are measured where a scenario sets them.
const UNLIMITED: [(&str, &str); 5] = [
    ("FANFARE_LIMITS_PER_ADDRESS_PER_MINUTE", "0"),
    ("FANFARE_LIMITS_PER_ACCOUNT_PER_MINUTE", "0"),
    ("FANFARE_LIMITS_PER_PUSHER_PER_MINUTE", "0"),
    ("FANFARE_LIMITS_DAILY_QUOTA", "0"),
    ("FANFARE_LIMITS_CONNECTIONS", "800"),
];
/// The argument that makes this program the empty server.
pub const EMPTY: &str = "--empty-server";

/// A child process that serves; it is killed when this is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// From starting the process to the line that says it is ready.
    pub ready_after: Duration,
}

impl Server {
    /// Starts the release server on a data folder, with settings of its own (variables and their values).
    pub async fn start(data: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
        command
            .arg("serve")
            .current_dir(data)
            .env("FANFARE_LISTEN", "127.0.0.1:0")
            .env("FANFARE_DATA_DIR", data)
            .env("FANFARE_SECRET_KEY", SECRET_KEY)
            .env("FANFARE_ADMIN_EMAIL", EMAIL)
            .env("FANFARE_ADMIN_PASSWORD", PASSWORD)
            .env("FANFARE_DELIVERY_ALLOW", "127.0.0.0/8")
            .envs(UNLIMITED)
            .envs(settings.iter().copied());
        Self::spawn(command).await
    }

    /// Starts the empty server: this program again.
    pub async fn start_empty() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(EMPTY);
        Self::spawn(command).await
    }

    async fn spawn(mut command: Command) -> anyhow::Result<Self> {
        // What the caller's shell sets for a server of its own must not leak in.
        for (name, _) in std::env::vars_os() {
            let ours = name.to_str().is_some_and(|name| name.starts_with("FANFARE_") || name == "DATABASE_URL");
            if ours && !command.get_envs().any(|(set, _)| set == name) {
                command.env_remove(name);
            }
        }
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} could not be started", command.get_program().display()))?;
        let (found, ready) = oneshot::channel();
        let stderr = child.stderr.take();
        std::thread::spawn(move || {
            if let Some(stderr) = stderr {
                read_lines(stderr, began, found);
            }
        });
        // The child is owned before anything else can fail, so that it is ended in every case.
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), ready_after: Duration::ZERO };
        let ready = tokio::time::timeout(Duration::from_secs(20), ready).await.context("the server is not ready")?;
        (server.address, server.ready_after) = ready.context("the server ended at once")?;
        Ok(server)
    }

    /// Logs in and makes a Preset on `webhook`; answers its id.
    pub async fn make_preset(&self, endpoint: &str) -> anyhow::Result<String> {
        let login = json!({ "email": EMAIL, "password": PASSWORD });
        let token = self.call("/account/user/login/", None, &login).await?;
        let token = token["token"].as_str().context("no token")?.to_owned();
        self.make_preset_by(&token, endpoint).await
    }

    /// Makes a Preset on `webhook` for whoever has this token; answers its id.
    pub async fn make_preset_by(&self, token: &str, endpoint: &str) -> anyhow::Result<String> {
        let preset = json!({ "name": "load", "base_pusher": "webhook", "params": { "endpoint": endpoint } });
        let preset = self.call("/preset/", Some(token), &preset).await?;
        Ok(preset["id"].as_str().context("no id")?.to_owned())
    }

    async fn call(&self, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<Value> {
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.exchange(&request(path, token, &body.to_string())).await?;
        anyhow::ensure!(answer.is_ok(), "{path}: {}", String::from_utf8_lossy(answer.body));
        Ok(serde_json::from_slice::<Value>(answer.body)?["data"].take())
    }

    /// Memory now and at most so far, in KiB.
    pub fn memory(&self) -> anyhow::Result<(u64, u64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
            Ok::<u64, anyhow::Error>(line.split_whitespace().nth(1).context("no figure")?.parse()?)
        };
        Ok((figure("VmRSS")?, figure("VmHWM")?))
    }

    /// Time on a processor so far, all threads together, in microseconds. Unlike figures per second it hardly depends
    /// on what else the machine does.
    pub fn processor_micros(&self) -> anyhow::Result<u64> {
        processor_micros(self.child.id())
    }

    /// Asks it to end and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        anyhow::ensure!(told.success(), "the server could not be told to stop");
        for _ in 0..2500 {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "the server stopped with {status}");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("the server did not stop within 25 s")
    }
}

/// Time on a processor that a process has spent so far, all threads together.
pub fn processor_micros(process: u32) -> anyhow::Result<u64> {
    processor_fields(process, 2)
}

/// The same with its children that have ended.
pub fn processor_micros_with_children(process: u32) -> anyhow::Result<u64> {
    processor_fields(process, 4)
}

fn processor_fields(process: u32, count: usize) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in brackets, may hold anything; user and system time are the 12th and 13th fields after it, those of
    // children that have ended the next two.
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let ticks = fields.split_whitespace().skip(11).take(count).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks * TICK_MICROS)
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds the ready line, then reads on so that the child never waits for room. Before it, lines go to our own error
/// stream: they say why a server does not start.
fn read_lines(stderr: impl Read, began: Instant, found: oneshot::Sender<(SocketAddr, Duration)>) {
    let mut reader = BufReader::with_capacity(64 * 1024, stderr);
    let mut line = String::new();
    let ready = loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(1..) => {}
            _ => return,
        }
        let address = line.split_once(READY).and_then(|(_, rest)| rest.split('/').next()?.parse().ok());
        match address {
            Some(address) => break (address, began.elapsed()),
            None if line.contains("ERROR") || line.starts_with("fanfare:") => eprint!("{line}"),
            None => {}
        }
    };
    let _ = found.send(ready);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(1..) = reader.read(&mut buffer) {}
}

/// The server that a push server is compared with: a handler that reads the body and does nothing.
pub fn serve_empty() -> anyhow::Result<()> {
    use poem::listener::{Acceptor, Listener, TcpListener};
    use poem::{Route, Server, post};

    #[poem::handler]
    async fn empty(body: Vec<u8>) -> poem::Response {
        poem::Response::builder().content_type("application/json").body(format!("{{\"read\":{}}}", body.len()))
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await?;
        let address = acceptor.local_addr().iter().find_map(|at| at.as_socket_addr().copied()).context("no address")?;
        eprintln!("{READY}{address}/");
        Ok(Server::new_with_acceptor(acceptor).run(Route::new().at("/push/*rest", post(empty))).await?)
    })
}
