//! Triggers.

use super::TypeDoc;
use crate::table::core;

pub(super) const DOCS: &[TypeDoc] = &[
    TypeDoc {
        name: core!("trigger.Schedule"),
        doc: "Starts the flow at dates that a cron expression gives.",
        properties: &[
            ("cron", "", "Minute, hour, day of the month, month, day of the week; or `@daily` and the like."),
            ("withSeconds", "false", "The expression begins with seconds."),
            ("timezone", "", "Time zone of the dates, such as `Europe/Vienna`; the server's when it is not given."),
            (
                "recoverMissedSchedules",
                "ALL",
                "What happens to dates that were missed while nothing ran: all of them, the last one, none.",
            ),
            ("lateMaximumDelay", "", "Dates that are missed by more are skipped."),
            ("scheduleConditions", "", "Deprecated: the same as `conditions`."),
            ("backfill", "", "Deprecated: without effect."),
            ("interval", "", "Must not be there."),
        ],
        outputs: &[],
        example: "id: every_morning
type: io.kestra.plugin.core.trigger.Schedule
cron: \"0 6 * * *\"
timezone: Europe/Vienna
",
    },
    TypeDoc {
        name: core!("trigger.ScheduleOnDates"),
        doc: "Starts the flow at given dates.",
        properties: &[
            ("dates", "", "The dates, with time and zone; a new trigger also runs for those that are past."),
            ("timezone", "", "Time zone of dates without one."),
            (
                "recoverMissedSchedules",
                "ALL",
                "What happens to dates that were missed while nothing ran: all of them, the last one, none.",
            ),
            ("interval", "", "Must not be there."),
        ],
        outputs: &[],
        example: "id: on_dates
type: io.kestra.plugin.core.trigger.ScheduleOnDates
dates:
  - 2030-01-01T00:00:00Z
",
    },
    TypeDoc {
        name: core!("trigger.Flow"),
        doc: "Starts the flow when executions of other flows have come into a state.",
        properties: &[
            ("states", "", "Which states; every final one and PAUSED when it is not given."),
            (
                "inputs",
                "",
                "Inputs of the execution, by their ids; `trigger.outputs` has the outputs of the other one.",
            ),
            ("preconditions", "", "What must have happened, besides the conditions, within some time."),
            ("preconditions.id", "", "Names them; unique in the flow."),
            ("preconditions.timeWindow", "", "How long what has happened counts; a day when it is not given."),
            ("preconditions.resetOnSuccess", "true", "All must happen again before the flow starts again."),
            (
                "preconditions.flows",
                "",
                "Flows whose executions must have ended: `{namespace, flowId, states, labels}`.",
            ),
            ("preconditions.where", "", "Filters that executions must have met: `{id, operand, filters}`."),
        ],
        outputs: &[],
        example: "id: after_orders
type: io.kestra.plugin.core.trigger.Flow
states: [SUCCESS]
conditions:
  - type: io.kestra.plugin.core.condition.ExecutionFlow
    namespace: company.team
    flowId: orders
",
    },
    TypeDoc {
        name: core!("trigger.Webhook"),
        doc: "Starts the flow when its URL is called; `trigger.body`, `trigger.headers` and `trigger.parameters` hold the call.",
        properties: &[
            ("key", "", "Last part of the URL: whoever knows it can start the flow. At most 256 characters."),
            ("wait", "false", "The call is answered when the execution has ended."),
            ("returnOutputs", "false", "With `wait`: the answer is the outputs of the flow."),
            ("responseContentType", "application/json", "With `wait`: type of the answer."),
            ("responseCode", "200", "With `wait`: status of the answer."),
        ],
        outputs: &[],
        example: "id: hook
type: io.kestra.plugin.core.trigger.Webhook
key: \"{{ secret('WEBHOOK_KEY') }}\"
",
    },
];
