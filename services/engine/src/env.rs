//! What is the same for every step of a process: bounds, roots of expressions, the tasks that run inline.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use windhover_expression::{ExpressionError, TemplateCache, Zone};
use windhover_flow::Task;
use windhover_types::{JsonMap, Label, Level, State};

use crate::{MetricKind, RenderContext};

/// Settings that bound a step; the same in all processes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Task runs that one step starts; the rest follows in the next one.
    pub inline_per_step: u32,
    /// How long a killed execution waits for the reports of its workers.
    pub kill_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { inline_per_step: 500, kill_grace: Duration::from_secs(10) }
    }
}

/// What is the same for every step of a process.
pub struct Env {
    pub limits: Limits,
    pub inline: Arc<dyn InlineTasks>,
    /// `envs` of expressions: a map (expression reference 16).
    pub envs: Arc<Value>,
    /// `globals` of expressions: a map.
    pub globals: Arc<Value>,
    /// `kestra` of expressions: a map with `environment` and `url` where they are configured.
    pub kestra: Arc<Value>,
    /// The server's time zone.
    pub timezone: Zone,
    /// `kestra.variables.recursive-rendering`.
    pub recursive_rendering: bool,
    pub expression_limits: windhover_expression::Limits,
    /// Templates that are known only when they are rendered.
    pub templates: TemplateCache,
}

impl Env {
    /// Defaults: empty maps, UTC, default bounds.
    pub fn new(inline: Arc<dyn InlineTasks>) -> Self {
        let empty = || Arc::new(Value::Object(JsonMap::new()));
        Self {
            limits: Limits::default(),
            inline,
            envs: empty(),
            globals: empty(),
            kestra: empty(),
            timezone: Zone::default(),
            recursive_rendering: false,
            expression_limits: windhover_expression::Limits::default(),
            templates: TemplateCache::default(),
        }
    }
}

/// Runs an inline task: a plain function, so that the engine stays pure and the table of tasks stays with the tasks.
pub trait InlineTasks: Send + Sync {
    /// Renders the properties and does what the task does. Lines and numbers have no ids yet; the engine adds them,
    /// and drops lines below the task's `logLevel`.
    ///
    /// # Errors
    /// A template that cannot be rendered: the attempt fails with its message. [`ExpressionError::Needs`] must come
    /// back as it is: the step is then run again with the fact.
    fn run(&self, task: &Task, context: &dyn RenderContext) -> Result<InlineOutcome, ExpressionError>;
}

/// Name, kind, value (a timer's in milliseconds) and tags of a number that an inline task publishes.
pub type InlineMetric = (String, MetricKind, f64, Vec<(String, String)>);

/// What an inline task did.
#[derive(Debug, Clone, Default)]
pub struct InlineOutcome {
    /// Why it failed. The engine writes the line of level ERROR, unless `logs` holds it already.
    pub error: Option<String>,
    /// It ended with a warning.
    pub warning: bool,
    pub outputs: Option<Value>,
    pub logs: Vec<(Level, String)>,
    pub metrics: Vec<InlineMetric>,
    /// A Sleep: the attempt ends at this distance from now.
    pub sleep: Option<Duration>,
    /// Labels that the execution gets (flow model 1.x reference 1.4); of equal keys these win.
    pub labels: Vec<Label>,
    /// What `vars` shows from now on, if it changes (flow model 1.x reference 3.4).
    pub variables: Option<JsonMap>,
    /// The execution ends in this state, at once (flow model 1.x reference 5.2, Exit).
    pub exit: Option<State>,
}
