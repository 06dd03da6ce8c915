//! Everything that an operator can set: one struct, checked once. Reads no clock and no network, and keeps
//! secrets out of whatever is printed.

mod check;
mod keys;
mod load;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

pub use keys::{CONFIG_VARIABLE, OTHER_VARIABLES, variable_of};
pub use load::ConfigError;

/// The file that documents every key, with its default.
pub const DEFAULT_FILE: &str = include_str!("../config.default.toml");

/// What shows in place of a secret.
const MASK: &str = "****";

/// What is in force.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the embedded database, the key file and the operator's Services are.
    pub data_dir: PathBuf,
    /// `PostgreSQL` or `SQLite` by URL; without one, `SQLite` in the data directory.
    pub database_url: Option<Secret>,
    /// Proxies whose word on where a request comes from is taken: addresses and CIDR networks.
    pub trusted_proxies: Vec<String>,
    /// How others reach this server, without a slash at the end.
    pub public_url: Option<String>,
    /// The key that secrets at rest are sealed with; without one, a key file.
    pub secret_key: Option<Secret>,
    /// The administrator to create at the first start.
    pub admin_email: Option<String>,
    /// That administrator's password.
    pub admin_password: Option<Secret>,
    /// Who may sign up.
    pub registration: Registration,
    /// How deliveries are made.
    pub delivery: DeliveryConfig,
    /// How the database is used.
    pub database: DatabaseConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// How this server's own mails go out.
    pub mail: MailConfig,
    /// How people are told from machines where anybody may sign up.
    pub recaptcha: RecaptchaConfig,
    /// How much a request may carry, and how many of them are taken.
    pub limits: LimitsConfig,
    /// The record of who did what.
    pub audit: AuditConfig,
}

/// Text that never shows: not in logs, not in errors.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Who may sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Nobody.
    Closed,
    /// Whoever has an invitation code.
    Invite,
    /// Anybody.
    Open,
}

/// How deliveries are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryConfig {
    /// Hosts and CIDR networks that may be reached although private.
    pub allow: Vec<String>,
    /// Deliveries at a time.
    pub concurrency: usize,
    /// Deliveries at a time to one host.
    pub per_host: usize,
    /// Seconds for a whole attempt.
    pub attempt_timeout_s: u64,
    /// Seconds for connecting.
    pub connect_timeout_s: u64,
    /// Seconds until what a dead node had begun is begun again.
    pub take_over_s: u64,
    /// Seconds to wait before each further attempt.
    pub retry_waits_s: Vec<u64>,
    /// Days to keep finished tasks.
    pub keep_finished_days: u32,
}

/// How the database is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseConfig {
    /// How hard `SQLite` tries to have a commit on disk.
    pub synchronous: Synchronous,
    /// Most connections at a time.
    pub max_connections: u32,
}

/// How hard `SQLite` tries to have a commit on disk before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// A commit survives a power cut.
    Full,
    /// A commit survives a crash of the process, not always a power cut.
    Normal,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// For people or for programs.
    pub format: LogFormat,
    /// A level, or levels per module.
    pub level: String,
}

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How this server's own mails go out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailConfig {
    /// The relay: `smtp://user:password@host:587?tls=required`.
    pub url: Option<Secret>,
    /// The sender: `name <user@host>` or `user@host`.
    pub from: Option<String>,
}

/// How people are told from machines where anybody may sign up (reCAPTCHA v3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecaptchaConfig {
    /// The site's secret; without one nobody is asked for a proof.
    pub secret: Option<Secret>,
    /// Where proofs are verified.
    pub verify_url: String,
    /// Lowest score, from 0 (a machine) to 1 (a person).
    pub min_score: f64,
    /// The action that the page must name; without one any will do.
    pub action: Option<String>,
}

/// How much a request may carry, and how many of them are taken. For every rate and for the quota, 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest body, in KiB.
    pub body_kib: usize,
    /// Requests a minute from one address.
    pub per_address_per_minute: u32,
    /// Whether this machine's own addresses are counted as well.
    pub count_loopback: bool,
    /// Requests a minute by one account.
    pub per_account_per_minute: u32,
    /// Pushes a minute to one Preset or Group.
    pub per_pusher_per_minute: u32,
    /// Tasks a day of one account.
    pub daily_quota: u32,
    /// Connections open at a time, half of them at most from one address.
    pub connections: usize,
}

/// The record of who did what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Days to keep it.
    pub keep_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data_dir: PathBuf::from("./data"),
            database_url: None,
            trusted_proxies: Vec::new(),
            public_url: None,
            secret_key: None,
            admin_email: None,
            admin_password: None,
            registration: Registration::Invite,
            delivery: DeliveryConfig::default(),
            database: DatabaseConfig::default(),
            log: LogConfig::default(),
            mail: MailConfig::default(),
            recaptcha: RecaptchaConfig::default(),
            limits: LimitsConfig::default(),
            audit: AuditConfig::default(),
        }
    }
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            concurrency: 256,
            per_host: 32,
            attempt_timeout_s: 15,
            connect_timeout_s: 5,
            take_over_s: 30,
            retry_waits_s: vec![2, 15, 60, 300, 1800],
            keep_finished_days: 30,
        }
    }
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self { synchronous: Synchronous::Full, max_connections: 16 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for RecaptchaConfig {
    fn default() -> Self {
        let verify_url = "https://www.google.com/recaptcha/api/siteverify".to_owned();
        Self { secret: None, verify_url, min_score: 0.5, action: None }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_kib: 256,
            per_address_per_minute: 12_000,
            count_loopback: false,
            per_account_per_minute: 12_000,
            per_pusher_per_minute: 6_000,
            daily_quota: 100_000,
            connections: 600,
        }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { keep_days: 90 }
    }
}

impl DeliveryConfig {
    /// Time for a whole attempt.
    pub fn attempt_timeout(&self) -> Duration {
        Duration::from_secs(self.attempt_timeout_s)
    }

    /// Time until what a dead node had begun is begun again.
    pub fn take_over(&self) -> Duration {
        Duration::from_secs(self.take_over_s)
    }

    /// Time for connecting.
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_s)
    }

    /// The waits before further attempts.
    pub fn retry_waits(&self) -> Vec<Duration> {
        self.retry_waits_s.iter().copied().map(Duration::from_secs).collect()
    }
}

impl LimitsConfig {
    /// Largest body, in bytes.
    pub fn body_bytes(&self) -> usize {
        self.body_kib * 1024
    }
}

impl Config {
    /// What is in force, as a file would say it, with secrets masked.
    pub fn masked_toml(&self) -> String {
        let mut shown = self.clone();
        for secret in
            [&mut shown.secret_key, &mut shown.admin_password, &mut shown.recaptcha.secret].into_iter().flatten()
        {
            *secret = Secret::new(MASK);
        }
        for url in [&mut shown.database_url, &mut shown.mail.url].into_iter().flatten() {
            *url = Secret::new(mask_url(url.expose()));
        }
        toml::to_string(&shown).unwrap_or_else(|cause| format!("# cannot be shown: {cause}\n"))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked_toml())
    }
}

/// A URL with its password masked, also one among the parameters; text that is no URL is masked as a whole.
fn mask_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return MASK.to_owned() };
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    if url.query().is_some() {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let shown = pairs.iter().map(|(name, value)| {
            let secret = ["pass", "secret", "token", "key"].iter().any(|word| name.to_lowercase().contains(word));
            (name.as_str(), if secret { MASK } else { value.as_str() })
        });
        url.query_pairs_mut().clear().extend_pairs(shown);
    }
    url.to_string()
}

#[cfg(test)]
mod tests;
