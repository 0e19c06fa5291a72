//! What expressions see while the engine renders (expression reference 16, flow model reference 3.7, 1.x reference 3.3).

mod clear;
mod job;
mod narrow;
mod views;

use std::sync::{Arc, OnceLock};

use serde_json::Value as Json;
use windhover_expression::{
    Environment, ExpressionError, FileAnswer, FileInfo, FileRef, HttpAnswer, HttpCall, Interrupt, KvAnswer, KvRequest,
    SecretRequest, SeededRandom, Services, Value, Variables, Zone,
};
use windhover_flow::{Flow, Task, Text};
use windhover_types::{Cipher, JsonMap, Masker, Secret, Timestamp, nested_labels};

pub(crate) use clear::open_run;
pub(crate) use job::{directory_of, job_variables};

use clear::{Clear, Seen, clear_all, clear_inputs};

use crate::{
    Answer, Env, Execution, Fact, FactValue, Facts, HttpQuestion, InlineOutcome, InlineTasks, Moment, Question, Run,
    TaskRun,
};

/// What an inline task renders with.
pub trait RenderContext {
    /// Variables, services and bounds for [`windhover_expression::Template`] and the properties of a flow.
    fn environment(&self) -> Environment<'_>;

    /// The time, the same for the whole step.
    fn now(&self) -> Timestamp;

    /// The execution as it is before the task.
    fn execution(&self) -> &Execution;

    /// What `vars` shows: the execution's own variables, or else the flow's.
    fn variables(&self) -> &JsonMap;
}

/// Documents of an execution that expressions read in place; made when they are first read.
#[derive(Debug, Clone, Default)]
pub(crate) struct RootCache {
    inputs: OnceLock<Clear>,
    vars: OnceLock<Arc<Json>>,
    labels: OnceLock<Arc<Json>>,
    trigger: OnceLock<Clear>,
    /// Takes the inputs of type SECRET out of whatever is said of the execution.
    masker: OnceLock<Masker>,
}

impl RootCache {
    /// To be called when labels or variables change.
    pub(crate) fn forget_changeable(&mut self) {
        self.labels = OnceLock::new();
        self.vars = OnceLock::new();
    }

    /// The text without the inputs of type SECRET.
    pub(crate) fn mask(&self, text: String) -> String {
        match self.masker.get() {
            Some(masker) if !masker.is_empty() => masker.mask(&text),
            _ => text,
        }
    }
}

/// Why something has no value: the step must stop for facts, or the template is wrong.
#[derive(Debug)]
pub(crate) enum Stop {
    Needs(Vec<Fact>),
    Failed(String),
}

impl From<ExpressionError> for Stop {
    fn from(error: ExpressionError) -> Self {
        match error {
            ExpressionError::Needs(key) => match Fact::from_key(&key) {
                Some(fact) => Stop::Needs(vec![fact]),
                None => Stop::Failed(format!("`{key}` is not available to what the executor renders")),
            },
            other => Stop::Failed(other.to_string()),
        }
    }
}

/// Variables and services of one evaluation.
///
/// It must be dropped before the run changes: values of `outputs` share the run's task runs.
pub(crate) struct Context<'a> {
    pub(crate) flow: &'a Flow,
    pub(crate) run: &'a Run,
    /// Absent for what belongs to the flow: its outputs, its triggers.
    pub(crate) task: Option<(&'a Task, &'a TaskRun)>,
    pub(crate) facts: &'a Facts,
    pub(crate) moment: Moment,
    pub(crate) env: &'a Env,
    /// Further roots, which hide those of the run.
    pub(crate) extra: &'a [(&'static str, Value)],
    /// Of the run itself nothing can be seen: what is rendered belongs to another flow.
    foreign: bool,
    /// Sealed values are seen as they are kept.
    as_kept: bool,
    random: SeededRandom,
    /// How many ports were asked for.
    ports: std::cell::Cell<u32>,
    masked: Seen,
}

impl<'a> Context<'a> {
    pub(crate) fn new(flow: &'a Flow, run: &'a Run, facts: &'a Facts, moment: Moment, env: &'a Env) -> Self {
        Self {
            flow,
            run,
            task: None,
            facts,
            moment,
            env,
            extra: &[],
            foreign: false,
            as_kept: false,
            random: SeededRandom::new(moment.seed),
            ports: std::cell::Cell::new(0),
            masked: Seen::default(),
        }
    }

