//! Subflow: starts an execution of another flow and, unless told otherwise, ends as that one does (flow model reference 4.14, 5.3, 1.x
//! reference 1.4, 5.3).

use std::sync::Arc;

use serde_json::{Value, json};
use windhover_expression::Value as ExpressionValue;
use windhover_flow::{Flow, InputsError, Properties, RestartBehavior, Subflow, TaskKind, resolve_inputs};
use windhover_types::{Id, JsonMap, Label, Level, State, Timestamp, correlation_id, label_value, merge_labels};

use super::{Flowing, Machine, Needs};
use crate::{
    ChildState, Effect, Execution, Fact, FactValue, FoundFlow, NewExecution, Opened, ParentLink, RenderContext, Run,
    TaskRun, TriggerInfo,
    context::{Context, Stop, namespace_root, open_run},
    ids,
};

/// What `trigger.type` of a child says, however the task's type was written.
const TYPE: &str = "io.kestra.plugin.core.flow.Subflow";

/// A child that is ready to be made.
pub(super) struct Child {
    pub(super) new: NewExecution,
    pub(super) warnings: Vec<String>,
}

impl Machine<'_> {
    pub(super) fn start_subflow(&mut self, id: Id, subflow: &Subflow) -> Flowing {
        if self.state_of(id) == Some(State::Restarted)
            && subflow.restart_behavior == RestartBehavior::RetryFailed
            && let Some(child) = self.run.task_run(id).and_then(|run| run.child_execution)
            && let Some(state) = self.child(child)?
        {
            return self.restart_subflow(id, subflow, child, &state);
        }
        let now = self.moment.now;
        let planned_at = self.run.task_run(id).map_or(now, |run| run.state.last().at);
        let attempt = self.run.task_run(id).map_or(0, |run| run.attempts.len() as u32);
        self.set_state(id, State::Running, now);
        self.begin_attempt(id, 0, None, now);
        let child = ids::child_execution_id(planned_at, id, attempt);
        // What stops it may quote what the parent has rendered: the flow's name, an input of the child.
        let prepared =
            |context: &Context<'_>| prepare(context, subflow, child, None).map_err(|stop| context.mask(stop));
        let Child { new, warnings } = match self.evaluate(id, prepared)? {
            Ok(child) => child,
            Err(reason) => return self.fail_attempt(id, reason),
        };
        for warning in warnings {
            self.log(Some(id), Level::Warn, warning);
        }
        let link = link_to(&new.namespace, &new.flow_id, child);
        self.log(Some(id), Level::Info, format!("Created new execution {link}"));
        if let Some(run) = self.edit(id) {
            run.child_execution = Some(child);
            run.outputs = Some(Arc::new(json!({ "executionId": child.to_string(), "state": State::Created.as_str() })));
        }
        self.effects.push(Effect::CreateExecution(Box::new(new)));
        if !subflow.wait {
            self.close_attempt(id, State::Success, now, None);
            return self.attempt_over(id, State::Success, now);
        }
        Ok(())
    }

    fn child(&self, execution: Id) -> Flowing<Option<ChildState>> {
        let fact = Fact::Child { execution };
        match self.facts.get(&fact) {
            Some(FactValue::Child(state)) => Ok(state.as_deref().cloned()),
            _ => Err(Needs(vec![fact])),
        }
    }

    /// A restart goes on with the child that is there: a failed one is restarted itself, one that runs is waited for, and from one that
    /// has ended well its outputs are taken.
    fn restart_subflow(&mut self, id: Id, subflow: &Subflow, child: Id, state: &ChildState) -> Flowing {
        let now = self.moment.now;
        self.set_state(id, State::Running, now);
        self.begin_attempt(id, 0, None, now);
        let failed = state.ended && state.state == State::Failed;
        let generation = state.generation + u32::from(failed);
        if let Some(run) = self.edit(id) {
            run.opened = Some(Arc::new(Opened::Subflow { generation }));
        }
        if failed {
            self.log(Some(id), Level::Info, format!("Restarted execution {child}"));
            self.effects.push(Effect::RestartChild { execution: child });
        }
        if !subflow.wait {
            self.close_attempt(id, State::Success, now, None);
            return self.attempt_over(id, State::Success, now);
        }
        if state.ended && !failed {
            return self.subflow_ended(id, child, state.state, state.outputs.clone(), generation);
        }
        Ok(())
    }

    /// The child is tried again as another execution, which is waited for now.
    pub(super) fn subflow_replaced(&mut self, id: Id, child: Id, by: Id) {
        let Some(run) = self.run.task_run(id).filter(|run| run.child_execution == Some(child)) else { return };
        let state = run.state.current();
        if !matches!(state, State::Running | State::Killing) {
            return;
        }
        if state == State::Killing {
            self.effects.push(Effect::KillChild { execution: by });
        }
        if let Some(run) = self.edit(id) {
            run.child_execution = Some(by);
            run.opened = None;
            run.outputs = Some(Arc::new(json!({ "executionId": by.to_string(), "state": State::Created.as_str() })));
        }
    }

    pub(super) fn subflow_ended(
        &mut self,
        id: Id,
        child: Id,
        state: State,
        outputs: Option<JsonMap>,
        generation: u32,
    ) -> Flowing {
        let waits = self.run.task_run(id).is_some_and(|run| {
            // A child that could not be restarted tells its old end again.
            let expected = match run.opened.as_deref() {
                Some(Opened::Subflow { generation }) => *generation,
                _ => 0,
            };
            run.child_execution == Some(child)
                && generation >= expected
                && matches!(run.state.current(), State::Running | State::Killing)
        });
        let Some(task) = self.task_of(id).filter(|_| waits) else { return Ok(()) };
        let TaskKind::Subflow(subflow) = &task.kind else { return Ok(()) };
        let own = match state {
            State::Failed | State::Killed | State::Warning if subflow.transmit_failed => state,
            _ => State::Success,
        };
        let level = match state {
            State::Failed => Some(Level::Error),
            State::Warning => Some(Level::Warn),
            _ => None,
        };
        if let Some(level) = level {
            self.log(Some(id), level, format!("The subflow's execution {child} ended {state}"));
        }
        let rendered = match (outputs, &subflow.outputs) {
            (None, Some(templates)) => self.older_outputs(child, templates)?,
            (outputs, _) => Ok(outputs),
        };
        let (own, error, outputs) = match rendered {
            Ok(outputs) => {
                let error = (own == State::Failed).then(|| format!("the execution {child} ended {state}"));
                (own, error, outputs)
            }
            Err(reason) => {
                let reason = format!("Failed to extract outputs with the error: '{reason}'");
                self.log(Some(id), Level::Warn, reason.clone());
                // A state that the child itself has given stays.
                let own = if matches!(own, State::Success | State::Warning) { State::Failed } else { own };
                (own, Some(reason), None)
            }
        };
        let mut own_outputs = JsonMap::new();
        own_outputs.insert("executionId".to_owned(), Value::String(child.to_string()));
        own_outputs.insert("state".to_owned(), Value::String(state.as_str().to_owned()));
        own_outputs.extend(outputs.map(|outputs| ("outputs".to_owned(), Value::Object(outputs))));
        let own_outputs = Value::Object(own_outputs);
        self.note_sealed(&own_outputs);
        if let Some(run) = self.edit(id) {
            run.outputs = Some(Arc::new(own_outputs));
        }
        let now = self.moment.now;
        self.close_attempt(id, own, now, error);
        self.attempt_over(id, own, now)
    }

    /// `outputs` of the task, rendered where the child that has ended is known; only if its flow declares none itself.
    fn older_outputs(&self, child: Id, templates: &Properties) -> Flowing<Result<Option<JsonMap>, String>> {
        let fact = Fact::Whole { execution: child };
        let whole = match self.facts.get(&fact) {
            Some(FactValue::Whole(Some(whole))) => whole,
            Some(FactValue::Whole(None)) => return Ok(Err(format!("the execution {child} was deleted"))),
            _ => return Err(Needs(vec![fact])),
        };
        let Execution { namespace, flow_id, flow_revision, .. } = &whole.execution;
        let (namespace, flow_id) = (namespace.clone(), flow_id.clone());
        let fact = Fact::Flow { namespace, flow_id, revision: Some(*flow_revision) };
        let flow = match self.facts.get(&fact) {
            Some(FactValue::Flow(Some(found))) => match &found.flow {
                Ok(flow) => flow,
                Err(reason) => return Ok(Err(reason.clone())),
            },
            Some(FactValue::Flow(None)) => return Ok(Err("the flow of the execution was deleted".to_owned())),
            _ => return Err(Needs(vec![fact])),
        };
        if !flow.outputs.is_empty() {
            return Ok(Ok(None));
        }
        let run = Run::ended(whole.execution.clone(), whole.task_runs.clone());
        open_run(flow, &run, self.facts).map_err(|fact| Needs(vec![fact]))?;
        let context = Context::new(flow, &run, self.facts, self.moment, self.env);
        let rendered = templates.render(&context.environment()).map_err(|error| context.stop(error));
        match rendered.and_then(|value| object(value, "outputs")) {
            Ok(outputs) => Ok(Ok(Some(outputs))),
            Err(Stop::Failed(reason)) => Ok(Err(run.roots.mask(reason))),
            Err(Stop::Needs(facts)) => Err(Needs(facts)),
        }
    }
}

