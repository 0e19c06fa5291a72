//! What the expressions of a task on a worker can ask for.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::json;
use windhover_engine::{Env, HttpQuestion, LogLine};
use windhover_expression::{
    FileAnswer, FileInfo, FileRef, HttpAnswer, HttpCall, Interrupt, KvAnswer, KvRequest, SecretRequest, SeededRandom,
    Services, Value, Zone,
};
use windhover_outbound::Client;
use windhover_storage::Files;
use windhover_types::Secret;

use crate::{
    ExecutionSource, KeyValueSource, SecretSource, TaskContext, TaskLog, Upkeep, files, http, kv, process::Processes,
};

/// How often the properties of one attempt are rendered at most: each time something more was loaded.
pub const MAX_RENDERINGS: usize = 64;

/// Entries that `errorLogs()` gives at most (expression reference 15.3).
const MAX_ERROR_LOGS: usize = 25;

/// How long `errorLogs()` waits for the first entry (expression reference 15.3).
const ERROR_LOGS_WAIT: Duration = Duration::from_secs(5);

/// How long `http()` waits for an answer; the task's timeout ends it as well.
const CALL_TIMEOUT: Duration = Duration::from_secs(300);

/// What all tasks of a worker share.
pub struct TaskServices {
    pub http: Client,
    pub secrets: Arc<dyn SecretSource>,
    pub executions: Arc<dyn ExecutionSource>,
    pub kv: Arc<dyn KeyValueSource>,
    pub upkeep: Arc<dyn Upkeep>,
    /// Internal storage.
    pub files: Files,
    /// Whether scripts run here, and within which limits.
    pub processes: Processes,
    /// `kestra.url`: base of the links to executions.
    pub url: Option<String>,
    /// Bounds of expressions, time zone, templates that are only known when they are rendered; as for the engine.
    pub env: Arc<Env>,
}

/// A secret that a template asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SecretName {
    pub(crate) namespace: String,
    pub(crate) key: String,
}

/// What was looked up for one attempt. It stays as it is until the attempt ends: properties that are rendered one after
/// the other see the same, and only the first of them waits.
#[derive(Default)]
pub(crate) struct Loaded {
    secrets: HashMap<SecretName, Result<Option<Secret>, String>>,
    error_logs: Option<Result<Vec<Value>, String>>,
    kv: HashMap<KvRequest, Result<KvAnswer, String>>,
    texts: HashMap<FileRef, Result<FileAnswer<String>, String>>,
    infos: HashMap<FileRef, Result<FileAnswer<FileInfo>, String>>,
    calls: HashMap<HttpQuestion, Result<HttpAnswer, String>>,
}

/// What a rendering asked for and did not find among what is loaded.
#[derive(Default)]
pub(crate) struct Missing {
    secrets: HashSet<SecretName>,
    error_logs: bool,
    kv: HashSet<KvRequest>,
    texts: HashSet<FileRef>,
    infos: HashSet<FileRef>,
    calls: HashSet<HttpQuestion>,
}

impl Missing {
    pub(crate) fn is_empty(&self) -> bool {
        self.secrets.is_empty()
            && !self.error_logs
            && self.kv.is_empty()
            && self.texts.is_empty()
            && self.infos.is_empty()
            && self.calls.is_empty()
    }
}

/// What was loaded under this key; else it is noted as missing.
fn loaded<K: Clone + Eq + std::hash::Hash, V: Clone>(
    known: &HashMap<K, Result<V, String>>,
    missing: &mut HashSet<K>,
    key: &K,
    what: &str,
) -> Result<V, Interrupt> {
    match known.get(key) {
        Some(Ok(found)) => Ok(found.clone()),
        Some(Err(reason)) => Err(Interrupt::Failed(reason.clone())),
        None => {
            missing.insert(key.clone());
            Err(Interrupt::Needs(what.to_owned()))
        }
    }
}

/// The services of one rendering. What is missing is noted, loaded by the caller, and the rendering done again.
pub(crate) struct RenderServices<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) loaded: &'a Loaded,
    pub(crate) log: &'a TaskLog,
    pub(crate) now: DateTime<Utc>,
    pub(crate) random: SeededRandom,
    timezone: &'a Zone,
    missing: RefCell<Missing>,
}

impl<'a> RenderServices<'a> {
    pub(crate) fn new(
        namespace: &'a str,
        loaded: &'a Loaded,
        log: &'a TaskLog,
        env: &'a Env,
        now: DateTime<Utc>,
        seed: u64,
    ) -> Self {
        let random = SeededRandom::new(seed);
        Self { namespace, loaded, log, now, random, timezone: &env.timezone, missing: RefCell::default() }
    }

    pub(crate) fn into_missing(self) -> Missing {
        self.missing.into_inner()
    }

    /// Another namespace can be read only upwards: a flow sees what it would inherit.
    fn readable(&self, namespace: &str) -> bool {
        kv::is_above(namespace, self.namespace)
    }
}

