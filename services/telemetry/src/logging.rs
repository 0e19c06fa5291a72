//! The server's own log (operations reference 4.2): below WARN to standard output, WARN and above to standard error.

use std::{collections::BTreeMap, io};

use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, filter::Targets, fmt, fmt::writer::MakeWriterExt, layer::SubscriberExt, registry::LookupSpan, reload,
    util::SubscriberInitExt,
};

use crate::{Counter, Registry};

/// Settings of the server's log.
#[derive(Debug, Clone, Default)]
pub struct LogConfig {
    pub format: LogFormat,
    /// `logger.levels` and the like: logger or module → OFF, ERROR, WARN, INFO, DEBUG, TRACE, ALL. `root` is the rest.
    pub levels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Changes levels while the server runs.
#[derive(Clone)]
pub struct LogHandle {
    levels: std::sync::Arc<parking_lot::Mutex<BTreeMap<String, String>>>,
    reload: reload::Handle<Targets, tracing_subscriber::Registry>,
}

impl LogHandle {
    /// Sets the level of a logger; `None` takes back what was set.
    ///
    /// # Errors
    /// The level that is none.
    pub fn set_level(&self, logger: &str, level: Option<&str>) -> Result<(), String> {
        let mut changed = self.levels.lock().clone();
        match level {
            Some(level) => changed.insert(logger.to_owned(), level.to_owned()),
            None => changed.remove(logger),
        };
        let targets = targets(&changed)?;
        self.reload.reload(targets).map_err(|error| error.to_string())?;
        *self.levels.lock() = changed;
        Ok(())
    }

    /// What was set.
    pub fn levels(&self) -> BTreeMap<String, String> {
        self.levels.lock().clone()
    }
}

/// Starts the log of this process. `registry` gets the counters `logback_events_total`.
///
/// # Errors
/// A level that is none, or a log that was started before.
pub fn init(config: &LogConfig, registry: &Registry) -> Result<LogHandle, String> {
    let (filter, reload) = reload::Layer::new(targets(&config.levels)?);
    let counters = EventCounter::new(registry);
    tracing_subscriber::registry()
        .with(filter)
        .with(counters)
        .with(output(config.format))
        .try_init()
        .map_err(|error| error.to_string())?;
    Ok(LogHandle { levels: std::sync::Arc::new(parking_lot::Mutex::new(config.levels.clone())), reload })
}

fn output<S: Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    let writer = io::stderr.with_max_level(tracing::Level::WARN).or_else(io::stdout);
    let layer = fmt::layer().with_writer(writer).with_thread_names(true);
    match format {
        LogFormat::Text => layer.with_ansi(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

/// Our modules by Kestra's loggers, most specific first; what is not listed is taken as a module of ours or of a library.
const LOGGERS: &[(&str, &[&str])] = &[
    ("io.kestra.core.runners.Worker", &["windhover_worker"]),
    ("io.kestra.core.runners", &["windhover_executor", "windhover_worker"]),
    ("io.kestra.jdbc.runner", &["windhover_executor", "windhover_queue"]),
    ("io.kestra.jdbc", &["windhover_store", "windhover_queue"]),
    ("io.kestra.executor", &["windhover_executor", "windhover_engine"]),
    ("io.kestra.worker", &["windhover_worker"]),
    ("io.kestra.webserver", &["windhover_gateway"]),
    ("io.kestra.plugin", &["windhover_tasks"]),
    ("io.kestra.core.http", &["windhover_outbound"]),
    ("io.kestra", &["windhover"]),
];

/// Below INFO they write addresses that flows call, and those may hold secrets; whoever wants that names them.
const TALKATIVE: [&str; 2] = ["reqwest", "hyper_util"];

fn targets(levels: &BTreeMap<String, String>) -> Result<Targets, String> {
    let quiet = TALKATIVE.map(|module| (module, LevelFilter::INFO));
    let mut targets = Targets::new().with_default(LevelFilter::INFO).with_targets(quiet);
    for (logger, level) in levels {
        let level = level_of(level).ok_or_else(|| {
            format!("`{level}` is no level of logger {logger}; levels are OFF, ERROR, WARN, INFO, DEBUG, TRACE, ALL")
        })?;
        if logger.eq_ignore_ascii_case("root") {
            targets = targets.with_default(level);
            continue;
        }
        let modules = LOGGERS.iter().find(|(known, _)| logger.eq_ignore_ascii_case(known)).map(|(_, modules)| *modules);
        match modules {
            Some(modules) => targets = targets.with_targets(modules.iter().map(|module| (*module, level))),
            None => targets = targets.with_target(logger.replace('.', "::"), level),
        }
    }
    Ok(targets)
}

fn level_of(text: &str) -> Option<LevelFilter> {
    Some(match text.trim().to_ascii_uppercase().as_str() {
        "OFF" => LevelFilter::OFF,
        "ERROR" => LevelFilter::ERROR,
        "WARN" => LevelFilter::WARN,
        "INFO" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACE" | "ALL" => LevelFilter::TRACE,
        _ => return None,
    })
}

/// Counts log events by level, under the name that dashboards know.
struct EventCounter([Counter; 5]);

impl EventCounter {
    fn new(registry: &Registry) -> Self {
        Self(
            ["error", "warn", "info", "debug", "trace"]
                .map(|level| registry.counter("logback.events", &[("level", level)])),
        )
    }
}

impl<S: Subscriber> Layer<S> for EventCounter {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let index = match *event.metadata().level() {
            tracing::Level::ERROR => 0,
            tracing::Level::WARN => 1,
            tracing::Level::INFO => 2,
            tracing::Level::DEBUG => 3,
            tracing::Level::TRACE => 4,
        };
        self.0[index].increment();
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn levels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(logger, level)| ((*logger).to_owned(), (*level).to_owned())).collect()
    }

    #[test]
    fn kestras_loggers_are_our_modules() {
        let targets = targets(&levels(&[
            ("root", "DEBUG"),
            ("windhover_gateway", "WARN"),
            ("io.kestra.executor", "debug"),
            ("sea_orm", "ERROR"),
            ("hyper.client", "TRACE"),
        ]))
        .expect("levels");
        for (module, level, enabled) in [
            ("windhover_executor::batch", Level::DEBUG, true),
            ("windhover_gateway", Level::INFO, false),
            ("windhover_gateway", Level::WARN, true),
            ("sea_orm", Level::WARN, false),
            ("hyper::client", Level::TRACE, true),
            ("reqwest::connect", Level::DEBUG, false),
        ] {
            assert_eq!(targets.would_enable(module, &level), enabled, "{module} {level}");
        }
    }

    #[test]
    fn a_level_that_is_none_is_named() {
        let error = targets(&levels(&[("io.kestra", "LOUD")])).expect_err("no level");
        assert!(error.contains("LOUD") && error.contains("io.kestra"), "{error}");
    }
}