/// `item`: the part of a ForEachItem's file that it is for.
pub(super) fn prepare(context: &Context<'_>, subflow: &Subflow, id: Id, item: Option<u32>) -> Result<Child, Stop> {
    let namespace = context.render(&subflow.namespace)?;
    let flow_id = context.render(&subflow.flow_id)?;
    let found = find(context, &namespace, &flow_id, subflow.revision)?;
    let flow = match &found.flow {
        Ok(flow) if flow.disabled => return Err(failed("Cannot execute a flow which is disabled".to_owned())),
        Ok(flow) => flow,
        Err(reason) => return Err(failed(format!("Cannot execute an invalid flow: {reason}"))),
    };
    let supplied = match &subflow.inputs {
        Some(inputs) => object(inputs.render(&context.environment()).map_err(|error| context.stop(error))?, "inputs")?,
        None => JsonMap::new(),
    };
    let labels = labels(context, subflow, flow, id)?;
    let roots = child_roots(context, &found, flow, &namespace, &flow_id);
    let resolved = {
        // Defaults of the child's inputs are rendered in the child's world: it has no task runs and no trigger of ours.
        let child_context = Context::new(flow, context.run, context.facts, context.moment, context.env).foreign(&roots);
        resolve_inputs(&flow.inputs, &supplied, &child_context.environment()).map_err(|error| match error {
            InputsError::Needs(key) => Stop::from(windhover_expression::ExpressionError::Needs(key)),
            invalid @ InputsError::Invalid(_) => Stop::Failed(child_context.mask_message(&invalid.to_string())),
        })?
    };
    let schedule_time = match &subflow.schedule_date {
        Some(text) => schedule_time(&context.render(text)?, context)?,
        None => None,
    };
    let execution = &context.run.execution;
    let (task, task_run) = context.task.ok_or_else(|| failed("a subflow belongs to a task".to_owned()))?;
    let new = NewExecution {
        id,
        namespace,
        flow_id,
        flow_revision: found.revision,
        labels,
        inputs: Arc::new(resolved.values),
        variables: flow.initial_variables(),
        trigger: Some(TriggerInfo {
            id: task.id.clone(),
            type_name: if item.is_some() { task.type_name.clone() } else { TYPE.to_owned() },
            variables: trigger_variables(context, task_run, item),
        }),
        parent: Some(ParentLink { execution_id: execution.id, task_run_id: task_run.id, wait: subflow.wait, item }),
        schedule_time,
        trace_parent: execution.trace_parent.clone(),
        marks: crate::Marks::default(),
        original_id: None,
        fail: None,
        task_runs: Vec::new(),
    };
    Ok(Child { new, warnings: resolved.warnings })
}

