//! Tasks of the core that are built.

use super::{Family, Kind, PropertySpec, TaskType, call_properties, core, http, old_task};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

const TASKS: PropertySpec = new("tasks", Kind::Nested);
const ERRORS: PropertySpec = new("errors", Kind::Nested);
const FINALLY: PropertySpec = new("finally", Kind::Nested);

pub(crate) const SPLIT_TYPE: &str = core!("flow.ForEachItem$ForEachItemSplit");
pub(crate) const ITEMS_TYPE: &str = core!("flow.ForEachItem$ForEachItemExecutable");
pub(crate) const MERGE_TYPE: &str = core!("flow.ForEachItem$ForEachItemMergeOutputs");

/// How a file is split (flow model 1.x reference 5.3).
const BATCH: &[PropertySpec] = &[
    new("rows", Kind::Int),
    new("bytes", Kind::Text),
    new("partitions", Kind::Int),
    new("separator", Kind::Text),
    new("regexPattern", Kind::Text),
];

const ITEMS: PropertySpec = new("items", Kind::Text);
const BATCH_PROPERTY: PropertySpec = new("batch", Kind::Object(BATCH));

/// What files a WorkingDirectory has, and which are kept.
pub(crate) const DIRECTORY: &[PropertySpec] = &[
    new("cache", Kind::Object(&[new("patterns", Kind::List).required(), new("ttl", Kind::Duration)])),
    new(
        "namespaceFiles",
        Kind::Object(&[
            new("enabled", Kind::Bool),
            new("include", Kind::List),
            new("exclude", Kind::List),
            new("namespaces", Kind::List),
            new("ifExists", Kind::Choice(&["OVERWRITE", "FAIL", "WARN", "IGNORE"])),
            new("folderPerNamespace", Kind::Bool),
        ]),
    ),
    new("inputFiles", Kind::Map),
    new("outputFiles", Kind::List),
];

/// When a LoopUntil looks again, and when it gives up.
const CHECK_FREQUENCY: &[PropertySpec] =
    &[new("interval", Kind::Duration), new("maxIterations", Kind::Int), new("maxDuration", Kind::Duration)];

/// A task of a Dag with the ids of those that it waits for.
pub const DAG_TASK: &[PropertySpec] = &[new("task", Kind::Nested).required(), new("dependsOn", Kind::List)];

