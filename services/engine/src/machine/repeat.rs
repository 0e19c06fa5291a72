//! LoopUntil: the list again and again, until a condition holds or a limit is reached (flow model 1.x reference 5.3).
//!
//! Only the task runs of the last turn remain: those of the one before go when the next begins.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use windhover_expression::condition::is_truthy;
use windhover_flow::{Flow, LoopUntil, TaskKind, TaskPlace};
use windhover_types::{Id, Level, State};

use super::{Flowing, Machine, Needs};
use crate::{
    Effect, Fact, Frame, Phase, TaskRun, Timer,
    context::{Context, Stop},
    flowable::{Lists, pause::duration},
};

/// Between two turns, unless the task says otherwise.
const INTERVAL: Duration = Duration::from_secs(60);

/// What a turn leads to.
enum Verdict {
    /// The condition holds.
    Over,
    /// The limit of this name is reached; it fails if it shall.
    Limit { name: &'static str, fail: bool },
    /// Another turn after this time.
    Again(Duration),
}

impl Machine<'_> {
    /// All tasks of a turn have ended, none of them FAILED. Whether the loop is over.
    pub(super) fn turn_over(&mut self, id: Id, until: &LoopUntil) -> Flowing<bool> {
        let Some(frame) = self.run.task_run(id).and_then(|run| run.frame.as_ref()) else { return Ok(true) };
        let iteration = frame.iteration;
        match self.evaluate(id, |context| verdict(until, context))? {
            Ok(Verdict::Over) => Ok(true),
            Ok(Verdict::Limit { name, fail }) => {
                self.log(Some(id), Level::Warn, format!("Max {name} reached"));
                self.count_turns(id, iteration.saturating_add(2));
                if fail {
                    self.fail_frame(id);
                }
                Ok(true)
            }
            Ok(Verdict::Again(interval)) => {
                let timer = Timer::Loop { task_run: id, iteration };
                self.effects.push(Effect::SetTimer { timer, at: self.moment.now.plus(interval) });
                Ok(false)
            }
            Err(reason) => {
                self.log(Some(id), Level::Error, reason);
                self.fail_frame(id);
                Ok(true)
            }
        }
    }

    fn fail_frame(&mut self, id: Id) {
        if let Some(frame) = self.edit(id).and_then(|run| run.frame.as_mut()) {
            frame.failed = true;
        }
    }

    fn count_turns(&mut self, id: Id, count: u32) {
        if let Some(run) = self.edit(id) {
            let outputs = Map::from_iter([("iterationCount".to_owned(), Value::from(count))]);
            run.outputs = Some(Arc::new(Value::Object(outputs)));
        }
    }

    /// The pause between two turns is over.
    pub(super) fn next_turn(&mut self, id: Id, iteration: u32) -> Flowing {
        let waits = self.run.task_run(id).is_some_and(|run| {
            waits_for_turn(self.flow, run) && run.frame.as_ref().is_some_and(|frame| frame.iteration == iteration)
        });
        if !waits || self.is_killing() {
            return Ok(());
        }
        self.remove_below(id)?;
        let next = iteration.saturating_add(1);
        if let Some(run) = self.edit(id) {
            run.frame = Some(Frame { iteration: next, ..Frame::default() });
        }
        self.count_turns(id, next.saturating_add(1));
        if self.is_paused() {
            self.leave(id);
            return Ok(());
        }
        self.begin_list(id)
    }

    /// Takes away everything below a container, with what runs because of Pauses in it.
    pub(super) fn remove_below(&mut self, id: Id) -> Flowing {
        let Some(task_id) = self.run.task_run(id).map(|run| run.task_id.clone()) else { return Ok(()) };
        self.need_tasks(tasks_below(self.flow, &task_id))?;
        for below in self.run.task_runs.descendants(id) {
            self.remove_with_on_pause(below);
        }
        Ok(())
    }

    pub(super) fn remove_with_on_pause(&mut self, id: Id) {
        if let Some(TaskKind::Pause(pause)) = self.task_of(id).map(|task| &task.kind)
            && let Some(task) = &pause.on_pause
        {
            for generation in 0..=self.run.execution.marks.generation {
                self.remove(self.on_pause_id(id, task, generation));
            }
        }
        self.remove(id);
    }

