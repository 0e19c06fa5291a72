//! The execution of a date: whether its conditions hold, its inputs and labels.

use std::{ops::ControlFlow, sync::Arc};

use serde_json::Value;
use windhover_engine::{Execution, ExecutionError, NewExecution, TriggerInfo};
use windhover_executor::{StoredFlow, Templates};
use windhover_expression::{Environment, ExpressionError, SharedVariables};
use windhover_flow::{
    Condition, ConditionError, Flow, InputsError, Properties, Schedule, ScheduleDates, Text, Trigger, evaluate_all,
    resolve_inputs,
};
use windhover_store::{Backfill, TriggerRow};
use windhover_types::{Id, JsonMap, Label, Masker, Timestamp, correlation_id, merge_labels};

use crate::plan::Moved;

/// What `system.from` says of executions of triggers (flow model 1.x reference 1.4).
const FROM: &str = "trigger";

/// An execution that a trigger starts.
pub(crate) fn started(
    stored: &StoredFlow,
    flow: &Flow,
    id: Id,
    trigger: TriggerInfo,
    inputs: JsonMap,
    labels: &[Label],
) -> NewExecution {
    let own: Vec<Label> = flow.labels.iter().filter(|label| !label.is_system()).cloned().collect();
    let system = [correlation_id(id), Label::new(Label::FROM, FROM)];
    NewExecution {
        id,
        namespace: stored.namespace.clone(),
        flow_id: stored.id.clone(),
        flow_revision: stored.revision,
        labels: merge_labels([own.as_slice(), labels, system.as_slice()]),
        inputs: Arc::new(inputs),
        variables: flow.initial_variables(),
        trigger: Some(trigger),
        ..NewExecution::default()
    }
}

/// A date whose time has come.
pub(crate) struct Due<'a> {
    pub(crate) stored: &'a StoredFlow,
    pub(crate) flow: &'a Flow,
    pub(crate) trigger: &'a Trigger,
    pub(crate) schedule: &'a Schedule,
    pub(crate) row: &'a TriggerRow,
    pub(crate) moved: &'a Moved,
    /// The date as texts show it.
    pub(crate) date_text: String,
    /// `trigger` of the execution.
    pub(crate) variables: JsonMap,
    pub(crate) now: Timestamp,
}

/// The id of the execution of a date: its time is that of its cause (the date, or when the trigger came to it), the
/// rest follows from what makes the date this one.
pub(crate) fn execution_id(row: &TriggerRow, moved: &Moved) -> Id {
    let key = &row.key;
    let backfill = moved.backfill.as_ref().map(|backfill| *backfill.id.as_bytes());
    let parts: [&[u8]; 7] = [
        b"schedule",
        key.tenant.as_str().as_bytes(),
        key.namespace.as_bytes(),
        key.flow_id.as_bytes(),
        key.trigger_id.as_bytes(),
        &moved.date.as_micros().to_be_bytes(),
        backfill.as_ref().map_or(&[], |id| id.as_slice()),
    ];
    Id::derived(moved.date.max(row.updated_at).floor_millis(), &parts)
}

