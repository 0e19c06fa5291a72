//! Flowable tasks: which lists they have, how their main list runs, and what they decide when they open.
//!
//! A further flowable is one more file and one more line in each of the three tables below; how lists are planned, how
//! containers end, retries and kills stay as they are ([`crate::machine`]).

mod foreach;
mod if_;
mod parallel;
pub(crate) mod pause;
mod switch;
mod template;

use std::sync::Arc;

use serde_json::Value;
use windhover_flow::{Block, Flow, Handlers, ListKind, Task, TaskKind};
use windhover_types::{JsonMap, State};

use crate::{
    Opened,
    context::{Context, Stop},
};

/// The lists of the flow itself or of a flowable, and how the main one runs.
pub(crate) struct Lists<'a> {
    pub(crate) main: &'a [Arc<Task>],
    pub(crate) errors: &'a [Arc<Task>],
    pub(crate) finally: &'a [Arc<Task>],
    pub(crate) shape: Shape<'a>,
}

/// How a main list runs. `errors` and `finally` always run one task after another (flow model 1.x reference 4.1).
#[derive(Clone, Copy)]
pub(crate) enum Shape<'a> {
    /// One task after another; a failure ends the list.
    Sequence,
    /// Side by side, so many at once (0 = all).
    Parallel { concurrent: u32 },
    /// The whole list once for each value, so many values at once (0 = all).
    Loop { values: &'a [String], concurrent: u32 },
    /// Every task for every value, so many at once (0 = all).
    Pairs { values: &'a [String], concurrent: u32 },
    /// Each task once those that it depends on have ended, so many at once (0 = all).
    Graph { depends_on: &'a [Vec<u32>], concurrent: u32 },
    /// One task after another, again and again.
    Until,
}

impl Shape<'_> {
    /// What is begun piece by piece: children of a Parallel, iterations of a loop. `None`: one after another.
    pub(crate) fn pieces(&self, main: &[Arc<Task>]) -> Option<u32> {
        match self {
            Shape::Sequence | Shape::Until => None,
            Shape::Parallel { .. } | Shape::Graph { .. } => Some(main.len() as u32),
            Shape::Pairs { values, .. } => Some(values.len().saturating_mul(main.len()) as u32),
            // Without tasks there is nothing to do for any value.
            Shape::Loop { .. } if main.is_empty() => Some(0),
            Shape::Loop { values, .. } => Some(values.len() as u32),
        }
    }

    pub(crate) fn concurrent(&self) -> u32 {
        match self {
            Shape::Sequence | Shape::Until => 1,
            Shape::Parallel { concurrent }
            | Shape::Loop { concurrent, .. }
            | Shape::Pairs { concurrent, .. }
            | Shape::Graph { concurrent, .. } => *concurrent,
        }
    }
}

/// What a flowable decided when it was opened; evaluated once and stored (flow model reference 4.4).
pub(crate) struct Opening {
    pub(crate) opened: Option<Opened>,
    /// Its outputs, a map.
    pub(crate) outputs: JsonMap,
    /// It fails without running anything, for this reason.
    pub(crate) failure: Option<String>,
}

impl Opening {
    fn plain() -> Self {
        Self { opened: None, outputs: JsonMap::new(), failure: None }
    }

    fn decided(opened: Opened) -> Self {
        Self { opened: Some(opened), ..Self::plain() }
    }

    fn with_output(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.outputs.insert(name.to_owned(), value.into());
        self
    }
}

/// Whether the task decides which tasks come next.
pub(crate) fn is_flowable(kind: &TaskKind) -> bool {
    !matches!(kind, TaskKind::Runnable(_) | TaskKind::Subflow(_) | TaskKind::Items(_))
}

/// Whether a list comes after the main ones, or beside them: what is in it runs again by itself.
pub(crate) fn is_handler(list: &ListKind) -> bool {
    matches!(
        list,
        ListKind::Errors | ListKind::Finally | ListKind::OnPause | ListKind::AfterExecution | ListKind::Listener(_)
    )
}

/// Table 1: what a flowable decides when it opens.
pub(crate) fn open(kind: &TaskKind, context: &Context<'_>) -> Result<Opening, Stop> {
    match kind {
        TaskKind::Sequential(_)
        | TaskKind::AllowFailure(_)
        | TaskKind::WorkingDirectory(_)
        | TaskKind::ForEachItem(_) => Ok(Opening::plain()),
        TaskKind::Parallel { concurrent, .. } => parallel::open(concurrent.as_ref(), context),
        TaskKind::If { condition, .. } => if_::open(condition, context),
        TaskKind::Switch { value, cases, defaults, .. } => switch::open(value, cases, defaults.as_ref(), context),
        TaskKind::ForEach { values, .. } => foreach::open(values, context),
        TaskKind::EachParallel { values, concurrent, .. } => {
            foreach::open_parallel(values, concurrent.as_ref(), context)
        }
        TaskKind::Dag { concurrent, .. } => parallel::open(concurrent.as_ref(), context),
        TaskKind::LoopUntil(_) => Ok(Opening::plain().with_output("iterationCount", 1)),
        TaskKind::Pause(pause) => pause::open(pause, context),
        TaskKind::Template(call) => template::open(call, context),
        TaskKind::Runnable(_) | TaskKind::Subflow(_) | TaskKind::Items(_) => {
            Err(Stop::Failed("the task is no flowable".to_owned()))
        }
    }
}

/// Table 2: its lists, given what it decided.
pub(crate) fn lists<'a>(kind: &'a TaskKind, opened: Option<&'a Opened>) -> Lists<'a> {
    match kind {
        TaskKind::Sequential(block) | TaskKind::AllowFailure(block) => of_block(block, Shape::Sequence),
        TaskKind::WorkingDirectory(directory) => of_block(&directory.block, Shape::Sequence),
        TaskKind::ForEachItem(each) => of_block(&each.block, Shape::Sequence),
        TaskKind::Parallel { block, .. } => of_block(block, parallel::shape(opened)),
        TaskKind::If { then, otherwise, handlers, .. } => sequence(if_::branch(then, otherwise, opened), handlers),
        TaskKind::Switch { cases, defaults, handlers, .. } => {
            sequence(switch::branch(cases, defaults.as_ref(), opened), handlers)
        }
        TaskKind::ForEach { concurrency_limit, block, .. } => {
            of_block(block, foreach::shape(*concurrency_limit, opened))
        }
        TaskKind::EachParallel { block, .. } => of_block(block, foreach::shape_of_pairs(opened)),
        TaskKind::Dag { tasks, depends_on, handlers, .. } => Lists {
            main: tasks,
            errors: &handlers.errors,
            finally: &handlers.finally,
            shape: Shape::Graph { depends_on, concurrent: parallel::limit(opened) },
        },
        TaskKind::LoopUntil(until) => of_block(&until.block, Shape::Until),
        TaskKind::Pause(pause) => of_block(&pause.block, Shape::Sequence),
        TaskKind::Template(call) => sequence(&[], &call.handlers),
        TaskKind::Runnable(_) | TaskKind::Subflow(_) | TaskKind::Items(_) => {
            Lists { main: &[], errors: &[], finally: &[], shape: Shape::Sequence }
        }
    }
}

/// Table 3: its state, given the state of its main list (before `allowFailure` and `allowWarning`).
pub(crate) fn outcome(kind: &TaskKind, state: State) -> State {
    match kind {
        TaskKind::AllowFailure(_) if state == State::Failed => State::Warning,
        _ => state,
    }
}

/// The lists of the flow itself.
pub(crate) fn of_flow(flow: &Flow) -> Lists<'_> {
    Lists { main: &flow.tasks, errors: &flow.errors, finally: &flow.finally, shape: Shape::Sequence }
}

fn of_block<'a>(block: &'a Block, shape: Shape<'a>) -> Lists<'a> {
    Lists { main: &block.tasks, errors: &block.handlers.errors, finally: &block.handlers.finally, shape }
}

fn sequence<'a>(main: &'a [Arc<Task>], handlers: &'a Handlers) -> Lists<'a> {
    Lists { main, errors: &handlers.errors, finally: &handlers.finally, shape: Shape::Sequence }
}
