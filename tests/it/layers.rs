//! The order of the modules: reads the sources, and fails on an import that goes against the order, on a crate that
//! is used outside its place, and on a file that has grown too long. It reads text, not types: it stops accidents.

use std::fs;
use std::path::Path;

/// Every module of the crate, and which others it may know. Below comes first.
const MODULES: [(&str, &[&str]); 14] = [
    ("domain", &[]),
    ("error", &["domain"]),
    ("metrics", &[]),
    // The settings are checked by what reads them, and by rules.
    ("config", &["domain", "logs"]),
    ("logs", &["config"]),
    ("store", &["domain", "error"]),
    ("send", &["domain"]),
    ("service", &["domain"]),
    ("flow", &["domain", "error", "metrics", "store", "send", "service"]),
    ("jobs", &["domain", "error", "metrics", "store", "flow"]),
    ("api", &["domain", "error", "logs", "metrics", "store", "service", "flow"]),
    ("app", &["domain", "error", "metrics", "config", "logs", "store", "send", "service", "flow", "jobs", "api"]),
    (
        "cli",
        &["domain", "error", "metrics", "config", "logs", "store", "send", "service", "flow", "jobs", "api", "app"],
    ),
    ("main", &["cli"]),
];

/// Crates that belong to one place, and the beginnings of the paths where they may be used.
const CRATES: [(&str, &[&str]); 7] = [
    ("sqlx", &["src/store/"]),
    ("apalis", &["src/jobs.rs", "src/store/queue.rs"]),
    ("apalis_core", &["src/jobs.rs", "src/store/queue.rs"]),
    ("poem", &["src/api/", "src/app.rs"]),
    ("poem_openapi", &["src/api/"]),
    ("reqwest", &["src/send/"]),
    ("lettre", &["src/send/"]),
];

/// What the pure rules never use: other people's clocks, luck, files and threads.
const NOT_IN_DOMAIN: [&str; 9] = [
    "tokio",
    "rand",
    "tracing",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

const MOST_LINES: usize = 500;

#[test]
fn the_sources_keep_to_their_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut count = 0;
    for folder in ["src", "tests", "benches"] {
        each_source(&root.join(folder), &mut |path| {
            let source = fs::read_to_string(path).unwrap();
            let shown = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            count += 1;
            found.extend(faults(&shown, &source));
        });
    }
    assert!(count > 100, "only {count} sources were found");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn bad_sources_are_found() {
    for (path, source, told) in [
        ("src/domain/task.rs", "use crate::store::Store;", "domain must not know store"),
        ("src/domain/task.rs", "fn f() { crate::error::Error::Busy; }", "domain must not know error"),
        ("src/domain/task.rs", "let t = std::time::SystemTime::now();", "std::time::SystemTime"),
        ("src/domain/resolve/mod.rs", "use super::super::send::Sender;", "domain must not know send"),
        ("src/domain/mod.rs", "use super::api;", "domain must not know api"),
        (
            "src/store/mod.rs",
            "use crate::{\n    domain::id::TaskId,\n    flow::{self, Engine},\n};",
            "store must not know flow",
        ),
        ("src/send/http.rs", "use crate::service::Service;", "send must not know service"),
        ("src/service/render.rs", "use crate::store::Tx;", "service must not know store"),
        ("src/flow/push.rs", "use crate::jobs::LEASE;", "flow must not know jobs"),
        ("src/flow/push.rs", "use crate::{app::App};", "flow must not know app"),
        ("src/jobs.rs", "use crate::api::envelope::Reply;", "jobs must not know api"),
        ("src/jobs.rs", "use super::cli::run;", "jobs must not know cli"),
        ("src/api/push.rs", "use crate::send::Sender;", "api must not know send"),
        ("src/api/push.rs", "use crate::*;", "everything at once"),
        ("src/app.rs", "use crate::cli::Cli;", "app must not know cli"),
        ("src/main.rs", "use fanfare::store::Store;", "main must not know store"),
        ("src/news/mod.rs", "", "is not among the modules"),
        ("src/flow/push.rs", "sqlx::query(\"SELECT 1\");", "sqlx"),
        ("src/api/push.rs", "use sqlx as sql;", "sqlx"),
        ("src/flow/deliver.rs", "use apalis_core::task::Task;", "apalis_core"),
        ("src/store/tasks.rs", "use apalis_core::task::Task;", "apalis_core"),
        ("src/cli.rs", "use poem::Server;", "poem"),
        ("src/app.rs", "use poem_openapi::Object;", "poem_openapi"),
        ("src/service/render.rs", "use ::reqwest::Url;", "reqwest"),
        ("src/flow/deliver.rs", "let x = 1; // '\nuse lettre::Message; // '", "lettre"),
        ("tests/it/push.rs", &"\n".repeat(501), "501 lines"),
    ] {
        let found = faults(path, source);
        assert_eq!(found.len(), 1, "{path}: {source}: {found:?}");
        assert!(found[0].contains(told) && found[0].contains(path), "{source}: {found:?}");
    }
}

#[test]
fn good_sources_pass() {
    for (path, source) in [
        ("src/domain/task.rs", "use crate::domain::id::TaskId;\nuse super::time::Timestamp;\nuse std::time::Duration;"),
        ("src/domain/resolve/mod.rs", "use super::params::Params;\nmod tests { use super::*; }"),
        ("src/domain/task.rs", "// crate::store, sqlx::query\n/* use poem::Route; */\n/// [`crate::flow`]"),
        ("src/flow/push.rs", "let text = \"use sqlx::query; \\\" crate::api\"; let raw = r#\"crate::api \" x\"#;"),
        ("src/flow/push.rs", "let (a, b) = ('\"', '\\''); use crate::store::Tx; let c: &'static str = \"crate::api\";"),
        ("src/flow/push.rs", "use crate::store::{NewTask, api::Thing}; self.poem(x); let sqlx = 1;"),
        ("src/store/queue.rs", "use sqlx::Row; use super::{Db, Store}; use crate::error::Error;"),
        ("src/app.rs", "use poem::Server; use crate::{api, jobs::Workers};"),
        ("src/cli/admin.rs", "use super::print; use crate::app::App;"),
        ("src/lib.rs", "pub mod api; pub mod store;"),
        ("src/main.rs", "use fanfare::cli::Cli;"),
        ("tests/it/push.rs", "use fanfare::store::Store; use reqwest::Client;"),
    ] {
        assert_eq!(faults(path, source), [""; 0], "{path}: {source}");
    }
}

fn each_source(folder: &Path, take: &mut impl FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_source(&path, take);
        } else if path.extension().is_some_and(|end| end == "rs") {
            take(&path);
        }
    }
}

