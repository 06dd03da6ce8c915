//! The program as people run it: as a process, with nothing but a folder.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::client::text;
use crate::support::http_sink::{HttpSink, Play};
use crate::support::install::{EMAIL, PASSWORD, logged_in, login, over, printed, refused, with_admin};
use crate::support::plain;
use crate::support::program::Program;
use crate::support::world::webhook;

#[tokio::test]
async fn it_serves_with_nothing_but_a_folder_and_ends_when_told_to() {
    let program = Program::new();
    let server = program.serve().await;
    assert!(server.ready.contains("data in ./data"), "{}", server.ready);
    assert_ne!(server.address.port(), 0);
    assert_eq!(plain::get(server.address, "/readyz").await.body, "ready\n");
    let data = program.folder().join("data");
    for (path, mode) in [("", 0o700), ("secret.key", 0o600), ("fanfare.db", 0o600), ("fanfare.db-wal", 0o600)] {
        let found = std::fs::metadata(data.join(path)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{path}");
    }
    let mut made: Vec<_> =
        std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    made.retain(|name| !name.starts_with("fanfare.db-"));
    made.sort();
    assert_eq!(made, ["fanfare.db", "lock", "secret.key"]);
    let (code, log) = server.end("TERM").await;
    assert_eq!(code, Some(0));
    assert!(log.trim_end().ends_with("stopped"), "{log}");
    let again = program.serve().await;
    assert_eq!(again.end("INT").await.0, Some(0));
}

/// Starts what follows as it is, but for its errors: nobody reads them once it is ready.
const UNREAD: &[&str] = &["bash", "-c", "exec \"$0\" \"$@\" 2> >(sed '/ready on/q' >&2)"];

#[tokio::test]
async fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let program = Program::new();
    let server = program.serve_by(UNREAD).await;
    for path in ["/nowhere/", "/readyz", "/nowhere/"] {
        let status = plain::get(server.address, path).await.status;
        assert_eq!(status, if path == "/readyz" { 200 } else { 404 }, "{path}");
    }
    assert_eq!(server.end("TERM").await.0, Some(0));
    let full = &["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"];
    let told = Program::new().with("FANFARE_LISTEN", "192.0.2.1:1").run_by(full, &["serve"], "").await;
    assert_eq!(told.code, Some(1), "no panic: {told:?}");
}

#[tokio::test]
async fn a_terminal_that_goes_away_ends_it_in_order_and_one_behind_nohup_not_at_all() {
    let program = Program::new();
    let (code, log) = program.serve().await.end("HUP").await;
    assert_eq!(code, Some(0));
    assert!(log.trim_end().ends_with("stopped"), "{log}");
    let server = program.serve_by(&["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""]).await;
    let sent = Command::new("kill").args(["-s", "HUP", &server.id().to_string()]).status();
    assert!(sent.expect("kill").success());
    assert_eq!(plain::get(server.address, "/readyz").await.status, 200);
    let (code, log) = server.end("TERM").await;
    assert_eq!((code, log.matches("stopping").count()), (Some(0), 1), "{log}");
}

/// So many connections can be opened; those who hold them must leave deliveries theirs.
#[tokio::test]
async fn whoever_holds_all_connections_keeps_no_delivery_from_its_own() {
    let program = with_admin();
    let server = program.serve_by(&["sh", "-c", "ulimit -n 200; exec \"$0\" \"$@\""]).await;
    let token = login(&server.client(None), EMAIL, PASSWORD).await.expect("a token");
    let client = server.client(Some(&token));
    let sink = HttpSink::start().await;
    let hook = client.preset("webhook", webhook(&sink)).await;
    let pushed = client.pushed(&hook, json!({ "delay": 1 })).await;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut connection = tokio::net::TcpStream::connect(server.address).await.unwrap();
        // Those for which there is no room are hung up on.
        let _ = connection.write_all(b"GET /heal").await;
        held.push(connection);
    }
    sink.next().await;
    drop(held);
    assert_eq!(over(&client, &text(&pushed["tasks"][0]["task_id"])).await["attempts"], 1);
    let (_, log) = server.end("TERM").await;
    assert!(!log.contains("could be accepted"), "{log}");
}

#[tokio::test]
async fn a_server_that_waits_for_its_database_ends_when_told_to() {
    // It takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://ann@{}/none", silent.local_addr().unwrap());
    let program = Program::new().with("FANFARE_DATABASE_URL", &url).with("FANFARE_SECRET_KEY", &"ab".repeat(32));
    let mut child = program.command(&[], &["serve"]).spawn().unwrap();
    let connection = tokio::task::spawn_blocking(move || (silent.accept().unwrap(), silent)).await.unwrap();
    let began = std::time::Instant::now();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    drop(connection);
}

#[tokio::test]
async fn a_second_server_on_the_same_folder_is_refused() {
    let program = Program::new();
    let server = program.serve().await;
    let second = program.run(&["serve"]).await;
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains("fanfare: another fanfare runs on ./data"), "{}", second.err);
    assert_eq!(plain::get(server.address, "/readyz").await.status, 200, "the first goes on");
}

