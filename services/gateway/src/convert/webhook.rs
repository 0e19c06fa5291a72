//! An execution as the HTTP side shows it (operations reference 8.11), with `url` (flow model 1.x reference 6.3).

use serde_json::{Value, json};
use windhover_engine::Execution;
use windhover_types::{JsonMap, StateHistory, Timestamp};

/// The JSON that answers a webhook: the execution as it was created, and where to look at it.
pub(crate) fn webhook_answer(execution: &Execution, url: &str, now: Timestamp) -> Value {
    let mut answer = JsonMap::new();
    answer.insert("tenantId".into(), json!(execution.tenant.as_str()));
    answer.insert("id".into(), json!(execution.id));
    answer.insert("namespace".into(), json!(execution.namespace));
    answer.insert("flowId".into(), json!(execution.flow_id));
    answer.insert("flowRevision".into(), json!(execution.flow_revision));
    if !execution.inputs.is_empty() {
        answer.insert("inputs".into(), json!(*execution.inputs));
    }
    if let Some(outputs) = execution.outputs.as_ref().filter(|outputs| !outputs.is_empty()) {
        answer.insert("outputs".into(), json!(outputs));
    }
    let labels: Vec<_> = execution.labels.iter().map(|label| json!({"key": label.key, "value": label.value})).collect();
    answer.insert("labels".into(), Value::Array(labels));
    if let Some(variables) = &execution.variables {
        answer.insert("variables".into(), json!(**variables));
    }
    answer.insert("state".into(), state(&execution.state, now));
    answer.insert("originalId".into(), json!(execution.original_id));
    if let Some(trigger) = &execution.trigger {
        answer.insert(
            "trigger".into(),
            json!({"id": trigger.id, "type": trigger.type_name, "variables": trigger.variables}),
        );
    }
    answer.insert("deleted".into(), json!(false));
    answer.insert(
        "metadata".into(),
        json!({"attemptNumber": 1, "originalCreatedDate": execution.state.started().to_string()}),
    );
    if let Some(at) = execution.schedule_time {
        answer.insert("scheduleDate".into(), json!(at.to_string()));
    }
    answer.insert("url".into(), json!(url));
    Value::Object(answer)
}

fn state(history: &StateHistory, now: Timestamp) -> Value {
    let entries: Vec<_> =
        history.entries().iter().map(|change| json!({"state": change.state, "date": change.at.to_string()})).collect();
    let until = history.ended().unwrap_or(now);
    let mut state = json!({
        "current": history.current(),
        "histories": entries,
        "duration": duration(until.since(history.started())),
        "startDate": history.started().to_string(),
    });
    if let (Some(ended), Value::Object(map)) = (history.ended(), &mut state) {
        map.insert("endDate".into(), json!(ended.to_string()));
    }
    state
}

/// ISO-8601 in hours, minutes and seconds, to the millisecond, as Java prints it.
fn duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds, millis) =
        (seconds / 3_600, seconds / 60 % 60, seconds % 60, duration.subsec_millis());
    let mut text = String::from("PT");
    if hours > 0 {
        text.push_str(&format!("{hours}H"));
    }
    if minutes > 0 {
        text.push_str(&format!("{minutes}M"));
    }
    if millis > 0 {
        let fraction = format!("{millis:03}");
        text.push_str(&format!("{seconds}.{}S", fraction.trim_end_matches('0')));
    } else if seconds > 0 || text.len() == 2 {
        text.push_str(&format!("{seconds}S"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn durations_are_printed_as_java_does() {
        for (millis, text) in [
            (0, "PT0S"),
            (1_706, "PT1.706S"),
            (500, "PT0.5S"),
            (60_000, "PT1M"),
            (3_600_000, "PT1H"),
            (90_061_010, "PT25H1M1.01S"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }
}
