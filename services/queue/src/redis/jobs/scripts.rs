//! The scripts about worker groups, and how they are called.

use std::{sync::LazyLock, sync::atomic::Ordering, time::Duration};

use redis::FromRedisValue;

use super::super::{
    Core, random_id,
    script::{Arguments, Script},
};
use crate::QueueError;

macro_rules! scripts {
    ($($name:ident = $file:literal;)+) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(&[include_str!("../lua/prelude.lua"), include_str!(concat!("../lua/", $file))])
        });)+
    };
}

scripts! {
    PUSH = "push.lua";
    POP = "pop.lua";
    RENEW = "renew.lua";
    RELEASE = "release.lua";
    COMPLETE = "complete.lua";
    CANCEL = "cancel.lua";
    EXPIRED = "expired.lua";
    HELD = "held.lua";
    ORPHANS = "orphans.lua";
    PASS_ON = "pass_on.lua";
    DEPTHS = "depths.lua";
}

/// The arguments that all of them begin with.
pub(super) fn arguments(core: &Core) -> Arguments {
    let marker = format!("{}@{}", random_id(), core.jobs.run.lock());
    Arguments::default().arg(marker).arg(core.jobs.ahead.load(Ordering::Relaxed))
}

pub(super) async fn call<T: FromRedisValue>(
    core: &Core,
    script: &Script,
    group: &str,
    arguments: Arguments,
) -> Result<T, QueueError> {
    script.call(&core.link, &core.keys.group(group), &arguments).await
}

/// A lease in whole milliseconds; longer than a year is a year.
pub(in crate::redis) fn millis(lease: Duration) -> u64 {
    const YEAR: u64 = 86_400_000 * 365;
    u64::try_from(lease.as_millis()).unwrap_or(YEAR).min(YEAR)
}
