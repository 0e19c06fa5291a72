//! What a task sees of the attempt that it is.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use chrono::Utc;
use serde_json::Value;
use windhover_engine::Directory;
use windhover_expression::{Environment, ExpressionError, SharedVariables, Variables};
use windhover_flow::{Flow, Properties, PropertyError, Task, TaskKind, Text};
use windhover_types::{Id, JsonMap, Level, Tenant, Timestamp};

use crate::{
    MAX_RENDERINGS, TaskError, TaskLog, TaskServices,
    directory::{Folder, Shared},
    sealed,
    services::{Loaded, RenderServices},
};

/// What identifies an attempt and what its templates read.
pub struct Attempt {
    pub tenant: Tenant,
    pub flow: Arc<Flow>,
    pub task: Arc<Task>,
    pub execution: Id,
    pub task_run: Id,
    /// From 0.
    pub attempt: u32,
    /// Roots of the expressions.
    pub variables: JsonMap,
    /// `trigger.state`, if a Flow trigger started the execution.
    pub trigger_state: Option<String>,
    /// The directory of the WorkingDirectory around the task.
    pub directory: Option<Directory>,
    /// Seed of what is random in its templates.
    pub seed: u64,
}

/// The surroundings of one attempt.
pub struct TaskContext {
    pub tenant: Tenant,
    pub flow: Arc<Flow>,
    pub task: Arc<Task>,
    pub execution: Id,
    pub task_run: Id,
    pub attempt: u32,
    pub trigger_state: Option<String>,
    pub services: Arc<TaskServices>,
    log: Arc<TaskLog>,
    variables: SharedVariables,
    seed: u64,
    /// How many names were drawn.
    names: AtomicU64,
    /// The folder that the task works in, once it has asked for one.
    folder: OnceLock<Folder>,
    /// The WorkingDirectory around the task.
    shared: Option<Shared>,
    /// The task whose properties count, once a TemplatedTask has read it.
    body: OnceLock<Arc<Task>>,
    loaded: tokio::sync::Mutex<Loaded>,
}

impl TaskContext {
    /// As [`TaskContext::new`], with what is sealed among the variables opened first; from then on it is masked in
    /// whatever the attempt says.
    ///
    /// # Errors
    /// A sentence for the user: it cannot be opened.
    pub async fn unseal(mut attempt: Attempt, services: Arc<TaskServices>) -> Result<Self, String> {
        let secrets = sealed::open(&mut attempt, &services).await?;
        let context = Self::new(attempt, services);
        for secret in secrets {
            context.log.add_secret(secret.expose());
        }
        Ok(context)
    }

    pub fn new(attempt: Attempt, services: Arc<TaskServices>) -> Self {
        let Attempt { tenant, flow, task, execution, task_run, attempt, variables, trigger_state, directory, seed } =
            attempt;
        let log = TaskLog::new(&task.id, task_run, attempt, task.log_level);
        let directory = directory.and_then(|directory| Shared::of(&flow, directory));
        let mut shared = SharedVariables::default();
        for (name, value) in variables {
            shared.set_json(name, Arc::new(value));
        }
        Self {
            tenant,
            flow,
            task,
            execution,
            task_run,
            attempt,
            trigger_state,
            services,
            log: Arc::new(log),
            variables: shared,
            seed,
            names: AtomicU64::new(0),
            folder: OnceLock::new(),
            shared: directory,
            body: OnceLock::new(),
            loaded: tokio::sync::Mutex::default(),
        }
    }

    pub fn namespace(&self) -> &str {
        &self.flow.namespace
    }

    /// The task's own properties.
    pub fn properties(&self) -> &Properties {
        static NONE: Properties = Properties::Literal(Value::Null);
        match &self.body.get().unwrap_or(&self.task).kind {
            TaskKind::Runnable(runnable) => &runnable.properties,
            _ => &NONE,
        }
    }

    /// From now on the properties are those of another task; what surrounds it stays this one's.
    pub(crate) fn become_task(&self, task: Task) {
        // Once: a templated task is no templated task itself.
        let _ = self.body.set(Arc::new(task));
    }

