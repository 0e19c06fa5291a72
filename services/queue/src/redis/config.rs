//! Settings of the queue on Redis.

use std::{fmt, time::Duration};

use crate::QueueError;

/// How Redis is reached and how much it may hold.
#[derive(Clone)]
pub struct RedisConfig {
    /// `redis://[user:password@]host[:port][/database]`, `rediss://…` with TLS; further ones name further nodes of a
    /// cluster. Whether the server is a cluster is asked of it.
    pub urls: Vec<String>,
    /// Begins every key and channel: several installations can share one Redis. Default: `windhover`.
    pub prefix: String,
    /// Tells the installation from others: two of them never work under one prefix. Default: one without a name.
    pub installation: String,
    /// Number of shards of the installation.
    pub shards: u16,
    /// Streams over which the shards' wake-ups and reports are spread; the same in all processes. Default: 4.
    pub stream_groups: u16,
    /// Entries that a stream keeps at most, roughly. What an owner has not read by then is sent again. Default: 8,192.
    pub stream_length: usize,
    /// Jobs of one tenant that may wait in one group; the rest waits in the store. Default: 1,000.
    pub window: usize,
    /// Larger jobs fail their attempt. Default: 16 MiB.
    pub max_job_bytes: usize,
    /// A larger result fails its attempt. Default: 64 MiB.
    pub max_report_bytes: usize,
    /// A report that was not acknowledged for so long counts as lost. Default: 5 s.
    pub ack_timeout: Duration,
    /// A call that got no answer for so long found Redis away. Default: 1 s.
    pub timeout: Duration,
    /// Certificates (PEM) that vouch for the server's. Default: the system's.
    pub ca_certificate: Option<Vec<u8>>,
}

impl RedisConfig {
    pub fn new(url: impl Into<String>, shards: u16) -> Self {
        Self {
            urls: vec![url.into()],
            prefix: "windhover".to_owned(),
            installation: String::new(),
            shards,
            stream_groups: 4,
            stream_length: 8_192,
            window: 1_000,
            max_job_bytes: 16 << 20,
            max_report_bytes: 64 << 20,
            ack_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            ca_certificate: None,
        }
    }

    pub(super) fn check(&self) -> Result<(), QueueError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
        let problem = if self.urls.is_empty() {
            "windhover.redis.url is empty"
        } else if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(plain) {
            "windhover.redis.prefix must be 1 to 64 characters of a-z, A-Z, 0-9, '_', '-', '.', ':'"
        } else if self.shards == 0 || self.stream_groups == 0 {
            "the numbers of shards and of streams must be at least 1"
        } else if self.window == 0 {
            "windhover.queue.window must be at least 1"
        } else {
            return Ok(());
        };
        Err(QueueError::Unusable(problem.to_owned()))
    }
}

/// Without the URLs: they may hold a password.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("installation", &self.installation)
            .field("shards", &self.shards)
            .field("stream_groups", &self.stream_groups)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}
