//! The second task of a ForEachItem: an execution of a flow for each part of a file that the first one has made (flow model reference 5.3,
//! 1.x reference 5.3). They are all started at once, so many in a step; it ends when all of them have.

use std::sync::Arc;

use serde_json::{Value, json};
use windhover_expression::{FileAnswer, FileRef, Value as ExpressionValue};
use windhover_flow::{RestartBehavior, Subflow, TaskKind};
use windhover_types::{Id, Level, State};

use super::{
    Flowing, Machine, Needs,
    subflow::{Child, prepare},
};
use crate::{
    Answer, Effect, Fact, FactValue, Items, Opened, Question, TaskRun,
    context::{Context, Stop},
    ids,
};

impl Machine<'_> {
    pub(super) fn start_items(&mut self, id: Id, subflow: &Subflow) -> Flowing {
        let now = self.moment.now;
        let restarted = self.state_of(id) == Some(State::Restarted);
        let parts = self.parts_of(id)?;
        let retry_failed = restarted && subflow.restart_behavior == RestartBehavior::RetryFailed;
        let mut before = self.run.task_run(id).and_then(items_of).cloned().filter(|_| retry_failed);
        if let Some(items) = before.as_mut().filter(|_| subflow.wait) {
            self.hear_of_ends(id, items)?;
        }
        let attempt = self.run.task_run(id).map_or(0, |run| u32::try_from(run.attempts.len()).unwrap_or(u32::MAX));
        self.set_state(id, State::Running, now);
        self.begin_attempt(id, 0, None, now);
        let parts = match parts {
            Ok(parts) => parts,
            Err(reason) => return self.fail_attempt(id, reason),
        };
        match before {
            Some(items) => self.restart_items(id, items),
            None => {
                let parts = u32::try_from(parts.len()).unwrap_or(u32::MAX);
                self.set_items(id, Items { attempt, parts, ..Items::default() });
            }
        }
        self.begin_items(id)
    }

    /// What has ended while nobody waited for it.
    fn hear_of_ends(&self, id: Id, items: &mut Items) -> Flowing {
        let open: Vec<(u32, Fact)> = (0..items.begun)
            .filter(|part| !bit(&items.ended, *part))
            .map(|part| (part, Fact::Child { execution: execution_of(id, items, part) }))
            .collect();
        let missing: Vec<Fact> =
            open.iter().map(|(_, fact)| fact).filter(|fact| !self.facts.contains_key(fact)).cloned().collect();
        if !missing.is_empty() {
            return Err(Needs(missing));
        }
        for (part, fact) in open {
            let state = match self.facts.get(&fact) {
                Some(FactValue::Child(Some(child))) if child.ended => child.state,
                Some(FactValue::Child(Some(_))) => continue,
                // It was deleted.
                _ => State::Cancelled,
            };
            record(items, part, state);
        }
        Ok(())
    }

    /// Failed executions are restarted under their own ids; the others are left as they are.
    fn restart_items(&mut self, id: Id, mut items: Items) {
        let failed: Vec<u32> = (0..items.begun).filter(|part| bit(&items.failed, *part)).collect();
        for part in &failed {
            clear(&mut items.ended, *part);
            clear(&mut items.failed, *part);
            *items.restarts.entry(*part).or_default() += 1;
            self.effects.push(Effect::RestartChild { execution: execution_of(id, &items, *part) });
        }
        items.counts.remove(&State::Failed);
        self.log(Some(id), Level::Info, format!("Restarted {} executions", failed.len()));
        self.set_items(id, items);
    }

    /// The parts that the first task has made: URIs, one a line of a file.
    fn parts_of(&self, id: Id) -> Flowing<Result<Vec<String>, String>> {
        let Some(run) = self.run.task_run(id) else { return Ok(Ok(Vec::new())) };
        let split = format!("{}_split", run.task_id.strip_suffix("_items").unwrap_or(&run.task_id));
        self.need_tasks([split.as_str()])?;
        let sibling = self.run.task_runs().find(|other| other.parent_id == run.parent_id && other.task_id == split);
        let uri = sibling.and_then(|run| run.outputs.as_deref()?.get("splits")?.as_str());
        let Some(uri) = uri else { return Ok(Err(format!("`{split}` has no output `splits`"))) };
        let file = FileRef::Storage { uri: uri.to_owned(), foreign_namespace: None };
        let fact = Fact::World(Question::Content(file));
        match self.facts.get(&fact) {
            Some(FactValue::World(Answer::Content(Ok(FileAnswer::Found(text))))) => {
                Ok(Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()))
            }
            Some(FactValue::World(Answer::Content(Ok(_)))) => Ok(Err(format!("the file {uri} does not exist"))),
            Some(FactValue::World(Answer::Content(Err(reason)))) => Ok(Err(reason.clone())),
            _ => Err(Needs(vec![fact])),
        }
    }

    /// Starts as many executions as the step may, or what is left of them.
    pub(super) fn begin_items(&mut self, id: Id) -> Flowing {
        let Some(task) = self.task_of(id) else { return Ok(()) };
        let TaskKind::Items(subflow) = &task.kind else { return Ok(()) };
        let Some(mut items) = self.run.task_run(id).and_then(items_of).cloned() else { return Ok(()) };
        if items.begun < items.parts {
            let parts = match self.parts_of(id)? {
                Ok(parts) => parts,
                Err(reason) => return self.fail_attempt(id, reason),
            };
            while items.begun < items.parts {
                if self.budget == 0 {
                    self.leave(id);
                    break;
                }
                self.budget -= 1;
                let part = items.begun;
                let uri = parts.get(part as usize).map_or("", String::as_str);
                let child = ids::item_execution_id(id, items.attempt, part);
                match self.prepare_item(id, subflow, child, part, uri)? {
                    Ok(Child { new, warnings }) => {
                        for warning in warnings {
                            self.log(Some(id), Level::Warn, warning);
                        }
                        self.effects.push(Effect::CreateExecution(Box::new(new)));
                    }
                    Err(reason) => {
                        self.set_items(id, items);
                        return self.fail_attempt(id, reason);
                    }
                }
                items.begun += 1;
            }
        }
        if !subflow.wait {
            // Started is as good as done.
            items.counts.insert(State::Success, items.begun);
        }
        self.set_items(id, items);
        self.items_over(id, subflow)
    }

    fn prepare_item(
        &self,
        id: Id,
        subflow: &Subflow,
        child: Id,
        part: u32,
        uri: &str,
    ) -> Flowing<Result<Child, String>> {
        let Some((task, run)) = self.task_of(id).zip(self.run.task_run(id)) else {
            return Ok(Err("the flow does not have this task".to_owned()));
        };
        let context = Context::new(self.flow, self.run, self.facts, self.moment, self.env).of_task(task, run);
        let mut task_run = context.task_run_entries(run);
        task_run.retain(|(name, _)| *name != "iteration");
        task_run.push(("items", ExpressionValue::text(uri)));
        task_run.push(("iteration", ExpressionValue::whole(i64::from(part))));
        let extra = [("taskrun", ExpressionValue::map(task_run))];
        let context = context.with_extra(&extra);
        match prepare(&context, subflow, child, Some(part)).map_err(|stop| context.mask(stop)) {
            Ok(child) => Ok(Ok(child)),
            Err(Stop::Failed(reason)) => Ok(Err(reason)),
            Err(Stop::Needs(facts)) => Err(Needs(facts)),
        }
    }

    /// One of the executions has ended.
    pub(super) fn item_ended(&mut self, id: Id, part: u32, state: State, generation: u32) -> Flowing {
        let Some(task) = self.task_of(id) else { return Ok(()) };
        let TaskKind::Items(subflow) = &task.kind else { return Ok(()) };
        let Some(run) = self.run.task_run(id) else { return Ok(()) };
        let Some(mut items) = items_of(run).cloned() else { return Ok(()) };
        // Each restart, carried out or refused, makes its generation a later one.
        let outdated = items.restarts.get(&part).is_some_and(|restarts| generation < *restarts);
        let waits = matches!(run.state.current(), State::Running | State::Killing);
        if !subflow.wait || outdated || part >= items.begun || bit(&items.ended, part) {
            return Ok(());
        }
        record(&mut items, part, state);
        if !waits {
            // Nobody waits for it now; a restart wants to know.
            if let Some(run) = self.edit(id) {
                run.opened = Some(Arc::new(Opened::Items(items)));
            }
            return Ok(());
        }
        let level = match state {
            State::Failed => Some(Level::Error),
            State::Warning => Some(Level::Warn),
            _ => None,
        };
        if let Some(level) = level {
            let child = execution_of(id, &items, part);
            self.log(Some(id), level, format!("The subflow's execution {child} ended {state}"));
        }
        self.set_items(id, items);
        self.items_over(id, subflow)
    }

    /// One of the executions is tried again as another one.
    pub(super) fn item_replaced(&mut self, id: Id, part: u32, execution: Id, by: Id) {
        let Some(run) = self.run.task_run(id) else { return };
        let Some(mut items) = items_of(run).cloned() else { return };
        let state = run.state.current();
        let waits = matches!(state, State::Running | State::Killing) && part < items.begun && !bit(&items.ended, part);
        if !waits || execution_of(id, &items, part) != execution {
            return;
        }
        if state == State::Killing {
            self.effects.push(Effect::KillChild { execution: by });
        }
        items.replaced.insert(part, by);
        self.set_items(id, items);
    }

    /// Ends the task run once nothing is left to wait for.
    fn items_over(&mut self, id: Id, subflow: &Subflow) -> Flowing {
        let Some(run) = self.run.task_run(id) else { return Ok(()) };
        let Some(items) = items_of(run) else { return Ok(()) };
        let killing = run.state.current() == State::Killing;
        let ended: u32 = items.counts.values().sum();
        if ended < items.begun || (items.begun < items.parts && !killing) {
            return Ok(());
        }
        let any = |state| items.counts.get(&state).is_some_and(|count| *count > 0);
        let state = match () {
            () if killing => State::Killed,
            () if !subflow.transmit_failed => State::Success,
            () if any(State::Failed) => State::Failed,
            () if any(State::Killed) => State::Killed,
            () if any(State::Warning) => State::Warning,
            () => State::Success,
        };
        let failed = items.counts.get(&State::Failed).copied().unwrap_or_default();
        let error = (state == State::Failed).then(|| format!("{failed} executions ended FAILED"));
        let now = self.moment.now;
        self.close_attempt(id, state, now, error);
        self.attempt_over(id, state, now)
    }

    fn set_items(&mut self, id: Id, items: Items) {
        let outputs = (items.parts > 0).then(|| {
            let ended: u32 = items.counts.values().sum();
            let mut iterations = json!({
                State::Created.as_str(): items.parts - items.begun.min(items.parts),
                State::Running.as_str(): items.begun.saturating_sub(ended),
            });
            for (state, count) in &items.counts {
                iterations[state.as_str()] = Value::from(*count);
            }
            Arc::new(json!({ "iterations": iterations, "numberOfBatches": items.parts }))
        });
        if let Some(run) = self.edit(id) {
            run.outputs = outputs;
            run.opened = Some(Arc::new(Opened::Items(items)));
        }
    }

    /// Kills the executions that have not ended. Whether there are any.
    pub(super) fn kill_items(&mut self, id: Id) -> bool {
        let Some(run) = self.run.task_run(id) else { return false };
        let kills: Vec<Effect> = open_items(run).map(|execution| Effect::KillChild { execution }).collect();
        let some = !kills.is_empty();
        self.effects.extend(kills);
        some
    }
}