#[tokio::test]
async fn a_second_server_on_the_same_database_is_refused_whatever_its_folder() {
    let first = Program::new();
    let file = first.folder().join("own.db");
    let url = format!("sqlite:{}", file.display());
    let first = first.with("FANFARE_DATABASE_URL", &url);
    let server = first.serve().await;
    let second = Program::new().with("FANFARE_DATABASE_URL", &url).run(&["serve"]).await;
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains(&format!("another fanfare runs on {}", file.display())), "{}", second.err);
    assert_eq!(plain::get(server.address, "/readyz").await.status, 200, "the first goes on");
}

#[tokio::test]
async fn a_second_server_that_is_given_the_first_one_s_own_database_is_refused() {
    let first = Program::new();
    let server = first.serve().await;
    let file = first.folder().join("data/fanfare.db");
    let alias = first.folder().join("alias.db");
    std::os::unix::fs::symlink(&file, &alias).unwrap();
    for path in [&file, &alias] {
        let second = Program::new().with("FANFARE_DATABASE_URL", &format!("sqlite:{}", path.display()));
        let second = second.run(&["serve"]).await;
        assert_eq!(second.code, Some(1), "{}", second.err);
        assert!(second.err.contains(&format!("another fanfare runs on {}", path.display())), "{}", second.err);
    }
    assert_eq!(plain::get(server.address, "/readyz").await.status, 200, "the first goes on");
    server.end("TERM").await;
    let by_name = Program::new().with("FANFARE_DATABASE_URL", &format!("sqlite:{}", file.display()));
    let key = std::fs::read_to_string(first.folder().join("data/secret.key")).unwrap();
    let by_name = by_name.with("FANFARE_SECRET_KEY", key.trim()).serve().await;
    let second = first.run(&["serve"]).await;
    assert!(second.err.contains("another fanfare runs on ./data"), "{}", second.err);
    let linked = Program::new();
    std::fs::create_dir(linked.folder().join("data")).unwrap();
    std::os::unix::fs::symlink(&file, linked.folder().join("data/fanfare.db")).unwrap();
    let second = linked.with("FANFARE_SECRET_KEY", key.trim()).run(&["serve"]).await;
    assert!(second.err.contains("another fanfare runs on ./data"), "{}", second.err);
    assert_eq!(plain::get(by_name.address, "/readyz").await.status, 200);
}

#[tokio::test]
async fn an_address_in_use_is_told() {
    let server = Program::new().serve().await;
    let second = Program::new().with("FANFARE_LISTEN", &server.address.to_string()).run(&["serve"]).await;
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains(&format!("cannot listen on {}", server.address)), "{}", second.err);
}

#[tokio::test]
async fn another_secret_key_is_refused() {
    let program = Program::new();
    printed(program.run(&["migrate"]).await);
    let program = program.with("FANFARE_SECRET_KEY", &"ab".repeat(32));
    for command in ["serve", "migrate"] {
        let told = program.run(&[command]).await;
        assert_eq!(told.code, Some(1));
        assert!(told.err.contains("the secret key is not the one that this database was sealed with"), "{}", told.err);
    }
    let program = program.with("FANFARE_SECRET_KEY", "abc");
    let told = "variable FANFARE_SECRET_KEY: `secret_key` must be 64 hexadecimal digits";
    assert_eq!(refused(&program.run(&["migrate"]).await), told);
    let program = Program::new();
    printed(program.run(&["migrate"]).await);
    std::fs::write(program.folder().join("data/secret.key"), "no key").unwrap();
    assert!(refused(&program.run(&["migrate"]).await).contains("secret.key does not hold a key"));
}

