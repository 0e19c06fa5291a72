//! What the inline tasks do (flow model reference 5.1, 5.2 and the same of 1.x).

use std::time::Instant;

use serde_json::{Value, json};
use windhover_engine::{InlineOutcome, MetricKind};
use windhover_expression::{Environment, condition::is_truthy};
use windhover_flow::{Properties, PropertyError, format_duration};
use windhover_types::Level;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inline {
    Log,
    /// The older name of Log, with `format` for `message`.
    Echo,
    Return,
    OutputValues,
    Fail,
    Sleep,
    Assert,
    Publish,
}

pub(super) type Outcome = Result<InlineOutcome, PropertyError>;

/// Renders what the task needs and says what comes of it. An error of rendering is the attempt's failure, unless it
/// asks for something to be loaded first.
pub(crate) fn run(task: Inline, properties: &Properties, environment: &Environment<'_>) -> Outcome {
    match task {
        Inline::Log => log("message", properties, environment),
        Inline::Echo => log("format", properties, environment),
        Inline::Return => give_back(properties, environment),
        Inline::OutputValues => output_values(properties, environment),
        Inline::Fail => fail(properties, environment),
        Inline::Sleep => sleep(properties, environment),
        Inline::Assert => assert(properties, environment),
        Inline::Publish => super::publish::publish(properties, environment),
    }
}

fn log(property: &str, properties: &Properties, environment: &Environment<'_>) -> Outcome {
    let level = properties.level("level", environment)?.unwrap_or(Level::Info);
    // A text that renders to a list is one message: only a list in the source is several.
    let messages = match properties
        .get(property)
        .map(|value| (value, matches!(value, Properties::Literal(v) if !v.is_string())))
    {
        None => return Err(PropertyError::Missing { property: property.to_owned() }),
        Some((Properties::Map(_), _)) | Some((_, true)) => return Ok(failed("Invalid message type")),
        Some(_) => match properties.value(property, environment)? {
            Some(Value::Array(items)) => items.iter().map(windhover_flow::text_of).collect(),
            Some(value) => vec![windhover_flow::text_of(&value)],
            None => Vec::new(),
        },
    };
    Ok(InlineOutcome {
        logs: messages.into_iter().map(|message| (level, message)).collect(),
        ..InlineOutcome::default()
    })
}

fn give_back(properties: &Properties, environment: &Environment<'_>) -> Outcome {
    let started = Instant::now();
    let value = properties.text("format", environment)?;
    let length = value.as_deref().map_or(0, |value| value.encode_utf16().count());
    let took = started.elapsed().as_secs_f64() * 1_000.0;
    Ok(InlineOutcome {
        logs: value.iter().map(|value| (Level::Debug, value.clone())).collect(),
        outputs: Some(json!({ "value": value })),
        metrics: vec![
            ("length".to_owned(), MetricKind::Counter, length as f64, Vec::new()),
            ("duration".to_owned(), MetricKind::Timer, took, Vec::new()),
        ],
        ..InlineOutcome::default()
    })
}

fn output_values(properties: &Properties, environment: &Environment<'_>) -> Outcome {
    let values = properties.map("values", environment)?.unwrap_or_default();
    Ok(InlineOutcome { outputs: Some(json!({ "values": values })), ..InlineOutcome::default() })
}

fn fail(properties: &Properties, environment: &Environment<'_>) -> Outcome {
    let message = || Ok(properties.text("errorMessage", environment)?.unwrap_or_else(|| "Task failure".to_owned()));
    match properties.text("condition", environment)? {
        None => Ok(failed(message()?)),
        Some(condition) if is_truthy(condition.trim()) => {
            Ok(InlineOutcome { logs: vec![(Level::Error, message()?)], ..failed("Fail on a condition") })
        }
        Some(_) => Ok(InlineOutcome::default()),
    }
}

fn sleep(properties: &Properties, environment: &Environment<'_>) -> Outcome {
    let duration = properties.duration("duration", environment)?;
    let duration = duration.ok_or_else(|| PropertyError::Missing { property: "duration".to_owned() })?;
    let logs = vec![(Level::Info, format!("Waiting for {}", format_duration(duration)))];
    Ok(InlineOutcome { sleep: Some(duration), logs, ..InlineOutcome::default() })
}

fn assert(properties: &Properties, environment: &Environment<'_>) -> Outcome {
    let Some(Properties::List(conditions)) = properties.get("conditions") else {
        return Err(PropertyError::Missing { property: "conditions".to_owned() });
    };
    let mut logs = Vec::new();
    let mut failures = 0_usize;
    for condition in conditions {
        let source = windhover_flow::text_of(&condition.source());
        // One that cannot be rendered fails for itself and does not hide the others.
        match condition.render(environment) {
            Ok(value) if is_truthy(windhover_flow::text_of(&value).trim()) => continue,
            Ok(_) => logs.push((Level::Error, format!("Assertion `{source}` failed!"))),
            Err(error) => {
                let error = PropertyError::Render { property: "conditions".to_owned(), source: error };
                if error.needs().is_some() {
                    return Err(error);
                }
                logs.push((Level::Error, format!("Assertion `{source}` failed: {error}")));
            }
        }
        failures += 1;
    }
    let count = |name: &str, value: usize| (name.to_owned(), MetricKind::Counter, value as f64, Vec::new());
    let metrics = vec![count("success", conditions.len() - failures), count("failed", failures)];
    if failures == 0 {
        return Ok(InlineOutcome { metrics, ..InlineOutcome::default() });
    }
    if let Some(message) = properties.text("errorMessage", environment)? {
        logs.push((Level::Error, message));
    }
    Ok(InlineOutcome { logs, metrics, ..failed(format!("{failures} assertion(s) failed!")) })
}

pub(super) fn failed(message: impl Into<String>) -> InlineOutcome {
    InlineOutcome { error: Some(message.into()), ..InlineOutcome::default() }
}
