//! What commits tell the metrics: counted after the commit, so that nothing is counted twice.

use std::{sync::Arc, time::Duration};

use windhover_engine::{MetricKind, TaskMetric};
use windhover_flow::TaskKind;
use windhover_telemetry::Metrics;
use windhover_types::{Id, State};

use crate::{flows::StoredFlow, live::Live};

/// Something that was committed and counts.
pub(crate) struct Observation {
    flow: Arc<StoredFlow>,
    what: What,
}

enum What {
    Execution {
        from: Option<State>,
        to: State,
        duration: Duration,
    },
    TaskRun {
        state: State,
        duration: Duration,
        flowable: bool,
    },
    /// Published by a task that ran here; a worker counts those of its own.
    Metric {
        task_type: String,
        metric: TaskMetric,
    },
}

impl Observation {
    pub(crate) fn execution(live: &Live, from: Option<State>, to: State) -> Self {
        let duration = live.run.execution.state.duration();
        Self { flow: Arc::clone(&live.flow), what: What::Execution { from, to, duration } }
    }

    pub(crate) fn task_run(live: &Live, task_run: Id) -> Option<Self> {
        let run = live.run.task_run(task_run)?;
        let task = &live.flow.flow.as_ref().ok()?.index.get(&run.task_id)?.task;
        let what = What::TaskRun {
            state: run.state.current(),
            duration: run.state.duration(),
            flowable: !matches!(task.kind, TaskKind::Runnable(_)),
        };
        Some(Self { flow: Arc::clone(&live.flow), what })
    }

    /// `None` for what a worker published: it has counted that already.
    pub(crate) fn metric(live: &Live, metric: &TaskMetric) -> Option<Self> {
        let run = live.run.task_run(metric.task_run_id)?;
        if run.dispatch > 0 {
            return None;
        }
        let task = &live.flow.flow.as_ref().ok()?.index.get(&metric.task_id)?.task;
        // The same name as on a worker, however the flow writes it.
        let task_type = match &task.kind {
            TaskKind::Runnable(runnable) => runnable.task_type.name.to_owned(),
            _ => task.type_name.clone(),
        };
        let what = What::Metric { task_type, metric: metric.clone() };
        Some(Self { flow: Arc::clone(&live.flow), what })
    }

    pub(crate) fn count(&self, metrics: &Metrics) {
        let flow = &self.flow;
        match &self.what {
            What::Execution { from, to, duration } => {
                let handles = flow.metrics(metrics);
                if *to == State::Running && from.is_none_or(State::is_created) {
                    handles.started(from.unwrap_or(State::Created));
                }
                if to.is_terminal() {
                    handles.ended(*to, *duration);
                }
            }
            What::TaskRun { state, duration, flowable } => {
                flow.metrics(metrics).task_run_ended(*state, *duration, *flowable)
            }
            What::Metric { task_type, metric } => {
                let (tenant, namespace, id) = (&flow.tenant, flow.namespace.as_str(), flow.id.as_str());
                let (name, tags) = (metric.name.as_str(), &metric.tags);
                match metric.kind {
                    MetricKind::Counter => {
                        metrics.task_counter(tenant, namespace, id, task_type, name, tags).add(metric.value)
                    }
                    MetricKind::Gauge => {
                        metrics.task_gauge(tenant, namespace, id, task_type, name, tags).set(metric.value)
                    }
                    MetricKind::Timer => {
                        metrics
                            .task_timer(tenant, namespace, id, task_type, name, tags)
                            .record_value(metric.value / 1_000.0);
                    }
                }
            }
        }
    }
}
