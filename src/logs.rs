//! Sets up what the program says about itself: lines on standard error, as text or as JSON. Never a file.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Config, LogFormat};

/// Starts logging. Call once.
///
/// # Errors
/// The level is not one; logging was set up already.
pub fn init(config: &Config) -> Result<()> {
    let filter = filter(&config.log.level)?;
    let outcome = match config.log.format {
        LogFormat::Text => fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => fmt()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .try_init(),
    };
    outcome.map_err(|cause| anyhow::anyhow!("logging was set up already: {cause}"))
}

/// Reads a level such as `info` or `info,sqlx=warn`.
///
/// # Errors
/// It is not one.
pub fn filter(level: &str) -> Result<EnvFilter> {
    EnvFilter::builder().parse(level).with_context(|| format!("{level:?} is not a log level"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read() {
        assert_eq!(filter("warn").unwrap().to_string(), "warn");
        assert!(filter("info,fanfare=debug").is_ok());
        assert!(filter("fanfare=shout").is_err());
    }

    #[test]
    fn logging_is_set_up_once() {
        let mut config = Config::default();
        config.log.level = "off".to_owned();
        config.log.format = LogFormat::Json;
        init(&config).unwrap();
        assert!(init(&config).unwrap_err().to_string().contains("already"));
    }
}