pub(super) const TYPES: &[TaskType] = &[
    TaskType {
        name: core!("log.Log"),
        aliases: &[old_task!("log.Log")],
        family: Family::Runnable,
        inline: true,
        // Anything: what is neither text nor list fails when the task runs (flow model reference 5.1).
        properties: &[new("message", Kind::Any).required(), new("level", Kind::Level)],
    },
    TaskType {
        name: core!("debug.Return"),
        aliases: &[old_task!("debugs.Return")],
        family: Family::Runnable,
        inline: true,
        properties: &[new("format", Kind::Text)],
    },
    TaskType {
        name: core!("debug.Echo"),
        aliases: &[old_task!("debugs.Echo")],
        family: Family::Runnable,
        inline: true,
        properties: &[new("format", Kind::Text).required(), new("level", Kind::Level)],
    },
    TaskType {
        name: core!("output.OutputValues"),
        aliases: &[],
        family: Family::Runnable,
        inline: true,
        properties: &[new("values", Kind::Map)],
    },
    TaskType {
        name: core!("execution.Fail"),
        aliases: &[old_task!("executions.Fail")],
        family: Family::Runnable,
        inline: true,
        properties: &[new("condition", Kind::Text), new("errorMessage", Kind::Text)],
    },
    TaskType {
        name: core!("execution.Assert"),
        aliases: &[],
        family: Family::Runnable,
        inline: true,
        properties: &[new("conditions", Kind::List).required(), new("errorMessage", Kind::Text)],
    },
    TaskType {
        name: core!("execution.Labels"),
        aliases: &[old_task!("executions.Labels")],
        family: Family::Updating,
        inline: true,
        properties: &[new("labels", Kind::Any).required()],
    },
    TaskType {
        name: core!("execution.SetVariables"),
        aliases: &[],
        family: Family::Updating,
        inline: true,
        properties: &[new("variables", Kind::Map).required(), new("overwrite", Kind::Bool)],
    },
    TaskType {
        name: core!("execution.UnsetVariables"),
        aliases: &[],
        family: Family::Updating,
        inline: true,
        properties: &[new("variables", Kind::List).required(), new("ignoreMissing", Kind::Bool)],
    },
    TaskType {
        name: core!("execution.Exit"),
        aliases: &[],
        family: Family::Updating,
        inline: true,
        properties: &[new("state", Kind::Choice(&["SUCCESS", "WARNING", "FAILED", "CANCELLED", "CANCELED", "KILLED"]))],
    },
    TaskType {
        name: core!("flow.Sleep"),
        aliases: &[],
        family: Family::Runnable,
        inline: true,
        properties: &[new("duration", Kind::Duration).required()],
    },
    TaskType {
        name: core!("http.Request"),
        aliases: &["io.kestra.plugin.fs.http.Request"],
        family: Family::Runnable,
        inline: false,
        properties: call_properties![http::ALLOW_FAILED, http::ENCRYPT_BODY],
    },
    TaskType {
        name: core!("http.Download"),
        aliases: &["io.kestra.plugin.fs.http.Download"],
        family: Family::Runnable,
        inline: false,
        properties: call_properties![
            http::ALLOW_FAILED,
            new("failOnEmptyResponse", Kind::Bool),
            new("saveAs", Kind::Text)
        ],
    },
    TaskType {
        name: core!("http.SseRequest"),
        aliases: &[],
        family: Family::Runnable,
        inline: false,
        properties: call_properties![
            http::ALLOW_FAILED,
            new("concatJqExpression", Kind::Text),
            new("failedOnMissingJq", Kind::Bool)
        ],
    },
    TaskType {
        name: core!("flow.Sequential"),
        aliases: &[old_task!("flows.Sequential")],
        family: Family::Sequential,
        inline: false,
        properties: &[TASKS.required(), ERRORS, FINALLY],
    },
    TaskType {
        name: core!("flow.AllowFailure"),
        aliases: &[old_task!("flows.AllowFailure")],
        family: Family::AllowFailure,
        inline: false,
        properties: &[TASKS.required(), ERRORS, FINALLY],
    },
    TaskType {
        name: core!("flow.Parallel"),
        aliases: &[old_task!("flows.Parallel")],
        family: Family::Parallel,
        inline: false,
        properties: &[TASKS.required(), ERRORS, FINALLY, new("concurrent", Kind::Int)],
    },
    TaskType {
        name: core!("flow.If"),
        aliases: &[old_task!("flows.If")],
        family: Family::If,
        inline: false,
        properties: &[
            new("condition", Kind::Text),
            new("then", Kind::Nested).required(),
            new("else", Kind::Nested),
            ERRORS,
            FINALLY,
        ],
    },
    TaskType {
        name: core!("flow.Switch"),
        aliases: &[old_task!("flows.Switch")],
        family: Family::Switch,
        inline: false,
        properties: &[
            new("value", Kind::Text).required(),
            new("cases", Kind::Nested),
            new("defaults", Kind::Nested),
            ERRORS,
            FINALLY,
        ],
    },
    TaskType {
        name: core!("flow.ForEach"),
        aliases: &[],
        family: Family::ForEach,
        inline: false,
        properties: &[
            // Anything: what gives no list fails when the task opens.
            new("values", Kind::Any).required(),
            new("concurrencyLimit", Kind::Int),
            TASKS.required(),
            ERRORS,
            FINALLY,
        ],
    },
    TaskType {
        name: core!("flow.EachSequential"),
        aliases: &[old_task!("flows.EachSequential")],
        family: Family::EachSequential,
        inline: false,
        properties: &[new("value", Kind::Any).required(), TASKS.required(), ERRORS, FINALLY],
    },
    TaskType {
        name: core!("flow.EachParallel"),
        aliases: &[old_task!("flows.EachParallel")],
        family: Family::EachParallel,
        inline: false,
        properties: &[
            new("value", Kind::Any).required(),
            new("concurrent", Kind::Int),
            TASKS.required(),
            ERRORS,
            FINALLY,
        ],
    },
    TaskType {
        name: core!("flow.Dag"),
        aliases: &[old_task!("flows.Dag")],
        family: Family::Dag,
        inline: false,
        properties: &[TASKS.required(), new("concurrent", Kind::Int), ERRORS, FINALLY],
    },
    TaskType {
        name: core!("flow.LoopUntil"),
        aliases: &[core!("flow.WaitFor")],
        family: Family::LoopUntil,
        inline: false,
        properties: &[
            new("condition", Kind::Text).required(),
            TASKS.required(),
            new("failOnMaxReached", Kind::Bool),
            new("checkFrequency", Kind::Object(CHECK_FREQUENCY)),
            ERRORS,
            FINALLY,
        ],
    },
    TaskType {
        name: core!("flow.Pause"),
        aliases: &[old_task!("flows.Pause")],
        family: Family::Pause,
        inline: false,
        // `timeout` is that of every task, with a meaning of its own.
        properties: &[
            new("pauseDuration", Kind::Duration).aliases(&["delay"]),
            new("behavior", Kind::Choice(&["RESUME", "WARN", "FAIL", "CANCEL"])),
            new("onResume", Kind::Nested),
            new("onPause", Kind::Nested),
            TASKS,
            ERRORS,
            FINALLY,
        ],
    },
    TaskType {
        name: core!("flow.WorkingDirectory"),
        aliases: &[old_task!("flows.WorkingDirectory"), old_task!("flows.Worker")],
        family: Family::WorkingDirectory,
        inline: false,
        properties: &[TASKS, ERRORS, FINALLY, DIRECTORY[0], DIRECTORY[1], DIRECTORY[2], DIRECTORY[3]],
    },
    TaskType {
        name: core!("flow.ForEachItem"),
        aliases: &[old_task!("flows.ForEachItem")],
        family: Family::ForEachItem,
        inline: false,
        properties: &[
            ITEMS.required(),
            BATCH_PROPERTY,
            new("namespace", Kind::Text).required(),
            new("flowId", Kind::Text).required(),
            new("revision", Kind::Int),
            new("inputs", Kind::Map),
            new("labels", Kind::Nested),
            new("wait", Kind::Bool),
            new("transmitFailed", Kind::Bool),
            new("inheritLabels", Kind::Bool),
            new("restartBehavior", Kind::Choice(&["RETRY_FAILED", "NEW_EXECUTION"])),
            new("scheduleDate", Kind::Text),
            ERRORS,
            FINALLY,
        ],
    },
    TaskType {
        name: SPLIT_TYPE,
        aliases: &[],
        family: Family::Generated,
        inline: false,
        properties: &[ITEMS, BATCH_PROPERTY],
    },
    TaskType { name: ITEMS_TYPE, aliases: &[], family: Family::Generated, inline: false, properties: &[] },
    TaskType { name: MERGE_TYPE, aliases: &[], family: Family::Generated, inline: false, properties: &[] },
    TaskType {
        name: core!("flow.Subflow"),
        aliases: &[old_task!("flows.Subflow"), old_task!("flows.Flow")],
        family: Family::Subflow,
        inline: false,
        properties: &[
            new("namespace", Kind::Text).required(),
            new("flowId", Kind::Text).required(),
            new("revision", Kind::Int),
            new("inputs", Kind::Map),
            new("labels", Kind::Nested),
            new("wait", Kind::Bool),
            new("transmitFailed", Kind::Bool),
            new("inheritLabels", Kind::Bool),
            new("restartBehavior", Kind::Choice(&["RETRY_FAILED", "NEW_EXECUTION"])),
            // Deprecated: the outputs of the flow that it starts.
            new("outputs", Kind::Map),
            new("scheduleDate", Kind::Text),
        ],
    },
    TaskType {
        name: core!("flow.Template"),
        aliases: &[old_task!("flows.Template")],
        family: Family::Template,
        inline: false,
        properties: &[
            new("namespace", Kind::Text).required(),
            new("templateId", Kind::Text).required(),
            new("args", Kind::Map),
            ERRORS,
            FINALLY,
        ],
    },
];
