//! The step: one event, and everything that follows from it at once.
//!
//! What follows is worked off in rounds: everything that is planned is started first, and only then what has ended is told to its
//! container. So tasks that run side by side all run, whichever of them fails first, as they would on workers.

mod actions;
mod after;
mod attempt;
mod create;
mod end;
mod events;
mod inline;
mod items;
mod journal;
mod kill;
mod open_work;
mod pause;
mod plan;
mod reopen;
mod repeat;
mod restart;
mod sla;
mod slot;
mod start;
mod subflow;

use std::{
    collections::VecDeque,
    sync::{Arc, LazyLock},
};

use serde_json::Value;
use windhover_flow::{Flow, ListKind, Task, TaskPlace};
use windhover_types::{Id, JsonMap, Level, State, has_sealed};

use self::journal::Journal;
pub use self::open_work::{open_jobs, open_timers};
use crate::{
    Effect, Env, Event, Fact, Facts, LogLine, Moment, Opened, Refusal, Run, Step, StepOutput, TaskRun,
    context::{Context, Stop, open_run},
};

/// Outputs of what has none: `outputs.<task>` is there all the same.
static NO_OUTPUTS: LazyLock<Arc<Value>> = LazyLock::new(|| Arc::new(Value::Object(JsonMap::new())));

/// The step cannot go on without these facts; nothing that it did counts.
pub(crate) struct Needs(Vec<Fact>);

pub(crate) type Flowing<T = ()> = Result<T, Needs>;

/// Applies an event to an execution, and everything that follows from it.
///
/// [`Step::Needs`]: the run is as it was (what facts brought along stays in memory); look them up and step again with the same event.
/// `seed` of the moment feeds only random functions of expressions.
pub fn step(flow: &Flow, run: &mut Run, event: Event, facts: &Facts, moment: Moment, env: &Env) -> Step {
    run.task_runs.absorb(facts);
    if let Err(fact) = open_run(flow, run, facts) {
        return Step::Needs(vec![fact]);
    }
    let journal = Journal::new(run);
    let made_with = std::mem::take(&mut run.made_with);
    for task_run in &made_with {
        run.task_runs.push(task_run.clone());
    }
    let budget = env.limits.inline_per_step.max(1);
    let mut machine = Machine {
        flow,
        run,
        facts,
        moment,
        env,
        journal,
        effects: Vec::new(),
        starts: VecDeque::new(),
        ends: VecDeque::new(),
        budget,
        refused: None,
    };
    match machine.apply(event) {
        Ok(()) => Step::Done(machine.finish()),
        Err(Needs(facts)) => {
            let Machine { run, journal, .. } = machine;
            journal.roll_back(run);
            run.made_with = made_with;
            Step::Needs(facts)
        }
    }
}

pub(crate) struct Machine<'a> {
    flow: &'a Flow,
    run: &'a mut Run,
    facts: &'a Facts,
    moment: Moment,
    env: &'a Env,
    journal: Journal,
    effects: Vec<Effect>,
    /// Planned, to be started.
    starts: VecDeque<Id>,
    /// Ended, their containers have to hear of it.
    ends: VecDeque<Id>,
    /// Starts that this step may still make.
    budget: u32,
    /// The event did not fit; nothing has changed.
    refused: Option<Refusal>,
}

impl<'a> Machine<'a> {
    fn apply(&mut self, event: Event) -> Flowing {
        self.on_event(event)?;
        if self.refused.is_some() {
            return Ok(());
        }
        if !self.run.execution.is_ended() && !self.is_killing() {
            self.take_up_rest()?;
        }
        self.work_off()
    }

