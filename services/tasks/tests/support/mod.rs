//! A task with its surroundings, and a server that records what it is sent.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Bytes,
    extract::State as Shared,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::Response,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use windhover_engine::{Env, Execution, LogLine, NewExecution, TaskRun, new_execution};
use windhover_flow::{Flow, TaskKind};
use windhover_outbound::{AddressPolicy, Client, ClientConfig};
use windhover_storage::Files;
use windhover_tasks::{
    Attempt, ExecutionSource, InlineTaskTable, KeyValueSource, KvFound, KvWrite, SecretSource, TaskContext, TaskError,
    TaskLog, TaskOutcome, TaskServices,
    process::{ProcessLimits, Processes},
    task_of,
};
use windhover_tasks::{KeyTest, KvPurge, NoUpkeep, Upkeep};
use windhover_types::{Cipher, Id, JsonMap, Level, Secret, State, StateHistory, Tenant, Timestamp};

/// Attempts have different ones.
static SEEDS: AtomicU64 = AtomicU64::new(7);

#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// Answers every path with 200 `ok` unless told otherwise.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    pub(crate) base: String,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("it is bound"));
        let receiver = Self { base, ..Self::default() };
        let router = Router::new().fallback(answer).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub(crate) fn answer(&self, path: &str, status: u16, body: impl Into<Vec<u8>>) {
        self.answer_with(path, Answer { status, headers: Vec::new(), body: body.into() });
    }

    pub(crate) fn answer_with(&self, path: &str, answer: Answer) {
        self.answers.lock().insert(path.to_owned(), answer);
    }

    pub(crate) fn last(&self) -> Received {
        self.received.lock().last().cloned().expect("a request came")
    }

    pub(crate) fn count(&self) -> usize {
        self.received.lock().len()
    }
}

async fn answer(
    Shared(receiver): Shared<Receiver>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let known = receiver.answers.lock().get(uri.path()).cloned();
    receiver.received.lock().push(Received { method, uri, headers, body });
    let answer = known.unwrap_or(Answer { status: 200, headers: Vec::new(), body: b"ok".to_vec() });
    let mut response = Response::new(answer.body.into());
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("a status");
    for (name, value) in answer.headers {
        response.headers_mut().append(name, value.parse().expect("a header"));
    }
    response
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) secrets: Mutex<HashMap<String, String>>,
    pub(crate) lookups: Mutex<Vec<String>>,
    pub(crate) executions: Mutex<HashMap<Id, Execution>>,
    pub(crate) task_runs: Mutex<Vec<(Id, TaskRun)>>,
    /// Of the attempt's execution; `Err`: they cannot be read.
    pub(crate) error_logs: Mutex<Option<Result<Vec<LogLine>, String>>>,
    /// What was asked of the log: execution, limit, wait.
    pub(crate) log_reads: Mutex<Vec<(Id, usize, std::time::Duration)>>,
    /// Applied one by one, each time somebody waits.
    pub(crate) changes: Mutex<Vec<Execution>>,
    /// Lines of the attempt's execution.
    pub(crate) lines: Mutex<Vec<LogLine>>,
    /// By namespace and key; `None`: expired.
    pub(crate) entries: Mutex<BTreeMap<(String, String), Option<KvWrite>>>,
    /// Purges of keys: the namespace, what of, and the keys of the namespace that were meant.
    pub(crate) purges: Mutex<Vec<(String, KvPurge, Vec<String>)>>,
}

#[async_trait]
impl KeyValueSource for World {
    async fn get(&self, _: &Tenant, namespace: &str, key: &str) -> Result<KvFound, String> {
        Ok(match self.entries.lock().get(&(namespace.to_owned(), key.to_owned())) {
            Some(Some(entry)) => KvFound::Value { value: entry.value.clone(), kind: entry.kind },
            Some(None) => KvFound::Expired,
            None => KvFound::Absent,
        })
    }

    async fn put(&self, _: &Tenant, namespace: &str, key: &str, write: KvWrite) -> Result<bool, String> {
        let mut entries = self.entries.lock();
        let place = (namespace.to_owned(), key.to_owned());
        if !write.overwrite && matches!(entries.get(&place), Some(Some(_))) {
            return Ok(false);
        }
        entries.insert(place, Some(write));
        Ok(true)
    }