/// An execution has ended in this state.
fn record(items: &mut Items, part: u32, state: State) {
    set(&mut items.ended, part);
    if state == State::Failed {
        set(&mut items.failed, part);
    }
    *items.counts.entry(state).or_default() += 1;
}

fn items_of(run: &TaskRun) -> Option<&Items> {
    match run.opened.as_deref() {
        Some(Opened::Items(items)) => Some(items),
        _ => None,
    }
}

/// The executions that a task run has started and of whose ends it has not heard.
pub(super) fn open_items(run: &TaskRun) -> impl Iterator<Item = Id> + '_ {
    let items = items_of(run);
    let parts = items.map_or(0, |items| items.begun);
    let open = (0..parts).filter(move |part| items.is_some_and(|items| !bit(&items.ended, *part)));
    open.filter_map(move |part| items.map(|items| execution_of(run.id, items, part)))
}

/// The execution for a part, or the one that tries it again.
fn execution_of(task_run: Id, items: &Items, part: u32) -> Id {
    let replaced = items.replaced.get(&part).copied();
    replaced.unwrap_or_else(|| ids::item_execution_id(task_run, items.attempt, part))
}

const BITS: u32 = u64::BITS;

fn bit(bits: &[u64], at: u32) -> bool {
    bits.get((at / BITS) as usize).is_some_and(|word| word >> (at % BITS) & 1 == 1)
}

fn set(bits: &mut Vec<u64>, at: u32) {
    let word = (at / BITS) as usize;
    if bits.len() <= word {
        bits.resize(word + 1, 0);
    }
    bits[word] |= 1 << (at % BITS);
}

fn clear(bits: &mut [u64], at: u32) {
    if let Some(word) = bits.get_mut((at / BITS) as usize) {
        *word &= !(1 << (at % BITS));
    }
}