    /// Goes on with what the step before left, or with everything open after loading.
    fn take_up_rest(&mut self) -> Flowing {
        for (seq, id) in std::mem::take(&mut self.run.task_runs.todo) {
            let Some(run) = self.run.task_run(id) else { continue };
            let waits = match self.run.execution.current() {
                State::Paused => !self.is_on_pause(id),
                // What is planned in it begins with it.
                State::Restarted | State::Queued => true,
                _ => false,
            };
            if waits {
                self.run.task_runs.todo.insert(seq, id);
                continue;
            }
            match run.state.current() {
                State::Created | State::Restarted => self.starts.push_back(id),
                State::Running if run.frame.is_some() => self.take_up_container(id)?,
                State::Running if matches!(run.opened.as_deref(), Some(Opened::Items(_))) => self.begin_items(id)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a task run is what runs while a Pause waits: it begins also while the execution is paused.
    fn is_on_pause(&self, id: Id) -> bool {
        let run = self.run.task_run(id);
        run.and_then(|run| self.place(&run.task_id)).is_some_and(|place| place.list == ListKind::OnPause)
    }

    fn work_off(&mut self) -> Flowing {
        loop {
            if let Some(id) = self.starts.pop_front() {
                if self.budget == 0 {
                    self.leave(id);
                } else {
                    self.budget -= 1;
                    self.start(id)?;
                }
            } else if let Some(id) = self.ends.pop_front() {
                self.look_at_assertions()?;
                self.child_ended(id)?;
            } else {
                return Ok(());
            }
        }
    }

    /// Leaves a task run to the next step.
    fn leave(&mut self, id: Id) {
        if let Some(seq) = self.run.task_run(id).map(|run| run.seq) {
            self.run.task_runs.todo.insert(seq, id);
        }
    }

    fn finish(self) -> StepOutput {
        let todo = &self.run.task_runs.todo;
        let more = match self.is_paused() {
            true => todo.values().any(|id| self.state_of(*id) == Some(State::Created) && self.is_on_pause(*id)),
            false => {
                let begun = !matches!(self.run.execution.current(), State::Created | State::Queued | State::Restarted);
                begun && !self.run.execution.is_ended() && !todo.is_empty()
            }
        };
        let mut journal = self.journal;
        let removed_task_runs = journal.take_removed();
        let (execution_changed, changed_task_runs) = journal.changes(self.run);
        let (effects, refused) = (self.effects, self.refused);
        StepOutput { effects, execution_changed, changed_task_runs, removed_task_runs, more, refused }
    }

    fn place(&self, task_id: &str) -> Option<&'a TaskPlace> {
        self.flow.index.get(task_id)
    }

    /// The task of a task run. `None` when the flow does not have it, which no stored revision lets happen.
    fn task_of(&self, id: Id) -> Option<&'a Arc<Task>> {
        let run = self.run.task_run(id)?;
        self.place(&run.task_id).map(|place| &place.task)
    }

    /// The task run, to be changed.
    fn edit(&mut self, id: Id) -> Option<&mut TaskRun> {
        self.journal.before_task_run(self.run, id);
        self.run.task_runs.get_mut(id)
    }

    fn state_of(&self, id: Id) -> Option<State> {
        self.run.task_run(id).map(|run| run.state.current())
    }

    /// Enters a state; the worker's time counts when one is given, but never one that is still to come.
    fn set_state(&mut self, id: Id, state: State, at: windhover_types::Timestamp) {
        let at = at.min(self.moment.now);
        if let Some(run) = self.edit(id) {
            run.state.set(state, at);
        }
        self.run.task_runs.reindex(id);
    }

    fn set_execution_state(&mut self, to: State) {
        let from = self.run.execution.current();
        if self.journal.execution(self.run).state.set(to, self.moment.now) {
            self.effects.push(Effect::ExecutionState { from: Some(from), to });
        }
    }

    /// What was asked for does not fit. To be called before anything has changed.
    fn refuse(&mut self, reason: &str, message: String) {
        let message = self.run.roots.mask(message);
        self.refused = Some(Refusal { reason: reason.to_owned(), message });
    }

    /// Somebody wants its end, which has not come yet.
    fn is_killing(&self) -> bool {
        self.run.execution.kill_requested && !self.run.execution.current().is_terminal()
    }

    /// Evaluates something for a task run. `Err(reason)`: it cannot be evaluated.
    fn evaluate<T>(
        &self,
        id: Id,
        evaluate: impl FnOnce(&Context<'_>) -> Result<T, Stop>,
    ) -> Flowing<Result<T, String>> {
        let Some((task, run)) = self.task_of(id).zip(self.run.task_run(id)) else {
            return Ok(Err("the flow does not have this task".to_owned()));
        };
        let context = Context::new(self.flow, self.run, self.facts, self.moment, self.env).of_task(task, run);
        match evaluate(&context) {
            Ok(value) => Ok(Ok(value)),
            Err(Stop::Failed(reason)) => Ok(Err(reason)),
            Err(Stop::Needs(facts)) => Err(Needs(facts)),
        }
    }

    /// To be called with outputs that come from outside: what is sealed in them is opened for expressions from now on.
    fn note_sealed(&mut self, outputs: &Value) {
        if !self.run.execution.marks.sealed && has_sealed(outputs) {
            self.journal.execution(self.run).marks.sealed = true;
        }
    }

    /// A line of the execution's log, of a task run if one is given. Inputs of type SECRET are taken out.
    fn log(&mut self, task_run: Option<Id>, level: Level, message: String) {
        let run = task_run.and_then(|id| self.run.task_run(id));
        let attempt = run.map(|run| u32::try_from(run.attempts.len().saturating_sub(1)).unwrap_or(u32::MAX));
        let task_id = run.map(|run| run.task_id.clone());
        let at = self.moment.now;
        for message in split_message(self.run.roots.mask(message)) {
            let line = LogLine { at, level, message, task_id: task_id.clone(), task_run_id: task_run, attempt };
            self.effects.push(Effect::Log(line));
        }
    }
}

/// Longer lines are split (flow model 1.x reference 4.5).
const LINE_CHARACTERS: usize = 15_360;

fn split_message(message: String) -> Vec<String> {
    if message.len() <= LINE_CHARACTERS {
        return vec![message];
    }
    let mut parts = vec![String::new()];
    for (at, character) in message.chars().enumerate() {
        if at > 0 && at % LINE_CHARACTERS == 0 {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut() {
            part.push(character);
        }
    }
    parts
}
