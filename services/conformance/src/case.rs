//! A case as its file says it: flows, steps and what must be seen then.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::{
    expectation::{Expectation, TriggerName},
    time,
};

/// How long a wait lasts when the case does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// A case. Placeholders are still in it: see [`Placeholders`].
#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Numbers of the corner cases that it is about; see `corner/README.md`.
    pub covers: Vec<u16>,
    /// How long each of its waits lasts at most.
    pub timeout: Duration,
    pub config: Config,
    pub secrets: BTreeMap<String, String>,
    pub files: BTreeMap<String, CaseFile>,
    /// Paths below `flows/`, or sources as they are; deployed in this order.
    pub flows: Vec<String>,
    pub steps: Vec<Step>,
    pub expect: Vec<Expectation>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What expressions see as `envs`.
    pub envs: Map<String, Value>,
    /// What expressions see as `globals`.
    pub globals: Map<String, Value>,
}

impl Config {
    pub fn is_empty(&self) -> bool {
        self.envs.is_empty() && self.globals.is_empty()
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum CaseFile {
    Content(String),
    /// The numbers from `from` up to but without `to`, one a line.
    Lines {
        from: i64,
        to: i64,
        #[serde(default)]
        pad_left: usize,
    },
}

impl CaseFile {
    pub fn content(&self) -> String {
        match self {
            Self::Content(content) => content.clone(),
            Self::Lines { from, to, pad_left } => (*from..*to).map(|number| format!("{number:>pad_left$}\n")).collect(),
        }
    }
}

/// What `as:` is without being said.
fn main_name() -> String {
    "main".to_owned()
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Deploy(Deploy),
    Validate(Validate),
    UpdateFlow(UpdateFlow),
    DeleteFlow(FlowName),
    Execute(Execute),
    Webhook(Webhook),
    Backfill(Backfill),
    PauseBackfill(TriggerName),
    ResumeBackfill(TriggerName),
    Wait(Wait),
    WaitForExecutions(WaitForExecutions),
    WaitForReceiver(WaitForReceiver),
    #[serde(deserialize_with = "duration")]
    Sleep(Duration),
    Check(Vec<Expectation>),
    Receiver(ReceiverAnswer),
    Kill(Action),
    Restart(Action),
    Replay(Replay),
    Resume(Action),
    Pause(Action),
    Unqueue(Action),
    ForceRun(Action),
    DeleteExecution(Action),
    ChangeStatus(ChangeStatus),
    ChangeTaskRun(ChangeTaskRun),
    SetLabels(SetLabels),
    SetTrigger(SetTrigger),
    KvSet(KvSet),
    NamespaceFile(NamespaceFile),
}

/// An entry of a namespace's key-value store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvSet {
    pub namespace: String,
    pub key: String,
    pub value: Value,
}

/// A file of a namespace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceFile {
    pub namespace: String,
    pub path: String,
    pub content: String,
}

#[derive(Debug, Clone)]
pub enum Deploy {
    /// The word `deploy`: the flows of the case are deployed, and their deployment is what is looked at.
    All,
    File(String),
    Source {
        name: String,
        source: String,
    },
}

impl<'de> Deserialize<'de> for Deploy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Source {
            r#as: String,
            source: String,
        }
        match Value::deserialize(deserializer)? {
            Value::String(file) => Ok(Self::File(file)),
            other => serde_json::from_value::<Source>(other)
                .map(|source| Self::Source { name: source.r#as, source: source.source })
                .map_err(serde::de::Error::custom),
        }
    }
}

