//! Slack and what speaks its hooks (notifications reference 3.1).

use std::sync::LazyLock;

use async_trait::async_trait;
use regex::Regex;
use serde_json::{Value, json};
use windhover_types::{JsonMap, State};

use super::{
    execution::{Notice, set_text},
    send::post_json,
};
use crate::{Task, TaskContext, TaskError, TaskOutcome};

/// Sends what the flow gives.
pub(crate) struct SlackIncomingWebhook;

/// Tells about an execution.
pub(crate) struct SlackExecution;

#[async_trait]
impl Task for SlackIncomingWebhook {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let body = match (context.text("payload").await?, context.text("messageText").await?) {
            (Some(payload), _) => serde_json::from_str::<Value>(&payload)
                .map_err(|error| TaskError::failed(format!("payload: this is no JSON: {error}")))?,
            (None, Some(text)) => message(&text),
            (None, None) => return Err(TaskError::failed("Either 'messageText' or 'payload' must be provided")),
        };
        post_json(context, body.to_string()).await?;
        Ok(TaskOutcome::success(None))
    }
}

#[async_trait]
impl Task for SlackExecution {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let notice = Notice::load(context).await?;
        let mut body = execution_message(&notice);
        for (key, property) in
            [("channel", "channel"), ("username", "username"), ("icon_url", "iconUrl"), ("icon_emoji", "iconEmoji")]
        {
            set_text(context, &mut body, key, property).await?;
        }
        post_json(context, Value::Object(body).to_string()).await?;
        Ok(TaskOutcome::success(None))
    }
}

/// A text that is a JSON message is sent as it is; any other, a JSON scalar included, is wrapped.
fn message(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(message @ (Value::Object(_) | Value::Array(_))) => message,
        _ => json!({ "text": to_mrkdwn(text) }),
    }
}

/// From Markdown to Slack's marks, in this order.
fn to_mrkdwn(text: &str) -> String {
    static MARKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        [(r"\*\*(.+?)\*\*", "*$1*"), (r"__(.+?)__", "_${1}_"), (r"\[(.+?)\]\((.+?)\)", "<$2|$1>")]
            .into_iter()
            .filter_map(|(pattern, by)| Some((Regex::new(pattern).ok()?, by)))
            .collect()
    });
    MARKS.iter().fold(text.to_owned(), |text, (pattern, by)| pattern.replace_all(&text, *by).into_owned())
}

fn execution_message(notice: &Notice) -> JsonMap {
    let summary = notice.summary();
    let section = |text: &str| json!({"type": "section", "text": {"type": "mrkdwn", "text": text}});
    let mut blocks: Vec<Value> = notice.custom_message.iter().map(|text| section(text)).collect();
    let mut main = section(&summary);
    if let Some(link) = &notice.link {
        main["accessory"] = json!({"type": "button", "text": {"type": "plain_text", "text": "Details"}, "url": link});
    }
    blocks.push(main);

    let field = |title: &str, value: Value| json!({"title": title, "value": value, "short": true});
    let execution = &notice.execution;
    let mut fields = vec![
        field("Namespace", json!(execution.namespace)),
        field("Flow ID", json!(execution.flow_id)),
        field("Execution ID", json!(execution.id)),
        field("Execution Status", json!(notice.state())),
    ];
    fields.extend(notice.custom_fields.iter().map(|(title, value)| field(title, value.clone())));
    fields.push(field("Final task ID", json!(notice.last_task)));

    let color = match notice.state() {
        State::Success => "good",
        State::Warning => "warning",
        _ => "danger",
    };
    let attachment = json!({"color": color, "fields": fields, "ts": notice.start_seconds()});
    let mut body = JsonMap::new();
    body.insert("text".to_owned(), Value::String(summary));
    body.insert("blocks".to_owned(), Value::Array(blocks));
    body.insert("attachments".to_owned(), Value::Array(vec![attachment]));
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_slacks_marks_on_each_line() {
        for (text, marked) in [
            ("**a** and **b**", "*a* and *b*"),
            ("__a__ __b__", "_a_ _b_"),
            ("[here](https://x/y) [there](z)", "<https://x/y|here> <z|there>"),
            ("**a\nb**", "**a\nb**"),
        ] {
            assert_eq!(to_mrkdwn(text), marked);
        }
    }

    #[test]
    fn a_json_message_is_sent_as_it_is_and_a_scalar_is_wrapped() {
        assert_eq!(message(r#"{"blocks": []}"#), json!({"blocks": []}));
        for scalar in ["42", "true", "\"quoted\"", "null"] {
            assert_eq!(message(scalar), json!({ "text": scalar }));
        }
    }
}