#[tokio::test]
async fn an_administrator_is_made_on_the_command_line() {
    let program = Program::new();
    let create = ["admin", "create-user", EMAIL, "--admin"];
    let made = printed(program.run_with(&create, &format!("{PASSWORD}\n")).await);
    assert_eq!(made, format!("made the admin {EMAIL}\n"));
    let again = program.run_with(&create, "another password\n").await;
    assert_eq!(refused(&again), format!("there is an account with the address {EMAIL} already"));
    let short = program.run_with(&["admin", "create-user", "ann@example.com"], "short\n").await;
    assert_eq!(refused(&short), "the password is not acceptable: too short");
    let none = program.run_with(&["admin", "create-user", "ann@example.com"], "").await;
    assert_eq!(refused(&none), "no password on standard input");
    let odd = program.run_with(&["admin", "create-user", "ann"], PASSWORD).await;
    assert_eq!(refused(&odd), "the email is not acceptable: invalid");
    let server = program.serve().await;
    let token = login(&server.client(None), EMAIL, PASSWORD).await.expect("a token");
    server.client(Some(&token)).get("/task/?all=true").await.data();
    assert_eq!(login(&server.client(None), EMAIL, "another password").await, None);
}

#[tokio::test]
async fn a_password_can_be_set_while_the_server_runs() {
    let program = Program::new().with("FANFARE_ADMIN_EMAIL", EMAIL).with("FANFARE_ADMIN_PASSWORD", PASSWORD);
    let server = program.serve().await;
    assert!(login(&server.client(None), EMAIL, PASSWORD).await.is_some(), "the first start makes the administrator");
    let changed = program.run_with(&["admin", "set-password", EMAIL], "a new password\r\n").await;
    assert_eq!(printed(changed), format!("changed the password of {EMAIL}\n"));
    assert_eq!(login(&server.client(None), EMAIL, PASSWORD).await, None);
    assert!(login(&server.client(None), EMAIL, "a new password").await.is_some());
    let unknown = program.run_with(&["admin", "set-password", "nobody@example.com"], PASSWORD).await;
    assert_eq!(refused(&unknown), "there is no account with the address nobody@example.com");
    assert_eq!(server.end("TERM").await.0, Some(0));
    let server = program.serve().await;
    assert!(login(&server.client(None), EMAIL, "a new password").await.is_some(), "a later start changes nothing");
}

#[tokio::test]
async fn an_administrator_who_was_removed_does_not_come_back_with_the_next_start() {
    let program = with_admin();
    let second = "second@example.com";
    printed(program.run_with(&["admin", "create-user", second, "--admin"], PASSWORD).await);
    let server = program.serve().await;
    assert_eq!(login(&server.client(None), EMAIL, PASSWORD).await, None, "there was one before");
    assert!(server.end("TERM").await.1.contains("there is an administrator already"));

    let program = with_admin();
    let (server, token) = logged_in(&program).await;
    printed(program.run_with(&["admin", "create-user", second, "--admin"], PASSWORD).await);
    let gone = server.client(Some(&token)).delete_with("/account/user/", json!({ "password": PASSWORD })).await;
    assert_eq!(gone.status, 200, "{}", gone.body);
    server.end("TERM").await;
    let server = program.serve().await;
    assert_eq!(login(&server.client(None), EMAIL, PASSWORD).await, None);
}

#[tokio::test]
async fn an_administrator_who_cannot_be_is_told() {
    let program = Program::new().with("FANFARE_ADMIN_EMAIL", EMAIL).with("FANFARE_ADMIN_PASSWORD", "short");
    let told = program.run(&["serve"]).await;
    let last = "fanfare: admin_password is not acceptable: too short";
    assert_eq!((told.code, told.err.lines().last()), (Some(1), Some(last)));
}

