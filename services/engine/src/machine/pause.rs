//! Pauses: of a Pause task and of the execution as a whole; what goes on meanwhile, and how they end (flow model reference 4.8, 1.x
//! reference 5.3).
//!
//! While an execution is PAUSED, what has begun goes on and is recorded, and nothing new is planned: containers hear of the ends of
//! their children when it is resumed.

use std::sync::Arc;

use serde_json::{Map, Value};
use windhover_flow::{InputsError, Pause, TaskKind, fill_defaults, resolve_inputs};
use windhover_types::{Id, JsonMap, Level, State};

use super::{Flowing, Machine};
use crate::{
    Effect, Opened, PauseBehavior, RenderContext, Timer,
    context::{Context, Stop},
    refusals,
};

impl Machine<'_> {
    pub(super) fn is_paused(&self) -> bool {
        self.run.execution.current() == State::Paused
    }

    /// Somebody wants nothing new to begin.
    pub(super) fn pause(&mut self) {
        match self.run.execution.current() {
            State::Running if !self.is_killing() => self.set_execution_state(State::Paused),
            state => self.refuse(
                refusals::NOT_RUNNING,
                format!("only an execution that is RUNNING can be paused, and this one is {state}"),
            ),
        }
    }

    /// A Pause task begins: it and its execution wait.
    pub(super) fn enter_pause(&mut self, id: Id, pause: &Pause) {
        let now = self.moment.now;
        self.set_state(id, State::Paused, now);
        if let Some(at) = self.run.task_run(id).and_then(|run| pause_of(run.opened.as_deref())?.0) {
            self.effects.push(Effect::SetTimer { timer: Timer::Pause { task_run: id }, at });
        }
        if matches!(self.run.execution.current(), State::Running | State::Retrying) {
            self.set_execution_state(State::Paused);
        }
        if let Some(task) = &pause.on_pause {
            self.create_on_pause(id, task);
        }
    }

    /// The PAUSED task run that was planned first.
    pub(super) fn first_paused(&self) -> Option<Id> {
        self.run.task_runs.all_open().into_iter().find(|id| self.state_of(*id) == Some(State::Paused))
    }

    pub(super) fn resume(&mut self, inputs: &JsonMap, by: Option<String>, undeclared: bool) -> Flowing {
        let paused = self.first_paused();
        if self.is_killing() || !(self.is_paused() || paused.is_some()) {
            let state = self.run.execution.current();
            self.refuse(refusals::NOT_PAUSED, format!("the execution is {state}, not PAUSED"));
            return Ok(());
        }
        let Some(id) = paused else { return self.go_on(State::Running) };
        let Some(task) = self.task_of(id) else { return Ok(()) };
        let TaskKind::Pause(pause) = &task.kind else { return Ok(()) };
        let resolved = self.evaluate(id, |context| {
            let resolved = resolve_inputs(&pause.on_resume, inputs, &context.environment());
            resolved.map_err(|error| inputs_stop(context, error))
        })?;
        match resolved {
            Ok(resolved) => {
                for warning in resolved.warnings {
                    self.log(Some(id), Level::Warn, warning);
                }
                let mut values = resolved.values;
                if undeclared {
                    let declared = |name: &str| pause.on_resume.iter().any(|input| input.id == name);
                    let others = inputs.iter().filter(|(name, _)| !declared(name));
                    values.extend(others.map(|(name, value)| (name.clone(), value.clone())));
                }
                self.resumed(id, pause, values, by);
                self.end_pause(id, |_| {})
            }
            Err(reason) => {
                self.refuse(refusals::INVALID_INPUT, reason);
                Ok(())
            }
        }
    }

    /// Outputs of a Pause that goes on.
    pub(super) fn resumed(&mut self, id: Id, pause: &Pause, inputs: JsonMap, by: Option<String>) {
        let mut outputs = Map::new();
        if !(pause.on_resume.is_empty() && inputs.is_empty()) {
            let inputs = Value::Object(inputs);
            self.note_sealed(&inputs);
            outputs.insert("onResume".to_owned(), inputs);
        }
        let mut resumed = Map::new();
        resumed.extend(by.map(|by| ("by".to_owned(), Value::String(by))));
        resumed.insert("on".to_owned(), Value::String(self.moment.now.to_string()));
        resumed.insert("to".to_owned(), Value::String(State::Running.as_str().to_owned()));
        outputs.insert("resumed".to_owned(), Value::Object(resumed));
        if let Some(run) = self.edit(id) {
            run.outputs = Some(Arc::new(Value::Object(outputs)));
        }
    }

    /// Its time is over.
    pub(super) fn pause_over(&mut self, id: Id) -> Flowing {
        if self.state_of(id) != Some(State::Paused) {
            return Ok(());
        }
        let Some(task) = self.task_of(id) else { return Ok(()) };
        let TaskKind::Pause(pause) = &task.kind else { return Ok(()) };
        let opened = self.run.task_run(id).and_then(|run| run.opened.clone());
        let Some((_, behavior)) = pause_of(opened.as_deref()) else { return Ok(()) };
        match behavior {
            Some(PauseBehavior::Resume) => {
                let filled = self.evaluate(id, |context| {
                    let filled = fill_defaults(&pause.on_resume, &JsonMap::new(), &context.environment());
                    filled.map_err(|error| inputs_stop(context, error))
                })?;
                self.resumed(id, pause, filled.unwrap_or_default(), None);
                self.end_pause(id, |_| {})
            }
            Some(PauseBehavior::Warn) => self.end_pause(id, |frame| frame.warning = true),
            Some(PauseBehavior::Cancel) => self.exit(id, State::Cancelled),
            Some(PauseBehavior::Fail) => self.end_pause(id, |frame| frame.failed = true),
            None => {
                self.log(Some(id), Level::Error, "Nobody resumed the Pause within its timeout".to_owned());
                self.end_pause(id, |frame| frame.failed = true)
            }
        }
    }

    /// A Pause stops waiting; the execution goes on unless another Pause waits.
    pub(super) fn end_pause(&mut self, id: Id, change: impl FnOnce(&mut crate::Frame)) -> Flowing {
        self.effects.extend(self.timer_of(id).map(|timer| Effect::ClearTimer { timer }));
        self.set_state(id, State::Running, self.moment.now);
        if let Some(frame) = self.edit(id).and_then(|run| run.frame.as_mut()) {
            change(frame);
        }
        if self.is_paused() {
            if self.first_paused().is_some() {
                // Its own list waits too.
                self.leave(id);
                return Ok(());
            }
            self.set_execution_state(State::Restarted);
            self.go_on(State::Running)?;
        }
        self.begin_list(id)
    }

    /// The execution is no longer paused: containers hear of what ended meanwhile.
    pub(super) fn go_on(&mut self, state: State) -> Flowing {
        self.set_execution_state(state);
        let untold = std::mem::take(&mut self.journal.execution(self.run).marks.untold);
        for ended in untold {
            self.tell(ended)?;
        }
        Ok(())
    }
}

/// When a Pause is over by itself and what follows (`None`: it fails, as its timeout says).
pub(crate) fn pause_of(opened: Option<&Opened>) -> Option<(Option<windhover_types::Timestamp>, Option<PauseBehavior>)> {
    match opened {
        Some(Opened::Pause { until, behavior }) => Some((*until, *behavior)),
        _ => None,
    }
}

pub(super) fn inputs_stop(context: &Context<'_>, error: InputsError) -> Stop {
    match error {
        InputsError::Needs(key) => Stop::from(windhover_expression::ExpressionError::Needs(key)),
        invalid @ InputsError::Invalid(_) => Stop::Failed(context.mask_message(&invalid.to_string())),
    }
}
