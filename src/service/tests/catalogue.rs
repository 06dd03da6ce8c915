//! The embedded definitions, and folders that add to them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{HEAD, service};
use crate::service::Catalogue;
use crate::service::catalogue::EMBEDDED;

const SOUND: &str = "[request]\nurl = \"http://h/\"\n";

#[test]
fn every_embedded_definition_becomes_what_its_examples_say() {
    let catalogue = Catalogue::embedded().unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    });
    let errors: Vec<_> = catalogue.all().filter_map(|service| service.check_examples().err()).flatten().collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn every_file_is_embedded_under_its_own_id() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets/services");
    let files: BTreeSet<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let embedded: BTreeSet<String> = EMBEDDED.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, embedded);
    let catalogue = Catalogue::embedded().unwrap();
    let ids: Vec<String> = catalogue.all().map(|service| format!("{}.toml", service.spec.id)).collect();
    assert_eq!(ids, embedded.into_iter().collect::<Vec<_>>());
}

#[test]
fn embedded_services_explain_themselves() {
    for service in Catalogue::embedded().unwrap().all() {
        let id = &service.spec.id;
        assert!(!service.open, "{id} is open");
        for spec in &service.spec.params {
            assert!(!spec.help.is_empty() && !spec.help_zh.is_empty(), "{id}.{}", spec.name);
        }
        if service.spec.param("server").is_some() {
            assert_eq!(service.spec.param("server").unwrap().accepts, ["http", "https"], "{id}");
        }
    }
}

#[test]
fn a_folder_adds_and_overrides() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("t.toml"), format!("{HEAD}{SOUND}")).unwrap();
    fs::write(
        folder.path().join("b.toml"),
        format!("{}{SOUND}", HEAD.replace("\"t\"", "\"bark\"").replace("\"T\"", "\"Mine\"")),
    )
    .unwrap();
    fs::write(folder.path().join("readme.txt"), "not a definition").unwrap();
    let catalogue = Catalogue::load(Some(folder.path())).unwrap();
    assert_eq!(catalogue.get("t").unwrap().name, "T");
    assert_eq!(catalogue.get("bark").unwrap().name, "Mine");
    assert_eq!(catalogue.all().count(), EMBEDDED.len() + 1);
    assert!(catalogue.get("nope").is_none());
    let missing = Catalogue::load(Some(&folder.path().join("missing"))).unwrap();
    assert_eq!(missing.all().count(), EMBEDDED.len());
}

#[test]
fn a_folder_names_every_broken_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.toml"), format!("{HEAD}{SOUND}")).unwrap();
    fs::write(folder.path().join("b.toml"), format!("# note\n{HEAD}{SOUND}")).unwrap();
    fs::write(folder.path().join("c.toml"), "id = 3\n").unwrap();
    let errors = Catalogue::load(Some(folder.path())).map(|_| ()).unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let path = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(
        texts,
        [
            format!("{}:2: id: `t` is also the id of {}", path("b.toml"), path("a.toml")),
            format!("{}:1: id: invalid type: integer `3`, expected a string", path("c.toml")),
        ]
    );
}

#[test]
fn an_example_that_does_not_fit_is_told_apart() {
    let rest = "[params]\na = { type = \"text\", required = true }\n[request]\nurl = \"http://h/\"\njson = { a = \"{{a}}\" }\n";
    let good = "[[examples]]\nname = \"good\"\nparams = { a = \"x\" }\n[examples.request]\nmethod = \"POST\"\nurl = \"http://h/\"\nheaders = { content-type = \"application/json\", idempotency-key = \"example\" }\njson = { a = \"x\" }\n";
    assert_eq!(service(&format!("{rest}{good}{good}")).check_examples(), Ok(()));
    let told = |text: &str| {
        let errors = service(text).check_examples().unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(&format!("{rest}{good}")), ["t.toml: 1 example, at least 2 are needed"]);
    let line = format!("{HEAD}{rest}{good}").lines().count() + 1;
    for (from, to, expected) in [
        ("method = \"POST\"", "method = \"PUT\"", "t: example \"good\": method is \"POST\", not \"PUT\""),
        (
            "url = \"http://h/\"\nh",
            "url = \"http://h\"\nh",
            "t: example \"good\": url is \"http://h/\", not \"http://h\"",
        ),
        ("idempotency-key = \"example\"", "x = \"y\"", "t: example \"good\": headers is {"),
        (
            "json = { a = \"x\" }",
            "json = { a = \"y\" }",
            "t: example \"good\": json is {\"a\":\"x\"}, not {\"a\":\"y\"}",
        ),
        ("json = { a = \"x\" }", "", "t: example \"good\": body is \"{\\\"a\\\":\\\"x\\\"}\", not \"\""),
        (
            "params = { a = \"x\" }",
            "params = { a = \"x\", b = 1 }",
            "t: example \"good\": `b` is not a declared parameter",
        ),
        ("params = { a = \"x\" }", "", "t: example \"good\": `a` is required and not given"),
        (
            "[examples.request]\nmethod = \"POST\"\nurl = \"http://h/\"\nheaders = { content-type = \"application/json\", idempotency-key = \"example\" }\njson = { a = \"x\" }\n",
            "",
            "t: example \"good\": needs [examples.request]",
        ),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        let errors = told(&format!("{rest}{good}{bad}"));
        let expected = expected.replacen("t:", &format!("t.toml:{line}:"), 1);
        assert!(errors[0].starts_with(&expected), "{errors:?} {expected}");
    }
}
