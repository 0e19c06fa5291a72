//! What crosses processes, as bytes: a version, then JSON. Structures of its own, so that a change of the engine's
//! types is seen here before it reaches another process.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use windhover_engine::{Directory, Job, JobResult, LogLine, MetricKind, TaskMetric};
use windhover_types::{Id, JsonMap, Level, Tenant, Timestamp};

use crate::{JobKey, QueuedJob, Report, ReportKind};

/// The version that is written. Readers refuse what they do not know; it is never acknowledged away.
const VERSION: u8 = 1;

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("it has version {0}, this process understands up to {VERSION}")]
    Version(u8),
    #[error("it is not what it should be: {0}")]
    Malformed(String),
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, value).map_err(|error| WireError::Malformed(error.to_string()))?;
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    match bytes.split_first() {
        Some((&VERSION, json)) => serde_json::from_slice(json).map_err(|error| WireError::Malformed(error.to_string())),
        Some((version, _)) => Err(WireError::Version(*version)),
        None => Err(WireError::Malformed("it is empty".to_owned())),
    }
}

/// A job without its flow: the receiver has that by tenant and revision.
#[derive(Serialize, Deserialize)]
pub(super) struct WireJob<'a> {
    pub(super) tenant: Cow<'a, Tenant>,
    pub(super) shard: u16,
    pub(super) execution: Id,
    pub(super) namespace: Cow<'a, str>,
    pub(super) flow: Cow<'a, str>,
    pub(super) revision: u32,
    pub(super) task_run: Id,
    task_id: Cow<'a, str>,
    attempt: u32,
    pub(super) dispatch: u32,
    variables: Cow<'a, JsonMap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<Cow<'a, Directory>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trigger_state: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    losses: u32,
    created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace_parent: Option<Cow<'a, str>>,
}

// The signature is serde's.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl<'a> From<&'a QueuedJob> for WireJob<'a> {
    fn from(queued: &'a QueuedJob) -> Self {
        // Taken apart, so that a new field is not forgotten.
        let QueuedJob {
            tenant,
            shard,
            execution,
            flow_revision,
            flow,
            job,
            trigger_state,
            losses,
            created_at,
            trace_parent,
        } = queued;
        let Job { task_run, task_id, attempt, dispatch, variables, worker_group, directory } = job;
        Self {
            tenant: Cow::Borrowed(tenant),
            shard: *shard,
            execution: *execution,
            namespace: Cow::Borrowed(&flow.namespace),
            flow: Cow::Borrowed(&flow.id),
            revision: *flow_revision,
            task_run: *task_run,
            task_id: Cow::Borrowed(task_id),
            attempt: *attempt,
            dispatch: *dispatch,
            variables: Cow::Borrowed(variables),
            group: worker_group.as_deref().map(Cow::Borrowed),
            directory: directory.as_ref().map(Cow::Borrowed),
            trigger_state: trigger_state.as_deref().map(Cow::Borrowed),
            losses: *losses,
            created_at: *created_at,
            trace_parent: trace_parent.as_deref().map(Cow::Borrowed),
        }
    }
}

impl WireJob<'_> {
    pub(super) fn key(&self) -> JobKey {
        JobKey { task_run: self.task_run, dispatch: self.dispatch }
    }

    /// What its execution's log says of it.
    pub(super) fn line(&self, at: Timestamp, message: String) -> LogLine {
        LogLine {
            at,
            level: Level::Error,
            message,
            task_id: Some(self.task_id.clone().into_owned()),
            task_run_id: Some(self.task_run),
            attempt: Some(self.attempt),
        }
    }

    /// The job, with its flow again.
    pub(super) fn with(self, flow: std::sync::Arc<windhover_flow::Flow>) -> QueuedJob {
        QueuedJob {
            tenant: self.tenant.into_owned(),
            shard: self.shard,
            execution: self.execution,
            flow_revision: self.revision,
            flow,
            job: Job {
                task_run: self.task_run,
                task_id: self.task_id.into_owned(),
                attempt: self.attempt,
                dispatch: self.dispatch,
                variables: self.variables.into_owned(),
                worker_group: self.group.map(Cow::into_owned),
                directory: self.directory.map(Cow::into_owned),
            },
            trigger_state: self.trigger_state.map(Cow::into_owned),
            losses: self.losses,
            created_at: self.created_at,
            trace_parent: self.trace_parent.map(Cow::into_owned),
        }
    }
}