    #[must_use]
    pub(crate) fn of_task(mut self, task: &'a Task, task_run: &'a TaskRun) -> Self {
        // Tasks of one step must not draw the same numbers; an attempt that is rendered again must.
        let mut salt = [0; 8];
        salt.copy_from_slice(&task_run.id.as_bytes()[8..]);
        let salt = u64::from_be_bytes(salt).wrapping_add(task_run.attempts.len() as u64);
        self.random = SeededRandom::new(self.moment.seed ^ salt);
        self.task = Some((task, task_run));
        self
    }

    #[must_use]
    pub(crate) fn with_extra(mut self, extra: &'a [(&'static str, Value)]) -> Self {
        self.extra = extra;
        self
    }

    /// For what belongs to another flow, whose roots are these.
    #[must_use]
    pub(crate) fn foreign(mut self, roots: &'a [(&'static str, Value)]) -> Self {
        self.extra = roots;
        self.foreign = true;
        self
    }

    /// The same execution with its sealed values as they are kept: what leaves the process is read from here.
    pub(crate) fn as_kept(&self) -> Context<'a> {
        let mut kept = Context::new(self.flow, self.run, self.facts, self.moment, self.env);
        kept.task = self.task;
        kept.as_kept = true;
        kept
    }

    pub(crate) fn render(&self, text: &Text) -> Result<String, Stop> {
        text.render(&self.environment()).map_err(|error| self.stop(error))
    }

    /// The reason with the secrets taken out that the evaluation has seen.
    pub(crate) fn stop(&self, error: ExpressionError) -> Stop {
        self.mask(Stop::from(error))
    }

    /// The same of any reason to stop.
    pub(crate) fn mask(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Failed(message) => Stop::Failed(self.mask_message(&message)),
            needs => needs,
        }
    }

    pub(crate) fn mask_message(&self, message: &str) -> String {
        self.masked.masker().mask(message)
    }

    /// What an inline task says, without the secrets that it has seen. Its outputs are its own.
    pub(crate) fn mask_outcome(&self, mut outcome: InlineOutcome) -> InlineOutcome {
        let masker = self.masked.masker();
        if masker.is_empty() {
            return outcome;
        }
        outcome.error = outcome.error.map(|error| masker.mask(&error));
        for (_, message) in &mut outcome.logs {
            *message = masker.mask(message);
        }
        for (_, value) in outcome.metrics.iter_mut().flat_map(|(_, _, _, tags)| tags) {
            *value = masker.mask(value);
        }
        outcome
    }

    /// What seals and opens values of the tenant.
    fn cipher(&self) -> Result<Arc<dyn Cipher>, Interrupt> {
        clear::cipher(self.facts)
    }

    /// The value with everything opened in it, unless it is wanted as it is kept.
    fn opened(&self, value: Value) -> Result<Value, Interrupt> {
        if self.as_kept || !self.run.execution.marks.sealed {
            return Ok(value);
        }
        clear::opened(value, &self.cipher()?, &self.masked)
    }

    /// A document that belongs to somebody else's expressions, opened for these.
    ///
    /// # Errors
    /// It cannot be opened, or not yet.
    pub(crate) fn open_document(&self, document: JsonMap) -> Result<Value, Stop> {
        let clear = clear_all(document, self.facts).map_err(stop)?;
        self.masked.add(&clear.secrets);
        Ok(Value::from_shared_json(clear.document))
    }

    /// A document of the execution, made and opened when it is first read.
    fn document(
        &self,
        known: &OnceLock<Clear>,
        kept: &dyn Fn() -> JsonMap,
        open: &dyn Fn(JsonMap) -> Result<Clear, Interrupt>,
    ) -> Result<Value, Interrupt> {
        let clear = match known.get() {
            Some(clear) => clear.clone(),
            None => match open(kept()) {
                Ok(clear) => {
                    let _ = known.set(clear.clone());
                    clear
                }
                // As it is kept it can be had without a key.
                Err(_) if self.as_kept => return Ok(Value::from_json(&Json::Object(kept()))),
                Err(interrupt) => return Err(interrupt),
            },
        };
        if self.as_kept && !clear.secrets.is_empty() {
            return Ok(Value::from_json(&Json::Object(kept())));
        }
        self.masked.add(&clear.secrets);
        Ok(Value::from_shared_json(clear.document))
    }

    fn own_variables(&self) -> &JsonMap {
        self.run.execution.variables.as_deref().unwrap_or(&self.flow.variables)
    }

    /// A root of the run, `None` for what is absent or unknown.
    fn own_root(&self, name: &str) -> Result<Option<Value>, Interrupt> {
        let execution = &self.run.execution;
        let roots = &self.run.roots;
        let shared = |cell: &OnceLock<Arc<Json>>, make: &dyn Fn() -> JsonMap| {
            Value::from_shared_json(Arc::clone(cell.get_or_init(|| Arc::new(Json::Object(make())))))
        };
        if !self.has_root(name) {
            return Ok(None);
        }
        Ok(Some(match name {
            "envs" => Value::from_shared_json(Arc::clone(&self.env.envs)),
            "globals" => Value::from_shared_json(Arc::clone(&self.env.globals)),
            "kestra" => Value::from_shared_json(Arc::clone(&self.env.kestra)),
            "namespace" => return Ok(namespace_root(self.flow)),
            "flow" => flow_root(execution),
            "execution" => self.opened(execution_root(execution))?,
            "labels" => shared(&roots.labels, &|| nested_labels(&execution.labels)),
            "vars" => shared(&roots.vars, &|| self.own_variables().clone()),
            "inputs" => {
                let open = |inputs| clear_inputs(self.flow, inputs, self.facts);
                self.document(&roots.inputs, &|| execution.inputs.as_ref().clone(), &open)?
            }
            "trigger" | "schedule" => {
                let variables =
                    || execution.trigger.as_ref().map(|trigger| trigger.variables.clone()).unwrap_or_default();
                self.document(&roots.trigger, &variables, &|trigger| clear_all(trigger, self.facts))?
            }
            "outputs" => self.opened(views::outputs(self.run))?,
            "tasks" => views::tasks(self.run),
            _ => return self.root_of_task(name),
        }))
    }

    /// A root that belongs to the task.
    fn root_of_task(&self, name: &str) -> Result<Option<Value>, Interrupt> {
        let Some((task, task_run)) = self.task else { return Ok(None) };
        Ok(match name {
            "task" => Some(task_root(task)),
            "taskrun" => Some(self.task_run_root(task_run)),
            "parents" => Some(self.opened(Value::list(self.ancestors(task_run)))?),
            "parent" => self.ancestors(task_run).into_iter().next().map(|parent| self.opened(parent)).transpose()?,
            _ => None,
        })
    }

    fn task_run_root(&self, task_run: &TaskRun) -> Value {
        Value::map(self.task_run_entries(task_run))
    }

    pub(crate) fn task_run_entries(&self, task_run: &TaskRun) -> Vec<(&'static str, Value)> {
        let mut root = vec![
            ("id", Value::text(task_run.id.to_string())),
            ("startDate", instant(task_run.state.started())),
            ("attemptsCount", Value::Int(i32::try_from(task_run.ended_attempts()).unwrap_or(i32::MAX))),
        ];
        if let Some(parent) = task_run.parent_id {
            root.push(("parentId", Value::text(parent.to_string())));
        }
        // What runs in a WorkingDirectory shows the iteration of that (flow model reference 5.3).
        let of =
            directory_of(self.flow, self.run, task_run).and_then(|directory| self.run.task_run(directory.task_run));
        let of = of.unwrap_or(task_run);
        if let Some(value) = &of.value {
            root.push(("value", Value::text(value)));
        }
        if let Some(iteration) = of.iteration {
            root.push(("iteration", Value::Int(i32::try_from(iteration).unwrap_or(i32::MAX))));
        }
        root
    }

    fn has_root(&self, name: &str) -> bool {
        let execution = &self.run.execution;
        match name {
            "envs" | "globals" | "kestra" => true,
            _ if self.foreign => false,
            "flow" | "execution" | "labels" => true,
            "vars" => !self.own_variables().is_empty(),
            "namespace" => !self.flow.namespace_variables.is_empty(),
            "inputs" => !execution.inputs.is_empty(),
            "trigger" => execution.trigger.is_some(),
            "schedule" => execution.trigger.as_ref().is_some_and(|trigger| trigger.type_name.ends_with(".Schedule")),
            "outputs" | "tasks" => !self.run.task_runs.is_empty(),
            "task" | "taskrun" | "parents" => self.task.is_some(),
            "parent" => self.task.is_some_and(|(_, task_run)| !self.ancestors(task_run).is_empty()),
            _ => false,
        }
    }

    /// Ancestors that have a value or outputs, nearest first.
    fn ancestors(&self, task_run: &TaskRun) -> Vec<Value> {
        let mut found = Vec::new();
        let mut next = task_run.parent_id;
        while let Some(ancestor) = next.and_then(|id| self.run.task_run(id)) {
            next = ancestor.parent_id;
            let mut entry = Vec::new();
            if let Some(value) = &ancestor.value {
                entry.push(("taskrun", Value::map([("value", Value::text(value))])));
            }
            if let Some(outputs) =
                ancestor.outputs.as_ref().filter(|outputs| outputs.as_object().is_some_and(|map| !map.is_empty()))
            {
                entry.push(("outputs", Value::from_shared_json(Arc::clone(outputs))));
            }
            if !entry.is_empty() {
                found.push(Value::map(entry));
            }
        }
        found
    }
}

