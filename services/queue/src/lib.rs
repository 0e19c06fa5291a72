//! Transport between the parts of Windhover: wake-ups and reports for the owners of shards, job queues for workers,
//! hints for followers.
//!
//! Always true: what passes here is a hint about what the store already says. Losing all of it costs latency and
//! repeated attempts, never an execution (architecture, invariant 1).
//! Not here: deciding anything. A queue never dispatches a job again by itself; the owner of the execution's shard
//! alone expires a lease, and raises the dispatch number first.

mod hints;
mod in_process;
mod job;
mod jobs;
mod redis;
mod report;
mod resolver;
mod routed;
mod tiered;
mod wake;

pub use self::redis::{Feed, RedisConfig, RedisHints, RedisJobs, RedisQueue, RedisStatus, RedisWakeups};
pub use hints::{Hints, Subscription};
pub use in_process::{InProcessHints, InProcessJobs, InProcessWakeups, JobsConfig, WakeReceiver, in_process_wakeups};
pub use job::{DEFAULT_GROUP, Group, JobKey, QueuedJob};
pub use jobs::{Cancelled, ExpiredLease, GroupDepth, JobQueue, KillHints, LeasedJob, PopRequest, QueueError, Renewal};
pub use report::{Report, ReportKind};
pub use resolver::FlowResolver;
pub use routed::{Owns, RoutedWakeups};
pub use tiered::TieredJobs;
pub use wake::{Acknowledge, Wake, Wakeups};