    /// Asks for the ended task runs of these tasks, unless they are in memory.
    pub(super) fn need_tasks<'t>(&self, tasks: impl IntoIterator<Item = &'t str>) -> Flowing {
        let shared = self.run.task_runs.shared();
        let missing: Vec<Fact> = tasks
            .into_iter()
            .filter(|task_id| !shared.knows(task_id))
            .map(|task_id| Fact::Outputs { task_id: Some(task_id.to_owned()) })
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(Needs(missing)) }
    }

    /// Takes a task run away, with its job and its timers.
    pub(super) fn remove(&mut self, id: Id) {
        let Some(run) = self.run.task_run(id) else { return };
        let (parent, open) = (run.parent_id, !run.state.current().is_terminal());
        self.clear_timers(id);
        self.drop_job(id);
        if open {
            self.change_frame(parent, |frame| frame.open = frame.open.saturating_sub(1));
        }
        self.journal.remove(self.run, id);
    }

    /// The job of a task run, if one is out, is nobody's any more.
    pub(super) fn drop_job(&mut self, id: Id) {
        let Some(run) = self.run.task_run(id).filter(|run| run.has_open_job()) else { return };
        let (task_run, dispatch) = (id, run.dispatch);
        self.effects.push(Effect::CancelJob { task_run, dispatch });
        self.effects.push(Effect::EndJob { task_run, dispatch });
    }
}

/// Whether a task run is a LoopUntil between two turns.
pub(crate) fn waits_for_turn(flow: &Flow, run: &TaskRun) -> bool {
    let between = |frame: &Frame| frame.phase == Phase::Main && frame.open == 0 && frame.started > 0;
    run.state.current() == State::Running
        && run.frame.as_ref().is_some_and(between)
        && matches!(flow.index.get(&run.task_id).map(|place| &place.task.kind), Some(TaskKind::LoopUntil(_)))
}

/// Whether a main list that has ended is one turn of several.
pub(super) fn turns<'a>(kind: &'a TaskKind, lists: &Lists<'_>) -> Option<&'a LoopUntil> {
    match kind {
        // Without tasks nothing could change between two turns.
        TaskKind::LoopUntil(until) if !lists.main.is_empty() => Some(until),
        _ => None,
    }
}

/// The tasks below a task, at any depth, with those that run because of Pauses among them.
fn tasks_below<'f>(flow: &'f Flow, task_id: &str) -> Vec<&'f str> {
    let is_below = |mut place: &'f TaskPlace| loop {
        match place.parent.as_deref() {
            Some(parent) if parent == task_id => return true,
            Some(parent) => match flow.index.get(parent) {
                Some(next) => place = next,
                None => return false,
            },
            None => return false,
        }
    };
    let mut found = Vec::new();
    for (id, place) in flow.index.iter().filter(|(_, place)| is_below(place)) {
        found.push(id.as_str());
        if let TaskKind::Pause(pause) = &place.task.kind {
            found.extend(pause.on_pause.as_ref().map(|task| task.id.as_str()));
        }
    }
    found
}

fn verdict(until: &LoopUntil, context: &Context<'_>) -> Result<Verdict, Stop> {
    if is_truthy(&context.render(&until.condition)?) {
        return Ok(Verdict::Over);
    }
    let Some((_, run)) = context.task else { return Ok(Verdict::Over) };
    let done = run.frame.as_ref().map_or(1, |frame| frame.iteration.saturating_add(1));
    let fail = match &until.fail_on_max_reached {
        Some(text) => is_truthy(&context.render(text)?),
        None => false,
    };
    if whole(until.max_iterations.as_ref(), "checkFrequency.maxIterations", context)?.is_some_and(|max| done >= max) {
        return Ok(Verdict::Limit { name: "iterations", fail });
    }
    if let Some(max) = duration(until.max_duration.as_ref(), "checkFrequency.maxDuration", context)?
        && context.moment.now.since(planned_at(run)) >= max
    {
        return Ok(Verdict::Limit { name: "duration", fail });
    }
    let interval = duration(until.interval.as_ref(), "checkFrequency.interval", context)?;
    Ok(Verdict::Again(interval.unwrap_or(INTERVAL)))
}

fn whole(text: Option<&windhover_flow::Text>, property: &str, context: &Context<'_>) -> Result<Option<u32>, Stop> {
    let Some(text) = text else { return Ok(None) };
    let rendered = context.render(text)?;
    let rendered = rendered.trim();
    if rendered.is_empty() {
        return Ok(None);
    }
    rendered.parse().map(Some).map_err(|_| {
        let rendered = context.mask_message(rendered);
        Stop::Failed(format!("`{property}` is `{rendered}` and must be a whole number from 0"))
    })
}

/// When it was last CREATED or RESTARTED.
fn planned_at(run: &TaskRun) -> windhover_types::Timestamp {
    let planned = |state| matches!(state, State::Created | State::Restarted);
    let last = run.state.entries().iter().rev().find(|entry| planned(entry.state));
    last.map_or_else(|| run.state.started(), |entry| entry.at)
}
