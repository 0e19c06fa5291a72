//! Properties of flows, and those that every task, trigger, condition and input has.

use super::{Kind, PropertySpec};
use crate::InputType;

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

/// Flow model reference 1.1, 1.x reference 1.1.
pub const FLOW: &[PropertySpec] = &[
    new("id", Kind::Literal).required(),
    new("namespace", Kind::Literal).required(),
    new("revision", Kind::Int),
    new("description", Kind::Literal),
    new("labels", Kind::Nested),
    new("inputs", Kind::Nested),
    new("outputs", Kind::Nested),
    new("variables", Kind::Map),
    new("tasks", Kind::Nested),
    new("errors", Kind::Nested),
    new("finally", Kind::Nested),
    new("afterExecution", Kind::Nested),
    new("triggers", Kind::Nested),
    new("pluginDefaults", Kind::Nested),
    new("taskDefaults", Kind::Nested),
    new("listeners", Kind::Nested),
    new("concurrency", Kind::Nested),
    new("retry", Kind::Nested),
    new("sla", Kind::Nested),
    new("checks", Kind::Nested),
    new("disabled", Kind::Bool),
    new("deleted", Kind::Bool),
    new("tenantId", Kind::Literal),
    new("updated", Kind::Literal),
    new("source", Kind::Literal),
    new("workerGroup", Kind::Object(WORKER_GROUP)),
];

/// Flow model reference 1.2, 1.x reference 1.1.
pub const TASK_COMMON: &[PropertySpec] = &[
    new("id", Kind::Literal).required(),
    new("type", Kind::Literal).required(),
    new("description", Kind::Literal),
    new("version", Kind::Literal),
    new("retry", Kind::Nested),
    new("timeout", Kind::Duration),
    new("disabled", Kind::Bool),
    new("runIf", Kind::Text),
    new("allowFailure", Kind::Bool),
    new("allowWarning", Kind::Bool),
    new("logLevel", Kind::Level),
    new("logToFile", Kind::Bool).only("false"),
    new("workerGroup", Kind::Object(WORKER_GROUP)),
    new("taskCache", Kind::Nested).unbuilt(),
    new("assets", Kind::Nested).unbuilt(),
];

/// Flow model reference 1.3, 1.x reference 6.1. `logLevel`, `logToFile` and `workerGroup` are about evaluations on
/// workers, which Flow and Webhook triggers have none of.
pub const TRIGGER_COMMON: &[PropertySpec] = &[
    new("id", Kind::Literal).required(),
    new("type", Kind::Literal).required(),
    new("description", Kind::Literal),
    new("version", Kind::Literal),
    new("conditions", Kind::Nested),
    new("disabled", Kind::Bool),
    new("labels", Kind::Nested),
    // Acts when an execution is over that a schedule waits for: nothing to Flow triggers and webhooks.
    new("stopAfter", Kind::Nested),
    new("logLevel", Kind::Level).aliases(&["minLogLevel"]),
    new("logToFile", Kind::Bool).only("false"),
    new("workerGroup", Kind::Object(WORKER_GROUP)),
    new("allowConcurrent", Kind::Bool),
    new("failOnTriggerError", Kind::Bool),
    new("assets", Kind::Nested).unbuilt(),
];

pub const CONDITION_COMMON: &[PropertySpec] = &[new("type", Kind::Literal).required(), new("version", Kind::Literal)];

pub const WORKER_GROUP: &[PropertySpec] =
    &[new("key", Kind::Text), new("fallback", Kind::Choice(&["FAIL", "WAIT", "CANCEL"]))];

pub const RETRY: &[PropertySpec] = &[
    new("type", Kind::Literal).required(),
    new("interval", Kind::Duration),
    new("maxInterval", Kind::Duration),
    new("minInterval", Kind::Duration),
    new("delayFactor", Kind::Literal),
    new("maxAttempts", Kind::Int).aliases(&["maxAttempt"]),
    new("maxDuration", Kind::Duration),
    new("warningOnRetry", Kind::Bool),
    new("behavior", Kind::Literal),
];

pub const CONCURRENCY: &[PropertySpec] =
    &[new("limit", Kind::Int).required(), new("behavior", Kind::Choice(&["QUEUE", "CANCEL", "FAIL"]))];