/// Variables of the flow's namespace and of those above it, as they are now; `None`: there are none.
pub(crate) fn namespace_root(flow: &Flow) -> Option<Value> {
    let variables = Some(flow.namespace_variables.as_ref()).filter(|variables| !variables.is_empty())?;
    Some(Value::from_shared_json(Arc::new(Json::Object(variables.clone()))))
}

const ROOTS: [&str; 17] = [
    "envs",
    "globals",
    "flow",
    "namespace",
    "vars",
    "inputs",
    "task",
    "taskrun",
    "parents",
    "parent",
    "execution",
    "kestra",
    "outputs",
    "tasks",
    "labels",
    "trigger",
    "schedule",
];

impl Variables for Context<'_> {
    fn root(&self, name: &str) -> Result<Option<Value>, Interrupt> {
        if let Some((_, value)) = self.extra.iter().find(|(extra, _)| *extra == name) {
            return Ok(Some(value.clone()));
        }
        self.own_root(name)
    }

    fn names(&self) -> Vec<String> {
        let extra = self.extra.iter().map(|(name, _)| *name);
        let own =
            ROOTS.into_iter().filter(|name| self.has_root(name) && self.extra.iter().all(|(extra, _)| extra != name));
        own.chain(extra).map(str::to_owned).collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.has_root(name) || self.extra.iter().any(|(extra, _)| *extra == name)
    }
}

