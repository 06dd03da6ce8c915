//! Backups: made while pushes are taken in, restored in another folder, and refused or left out whole otherwise.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::client::{Client, text};
use crate::support::http_sink::{HttpSink, Play};
use crate::support::install::{change, logged_in, make_due, over, printed, refused, with_admin};
use crate::support::program::Program;
use crate::support::world::{webhook, with};

/// Puts a backup and the key into a folder, as the documentation says.
fn restore(copy: &Path, from: &Program, to: &Program) {
    let data = to.folder().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::copy(copy, data.join("fanfare.db")).unwrap();
    std::fs::copy(from.folder().join("data/secret.key"), data.join("secret.key")).unwrap();
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Pushes tasks that wait, until told to stop; their ids.
async fn push_on(client: Client, preset: String, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut tasks = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        tasks.push(text(&client.pushed(&preset, json!({ "delay": 3600 })).await["task_id"]));
    }
    tasks
}

#[tokio::test]
async fn a_backup_under_load_has_all_that_was_answered_before_it() {
    let (program, sink) = (with_admin(), HttpSink::start().await);
    let (server, token) = logged_in(&program).await;
    let client = server.client(Some(&token));
    let preset = client.preset("webhook", with(webhook(&sink), json!({ "content": "c" }))).await;
    sink.script(vec![Play::Hang]);
    let running = text(&client.pushed(&preset, json!({ "content": "under way" })).await["task_id"]);
    assert_eq!(sink.next().await.header("idempotency-key"), Some(&*running));
    let mut answered = Vec::new();
    for _ in 0..20 {
        answered.push(text(&client.pushed(&preset, json!({ "delay": 3600 })).await["task_id"]));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> =
        (0..4).map(|_| tokio::spawn(push_on(client.clone(), preset.clone(), Arc::clone(&stop)))).collect();
    let told = printed(program.run(&["backup", "copy.db"]).await);
    stop.store(true, Ordering::Relaxed);
    let mut meanwhile = 0;
    for pushes in load {
        meanwhile += pushes.await.unwrap().len();
    }
    assert!(meanwhile > 0, "the server went on");
    assert!(told.starts_with("copy.db: ") && told.contains("kB in "), "{told}");
    assert!(told.ends_with("the key is not in it: keep ./data/secret.key as well\n"), "{told}");
    let copy = program.folder().join("copy.db");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(program.folder()), ["copy.db", "data"]);
    assert_eq!(server.end("KILL").await.0, None);

    let restored = with_admin();
    restore(&copy, &program, &restored);
    make_due(&restored.folder().join("data/fanfare.db")).await;
    let server = restored.serve().await;
    let client = server.client(Some(&token));
    for task in &answered {
        assert_eq!(over(&client, task).await["state"], "succeeded", "{task} waited and is delivered");
    }
    let again = over(&client, &running).await;
    assert_eq!((&again["state"], &again["attempts"]), (&json!("succeeded"), &json!(2)), "taken over");
    let keys: Vec<_> =
        sink.requests().iter().filter_map(|request| request.header("idempotency-key").map(str::to_owned)).collect();
    assert_eq!(keys.iter().filter(|key| **key == running).count(), 2, "the same key as before the backup");
    assert_eq!(server.end("TERM").await.0, Some(0));
}

#[tokio::test]
async fn a_restored_database_wants_its_own_key() {
    let program = with_admin();
    let (server, _) = logged_in(&program).await;
    printed(program.run(&["backup", "copy.db"]).await);
    assert_eq!(server.end("TERM").await.0, Some(0));
    let restored = Program::new();
    restore(&program.folder().join("copy.db"), &program, &restored);
    let key = restored.folder().join("data/secret.key");
    std::fs::remove_file(&key).unwrap();
    let told = restored.run(&["serve"]).await;
    let hint = "there is no key for ./data/fanfare.db: put its key file at ./data/secret.key, or set secret_key";
    assert!(told.err.ends_with(&format!("fanfare: {hint}\n")), "{}", told.err);
    assert!(!key.exists(), "none is made that would not open it");
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    let told = restored.run(&["serve"]).await;
    assert!(told.err.contains("the secret key is not the one that this database was sealed with"), "{}", told.err);
    let told = restored.run(&["backup", "again.db"]).await;
    assert_eq!(told.code, Some(0), "a backup is better than none");
    assert!(told.err.contains("the key in force does not open this backup"), "{}", told.err);
}

