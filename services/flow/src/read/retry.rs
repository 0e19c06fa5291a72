//! `retry` of tasks and flows (flow model reference 1.2).

use std::time::Duration;

use super::fields::{self, Fields};
use super::report::Report;
use crate::table::{RETRY, nearest};
use crate::yaml::Node;
use crate::{Retry, RetryBehavior, RetryDelay, parse_duration};

/// Reads a retry; nothing when it cannot work.
pub(super) fn read(report: &mut Report, node: &Node, path: &str) -> Option<Retry> {
    let fields = fields::read(report, node, path, &[RETRY], "retry")?;
    let max_duration = duration(&fields, "maxDuration");
    let (interval, max_interval) = (duration(&fields, "interval"), duration(&fields, "maxInterval"));
    let mut less = |small: &str, value: Option<Duration>, large: &str, bound: Option<Duration>| {
        if let (Some(value), Some(bound)) = (value, bound)
            && value >= bound
        {
            let text = fields.literal(small).unwrap_or_default();
            let at = fields.place(small);
            report.error(&fields.path(small), at, format!("'{small}' must be less than '{large}' but is {text}"));
        }
    };
    let kind = fields.literal("type")?;
    let needed: &[&str] = match kind {
        "constant" => {
            less("interval", interval, "maxDuration", max_duration);
            &["interval"]
        }
        "exponential" => {
            less("interval", interval, "maxDuration", max_duration);
            less("interval", interval, "maxInterval", max_interval);
            &["interval", "maxInterval"]
        }
        "random" => {
            let min = duration(&fields, "minInterval");
            less("minInterval", min, "maxInterval", max_interval);
            if max_interval.is_some() {
                less("minInterval", min, "maxDuration", max_duration);
                less("maxInterval", max_interval, "maxDuration", max_duration);
            }
            &["minInterval", "maxInterval"]
        }
        other => {
            let at = fields.place("type");
            let suggestion = nearest(other, ["constant", "exponential", "random"].into_iter()).map(str::to_owned);
            report.error_with(
                &fields.path("type"),
                at,
                format!("Invalid type: {other}; retries are constant, exponential or random"),
                suggestion,
            );
            return None;
        }
    };
    for name in needed {
        if fields.get(name).is_none() {
            report.error(&fields.path(name), fields.at, format!("{name}: must not be null"));
        }
    }
    let behavior = behavior(report, &fields);
    let max_attempts = max_attempts(report, &fields);
    let delay = match kind {
        "constant" => RetryDelay::Constant { interval: interval? },
        "exponential" => RetryDelay::Exponential {
            interval: interval?,
            max_interval: max_interval?,
            factor: factor(report, &fields),
        },
        _ => RetryDelay::Random { min: duration(&fields, "minInterval")?, max: max_interval? },
    };
    let warning_on_retry = fields.bool(report, "warningOnRetry", false);
    Some(Retry { delay, max_attempts, max_duration, warning_on_retry, behavior })
}

/// A literal duration; what is none has been reported, templates are not rendered here.
fn duration(fields: &Fields<'_>, name: &str) -> Option<Duration> {
    parse_duration(fields.literal(name)?).ok()
}

fn behavior(report: &mut Report, fields: &Fields<'_>) -> RetryBehavior {
    let Some(node) = fields.get("behavior") else { return RetryBehavior::FailedTask };
    match node.scalar_text() {
        Some("RETRY_FAILED_TASK") => RetryBehavior::FailedTask,
        Some("CREATE_NEW_EXECUTION") => RetryBehavior::NewExecution,
        _ => {
            let message = "expected one of RETRY_FAILED_TASK, CREATE_NEW_EXECUTION";
            let names = ["RETRY_FAILED_TASK", "CREATE_NEW_EXECUTION"].into_iter();
            let suggestion = nearest(node.scalar_text().unwrap_or_default(), names).map(str::to_owned);
            report.error_with(&fields.path("behavior"), node.at, message, suggestion);
            RetryBehavior::FailedTask
        }
    }
}

fn max_attempts(report: &mut Report, fields: &Fields<'_>) -> Option<u32> {
    let number = fields.int(report, "maxAttempts")?;
    if number < 1 {
        let at = fields.place("maxAttempts");
        report.error(&fields.path("maxAttempts"), at, "maxAttempts: must be greater than or equal to 1");
        return None;
    }
    Some(u32::try_from(number).unwrap_or(u32::MAX))
}

fn factor(report: &mut Report, fields: &Fields<'_>) -> f64 {
    const DEFAULT: f64 = 2.0;
    let Some(node) = fields.get("delayFactor") else { return DEFAULT };
    let number = node
        .scalar_text()
        .and_then(|text| text.parse::<f64>().ok())
        .filter(|number| number.is_finite() && *number > 0.0);
    number.unwrap_or_else(|| {
        report.error(&fields.path("delayFactor"), node.at, "delayFactor: must be a number greater than 0");
        DEFAULT
    })
}
