//! Types that are known and not built yet: flows that use them are refused as unsupported, not as wrong. Building one
//! means moving its entry.

use super::{Family, Role, TaskType};

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
    "io.kestra.plugin.ee.core.log.LogShipper",
    "io.kestra.plugin.microsoft365.teams.adaptivecards.Send",
    "io.kestra.plugin.microsoft365.teams.adaptivecards.SendToUser",
    "io.kestra.plugin.twilio.notify.sms.Send",
    "io.kestra.plugin.twilio.notify.mms.Send",
];

pub(super) const PARTS: &[TaskType] = unbuilt![Part:
    "io.kestra.plugin.scripts.runner.docker.Docker",
    "io.kestra.plugin.ee.opentelemetry.LogExporter",
];
