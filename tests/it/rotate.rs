//! Changing the secret key: everything opens under the new one and nothing under the old one, and whenever it is killed,
//! the key that opens everything is in force afterwards.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use fanfare::store::{Column, Sealer, SecretKey};
use serde_json::json;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection};

use crate::support::PATIENCE;
use crate::support::client::text;
use crate::support::database::{Database, Fresh, both};
use crate::support::http_sink::HttpSink;
use crate::support::install::{change, logged_in, over, printed, refused, with_admin};
use crate::support::program::{Ended, Program};
use crate::support::world::{webhook, with};

both!(
    everything_goes_on_under_the_new_key,
    it_may_be_killed_at_any_instant,
    it_may_be_killed_between_the_database_and_the_key_file,
    a_key_in_the_settings_is_left_to_the_operator,
    what_would_lose_something_is_refused,
    what_no_key_opens_is_left_and_told,
    a_node_without_its_key_is_given_no_new_one,
);

const ROTATE: [&str; 2] = ["admin", "rotate-key"];
const WRONG: &str = "the secret key is not the one that this database was sealed with";

/// An installation that is stopped.
struct Install {
    program: Program,
    fresh: Option<Fresh>,
}

impl Install {
    async fn new() -> Self {
        let fresh = match Database::of_this_test() {
            Database::Sqlite => None,
            Database::Postgres => Some(Fresh::new().await),
        };
        let program = with_admin();
        let program = match &fresh {
            Some(fresh) => program.with("FANFARE_DATABASE_URL", &fresh.url),
            None => program,
        };
        Self { program, fresh }
    }

    /// One that has a key.
    async fn begun() -> Self {
        let install = Self::new().await;
        printed(install.migrate().await);
        install
    }

    async fn migrate(&self) -> Ended {
        self.program.run(&["migrate"]).await
    }

    /// Changes the key, however busy the machine is.
    async fn rotate_at_length(&self) {
        let mut command = self.program.command(&[], &ROTATE);
        let run = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap());
        let ended = tokio::time::timeout(PATIENCE * 12, run).await.expect("an end in time").unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.program.folder().join("data").join(name)
    }

    fn key(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default().trim().to_owned()
    }

    async fn run(&self, sql: &str) {
        let Some(fresh) = &self.fresh else { return change(&self.file("fanfare.db"), sql).await };
        let mut conn = fresh.connect().await;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }

    async fn rows(&self, sql: String) -> Vec<(String, String)> {
        if let Some(fresh) = &self.fresh {
            let mut conn = fresh.connect().await;
            let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
            conn.close().await.unwrap();
            return rows;
        }
        let url = format!("sqlite:{}", self.file("fanfare.db").display());
        let mut conn = SqliteConnection::connect(&url).await.unwrap();
        let rows = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        rows
    }

    /// Where sealed texts stand, in whichever table: what looks like one and is long enough.
    async fn sealed_columns(&self) -> Vec<(String, String)> {
        let columns = match self.fresh {
            Some(_) => {
                "SELECT table_name::text, column_name::text FROM information_schema.columns
                 WHERE table_schema = 'public' AND data_type = 'text' AND table_name <> '_sqlx_migrations'"
            }
            None => {
                "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c
                 WHERE t.type = 'table' AND c.type = 'TEXT' AND t.name <> '_sqlx_migrations'"
            }
        };
        let mut found = Vec::new();
        for (table, column) in self.rows(columns.to_owned()).await {
            let sql = format!("SELECT '', \"{column}\" FROM \"{table}\" WHERE \"{column}\" LIKE '1.%'");
            let sealed = |text: &str| {
                text.len() > 42 && !text[2..].contains(|c: char| !"+/".contains(c) && !c.is_alphanumeric())
            };
            if self.rows(sql).await.iter().any(|(_, text)| sealed(text)) {
                found.push((table, column));
            }
        }
        found.sort();
        found
    }

    /// How many sealed texts open under this key, and how many do not.
    async fn opening_under(&self, key: &str) -> (usize, usize) {
        let sealer = Sealer::new(&SecretKey::parse(key).expect("a key"));
        let (mut open, mut closed) = (0, 0);
        for column in Column::ALL {
            let (table, place, text) = column.names();
            let only = if column == Column::KeyProof { "WHERE name = 'key_proof'" } else { "" };
            for (place, sealed) in self.rows(format!("SELECT {place}, {text} FROM {table} {only}")).await {
                *if sealer.open(&place, &sealed).is_ok() { &mut open } else { &mut closed } += 1;
            }
        }
        (open, closed)
    }

    /// Adds sealed rows: tasks that wait for a day far away, Presets, answers.
    async fn fill(&self, tasks: usize, others: usize) {
        let sealer = Sealer::new(&SecretKey::parse(&self.key("secret.key")).expect("a key"));
        self.run(
            "INSERT INTO account (id, email, email_key, password_hash, role, confirmed_at, created_at)
             VALUES ('ann', 'a@b.c', 'a@b.c', 'none', 'user', 1, 1)",
        )
        .await;
        let params = json!({ "endpoint": "http://127.0.0.1:1/", "content": "c".repeat(200) }).to_string();
        for (column, count, before, after) in [
            (
                Column::Payload,
                tasks,
                "INSERT INTO task (owner, pusher_id, service, fallback, state, lane, run_at, created_at, id, payload)",
                "'ann', 'webhook', 'webhook', FALSE, 'waiting', 'ann@127.0.0.1:1', 99999999999999, 1",
            ),
            (
                Column::Definition,
                others,
                "INSERT INTO pusher (owner, kind, name, protected, shared, created_at, updated_at, id, definition)",
                "'ann', 'preset', 'p', FALSE, FALSE, 1, 1",
            ),
            (
                Column::Answer,
                others,
                "INSERT INTO idempotency (created_at, expires_at, hash, answer)",
                "1, 99999999999999",
            ),
        ] {
            let ids: Vec<String> = (0..count).map(|at| format!("row{at:06}")).collect();
            for ids in ids.chunks(500) {
                let row = |id: &String| format!("({after}, '{id}', '{}')", sealer.seal(column, id, &params));
                let rows: Vec<String> = ids.iter().map(row).collect();
                self.run(&format!("{before} VALUES {}", rows.join(", "))).await;
            }
        }
    }
}

