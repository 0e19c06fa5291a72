//! Types that are known and not built yet: flows that use them are refused as unsupported, not as wrong. Building one
//! means moving its entry.

use super::{Family, Role, TaskType, core, old_condition, old_task, old_trigger};

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
    core!("execution.Exit"),
    core!("execution.Labels") => [old_task!("executions.Labels")],
    core!("execution.PurgeExecutions") => [old_task!("storages.Purge"), core!("storage.Purge")],
    core!("execution.Resume"),
    core!("execution.SetVariables"),
    core!("execution.UnsetVariables"),
    core!("flow.Dag") => [old_task!("flows.Dag")],
    core!("flow.EachParallel") => [old_task!("flows.EachParallel")],
    core!("flow.EachSequential") => [old_task!("flows.EachSequential")],
    core!("flow.ForEachItem") => [old_task!("flows.ForEachItem")],
    core!("flow.LoopUntil") => [core!("flow.WaitFor")],
    core!("flow.Pause") => [old_task!("flows.Pause")],
    core!("flow.Template") => [old_task!("flows.Template")],
    core!("flow.WorkingDirectory") => [old_task!("flows.WorkingDirectory"), old_task!("flows.Worker")],
    core!("http.Download") => ["io.kestra.plugin.fs.http.Download"],
    core!("http.SseRequest"),
    core!("kv.Delete"),
    core!("kv.Get"),
    core!("kv.GetKeys"),
    core!("kv.PurgeKV"),
    core!("kv.Put"),
    core!("kv.Set"),
    core!("log.Fetch") => [old_task!("log.Fetch")],
    core!("log.PurgeLogs"),
    core!("metric.Publish"),
    core!("namespace.DeleteFiles"),
    core!("namespace.DownloadFiles"),
    core!("namespace.PurgeFiles"),
    core!("namespace.UploadFiles"),
    core!("state.Delete") => [old_task!("states.Delete")],
    core!("state.Get") => [old_task!("states.Get")],
    core!("state.Set") => [old_task!("states.Set")],
    core!("storage.Concat") => [old_task!("storages.Concat")],
    core!("storage.DeduplicateItems") => [old_task!("storages.DeduplicateItems")],
    core!("storage.Delete") => [old_task!("storages.Delete")],
    core!("storage.FilterItems") => [old_task!("storages.FilterItems")],
    core!("storage.LocalFiles") => [old_task!("storages.LocalFiles")],
    core!("storage.PurgeCurrentExecutionFiles") => [old_task!("storages.PurgeExecution"), core!("storage.PurgeExecution")],
    core!("storage.Reverse") => [old_task!("storages.Reverse")],
    core!("storage.Size") => [old_task!("storages.Size")],
    core!("storage.Split") => [old_task!("storages.Split")],
    core!("storage.Write"),
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
    core!("trigger.Schedule") => [old_trigger!("Schedule")],
    core!("trigger.ScheduleOnDates"),
    core!("http.Trigger") => ["io.kestra.plugin.fs.http.Trigger"],
];

/// A condition with both of its older names.
macro_rules! conditions {
    ($($name:literal),+ $(,)?) => {
        unbuilt![Condition:
            $(concat!("io.kestra.plugin.core.condition.", $name) => [
                concat!("io.kestra.core.models.conditions.types.", $name, "Condition"),
                concat!("io.kestra.plugin.core.condition.", $name, "Condition"),
            ],)+
            core!("condition.FlowCondition") => [old_condition!("FlowCondition")],
            core!("condition.FlowNamespaceCondition") => [old_condition!("FlowNamespaceCondition")],
            core!("condition.MultipleCondition") => [old_condition!("MultipleCondition")],
        ]
    };
}

pub(super) const CONDITIONS: &[TaskType] = conditions![
    "DateTimeBetween",
    "DayWeek",
    "DayWeekInMonth",
    "ExecutionOutputs",
    "HasRetryAttempt",
    "PublicHoliday",
    "TimeBetween",
    "Weekend",
];

pub(super) const PARTS: &[TaskType] = unbuilt![Part:
    core!("runner.Process"),
    "io.kestra.plugin.scripts.runner.docker.Docker",
    "io.kestra.plugin.ee.opentelemetry.LogExporter",
];