    /// Evaluates templates. `render` is called again whenever something had to be looked up first; it must
    /// only render.
    pub async fn render<T>(
        &self,
        render: impl Fn(&Properties, &Environment<'_>) -> Result<T, PropertyError>,
    ) -> Result<T, PropertyError> {
        self.with_services(
            &self.variables,
            |environment| render(self.properties(), environment),
            |error| error.needs().is_some(),
        )
        .await
    }

    /// As [`Self::render`], with further variables, which hide the task's of the same names.
    pub(crate) async fn render_with<T>(
        &self,
        further: &[(&str, Value)],
        render: impl Fn(&Properties, &Environment<'_>) -> Result<T, PropertyError>,
    ) -> Result<T, PropertyError> {
        let mut variables = self.variables.clone();
        for (name, value) in further {
            variables.set_json(name, Arc::new(value.clone()));
        }
        self.with_services(
            &variables,
            |environment| render(self.properties(), environment),
            |error| error.needs().is_some(),
        )
        .await
    }

    /// Evaluates a template over other variables than the task's.
    pub(crate) async fn evaluate(&self, template: &Text, variables: JsonMap) -> Result<String, ExpressionError> {
        self.rendered(template, &variables).await
    }

    /// As [`Self::evaluate`]; a text that is one expression keeps the type of its value.
    pub(crate) async fn evaluate_typed(&self, template: &Text, variables: JsonMap) -> Result<Value, ExpressionError> {
        let needs = |error: &ExpressionError| matches!(error, ExpressionError::Needs(_));
        let render = |environment: &Environment<'_>| template.render_typed(environment);
        self.with_services(&variables, render, needs).await
    }

    /// Evaluates a template of the implementation's own over the task's variables.
    pub(crate) async fn expression(&self, template: &Text) -> Result<String, ExpressionError> {
        self.rendered(template, &self.variables).await
    }

    async fn rendered(&self, template: &Text, variables: &(dyn Variables + Sync)) -> Result<String, ExpressionError> {
        let needs = |error: &ExpressionError| matches!(error, ExpressionError::Needs(_));
        self.with_services(variables, |environment| template.render(environment), needs).await
    }

    /// Renders again whenever something had to be looked up first.
    async fn with_services<T, E>(
        &self,
        variables: &(dyn Variables + Sync),
        render: impl Fn(&Environment<'_>) -> Result<T, E>,
        needs: impl Fn(&E) -> bool,
    ) -> Result<T, E> {
        let now = Utc::now();
        let mut loaded = self.loaded.lock().await;
        let mut renderings = 0;
        loop {
            renderings += 1;
            let (outcome, missing) = {
                let env = &self.services.env;
                let services = RenderServices::new(self.namespace(), &loaded, &self.log, env, now, self.seed);
                let environment = Environment::new(variables, &services)
                    .with_cache(&env.templates)
                    .with_limits(env.expression_limits)
                    .with_recursive(env.recursive_rendering);
                let outcome = render(&environment);
                (outcome, services.into_missing())
            };
            match &outcome {
                Err(error) if needs(error) && !missing.is_empty() && renderings < MAX_RENDERINGS => {}
                _ => return outcome,
            }
            self.services.load(self, missing, &mut loaded).await;
        }
    }

    /// The folder that the task works in; it goes with the attempt.
    pub(crate) fn folder(&self) -> Result<&Folder, TaskError> {
        if let Some(folder) = self.folder.get() {
            return Ok(folder);
        }
        let made = Folder::new()?;
        Ok(self.folder.get_or_init(|| made))
    }

    /// Brings the folder of the WorkingDirectory around the task.
    pub(crate) async fn enter_directory(&self) -> Result<(), TaskError> {
        if let Some(shared) = &self.shared {
            let opened = shared.open(self).await?;
            self.folder.get_or_init(|| opened);
        }
        Ok(())
    }

    /// Keeps it for the next task; answers the outputs of the WorkingDirectory as they are now.
    pub(crate) async fn leave_directory(&self) -> Result<Option<Value>, TaskError> {
        match (&self.shared, self.folder.get()) {
            (Some(shared), Some(folder)) => shared.close(self, folder).await,
            _ => Ok(None),
        }
    }

    /// A name that no other file of the task run has: attempts have different seeds.
    pub(crate) fn unique_name(&self) -> String {
        format!("{:016x}{:04x}", self.seed, self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// The property as text; absent is `None`.
    pub async fn text(&self, name: &str) -> Result<Option<String>, TaskError> {
        Ok(self.render(|properties, environment| properties.text(name, environment)).await?)
    }

    /// The property as text, which must be there.
    pub async fn required_text(&self, name: &str) -> Result<String, TaskError> {
        Ok(self.render(|properties, environment| properties.required_text(name, environment)).await?)
    }

    /// The property rendered as a map, or as a text that is a JSON object.
    pub async fn map(&self, name: &str) -> Result<Option<JsonMap>, TaskError> {
        Ok(self.render(|properties, environment| properties.map(name, environment)).await?)
    }

    pub async fn bool(&self, name: &str) -> Result<Option<bool>, TaskError> {
        Ok(self.render(|properties, environment| properties.bool(name, environment)).await?)
    }

    /// A root of the task's expressions as JSON; `None`: there is none of that name.
    pub(crate) fn variable(&self, name: &str) -> Result<Option<Value>, TaskError> {
        let failed = |reason: String| TaskError::failed(format!("the variable `{name}`: {reason}"));
        match self.variables.root(name) {
            Ok(Some(value)) => value.to_json().map(Some).map_err(|error| failed(error.to_string())),
            Ok(None) => Ok(None),
            Err(_) => Err(failed("it cannot be read here".to_owned())),
        }
    }

    /// Writes a line; secrets that the attempt has seen are taken out.
    pub fn log(&self, level: Level, message: &str) {
        self.log.write(now(), level, message);
    }

    pub fn task_log(&self) -> &Arc<TaskLog> {
        &self.log
    }
}

/// The worker's time.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_utc(Utc::now())
}
