//! One evaluation of a polling trigger: its conditions, its request, its answer, and the execution that comes of it
//! (flow model reference 6.1 and 6.7, 1.x 6.1 and 6.4).

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;
use windhover_engine::{Execution, ExecutionError, TriggerInfo, new_execution};
use windhover_executor::{StoredFlow, Templates};
use windhover_expression::{Environment, SharedVariables, condition::is_truthy};
use windhover_flow::{Flow, HttpTrigger, InputsError, Trigger, fill_defaults};
use windhover_outbound::Client;
use windhover_store::TriggerKey;
use windhover_tasks::http::{Poll, seal_body};
use windhover_types::{Id, JsonMap, Label, Masker, Timestamp};

use crate::making::{conditions_hold, finish, rendered_labels, started};

/// How long one evaluation may take.
const LONGEST: Duration = Duration::from_secs(300);

/// What evaluations work with.
pub(crate) struct Surroundings {
    pub(crate) templates: Arc<Templates>,
    pub(crate) http: Client,
}

/// A polling trigger whose time has come.
pub(crate) struct Question {
    pub(crate) key: TriggerKey,
    pub(crate) stored: Arc<StoredFlow>,
    pub(crate) flow: Arc<Flow>,
    /// Among the triggers of the flow.
    pub(crate) index: usize,
    /// When it was due.
    pub(crate) date: Timestamp,
    pub(crate) now: Timestamp,
}

/// What an evaluation came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// No execution; why, if something went wrong.
    Nothing(Option<String>),
    Fire(Box<Execution>),
}

impl Question {
    pub(crate) async fn ask(self, surroundings: &Surroundings) -> Answer {
        let Some((trigger, http)) = self.trigger() else { return Answer::Nothing(None) };
        let begun = Instant::now();
        let templates = &surroundings.templates;
        let variables = self.variables(templates, trigger);
        match conditions_hold(templates, &self.stored, &variables, &trigger.conditions, self.now).await {
            Ok(true) => {}
            Ok(false) => return Answer::Nothing(None),
            // An execution that fails, so that somebody sees it (flow model reference 6.1).
            Err(why) => return self.fire(trigger, templates, JsonMap::new(), Some(why), self.now).await,
        }
        let asked = match tokio::time::timeout(LONGEST, self.exchange(surroundings, http, &variables)).await {
            Ok(asked) => asked,
            Err(_) => Err(format!("no answer within {} s", LONGEST.as_secs())),
        };
        let now = self.now.plus(begun.elapsed());
        match asked {
            Ok(None) => Answer::Nothing(None),
            Ok(Some(outputs)) => self.fire(trigger, templates, outputs, None, now).await,
            Err(why) if http.fail_on_error => self.fire(trigger, templates, JsonMap::new(), Some(why), now).await,
            Err(why) => {
                let TriggerKey { tenant, namespace, flow_id, trigger_id } = &self.key;
                tracing::warn!(%tenant, namespace, flow = flow_id, trigger = trigger_id, why, "a polling trigger could not be evaluated");
                Answer::Nothing(Some(why))
            }
        }
    }

    fn trigger(&self) -> Option<(&Trigger, &HttpTrigger)> {
        let trigger = self.flow.triggers.get(self.index)?;
        match &trigger.kind {
            windhover_flow::TriggerKind::Http(http) => Some((trigger, http)),
            _ => None,
        }
    }

    fn variables(&self, templates: &Templates, trigger: &Trigger) -> SharedVariables {
        let mut about = JsonMap::new();
        about.insert("id".to_owned(), json!(trigger.id));
        about.insert("type".to_owned(), json!(trigger.type_name));
        about.insert("date".to_owned(), json!(self.date.to_string()));
        templates.variables(&self.stored, &self.flow, Some(&about))
    }

