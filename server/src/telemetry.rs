//! Logs: one line per event on standard error, as text or JSON. Secrets never get this far (their
//! `Debug` redacts); what could still print one, the wire logs of the HTTP libraries, is cut off
//! here. Not here: metrics and traces.

use std::io::IsTerminal as _;

use serde::Deserialize;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::{SetGlobalDefaultError, Subscriber};
use tracing_subscriber::filter::{EnvFilter, ParseError, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For collectors: one JSON object a line, fields beside `timestamp`, `level`, `target`,
    /// `message`.
    Json,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not in tracing's syntax (`info,cryptopayment::worker=debug`).
    #[error("the log filter cannot be read: {0}")]
    Filter(#[from] ParseError),
    /// Logging was started before in this process.
    #[error("logging is already started: {0}")]
    Started(#[from] SetGlobalDefaultError),
}

/// Libraries that write requests, headers (`authorization` among them) or SQL values at their fine
/// levels. They, and all whose names begin so (`hyper_util`, `sqlx_core`), are held at `info`
/// whatever the filter says.
const WIRE_LIBRARIES: [&str; 8] =
    ["h2", "hyper", "reqwest", "rustls", "sea_orm", "sqlx", "tonic", "tower"];

/// Starts logging for the whole process, to standard error. `filter` is in tracing's syntax; plain
/// `info` is a good one.
///
/// # Errors
/// [`TelemetryError`]; nothing is logged then.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let ansi = std::io::stderr().is_terminal();
    let subscriber = subscriber(format, filter, ansi, std::io::stderr)?;
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

/// The subscriber that [`init`] installs, with a writer of the caller's.
fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    ansi: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter)?;
    let wire = Targets::new()
        .with_default(LevelFilter::TRACE)
        .with_targets(WIRE_LIBRARIES.map(|library| (library, LevelFilter::INFO)));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter).with(wire);
    Ok(match format {
        LogFormat::Text => Box::new(registry.with(lines.with_ansi(ansi))),
        LogFormat::Json => Box::new(registry.with(lines.json().flatten_event(true))),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Log lines kept in memory.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `log` writes under a format and filter.
    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(format, filter, false, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn json_lines_carry_message_and_fields() {
        let lines = logged(LogFormat::Json, "info", || {
            tracing::info!(network = "ltc", height = 7, "block \"scanned\"\n");
            tracing::debug!("not asked for");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(line["message"], "block \"scanned\"\n");
        assert_eq!(line["network"], "ltc");
        assert_eq!(line["height"], 7);
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_lines_are_for_people() {
        let lines = logged(LogFormat::Text, "info", || tracing::warn!(tries = 3, "node is away"));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("WARN") && lines[0].ends_with("node is away tries=3"));
    }

    #[test]
    fn wire_logs_stay_off_whatever_the_filter_says() {
        for filter in ["trace", "h2::proto=trace,hyper=debug,sqlx::query=trace,trace"] {
            let lines = logged(LogFormat::Text, filter, || {
                tracing::debug!(target: "h2::proto::connection", "authorization: Bearer sk_1");
                tracing::trace!(target: "hyper::proto::h1", "authorization: Bearer sk_2");
                tracing::debug!(target: "sqlx::query", "insert 'sk_3'");
                tracing::info!(target: "h2", "kept");
                tracing::trace!(target: "cryptopayment::worker", "kept");
            });
            assert!(!lines.concat().contains("sk_"), "{lines:?}");
            assert_eq!(lines.iter().filter(|line| line.ends_with("kept")).count(), 2, "{lines:?}");
        }
    }

    #[test]
    fn a_bad_filter_is_an_error() {
        let error = init(LogFormat::Text, "cryptopayment=loud").unwrap_err();
        assert!(matches!(error, TelemetryError::Filter(_)), "{error}");
    }

    #[test]
    fn formats_are_read_by_name() {
        let read = serde_json::from_str::<LogFormat>("\"json\"").unwrap();
        assert_eq!(read, LogFormat::Json);
        assert!(serde_json::from_str::<LogFormat>("\"xml\"").is_err());
    }
}
