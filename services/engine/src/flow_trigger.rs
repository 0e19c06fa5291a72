//! Whether a Flow trigger fires for a change of state, and what it starts (flow model reference 6.5, 1.x reference 6.5).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use windhover_expression::{Environment, Value as ExpressionValue};
use windhover_flow::{
    Condition, ConditionError, Flow, FlowTrigger, InputsError, Trigger, TriggerKind, Upstream, WindowEvent,
    evaluate_all, fill_defaults, seal_given,
};
use windhover_types::{Id, JsonMap, Label, State, correlation_id, label_value, merge_labels, nested_labels};

use crate::{
    Env, Execution, Fact, Facts, Moment, NewExecution, RenderContext, Run, TriggerInfo,
    context::{Context, Stop, namespace_root, stop},
    ids,
};

/// What `trigger.type` says, however the trigger's type was written.
const TYPE: &str = "io.kestra.plugin.core.trigger.Flow";

/// A change of state of an execution.
pub struct UpstreamChange<'a> {
    pub flow: &'a Arc<Flow>,
    pub run: &'a Run,
    /// What is known of the world: without the tenant's cipher nothing can be sealed or opened.
    pub facts: &'a Facts,
    /// The state that it has entered; the last entry of this state in its history is the change.
    pub to: State,
}

/// Why a trigger did not fire although its conditions may hold.
#[derive(Debug, thiserror::Error)]
pub enum FlowTriggerError {
    #[error("{0}")]
    Failed(String),
    /// Parts of the upstream execution that are not in memory.
    #[error("facts have to be loaded first: {0:?}")]
    Needs(Vec<Fact>),
}

impl From<Stop> for FlowTriggerError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Needs(facts) => Self::Needs(facts),
            Stop::Failed(reason) => Self::Failed(reason),
        }
    }
}

