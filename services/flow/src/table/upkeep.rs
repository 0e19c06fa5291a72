//! Tasks over the data of a tenant beyond their own execution, and those that only read what they do when they run (flow
//! model reference 5.1, 5.2, 5.3, 5.7; the same of 1.x 5.2, 5.5, 5.6).

use super::{Family, Kind, PropertySpec, TaskType, core, old_task};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

const fn task(name: &'static str, aliases: &'static [&'static str], properties: &'static [PropertySpec]) -> TaskType {
    TaskType { name, aliases, family: Family::Runnable, inline: false, properties }
}

const NAMESPACE: PropertySpec = new("namespace", Kind::Text);
const FLOW_ID: PropertySpec = new("flowId", Kind::Text);
const EXECUTION_ID: PropertySpec = new("executionId", Kind::Text);
const START_DATE: PropertySpec = new("startDate", Kind::Text);
const END_DATE: PropertySpec = new("endDate", Kind::Text);
const STATES: PropertySpec = new("states", Kind::List);
const NAMESPACES: PropertySpec = new("namespaces", Kind::List);
const NAMESPACE_PATTERN: PropertySpec = new("namespacePattern", Kind::Text);
const INCLUDE_CHILDREN: PropertySpec = new("includeChildNamespaces", Kind::Bool);

pub(super) const TYPES: &[TaskType] = &[
    task(
        core!("execution.Count"),
        &[old_task!("executions.Counts")],
        &[
            new("flows", Kind::List),
            NAMESPACES,
            STATES,
            START_DATE.required(),
            END_DATE,
            new("expression", Kind::Text).required(),
        ],
    ),
    task(
        core!("execution.PurgeExecutions"),
        &[old_task!("storages.Purge"), core!("storage.Purge")],
        &[
            NAMESPACE,
            FLOW_ID,
            START_DATE,
            END_DATE.required(),
            STATES,
            new("purgeExecution", Kind::Bool),
            new("purgeLog", Kind::Bool),
            new("purgeMetric", Kind::Bool),
            new("purgeStorage", Kind::Bool),
            new("batchSize", Kind::Int),
        ],
    ),
    task(core!("execution.Resume"), &[], &[EXECUTION_ID, NAMESPACE, FLOW_ID, new("inputs", Kind::Map)]),
    task(
        core!("kv.PurgeKV"),
        &[],
        &[
            NAMESPACES,
            NAMESPACE_PATTERN,
            new("keyPattern", Kind::Text),
            INCLUDE_CHILDREN,
            new(
                "behavior",
                Kind::Object(&[
                    new("type", Kind::Choice(&["key", "version"])).required(),
                    new("expiredOnly", Kind::Bool),
                    new("before", Kind::Text),
                    new("keepAmount", Kind::Int),
                ]),
            ),
            // The older form of `behavior.expiredOnly`.
            new("expiredOnly", Kind::Bool),
        ],
    ),
    task(
        core!("log.PurgeLogs"),
        &[],
        &[NAMESPACE, FLOW_ID, EXECUTION_ID, new("logLevels", Kind::List), START_DATE, END_DATE.required()],
    ),
    TaskType {
        name: core!("metric.Publish"),
        aliases: &[],
        family: Family::Runnable,
        inline: true,
        properties: &[new("metrics", Kind::List)],
    },
    task(
        core!("namespace.PurgeFiles"),
        &[],
        &[
            NAMESPACES,
            NAMESPACE_PATTERN,
            new("filePattern", Kind::Text),
            INCLUDE_CHILDREN,
            new(
                "behavior",
                Kind::Object(&[
                    new("type", Kind::Choice(&["version"])),
                    new("before", Kind::Text),
                    new("keepAmount", Kind::Int),
                ]),
            ),
        ],
    ),
    task(
        core!("templating.TemplatedTask"),
        &[old_task!("templating.TemplatedTask")],
        &[new("spec", Kind::Text).required()],
    ),
    task(
        core!("trigger.Toggle"),
        &[old_task!("trigger.Toggle")],
        &[new("trigger", Kind::Text).required(), FLOW_ID, NAMESPACE, new("enabled", Kind::Bool)],
    ),
];
