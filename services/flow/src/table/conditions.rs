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

pub(super) const TYPES: &[TaskType] = &[
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
