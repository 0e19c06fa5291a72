//! A look at the server before it is used.

use std::time::Duration;

use redis::{InfoDict, Value};

use super::{
    conn::{Conn, in_time},
    error::queue_error,
};
use crate::QueueError;

/// The oldest Redis that has all that the scripts use (`LPOP` with a count, `LMOVE`, `XTRIM MINID`).
const OLDEST: (u32, u32) = (6, 2);

/// What a server says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Probed {
    pub(super) cluster: bool,
    /// Another after each start of the server; empty for a cluster.
    pub(super) run_id: String,
}

pub(super) async fn probe(
    conn: &mut Conn,
    address: &str,
    timeout: Duration,
    cluster: bool,
) -> Result<Probed, QueueError> {
    if cluster {
        in_time(timeout, redis::cmd("PING").exec_async(conn)).await.map_err(|error| queue_error(address, &error))?;
        return Ok(Probed { cluster, run_id: String::new() });
    }
    let answer: Value =
        in_time(timeout, redis::cmd("INFO").query_async(conn)).await.map_err(|error| queue_error(address, &error))?;
    let info: InfoDict = redis::from_redis_value(answer)
        .map_err(|_| QueueError::Unusable(format!("what answers at {address} is not a Redis: it has no INFO")))?;
    judge(&info, address)
}

fn judge(info: &InfoDict, address: &str) -> Result<Probed, QueueError> {
    let version: String = info
        .get("redis_version")
        .ok_or_else(|| QueueError::Unusable(format!("what answers at {address} is not a Redis: it has no version")))?;
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if number < OLDEST {
        let (major, minor) = OLDEST;
        return Err(QueueError::Unusable(format!(
            "Redis at {address} is version {version}; Windhover needs {major}.{minor} or newer"
        )));
    }
    let mode: String = info.get("redis_mode").unwrap_or_default();
    if mode == "sentinel" {
        return Err(QueueError::Unusable(format!(
            "what answers at {address} is a Redis sentinel; windhover.redis.url must name the server itself"
        )));
    }
    let cluster = mode == "cluster";
    let role: String = info.get("role").unwrap_or_default();
    if role == "slave" && !cluster {
        return Err(QueueError::Unusable(format!(
            "Redis at {address} is a read-only replica; windhover.redis.url must name its master"
        )));
    }
    let policy: String = info.get("maxmemory_policy").unwrap_or_default();
    if policy.starts_with("allkeys") {
        tracing::warn!(
            redis = address,
            policy,
            "Redis may throw away waiting jobs when its memory is full; set maxmemory-policy to noeviction"
        );
    }
    Ok(Probed { cluster, run_id: info.get("run_id").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(info: &str) -> Result<Probed, String> {
        let value = Value::BulkString(info.as_bytes().to_vec());
        let info = redis::from_redis_value(value).expect("INFO");
        judge(&info, "h:1").map_err(|error| error.to_string())
    }

    #[test]
    fn an_old_server_a_replica_and_a_sentinel_are_refused_with_the_reason() {
        for (info, reason) in [
            ("redis_version:6.0.16\r\nrole:master\r\n", "version 6.0.16; Windhover needs 6.2"),
            ("redis_version:7.0.15\r\nrole:slave\r\nredis_mode:standalone\r\n", "read-only replica"),
            ("redis_version:7.0.15\r\nredis_mode:sentinel\r\n", "sentinel"),
            ("other:1\r\n", "not a Redis"),
        ] {
            let refused = judged(info).unwrap_err();
            assert!(refused.contains(reason) && refused.contains("h:1"), "{refused}");
        }
        let good = judged("redis_version:7.0.15\r\nredis_mode:cluster\r\nrole:slave\r\nrun_id:x\r\n").expect("good");
        assert!(good.cluster && good.run_id == "x");
        assert!(judged("redis_version:10.1\r\nrole:master\r\n").is_ok());
    }
}
