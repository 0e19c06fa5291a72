//! Triggers that are built.

use super::{Family, Kind, PropertySpec, TaskType, core, old_trigger};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

pub(super) const TYPES: &[TaskType] = &[
    TaskType {
        name: core!("trigger.Flow"),
        aliases: &[old_trigger!("Flow")],
        family: Family::FlowTrigger,
        inline: false,
        properties: &[
            new("states", Kind::Nested),
            new("inputs", Kind::Map),
            new("preconditions", Kind::Nested).unbuilt(),
        ],
    },
    TaskType {
        name: core!("trigger.Webhook"),
        aliases: &[old_trigger!("Webhook")],
        family: Family::Webhook,
        inline: false,
        properties: &[
            new("key", Kind::Text).required(),
            new("inputs", Kind::Map),
            new("wait", Kind::Bool).only("false"),
            new("returnOutputs", Kind::Bool).only("false"),
            // Both act only with `wait`, which is not built: without it they change nothing.
            new("responseContentType", Kind::Choice(&["application/json", "text/plain"])),
            new("responseCode", Kind::Int),
        ],
    },
];