impl Services for RenderServices<'_> {
    fn secret(&self, request: &SecretRequest) -> Result<Option<String>, Interrupt> {
        let namespace = request.namespace.as_deref().unwrap_or(self.namespace);
        if !self.readable(namespace) {
            return Err(Interrupt::Failed(format!(
                "Namespace '{namespace}' is not allowed for secrets of '{}'",
                self.namespace
            )));
        }
        let name = SecretName { namespace: namespace.to_owned(), key: request.key.to_uppercase() };
        match self.loaded.secrets.get(&name) {
            Some(Ok(found)) => {
                if let Some(secret) = found {
                    self.log.add_secret(secret.expose());
                }
                Ok(found.as_ref().map(|secret| secret.expose().to_owned()))
            }
            Some(Err(reason)) => Err(Interrupt::Failed(reason.clone())),
            None => {
                let key = format!("secret {}", name.key);
                self.missing.borrow_mut().secrets.insert(name);
                Err(Interrupt::Needs(key))
            }
        }
    }

    fn error_logs(&self) -> Result<Vec<Value>, Interrupt> {
        match &self.loaded.error_logs {
            Some(Ok(entries)) => Ok(entries.clone()),
            Some(Err(reason)) => Err(Interrupt::Failed(reason.clone())),
            None => {
                self.missing.borrow_mut().error_logs = true;
                Err(Interrupt::Needs("error logs".to_owned()))
            }
        }
    }

    fn kv(&self, request: &KvRequest) -> Result<KvAnswer, Interrupt> {
        loaded(&self.loaded.kv, &mut self.missing.borrow_mut().kv, request, "a key")
    }

    fn read(&self, file: &FileRef) -> Result<FileAnswer<String>, Interrupt> {
        loaded(&self.loaded.texts, &mut self.missing.borrow_mut().texts, file, "a file")
    }

    fn file_info(&self, file: &FileRef, _function: &str) -> Result<FileAnswer<FileInfo>, Interrupt> {
        loaded(&self.loaded.infos, &mut self.missing.borrow_mut().infos, file, "a file's size")
    }

    fn http(&self, call: &HttpCall) -> Result<HttpAnswer, Interrupt> {
        let question = HttpQuestion::of(call)?;
        loaded(&self.loaded.calls, &mut self.missing.borrow_mut().calls, &question, "the answer of a server")
    }

    fn random_port(&self) -> Result<u16, Interrupt> {
        http::free_port().map_err(Interrupt::Failed)
    }

    fn mask(&self, text: &str) {
        self.log.add_secret(text);
    }

    fn now(&self) -> Result<DateTime<Utc>, Interrupt> {
        Ok(self.now)
    }

    fn random(&self) -> Result<u64, Interrupt> {
        Ok(self.random.next())
    }

    fn timezone(&self) -> Zone {
        *self.timezone
    }
}

impl TaskServices {
    /// Looks up what a rendering of this task missed.
    pub(crate) async fn load(&self, task: &TaskContext, missing: Missing, into: &mut Loaded) {
        for name in missing.secrets {
            let found = self.secrets.secret(&task.tenant, &name.namespace, &name.key).await;
            into.secrets.insert(name, found);
        }
        if missing.error_logs {
            let lines = self.executions.error_logs(&task.tenant, task.execution, MAX_ERROR_LOGS, ERROR_LOGS_WAIT).await;
            into.error_logs = Some(lines.map(|lines| lines.iter().map(|line| entry(task, line)).collect()));
        }
        for request in missing.kv {
            let answer = kv::look_up(self.kv.as_ref(), &task.tenant, &request).await;
            into.kv.insert(request, answer);
        }
        for file in missing.texts {
            let answer = files::read(&self.files, &task.tenant, &file).await;
            into.texts.insert(file, answer);
        }
        for file in missing.infos {
            let answer = files::info(&self.files, &task.tenant, &file).await;
            into.infos.insert(file, answer);
        }
        for question in missing.calls {
            let answer = http::send(&self.http, &question, CALL_TIMEOUT).await;
            into.calls.insert(question, answer);
        }
    }
}

/// A line of the task's execution as `errorLogs()` shows it (expression reference 15.3). `triggerId` is for lines of
/// triggers and `thread` for servers that tell it: they are there, as null, so that reading them is no error.
fn entry(task: &TaskContext, line: &LogLine) -> Value {
    Value::from_shared_json(Arc::new(json!({
        "tenantId": task.tenant.as_str(),
        "namespace": task.flow.namespace,
        "flowId": task.flow.id,
        "taskId": line.task_id,
        "executionId": task.execution.to_string(),
        "taskRunId": line.task_run_id.map(|id| id.to_string()),
        "attemptNumber": line.attempt,
        "triggerId": null,
        "timestamp": line.at.to_string(),
        "level": line.level.as_str(),
        "thread": null,
        "message": line.message,
        "deleted": false,
    })))
}