/// Flow model reference 4.15.
pub const LISTENER: &[PropertySpec] =
    &[new("description", Kind::Literal), new("conditions", Kind::Nested), new("tasks", Kind::Nested).required()];

/// Flow model reference 4.12: of both types.
pub const SLA: &[PropertySpec] = &[
    new("id", Kind::Literal).required(),
    new("type", Kind::Literal).required(),
    new("behavior", Kind::Choice(&["FAIL", "CANCEL", "NONE"])).required(),
    new("labels", Kind::Nested),
    new("duration", Kind::Duration),
    new("assert", Kind::Text),
];

/// Flow model 1.x reference 1.3.
pub const CHECK: &[PropertySpec] = &[
    new("condition", Kind::Text).required(),
    new("message", Kind::Text).required(),
    new("style", Kind::Choice(&["ERROR", "SUCCESS", "WARNING", "INFO"])),
    new("behavior", Kind::Choice(&["BLOCK_EXECUTION", "FAIL_EXECUTION", "CREATE_EXECUTION"])),
];

pub const PLUGIN_DEFAULT: &[PropertySpec] =
    &[new("type", Kind::Literal), new("forced", Kind::Bool), new("values", Kind::Nested)];

/// Flow model reference 2.6, 1.x reference 2.6.
pub const OUTPUT: &[PropertySpec] = &[
    new("id", Kind::Literal).required(),
    new("type", Kind::Literal).required(),
    new("value", Kind::Any).required(),
    new("required", Kind::Bool),
    new("description", Kind::Literal),
    new("displayName", Kind::Literal),
];

/// Flow model reference 2.1, 1.x reference 2.1.
pub const INPUT_COMMON: &[PropertySpec] = &[
    new("id", Kind::Literal),
    // The older spelling of `id`.
    new("name", Kind::Literal),
    new("type", Kind::Literal).required(),
    new("description", Kind::Literal),
    new("displayName", Kind::Literal),
    new("required", Kind::Bool),
    new("defaults", Kind::Any),
    new("prefill", Kind::Any),
    new("dependsOn", Kind::Nested),
];

/// The properties that inputs of a type have besides [`INPUT_COMMON`] (flow model reference 2.2, 1.x reference 2.1).
pub const fn input_properties(input: InputType) -> &'static [PropertySpec] {
    const VALIDATOR: &[PropertySpec] = &[new("validator", Kind::Literal)];
    const MIN_MAX: &[PropertySpec] = &[new("min", Kind::Literal), new("max", Kind::Literal)];
    const AFTER_BEFORE: &[PropertySpec] = &[new("after", Kind::Literal), new("before", Kind::Literal)];
    const FILE: &[PropertySpec] = &[new("extension", Kind::Literal), new("allowedFileExtensions", Kind::List)];
    const ARRAY: &[PropertySpec] = &[new("itemType", Kind::Literal).required()];
    const ENUM: &[PropertySpec] = &[new("values", Kind::List).required()];
    const SELECT: &[PropertySpec] = &[
        new("values", Kind::List),
        new("expression", Kind::Text),
        new("allowCustomValue", Kind::Bool),
        new("isRadio", Kind::Bool),
        new("autoSelectFirst", Kind::Bool),
    ];
    const MULTI_SELECT: &[PropertySpec] = &[
        new("values", Kind::List),
        new("options", Kind::List),
        new("expression", Kind::Text),
        new("itemType", Kind::Literal),
        new("allowCustomValue", Kind::Bool),
        new("autoSelectFirst", Kind::Bool),
    ];
    match input {
        InputType::String | InputType::Secret => VALIDATOR,
        InputType::Int | InputType::Float | InputType::Duration => MIN_MAX,
        InputType::DateTime | InputType::Date | InputType::Time => AFTER_BEFORE,
        InputType::File => FILE,
        InputType::Array => ARRAY,
        InputType::Select => SELECT,
        InputType::MultiSelect => MULTI_SELECT,
        InputType::Enum => ENUM,
        InputType::Bool | InputType::Json | InputType::Yaml | InputType::Uri | InputType::Email => &[],
    }
}