/// A wake-up; its shard stands beside it, so that whoever does not own that need not read it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WireWake<'a> {
    Look { tenant: Cow<'a, Tenant>, execution: Id },
    Report(Box<WireEnvelope<'a>>),
}

/// A report, and to whom it is acknowledged under which number.
#[derive(Serialize, Deserialize)]
pub(super) struct WireEnvelope<'a> {
    pub(super) process: Cow<'a, str>,
    pub(super) sequence: u64,
    pub(super) report: WireReport<'a>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireReport<'a> {
    tenant: Cow<'a, Tenant>,
    execution: Id,
    task_run: Id,
    dispatch: u32,
    worker: Cow<'a, str>,
    kind: WireKind<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireKind<'a> {
    Started { at: Timestamp },
    Logs { first: u32, lines: Vec<WireLine<'a>> },
    Ended(Box<WireEnd<'a>>),
}

#[derive(Serialize, Deserialize)]
struct WireEnd<'a> {
    result: Cow<'a, JobResult>,
    /// The result's own serialised form is that of the inbox, which has neither.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    lines: Vec<WireLine<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<WireMetric<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireLine<'a> {
    at: Timestamp,
    level: Level,
    message: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task_id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task_run: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct WireMetric<'a> {
    task_run: Id,
    task_id: Cow<'a, str>,
    name: Cow<'a, str>,
    kind: WireMetricKind,
    /// The bits of the number: JSON has no infinity.
    bits: u64,
    tags: Cow<'a, [(String, String)]>,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireMetricKind {
    Counter,
    Timer,
    Gauge,
}

fn lines(lines: &[LogLine]) -> Vec<WireLine<'_>> {
    lines.iter().map(line).collect()
}

fn line(line: &LogLine) -> WireLine<'_> {
    let LogLine { at, level, message, task_id, task_run_id, attempt } = line;
    WireLine {
        at: *at,
        level: *level,
        message: Cow::Borrowed(message),
        task_id: task_id.as_deref().map(Cow::Borrowed),
        task_run: *task_run_id,
        attempt: *attempt,
    }
}

fn own_lines(lines: Vec<WireLine<'_>>) -> Vec<LogLine> {
    let own = |line: WireLine<'_>| LogLine {
        at: line.at,
        level: line.level,
        message: line.message.into_owned(),
        task_id: line.task_id.map(Cow::into_owned),
        task_run_id: line.task_run,
        attempt: line.attempt,
    };
    lines.into_iter().map(own).collect()
}

fn metric(metric: &TaskMetric) -> WireMetric<'_> {
    let TaskMetric { task_run_id, task_id, name, kind, value, tags, at } = metric;
    WireMetric {
        task_run: *task_run_id,
        task_id: Cow::Borrowed(task_id),
        name: Cow::Borrowed(name),
        kind: match kind {
            MetricKind::Counter => WireMetricKind::Counter,
            MetricKind::Timer => WireMetricKind::Timer,
            MetricKind::Gauge => WireMetricKind::Gauge,
        },
        bits: value.to_bits(),
        tags: Cow::Borrowed(tags),
        at: *at,
    }
}

fn own_metric(metric: WireMetric<'_>) -> TaskMetric {
    TaskMetric {
        task_run_id: metric.task_run,
        task_id: metric.task_id.into_owned(),
        name: metric.name.into_owned(),
        kind: match metric.kind {
            WireMetricKind::Counter => MetricKind::Counter,
            WireMetricKind::Timer => MetricKind::Timer,
            WireMetricKind::Gauge => MetricKind::Gauge,
        },
        value: f64::from_bits(metric.bits),
        tags: metric.tags.into_owned(),
        at: metric.at,
    }
}