/// Asks what is wrong with a source, and deploys nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validate {
    #[serde(rename = "as")]
    pub name: String,
    pub source: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateFlow {
    #[serde(rename = "as")]
    pub name: String,
    pub namespace: String,
    pub flow: String,
    pub with: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowName {
    #[serde(rename = "as", default = "main_name")]
    pub name: String,
    pub namespace: String,
    pub flow: String,
    /// Only if this is still the newest one.
    pub revision: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Execute {
    #[serde(rename = "as", default = "main_name")]
    pub name: String,
    pub namespace: String,
    pub flow: String,
    pub revision: Option<u32>,
    #[serde(default)]
    pub inputs: Map<String, Value>,
    #[serde(default)]
    pub labels: Map<String, Value>,
    pub schedule_date: Option<String>,
    #[serde(default = "Until::terminated")]
    pub until: Until,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    #[serde(rename = "as")]
    pub name: String,
    pub namespace: String,
    pub flow: String,
    pub key: String,
    pub method: String,
    #[serde(default)]
    pub query: Map<String, Value>,
    #[serde(default)]
    pub headers: Map<String, Value>,
    #[serde(default, deserialize_with = "present")]
    pub body: Option<Value>,
    pub raw_body: Option<String>,
    #[serde(default = "Until::nothing")]
    pub until: Until,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    pub execution: String,
    pub until: Until,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitForExecutions {
    pub namespace: String,
    pub flow: String,
    pub by: Option<String>,
    pub count: usize,
    pub until: Until,
    #[serde(default, deserialize_with = "some_duration")]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitForReceiver {
    pub count: usize,
    pub path: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiverAnswer {
    pub path: String,
    #[serde(default = "ok_status")]
    pub status: u16,
    pub body: Option<String>,
    pub content_type: Option<String>,
}

fn ok_status() -> u16 {
    200
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    #[serde(rename = "as", default = "main_name")]
    pub name: String,
    pub execution: Option<String>,
    #[serde(default)]
    pub executions: Vec<String>,
    pub execution_id: Option<String>,
    /// Only of a resumption.
    #[serde(default)]
    pub inputs: Map<String, Value>,
    /// Only of a restart: a new execution with this revision.
    pub revision: Option<u32>,
    #[serde(default = "Until::nothing")]
    pub until: Until,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    #[serde(rename = "as")]
    pub name: String,
    pub execution: String,
    /// From the task run of this task.
    pub task: Option<String>,
    /// The one inside these iterations.
    #[serde(default)]
    pub values: Vec<String>,
    pub task_run_id: Option<String>,
    #[serde(default = "Until::nothing")]
    pub until: Until,
}

/// Decides the state of a task run by hand.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeTaskRun {
    #[serde(rename = "as", default = "main_name")]
    pub name: String,
    pub execution: String,
    pub task: String,
    #[serde(default)]
    pub values: Vec<String>,
    pub state: String,
    #[serde(default = "Until::nothing")]
    pub until: Until,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeStatus {
    #[serde(rename = "as", default = "main_name")]
    pub name: String,
    pub execution: String,
    pub state: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLabels {
    #[serde(rename = "as", default = "main_name")]
    pub name: String,
    pub execution: Option<String>,
    pub execution_id: Option<String>,
    pub labels: Map<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTrigger {
    pub namespace: String,
    pub flow: String,
    pub trigger: String,
    pub disabled: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    pub namespace: String,
    pub flow: String,
    pub trigger: String,
    pub start: String,
    pub end: String,
    #[serde(default)]
    pub labels: Map<String, Value>,
}

/// How far an execution must have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Until {
    /// Any final state.
    #[serde(rename = "TERMINATED")]
    Terminated,
    #[serde(rename = "RUNNING")]
    Running,
    #[serde(rename = "PAUSED")]
    Paused,
    #[serde(rename = "QUEUED")]
    Queued,
    #[serde(rename = "none")]
    Nothing,
    /// It has at least so many task runs.
    #[serde(rename = "task_runs")]
    TaskRuns(usize),
}

impl Until {
    fn terminated() -> Self {
        Self::Terminated
    }

    fn nothing() -> Self {
        Self::Nothing
    }
}

/// What the placeholders of a case stand for.
#[derive(Debug, Clone)]
pub struct Placeholders {
    /// Base URL of the receiver, without a slash at its end.
    pub receiver_url: String,
}

impl Placeholders {
    /// The text with its placeholders replaced.
    pub fn fill(&self, text: &str) -> String {
        let address = self.receiver_url.strip_prefix("http://").unwrap_or(&self.receiver_url);
        let dsn = format!("http://0123456789abcdef0123456789abcdef@{address}/1");
        text.replace("RECEIVER_URL", &self.receiver_url).replace("RECEIVER_DSN", &dsn)
    }

    fn fill_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.fill(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill_value(item)),
            Value::Object(map) => map.values_mut().for_each(|item| self.fill_value(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// The file of a case, read but not yet filled in.
#[derive(Debug, Clone)]
pub struct CaseSource {
    pub name: String,
    document: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    name: String,
    #[serde(rename = "features", default)]
    _features: Vec<String>,
    #[serde(rename = "source", default)]
    _source: String,
    /// Numbers of the corner cases that it is about.
    #[serde(default)]
    covers: Vec<u16>,
    // Whether the server has it shows when the flow is deployed: it is accepted, or refused as unsupported.
    #[serde(rename = "requires", default)]
    _requires: Vec<String>,
    #[serde(default, deserialize_with = "some_duration")]
    timeout: Option<Duration>,
    #[serde(default)]
    config: Config,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    files: BTreeMap<String, CaseFile>,
    #[serde(default)]
    flows: Vec<String>,
    steps: Vec<Value>,
    expect: Vec<Expectation>,
    #[serde(rename = "notes", default)]
    _notes: Option<String>,
}

impl CaseSource {
    /// Reads the file and checks its form.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a case's file has no name")?.to_owned();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Self::parse(name, &text).with_context(|| format!("reading {}", path.display()))
    }

    pub fn parse(name: String, text: &str) -> Result<Self> {
        let source = Self { name, document: serde_yaml::from_str(text)? };
        let named = source.build(source.document.clone())?.name;
        if named != source.name {
            bail!("the case calls itself {named}");
        }
        Ok(source)
    }

    /// Reads a file with a list of cases that name themselves.
    pub fn read_list(path: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let documents: Vec<Value> =
            serde_yaml::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        let read = documents.into_iter().enumerate().map(|(index, document)| {
            let name = document.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let source = Self { name, document };
            source
                .build(source.document.clone())
                .with_context(|| format!("{} [{index}] {}", path.display(), source.name))?;
            Ok(source)
        });
        read.collect()
    }

    /// The case with its placeholders replaced in secrets and steps. Flow sources are filled when they are deployed.
    pub fn fill(&self, placeholders: &Placeholders) -> Result<Case> {
        let mut document = self.document.clone();
        for part in ["steps", "secrets"] {
            if let Some(value) = document.get_mut(part) {
                placeholders.fill_value(value);
            }
        }
        self.build(document)
    }

    fn build(&self, document: Value) -> Result<Case> {
        let document: Document = serde_json::from_value(document)?;
        let steps = document.steps.into_iter().enumerate().map(|(index, step)| match step {
            Value::String(word) if word == "deploy" => Ok(Step::Deploy(Deploy::All)),
            other => serde_json::from_value(other).with_context(|| format!("steps[{index}]")),
        });
        Ok(Case {
            name: document.name,
            covers: document.covers,
            timeout: document.timeout.unwrap_or(DEFAULT_TIMEOUT),
            config: document.config,
            secrets: document.secrets,
            files: document.files,
            flows: document.flows,
            steps: steps.collect::<Result<_>>()?,
            expect: document.expect,
        })
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    time::duration(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no duration")))
}

fn some_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

/// Keeps `null` apart from a missing key.
pub(crate) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = r#"
name: a-case
features: [inputs]
source: own
timeout: PT90S
secrets: {HOOK: RECEIVER_URL/slack, SENTRY: RECEIVER_DSN}
files:
  numbers.txt: {lines: {from: 8, to: 11, pad_left: 3}}
flows: [own/a.yaml]
steps:
  - execute: {namespace: a.b, flow: c, inputs: {file: {$file: numbers.txt}}}
  - webhook: {as: hook, namespace: a.b, flow: c, key: k, method: POST, body: null}
  - wait: {execution: main, until: {task_runs: 3}}
  - sleep: PT0.5S
  - check: [{receiver: null, count: 1}]
expect:
  - receiver: /x
    forbid: [{json: {a: 1}}]
"#;

    #[test]
    fn a_case_is_read_with_its_placeholders_filled() {
        let source = CaseSource::parse("a-case".into(), CASE).unwrap();
        let case = source.fill(&Placeholders { receiver_url: "http://127.0.0.1:4000".into() }).unwrap();
        assert_eq!(case.timeout, Duration::from_secs(90));
        assert_eq!(case.secrets["HOOK"], "http://127.0.0.1:4000/slack");
        assert_eq!(case.secrets["SENTRY"], "http://0123456789abcdef0123456789abcdef@127.0.0.1:4000/1");
        assert_eq!(case.files["numbers.txt"].content(), "  8\n  9\n 10\n");
        assert!(
            matches!(&case.steps[0], Step::Execute(step) if step.name == "main" && step.until == Until::Terminated)
        );
        assert!(matches!(&case.steps[1], Step::Webhook(step) if step.body == Some(Value::Null)));
        assert!(matches!(&case.steps[2], Step::Wait(Wait { until: Until::TaskRuns(3), .. })));
    }

    #[test]
    fn what_a_case_may_not_say_is_an_error() {
        for (from, to) in [
            ("name: a-case", "name: other"),
            ("flow: c, inputs", "flow: c, input"),
            ("sleep: PT0.5S", "sleep: soon"),
            ("- sleep", "- slumber"),
            ("task_runs: 3", "task_run: 3"),
            ("forbid:", "forbids:"),
            ("receiver: /x", "receiver: /x\n    execution: main"),
            ("timeout: PT90S", "timeouts: PT90S"),
        ] {
            let text = CASE.replace(from, to);
            assert_ne!(text, CASE);
            assert!(CaseSource::parse("a-case".into(), &text).is_err(), "{to}");
        }
    }
}
