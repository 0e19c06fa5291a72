//! Notification tasks (notifications reference 1.1): the newer names are canonical, the older ones aliases.

use super::{Family, Kind, PropertySpec, Role, TaskType};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

/// Notifications reference 1.3.
const OPTIONS: &[PropertySpec] = &[
    new("connectTimeout", Kind::Duration),
    new("readTimeout", Kind::Duration),
    new("readIdleTimeout", Kind::Duration),
    new("connectionPoolIdleTimeout", Kind::Duration),
    new("maxContentLength", Kind::Int),
    new("defaultCharset", Kind::Text),
    new("headers", Kind::Map),
];

/// A task that is known by its new and its old name and is not built yet.
macro_rules! unbuilt {
    ($(($new:literal, $old:literal)),+ $(,)?) => {
        &[$(TaskType {
            name: concat!("io.kestra.plugin.", $new),
            aliases: &[concat!("io.kestra.plugin.notifications.", $old)],
            family: Family::Unbuilt(Role::Task),
            inline: false,
            properties: &[],
        }),+]
    };
}

pub(super) const BUILT: &[TaskType] = &[
    TaskType {
        name: "io.kestra.plugin.sentry.SentryAlert",
        aliases: &["io.kestra.plugin.notifications.sentry.SentryAlert"],
        family: Family::Runnable,
        inline: false,
        properties: &[
            new("dsn", Kind::Text).required(),
            new("endpointType", Kind::Choice(&["ENVELOPE", "STORE"])),
            new("payload", Kind::Text),
            new("options", Kind::Object(OPTIONS)),
        ],
    },
    TaskType {
        name: "io.kestra.plugin.slack.SlackIncomingWebhook",
        aliases: &["io.kestra.plugin.notifications.slack.SlackIncomingWebhook"],
        family: Family::Runnable,
        inline: false,
        properties: &[
            new("url", Kind::Text).required(),
            new("payload", Kind::Text),
            new("messageText", Kind::Text),
            new("options", Kind::Object(OPTIONS)),
        ],
    },
    TaskType {
        name: "io.kestra.plugin.slack.SlackExecution",
        aliases: &["io.kestra.plugin.notifications.slack.SlackExecution"],
        family: Family::Runnable,
        inline: false,
        properties: &[
            new("url", Kind::Text).required(),
            // Accepted and overwritten by the message that is built (notifications reference 2.1).
            new("payload", Kind::Text),
            new("messageText", Kind::Text),
            new("templateRenderMap", Kind::Map),
            new("templateUri", Kind::Text),
            new("options", Kind::Object(OPTIONS)),
            new("executionId", Kind::Text),
            new("customFields", Kind::Map),
            new("customMessage", Kind::Text),
            new("channel", Kind::Text),
            new("username", Kind::Text),
            new("iconUrl", Kind::Text),
            new("iconEmoji", Kind::Text),
        ],
    },
];

pub(super) const UNBUILT: &[TaskType] = unbuilt![
    ("discord.DiscordIncomingWebhook", "discord.DiscordIncomingWebhook"),
    ("discord.DiscordExecution", "discord.DiscordExecution"),
    ("googleworkspace.chat.GoogleChatIncomingWebhook", "google.GoogleChatIncomingWebhook"),
    ("googleworkspace.chat.GoogleChatExecution", "google.GoogleChatExecution"),
    ("microsoft365.teams.TeamsIncomingWebhook", "teams.TeamsIncomingWebhook"),
    ("microsoft365.teams.TeamsExecution", "teams.TeamsExecution"),
    ("zulip.ZulipIncomingWebhook", "zulip.ZulipIncomingWebhook"),
    ("zulip.ZulipExecution", "zulip.ZulipExecution"),
    ("telegram.TelegramSend", "telegram.TelegramSend"),
    ("telegram.TelegramExecution", "telegram.TelegramExecution"),
    ("line.LineExecution", "line.LineExecution"),
    ("meta.messenger.MessengerExecution", "messenger.MessengerExecution"),
    ("meta.whatsapp.WhatsAppIncomingWebhook", "whatsapp.WhatsAppIncomingWebhook"),
    ("meta.whatsapp.WhatsAppExecution", "whatsapp.WhatsAppExecution"),
    ("x.XExecution", "x.XExecution"),
    ("opsgenie.OpsgenieAlert", "opsgenie.OpsgenieAlert"),
    ("opsgenie.OpsgenieExecution", "opsgenie.OpsgenieExecution"),
    ("pagerduty.PagerDutyAlert", "pagerduty.PagerDutyAlert"),
    ("pagerduty.PagerDutyExecution", "pagerduty.PagerDutyExecution"),
    ("squadcast.SquadcastIncomingWebhook", "squadcast.SquadcastIncomingWebhook"),
    ("squadcast.SquadcastExecution", "squadcast.SquadcastExecution"),
    ("zenduty.ZendutyAlert", "zenduty.ZendutyAlert"),
    ("zenduty.ZendutyExecution", "zenduty.ZendutyExecution"),
    ("sentry.SentryExecution", "sentry.SentryExecution"),
    ("twilio.notify.TwilioAlert", "twilio.TwilioAlert"),
    ("twilio.notify.TwilioExecution", "twilio.TwilioExecution"),
    ("twilio.sendgrid.SendGridMailSend", "sendgrid.SendGridMailSend"),
    ("twilio.sendgrid.SendGridMailExecution", "sendgrid.SendGridMailExecution"),
    ("email.MailSend", "mail.MailSend"),
    ("email.MailExecution", "mail.MailExecution"),
];

pub(super) const TRIGGERS: &[TaskType] = &[
    TaskType {
        name: "io.kestra.plugin.email.MailReceivedTrigger",
        aliases: &["io.kestra.plugin.notifications.mail.MailReceivedTrigger"],
        family: Family::Unbuilt(Role::Trigger),
        inline: false,
        properties: &[],
    },
    TaskType {
        name: "io.kestra.plugin.email.RealTimeTrigger",
        aliases: &["io.kestra.plugin.notifications.mail.RealTimeTrigger"],
        family: Family::Unbuilt(Role::Trigger),
        inline: false,
        properties: &[],
    },
];