impl<'a> From<&'a Report> for WireReport<'a> {
    fn from(report: &'a Report) -> Self {
        let Report { tenant, shard: _, execution, key, worker, kind } = report;
        Self {
            tenant: Cow::Borrowed(tenant),
            execution: *execution,
            task_run: key.task_run,
            dispatch: key.dispatch,
            worker: Cow::Borrowed(worker),
            kind: match kind {
                ReportKind::Started { at } => WireKind::Started { at: *at },
                ReportKind::Logs { first, lines: own } => WireKind::Logs { first: *first, lines: lines(own) },
                ReportKind::Ended { result } => WireKind::Ended(Box::new(WireEnd {
                    lines: lines(&result.logs),
                    metrics: result.metrics.iter().map(metric).collect(),
                    result: Cow::Borrowed(result),
                })),
            },
        }
    }
}

impl WireReport<'_> {
    pub(super) fn into_report(self, shard: u16) -> Report {
        Report {
            tenant: self.tenant.into_owned(),
            shard,
            execution: self.execution,
            key: JobKey { task_run: self.task_run, dispatch: self.dispatch },
            worker: self.worker.into_owned(),
            kind: match self.kind {
                WireKind::Started { at } => ReportKind::Started { at },
                WireKind::Logs { first, lines } => ReportKind::Logs { first, lines: own_lines(lines) },
                WireKind::Ended(end) => {
                    let WireEnd { result, lines, metrics } = *end;
                    let mut result = result.into_owned();
                    result.logs = own_lines(lines);
                    result.metrics = metrics.into_iter().map(own_metric).collect();
                    ReportKind::Ended { result: Box::new(result) }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use windhover_types::State;

    use super::*;

    fn report(kind: ReportKind) -> Report {
        Report {
            tenant: Tenant::main(),
            shard: 3,
            execution: Id::from_bytes([1; 16]),
            key: JobKey { task_run: Id::from_bytes([2; 16]), dispatch: 4 },
            worker: "w".to_owned(),
            kind,
        }
    }

    fn through(sent: &Report) -> Report {
        let process = Cow::Borrowed("p");
        let envelope = WireEnvelope { process, sequence: u64::MAX, report: sent.into() };
        let bytes = encode(&WireWake::Report(Box::new(envelope))).expect("written");
        match decode(&bytes).expect("read") {
            WireWake::Report(envelope) if envelope.sequence == u64::MAX => envelope.report.into_report(3),
            _ => panic!("a report"),
        }
    }

    #[test]
    fn a_result_comes_through_with_lines_and_numbers_that_json_does_not_know() {
        let at = Timestamp::from_micros(7);
        let line = LogLine {
            at,
            level: Level::Warn,
            message: "ü\n".to_owned(),
            task_id: None,
            task_run_id: Some(Id::from_bytes([2; 16])),
            attempt: Some(1),
        };
        let metric = |value| TaskMetric {
            task_run_id: Id::from_bytes([2; 16]),
            task_id: "t".to_owned(),
            name: "n".to_owned(),
            kind: MetricKind::Gauge,
            value,
            tags: vec![("a".to_owned(), "b".to_owned())],
            at,
        };
        let result = JobResult {
            started_at: at,
            ended_at: at,
            worker: Some("w".to_owned()),
            state: State::Warning,
            outputs: Some(serde_json::json!({"z": 1, "a": [null, 1.5, u64::MAX]})),
            error: Some("e".to_owned()),
            directory_outputs: None,
            logs: vec![line.clone()],
            metrics: vec![metric(f64::INFINITY), metric(0.1)],
        };
        let sent = report(ReportKind::Ended { result: Box::new(result.clone()) });
        let ReportKind::Ended { result: got } = through(&sent).kind else { panic!("a result") };
        assert_eq!(*got, result);
        let ReportKind::Logs { first: 9, lines } =
            through(&report(ReportKind::Logs { first: 9, lines: vec![line.clone()] })).kind
        else {
            panic!("lines")
        };
        assert_eq!(lines, [line]);
        assert!(
            matches!(through(&report(ReportKind::Started { at })).kind, ReportKind::Started { at: got } if got == at)
        );
    }

    #[test]
    fn another_version_is_named_and_never_guessed_at() {
        let error = decode::<WireWake<'static>>(b"\x02{}").err().expect("refused").to_string();
        assert!(error.contains("version 2"), "{error}");
        assert!(decode::<WireWake<'static>>(b"").is_err() && decode::<WireWake<'static>>(b"\x01{").is_err());
    }
}
