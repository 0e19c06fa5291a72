//! Metrics of the executions of one flow (tag sets EX and WR of operations reference 1.1).

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use windhover_types::State;

use super::{Counter, Registry, Timer, names};

/// Handles of one flow, made when they are first used. Keep the `Arc` with the flow's revision.
pub struct ExecutionMetrics {
    registry: Registry,
    prefix: Arc<str>,
    /// `tenant_id`, `namespace_id`, `flow_id`.
    tags: Vec<(String, String)>,
    /// `label_*`: on what is about executions, not on what is about task runs.
    labels: Vec<(String, String)>,
    started: PerState<Counter>,
    ended: PerState<Counter>,
    duration: PerState<Timer>,
    task_runs_next: PerState<Counter>,
    task_runs_created: PerState<Counter>,
    task_runs_ended: PerState<Counter>,
    task_run_duration: PerState<Timer>,
    flowable_results: PerState<Counter>,
    delays_created: PerState<Counter>,
    delays_ended: PerState<Counter>,
}

/// One handle for each state that was seen.
type PerState<T> = [OnceLock<T>; State::ALL.len()];

impl ExecutionMetrics {
    pub(super) fn new(
        registry: Registry,
        prefix: Arc<str>,
        tags: Vec<(String, String)>,
        labels: Vec<(String, String)>,
    ) -> Self {
        Self {
            registry,
            prefix,
            tags,
            labels,
            started: Default::default(),
            ended: Default::default(),
            duration: Default::default(),
            task_runs_next: Default::default(),
            task_runs_created: Default::default(),
            task_runs_ended: Default::default(),
            task_run_duration: Default::default(),
            flowable_results: Default::default(),
            delays_created: Default::default(),
            delays_ended: Default::default(),
        }
    }

    /// An execution was taken up from this state: CREATED, or RESTARTED.
    pub fn started(&self, from: State) {
        self.counter(&self.started, names::EXECUTOR_EXECUTION_STARTED_COUNT, from, true).increment();
    }

    /// An execution has ended in `state`; `took` is from its first to its last state.
    pub fn ended(&self, state: State, took: Duration) {
        self.counter(&self.ended, names::EXECUTOR_EXECUTION_END_COUNT, state, true).increment();
        self.timer(&self.duration, names::EXECUTOR_EXECUTION_DURATION, state, true).record(took);
    }

    /// `count` task runs were created; `state` is the execution's before this step.
    pub fn task_runs_created(&self, state: State, count: usize) {
        if count > 0 {
            let count = count as f64;
            self.counter(&self.task_runs_next, names::EXECUTOR_TASKRUN_NEXT_COUNT, state, true).add(count);
            self.counter(&self.task_runs_created, names::EXECUTOR_TASKRUN_CREATED_COUNT, state, true).add(count);
        }
    }

    /// A task run has ended in `state`; `flowable`: the executor itself computed that.
    pub fn task_run_ended(&self, state: State, took: Duration, flowable: bool) {
        self.counter(&self.task_runs_ended, names::EXECUTOR_TASKRUN_ENDED_COUNT, state, false).increment();
        self.timer(&self.task_run_duration, names::EXECUTOR_TASKRUN_ENDED_DURATION, state, false).record(took);
        if flowable {
            self.counter(&self.flowable_results, names::EXECUTOR_WORKERTASKRESULT_COUNT, state, false).increment();
        }
    }

    /// A timer of an execution (retry, pause, schedule date) was set.
    pub fn delay_created(&self, state: State) {
        self.counter(&self.delays_created, names::EXECUTOR_EXECUTION_DELAY_CREATED_COUNT, state, true).increment();
    }

    /// A timer of an execution has fired.
    pub fn delay_ended(&self, state: State) {
        self.counter(&self.delays_ended, names::EXECUTOR_EXECUTION_DELAY_ENDED_COUNT, state, true).increment();
    }

    fn counter<'a>(&self, handles: &'a PerState<Counter>, name: &str, state: State, labelled: bool) -> &'a Counter {
        handles[state as usize]
            .get_or_init(|| self.with_tags(state, labelled, |tags| self.registry.counter(&self.name(name), tags)))
    }

    fn timer<'a>(&self, handles: &'a PerState<Timer>, name: &str, state: State, labelled: bool) -> &'a Timer {
        handles[state as usize]
            .get_or_init(|| self.with_tags(state, labelled, |tags| self.registry.timer(&self.name(name), tags)))
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn with_tags<T>(&self, state: State, labelled: bool, make: impl FnOnce(&[(&str, &str)]) -> T) -> T {
        let labels = if labelled { self.labels.as_slice() } else { &[] };
        let mut tags: Vec<(&str, &str)> =
            self.tags.iter().chain(labels).map(|(k, v)| (k.as_str(), v.as_str())).collect();
        tags.push(("state", state.as_str()));
        make(&tags)
    }
}