/// What renders to nothing is no date.
fn schedule_time(rendered: &str, context: &Context<'_>) -> Result<Option<Timestamp>, Stop> {
    let text = rendered.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(at) => Ok(Some(Timestamp::from_utc(at.to_utc()))),
        Err(_) => {
            let text = context.mask_message(text);
            Err(failed(format!("scheduleDate: `{text}` is no date and time with a zone, as 2024-01-31T12:00:00Z")))
        }
    }
}

fn failed(reason: String) -> Stop {
    Stop::Failed(reason)
}

fn find(context: &Context<'_>, namespace: &str, flow_id: &str, revision: Option<u32>) -> Result<FoundFlow, Stop> {
    let fact = Fact::Flow { namespace: namespace.to_owned(), flow_id: flow_id.to_owned(), revision };
    match context.facts.get(&fact) {
        Some(FactValue::Flow(Some(found))) => Ok(found.clone()),
        Some(FactValue::Flow(None)) => {
            let of = revision.map(|revision| format!(" with revision {revision}")).unwrap_or_default();
            Err(failed(format!("Unable to find flow '{namespace}'.'{flow_id}'{of}")))
        }
        _ => Err(Stop::Needs(vec![fact])),
    }
}

/// Inherited ones, which the child flow's own override, which those on the task override.
fn labels(context: &Context<'_>, subflow: &Subflow, flow: &Flow, child: Id) -> Result<Vec<Label>, Stop> {
    let execution = &context.run.execution;
    let inherited: Vec<Label> =
        execution.labels.iter().filter(|label| subflow.inherit_labels || label.is_system()).cloned().collect();
    let own: Vec<Label> = flow.labels.iter().filter(|label| !label.is_system()).cloned().collect();
    let given = match &subflow.labels {
        Some(labels) => given_labels(labels.render(&context.environment()).map_err(|error| context.stop(error))?)?,
        None => Vec::new(),
    };
    if let Some(label) = given.iter().find(|label| label.is_system()) {
        return Err(failed(format!("labels: `{}` is a system label, which a flow cannot set", label.key)));
    }
    let mut labels = merge_labels([inherited.as_slice(), own.as_slice(), given.as_slice()]);
    if label_value(&labels, Label::CORRELATION_ID).is_none() {
        labels.push(correlation_id(child));
    }
    Ok(labels)
}

