//! Types that are known and not built yet: flows that use them are refused as unsupported, not as wrong. Building one
//! means moving its entry.

use super::{Family, Role, TaskType, core, old_task};

macro_rules! unbuilt {
    ($role:ident: $($name:expr $(=> [$($alias:expr),+ $(,)?])?),+ $(,)?) => {
        &[$(TaskType {
            name: $name,
            aliases: &[$($($alias),+)?],
            family: Family::Unbuilt(Role::$role),
            inline: false,
            properties: &[],
        }),+]
    };
}

pub(super) const TASKS: &[TaskType] = unbuilt![Task:
    core!("execution.Count") => [old_task!("executions.Counts")],
    core!("execution.PurgeExecutions") => [old_task!("storages.Purge"), core!("storage.Purge")],
    core!("execution.Resume"),
    core!("flow.Template") => [old_task!("flows.Template")],
    core!("http.Download") => ["io.kestra.plugin.fs.http.Download"],
    core!("http.SseRequest"),
    core!("kv.PurgeKV"),
    core!("log.PurgeLogs"),
    core!("metric.Publish"),
    core!("namespace.PurgeFiles"),
    core!("templating.TemplatedTask") => [old_task!("templating.TemplatedTask")],
    core!("trigger.Toggle") => [old_task!("trigger.Toggle")],
    "io.kestra.plugin.scripts.jbang.Commands",
    "io.kestra.plugin.scripts.jbang.Script",
    "io.kestra.plugin.scripts.julia.Commands",
    "io.kestra.plugin.scripts.julia.Script",
    "io.kestra.plugin.scripts.node.Commands",
    "io.kestra.plugin.scripts.node.Script",
    "io.kestra.plugin.scripts.powershell.Commands",
    "io.kestra.plugin.scripts.powershell.Script",
    "io.kestra.plugin.scripts.python.Commands",
    "io.kestra.plugin.scripts.python.Script",
    "io.kestra.plugin.scripts.r.Commands",
    "io.kestra.plugin.scripts.r.Script",
    "io.kestra.plugin.scripts.ruby.Commands",
    "io.kestra.plugin.scripts.ruby.Script",
    "io.kestra.plugin.scripts.shell.Commands",
    "io.kestra.plugin.scripts.shell.Script",
    "io.kestra.plugin.jdbc.postgresql.Query",
    "io.kestra.plugin.ee.core.log.LogShipper",
    "io.kestra.plugin.microsoft365.teams.adaptivecards.Send",
    "io.kestra.plugin.microsoft365.teams.adaptivecards.SendToUser",
    "io.kestra.plugin.twilio.notify.sms.Send",
    "io.kestra.plugin.twilio.notify.mms.Send",
];

pub(super) const TRIGGERS: &[TaskType] = unbuilt![Trigger:
    core!("http.Trigger") => ["io.kestra.plugin.fs.http.Trigger"],
];

pub(super) const PARTS: &[TaskType] = unbuilt![Part:
    core!("runner.Process"),
    "io.kestra.plugin.scripts.runner.docker.Docker",
    "io.kestra.plugin.ee.opentelemetry.LogExporter",
];
