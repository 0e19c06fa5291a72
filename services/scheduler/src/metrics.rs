//! What a scheduler measures, under Kestra's names (operations reference 1.2 and 1.4).

use std::time::Duration;

use windhover_store::TriggerKey;
use windhover_telemetry::{Counter, Metrics, Timer};

/// Instruments of one scheduler.
#[derive(Clone)]
pub(crate) struct SchedulerMetrics {
    metrics: Metrics,
    loops: Counter,
    evaluated: Counter,
    loop_duration: Timer,
}

impl SchedulerMetrics {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let registry = metrics.registry();
        Self {
            loops: registry.counter(&metrics.name("scheduler.loop.count"), &[]),
            evaluated: registry.counter(&metrics.name("scheduler.evaluate.count"), &[]),
            loop_duration: registry.timer(&metrics.name("scheduler.evaluation.loop.duration"), &[]),
            metrics,
        }
    }

    /// One round of the loop is over.
    pub(crate) fn looped(&self, took: Duration) {
        self.loops.increment();
        self.loop_duration.record(took);
    }

    /// So many triggers were ready.
    pub(crate) fn ready(&self, count: usize) {
        self.evaluated.add(count as f64);
    }

    /// A trigger was evaluated.
    pub(crate) fn evaluation(&self, trigger_type: &str, took: Duration) {
        let name = self.metrics.name("scheduler.trigger.evaluation.duration");
        self.metrics.registry().timer(&name, &[("trigger_type", trigger_type)]).record(took);
    }

    /// A trigger has made an execution, so long after its date (`None` in a backfill).
    pub(crate) fn fired(&self, key: &TriggerKey, late: Option<Duration>) {
        let tenant = self.metrics.tenant_value(&key.tenant);
        let tags = [
            ("flow_id", key.flow_id.as_str()),
            ("namespace_id", key.namespace.as_str()),
            ("state", "CREATED"),
            ("tenant_id", tenant.as_str()),
        ];
        let registry = self.metrics.registry();
        registry.counter(&self.metrics.name("scheduler.trigger.count"), &tags).increment();
        if let Some(late) = late {
            registry.timer(&self.metrics.name("scheduler.trigger.delay.duration"), &tags).record(late);
        }
    }

    /// A trigger waited for its execution although its next date had come; `missing`: the execution is not there.
    pub(crate) fn waited(&self, key: &TriggerKey, waited: Duration, missing: bool) {
        let tenant = self.metrics.tenant_value(&key.tenant);
        let tags = [
            ("flow_id", key.flow_id.as_str()),
            ("namespace_id", key.namespace.as_str()),
            ("tenant_id", tenant.as_str()),
        ];
        let names: &[&str] = if missing {
            &["scheduler.execution.missing.duration"]
        } else {
            // The name of 0.21, and that of 1.x.
            &["scheduler.execution.running.duration", "scheduler.execution.lock.duration"]
        };
        for name in names {
            self.metrics.registry().timer(&self.metrics.name(name), &tags).record(waited);
        }
    }
}
