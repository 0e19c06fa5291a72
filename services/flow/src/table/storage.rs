//! Tasks over internal storage, key-value stores and files of namespaces (flow model reference 5.5, 5.6).

use super::{Family, Kind, PropertySpec, TaskType, core, old_task};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

const fn on_worker(
    name: &'static str,
    aliases: &'static [&'static str],
    properties: &'static [PropertySpec],
) -> TaskType {
    TaskType { name, aliases, family: Family::Runnable, inline: false, properties }
}

const KEY: PropertySpec = new("key", Kind::Text);
const NAMESPACE: PropertySpec = new("namespace", Kind::Text);
const ERROR_ON_MISSING: PropertySpec = new("errorOnMissing", Kind::Bool);
const FROM: PropertySpec = new("from", Kind::Text);
const SEPARATOR: PropertySpec = new("separator", Kind::Text);
const KV_TYPES: &[&str] = &["STRING", "NUMBER", "BOOLEAN", "DATETIME", "DATE", "DURATION", "JSON"];

/// Of the three state tasks. `namespace` is a boolean here: the whole namespace's state, not the flow's.
const STATE: [PropertySpec; 3] =
    [new("name", Kind::Text), new("namespace", Kind::Bool), new("taskrunValue", Kind::Bool)];

pub(super) const TYPES: &[TaskType] = &[
    on_worker(core!("kv.Delete"), &[], &[KEY.required(), NAMESPACE, ERROR_ON_MISSING]),
    on_worker(core!("kv.Get"), &[], &[KEY.required(), NAMESPACE, ERROR_ON_MISSING]),
    on_worker(core!("kv.GetKeys"), &[], &[new("prefix", Kind::Text), NAMESPACE]),
    on_worker(core!("kv.Put"), &[], &[KEY.required(), new("value", Kind::Any).required(), NAMESPACE, ERROR_ON_MISSING]),
    on_worker(
        core!("kv.Set"),
        &[],
        &[
            KEY.required(),
            new("value", Kind::Any).required(),
            NAMESPACE,
            new("overwrite", Kind::Bool),
            new("ttl", Kind::Duration),
            new("kvType", Kind::Choice(KV_TYPES)),
            new("kvDescription", Kind::Text),
        ],
    ),
    on_worker(
        core!("log.Fetch"),
        &[old_task!("log.Fetch")],
        &[
            NAMESPACE,
            new("flowId", Kind::Text),
            new("executionId", Kind::Text),
            new("tasksId", Kind::List),
            new("level", Kind::Level),
        ],
    ),
    on_worker(
        core!("namespace.DeleteFiles"),
        &[],
        &[NAMESPACE, new("files", Kind::Any).required(), new("deleteParentFolder", Kind::Bool)],
    ),
    on_worker(
        core!("namespace.DownloadFiles"),
        &[],
        &[NAMESPACE, new("files", Kind::Any).required(), new("destination", Kind::Text)],
    ),
    on_worker(
        core!("namespace.UploadFiles"),
        &[],
        &[
            NAMESPACE,
            new("files", Kind::Any),
            new("filesMap", Kind::Map),
            new("destination", Kind::Text),
            new("conflict", Kind::Choice(&["OVERWRITE", "ERROR", "SKIP"])),
        ],
    ),
    on_worker(core!("state.Delete"), &[old_task!("states.Delete")], &[STATE[0], STATE[1], STATE[2], ERROR_ON_MISSING]),
    on_worker(core!("state.Get"), &[old_task!("states.Get")], &[STATE[0], STATE[1], STATE[2], ERROR_ON_MISSING]),
    on_worker(core!("state.Set"), &[old_task!("states.Set")], &[STATE[0], STATE[1], STATE[2], new("data", Kind::Map)]),
    on_worker(
        core!("storage.Concat"),
        &[old_task!("storages.Concat")],
        &[new("files", Kind::List).required(), SEPARATOR, new("extension", Kind::Text)],
    ),
    on_worker(
        core!("storage.DeduplicateItems"),
        &[old_task!("storages.DeduplicateItems")],
        &[FROM.required(), new("expr", Kind::Text).required()],
    ),
    on_worker(
        core!("storage.Delete"),
        &[old_task!("storages.Delete")],
        &[new("uri", Kind::Text).required(), ERROR_ON_MISSING],
    ),
    on_worker(
        core!("storage.FilterItems"),
        &[old_task!("storages.FilterItems")],
        &[
            FROM.required(),
            new("filterCondition", Kind::Text).required(),
            new("filterType", Kind::Choice(&["INCLUDE", "EXCLUDE"])),
            new("errorOrNullBehavior", Kind::Choice(&["FAIL", "INCLUDE", "EXCLUDE"])),
        ],
    ),
    on_worker(
        core!("storage.LocalFiles"),
        &[old_task!("storages.LocalFiles")],
        &[new("inputs", Kind::Map), new("outputs", Kind::List)],
    ),
    on_worker(
        core!("storage.PurgeCurrentExecutionFiles"),
        &[old_task!("storages.PurgeExecution"), core!("storage.PurgeExecution")],
        &[],
    ),
    on_worker(
        core!("storage.Reverse"),
        &[old_task!("storages.Reverse")],
        &[FROM.required(), SEPARATOR, new("charset", Kind::Text)],
    ),
    on_worker(core!("storage.Size"), &[old_task!("storages.Size")], &[new("uri", Kind::Text).required()]),
    on_worker(
        core!("storage.Split"),
        &[old_task!("storages.Split")],
        &[
            FROM.required(),
            new("bytes", Kind::Text),
            new("partitions", Kind::Int),
            new("rows", Kind::Int),
            new("regexPattern", Kind::Text),
            SEPARATOR,
        ],
    ),
    on_worker(core!("storage.Write"), &[], &[new("content", Kind::Text).required(), new("extension", Kind::Text)]),
];
