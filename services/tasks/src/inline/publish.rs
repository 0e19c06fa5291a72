//! `metric.Publish` (flow model 1.x reference 5.6).

use serde_json::Value;
use windhover_engine::{InlineOutcome, MetricKind};
use windhover_expression::Environment;
use windhover_flow::{Properties, PropertyError, parse_duration, text_of};

use super::compute::{Outcome, failed};

pub(super) type Metric = (String, MetricKind, f64, Vec<(String, String)>);

pub(super) fn publish(properties: &Properties, environment: &Environment<'_>) -> Outcome {
    let metrics = properties.list("metrics", environment)?;
    let metrics = metrics.ok_or_else(|| PropertyError::Missing { property: "metrics".to_owned() })?;
    let mut published = Vec::with_capacity(metrics.len());
    for (at, metric) in metrics.iter().enumerate() {
        match read(metric) {
            Ok(metric) => published.push(metric),
            Err(reason) => return Ok(failed(format!("metrics[{at}]: {reason}"))),
        }
    }
    Ok(InlineOutcome { metrics: published, ..InlineOutcome::default() })
}

fn read(metric: &Value) -> Result<Metric, String> {
    let text = |name: &str| metric.get(name).filter(|value| !value.is_null()).map(text_of);
    let needed = |name: &str| text(name).ok_or_else(|| format!("{name}: must not be null"));
    let kind = needed("type")?;
    let name = needed("name")?;
    let value = needed("value")?;
    let number = || value.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let (kind, value) = match kind.trim().to_ascii_lowercase().as_str() {
        "counter" => (MetricKind::Counter, number().ok_or("value: a number is expected")?),
        "gauge" => (MetricKind::Gauge, number().ok_or("value: a number is expected")?),
        "timer" => {
            // A number is milliseconds.
            let duration = || parse_duration(value.trim()).ok().map(|duration| duration.as_secs_f64() * 1_000.0);
            let value =
                number().or_else(duration).ok_or("value: a duration or a number of milliseconds is expected")?;
            (MetricKind::Timer, value)
        }
        other => return Err(format!("type: '{other}' is none of counter, timer, gauge")),
    };
    if kind != MetricKind::Gauge && value < 0.0 {
        return Err("value: must not be negative".to_owned());
    }
    let tags = match metric.get("tags") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(tags)) => tags.iter().map(|(key, value)| (key.clone(), text_of(value))).collect(),
        Some(_) => return Err("tags: a map is expected".to_owned()),
    };
    Ok((name, kind, value, tags))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_numbers_and_those_of_timers_durations_too() {
        let value = |metric: Value| read(&metric).map(|(_, kind, value, _)| (kind, value));
        let metric = |kind: &str, value: Value| json!({"type": kind, "name": "m", "value": value});
        assert_eq!(value(metric("counter", json!(3))), Ok((MetricKind::Counter, 3.0)));
        assert_eq!(value(metric("COUNTER", json!(" 3.5 "))), Ok((MetricKind::Counter, 3.5)));
        assert_eq!(value(metric("gauge", json!("-2"))), Ok((MetricKind::Gauge, -2.0)));
        assert_eq!(value(metric("timer", json!("PT1.5S"))), Ok((MetricKind::Timer, 1_500.0)));
        assert_eq!(value(metric("timer", json!(250))), Ok((MetricKind::Timer, 250.0)));
        for (metric, reason) in [
            (metric("counter", json!("many")), "value: a number is expected"),
            (metric("counter", json!(-1)), "value: must not be negative"),
            (metric("counter", json!("NaN")), "value: a number is expected"),
            (metric("timer", json!("soon")), "value: a duration or a number of milliseconds is expected"),
            (metric("histogram", json!(1)), "type: 'histogram' is none of counter, timer, gauge"),
            (json!({"type": "counter", "value": 1}), "name: must not be null"),
            (json!({"type": "counter", "name": "m"}), "value: must not be null"),
            (json!({"type": "counter", "name": "m", "value": 1, "tags": [1]}), "tags: a map is expected"),
        ] {
            assert_eq!(read(&metric).map(|_| ()), Err(reason.to_owned()));
        }
    }
}