/// The execution that this trigger of `listening` (revision `listening_revision`) starts because of the change; `None` when it does not
/// fire. A disabled trigger, a disabled flow, and the upstream's own flow never do.
///
/// Everything in it follows from the change: its id is derived, and `now()` is the time of the change.
///
/// # Errors
/// A condition or an input that cannot be evaluated: nothing is started, and the caller warns.
pub fn flow_trigger(
    change: &UpstreamChange<'_>,
    listening: &Flow,
    listening_revision: u32,
    trigger: &Trigger,
    env: &Env,
) -> Result<Option<NewExecution>, FlowTriggerError> {
    let TriggerKind::Flow(kind) = &trigger.kind else { return Ok(None) };
    let Some(cause) = cause(change, listening, trigger).filter(|_| kind.window.is_none()) else { return Ok(None) };
    let upstream = &change.run.execution;
    let Cause { id, moment } = cause;
    let context = Context::new(change.flow, change.run, change.facts, moment, env);
    if !conditions_hold(&context, change, listening, &trigger.conditions)? {
        return Ok(None);
    }
    let given = inputs(&context, upstream, kind.inputs.as_ref())?;
    let variables = trigger_variables(change);
    let (labels, own_inputs) = {
        let shown = context.open_document(variables.clone())?;
        let roots = listening_roots(listening, listening_revision, shown, upstream);
        let own = Context::new(listening, change.run, change.facts, moment, env).foreign(&roots);
        let filled = fill_defaults(&listening.inputs, &given, &own.environment()).map_err(|error| match error {
            InputsError::Needs(key) => {
                FlowTriggerError::from(Stop::from(windhover_expression::ExpressionError::Needs(key)))
            }
            invalid @ InputsError::Invalid(_) => FlowTriggerError::Failed(own.mask_message(&invalid.to_string())),
        })?;
        (trigger_labels(trigger, &own.environment()), filled)
    };
    let labels = all_labels(listening, &labels, upstream);
    Ok(Some(started(
        id,
        listening,
        listening_revision,
        trigger,
        labels,
        own_inputs,
        variables,
        upstream.trace_parent.clone(),
    )))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one structure")]
fn started(
    id: Id,
    listening: &Flow,
    listening_revision: u32,
    trigger: &Trigger,
    labels: Vec<Label>,
    inputs: JsonMap,
    variables: JsonMap,
    trace_parent: Option<String>,
) -> NewExecution {
    NewExecution {
        id,
        namespace: listening.namespace.clone(),
        flow_id: listening.id.clone(),
        flow_revision: listening_revision,
        labels,
        inputs: Arc::new(inputs),
        variables: listening.initial_variables(),
        trigger: Some(TriggerInfo { id: trigger.id.clone(), type_name: TYPE.to_owned(), variables }),
        parent: None,
        schedule_time: None,
        trace_parent,
        marks: crate::Marks::default(),
        original_id: None,
        fail: None,
        task_runs: Vec::new(),
    }
}

/// The identity of what a change causes, and the moment at which it is evaluated.
struct Cause {
    id: Id,
    moment: Moment,
}

/// `None` when the change is none that the trigger listens to.
fn cause(change: &UpstreamChange<'_>, listening: &Flow, trigger: &Trigger) -> Option<Cause> {
    let TriggerKind::Flow(kind) = &trigger.kind else { return None };
    let upstream = &change.run.execution;
    let own = listening.namespace == upstream.namespace && listening.id == upstream.flow_id;
    if own || trigger.disabled || listening.disabled || !kind.states.contains(&change.to) {
        return None;
    }
    let entries = upstream.state.entries();
    let entry = entries.iter().rposition(|entry| entry.state == change.to && entry.state != State::Created)?;
    let at = entries[entry].at;
    let id = ids::triggered_execution_id(
        at.floor_millis(),
        &listening.namespace,
        &listening.id,
        &trigger.id,
        upstream.id,
        entry,
    );
    Some(Cause { id, moment: Moment { now: at, seed: seed_of(id) } })
}

/// What a change of state brings to the window of a trigger: which conditions it fulfils, and what is needed to start
/// the execution should that complete the set. Stored until the window has taken it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowOffer {
    /// Of the execution that it may start; names the offer too.
    pub id: Id,
    pub event: WindowEvent,
    /// Labels of the execution.
    pub labels: Vec<Label>,
    /// `trigger` of the execution, without outputs.
    pub variables: JsonMap,
    /// Its inputs as the upstream execution's own context gives them: for when no execution of the window has outputs.
    /// Else why there are none.
    pub inputs: Result<JsonMap, String>,
    pub trace_parent: Option<String>,
}

/// What the change brings to the window of this trigger; `None` when it brings nothing, or the trigger has no window.
///
/// # Errors
/// As [`flow_trigger`]. A condition of the window that cannot be evaluated does not hold.
pub fn window_offer(
    change: &UpstreamChange<'_>,
    listening: &Flow,
    listening_revision: u32,
    trigger: &Trigger,
    env: &Env,
) -> Result<Option<WindowOffer>, FlowTriggerError> {
    let TriggerKind::Flow(FlowTrigger { window: Some(window), inputs: given, .. }) = &trigger.kind else {
        return Ok(None);
    };
    let Some(Cause { id, moment }) = cause(change, listening, trigger) else { return Ok(None) };
    let upstream = &change.run.execution;
    let context = Context::new(change.flow, change.run, change.facts, moment, env);
    if !conditions_hold(&context, change, listening, &trigger.conditions)? {
        return Ok(None);
    }
    let mut held = Vec::new();
    for (name, condition) in &window.conditions {
        match conditions_hold(&context, change, listening, std::slice::from_ref(condition)) {
            Ok(true) => held.push(name.clone()),
            Ok(false) | Err(FlowTriggerError::Failed(_)) => {}
            Err(needs @ FlowTriggerError::Needs(_)) => return Err(needs),
        }
    }
    if held.is_empty() {
        return Ok(None);
    }
    let mut variables = trigger_variables(change);
    let labels = {
        let shown = context.open_document(variables.clone())?;
        let roots = listening_roots(listening, listening_revision, shown, upstream);
        let own = Context::new(listening, change.run, change.facts, moment, env).foreign(&roots);
        let own = trigger_labels(trigger, &own.environment());
        all_labels(listening, &own, upstream)
    };
    variables.remove("outputs");
    let inputs = match inputs(&context, upstream, given.as_ref()).and_then(|given| sealed(&context, listening, given)) {
        Ok(inputs) => Ok(inputs),
        Err(FlowTriggerError::Failed(reason)) => Err(reason),
        Err(needs @ FlowTriggerError::Needs(_)) => return Err(needs),
    };
    let outputs = upstream.outputs.clone().unwrap_or_default();
    let event = WindowEvent { at: moment.now, held, outputs };
    Ok(Some(WindowOffer { id, event, labels, variables, inputs, trace_parent: upstream.trace_parent.clone() }))
}