impl Due<'_> {
    /// The execution of the date, `None` when the conditions refuse it. What keeps it from being made is in its `error`,
    /// and it fails at once (flow model 1.x reference 6.1).
    pub(crate) async fn execution(&self, templates: &Templates) -> Option<Execution> {
        let id = execution_id(self.row, self.moved);
        let variables = self.variables_of_templates(templates);
        let made = match self.conditions_hold(templates, &variables).await {
            Ok(false) => return None,
            Ok(true) => self.inputs_and_labels(templates, &variables).await,
            Err(why) => Err(why),
        };
        let (inputs, labels, failure) = match made {
            Ok((inputs, labels)) => (inputs, labels, None),
            Err(why) => {
                (JsonMap::new(), self.backfill().map(|backfill| backfill.labels.clone()).unwrap_or_default(), Some(why))
            }
        };
        let trigger = TriggerInfo {
            id: self.trigger.id.clone(),
            type_name: self.schedule.type_name().to_owned(),
            variables: self.variables.clone(),
        };
        let new = NewExecution {
            schedule_time: matches!(self.schedule.dates, ScheduleDates::List(_)).then_some(self.moved.date),
            ..started(self.stored, self.flow, id, trigger, inputs, &labels)
        };
        let mut execution = windhover_engine::new_execution(&self.stored.tenant, &new, self.now);
        execution.error = failure.map(|why| ExecutionError {
            message: format!("the trigger `{}` failed for {}: {why}", self.trigger.id, self.date_text),
            task_run_id: None,
        });
        Some(execution)
    }

    fn backfill(&self) -> Option<&Backfill> {
        self.moved.backfill.as_ref()
    }

    fn variables_of_templates(&self, templates: &Templates) -> SharedVariables {
        let mut trigger = self.variables.clone();
        // Conditions look at it, also where the execution does not have it.
        trigger.entry("date").or_insert_with(|| Value::String(self.date_text.clone()));
        let mut variables = templates.variables(self.stored, self.flow, Some(&trigger));
        variables.set_json("schedule", Arc::new(Value::Object(trigger)));
        variables
    }

    async fn conditions_hold(&self, templates: &Templates, variables: &SharedVariables) -> Result<bool, String> {
        conditions_hold(templates, self.stored, variables, &self.trigger.conditions, self.now).await
    }

    async fn inputs_and_labels(
        &self,
        templates: &Templates,
        variables: &SharedVariables,
    ) -> Result<(JsonMap, Vec<Label>), String> {
        let mut supplied = match &self.schedule.inputs {
            Some(inputs) => {
                self.rendered(templates, variables, inputs).await.map_err(|why| format!("inputs: {why}"))?
            }
            None => JsonMap::new(),
        };
        let backfill = self.backfill();
        supplied.extend(backfill.map(|backfill| backfill.inputs.clone()).unwrap_or_default());
        let inputs = self.resolved(templates, variables, &supplied).await.map_err(|why| format!("inputs: {why}"))?;
        let mut labels = self.labels(templates, variables).await.map_err(|why| format!("labels: {why}"))?;
        labels.extend(backfill.map(|backfill| backfill.labels.clone()).unwrap_or_default());
        Ok((inputs, labels))
    }

    async fn rendered(
        &self,
        templates: &Templates,
        variables: &SharedVariables,
        inputs: &Properties,
    ) -> Result<JsonMap, String> {
        let render = |environment: &Environment<'_>| inputs.render(environment);
        match templates.render(self.stored, variables, self.now, render).await? {
            Value::Object(map) => Ok(map),
            _ => Err("a map is expected".to_owned()),
        }
    }

    async fn resolved(
        &self,
        templates: &Templates,
        variables: &SharedVariables,
        supplied: &JsonMap,
    ) -> Result<JsonMap, String> {
        if self.flow.inputs.is_empty() {
            return Ok(JsonMap::new());
        }
        let evaluate = |environment: &Environment<'_>| match resolve_inputs(&self.flow.inputs, supplied, environment) {
            Err(InputsError::Needs(_)) => ControlFlow::Continue(()),
            other => ControlFlow::Break(other.map(|resolved| resolved.values).map_err(|error| error.to_string())),
        };
        finish(templates.evaluate_with_mask(self.stored, variables, self.now, evaluate).await)
    }

    async fn labels(&self, templates: &Templates, variables: &SharedVariables) -> Result<Vec<Label>, String> {
        rendered_labels(templates, self.stored, variables, &self.trigger.labels, self.now).await
    }
}

/// Whether all conditions of a trigger hold.
///
/// # Errors
/// Why one of them has no answer.
pub(crate) async fn conditions_hold(
    templates: &Templates,
    stored: &StoredFlow,
    variables: &SharedVariables,
    conditions: &[Condition],
    now: Timestamp,
) -> Result<bool, String> {
    if conditions.is_empty() {
        return Ok(true);
    }
    let evaluate = |environment: &Environment<'_>| match evaluate_all(conditions, None, environment) {
        Err(ConditionError::Expression(ExpressionError::Needs(_))) => ControlFlow::Continue(()),
        other => ControlFlow::Break(other.map_err(|error| error.to_string())),
    };
    let held = templates.evaluate_with_mask(stored, variables, now, evaluate).await;
    finish(held).map_err(|why| format!("conditions: {why}"))
}

/// The labels of a trigger; those of the system are nobody's to give.
pub(crate) async fn rendered_labels(
    templates: &Templates,
    stored: &StoredFlow,
    variables: &SharedVariables,
    labels: &[(Text, Text)],
    now: Timestamp,
) -> Result<Vec<Label>, String> {
    if labels.is_empty() {
        return Ok(Vec::new());
    }
    let render = |environment: &Environment<'_>| {
        let label = |(key, value): &(Text, Text)| Ok(Label::new(key.render(environment)?, value.render(environment)?));
        labels.iter().map(label).collect::<Result<Vec<Label>, ExpressionError>>()
    };
    let labels = templates.render(stored, variables, now, render).await?;
    Ok(labels.into_iter().filter(|label| !label.is_system()).collect())
}

/// What an evaluation came to, without secrets in its reason.
pub(crate) fn finish<T>(evaluated: Option<(Result<T, String>, Masker)>) -> Result<T, String> {
    match evaluated {
        Some((Ok(value), _)) => Ok(value),
        Some((Err(why), masker)) => Err(masker.mask(&why)),
        None => Err("it needs something that is not available here".to_owned()),
    }
}