impl Context<'_> {
    /// The answer that is known; else the step stops for it.
    fn ask<T>(&self, question: Question, pick: impl Fn(&Answer) -> Option<Result<T, String>>) -> Result<T, Interrupt> {
        let fact = Fact::World(question);
        let known = match self.facts.get(&fact) {
            Some(FactValue::World(answer)) => pick(answer),
            _ => None,
        };
        known.ok_or_else(|| Interrupt::Needs(fact.key()))?.map_err(Interrupt::failed)
    }
}

impl Services for Context<'_> {
    fn secret(&self, request: &SecretRequest) -> Result<Option<String>, Interrupt> {
        let namespace = match &request.namespace {
            Some(namespace) => namespace,
            None if request.flow_namespace.is_empty() => &self.run.execution.namespace,
            None => &request.flow_namespace,
        };
        let fact = Fact::Secret { namespace: namespace.clone(), key: request.key.to_uppercase() };
        match self.facts.get(&fact) {
            Some(FactValue::Secret(Ok(secret))) => {
                self.masked.add(std::slice::from_ref(secret));
                Ok(Some(secret.expose().to_owned()))
            }
            Some(FactValue::Secret(Err(reason))) => Err(Interrupt::failed(reason.clone())),
            _ => Err(Interrupt::Needs(fact.key())),
        }
    }

    fn kv(&self, request: &KvRequest) -> Result<KvAnswer, Interrupt> {
        self.ask(Question::KeyValue(request.clone()), Answer::key_value)
    }

    fn read(&self, file: &FileRef) -> Result<FileAnswer<String>, Interrupt> {
        self.ask(Question::Content(file.clone()), Answer::content)
    }

    fn file_info(&self, file: &FileRef, _function: &str) -> Result<FileAnswer<FileInfo>, Interrupt> {
        self.ask(Question::Info(file.clone()), Answer::info)
    }

    fn http(&self, call: &HttpCall) -> Result<HttpAnswer, Interrupt> {
        self.ask(Question::Http(HttpQuestion::of(call)?), Answer::http)
    }

    fn random_port(&self) -> Result<u16, Interrupt> {
        let nth = self.ports.get();
        self.ports.set(nth + 1);
        let task_run = self.task.map(|(_, task_run)| task_run.id.to_string()).unwrap_or_default();
        self.ask(Question::FreePort { task_run, nth }, Answer::free_port)
    }

    fn mask(&self, text: &str) {
        self.masked.add(&[Secret::new(text)]);
    }

    fn seal(&self, value: &str) -> Result<String, Interrupt> {
        self.cipher()?.seal(&Secret::new(value)).map_err(Interrupt::failed)
    }

    fn open(&self, sealed: &str) -> Result<Option<String>, Interrupt> {
        let opened = self.cipher()?.open(sealed).map_err(Interrupt::failed)?;
        self.masked.add(opened.as_slice());
        Ok(opened.map(|secret| secret.expose().to_owned()))
    }

    fn now(&self) -> Result<chrono::DateTime<chrono::Utc>, Interrupt> {
        self.moment.now.to_utc().ok_or_else(|| Interrupt::failed("The time is outside of the calendar"))
    }

    fn random(&self) -> Result<u64, Interrupt> {
        Ok(self.random.next())
    }

    fn timezone(&self) -> Zone {
        self.env.timezone
    }
}

