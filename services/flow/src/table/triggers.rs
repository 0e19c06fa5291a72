//! Triggers that are built.

use super::{Family, Kind, PropertySpec, TaskType, call_properties, core, http, old_trigger};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

/// `preconditions` of a Flow trigger (flow model reference 6.5).
pub const PRECONDITIONS: &[PropertySpec] = &[
    new("id", Kind::Literal).required(),
    new("timeWindow", Kind::Nested),
    new("resetOnSuccess", Kind::Bool),
    new("flows", Kind::Nested),
    new("where", Kind::Nested),
];

/// Flow model reference 7.3.
pub const TIME_WINDOW: &[PropertySpec] = &[
    new("type", Kind::Choice(&["DURATION_WINDOW", "SLIDING_WINDOW", "DAILY_TIME_WINDOW", "DAILY_TIME_DEADLINE"])),
    new("deadline", Kind::Literal),
    new("startTime", Kind::Literal),
    new("endTime", Kind::Literal),
    new("window", Kind::Duration),
    new("windowAdvance", Kind::Duration),
];

/// An entry of `preconditions.flows`.
pub const FLOW_PRECONDITION: &[PropertySpec] = &[
    new("namespace", Kind::Literal).required(),
    new("flowId", Kind::Literal),
    new("states", Kind::Nested),
    new("labels", Kind::Nested),
];

/// An entry of `preconditions.where`.
pub const FILTER_PRECONDITION: &[PropertySpec] = &[
    new("id", Kind::Literal).required(),
    new("operand", Kind::Choice(&["AND", "OR"])),
    new("filters", Kind::Nested).required(),
];

/// A filter of such an entry.
pub const FILTER: &[PropertySpec] = &[
    new("field", Kind::Choice(&["FLOW_ID", "NAMESPACE", "STATE", "EXPRESSION"])).required(),
    new(
        "type",
        Kind::Choice(&[
            "EQUAL_TO",
            "NOT_EQUAL_TO",
            "IN",
            "NOT_IN",
            "IS_TRUE",
            "IS_FALSE",
            "IS_NULL",
            "IS_NOT_NULL",
            "STARTS_WITH",
            "ENDS_WITH",
            "REGEX",
            "CONTAINS",
        ]),
    )
    .required(),
    new("value", Kind::Text),
    new("values", Kind::List),
];

const RECOVER: Kind = Kind::Choice(&["ALL", "LAST", "NONE"]);

pub(super) const TYPES: &[TaskType] = &[
    TaskType {
        name: core!("trigger.Schedule"),
        aliases: &[old_trigger!("Schedule")],
        family: Family::Schedule,
        inline: false,
        properties: &[
            new("cron", Kind::Literal).required(),
            new("withSeconds", Kind::Bool),
            new("timezone", Kind::Literal),
            new("inputs", Kind::Map),
            new("recoverMissedSchedules", RECOVER),
            new("lateMaximumDelay", Kind::Duration),
            // Deprecated: the same as `conditions`.
            new("scheduleConditions", Kind::Nested),
            // Deprecated: without effect.
            new("backfill", Kind::Any),
            // Of polling triggers; must be absent.
            new("interval", Kind::Any),
        ],
    },
    TaskType {
        name: core!("trigger.ScheduleOnDates"),
        aliases: &[],
        family: Family::ScheduleOnDates,
        inline: false,
        properties: &[
            new("dates", Kind::List).required(),
            new("timezone", Kind::Literal),
            new("inputs", Kind::Map),
            new("recoverMissedSchedules", RECOVER),
            new("interval", Kind::Any),
        ],
    },
    TaskType {
        name: core!("trigger.Flow"),
        aliases: &[old_trigger!("Flow")],
        family: Family::FlowTrigger,
        inline: false,
        properties: &[new("states", Kind::Nested), new("inputs", Kind::Map), new("preconditions", Kind::Nested)],
    },
    TaskType {
        name: core!("trigger.Webhook"),
        aliases: &[old_trigger!("Webhook")],
        family: Family::Webhook,
        inline: false,
        properties: &[
            new("key", Kind::Text).required(),
            new("inputs", Kind::Map),
            new("wait", Kind::Bool),
            // These act only with `wait`.
            new("returnOutputs", Kind::Bool),
            new("responseContentType", Kind::Choice(&["application/json", "text/plain"])),
            new("responseCode", Kind::Int),
        ],
    },
    TaskType {
        name: core!("http.Trigger"),
        aliases: &["io.kestra.plugin.fs.http.Trigger"],
        family: Family::HttpTrigger,
        inline: false,
        properties: HTTP_TRIGGER,
    },
];

/// Flow model reference 6.7.
pub const HTTP_TRIGGER: &[PropertySpec] =
    call_properties![new("interval", Kind::Duration), new("responseCondition", Kind::Text); http::ENCRYPT_BODY];