    async fn delete(&self, _: &Tenant, namespace: &str, key: &str) -> Result<bool, String> {
        Ok(self.entries.lock().remove(&(namespace.to_owned(), key.to_owned())).flatten().is_some())
    }

    async fn keys(&self, _: &Tenant, namespace: &str, prefix: &str) -> Result<Vec<String>, String> {
        let entries = self.entries.lock();
        let there =
            entries.iter().filter(|((of, key), entry)| of == namespace && key.starts_with(prefix) && entry.is_some());
        Ok(there.map(|((_, key), _)| key.clone()).collect())
    }

    async fn purge(&self, _: &Tenant, namespace: &str, chosen: &KeyTest, purge: KvPurge) -> Result<u64, String> {
        let entries = self.entries.lock();
        let keys = entries.keys().filter(|(of, key)| of == namespace && chosen(key)).map(|(_, key)| key.clone());
        let keys: Vec<String> = keys.collect();
        let count = keys.len() as u64;
        self.purges.lock().push((namespace.to_owned(), purge, keys));
        Ok(count)
    }

    async fn namespace_exists(&self, _: &Tenant, namespace: &str) -> Result<bool, String> {
        Ok(self.entries.lock().keys().any(|(of, _)| of == namespace))
    }
}

#[async_trait]
impl SecretSource for World {
    async fn secret(&self, _: &Tenant, namespace: &str, key: &str) -> Result<Option<Secret>, String> {
        self.lookups.lock().push(format!("{namespace}/{key}"));
        Ok(self.secrets.lock().get(key).map(Secret::new))
    }

    async fn cipher(&self, _: &Tenant) -> Result<Arc<dyn Cipher>, String> {
        Ok(Arc::new(Turned))
    }
}

/// Seals by turning the text round.
#[derive(Debug)]
pub(crate) struct Turned;

impl Cipher for Turned {
    fn seal(&self, value: &Secret) -> Result<String, String> {
        Ok(format!("<{}", value.expose().chars().rev().collect::<String>()))
    }

    fn open(&self, sealed: &str) -> Result<Option<Secret>, String> {
        if sealed.starts_with('!') {
            return Err("the encrypted value was changed".to_owned());
        }
        Ok(sealed.strip_prefix('<').map(|text| Secret::new(text.chars().rev().collect::<String>())))
    }
}

#[async_trait]
impl ExecutionSource for World {
    async fn execution(&self, _: &Tenant, id: Id) -> Result<Option<Execution>, String> {
        Ok(self.executions.lock().get(&id).cloned())
    }

    async fn last_task_run(
        &self,
        _: &Tenant,
        id: Id,
        state: Option<State>,
        but: Option<Id>,
    ) -> Result<Option<TaskRun>, String> {
        let fits = |run: &TaskRun| state.is_none_or(|state| run.state.current() == state) && Some(run.id) != but;
        Ok(self.task_runs.lock().iter().rev().find(|(of, run)| *of == id && fits(run)).map(|(_, run)| run.clone()))
    }

    async fn error_logs(
        &self,
        _: &Tenant,
        id: Id,
        limit: usize,
        wait: std::time::Duration,
    ) -> Result<Vec<LogLine>, String> {
        self.log_reads.lock().push((id, limit, wait));
        self.error_logs.lock().clone().unwrap_or_else(|| Ok(Vec::new()))
    }

    async fn log_lines(
        &self,
        _: &Tenant,
        _: Id,
        task_ids: &[String],
        min_level: Level,
        after: Option<i64>,
        limit: u64,
    ) -> Result<Vec<(i64, LogLine)>, String> {
        let lines = self.lines.lock().clone().into_iter().enumerate();
        let numbered = lines.map(|(at, line)| (at as i64, line)).filter(|(at, line)| {
            let of_task = line.task_id.as_ref().is_some_and(|id| task_ids.contains(id));
            after.is_none_or(|after| *at > after) && line.level >= min_level && (task_ids.is_empty() || of_task)
        });
        Ok(numbered.take(limit as usize).collect())
    }

