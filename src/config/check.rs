//! What a value must be beyond its type. Says which key is at fault and why, and never repeats a secret.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Url;

use super::Config;
use crate::domain::mailbox::is_mailbox;
use crate::domain::relay::parse_relay_url;

/// A key at fault, and what is wrong with its value.
pub(super) type Fault = (&'static str, String);

/// The first value that will not do.
pub(super) fn check(config: &Config) -> Result<(), Fault> {
    check_urls(config)?;
    check_delivery(config)?;
    within("database.max_connections", config.database.max_connections.into(), 1, 1000)?;
    check_limits(config)?;
    within("audit.keep_days", config.audit.keep_days.into(), 1, 3650)?;
    if crate::logs::filter(&config.log.level).is_err() {
        return fault("log.level", "is not a log level such as info or info,fanfare=debug");
    }
    if config.admin_email.as_deref().is_some_and(|email| !email.contains('@')) {
        return fault("admin_email", "is not a mail address");
    }
    if config.mail.from.as_deref().is_some_and(|from| !is_mailbox(from) || from.contains(char::is_control)) {
        return fault("mail.from", "is not a mail address, such as push@example.org or Fanfare <push@example.org>");
    }
    let is_key = |key: &str| key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit());
    if config.secret_key.as_ref().is_some_and(|key| !is_key(key.expose().trim())) {
        return fault("secret_key", "must be 64 hexadecimal digits");
    }
    if !(0.0..=1.0).contains(&config.recaptcha.min_score) {
        return fault("recaptcha.min_score", "must be from 0 to 1");
    }
    if config.admin_email.is_some() != config.admin_password.is_some() {
        return fault("admin_password", "goes together with admin_email: set both or none");
    }
    Ok(())
}

fn check_urls(config: &Config) -> Result<(), Fault> {
    if let Some(url) = &config.public_url {
        has_scheme("public_url", url, &["http", "https"])?;
    }
    if let Some(url) = &config.database_url {
        has_scheme("database_url", url.expose(), &["postgres", "postgresql", "sqlite"])?;
    }
    if let Some(url) = &config.mail.url {
        has_scheme("mail.url", url.expose(), &["smtp", "smtps"])?;
        parse_relay_url(url.expose()).map_err(|problem| ("mail.url", problem))?;
    }
    has_scheme("recaptcha.verify_url", &config.recaptcha.verify_url, &["http", "https"])?;
    Ok(())
}

fn check_delivery(config: &Config) -> Result<(), Fault> {
    let delivery = &config.delivery;
    within("delivery.concurrency", delivery.concurrency as u64, 1, 10_000)?;
    within("delivery.per_host", delivery.per_host as u64, 1, 10_000)?;
    within("delivery.attempt_timeout_s", delivery.attempt_timeout_s, 1, 300)?;
    // An attempt that lasts longer than its lease would be made twice.
    let soonest = delivery.attempt_timeout_s + 10;
    within("delivery.take_over_s", delivery.take_over_s, soonest, 86_400).map_err(|(key, problem)| {
        (key, format!("{problem}: 10 more than `delivery.attempt_timeout_s` ({}) at least", delivery.attempt_timeout_s))
    })?;
    within("delivery.connect_timeout_s", delivery.connect_timeout_s, 1, 300)?;
    within("delivery.keep_finished_days", delivery.keep_finished_days.into(), 1, 3650)?;
    within("delivery.retry_waits_s", delivery.retry_waits_s.len() as u64, 0, 20)
        .map_err(|(key, _)| (key, "has more than 20 entries".to_owned()))?;
    for wait in &delivery.retry_waits_s {
        within("delivery.retry_waits_s", *wait, 0, 86_400)?;
    }
    match delivery.allow.iter().find(|entry| !is_host_or_network(entry)) {
        Some(entry) => {
            fault("delivery.allow", &format!("{entry:?} is neither a host nor a network such as 10.0.0.0/8"))
        }
        None => Ok(()),
    }
}

fn check_limits(config: &Config) -> Result<(), Fault> {
    let limits = &config.limits;
    within("limits.body_kib", limits.body_kib as u64, 1, 64 * 1024)?;
    within("limits.connections", limits.connections as u64, 1, 1_000_000)?;
    for (key, value) in [
        ("limits.per_address_per_minute", limits.per_address_per_minute),
        ("limits.per_account_per_minute", limits.per_account_per_minute),
        ("limits.per_pusher_per_minute", limits.per_pusher_per_minute),
        ("limits.daily_quota", limits.daily_quota),
    ] {
        within(key, value.into(), 0, 1_000_000_000)?;
    }
    match config.trusted_proxies.iter().find(|entry| !is_network(entry)) {
        Some(entry) => {
            fault("trusted_proxies", &format!("{entry:?} is neither an address nor a network such as 10.0.0.0/8"))
        }
        None => Ok(()),
    }
}

fn is_host_or_network(entry: &str) -> bool {
    let host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    is_network(entry) || (!entry.is_empty() && entry.len() <= 253 && entry.chars().all(host_char))
}

fn is_network(entry: &str) -> bool {
    entry.parse::<IpNet>().is_ok() || entry.parse::<IpAddr>().is_ok()
}

fn has_scheme(key: &'static str, text: &str, schemes: &[&str]) -> Result<(), Fault> {
    // `sqlite:file` and `sqlite::memory:` have no host, and are as good.
    let good = Url::parse(text)
        .is_ok_and(|url| schemes.contains(&url.scheme()) && (url.has_host() || url.scheme() == "sqlite"));
    if good { Ok(()) } else { fault(key, &format!("is not a URL that begins with {}://", schemes.join(":// or "))) }
}

fn within(key: &'static str, value: u64, least: u64, most: u64) -> Result<(), Fault> {
    if (least..=most).contains(&value) { Ok(()) } else { fault(key, &format!("must be from {least} to {most}")) }
}

fn fault(key: &'static str, problem: &str) -> Result<(), Fault> {
    Err((key, problem.to_owned()))
}