/// What is wrong with a source, each with its path.
fn faults(path: &str, source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = source.lines().count();
    if lines > MOST_LINES {
        found.push(format!("{path} has {lines} lines; split it at {MOST_LINES}"));
    }
    let Some(inside) = path.strip_prefix("src/").filter(|inside| *inside != "lib.rs") else { return found };
    let code = code_only(source);
    let place: Vec<&str> = inside.trim_end_matches(".rs").trim_end_matches("/mod").split('/').collect();
    let Some((module, may_know)) = MODULES.iter().find(|(name, _)| *name == place[0]) else {
        found.push(format!("{path}: {} is not among the modules of tests/it/layers.rs", place[0]));
        return found;
    };
    for other in modules_named(&code, place.len()) {
        let known = MODULES.iter().any(|(name, _)| *name == other);
        if other == "*" {
            found.push(format!("{path} imports everything at once"));
        } else if known && other != *module && !may_know.contains(&other.as_str()) {
            found.push(format!("{path}: {module} must not know {other}"));
        }
    }
    for (name, places) in CRATES {
        if uses(&code, name) && !places.iter().any(|place| path.starts_with(place)) {
            found.push(format!("{path} uses {name}, which belongs into {}", places.join(", ")));
        }
    }
    let banned = NOT_IN_DOMAIN.iter().filter(|name| *module == "domain" && uses(&code, name));
    found.extend(banned.map(|name| format!("{path} uses {name}; what it needs is a parameter")));
    found
}

/// The crate's modules that a source names, through `crate::`, `fanfare::` or enough of `super::`. `depth` is how many
/// `super` lead from the source to the crate.
fn modules_named(code: &str, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::".to_owned(), "fanfare::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&root) {
            if !goes_on(&code[..at]) {
                found.extend(first_names(&code[at + root.len()..]));
            }
        }
    }
    // A test inside the file that takes all of it is no matter.
    found.retain(|name| name != "*" || code.contains("crate::*"));
    found.sort();
    found.dedup();
    found
}

/// The names that a path goes on with: one, or the first of each branch within braces.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|c: char| !is_word(c) && c != '*').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let Some(branches) = rest.trim_start().strip_prefix('{') else { return vec![name(rest)] };
    let (mut depth, mut names) = (0, vec![name(branches)]);
    for (at, c) in branches.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(&branches[at + 1..])),
            _ => {}
        }
    }
    names
}

/// Whether a path begins with this crate or these modules.
fn uses(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let imported = before.trim_end().ends_with("use") && !after.starts_with(is_word);
        !goes_on(before.strip_suffix("::").filter(|b| !b.ends_with(is_word)).unwrap_or(before))
            && (after.starts_with("::") || imported)
    })
}

/// Whether a name that follows would be a part of the word or the path before it.
fn goes_on(before: &str) -> bool {
    before.ends_with(is_word) || before.ends_with("::")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The source without comments, and with nothing in its texts.
fn code_only(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| raw_text(&code, rest)).or_else(|| text(rest)).or_else(|| letter(rest));
        let length = skipped.unwrap_or_else(|| {
            code.push(c);
            c.len_utf8()
        });
        if skipped.is_some() {
            code.push(' ');
        }
        rest = &rest[length.min(rest.len())..];
    }
    code
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    rest.starts_with("/*").then(|| rest.find("*/").map_or(rest.len(), |end| end + 2))
}

fn raw_text(before: &str, rest: &str) -> Option<usize> {
    let marks = rest.strip_prefix('r').filter(|_| !before.ends_with(is_word))?;
    let hashes = marks.len() - marks.trim_start_matches('#').len();
    let body = marks[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(body.find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len()))
}

fn text(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            '"' if !escaped => return Some(at + 2),
            c => escaped = c == '\\' && !escaped,
        }
    }
    Some(rest.len())
}

/// A quoted character; what is only a lifetime stays.
fn letter(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let mut letters = body.char_indices();
    let (_, first) = letters.next()?;
    if first == '\\' {
        return body.get(2..)?.find('\'').map(|at| at + 4);
    }
    letters.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 2)
}
