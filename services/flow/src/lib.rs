//! Flows: from YAML to what the engine runs.
//!
//! For: reading a source ([`validate`], [`compile`]), with everything that is wrong said at once and in its place;
//! the model ([`Flow`]); properties whose texts are templates ([`Properties`], [`Text`]); inputs and outputs
//! ([`resolve_inputs`], [`resolve_outputs`]); conditions of triggers ([`evaluate`]).
//!
//! Always true: no I/O, no clock, no randomness; no source makes it panic, recurse without bound or use more memory
//! than its [`Limits`] allow; what is known in the reference and not built here is refused as unsupported, never
//! ignored.
//!
//! Types of tasks, triggers and conditions are entries of one table ([`table`]).

mod checks;
mod condition;
mod duration;
mod inherited;
mod input;
mod model;
mod output;
mod properties;
mod property;
mod read;
mod schedule;
mod schema;
pub mod table;
mod text;
mod window;
mod yaml;

pub use checks::{Check, CheckBehavior, CheckStyle, FailedCheck, evaluate_checks};
pub use condition::{
    Condition, ConditionError, DateCondition, DateTest, Field, Filter, FilterPrecondition, FilterTest,
    FlowPrecondition, Operand, Upstream, evaluate, evaluate_all,
};
pub use duration::{format_duration, parse_duration};
pub use inherited::Inherited;
pub use input::{
    Bounds, DependsOn, Input, InputError, InputKind, InputType, InputsError, Pattern, ResolvedInputs, Select,
    fill_defaults, open_inputs, resolve_inputs, resume_inputs, seal_given, sealed_inputs, secret_inputs,
    texts_of_secrets,
};
pub use model::{
    Block, Concurrency, ConcurrencyBehavior, Fallback, Flow, FlowTrigger, ForEachItem, ForEachValues, Handlers,
    HttpTrigger, ListKind, Listener, Literal, LoopUntil, Pause, RestartBehavior, Retry, RetryBehavior, RetryDelay,
    Runnable, Sla, SlaBehavior, SlaKind, Subflow, Task, TaskKind, TaskList, TaskPlace, TemplateCall, Trigger,
    TriggerKind, WebhookAnswer, WebhookTrigger, WorkerGroup, WorkingDirectory,
};
pub use output::{Output, OutputsError, ResolvedOutputs, resolve_outputs};
pub use properties::{Key, Properties};
pub use property::{PropertyError, text_of};
pub use read::{
    Mention, Mode, PluginDefaults, Validation, compile, compile_stored, compile_stored_within, compile_task, parse,
    parse_within, validate, validate_within,
};
pub use schedule::{Calendar, Cron, DatesError, Next, RecoverMissed, Schedule, ScheduleDates};
pub use schema::json_schema;
pub use table::{PropertySpec, TaskType};
pub use text::Text;
pub use window::{OpenWindow, TimeWindow, WindowEvent, WindowSpec, WindowStep};
pub use yaml::Limits;
