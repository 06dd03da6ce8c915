use std::path::Path;

use super::keys::KEYS;
use super::*;

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.toml");
    std::fs::write(&path, file).unwrap();
    load_path(Some(&path), variables).map_err(|told| told.replace(&path.display().to_string(), "FILE"))
}

fn load_path(path: Option<&Path>, variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(path, variables).map_err(|cause| cause.to_string())
}

#[test]
fn the_default_file_says_what_the_defaults_are() {
    assert_eq!(load(DEFAULT_FILE, &[]).unwrap(), Config::default());
}

#[test]
fn the_default_file_names_every_key() {
    let uncommented: String = DEFAULT_FILE
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = \"\"")).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    let table: toml::Table = uncommented.parse().unwrap();
    for (key, _) in KEYS {
        let found = match key.split_once('.') {
            Some((section, name)) => table[section].get(name).is_some(),
            None => table.contains_key(*key),
        };
        assert!(found, "{key}");
    }
}

/// A secret key.
const KEY: &str = "abababababababababababababababababababababababababababababababab";

#[test]
fn every_key_can_be_set_by_its_variable() {
    let text = |key: &str| match key {
        "listen" => "0.0.0.0:1",
        "secret_key" => KEY,
        "database_url" => "postgres://h/d",
        "public_url" => "https://h",
        "registration" => "open",
        "database.synchronous" => "normal",
        "log.format" => "json",
        "log.level" => "debug",
        "mail.url" => "smtp://h",
        "recaptcha.verify_url" => "https://h/v",
        "recaptcha.min_score" => "0.7",
        "admin_email" | "mail.from" => "a@b",
        "delivery.allow" => "10.0.0.0/8, nas.lan",
        "trusted_proxies" => "10.0.0.0/8",
        "limits.count_loopback" => "true",
        "delivery.retry_waits_s" => "1,2",
        "delivery.take_over_s" => "40",
        _ => "7",
    };
    let names: Vec<_> = KEYS.iter().map(|(key, _)| (variable_of(key), text(key))).collect();
    let variables: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let config = load("", &variables).unwrap();
    assert_eq!(config.delivery.allow, ["10.0.0.0/8", "nas.lan"]);
    assert_eq!(config.delivery.retry_waits_s, [1, 2]);
    let (set, default) = (toml::Table::try_from(&config).unwrap(), toml::Table::try_from(Config::default()).unwrap());
    for (key, _) in KEYS {
        let value = |table: &toml::Table| match key.split_once('.') {
            Some((section, name)) => table[section].get(name).cloned(),
            None => table.get(*key).cloned(),
        };
        assert_ne!(value(&set), value(&default), "{key}");
    }
}

#[test]
fn variables_win_over_the_file() {
    let file = "listen = \"127.0.0.1:1\"\n[delivery]\nconcurrency = 3\nper_host = 4\n";
    let config = load(file, &[("FANFARE_DELIVERY_CONCURRENCY", "9"), ("PATH", "x")]).unwrap();
    assert_eq!((config.listen.port(), config.delivery.concurrency, config.delivery.per_host), (1, 9, 4));
}

