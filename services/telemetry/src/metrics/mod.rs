//! Metrics: a registry of our own, because the reference's text (timers as summaries with a decaying maximum) is not what
//! exporters for Rust write, and because handles must cost nothing.

mod cells;
mod execution;
mod kestra;
pub mod names;
mod process;
pub(crate) mod published;
mod registry;
mod render;
mod task;

pub use cells::{Counter, Gauge, Timer};
pub use execution::ExecutionMetrics;
pub use kestra::{Metrics, MetricsConfig, WorkerMetrics};
pub use registry::{Registry, Sample, SampleValue};
pub use task::{Running, TaskMetrics};