    /// The outputs of the request, if the answer is as it has to be, and as they are kept.
    async fn exchange(
        &self,
        surroundings: &Surroundings,
        http: &HttpTrigger,
        variables: &SharedVariables,
    ) -> Result<Option<JsonMap>, String> {
        let templates = &surroundings.templates;
        let (poll, masker) = self.render(templates, http, variables).await?;
        let encrypt = poll.encrypt_body;
        let mut outputs = poll.send(&surroundings.http).await.map_err(|why| masker.mask(&why))?;
        let response = json!({
            "statusCode": outputs.get("code"), "body": outputs.get("body"), "headers": outputs.get("headers"),
        });
        let holds = match &http.response_condition {
            None => outputs.get("code").and_then(Value::as_u64).is_some_and(|code| code < 400),
            Some(condition) => {
                let mut variables = variables.clone();
                variables.set_json("response", Arc::new(response));
                let render = |environment: &Environment<'_>| condition.render(environment);
                let rendered = templates.render(&self.stored, &variables, self.now, render).await;
                is_truthy(rendered.map_err(|why| format!("responseCondition: {}", masker.mask(&why)))?.trim())
            }
        };
        if holds && encrypt {
            let cipher = templates.cipher(&self.stored.tenant).await?;
            seal_body(&mut outputs, cipher.as_ref())?;
        }
        Ok(holds.then_some(outputs))
    }

    async fn render(
        &self,
        templates: &Templates,
        http: &HttpTrigger,
        variables: &SharedVariables,
    ) -> Result<(Poll, Masker), String> {
        let render = |environment: &Environment<'_>| match Poll::render(&http.request, environment) {
            Err(error) if error.needs().is_some() => ControlFlow::Continue(()),
            other => ControlFlow::Break(other.map_err(|error| error.to_string())),
        };
        match templates.evaluate_with_mask(&self.stored, variables, self.now, render).await {
            Some((Ok(poll), masker)) => Ok((poll, masker)),
            Some((Err(why), masker)) => Err(masker.mask(&why)),
            None => Err("it needs something that is not available here".to_owned()),
        }
    }

    /// The execution of this evaluation; one with a `failure` fails at once.
    async fn fire(
        &self,
        trigger: &Trigger,
        templates: &Templates,
        outputs: JsonMap,
        failure: Option<String>,
        now: Timestamp,
    ) -> Answer {
        let id = self.execution_id();
        let variables = templates.variables(&self.stored, &self.flow, Some(&outputs));
        let (mut inputs, mut labels, mut failure) = (JsonMap::new(), Vec::new(), failure);
        if failure.is_none() {
            match self.made(trigger, templates, &variables).await {
                Ok(made) => (inputs, labels) = made,
                Err(why) => failure = Some(why),
            }
        }
        let cause = TriggerInfo { id: trigger.id.clone(), type_name: HttpTrigger::TYPE.to_owned(), variables: outputs };
        let new = started(&self.stored, &self.flow, id, cause, inputs, &labels);
        let mut execution = new_execution(&self.stored.tenant, &new, now);
        execution.error = failure.map(|why| ExecutionError {
            message: format!("the trigger `{}` failed: {why}", trigger.id),
            task_run_id: None,
        });
        Answer::Fire(Box::new(execution))
    }

    /// The defaults of the inputs, of which none are required here, and the labels of the trigger.
    async fn made(
        &self,
        trigger: &Trigger,
        templates: &Templates,
        variables: &SharedVariables,
    ) -> Result<(JsonMap, Vec<Label>), String> {
        let inputs = if self.flow.inputs.is_empty() {
            JsonMap::new()
        } else {
            let given = JsonMap::new();
            let fill = |environment: &Environment<'_>| match fill_defaults(&self.flow.inputs, &given, environment) {
                Err(InputsError::Needs(_)) => ControlFlow::Continue(()),
                other => ControlFlow::Break(other.map_err(|error| error.to_string())),
            };
            let filled = templates.evaluate_with_mask(&self.stored, variables, self.now, fill).await;
            finish(filled).map_err(|why| format!("inputs: {why}"))?
        };
        let labels = rendered_labels(templates, &self.stored, variables, &trigger.labels, self.now).await;
        Ok((inputs, labels.map_err(|why| format!("labels: {why}"))?))
    }

    /// Of each evaluation its own: it is named by the trigger and the date that it was due for.
    fn execution_id(&self) -> Id {
        let TriggerKey { tenant, namespace, flow_id, trigger_id } = &self.key;
        let parts: [&[u8]; 6] = [
            b"poll",
            tenant.as_str().as_bytes(),
            namespace.as_bytes(),
            flow_id.as_bytes(),
            trigger_id.as_bytes(),
            &self.date.as_micros().to_be_bytes(),
        ];
        Id::derived(self.now.floor_millis(), &parts)
    }
}
