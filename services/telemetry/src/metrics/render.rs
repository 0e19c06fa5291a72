//! The text that Prometheus reads (operations reference 1.6) and the JSON of one metric (2.4).

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};

use super::{
    names,
    registry::{Kind, Registry, Sample, SampleValue, Snapshot},
};

/// What one exposed family consists of.
struct Family {
    name: String,
    kind: &'static str,
    help: &'static str,
    lines: String,
}

impl Registry {
    /// Every series as `text/plain; version=0.0.4`. Families sorted by name, labels by key.
    pub fn prometheus(&self) -> String {
        let mut families: Vec<Family> = self.snapshots().iter().flat_map(families_of).collect();
        families.sort_by(|a, b| a.name.cmp(&b.name));
        let mut text = String::new();
        for Family { name, kind, help, lines } in families {
            // Writing to a string cannot fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}");
        }
        text
    }

    /// The document of `GET /metrics/{name}`: series that have all of `tags`, merged. `None`: no such series.
    pub fn describe(&self, name: &str, tags: &[(&str, &str)]) -> Option<Value> {
        let Snapshot { name, kind, samples } = self.snapshot_of(name)?;
        let has =
            |sample: &&Sample| tags.iter().all(|tag| sample.tags.iter().any(|(k, v)| (k.as_str(), v.as_str()) == *tag));
        let samples: Vec<&Sample> = samples.iter().filter(has).collect();
        if samples.is_empty() {
            return None;
        }
        let mut available: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, value) in samples.iter().flat_map(|sample| &sample.tags) {
            if !tags.iter().any(|(fixed, _)| fixed == key) {
                let values = available.entry(key).or_default();
                if !values.contains(&value.as_str()) {
                    values.push(value);
                }
            }
        }
        let available: Vec<Value> =
            available.into_iter().map(|(tag, values)| json!({"tag": tag, "values": values})).collect();
        let mut document =
            json!({"name": name, "measurements": measurements(kind, &samples), "availableTags": available});
        if kind == Kind::Timer {
            document["baseUnit"] = json!("seconds");
        }
        let description = names::description(&name);
        if !description.is_empty() {
            document["description"] = json!(description);
        }
        Some(document)
    }
}

fn measurements(kind: Kind, samples: &[&Sample]) -> Value {
    let (mut number, mut counts, mut sums, mut maximum) = (0.0, 0, 0.0, 0.0_f64);
    for sample in samples {
        match sample.value {
            SampleValue::Number(value) => number += value,
            SampleValue::Timer { count, sum, max } => {
                counts += count;
                sums += sum;
                maximum = maximum.max(max);
            }
        }
    }
    let one = |statistic: &str, value: f64| json!({"statistic": statistic, "value": value});
    let three = |total: &str| json!([one("COUNT", counts as f64), one(total, sums), one("MAX", maximum)]);
    match kind {
        Kind::Counter => json!([one("COUNT", number)]),
        Kind::Gauge => json!([one("VALUE", number)]),
        Kind::Timer => three("TOTAL_TIME"),
        Kind::Summary => three("TOTAL"),
    }
}

fn families_of(snapshot: &Snapshot) -> Vec<Family> {
    let help = names::description(&snapshot.name);
    let stem = exposed(&snapshot.name);
    let with_suffix = |suffix: &str| if stem.ends_with(suffix) { stem.clone() } else { format!("{stem}{suffix}") };
    match snapshot.kind {
        Kind::Counter => vec![numbers(with_suffix("_total"), "counter", help, snapshot)],
        Kind::Gauge => vec![numbers(stem, "gauge", help, snapshot)],
        Kind::Timer => timed(with_suffix("_seconds"), help, snapshot),
        Kind::Summary => timed(stem, help, snapshot),
    }
}

fn numbers(name: String, kind: &'static str, help: &'static str, snapshot: &Snapshot) -> Family {
    let mut lines = String::new();
    for sample in &snapshot.samples {
        if let SampleValue::Number(value) = sample.value {
            line(&mut lines, &name, "", &sample.tags, &number(value));
        }
    }
    Family { name, kind, help, lines }
}

