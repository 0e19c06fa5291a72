//! What libraries publish through the `metrics` crate ends up in our registry, under the names that they chose.

use std::sync::Arc;

use metrics::{CounterFn, GaugeFn, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::{Counter, Gauge, Registry, Timer};

pub(super) struct Facade {
    registry: Registry,
}

impl Facade {
    pub(super) fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

fn tags(key: &Key) -> Vec<(&str, &str)> {
    key.labels().map(|label| (label.key(), label.value())).collect()
}

struct CounterCell(Counter);

impl CounterFn for CounterCell {
    fn increment(&self, value: u64) {
        self.0.add(value as f64);
    }

    fn absolute(&self, value: u64) {
        self.0.0.update(|have| have.max(value as f64));
    }
}

struct GaugeCell(Gauge);

impl GaugeFn for GaugeCell {
    fn increment(&self, value: f64) {
        self.0.add(value);
    }

    fn decrement(&self, value: f64) {
        self.0.add(-value);
    }

    fn set(&self, value: f64) {
        self.0.set(value);
    }
}

struct HistogramCell(Timer);

impl HistogramFn for HistogramCell {
    fn record(&self, value: f64) {
        self.0.record_value(value);
    }
}

impl Recorder for Facade {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(Arc::new(CounterCell(self.registry.counter(key.name(), &tags(key)))))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::from_arc(Arc::new(GaugeCell(self.registry.gauge(key.name(), &tags(key)))))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(Arc::new(HistogramCell(self.registry.summary(key.name(), &tags(key)))))
    }
}