/// The execution that a complete window starts. `outputs`: those of its executions, merged; `inputs`: filled.
pub fn window_execution(
    offer: &WindowOffer,
    listening: &Flow,
    listening_revision: u32,
    trigger: &Trigger,
    outputs: JsonMap,
    inputs: JsonMap,
) -> NewExecution {
    let mut variables = offer.variables.clone();
    if !outputs.is_empty() {
        variables.insert("outputs".to_owned(), Value::Object(outputs));
    }
    started(
        offer.id,
        listening,
        listening_revision,
        trigger,
        offer.labels.clone(),
        inputs,
        variables,
        offer.trace_parent.clone(),
    )
}

/// Labels of the flow, then those of the trigger; the upstream's correlation goes on.
fn all_labels(listening: &Flow, labels: &[Label], upstream: &Execution) -> Vec<Label> {
    let own: Vec<Label> = listening.labels.iter().filter(|label| !label.is_system()).cloned().collect();
    let mut labels = merge_labels([own.as_slice(), labels]);
    labels.push(match label_value(&upstream.labels, Label::CORRELATION_ID) {
        Some(value) => Label::new(Label::CORRELATION_ID, value),
        None => correlation_id(upstream.id),
    });
    labels
}

/// The states of the attempts of task runs that were tried more than once, where a condition looks at them. Of an
/// execution that was loaded again, those of task runs that are still open.
pub(crate) fn retried(run: &Run, conditions: &[Condition]) -> Vec<State> {
    if !conditions.iter().any(Condition::looks_at_attempts) {
        return Vec::new();
    }
    let tried_again = run.task_runs().filter(|task_run| task_run.attempts.len() > 1);
    tried_again.flat_map(|task_run| task_run.attempts.iter().map(|attempt| attempt.state.current())).collect()
}

fn seed_of(id: Id) -> u64 {
    let mut seed = [0; 8];
    seed.copy_from_slice(&id.as_bytes()[8..]);
    u64::from_be_bytes(seed)
}

fn conditions_hold(
    context: &Context<'_>,
    change: &UpstreamChange<'_>,
    listening: &Flow,
    conditions: &[Condition],
) -> Result<bool, FlowTriggerError> {
    let execution = &change.run.execution;
    let retried = retried(change.run, conditions);
    let upstream = Upstream {
        namespace: &execution.namespace,
        flow_id: &execution.flow_id,
        state: change.to,
        labels: &execution.labels,
        has_outputs: execution.outputs.as_ref().is_some_and(|outputs| !outputs.is_empty()),
        retried: &retried,
        listening: (&listening.namespace, &listening.id),
    };
    let variables = trigger_variables(change);
    let roots = [("trigger", context.open_document(variables)?)];
    let context =
        Context::new(context.flow, context.run, context.facts, context.moment, context.env).with_extra(&roots);
    evaluate_all(conditions, Some(&upstream), &context.environment()).map_err(|error| match error {
        ConditionError::Expression(error) => context.stop(error).into(),
        other => FlowTriggerError::Failed(other.to_string()),
    })
}

