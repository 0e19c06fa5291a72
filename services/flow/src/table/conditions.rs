//! Conditions that are built.

use super::{Family, Kind, PropertySpec, TaskType, core, old_condition};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

/// A condition with both of its older names.
macro_rules! condition {
    ($family:ident, $name:literal, $properties:expr) => {
        TaskType {
            name: concat!("io.kestra.plugin.core.condition.", $name),
            aliases: &[
                concat!("io.kestra.core.models.conditions.types.", $name, "Condition"),
                concat!("io.kestra.plugin.core.condition.", $name, "Condition"),
            ],
            family: Family::$family,
            inline: false,
            properties: $properties,
        }
    };
}

const DAYS: Kind = Kind::Choice(&["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]);

pub(super) const TYPES: &[TaskType] = &[
    condition!(
        DateTimeBetween,
        "DateTimeBetween",
        &[new("date", Kind::Text), new("after", Kind::Text), new("before", Kind::Text)]
    ),
    condition!(
        TimeBetween,
        "TimeBetween",
        &[new("date", Kind::Text), new("after", Kind::Text), new("before", Kind::Text)]
    ),
    condition!(DayWeek, "DayWeek", &[new("date", Kind::Text), new("dayOfWeek", DAYS).required()]),
    condition!(
        DayWeekInMonth,
        "DayWeekInMonth",
        &[
            new("date", Kind::Text),
            new("dayOfWeek", DAYS).required(),
            new("dayInMonth", Kind::Choice(&["FIRST", "SECOND", "THIRD", "FOURTH", "LAST"])).required(),
        ]
    ),
    condition!(Weekend, "Weekend", &[new("date", Kind::Text)]),
    condition!(
        PublicHoliday,
        "PublicHoliday",
        &[new("date", Kind::Text), new("country", Kind::Text), new("subDivision", Kind::Text)]
    ),
    condition!(ExecutionStatus, "ExecutionStatus", &[new("in", Kind::List), new("notIn", Kind::List)]),
    condition!(
        ExecutionNamespace,
        "ExecutionNamespace",
        &[
            new("namespace", Kind::Text).required(),
            new("comparison", Kind::Choice(&["EQUALS", "PREFIX", "SUFFIX"])),
            new("prefix", Kind::Bool),
        ]
    ),
    condition!(
        ExecutionFlow,
        "ExecutionFlow",
        &[new("namespace", Kind::Text).required(), new("flowId", Kind::Text).required()]
    ),
    condition!(ExecutionLabels, "ExecutionLabels", &[new("labels", Kind::Nested).required()]),
    condition!(ExecutionOutputs, "ExecutionOutputs", &[new("expression", Kind::Text).required()]),
    condition!(HasRetryAttempt, "HasRetryAttempt", &[new("in", Kind::List), new("notIn", Kind::List)]),
    TaskType {
        name: core!("condition.FlowCondition"),
        aliases: &[old_condition!("FlowCondition")],
        family: Family::ListeningFlow,
        inline: false,
        properties: &[new("namespace", Kind::Text).required(), new("flowId", Kind::Text).required()],
    },
    TaskType {
        name: core!("condition.FlowNamespaceCondition"),
        aliases: &[old_condition!("FlowNamespaceCondition")],
        family: Family::ListeningNamespace,
        inline: false,
        properties: &[new("namespace", Kind::Text).required(), new("prefix", Kind::Bool)],
    },
    TaskType {
        name: core!("condition.MultipleCondition"),
        aliases: &[old_condition!("MultipleCondition")],
        family: Family::Multiple,
        inline: false,
        properties: &[
            new("id", Kind::Literal).required(),
            new("conditions", Kind::Nested).required(),
            new("timeWindow", Kind::Nested),
            new("resetOnSuccess", Kind::Bool),
            // Deprecated: the same of `timeWindow`.
            new("window", Kind::Duration),
            new("windowAdvance", Kind::Duration),
        ],
    },
    condition!(Or, "Or", &[new("conditions", Kind::Nested).required()]),
    condition!(Not, "Not", &[new("conditions", Kind::Nested).required()]),
    TaskType {
        name: core!("condition.Expression"),
        aliases: &[old_condition!("VariableCondition"), core!("condition.ExpressionCondition")],
        family: Family::Expression,
        inline: false,
        properties: &[new("expression", Kind::Text).required()],
    },
];