fn timed(name: String, help: &'static str, snapshot: &Snapshot) -> Vec<Family> {
    let (mut totals, mut maxima) = (String::new(), String::new());
    let max_name = format!("{name}_max");
    for sample in &snapshot.samples {
        if let SampleValue::Timer { count, sum, max } = sample.value {
            line(&mut totals, &name, "_count", &sample.tags, &count.to_string());
            line(&mut totals, &name, "_sum", &sample.tags, &number(sum));
            line(&mut maxima, &max_name, "", &sample.tags, &number(max));
        }
    }
    vec![
        Family { name, kind: "summary", help, lines: totals },
        Family { name: max_name, kind: "gauge", help, lines: maxima },
    ]
}

fn line(text: &mut String, name: &str, suffix: &str, tags: &[(String, String)], value: &str) {
    text.push_str(name);
    text.push_str(suffix);
    for (index, (key, value)) in tags.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        text.push_str(&exposed(key));
        text.push_str("=\"");
        for c in value.chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                c => text.push(c),
            }
        }
        text.push('"');
    }
    if !tags.is_empty() {
        text.push('}');
    }
    text.push(' ');
    text.push_str(value);
    text.push('\n');
}

/// Whole numbers keep their fraction (`3.0`), as the reference writes them.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{value:?}")
    }
}

/// A name with what Prometheus does not allow replaced.
fn exposed(name: &str) -> String {
    let allowed = |(index, c): (usize, char)| {
        let fits = c.is_ascii_alphabetic() || c == '_' || c == ':' || (index > 0 && c.is_ascii_digit());
        if fits { c } else { '_' }
    };
    name.chars().enumerate().map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn registry() -> Registry {
        Registry::new(vec![("zone".to_owned(), "a".to_owned())], 3, Duration::from_secs(60))
    }

    #[test]
    fn the_text_is_the_references() {
        let registry = registry();
        registry
            .counter("kestra.executor.execution.started.count", &[("state", "CREATED"), ("flow_id", "he\"l\\lo")])
            .add(3.0);
        registry.timer("kestra.executor.execution.duration", &[]).record(Duration::from_millis(1_500));
        registry.gauge("9lives.left", &[]).set(-2.0);
        let expected = r#"# HELP _lives_left 
# TYPE _lives_left gauge
_lives_left{zone="a"} -2.0
# HELP kestra_executor_execution_duration_seconds From the first to the last state of ended executions
# TYPE kestra_executor_execution_duration_seconds summary
kestra_executor_execution_duration_seconds_count{zone="a"} 1
kestra_executor_execution_duration_seconds_sum{zone="a"} 1.5
# HELP kestra_executor_execution_duration_seconds_max From the first to the last state of ended executions
# TYPE kestra_executor_execution_duration_seconds_max gauge
kestra_executor_execution_duration_seconds_max{zone="a"} 1.5
# HELP kestra_executor_execution_started_count_total Executions that were taken up
# TYPE kestra_executor_execution_started_count_total counter
kestra_executor_execution_started_count_total{flow_id="he\"l\\lo",state="CREATED",zone="a"} 3.0
"#;
        assert_eq!(registry.prometheus(), expected);
    }

    #[test]
    fn a_metric_is_described_with_its_series_merged() {
        let registry = registry();
        for (flow, seconds) in [("a", 1), ("b", 2)] {
            registry.timer("t", &[("flow", flow)]).record(Duration::from_secs(seconds));
        }
        let all = registry.describe("t", &[]).expect("it exists");
        assert_eq!(all["measurements"][1], json!({"statistic": "TOTAL_TIME", "value": 3.0}));
        assert_eq!(all["availableTags"][0], json!({"tag": "flow", "values": ["a", "b"]}));
        let one = registry.describe("t", &[("flow", "b"), ("zone", "a")]).expect("it exists");
        assert_eq!((&one["measurements"][2]["value"], &one["availableTags"]), (&json!(2.0), &json!([])));
        assert_eq!(registry.describe("t", &[("flow", "c")]), None);
    }

    #[test]
    fn a_name_takes_one_kind_and_a_bounded_number_of_series() {
        let registry = registry();
        for number in 0..10 {
            registry.counter("c", &[("id", &number.to_string())]).increment();
        }
        registry.gauge("c", &[]).set(7.0);
        assert_eq!(registry.samples("c").len(), 3);
        registry.counter("c", &[("id", "0")]).increment();
        assert_eq!(registry.samples("c")[0].value, SampleValue::Number(2.0));
    }
}