#[test]
fn an_empty_value_counts_as_not_set() {
    let config = load("public_url = \"\"\n[mail]\nurl = \"\"\n", &[("FANFARE_LISTEN", "")]).unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn the_shared_database_variable_stands_below_our_own() {
    let url = |variables: &[(&str, &str)]| {
        load("database_url = \"postgres://file/d\"", variables).unwrap().database_url.unwrap().expose().to_owned()
    };
    assert_eq!(url(&[]), "postgres://file/d");
    assert_eq!(url(&[("DATABASE_URL", "postgres://shared/d")]), "postgres://shared/d");
    let both = [("DATABASE_URL", "postgres://shared/d"), ("FANFARE_DATABASE_URL", "postgres://own/d")];
    assert_eq!(url(&both), "postgres://own/d");
}

#[test]
fn a_mistake_in_the_file_is_told_with_key_and_line() {
    let cases = [
        ("\nlisen = 1", "FILE line 2: unknown key `lisen`; did you mean `listen`?"),
        ("[delivery]\nalow = []", "FILE line 2: unknown key `delivery.alow`; did you mean `delivery.allow`?"),
        ("# x\n\n[delivry]\nallow = []", "FILE line 3: unknown key `delivry`; did you mean"),
        ("\n\nlisten = \"here\"", "FILE line 3: `listen`: must be an IP address and a port"),
        ("listen = 8080", "FILE line 1: `listen`: must be an IP address and a port"),
        ("[mail]\n\nurl = \"smtp://u:hunter2@h/?x=1\"", "FILE line 3: `mail.url` knows no option but `tls`"),
        (
            "[delivery]\n\nper_host = \"many\"",
            "FILE line 3: `delivery.per_host`: invalid type: string \"many\", expected a whole number, 0 or more",
        ),
        ("registration = \"maybe\"", "FILE line 1: `registration`: unknown variant"),
        ("[log]\nlevel = \"shout=loud\"", "FILE line 2: `log.level` is not a log level"),
        ("[delivery]\nper_host = 0", "FILE line 2: `delivery.per_host` must be from 1 to 10000"),
        ("[delivery]\nallow = [\n \"10.0.0.0/99\"]", "FILE line 2: `delivery.allow` \"10.0.0.0/99\" is neither"),
        ("\npublic_url = \"push.example.org\"", "FILE line 2: `public_url` is not a URL"),
        ("database_url = \"mysql://u:hunter2@h/d\"", "FILE line 1: `database_url` is not a URL"),
        ("[mail]\nurl = \"http://u:hunter2@h\"", "FILE line 2: `mail.url` is not a URL"),
        ("\nsecret_key = 12345", "FILE line 2: `secret_key`: must be text"),
        ("admin_email = \"a@b\"", "`admin_password` goes together with admin_email"),
        ("listen = ", "FILE line 1: "),
        ("[limits]\nper_pusher_per_minute = -1", "FILE line 2: `limits.per_pusher_per_minute`: "),
        ("trusted_proxies = [\"proxy.lan\"]", "FILE line 1: `trusted_proxies` \"proxy.lan\" is neither"),
        ("[recaptcha]\nmin_score = 1.5", "FILE line 2: `recaptcha.min_score` must be from 0 to 1"),
        ("[recaptcha]\nsecret = 5", "FILE line 2: `recaptcha.secret`: must be text"),
        ("[recaptcha]\nverify_url = \"h\"", "FILE line 2: `recaptcha.verify_url` is not a URL"),
        ("limits = { body_kib = 0 }", "FILE line 1: `limits.body_kib` must be"),
        (
            "[database]\nmax_connections = -1",
            "FILE line 2: `database.max_connections`: invalid value: integer `-1`, expected a whole number, 0 or more",
        ),
    ];
    for (file, expected) in cases {
        let told = load(file, &[]).unwrap_err();
        assert!(told.contains(expected), "{file:?} told {told:?}, not {expected:?}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_mistake_in_a_variable_is_told_with_its_name() {
    let cases = [
        ("FANFARE_LISEN", "x", "unknown variable FANFARE_LISEN; did you mean FANFARE_LISTEN?"),
        ("FANFARE_MAIL_ULR", "x", "unknown variable FANFARE_MAIL_ULR; did you mean FANFARE_MAIL_URL?"),
        ("FANFARE_LISTEN", "here", "variable FANFARE_LISTEN: `listen`: must be an IP address and a port"),
        (
            "FANFARE_MAIL_URL",
            "smtp://h?tls=maybe",
            "variable FANFARE_MAIL_URL: `mail.url` `tls` can only be `required`",
        ),
        ("FANFARE_DELIVERY_PER_HOST", "many", "FANFARE_DELIVERY_PER_HOST: `delivery.per_host`: must be a whole number"),
        ("FANFARE_DELIVERY_PER_HOST", "0", "FANFARE_DELIVERY_PER_HOST: `delivery.per_host` must be from"),
        ("FANFARE_DELIVERY_RETRY_WAITS_S", "1,x", "`delivery.retry_waits_s`: must be whole numbers"),
        ("FANFARE_DELIVERY_RETRY_WAITS_S", "1,99999", "`delivery.retry_waits_s` must be from 0 to 86400"),
        ("FANFARE_RECAPTCHA_MIN_SCORE", "high", "`recaptcha.min_score`: must be a number"),
        ("FANFARE_REGISTRATION", "maybe", "FANFARE_REGISTRATION: `registration`: unknown variant"),
        ("FANFARE_DATABASE_SYNCHRONOUS", "off", "FANFARE_DATABASE_SYNCHRONOUS: `database.synchronous`: unknown"),
        ("FANFARE_MAIL_FROM", "Fanfare push@example.org", "`mail.from` is not a mail address, such as"),
        ("FANFARE_MAIL_FROM", "user@", "`mail.from` is not a mail address, such as"),
        ("FANFARE_SECRET_KEY", "abc", "variable FANFARE_SECRET_KEY: `secret_key` must be 64 hexadecimal digits"),
        (
            "FANFARE_DELIVERY_ATTEMPT_TIMEOUT_S",
            "25",
            "`delivery.take_over_s` must be from 35 to 86400: 10 more than `delivery.attempt_timeout_s` (25) at least",
        ),
        ("DATABASE_URL", "mysql://h", "variable DATABASE_URL: `database_url` is not a URL"),
    ];
    for (name, value, expected) in cases {
        let told = load("", &[(name, value)]).unwrap_err();
        assert!(told.contains(expected), "{name}={value} told {told:?}, not {expected:?}");
    }
}

#[test]
fn a_file_that_is_named_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("absent.toml");
    let told = load_path(Some(&path), &[]).unwrap_err();
    assert!(told.contains("absent.toml: cannot be read"), "{told}");
    let told = load_path(None, &[(CONFIG_VARIABLE, path.to_str().unwrap())]).unwrap_err();
    assert!(told.contains("absent.toml: cannot be read"), "{told}");
}

#[test]
fn secrets_are_masked_wherever_settings_are_shown() {
    let file = format!(
        "secret_key = \"{KEY}\"\nadmin_email = \"a@b\"\nadmin_password = \"hunter2\"\n\
         database_url = \"postgres://u:hunter2@h/d?password=hunter2&sslmode=require\"\n\
         [mail]\nurl = \"smtp://u:hunter2@h:587?tls=required\"\n"
    );
    let config = load(&file, &[]).unwrap();
    let shown = config.masked_toml();
    for text in [&shown, &format!("{config:?}"), &format!("{:?}", config.mail)] {
        assert!(!text.contains("hunter2") && !text.contains(KEY), "{text}");
    }
    assert!(shown.contains("postgres://u:****@h/d?password=****&sslmode=require"), "{shown}");
    assert!(shown.contains("smtp://u:****@h:587?tls=required"), "{shown}");
    assert!(shown.contains("listen = \"127.0.0.1:8080\""), "{shown}");
    assert!(shown.parse::<toml::Table>().is_ok());
}
