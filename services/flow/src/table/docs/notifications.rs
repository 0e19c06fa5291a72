//! Notifications.

use super::{PropertyDoc, TypeDoc};

const URL: PropertyDoc = ("url", "", "URL of the incoming webhook; best a `secret()`.");
const PAYLOAD: PropertyDoc = ("payload", "", "The message as JSON, as Slack takes it.");
const TEXT: PropertyDoc = ("messageText", "", "The message as a text; in place of `payload`.");
const OPTIONS: PropertyDoc = ("options", "", "How the call is made.");

pub(super) const DOCS: &[TypeDoc] = &[
    TypeDoc {
        name: "io.kestra.plugin.sentry.SentryAlert",
        doc: "Sends an event to Sentry.",
        properties: &[
            ("dsn", "", "DSN of the project; best a `secret()`."),
            ("endpointType", "ENVELOPE", "Which of Sentry's endpoints takes it."),
            ("payload", "", "The event as JSON."),
            OPTIONS,
        ],
        outputs: &[],
        example: "id: tell
type: io.kestra.plugin.sentry.SentryAlert
dsn: \"{{ secret('SENTRY_DSN') }}\"
",
    },
    TypeDoc {
        name: "io.kestra.plugin.slack.SlackIncomingWebhook",
        doc: "Sends a message to Slack.",
        properties: &[URL, PAYLOAD, TEXT, OPTIONS],
        outputs: &[],
        example: "id: tell
type: io.kestra.plugin.slack.SlackIncomingWebhook
url: \"{{ secret('SLACK_WEBHOOK') }}\"
messageText: \"{{ flow.id }} has ended\"
",
    },
    TypeDoc {
        name: "io.kestra.plugin.slack.SlackExecution",
        doc: "Sends a message about an execution to Slack: its flow, state, times, and a link to it.",
        properties: &[
            URL,
            ("payload", "", "Accepted, and replaced by the message that is made."),
            ("messageText", "", "A text of one's own in place of the usual one."),
            ("templateRenderMap", "", "Further values for the message."),
            ("templateUri", "", "Accepted, and replaced by the message that is made."),
            OPTIONS,
            ("executionId", "{{ execution.id }}", "About which execution."),
            ("customFields", "", "Further fields of the message."),
            ("customMessage", "", "A sentence of one's own in the message."),
            ("channel", "", "Channel of the message."),
            ("username", "", "Who it is from."),
            ("iconUrl", "", "URL of the sender's picture."),
            ("iconEmoji", "", "Emoji in place of the picture."),
        ],
        outputs: &[],
        example: "id: tell
type: io.kestra.plugin.slack.SlackExecution
url: \"{{ secret('SLACK_WEBHOOK') }}\"
channel: \"#alerts\"
executionId: \"{{ trigger.executionId }}\"
",
    },
];