/// A map, or a list of `{key, value}`.
fn given_labels(value: Value) -> Result<Vec<Label>, Stop> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match value {
        Value::Object(map) => Ok(map.iter().map(|(key, value)| Label::new(key, text(value))).collect()),
        Value::Array(items) => Ok(items
            .iter()
            .map(|item| {
                Label::new(
                    item.get("key").map(text).unwrap_or_default(),
                    item.get("value").map(text).unwrap_or_default(),
                )
            })
            .collect()),
        Value::Null => Ok(Vec::new()),
        _ => Err(failed("labels: a map or a list of key and value is expected".to_owned())),
    }
}

fn object(value: Value, property: &str) -> Result<JsonMap, Stop> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(JsonMap::new()),
        _ => Err(failed(format!("{property}: a map is expected"))),
    }
}

/// Roots of the child that differ from the parent's.
fn child_roots(
    context: &Context<'_>,
    found: &FoundFlow,
    flow: &Flow,
    namespace: &str,
    flow_id: &str,
) -> Vec<(&'static str, ExpressionValue)> {
    let root = ExpressionValue::map([
        ("id", ExpressionValue::text(flow_id)),
        ("namespace", ExpressionValue::text(namespace)),
        ("revision", ExpressionValue::whole(i64::from(found.revision))),
        ("tenantId", ExpressionValue::text(context.run.execution.tenant.as_str())),
    ]);
    let variables = ExpressionValue::from_json(&Value::Object(flow.variables.clone()));
    let mut roots = vec![("flow", root), ("vars", variables)];
    roots.extend(namespace_root(flow).map(|variables| ("namespace", variables)));
    roots
}

fn trigger_variables(context: &Context<'_>, task_run: &TaskRun, item: Option<u32>) -> JsonMap {
    let execution = &context.run.execution;
    let mut variables = JsonMap::new();
    let mut set = |key: &str, value: Value| drop(variables.insert(key.to_owned(), value));
    set("executionId", Value::String(execution.id.to_string()));
    set("namespace", Value::String(execution.namespace.clone()));
    set("flowId", Value::String(execution.flow_id.clone()));
    set("flowRevision", Value::from(execution.flow_revision));
    set("taskRunId", Value::String(task_run.id.to_string()));
    set("taskId", Value::String(task_run.task_id.clone()));
    if let Some(value) = &task_run.value {
        set("taskRunValue", Value::String(value.clone()));
    }
    if let Some(iteration) = item.or(task_run.iteration) {
        set("taskRunIteration", Value::from(iteration));
    }
    variables
}

fn link_to(namespace: &str, flow_id: &str, execution: Id) -> String {
    format!("[[link execution=\"{execution}\" flowId=\"{flow_id}\" namespace=\"{namespace}\"]]")
}