#[tokio::test]
async fn a_file_that_is_there_is_kept_unless_it_is_to_be_replaced() {
    let program = Program::new();
    printed(program.run(&["migrate"]).await);
    let copy = program.folder().join("copy.db");
    std::fs::write(&copy, "").unwrap();
    let told = program.run(&["backup", "copy.db"]).await;
    assert!(refused(&told).ends_with("copy.db is there already; --force replaces it"), "{}", told.err);
    assert_eq!(std::fs::read(&copy).unwrap(), b"");
    printed(program.run(&["backup", "copy.db", "--force"]).await);
    printed(program.run(&["backup", "copy.db", "--force"]).await);
    assert!(std::fs::read(&copy).unwrap().starts_with(b"SQLite format 3"));
    let key = std::fs::read(program.folder().join("data/secret.key")).unwrap();
    for other in ["data/secret.key", "/dev/null"] {
        let told = program.run(&["backup", other, "--force"]).await;
        assert!(refused(&told).ends_with("is no backup, so it is not replaced"), "{}", told.err);
    }
    assert_eq!(std::fs::read(program.folder().join("data/secret.key")).unwrap(), key);
    std::fs::write(program.folder().join("data/lock"), "").unwrap();
    for own in ["data/fanfare.db", "data/../data/fanfare.db", "data/lock"] {
        let told = program.run(&["backup", own, "--force"]).await;
        assert!(refused(&told).ends_with("belongs to the database in use"), "{}", told.err);
    }
    let told = program.run(&["backup", "data", "--force"]).await;
    assert!(refused(&told).ends_with("data is a folder; name a file"), "{}", told.err);
    let told = program.run(&["backup", "nowhere/copy.db"]).await;
    assert!(refused(&told).contains("cannot write"), "{}", told.err);
    assert_eq!(program.serve().await.end("TERM").await.0, Some(0), "the database is as it was");
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_behind() {
    let program = with_admin();
    let (_server, _) = logged_in(&program).await;
    std::fs::write(program.folder().join("copy.db"), "SQLite format 3\0 before").unwrap();
    // No file of this process may grow beyond 32 KiB.
    let limited = "trap '' XFSZ; ulimit -f 64; exec \"$0\" backup copy.db --force";
    let mut command = Command::new("sh");
    command.args(["-c", limited]).arg(program.command(&[], &[]).get_program());
    let ended = command.env_clear().current_dir(program.folder()).output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("could not be copied to"), "{told}");
    assert_eq!(names(program.folder()), ["copy.db", "data"]);
    assert_eq!(std::fs::read(program.folder().join("copy.db")).unwrap(), b"SQLite format 3\0 before");
}

#[tokio::test]
async fn an_interrupted_backup_leaves_nothing_behind() {
    let program = Program::new();
    printed(program.run(&["migrate"]).await);
    let sql = "INSERT INTO setting WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        SELECT i, printf('%.*c', 10000, 'x') FROM n";
    change(&program.folder().join("data/fanfare.db"), sql).await;
    let child = program.command(&[], &["backup", "copy.db"]).spawn().unwrap();
    while !names(program.folder()).iter().any(|name| name.ends_with(".part")) {
        tokio::task::yield_now().await;
    }
    assert!(Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), &*ended.stdout), (Some(1), &b""[..]), "{told}");
    assert!(told.starts_with("fanfare: interrupted; there is no backup: "), "{told}");
    assert_eq!(names(program.folder()), ["data"]);
}

#[tokio::test]
async fn where_there_is_no_database_none_is_made() {
    let program = Program::new();
    assert_eq!(refused(&program.run(&["backup", "copy.db"]).await), "there is no database at ./data/fanfare.db");
    assert_eq!(names(program.folder()), [""; 0]);
    let program = program.with("DATABASE_URL", "postgres://ann:hunter2@127.0.0.1:1/fanfare");
    let told = program.run(&["backup", "copy.db"]).await;
    assert!(refused(&told).contains("PostgreSQL") && told.err.contains("pg_dump"), "{}", told.err);
    assert_eq!(names(program.folder()), [""; 0]);
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let other = "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL);
        INSERT INTO _sqlx_migrations VALUES (20240101, 'theirs')";
    for (made_by, told) in [
        ("", "is not an SQLite database, or it is damaged"),
        ("CREATE TABLE account (id TEXT)", "is a database of another program"),
        (other, "is a database of another program"),
    ] {
        let program = Program::new();
        let file = program.folder().join("theirs.db");
        std::fs::write(
            &file,
            if made_by.is_empty() { "no database at all, but long enough ".repeat(50) } else { String::new() },
        )
        .unwrap();
        if !made_by.is_empty() {
            change(&file, made_by).await;
        }
        let before = std::fs::read(&file).unwrap();
        let program = program.with("FANFARE_DATABASE_URL", "sqlite:theirs.db");
        for args in [&["serve"][..], &["migrate"], &["backup", "copy.db"]] {
            let ended = program.run(args).await;
            assert_eq!(ended.code, Some(1), "{args:?}");
            assert!(ended.err.contains(&format!("theirs.db {told}")), "{args:?}: {}", ended.err);
        }
        assert_eq!(std::fs::read(&file).unwrap(), before, "untouched");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_copied_but_not_used() {
    let program = Program::new();
    printed(program.run(&["migrate"]).await);
    let sql = "INSERT INTO _sqlx_migrations VALUES (9999, 'later', '2030-01-01', TRUE, x'00', 1)";
    change(&program.folder().join("data/fanfare.db"), sql).await;
    for command in ["serve", "migrate"] {
        let told = program.run(&[command]).await;
        assert!(told.err.contains("./data/fanfare.db was used by a newer version of Fanfare"), "{}", told.err);
    }
    printed(program.run(&["backup", "copy.db"]).await);
}

#[tokio::test]
async fn a_damaged_database_gives_no_backup() {
    let program = with_admin();
    let (server, _) = logged_in(&program).await;
    assert_eq!(server.end("TERM").await.0, Some(0));
    let file = program.folder().join("data/fanfare.db");
    let mut bytes = std::fs::read(&file).unwrap();
    // The first page tells what tables there are; the pages after it are their rows and indexes.
    bytes[4096..].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    let told = program.run(&["backup", "copy.db"]).await;
    assert!(refused(&told).contains("damaged") || told.err.contains("malformed"), "{}", told.err);
    assert_eq!(names(program.folder()), ["data"]);
}
