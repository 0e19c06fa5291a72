//! The execution state machine: (flow, execution, event, facts, moment) -> changed execution and effects.
//!
//! For: deciding what follows from an event, and saying what the outside has to do ([`Effect`]); running inline tasks; deciding
//! whether a Flow trigger fires.
//!
//! Always true: no I/O, no clock, no randomness; a step costs what it changes, not what has already finished; an event
//! that comes twice changes nothing; a step that needs a fact leaves the execution as it was; no input makes it panic.
//!
//! Not here: rows, queues, timers, tasks that need a worker, the table of inline tasks ([`InlineTasks`]).

mod context;
mod env;
mod facts;
mod flow_trigger;
mod flowable;
mod ids;
mod machine;
mod model;
mod new;
pub mod refusals;
mod replay;
mod retry;
mod runs;
mod slots;
mod step;
mod world;

pub use context::{RenderContext, execution_variables};
pub use env::*;
pub use facts::*;
pub use flow_trigger::{FlowTriggerError, UpstreamChange, WindowOffer, flow_trigger, window_execution, window_offer};
pub use ids::{child_execution_id, item_execution_id, task_run_id, triggered_execution_id};
pub use machine::{open_jobs, open_timers, step};
pub use model::*;
pub use new::*;
pub use replay::{From, Repeat, repeat};
pub use runs::{Run, TaskRuns};
pub use slots::Slots;
pub use step::*;
pub use world::{Answer, HttpQuestion, Question};
