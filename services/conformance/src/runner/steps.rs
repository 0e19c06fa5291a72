//! The steps of a case.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use windhover_client::v1::State;

use super::{Run, Stop, refusal, refused};
use crate::{
    api::{Api, NewExecution, Refusal},
    case::{Action, Backfill, ChangeStatus, ChangeTaskRun, Deploy, Execute, Replay, SetLabels, Step, Until, Webhook},
    check::StepResult,
    expectation::{Expectation, Outcome},
    findings::short,
    receiver::Answer,
    seen::{Execution, Named},
    template::{looks_at_executions, resolve},
    time, webhook,
};

impl Run<'_> {
    pub(super) async fn step(&mut self, step: Step) -> Result<(), Stop> {
        match step {
            Step::Deploy(Deploy::All) => Ok(()),
            Step::Deploy(Deploy::File(file)) => self.deploy_file(file).await,
            Step::Deploy(Deploy::Source { name, source }) => {
                let source = text(&self.resolve(Value::from(source)).await?);
                let result = self.deploy(source, None).await?;
                self.steps.insert(name, result);
                Ok(())
            }
            Step::Validate(validate) => {
                let result = self.api.validate(validate.source).await?;
                self.steps.insert(validate.name, result);
                Ok(())
            }
            Step::UpdateFlow(update) => {
                let source = self.source(&update.with)?;
                let result = self.deploy(source, Some((&update.namespace, &update.flow))).await?;
                self.steps.insert(update.name, result);
                Ok(())
            }
            Step::DeleteFlow(flow) => {
                let result = self.api.delete_flow(&flow.namespace, &flow.flow, flow.revision).await;
                self.settle(flow.name, result).map(|_| ())
            }
            Step::Execute(execute) => self.execute(execute).await,
            Step::Webhook(webhook) => self.webhook(webhook).await,
            Step::Wait(wait) => {
                let id = self.id_of(&wait.execution)?;
                self.wait(&id, wait.until).await
            }
            Step::WaitForExecutions(wait) => self.wait_for_executions(&wait).await,
            Step::WaitForReceiver(wait) => {
                let path = wait.path.as_deref();
                if self.receiver.wait(path, wait.count, self.case.timeout).await {
                    return Ok(());
                }
                let (count, saw) = (wait.count, self.receiver.count(path));
                Err(Stop::Fail(format!("waited for {count} requests to the receiver, there were {saw}")))
            }
            Step::Sleep(duration) => {
                tokio::time::sleep(duration).await;
                Ok(())
            }
            Step::Check(expect) => {
                self.quieten(&expect).await?;
                super::verdict(self.findings(&expect, "check").await?)
            }
            Step::Receiver(told) => {
                let ok = Answer::default();
                let body = told.body.unwrap_or(ok.body);
                self.receiver.answer(told.path, Answer { status: told.status, body, content_type: told.content_type });
                Ok(())
            }
            Step::Kill(action) => self.act(action, Api::kill).await,
            Step::Pause(action) => self.act(action, Api::pause).await,
            Step::Resume(action) => self.resume(action).await,
            Step::Restart(action) => self.restart(action).await,
            Step::Replay(replay) => self.replay(replay).await,
            Step::DeleteExecution(action) => self.act(action, Api::delete).await,
            Step::ForceRun(action) => self.act(action, Api::force_run).await,
            Step::Unqueue(action) => self.act(action, Api::unqueue).await,
            Step::ChangeStatus(change) => self.change_status(change).await,
            Step::ChangeTaskRun(change) => self.change_task_run(change).await,
            Step::SetLabels(set) => self.set_labels(set).await,
            Step::SetTrigger(set) => {
                let trigger = (set.namespace.as_str(), set.flow.as_str(), set.trigger.as_str());
                Ok(self.api.set_trigger_disabled(trigger, set.disabled).await?)
            }
            Step::Backfill(backfill) => self.backfill(backfill).await,
            Step::PauseBackfill(name) => {
                Ok(self.api.pause_backfill((&name.namespace, &name.flow, &name.trigger)).await?)
            }
            Step::ResumeBackfill(name) => {
                Ok(self.api.resume_backfill((&name.namespace, &name.flow, &name.trigger)).await?)
            }
            Step::KvSet(entry) => Ok(self.api.put_entry(&entry.namespace, &entry.key, &entry.value).await?),
            Step::NamespaceFile(file) => {
                Ok(self.api.put_namespace_file(&file.namespace, &file.path, file.content.into_bytes()).await?)
            }
        }
    }

    /// A file that is refused ends the case unless some expectation looks at its deployment.
    async fn deploy_file(&mut self, file: String) -> Result<(), Stop> {
        let source = self.source(&file)?;
        let refusal = refusal(self.deploy(source, None).await?);
        let looked_at = self
            .case
            .expect
            .iter()
            .any(|expectation| matches!(expectation, Expectation::Deployment { file: at, .. } if *at == file));
        match refusal {
            Some(refusal) if !looked_at => Err(Stop::Fail(format!("flow {file} was refused: {refusal}"))),
            refusal => {
                self.deployments.insert(file, refusal);
                Ok(())
            }
        }
    }

    async fn execute(&mut self, execute: Execute) -> Result<(), Stop> {
        let mut new = NewExecution {
            namespace: execute.namespace,
            flow: execute.flow,
            revision: execute.revision,
            ..NewExecution::default()
        };
        for (id, value) in self.resolve_map(execute.inputs).await? {
            new.inputs.insert(id, self.input_text(&value).await?);
        }
        new.labels =
            self.resolve_map(execute.labels).await?.into_iter().map(|(key, value)| (key, text(&value))).collect();
        if let Some(date) = execute.schedule_date {
            let date = text(&self.resolve(Value::from(date)).await?);
            let instant = time::instant(&date).ok_or_else(|| format!("schedule_date `{date}` is no instant"))?;
            new.schedule = Some(instant);
        }
        match self.api.create(new).await {
            Ok(created) => self.created(execute.name, created, execute.until).await,
            Err(refusal) => self.not_created(execute.name, refused(refusal)?),
        }
    }

    async fn webhook(&mut self, mut webhook: Webhook) -> Result<(), Stop> {
        webhook.query = self.resolve_map(webhook.query).await?;
        webhook.headers = self.resolve_map(webhook.headers).await?;
        if let Some(body) = webhook.body.take() {
            webhook.body = Some(self.resolve(body).await?);
        }
        match self.webhooks.call(&self.tenant, &webhook, self.case.timeout).await {
            Ok(webhook::Answer::Created(created)) => self.created(webhook.name, *created, webhook.until).await,
            Ok(webhook::Answer::Nothing) => {
                let message = "the webhook was accepted and created nothing".to_owned();
                self.not_created(webhook.name, StepResult::new(Outcome::Skipped, message))
            }
            Err(refusal) => self.not_created(webhook.name, refused(refusal)?),
        }
    }

    /// Acts on one or several executions, and waits.
    async fn act(&mut self, action: Action, what: impl AsyncFn(&Api, &str) -> Result<(), Refusal>) -> Result<(), Stop> {
        let mut ids: Vec<String> = action.execution_id.into_iter().collect();
        for name in action.execution.iter().chain(&action.executions) {
            ids.push(self.id_of(name)?);
        }
        let mut result = Ok(());
        for id in &ids {
            // The first refusal is the outcome; the others are acted on all the same.
            let this = what(&self.api, id).await;
            if result.is_ok() {
                result = this;
            }
        }
        if self.settle(action.name, result)? {
            for id in &ids {
                self.wait(id, action.until).await?;
            }
        }
        Ok(())
    }

    async fn resume(&mut self, mut action: Action) -> Result<(), Stop> {
        let mut inputs = BTreeMap::new();
        for (id, value) in self.resolve_map(std::mem::take(&mut action.inputs)).await? {
            inputs.insert(id, self.input_text(&value).await?);
        }
        self.act(action, async |api, id| api.resume(id, &inputs).await).await
    }

    async fn replay(&mut self, replay: Replay) -> Result<(), Stop> {
        let id = self.id_of(&replay.execution)?;
        let task_run = match (replay.task_run_id, replay.task) {
            (Some(id), _) => Some(id),
            (None, Some(task)) => Some(self.task_run(&id, &task, &replay.values).await?),
            (None, None) => None,
        };
        match self.api.replay(&id, task_run).await {
            Ok(made) => self.created(replay.name, made, replay.until).await,
            Err(refusal) => self.not_created(replay.name, refused(refusal)?),
        }
    }

    /// With a revision, what is restarted is a new execution.
    async fn restart(&mut self, action: Action) -> Result<(), Stop> {
        let (Some(revision), Some(execution)) = (action.revision, &action.execution) else {
            return self.act(action, Api::restart).await;
        };
        let id = self.id_of(execution)?;
        match self.api.restart_with(&id, revision).await {
            Ok(made) => self.created(action.name, made, action.until).await,
            Err(refusal) => self.not_created(action.name, refused(refusal)?),
        }
    }

    /// Id of the task run of this task, inside these iterations.
    async fn task_run(&self, execution: &str, task: &str, values: &[String]) -> Result<String, Stop> {
        let seen = self.api.get(execution).await?;
        let mut runs = seen.task_runs.into_iter();
        let run = runs.find(|run| run.task == task && (values.is_empty() || run.values == values));
        Ok(run.ok_or_else(|| format!("there is no task run of `{task}` {values:?}"))?.id)
    }

    async fn change_task_run(&mut self, change: ChangeTaskRun) -> Result<(), Stop> {
        let id = self.id_of(&change.execution)?;
        let state = State::from_short_name(&change.state).ok_or_else(|| format!("`{}` is no state", change.state))?;
        let task_run = self.task_run(&id, &change.task, &change.values).await?;
        let result = self.api.change_task_run(&id, &task_run, state).await;
        match self.settle(change.name, result)? {
            true => self.wait(&id, change.until).await,
            false => Ok(()),
        }
    }

    async fn change_status(&mut self, change: ChangeStatus) -> Result<(), Stop> {
        let id = self.id_of(&change.execution)?;
        let state = State::from_short_name(&change.state).ok_or_else(|| format!("`{}` is no state", change.state))?;
        let result = self.api.change_state(&id, state).await;
        self.settle(change.name, result).map(|_| ())
    }

    async fn set_labels(&mut self, set: SetLabels) -> Result<(), Stop> {
        let id = match (set.execution_id, &set.execution) {
            (Some(id), _) => id,
            (None, Some(name)) => self.id_of(name)?,
            (None, None) => return Err(Stop::Fail("labels of no execution".into())),
        };
        let labels = self.resolve_map(set.labels).await?;
        let result = self.api.set_labels(&id, labels.into_iter().map(|(key, value)| (key, text(&value)))).await;
        self.settle(set.name, result).map(|_| ())
    }

    async fn backfill(&mut self, backfill: Backfill) -> Result<(), Stop> {
        let instant = |text: &str| time::instant(text).ok_or_else(|| format!("`{text}` is no instant"));
        let (start, end) = (instant(&backfill.start)?, instant(&backfill.end)?);
        let trigger = (backfill.namespace.as_str(), backfill.flow.as_str(), backfill.trigger.as_str());
        let labels = backfill.labels.iter().map(|(key, value)| (key.clone(), text(value)));
        Ok(self.api.backfill(trigger, start, end, labels).await?)
    }

    /// Names what a step made, and waits.
    async fn created(&mut self, name: String, created: Execution, until: Until) -> Result<(), Stop> {
        let id = created.id.clone();
        self.first_ids.entry(name.clone()).or_insert_with(|| id.clone());
        self.named.insert(name.clone(), Named::Created(Box::new(created)));
        self.done(name, None);
        self.wait(&id, until).await
    }

    fn not_created(&mut self, name: String, result: StepResult) -> Result<(), Stop> {
        self.named.insert(name.clone(), Named::None(format!("{:?} {}", result.outcome, result.message)));
        self.done(name, Some(result));
        Ok(())
    }

    /// Notes how a step ended; no result means well.
    fn done(&mut self, name: String, result: Option<StepResult>) {
        let ok = StepResult::new(Outcome::Ok, String::new());
        self.steps.insert(name, result.unwrap_or(ok));
    }

    /// Notes how a call ended; tells whether well.
    fn settle(&mut self, name: String, result: Result<(), Refusal>) -> Result<bool, Stop> {
        let refusal = result.err().map(refused).transpose()?;
        let well = refusal.is_none();
        self.done(name, refusal);
        Ok(well)
    }

    pub(super) fn id_of(&self, name: &str) -> Result<String, Stop> {
        match self.named.get(name) {
            Some(Named::Created(execution)) => Ok(execution.id.clone()),
            Some(Named::None(why)) => Err(Stop::Fail(format!("`{name}` made no execution: {why}"))),
            None => Err(Stop::Fail(format!("no step is named `{name}`"))),
        }
    }

    async fn resolve(&self, value: Value) -> Result<Value, Stop> {
        let world = if looks_at_executions(&value) { self.world(false).await? } else { self.names() };
        Ok(resolve(&value, &world)?)
    }

    /// An input as it is sent: a file goes ahead, and its URI is the input.
    async fn input_text(&self, value: &Value) -> Result<String, Stop> {
        let Some(name) = value.get("$file").and_then(Value::as_str) else { return input_text(value) };
        let file = self.case.files.get(name).ok_or_else(|| format!("the case has no file `{name}`"))?;
        let content = text(&self.resolve(Value::String(file.content())).await?);
        Ok(self.api.upload_input(name, content.into_bytes()).await?)
    }

    async fn resolve_map(&self, map: Map<String, Value>) -> Result<Map<String, Value>, Stop> {
        match self.resolve(Value::Object(map)).await? {
            Value::Object(map) => Ok(map),
            _ => Ok(Map::new()),
        }
    }
}

/// An input as it is sent: all inputs are texts.
fn input_text(value: &Value) -> Result<String, Stop> {
    let Value::Object(map) = value else {
        return Ok(text(value));
    };
    let repeat = map.get("$repeat");
    let part = repeat.and_then(|repeat| repeat.get("text")).and_then(Value::as_str);
    let times = repeat.and_then(|repeat| repeat.get("times")).and_then(Value::as_u64);
    match (part, times.and_then(|times| usize::try_from(times).ok())) {
        (Some(part), Some(times)) => Ok(part.repeat(times)),
        _ => Err(Stop::Fail(format!("{} is no input", short(value)))),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inputs_are_sent_as_texts() {
        assert_eq!(input_text(&json!("a")).unwrap(), "a");
        assert_eq!(input_text(&json!(4)).unwrap(), "4");
        assert_eq!(input_text(&json!({"$repeat": {"text": "ab", "times": 3}})).unwrap(), "ababab");
        assert!(matches!(input_text(&json!({"$repeat": "x"})), Err(Stop::Fail(_))));
    }
}