impl RenderContext for Context<'_> {
    fn environment(&self) -> Environment<'_> {
        Environment::new(self, self)
            .with_cache(&self.env.templates)
            .with_limits(self.env.expression_limits)
            .with_recursive(self.env.recursive_rendering)
    }

    fn now(&self) -> Timestamp {
        self.moment.now
    }

    fn execution(&self) -> &Execution {
        &self.run.execution
    }

    fn variables(&self) -> &JsonMap {
        self.own_variables()
    }
}

/// Why a root has no value.
pub(crate) fn stop(interrupt: Interrupt) -> Stop {
    match interrupt {
        Interrupt::Needs(key) => ExpressionError::Needs(key).into(),
        Interrupt::Missing(message) | Interrupt::Failed(message) => Stop::Failed(message),
    }
}

/// The roots of expressions that belong to an execution, as JSON, for what is rendered about it from outside. Its task runs
/// must all be in memory. Without what the server adds to all of them, and without what has to be looked up.
///
/// # Errors
/// A value that cannot be written as JSON.
pub fn execution_variables(flow: &Flow, run: &Run) -> Result<JsonMap, ExpressionError> {
    struct Nothing;
    impl InlineTasks for Nothing {
        fn run(&self, _: &Task, _: &dyn RenderContext) -> Result<InlineOutcome, ExpressionError> {
            Ok(InlineOutcome::default())
        }
    }
    let (facts, env) = (Facts::new(), Env::new(Arc::new(Nothing)));
    let moment = Moment { now: run.execution.state.last().at, seed: 0 };
    let context = Context::new(flow, run, &facts, moment, &env);
    let mut variables = JsonMap::new();
    for name in ROOTS.into_iter().filter(|name| !["envs", "globals", "kestra"].contains(name)) {
        let Ok(Some(value)) = context.root(name) else { continue };
        match value.to_json() {
            Ok(value) => drop(variables.insert(name.to_owned(), value)),
            Err(ExpressionError::Needs(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(variables)
}

fn instant(at: Timestamp) -> Value {
    at.floor_millis().to_utc().map_or(Value::Null, Value::Instant)
}

fn flow_root(execution: &Execution) -> Value {
    Value::map([
        ("id", Value::text(&execution.flow_id)),
        ("namespace", Value::text(&execution.namespace)),
        ("revision", Value::Int(i32::try_from(execution.flow_revision).unwrap_or(i32::MAX))),
        ("tenantId", Value::text(execution.tenant.as_str())),
    ])
}

fn execution_root(execution: &Execution) -> Value {
    let mut root = vec![
        ("id", Value::text(execution.id.to_string())),
        ("startDate", instant(execution.state.started())),
        ("originalId", Value::text(execution.original_id.to_string())),
        ("state", Value::text(execution.current().as_str())),
    ];
    if let Some(outputs) = &execution.outputs {
        root.push(("outputs", Value::from_json(&Json::Object(outputs.clone()))));
    }
    Value::map(root)
}

fn task_root(task: &Task) -> Value {
    Value::map([("id", Value::text(&task.id)), ("type", Value::text(&task.type_name))])
}