    async fn changed(&self, _: &Tenant, _: Id, at_most: std::time::Duration) {
        let next = self.changes.lock().pop();
        match next {
            Some(execution) => {
                self.executions.lock().insert(execution.id, execution);
            }
            None => tokio::time::sleep(at_most).await,
        }
    }
}

/// One attempt, ready to run.
pub(crate) struct Try {
    pub(crate) world: Arc<World>,
    pub(crate) url: Option<String>,
    pub(crate) variables: JsonMap,
    pub(crate) trigger_state: Option<String>,
    pub(crate) execution: Id,
    pub(crate) log_level: Option<&'static str>,
    pub(crate) processes: Processes,
    pub(crate) upkeep: Arc<dyn Upkeep>,
    /// Internal storage.
    pub(crate) folder: Arc<tempfile::TempDir>,
}

impl Default for Try {
    fn default() -> Self {
        Self {
            world: Arc::default(),
            url: Some("https://kestra.example.org/".to_owned()),
            variables: JsonMap::new(),
            trigger_state: None,
            execution: id(1),
            log_level: None,
            processes: Processes::refused(),
            upkeep: Arc::new(NoUpkeep),
            folder: Arc::new(tempfile::tempdir().expect("a folder")),
        }
    }
}

/// How an attempt went.
pub(crate) struct Ran {
    pub(crate) outcome: Result<TaskOutcome, TaskError>,
    pub(crate) logs: Vec<(Level, String)>,
}

