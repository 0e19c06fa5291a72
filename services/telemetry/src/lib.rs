//! What operators see: metrics, server logs, the management HTTP server.
//!
//! Always true: metric names, tags and their text are those that Kestra's dashboards and alert rules are written
//! against (operations reference 1); a series is built once and then costs an atomic addition; no sample is kept, so
//! nothing has to be cleaned up; ids, messages and secrets are never label values, and tenants and series are capped.
//! Not here: deciding what a component's health means. Whoever has a component registers its indicator.

pub mod logging;
pub mod management;
mod metrics;

pub use metrics::{
    Counter, ExecutionMetrics, Gauge, Metrics, MetricsConfig, Registry, Running, Sample, SampleValue, TaskMetrics,
    Timer, WorkerMetrics, names,
};
