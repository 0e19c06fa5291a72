//! Conditions of triggers and listeners.

use super::{PropertyDoc, TypeDoc};
use crate::table::core;

const DATE: PropertyDoc = ("date", "{{ trigger.date }}", "The date that is looked at.");

pub(super) const DOCS: &[TypeDoc] = &[
    TypeDoc {
        name: core!("condition.DateTimeBetween"),
        doc: "Holds when a date is after one date, before another, or between them.",
        properties: &[
            DATE,
            ("after", "", "With time and zone; one of both is needed."),
            ("before", "", "With time and zone; one of both is needed."),
        ],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.DateTimeBetween
after: \"2030-01-01T00:00:00Z\"
",
    },
    TypeDoc {
        name: core!("condition.TimeBetween"),
        doc: "Holds at certain times of the day.",
        properties: &[
            DATE,
            ("after", "", "Time with its offset; after `before`, the span goes over midnight."),
            ("before", "", "Time with its offset."),
        ],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.TimeBetween
after: \"08:00:00+01:00\"
before: \"18:00:00+01:00\"
",
    },
    TypeDoc {
        name: core!("condition.DayWeek"),
        doc: "Holds on a day of the week.",
        properties: &[DATE, ("dayOfWeek", "", "The day.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.DayWeek
dayOfWeek: MONDAY
",
    },
    TypeDoc {
        name: core!("condition.DayWeekInMonth"),
        doc: "Holds on a day of the week of a certain week of the month.",
        properties: &[DATE, ("dayOfWeek", "", "The day."), ("dayInMonth", "", "Which of them in the month.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.DayWeekInMonth
dayOfWeek: MONDAY
dayInMonth: FIRST
",
    },
    TypeDoc {
        name: core!("condition.Weekend"),
        doc: "Holds on Saturdays and Sundays.",
        properties: &[DATE],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.Weekend
",
    },
    TypeDoc {
        name: core!("condition.PublicHoliday"),
        doc: "Holds on public holidays.",
        properties: &[
            DATE,
            ("country", "", "ISO code of the country, such as `AT`."),
            ("subDivision", "", "Part of the country."),
        ],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.PublicHoliday
country: FR
",
    },
    TypeDoc {
        name: core!("condition.ExecutionStatus"),
        doc: "Holds when the other execution is in one of some states.",
        properties: &[("in", "", "These states."), ("notIn", "", "None of these states.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.ExecutionStatus
in: [FAILED, WARNING]
",
    },
    TypeDoc {
        name: core!("condition.ExecutionNamespace"),
        doc: "Holds when the other execution is of a namespace.",
        properties: &[
            ("namespace", "", "The namespace, or a part of it."),
            ("comparison", "EQUALS", "Equal, or how the other one begins or ends."),
            ("prefix", "false", "Older form of `comparison: PREFIX`."),
        ],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.ExecutionNamespace
namespace: company
comparison: PREFIX
",
    },
    TypeDoc {
        name: core!("condition.ExecutionFlow"),
        doc: "Holds when the other execution is of a flow.",
        properties: &[("namespace", "", "Namespace of the flow."), ("flowId", "", "Its id.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.ExecutionFlow
namespace: company.team
flowId: orders
",
    },
    TypeDoc {
        name: core!("condition.ExecutionLabels"),
        doc: "Holds when the other execution has all of these labels.",
        properties: &[("labels", "", "A map, or a list of `{key, value}`.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.ExecutionLabels
labels:
  team: data
",
    },
    TypeDoc {
        name: core!("condition.ExecutionOutputs"),
        doc: "Holds when the other execution has outputs of which an expression says so.",
        properties: &[("expression", "", "With `trigger.outputs`.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.ExecutionOutputs
expression: \"{{ trigger.outputs.rows > 0 }}\"
",
    },
    TypeDoc {
        name: core!("condition.HasRetryAttempt"),
        doc: "Holds when a task of the other execution was tried more than once.",
        properties: &[
            ("in", "", "An attempt has one of these states."),
            ("notIn", "", "An attempt has none of these states."),
        ],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.HasRetryAttempt
in: [FAILED]
",
    },
    TypeDoc {
        name: core!("condition.FlowCondition"),
        doc: "Holds when the flow that listens is this one; deprecated.",
        properties: &[("namespace", "", "Namespace of the flow."), ("flowId", "", "Its id.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.FlowCondition
namespace: company.team
flowId: example
",
    },
    TypeDoc {
        name: core!("condition.FlowNamespaceCondition"),
        doc: "Holds when the flow that listens is of a namespace; deprecated.",
        properties: &[("namespace", "", "The namespace."), ("prefix", "false", "Also of those that begin with it.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.FlowNamespaceCondition
namespace: company.team
",
    },
    TypeDoc {
        name: core!("condition.MultipleCondition"),
        doc: "Holds when all of some conditions have held, for any executions, within some time; an older form of `preconditions`.",
        properties: &[
            ("id", "", "Names it; unique in the flow."),
            ("conditions", "", "The conditions, by names."),
            ("timeWindow", "", "How long what has happened counts; a day when it is not given."),
            ("resetOnSuccess", "true", "All must happen again before it holds again."),
            ("window", "", "Deprecated: the same of `timeWindow`."),
            ("windowAdvance", "", "Deprecated: the same of `timeWindow`."),
        ],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.MultipleCondition
id: both
conditions:
  orders:
    type: io.kestra.plugin.core.condition.ExecutionFlow
    namespace: company.team
    flowId: orders
  invoices:
    type: io.kestra.plugin.core.condition.ExecutionFlow
    namespace: company.team
    flowId: invoices
",
    },
    TypeDoc {
        name: core!("condition.Or"),
        doc: "Holds when any of some conditions does.",
        properties: &[("conditions", "", "The conditions.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.Or
conditions:
  - type: io.kestra.plugin.core.condition.ExecutionStatus
    in: [FAILED]
  - type: io.kestra.plugin.core.condition.ExecutionLabels
    labels:
      team: data
",
    },
    TypeDoc {
        name: core!("condition.Not"),
        doc: "Holds when none of some conditions does.",
        properties: &[("conditions", "", "The conditions.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.Not
conditions:
  - type: io.kestra.plugin.core.condition.ExecutionStatus
    in: [SUCCESS]
",
    },
    TypeDoc {
        name: core!("condition.Expression"),
        doc: "Holds unless an expression renders to nothing or `false`.",
        properties: &[("expression", "", "The expression.")],
        outputs: &[],
        example: "type: io.kestra.plugin.core.condition.Expression
expression: \"{{ trigger.state == 'FAILED' }}\"
",
    },
];
