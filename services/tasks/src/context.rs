//! What a task sees of the attempt that it is.

use std::sync::Arc;

use chrono::Utc;
use serde_json::Value;
use windhover_expression::{Environment, SharedVariables};
use windhover_flow::{Flow, Properties, PropertyError, Task, TaskKind};
use windhover_types::{Id, JsonMap, Level, Tenant, Timestamp};

use crate::{
    MAX_RENDERINGS, TaskError, TaskLog, TaskServices,
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
    /// Seed of what is random in its templates.
    pub seed: u64,
}

/// The surroundings of one attempt.
pub struct TaskContext {
    pub tenant: Tenant,
    pub flow: Arc<Flow>,
    pub task: Arc<Task>,
    pub execution: Id,
    pub attempt: u32,
    pub trigger_state: Option<String>,
    pub services: Arc<TaskServices>,
    log: Arc<TaskLog>,
    variables: SharedVariables,
    seed: u64,
    loaded: tokio::sync::Mutex<Loaded>,
}

impl TaskContext {
    pub fn new(attempt: Attempt, services: Arc<TaskServices>) -> Self {
        let Attempt { tenant, flow, task, execution, task_run, attempt, variables, trigger_state, seed } = attempt;
        let log = TaskLog::new(&task.id, task_run, attempt, task.log_level);
        let mut shared = SharedVariables::default();
        for (name, value) in variables {
            shared.set_json(name, Arc::new(value));
        }
        Self {
            tenant,
            flow,
            task,
            execution,
            attempt,
            trigger_state,
            services,
            log: Arc::new(log),
            variables: shared,
            seed,
            loaded: tokio::sync::Mutex::default(),
        }
    }

    pub fn namespace(&self) -> &str {
        &self.flow.namespace
    }

    /// The task's own properties.
    pub fn properties(&self) -> &Properties {
        static NONE: Properties = Properties::Literal(Value::Null);
        match &self.task.kind {
            TaskKind::Runnable(runnable) => &runnable.properties,
            _ => &NONE,
        }
    }

    /// Evaluates templates. `render` is called again whenever something had to be looked up first; it must
    /// only render.
    pub async fn render<T>(
        &self,
        render: impl Fn(&Properties, &Environment<'_>) -> Result<T, PropertyError>,
    ) -> Result<T, PropertyError> {
        let now = Utc::now();
        let mut loaded = self.loaded.lock().await;
        let mut renderings = 0;
        loop {
            renderings += 1;
            let env = &self.services.env;
            let services = RenderServices::new(self.namespace(), &loaded, &self.log, env, now, self.seed);
            let outcome = {
                let environment = Environment::new(&self.variables, &services)
                    .with_cache(&env.templates)
                    .with_limits(env.expression_limits)
                    .with_recursive(env.recursive_rendering);
                render(self.properties(), &environment)
            };
            let missing = services.into_missing();
            match &outcome {
                Err(error) if error.needs().is_some() && !missing.is_empty() && renderings < MAX_RENDERINGS => {}
                _ => return outcome,
            }
            self.services.load(self, missing, &mut loaded).await;
        }
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
