//! The disk is full while the server runs: pushes are refused whole, deliveries are not repeated, and once there is room
//! again it goes on by itself.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::caller::{Met, arrivals, at_rest, number, owned, owner, push, told, until_ready};
use crate::support::client::{Client, text};
use crate::support::http_sink::{HttpSink, Play};
use crate::support::program::{Program, Server};
use crate::support::scene::Scene;
use crate::support::world::webhook;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_is_survived() {
    // As root, or as what one's own user namespace takes for root.
    let ways = [&["unshare", "-m"][..], &["unshare", "-U", "-r", "-m"]];
    let mounts = |way: &&&[&str]| {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["mount", "-t", "tmpfs", "-o", "size=64k", "none", "/tmp"]);
        command.output().is_ok_and(|output| output.status.success())
    };
    match ways.iter().find(mounts) {
        Some(way) => Trial::start(Disk::Mounted, &[way, SMALL].concat()).await.run().await,
        None => eprintln!("\n*** SKIPPED: nothing can be mounted here; a limit on the size of files stands in for it"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_grow_is_survived() {
    // Without the trap the system would end the process at the limit.
    Trial::start(Disk::Limited, &["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]).await.run().await;
}

/// Puts a small file system in place of the data folder, for this process alone.
const SMALL: &[&str] = &["sh", "-c", "mount -t tmpfs -o size=6m none data && exec \"$@\"", "sh"];

/// How the room is limited.
enum Disk {
    Mounted,
    Limited,
}

/// A server with little room, receivers, and what was accepted and refused.
struct Trial {
    disk: Disk,
    program: Program,
    server: Server,
    ann: Client,
    quick: HttpSink,
    slow: HttpSink,
    accepted: BTreeSet<String>,
    refused: BTreeSet<u64>,
}

impl Trial {
    async fn start(disk: Disk, by: &[&str]) -> Self {
        let program = owned().with("FANFARE_DELIVERY_ATTEMPT_TIMEOUT_S", "2");
        fs::create_dir(program.folder().join("data")).unwrap();
        let server = program.serve_by(by).await;
        let ann = owner(&server).await;
        let (quick, slow) = (HttpSink::start().await, HttpSink::start().await);
        slow.script(vec![Play::status(200).after(Duration::from_millis(1200)); 5]);
        Self { disk, program, server, ann, quick, slow, accepted: BTreeSet::new(), refused: BTreeSet::new() }
    }

    async fn run(mut self) {
        let full_for = Duration::from_secs(number("FANFARE_OUTAGE_SECONDS", 3));
        let hook = self.ann.preset("webhook", webhook(&self.quick)).await;
        let slow_hook = self.ann.preset("webhook", webhook(&self.slow)).await;
        for n in 0..8 {
            let (hook, delay) = if n < 5 { (&slow_hook, 0) } else { (&hook, 2) };
            let task = text(&self.ann.pushed(hook, json!({ "n": n, "delay": delay })).await["task_id"]);
            self.accepted.insert(task);
        }
        self.slow.expect(5).await;
        self.fill();
        let full = Instant::now();
        self.push_until_full(&hook).await;
        until_ready(self.server.address, false, Duration::from_secs(5)).await;
        while full.elapsed() < full_for {
            let begun = Instant::now();
            self.push(&hook).await;
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(self.slow.requests().len(), 5, "those that ran are not repeated");
        let big = json!({ "name": "n", "base_pusher": "webhook", "params": { "content": "c".repeat(50_000) } });
        let other = self.ann.post("/preset/", big.clone()).await;
        assert_eq!((other.refusal(), other.header("retry-after")), ((503, "busy"), Some("5")));
        assert!(self.refused.len() > 10, "{} were refused", self.refused.len());

        self.free();
        until_ready(self.server.address, true, Duration::from_secs(5)).await;
        let before = self.accepted.len();
        self.push(&hook).await;
        assert_eq!(self.accepted.len(), before + 1, "there is room again");
        self.ann.post("/preset/", big).await.data();
        self.check().await;
    }

    async fn check(self) {
        at_rest(&self.ann, Duration::from_secs(20)).await;
        let mut arrived = arrivals(&self.quick);
        arrived.extend(arrivals(&self.slow));
        for (task, times) in &arrived {
            assert_eq!(times.len(), 1, "{task} arrived more than once");
        }
        assert_eq!(arrived.keys().collect::<Vec<_>>(), self.accepted.iter().collect::<Vec<_>>());
        for request in self.quick.requests() {
            let n = request.json()["n"].as_u64().unwrap();
            assert!(!self.refused.contains(&n), "{n} was refused and arrived");
        }
        let (accepted, refused) = (self.accepted.len(), self.refused.len());
        let (code, log) = self.server.end("TERM").await;
        assert_eq!(code, Some(0), "{log}");
        assert!(told(&log) < 150, "told too often:\n{log}");
        eprintln!("full: {accepted} accepted and arrived once each, {refused} refused");
    }

    async fn push_until_full(&mut self, hook: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.refused.is_empty() {
            assert!(Instant::now() < deadline, "the disk does not fill");
            self.push(hook).await;
        }
    }

    async fn push(&mut self, hook: &str) {
        let n = 100 + u64::try_from(self.accepted.len() + self.refused.len()).unwrap();
        match push(self.server.address, hook, &json!({ "n": n, "content": "c".repeat(8000) })).await {
            Met::Accepted(data) => self.accepted.insert(text(&data["task_id"])),
            Met::Busy(1..=60) => self.refused.insert(n),
            met => panic!("{met:?}"),
        };
    }

    fn fill(&self) {
        match self.disk {
            Disk::Mounted => {
                let mut ballast = File::create(self.ballast()).unwrap();
                while ballast.write_all(&[1; 4096]).is_ok() {}
            }
            Disk::Limited => {
                let log = self.program.folder().join("data/fanfare.db-wal");
                self.limit(&format!("{}:", fs::metadata(log).unwrap().len()));
            }
        }
    }

    fn free(&self) {
        match self.disk {
            Disk::Mounted => fs::remove_file(self.ballast()).unwrap(),
            Disk::Limited => self.limit("unlimited:"),
        }
    }

    /// The small file system is seen by the server alone, and through it.
    fn ballast(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/cwd/data/ballast", self.server.id()))
    }

    /// Limits the size of the server's files from now on.
    fn limit(&self, size: &str) {
        let mut command = Command::new("prlimit");
        command.arg("--pid").arg(self.server.id().to_string()).arg(format!("--fsize={size}"));
        assert!(command.status().expect("prlimit").success());
    }
}

#[tokio::test]
async fn a_long_read_holds_nobody_up() {
    let scene = Scene::start().await;
    let log = scene.world.folder().join("fanfare.db-wal");
    let size = || fs::metadata(&log).unwrap().len();
    let mut reading = scene.world.engine().store.read().await.unwrap();
    reading.count_tasks().await.unwrap();
    // More than the log takes before its first checkpoint, which the reader now prevents.
    let big = json!({ "content": "c".repeat(60_000), "delay": 3600 });
    let push = async || drop::<Value>(scene.push(big.clone()).await);
    while size() < 40 << 20 {
        push().await;
    }
    assert_eq!(reading.count_tasks().await.unwrap().waiting, 0, "it still reads what it began with");
    drop(reading);
    for _ in 0..40 {
        push().await;
    }
    let settled = size();
    for _ in 0..40 {
        push().await;
    }
    assert_eq!(size(), settled, "the log is used again from its beginning");
}
