//! Subflow: starts an execution of another flow and, unless told otherwise, ends as that one does (flow model reference 4.14, 5.3, 1.x
//! reference 1.4, 5.3).

use std::sync::Arc;

use serde_json::{Value, json};
use windhover_expression::Value as ExpressionValue;
use windhover_flow::{Flow, InputsError, Subflow, TaskKind, resolve_inputs};
use windhover_types::{Id, JsonMap, Label, Level, State, correlation_id, label_value, merge_labels};

use super::{Flowing, Machine};
use crate::{
    Effect, Fact, FactValue, FoundFlow, NewExecution, ParentLink, RenderContext, TaskRun, TriggerInfo,
    context::{Context, Stop},
    ids,
};

/// What `trigger.type` of a child says, however the task's type was written.
const TYPE: &str = "io.kestra.plugin.core.flow.Subflow";

/// A child that is ready to be made.
struct Child {
    new: NewExecution,
    warnings: Vec<String>,
}

impl Machine<'_> {
    pub(super) fn start_subflow(&mut self, id: Id, subflow: &Subflow) -> Flowing {
        let now = self.moment.now;
        let planned_at = self.run.task_run(id).map_or(now, |run| run.state.last().at);
        let attempt = self.run.task_run(id).map_or(0, |run| run.attempts.len() as u32);
        self.set_state(id, State::Running, now);
        self.begin_attempt(id, 0, None, now);
        let child = ids::child_execution_id(planned_at, id, attempt);
        // What stops it may quote what the parent has rendered: the flow's name, an input of the child.
        let prepared = |context: &Context<'_>| prepare(context, subflow, child).map_err(|stop| context.mask(stop));
        let Child { new, warnings } = match self.evaluate(id, prepared)? {
            Ok(child) => child,
            Err(reason) => {
                self.fail_attempt(id, reason);
                return Ok(());
            }
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
            self.attempt_over(id, State::Success, now);
        }
        Ok(())
    }

    pub(super) fn subflow_ended(&mut self, id: Id, child: Id, state: State, outputs: Option<JsonMap>) {
        let waits = self.run.task_run(id).is_some_and(|run| {
            run.child_execution == Some(child) && matches!(run.state.current(), State::Running | State::Killing)
        });
        let Some(task) = self.task_of(id).filter(|_| waits) else { return };
        let TaskKind::Subflow(subflow) = &task.kind else { return };
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
        let mut own_outputs = JsonMap::new();
        own_outputs.insert("executionId".to_owned(), Value::String(child.to_string()));
        own_outputs.insert("state".to_owned(), Value::String(state.as_str().to_owned()));
        own_outputs.extend(outputs.map(|outputs| ("outputs".to_owned(), Value::Object(outputs))));
        if let Some(run) = self.edit(id) {
            run.outputs = Some(Arc::new(Value::Object(own_outputs)));
        }
        let now = self.moment.now;
        let error = (own == State::Failed).then(|| format!("the execution {child} ended {state}"));
        self.close_attempt(id, own, now, error);
        self.attempt_over(id, own, now);
    }
}

fn prepare(context: &Context<'_>, subflow: &Subflow, id: Id) -> Result<Child, Stop> {
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
    let execution = &context.run.execution;
    let (task, task_run) = context.task.ok_or_else(|| failed("a subflow belongs to a task".to_owned()))?;
    let new = NewExecution {
        id,
        namespace,
        flow_id,
        flow_revision: found.revision,
        labels,
        inputs: Arc::new(resolved.values),
        variables: None,
        trigger: Some(TriggerInfo {
            id: task.id.clone(),
            type_name: TYPE.to_owned(),
            variables: trigger_variables(context, task_run),
        }),
        parent: Some(ParentLink { execution_id: execution.id, task_run_id: task_run.id, wait: subflow.wait }),
        schedule_time: None,
        trace_parent: execution.trace_parent.clone(),
    };
    Ok(Child { new, warnings: resolved.warnings })
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
) -> [(&'static str, ExpressionValue); 2] {
    let root = ExpressionValue::map([
        ("id", ExpressionValue::text(flow_id)),
        ("namespace", ExpressionValue::text(namespace)),
        ("revision", ExpressionValue::whole(i64::from(found.revision))),
        ("tenantId", ExpressionValue::text(context.run.execution.tenant.as_str())),
    ]);
    [("flow", root), ("vars", ExpressionValue::from_json(&Value::Object(flow.variables.clone())))]
}

fn trigger_variables(context: &Context<'_>, task_run: &TaskRun) -> JsonMap {
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
    if let Some(iteration) = task_run.iteration {
        set("taskRunIteration", Value::from(iteration));
    }
    variables
}

fn link_to(namespace: &str, flow_id: &str, execution: Id) -> String {
    format!("[[link execution=\"{execution}\" flowId=\"{flow_id}\" namespace=\"{namespace}\"]]")
}