#[tokio::test]
async fn the_settings_in_force_are_printed_without_secrets() {
    let program = Program::new()
        .with("FANFARE_SECRET_KEY", &"ab".repeat(32))
        .with("FANFARE_ADMIN_EMAIL", EMAIL)
        .with("FANFARE_ADMIN_PASSWORD", "hunter2hunter2")
        .with("DATABASE_URL", "postgres://ann:hunter2@db.example.com/fanfare")
        .with("FANFARE_MAIL_URL", "smtp://ann:hunter2@mail.example.com:587?tls=required")
        .with("FANFARE_DELIVERY_ALLOW", "10.0.0.0/8, nas.lan");
    std::fs::write(program.folder().join("fanfare.toml"), "listen = \"127.0.0.1:1\"\n[log]\nformat = \"json\"\n")
        .unwrap();
    let shown = printed(program.run(&["config"]).await);
    let settings: toml::Table = shown.parse().unwrap();
    assert!(!shown.contains("hunter2") && !shown.contains("abab"), "{shown}");
    assert_eq!(settings["listen"].as_str(), Some("127.0.0.1:0"), "a variable wins over the file");
    assert_eq!(settings["log"]["format"].as_str(), Some("json"));
    assert_eq!(settings["database_url"].as_str(), Some("postgres://ann:****@db.example.com/fanfare"));
    assert_eq!(settings["delivery"]["allow"].as_array().unwrap().len(), 2);
    assert_eq!(std::fs::read_dir(program.folder()).unwrap().count(), 1, "looking makes nothing");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_told_when_they_are_looked_at() {
    for (variable, value, told) in [
        ("FANFARE_SECRET_KEY", "abc", "`secret_key` must be 64 hexadecimal digits"),
        ("FANFARE_MAIL_URL", "smtp://mail.example.com?tls=maybe", "mail.url"),
        ("FANFARE_DELIVERY_ALLOW", "a b", "`delivery.allow` \"a b\""),
        ("FANFARE_LOG_LEVEL", "warning", "`log.level` is not a log level"),
    ] {
        let ended = Program::new().with(variable, value).run(&["config"]).await;
        assert!(refused(&ended).contains(told), "{}", ended.err);
    }
    let program = Program::new();
    std::fs::create_dir(program.folder().join("data")).unwrap();
    std::fs::write(program.folder().join("data/services"), "").unwrap();
    assert_eq!(refused(&program.run(&["services", "check"]).await), "./data/services is not a folder");
}

#[tokio::test]
async fn a_variable_that_is_no_text_is_told_and_what_a_cluster_sets_is_passed_over() {
    for variable in ["FANFARE_DATA_DIR", "DATABASE_URL"] {
        let script = format!("export {variable}=\"$(printf 'd\\351')\"; exec \"$0\" \"$@\"");
        let told = Program::new().run_by(&["sh", "-c", &script], &["config"], "").await;
        assert_eq!(refused(&told), format!("variable {variable} is not UTF-8"));
    }
    let of_a_service = Program::new()
        .with("FANFARE_PORT", "tcp://10.0.0.1:8080")
        .with("FANFARE_PORT_8080_TCP_ADDR", "10.0.0.1")
        .with("FANFARE_SERVICE_HOST", "10.0.0.1")
        .with("FANFARE_SERVICE_PORT", "8080");
    printed(of_a_service.run(&["config"]).await);
    let told = Program::new().with("FANFARE_PORT", "9000").run(&["config"]).await;
    assert!(refused(&told).starts_with("unknown variable FANFARE_PORT;"), "{told:?}");
}

#[tokio::test]
async fn what_is_not_known_is_told_with_what_is_nearest() {
    for (variable, hint) in [
        ("FANFARE_LISEN", "FANFARE_LISTEN"),
        ("FANFARE_DELIVERY_ALOW", "FANFARE_DELIVERY_ALLOW"),
        ("FANFARE_SECRETKEY", "FANFARE_SECRET_KEY"),
    ] {
        let told = Program::new().with(variable, "hunter2").run(&["serve"]).await;
        assert_eq!(refused(&told), format!("unknown variable {variable}; did you mean {hint}?"));
    }
    for (file, told) in [
        ("lisen = \"127.0.0.1:1\"\n", "fanfare.toml line 1: unknown key `lisen`; did you mean `listen`?"),
        (
            "\n[delivery]\nalow = []\n",
            "fanfare.toml line 3: unknown key `delivery.alow`; did you mean `delivery.allow`?",
        ),
    ] {
        let program = Program::new();
        std::fs::write(program.folder().join("fanfare.toml"), file).unwrap();
        assert_eq!(refused(&program.run(&["serve"]).await), told);
    }
    let program = Program::new().with("FANFARE_DELIVERY_CONCURRENCY", "many");
    let told = program.run(&["config"]).await;
    assert!(refused(&told).contains("FANFARE_DELIVERY_CONCURRENCY"), "{}", told.err);
    let missing = Program::new().run(&["--config", "nowhere.toml", "config"]).await;
    assert!(refused(&missing).starts_with("nowhere.toml: cannot be read"), "{}", missing.err);
}

#[tokio::test]
async fn what_the_command_line_does_not_know_is_a_mistake_in_its_use() {
    for args in [&["srve"][..], &[], &["admin", "create-user"], &["services", "render"]] {
        let told = Program::new().run(args).await;
        assert_eq!((told.code, &*told.out), (Some(2), ""), "{args:?}");
        assert!(told.err.contains("Usage: fanfare"), "{}", told.err);
    }
    let version = printed(Program::new().run(&["--version"]).await);
    assert_eq!(version, format!("fanfare {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn the_document_is_printed() {
    // Even where the settings are broken: it needs none.
    let program = Program::new().with("FANFARE_NONSENSE", "1");
    assert_eq!(printed(program.run(&["openapi"]).await), fanfare::api::document_text());
}

#[tokio::test]
async fn migrating_makes_the_database_and_can_be_repeated() {
    let program = Program::new().with("FANFARE_DATA_DIR", "else/where");
    for _ in 0..2 {
        assert_eq!(printed(program.run(&["migrate"]).await), "the database is up to date\n");
    }
    assert!(program.folder().join("else/where/fanfare.db").is_file());
    assert_eq!(program.serve().await.end("TERM").await.0, Some(0));
}

#[tokio::test]
async fn a_push_outlives_the_death_of_the_server() {
    let (program, sink) = (with_admin(), HttpSink::start().await);
    let (server, token) = logged_in(&program).await;
    let mut params = webhook(&sink);
    params["delay"] = json!(1);
    params["content"] = json!("survivor");
    let pushed = server.client(Some(&token)).pushed("webhook", params).await;
    assert_eq!(server.end("KILL").await.0, None, "killed");
    assert_eq!(sink.requests().len(), 0, "it was not due yet");
    let server = program.serve().await;
    assert_eq!(sink.next().await.json(), json!({ "content": "survivor" }));
    let task = over(&server.client(Some(&token)), &text(&pushed["task_id"])).await;
    assert_eq!((&task["state"], &task["attempts"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(server.end("TERM").await.0, Some(0));
    assert_eq!(sink.requests().len(), 1, "and only once");
}

#[tokio::test]
async fn an_answer_that_came_while_the_machine_slept_counts() {
    let (program, sink) = (with_admin().with("FANFARE_DELIVERY_ATTEMPT_TIMEOUT_S", "1"), HttpSink::start().await);
    sink.script(vec![Play::status(200).after(Duration::from_millis(500))]);
    let (server, token) = logged_in(&program).await;
    let client = server.client(Some(&token));
    let pushed = client.pushed("webhook", webhook(&sink)).await;
    sink.next().await;
    let pid = server.id().to_string();
    let signal = |signal| assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    signal("STOP");
    // Past the end of the attempt, and the second that is waited in any case.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    signal("CONT");
    let task = over(&client, &text(&pushed["task_id"])).await;
    assert_eq!((&task["state"], &task["attempts"]), (&json!("succeeded"), &json!(1)), "{task}");
    assert_eq!(sink.requests().len(), 1);
}

#[tokio::test]
async fn an_attempt_that_the_server_died_in_is_made_again() {
    let (program, sink) = (with_admin(), HttpSink::start().await);
    sink.script(vec![Play::Hang]);
    let (server, token) = logged_in(&program).await;
    let pushed = server.client(Some(&token)).pushed("webhook", webhook(&sink)).await;
    sink.next().await;
    assert_eq!(server.end("KILL").await.0, None);
    let server = program.serve().await;
    let second = sink.next().await;
    let task = text(&pushed["task_id"]);
    assert_eq!(second.header("idempotency-key"), Some(&*task), "so that the receiver can tell");
    let read = over(&server.client(Some(&token)), &task).await;
    let outcomes: Vec<_> = read["attempt_log"].as_array().unwrap().iter().map(|at| text(&at["outcome"])).collect();
    assert_eq!((&read["state"], outcomes), (&json!("succeeded"), vec!["interrupted".to_owned(), "sent".to_owned()]));
}