async fn everything_goes_on_under_the_new_key() {
    let (install, sink) = (Install::new().await, HttpSink::start().await);
    let (server, token) = logged_in(&install.program).await;
    let client = server.client(Some(&token));
    let preset = client.preset("webhook", with(webhook(&sink), json!({ "headers": { "x-key": "s3cret-key" } }))).await;
    let push = format!("/push/{preset}/");
    let keyed = [("Idempotency-Key", "one-key")];
    let body = br#"{"delay": 3600, "content": "later"}"#;
    let first = client.send_with("POST", &push, Some("application/json"), &keyed, body).await.into_data();
    let told = install.program.run(&ROTATE).await;
    let in_use =
        if install.fresh.is_some() { "others are connected to the database (" } else { "another fanfare runs" };
    assert!(refused(&told).starts_with(in_use), "{}", told.err);
    assert_eq!(server.end("TERM").await.0, Some(0));

    let mut known = Column::ALL.map(Column::names).map(|(table, _, text)| (table.to_owned(), text.to_owned()));
    known.sort();
    assert_eq!(install.sealed_columns().await, known, "a change of the key goes through all that is sealed");

    let old = install.key("secret.key");
    let before = install.rows("SELECT id, definition FROM pusher".into()).await;
    let told = printed(install.program.run(&ROTATE).await);
    for line in ["  pusher: 1\n", "  task: 1\n", "  idempotency: 1\n", "  setting: 1\n"] {
        assert!(told.contains(line), "{told}");
    }
    let new = install.key("secret.key");
    assert!(new != old && install.key("secret.key.old") == old && !install.file("secret.key.new").exists());
    assert!(!told.contains(&new) && !told.contains(&old), "{told}");
    for name in ["secret.key", "secret.key.old"] {
        assert_eq!(std::fs::metadata(install.file(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!((install.opening_under(&new).await, install.opening_under(&old).await), ((4, 0), (0, 4)));
    if install.fresh.is_none() {
        let file = std::fs::read(install.file("fanfare.db")).unwrap();
        let old = before[0].1.as_bytes();
        assert!(!file.windows(old.len()).any(|found| found == old), "nothing is left in free pages");
    }

    install.run("UPDATE task SET run_at = 1").await;
    let server = install.program.serve().await;
    let client = server.client(Some(&token));
    assert_eq!(over(&client, &text(&first["task_id"])).await["state"], "succeeded");
    assert_eq!(sink.only_request().header("x-key"), Some("s3cret-key"));
    let again = client.send_with("POST", &push, Some("application/json"), &keyed, body).await;
    assert_eq!(again.into_data()["task_id"], first["task_id"], "the answer under the key opens");
    assert_eq!(server.end("TERM").await.0, Some(0));

    std::fs::write(install.file("secret.key"), &old).unwrap();
    assert_eq!(refused(&install.migrate().await), WRONG);
    assert_eq!(refused(&install.program.run(&ROTATE).await), WRONG);
}

async fn it_may_be_killed_at_any_instant() {
    const KILLS: u32 = 8;
    let install = Install::begun().await;
    install.fill(9_500, 250).await;
    let all = 9_500 + 2 * 250 + 1;
    let begun = Instant::now();
    install.rotate_at_length().await;
    let whole = begun.elapsed();
    let (mut kept, mut changed) = (0, 0);
    for kill in 1..=KILLS {
        let before = install.key("secret.key");
        let _ = std::fs::remove_file(install.file("secret.key.old"));
        let mut child = install.program.command(&[], &ROTATE).spawn().unwrap();
        tokio::time::sleep(whole * kill / KILLS).await;
        // It may be done.
        let _ = child.kill();
        child.wait().unwrap();
        printed(install.migrate().await);
        let after = install.key("secret.key");
        assert_eq!(install.opening_under(&after).await, (all, 0), "killed at {kill}/{KILLS}");
        *if after == before { &mut kept } else { &mut changed } += 1;
    }
    assert!(kept > 0, "some kills came in time: {kept} kept, {changed} changed");
    let _ = std::fs::remove_file(install.file("secret.key.old"));
    // A kill in the middle of writing a key file may leave this.
    let part = install.file("secret.key.old.0123456789.part");
    std::fs::write(&part, install.key("secret.key")).unwrap();
    install.rotate_at_length().await;
    assert!(!part.exists());
    assert_eq!(install.opening_under(&install.key("secret.key")).await, (all, 0));
    assert!(!install.file("secret.key.new").exists());
}

async fn it_may_be_killed_between_the_database_and_the_key_file() {
    let install = Install::begun().await;
    install.fill(100, 10).await;
    for (turn, by) in [&["migrate"][..], &ROTATE, &["serve"]].into_iter().enumerate() {
        let _ = std::fs::remove_file(install.file("secret.key.old"));
        printed(install.program.run(&ROTATE).await);
        let new = install.key("secret.key");
        // What the folder holds when the transaction is over and the file has not got its name yet.
        std::fs::rename(install.file("secret.key"), install.file("secret.key.new")).unwrap();
        std::fs::copy(install.file("secret.key.old"), install.file("secret.key")).unwrap();
        match turn {
            0 => assert_eq!(printed(install.program.run(by).await), "the database is up to date\n"),
            1 => {
                let told = printed(install.program.run(by).await);
                assert!(told.starts_with("finished the change that had been broken off\n"), "{told}");
            }
            _ => assert_eq!(install.program.serve().await.end("TERM").await.0, Some(0)),
        }
        assert_eq!((install.key("secret.key"), install.file("secret.key.new").exists()), (new.clone(), false));
        assert_eq!(install.opening_under(&new).await, (121, 0), "{by:?}");
    }
    // A key that waits and that nothing was sealed with changes nothing, and is the next one.
    let _ = std::fs::remove_file(install.file("secret.key.old"));
    let next = "cd".repeat(32);
    std::fs::write(install.file("secret.key.new"), &next).unwrap();
    let before = install.key("secret.key");
    printed(install.migrate().await);
    assert_eq!((install.key("secret.key"), install.key("secret.key.new")), (before, next.clone()));
    printed(install.program.run(&ROTATE).await);
    assert_eq!(install.key("secret.key"), next);
}

async fn a_key_in_the_settings_is_left_to_the_operator() {
    let mut install = Install::begun().await;
    install.fill(10, 1).await;
    let old = install.key("secret.key");
    std::fs::remove_file(install.file("secret.key")).unwrap();
    install.program = install.program.with("FANFARE_SECRET_KEY", &old);
    let told = printed(install.program.run(&ROTATE).await);
    let new = install.key("secret.key.new");
    let what_to_do = "set secret_key (FANFARE_SECRET_KEY) to the text in ./data/secret.key.new on every node";
    assert!(told.contains(what_to_do) && !told.contains(&new), "{told}");
    assert!(!install.file("secret.key").exists() && !install.file("secret.key.old").exists());
    let told = install.migrate().await;
    let hint = "the key was changed to the one in ./data/secret.key.new: set secret_key to its text";
    assert!(refused(&told).starts_with(hint), "{}", told.err);
    assert_eq!(install.key("secret.key.new"), new, "it is the only copy");
    install.program = install.program.with("FANFARE_SECRET_KEY", &new);
    printed(install.migrate().await);
    assert_eq!(install.opening_under(&new).await, (13, 0));
    // The file was not removed; it holds what the settings hold.
    printed(install.program.run(&ROTATE).await);
    assert!(install.key("secret.key.new") != new);
    assert_eq!(install.opening_under(&install.key("secret.key.new")).await, (13, 0));
}

async fn what_would_lose_something_is_refused() {
    let install = Install::new().await;
    if install.fresh.is_none() {
        let told = install.program.run(&ROTATE).await;
        assert_eq!(refused(&told), "there is no database at ./data/fanfare.db");
        assert!(!install.file("").exists(), "nothing is made");
    }
    printed(install.migrate().await);
    let key = install.key("secret.key");
    for (to, why) in [
        ("ab", "--to must be 64 hexadecimal digits"),
        (&*key, "that is the key in force"),
        ("", "--to must be 64 hexa"),
    ] {
        let told = install.program.run(&[ROTATE[0], ROTATE[1], "--to", to]).await;
        assert!(refused(&told).starts_with(why), "{}", told.err);
    }
    assert!(!install.file("secret.key.old").exists() && !install.file("secret.key.new").exists());
    // Another installation's key, put there by mistake.
    std::fs::write(install.file("secret.key"), "ab".repeat(32)).unwrap();
    let told = install.program.run(&ROTATE).await;
    assert!(refused(&told).contains("not the one that this database was sealed with"), "{}", told.err);
    assert!(!install.file("secret.key.old").exists() && !install.file("secret.key.new").exists());
    std::fs::write(install.file("secret.key"), &key).unwrap();
    let given = "cd".repeat(32);
    let told = install.program.run_with(&[ROTATE[0], ROTATE[1], "--to", "-"], &format!("{given}\n")).await;
    printed(told);
    assert_eq!((install.key("secret.key"), install.key("secret.key.old")), (given.clone(), key.clone()));
    let told = install.program.run(&ROTATE).await;
    assert!(refused(&told).contains("secret.key.old holds the key before the present one"), "{}", told.err);
    assert_eq!((install.key("secret.key"), install.key("secret.key.old")), (given, key), "nothing has changed");
    assert!(!install.file("secret.key.new").exists());
    std::fs::remove_file(install.file("secret.key.old")).unwrap();
    std::fs::write(install.file("secret.key.new"), "ef".repeat(32)).unwrap();
    let told = install.program.run(&[ROTATE[0], ROTATE[1], "--to", &"12".repeat(32)]).await;
    assert!(refused(&told).contains("holds the key of a change that was broken off"), "{}", told.err);
}

async fn what_no_key_opens_is_left_and_told() {
    let install = Install::begun().await;
    install.fill(70, 1).await;
    install.run("UPDATE task SET payload = 'damaged' WHERE id = 'row000066'").await;
    let told = install.program.run(&ROTATE).await;
    assert_eq!(told.code, Some(0), "{}", told.err);
    let warning = "fanfare: careful: task row000066 did not open under the old key, and is left as it was\n";
    assert_eq!(told.err, warning);
    assert!(told.out.contains("  task: 69\n"), "{}", told.out);
    assert_eq!(install.opening_under(&install.key("secret.key")).await, (72, 1));
}

async fn a_node_without_its_key_is_given_no_new_one() {
    let install = Install::begun().await;
    std::fs::remove_file(install.file("secret.key")).unwrap();
    let told = install.migrate().await;
    assert!(refused(&told).starts_with("there is no key for "), "{}", told.err);
    assert!(!install.file("secret.key").exists(), "it would stand in the place of the right one");
    let told = install.program.run(&ROTATE).await;
    assert!(refused(&told).starts_with("there is no key"), "{}", told.err);
}

#[tokio::test]
async fn a_key_that_others_can_read_is_told_at_the_start() {
    let program = Program::new();
    printed(program.run(&["migrate"]).await);
    let key = program.folder().join("data/secret.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (_, told) = program.serve().await.end("TERM").await;
    let warning = "others on this machine can read the key file ./data/secret.key (mode 644)";
    assert_eq!(told.matches(warning).count(), 1, "{told}");
}