impl Ran {
    /// The error, wherever it is.
    pub(crate) fn error(&self) -> String {
        match &self.outcome {
            Ok(outcome) => outcome.error.clone().unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    pub(crate) fn outputs(&self) -> Value {
        match &self.outcome {
            Ok(outcome) => outcome.outputs.clone().unwrap_or_default(),
            Err(error) => panic!("the task failed: {error}"),
        }
    }

    pub(crate) fn said(&self, text: &str) -> bool {
        self.logs.iter().any(|(_, message)| message.contains(text))
    }
}

impl Try {
    pub(crate) fn files(&self) -> Files {
        Files::local(self.folder.path()).expect("a folder")
    }

    pub(crate) async fn run(&self, type_name: &str, properties: Value) -> Ran {
        let flow = flow_of(type_name, properties, self.log_level);
        let task = flow.tasks[0].clone();
        let TaskKind::Runnable(runnable) = &task.kind else { panic!("{type_name} does work") };
        let implementation = task_of(runnable.task_type.name).expect("a task of this crate");
        let context = self.context(flow, task.clone());
        let log = context.task_log().clone();
        let outcome = implementation.run(&context).await;
        let logs = log.take().into_iter().map(|line| (line.level, line.message)).collect();
        Ran { outcome, logs }
    }

    /// Runs scripts within these limits.
    pub(crate) fn with_processes(limits: ProcessLimits) -> Self {
        let supervisor = (env!("CARGO_BIN_EXE_windhover-supervisor").into(), Vec::new());
        Self { processes: Processes::allowed(limits, supervisor, vec!["CARGO_PKG_NAME".to_owned()]), ..Self::default() }
    }

    /// An attempt that goes on by itself; ended when the task is aborted.
    pub(crate) fn start(&self, type_name: &str, properties: Value) -> (Arc<TaskLog>, JoinHandle<()>) {
        let flow = flow_of(type_name, properties, self.log_level);
        let task = flow.tasks[0].clone();
        let TaskKind::Runnable(runnable) = &task.kind else { panic!("{type_name} does work") };
        let implementation = task_of(runnable.task_type.name).expect("a task of this crate");
        let context = self.context(flow, task.clone());
        let log = context.task_log().clone();
        let running = tokio::spawn(async move {
            let _ = implementation.run(&context).await;
        });
        (log, running)
    }

    fn context(&self, flow: Arc<Flow>, task: Arc<windhover_flow::Task>) -> TaskContext {
        let (attempt, services) = self.parts(flow, task);
        TaskContext::new(attempt, services)
    }

    /// Runs the first task of a flow with variables as a job carries them.
    pub(crate) async fn run_sealed(&self, flow: Arc<Flow>) -> Result<Ran, String> {
        let task = flow.tasks[0].clone();
        let TaskKind::Runnable(runnable) = &task.kind else { panic!("it does work") };
        let implementation = task_of(runnable.task_type.name).expect("a task of this crate");
        let (attempt, services) = self.parts(flow, task.clone());
        let context = TaskContext::unseal(attempt, services).await?;
        let log = context.task_log().clone();
        let outcome = implementation.run(&context).await;
        let logs = log.take().into_iter().map(|line| (line.level, line.message)).collect();
        Ok(Ran { outcome, logs })
    }

    fn parts(&self, flow: Arc<Flow>, task: Arc<windhover_flow::Task>) -> (Attempt, Arc<TaskServices>) {
        let addresses = AddressPolicy::public().allow_private(true);
        let http = Client::new(ClientConfig { addresses, ..ClientConfig::default() }).expect("a client");
        let services = TaskServices {
            http,
            secrets: self.world.clone(),
            executions: self.world.clone(),
            kv: self.world.clone(),
            upkeep: self.upkeep.clone(),
            files: self.files(),
            processes: self.processes.clone(),
            url: self.url.clone(),
            env: Arc::new(Env::new(Arc::new(InlineTaskTable))),
        };
        let attempt = Attempt {
            tenant: Tenant::main(),
            flow,
            task,
            execution: self.execution,
            task_run: id(2),
            attempt: 0,
            variables: self.variables.clone(),
            trigger_state: self.trigger_state.clone(),
            directory: None,
            seed: SEEDS.fetch_add(1, Ordering::Relaxed),
        };
        (attempt, Arc::new(services))
    }
}

pub(crate) fn flow_of(type_name: &str, properties: Value, log_level: Option<&str>) -> Arc<Flow> {
    let mut task = json!({"id": "task", "type": type_name});
    if let Some(level) = log_level {
        task["logLevel"] = json!(level);
    }
    for (key, value) in properties.as_object().into_iter().flatten() {
        task[key] = value.clone();
    }
    // JSON is YAML.
    let source = json!({"id": "hello", "namespace": "company.team", "tasks": [task]}).to_string();
    Arc::new(windhover_flow::compile(&source).unwrap_or_else(|violations| panic!("{violations:?}")))
}

pub(crate) fn id(number: u8) -> Id {
    Id::derived(Timestamp::from_millis(1_700_000_000_000), &[&[number]])
}

pub(crate) fn variables(value: Value) -> JsonMap {
    value.as_object().cloned().unwrap_or_default()
}

/// An execution of `company.team/load` that began at 1,700,000,000.250 s and is in `state` after 1.706 s.
pub(crate) fn execution(number: u8, state: State) -> Execution {
    let start = Timestamp::from_millis(1_700_000_000_250);
    let new = NewExecution {
        id: id(number),
        namespace: "company.team".to_owned(),
        flow_id: "load".to_owned(),
        flow_revision: 3,
        labels: Vec::new(),
        inputs: Arc::default(),
        variables: None,
        trigger: None,
        parent: None,
        schedule_time: None,
        trace_parent: None,
        marks: Default::default(),
        original_id: None,
        fail: None,
        task_runs: Vec::new(),
    };
    let mut execution = new_execution(&Tenant::main(), &new, start);
    execution.state.set(state, start.plus(std::time::Duration::from_millis(1_706)));
    execution
}

pub(crate) fn task_run(seq: u32, task_id: &str, state: State) -> TaskRun {
    let at = Timestamp::from_millis(1_700_000_000_250);
    let mut history = StateHistory::new(State::Created, at);
    history.set(state, at);
    TaskRun {
        id: id(100 + seq as u8),
        task_id: task_id.to_owned(),
        seq,
        parent_id: None,
        value: None,
        iteration: None,
        value_path: Vec::new(),
        state: history,
        attempts: Vec::new(),
        outputs: None,
        frame: None,
        opened: None,
        dispatch: 0,
        child_execution: None,
        version: 1,
    }
}