/// With outputs of the upstream execution `trigger.outputs` alone is visible, else that execution's own context.
fn inputs(
    context: &Context<'_>,
    upstream: &Execution,
    inputs: Option<&windhover_flow::Properties>,
) -> Result<JsonMap, FlowTriggerError> {
    let Some(inputs) = inputs else { return Ok(JsonMap::new()) };
    let rendered = match upstream.outputs.as_ref().filter(|outputs| !outputs.is_empty()) {
        Some(outputs) => {
            let outputs = context.open_document(outputs.clone())?;
            let only = OnlyOutputs { context, trigger: ExpressionValue::map([("outputs", outputs)]) };
            let mut environment = context.environment();
            environment.variables = &only;
            inputs.render(&environment)
        }
        None => inputs.render(&context.environment()),
    };
    match rendered.map_err(|error| context.stop(error))? {
        Value::Object(map) => Ok(map),
        _ => Err(FlowTriggerError::Failed("inputs: a map is expected".to_owned())),
    }
}

/// An offer is kept until its window is complete.
fn sealed(context: &Context<'_>, listening: &Flow, mut given: JsonMap) -> Result<JsonMap, FlowTriggerError> {
    let environment = context.environment();
    seal_given(&listening.inputs, &mut given, |secret| environment.services.seal(secret.expose())).map_err(stop)?;
    Ok(given)
}

struct OnlyOutputs<'a> {
    context: &'a Context<'a>,
    trigger: ExpressionValue,
}

impl windhover_expression::Variables for OnlyOutputs<'_> {
    fn root(&self, name: &str) -> Result<Option<ExpressionValue>, windhover_expression::Interrupt> {
        match name {
            "trigger" => Ok(Some(self.trigger.clone())),
            "envs" | "globals" => self.context.root(name),
            _ => Ok(None),
        }
    }

    fn names(&self) -> Vec<String> {
        ["envs", "globals", "trigger"].map(str::to_owned).to_vec()
    }
}

fn trigger_variables(change: &UpstreamChange<'_>) -> JsonMap {
    let execution = &change.run.execution;
    let labels: Vec<Label> =
        execution.labels.iter().filter(|label| label.key != Label::CORRELATION_ID).cloned().collect();
    let mut variables = JsonMap::new();
    let mut set = |key: &str, value: Value| drop(variables.insert(key.to_owned(), value));
    set("executionId", Value::String(execution.id.to_string()));
    set("executionLabels", Value::Object(nested_labels(&labels)));
    set("state", Value::String(change.to.as_str().to_owned()));
    set("namespace", Value::String(execution.namespace.clone()));
    set("flowId", Value::String(execution.flow_id.clone()));
    set("flowRevision", Value::from(execution.flow_revision));
    if let Some(outputs) = execution.outputs.as_ref().filter(|outputs| !outputs.is_empty()) {
        set("outputs", Value::Object(outputs.clone()));
    }
    variables
}

/// Roots of the flow that is being started, in place of the upstream's.
fn listening_roots(
    flow: &Flow,
    revision: u32,
    trigger: ExpressionValue,
    upstream: &Execution,
) -> Vec<(&'static str, ExpressionValue)> {
    let root = ExpressionValue::map([
        ("id", ExpressionValue::text(&flow.id)),
        ("namespace", ExpressionValue::text(&flow.namespace)),
        ("revision", ExpressionValue::whole(i64::from(revision))),
        ("tenantId", ExpressionValue::text(upstream.tenant.as_str())),
    ]);
    let mut roots = vec![
        ("flow", root),
        ("vars", ExpressionValue::from_json(&Value::Object(flow.variables.clone()))),
        ("labels", ExpressionValue::from_json(&Value::Object(nested_labels(&flow.labels)))),
        ("trigger", trigger),
    ];
    roots.extend(namespace_root(flow).map(|variables| ("namespace", variables)));
    roots
}

/// A label that cannot be rendered is left out.
fn trigger_labels(trigger: &Trigger, environment: &Environment<'_>) -> Vec<Label> {
    let label = |(key, value): &(windhover_flow::Text, windhover_flow::Text)| {
        Some(Label::new(key.render(environment).ok()?, value.render(environment).ok()?))
    };
    trigger.labels.iter().filter_map(label).filter(|label| !label.is_system()).collect()
}
