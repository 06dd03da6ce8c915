//! Sets up what the program says about itself: lines on standard error, as text or as JSON. Never a file. A line that is
//! written while a request is answered carries the request's id.

use std::future::Future;
use std::io::IsTerminal;

use anyhow::{Context, Result, ensure};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Config, LogFormat};

tokio::task_local! {
    static REQUEST_ID: String;
}

/// Runs the work of a request; lines that are written meanwhile carry its id. Cheaper than a span by a tenth of all that
/// a push costs, because nothing happens where no line is written.
pub fn in_request<F: Future>(id: String, work: F) -> impl Future<Output = F::Output> {
    // Not itself `async`: that would have room for the work twice, and be moved with it.
    REQUEST_ID.scope(id, work)
}

/// The fields of a line of text, and the request's id behind them.
#[derive(Default)]
pub struct TextFields(DefaultFields);

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> std::fmt::Result {
        self.0.format_fields(writer.by_ref(), fields)?;
        REQUEST_ID.try_with(|id| write!(writer, " request_id={id}")).unwrap_or(Ok(()))
    }
}

/// A line of JSON, with the request's id as its last field.
struct JsonLine(Format<Json>);

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match (REQUEST_ID.try_with(String::clone), line.trim_end().strip_suffix('}')) {
            // The id is of letters, digits and `._-`, so it needs no escapes.
            (Ok(id), Some(open)) => writeln!(writer, r#"{open},"request_id":"{id}"}}"#),
            _ => writer.write_str(&line),
        }
    }
}

/// Starts logging. Call once.
///
/// # Errors
/// The level is not one; logging was set up already.
pub fn init(config: &Config) -> Result<()> {
    let filter = filter(&config.log.level)?;
    // It would tell of a line that cannot be written where that cannot be written either, and panic over it.
    let lines = fmt().log_internal_errors(false);
    let outcome = match config.log.format {
        LogFormat::Text => lines
            .fmt_fields(TextFields::default())
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .try_init(),
        LogFormat::Json => lines
            .json()
            .event_format(JsonLine(fmt::format().json().flatten_event(true)))
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
    let refused = || format!("{level:?} is not a log level");
    // A lone word that is no level would be a module, of which everything is logged, and nothing of all others.
    let is_level =
        |part: &str| part.contains(['=', '[']) || !part.is_empty() && part.trim().parse::<LevelFilter>().is_ok();
    ensure!(level.split(',').all(is_level), refused());
    EnvFilter::builder().parse(level).with_context(refused)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn levels_are_read() {
        assert_eq!(filter("warn").unwrap().to_string(), "warn");
        assert!(filter("info,fanfare=debug").is_ok());
        assert!(filter("warn,fanfare::api=debug,[{task_id}]=trace").is_ok());
        for wrong in ["fanfare=shout", "warning", "info,fanfare", "", ",info"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_line_of_json_carries_the_id_of_its_request() {
        let written = Written::default();
        let sink = written.clone();
        let line = JsonLine(fmt::format().json().flatten_event(true));
        let logger = fmt().json().event_format(line).with_writer(move || sink.clone()).finish();
        let _here = tracing::subscriber::set_default(logger);
        in_request("r-1.x".to_owned(), async { tracing::error!(count = 1, "within") }).await;
        tracing::error!("outside");
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["request_id"], &lines[0]["message"]), (&"r-1.x".into(), &"within".into()));
        assert_eq!((lines.len(), &lines[1]["request_id"]), (2, &serde_json::Value::Null));
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
