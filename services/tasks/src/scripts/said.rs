//! What the output of a script means: log lines, and lines that publish something (flow model reference 5.9).

use serde_json::Value;
use windhover_engine::MetricKind;
use windhover_flow::{parse_duration, text_of};
use windhover_types::{JsonMap, Level};

use crate::{
    Metric, TaskContext, TaskError, TaskOutcome,
    process::{Line, ProcessLimits},
};

/// Bytes of all lines with outputs together, and series of metrics: more than any store takes.
const MAX_PUBLISHED: usize = 64 << 20;
const MAX_METRICS: usize = 10_000;

/// Characters of a line that are shown when it could not be understood.
const SHOWN: usize = 200;

/// Collects what a script says.
pub(super) struct Said<'a> {
    context: &'a TaskContext,
    limits: ProcessLimits,
    /// Of what was logged.
    bytes: u64,
    lines: u64,
    /// Lines that were too many.
    left_out: u64,
    published: usize,
    pub(super) vars: JsonMap,
    /// Metrics only.
    pub(super) outcome: TaskOutcome,
}

impl<'a> Said<'a> {
    pub(super) fn new(context: &'a TaskContext, limits: ProcessLimits) -> Self {
        Self {
            context,
            limits,
            bytes: 0,
            lines: 0,
            left_out: 0,
            published: 0,
            vars: JsonMap::new(),
            outcome: TaskOutcome::success(None),
        }
    }

    /// # Errors
    /// More was published than can be kept.
    pub(super) fn line(&mut self, line: Line, is_error: bool) -> Result<(), TaskError> {
        let inner = line.text.strip_prefix("::").and_then(|text| text.strip_suffix("::"));
        let inner = inner.filter(|text| text.starts_with('{') && text.ends_with('}') && line.left_out == 0);
        let Some(inner) = inner else {
            self.log(if is_error { Level::Error } else { Level::Info }, &line);
            return Ok(());
        };
        self.published += inner.len();
        if self.published > MAX_PUBLISHED || self.outcome.metrics.len() > MAX_METRICS {
            return Err(TaskError::failed(format!(
                "the script was killed: it published more than {MAX_PUBLISHED} bytes or {MAX_METRICS} metrics"
            )));
        }
        match Published::read(inner) {
            Some(published) => self.take(published),
            None => {
                let shown: String = line.text.chars().take(SHOWN).collect();
                self.context.log(Level::Warn, &format!("Invalid outputs '{shown}'"));
            }
        }
        Ok(())
    }

    /// Says that something is missing, if it is.
    pub(super) fn end(&self) {
        if self.left_out > 0 {
            let (bytes, lines) = (self.limits.output_bytes, self.limits.output_lines);
            let message = format!(
                "{} more lines of output are not kept: a script may write {bytes} bytes and {lines} lines to the log",
                self.left_out
            );
            self.context.log(Level::Warn, &message);
        }
    }

    fn take(&mut self, published: Published) {
        self.vars.extend(published.outputs);
        for metric in published.metrics {
            self.outcome.record(metric);
        }
        for (level, message) in published.logs {
            self.log(level, &Line { text: message, left_out: 0 });
        }
    }

    fn log(&mut self, level: Level, line: &Line) {
        let size = line.text.len() as u64;
        if self.lines >= self.limits.output_lines || self.bytes + size > self.limits.output_bytes {
            self.left_out += 1;
            return;
        }
        self.lines += 1;
        self.bytes += size;
        if line.left_out == 0 {
            self.context.log(level, &line.text);
            return;
        }
        // A secret that was cut in two by the end of the line is not recognised any more: so much less is shown that
        // none can be among it.
        let end = line.text.floor_char_boundary(line.text.len().saturating_sub(LONGEST_SECRET));
        let missing = line.left_out + (line.text.len() - end) as u64;
        self.context.log(level, &format!("{} … ({missing} more bytes)", &line.text[..end]));
    }
}

/// What is taken off the end of a line that was too long.
const LONGEST_SECRET: usize = 64 << 10;

/// The content of a line `::{…}::`. Unknown keys mean nothing.
#[derive(Default)]
struct Published {
    outputs: JsonMap,
    metrics: Vec<Metric>,
    logs: Vec<(Level, String)>,
}

impl Published {
    /// `None`: one part of it is wrong, and so nothing of it counts.
    fn read(text: &str) -> Option<Self> {
        let Value::Object(mut map) = serde_json::from_str(text).ok()? else { return None };
        let mut published = Self::default();
        match map.remove("outputs") {
            Some(Value::Object(outputs)) => published.outputs = outputs,
            None | Some(Value::Null) => {}
            Some(_) => return None,
        }
        published.metrics = list(map.remove("metrics"))?.iter().map(metric).collect::<Option<_>>()?;
        published.logs = list(map.remove("logs"))?.iter().map(entry).collect::<Option<_>>()?;
        Some(published)
    }
}

fn list(value: Option<Value>) -> Option<Vec<Value>> {
    match value {
        Some(Value::Array(items)) => Some(items),
        None | Some(Value::Null) => Some(Vec::new()),
        Some(_) => None,
    }
}

fn metric(value: &Value) -> Option<Metric> {
    let name = value.get("name")?.as_str()?.to_owned();
    let number = value.get("value")?;
    let (kind, value_of) = match value.get("type")?.as_str()? {
        "counter" => (MetricKind::Counter, plain(number)?),
        "gauge" => (MetricKind::Gauge, plain(number)?),
        // Seconds, or an ISO duration; kept as milliseconds.
        "timer" => (MetricKind::Timer, parse_duration(&text_of(number)).ok()?.as_secs_f64() * 1_000.0),
        _ => return None,
    };
    let tags = match value.get("tags") {
        Some(Value::Object(tags)) => tags.iter().map(|(key, value)| (key.clone(), text_of(value))).collect(),
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return None,
    };
    Some(Metric { name, kind, value: value_of, tags })
}

fn plain(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| number.is_finite())
}

fn entry(value: &Value) -> Option<(Level, String)> {
    let level = value.get("level")?.as_str()?.to_uppercase().parse().ok()?;
    Some((level, text_of(value.get("message")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_counts_as_a_whole_or_not_at_all() {
        let read = |text: &str| Published::read(text);
        let good = read(
            r#"{"outputs":{"a":1},"metrics":[{"name":"t","type":"timer","value":"PT1.5S","tags":{"k":2}},
            {"name":"t","type":"timer","value":0.5},{"name":"g","type":"gauge","value":-3}],
            "logs":[{"level":"warn","message":"w"}],"assets":[]}"#,
        );
        let good = good.expect("all of it is right");
        let values: Vec<f64> = good.metrics.iter().map(|metric| metric.value).collect();
        assert_eq!(values, [1_500.0, 500.0, -3.0]);
        assert_eq!(good.metrics[0].tags, [("k".to_owned(), "2".to_owned())]);
        assert_eq!(good.logs, [(Level::Warn, "w".to_owned())]);
        for text in [
            r#"{"outputs":[1]}"#,
            r#"{"outputs":{"a":1},"metrics":[{"name":"m","type":"histogram","value":1}]}"#,
            r#"{"metrics":[{"name":"m","type":"counter","value":"many"}]}"#,
            r#"{"logs":[{"level":"LOUD","message":"m"}]}"#,
            "{a:1}",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
