//! The queue on Redis, for what crosses processes.
//!
//! Always true: everything here can be lost at any moment and nothing is lost with it (architecture, invariant 1).
//! Jobs come again by their stored deadline, reports by their sender's timeout, hints by looking. While Redis is away
//! every call says so at once, or after the one that found it out (`RedisConfig::timeout`), and the connections come
//! back by themselves. No buffer grows without end: what finds no room is refused or dropped where it is only a hint.

mod acks;
mod bus;
mod config;
mod conn;
mod error;
mod feed;
mod hints;
mod jobs;
mod keeper;
mod keys;
mod link;
mod probe;
mod script;
mod wakeups;
mod wire;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use windhover_types::{Id, Timestamp};

pub use config::RedisConfig;
pub use feed::Feed;
pub use hints::RedisHints;
pub use jobs::RedisJobs;
pub use link::RedisStatus;
pub use wakeups::RedisWakeups;

use self::{
    acks::{Acks, Pending},
    bus::Bus,
    hints::Followers,
    jobs::State,
    keys::Keys,
    link::Link,
};
use crate::{FlowResolver, InProcessHints, InProcessWakeups, QueueError, routed::Owns};

/// Everything that one process needs of one Redis. Cloned cheaply; the connections end with the last of the clones
/// and of what was made of them.
#[derive(Clone)]
pub struct RedisQueue {
    shared: Arc<Shared>,
}

/// Held by handles. The tasks hold [`Core`], and end when this goes.
struct Shared {
    core: Arc<Core>,
    outbox: wakeups::Outbox,
    hints: RedisHints,
    _stop: DropGuard,
}

/// What handles and tasks have in common.
struct Core {
    config: RedisConfig,
    keys: Keys,
    /// This process, among all that use the queue.
    process: Arc<str>,
    link: Arc<Link>,
    bus: Bus,
    acks: Acks,
    pending: Arc<Pending>,
    jobs: State,
    followers: Arc<Followers>,
    resolver: Arc<dyn FlowResolver>,
    generation: watch::Sender<u64>,
    stop: CancellationToken,
}

impl RedisQueue {
    /// Connects and looks at the server (or cluster).
    ///
    /// # Errors
    /// [`QueueError::Unavailable`]: nobody answers; to be tried again. [`QueueError::Unusable`]: not a Redis, too old,
    /// a replica, a wrong password, or wrong settings; the sentence says which, and never holds the password.
    pub async fn connect(config: RedisConfig, resolver: Arc<dyn FlowResolver>) -> Result<Self, QueueError> {
        config.check()?;
        let (link, probed) = Link::connect(&config).await?;
        let link = Arc::new(link);
        let stop = CancellationToken::new();
        let process: Arc<str> = random_id().to_string().into();
        let keys = Keys::new(&config.prefix, link.dialer.database());
        let pending = Arc::new(Pending::default());
        let local = InProcessHints::default();
        let core = Arc::new(Core {
            bus: Bus::start(Arc::clone(&link.dialer), config.timeout, stop.clone()),
            acks: Acks::start(Arc::clone(&link), keys.clone(), Arc::clone(&process), Arc::clone(&pending)),
            followers: Arc::new(Followers::new(config.shards, local.clone())),
            jobs: State::default(),
            generation: watch::Sender::new(0),
            config,
            keys,
            process,
            link,
            pending,
            resolver,
            stop: stop.clone(),
        });
        let known = keeper::first_look(&core, &probed).await?;
        core.listen().await;
        let (outbox, sendings) = wakeups::outbox();
        let hints = hints::start(&core);
        let shared = Shared { core: Arc::clone(&core), outbox, hints, _stop: stop.clone().drop_guard() };
        core.spawn(keeper::run(Arc::clone(&core), probed, known));
        // Not ended by the token: what was sent before the last handle went is still sent.
        tokio::spawn(wakeups::run(core, sendings));
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Job queues for owners and workers.
    pub fn jobs(&self) -> RedisJobs {
        RedisJobs::new(Arc::clone(&self.shared))
    }

    /// The sending end of wake-ups and reports.
    pub fn wakeups(&self) -> RedisWakeups {
        RedisWakeups::new(Arc::clone(&self.shared))
    }

    /// Hints to and from all processes, in memory where followers are here.
    pub fn hints(&self) -> RedisHints {
        self.shared.hints.clone()
    }

    /// Brings what others send for the shards that this process owns into its channel, until the answer is dropped.
    pub fn feed(&self, owns: Owns, into: InProcessWakeups) -> Feed {
        feed::start(Arc::clone(&self.shared.core), owns, into)
    }

    /// Changes when Redis was found emptied, or may have lost what it was told last: owners then push again and
    /// derive what is due. Leases that are held here are announced again without further ado.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.shared.core.generation.subscribe()
    }

    /// Whether Redis can be used now; if not, why.
    pub fn status(&self) -> watch::Receiver<RedisStatus> {
        self.shared.core.link.status()
    }
}

impl Core {
    /// Runs a task until the last handle goes.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Listens to what this process is told. Redis may go away meanwhile: then the subscriptions follow later.
    async fn listen(self: &Arc<Self>) {
        // Weak: the handlers live in the core itself.
        let core = Arc::downgrade(self);
        let told = move |message: &[u8]| {
            let Some(core) = core.upgrade() else { return };
            if core.pending.told(message) {
                return;
            }
            if let Some((b'r', group)) = message.split_first() {
                jobs::ready(&core, &String::from_utf8_lossy(group));
            }
        };
        let core = Arc::downgrade(self);
        let drained = move |message: &[u8]| {
            if let Some(core) = core.upgrade() {
                core.jobs.told_drained(&String::from_utf8_lossy(message));
            }
        };
        let followers = Arc::clone(&self.followers);
        let own = Arc::clone(&self.process);
        let followed = move |message: &[u8]| followers.told(message, &own);
        let subscriptions = [
            self.bus.subscribe(self.keys.process_channel(&self.process), Arc::new(told)),
            self.bus.subscribe(self.keys.drained_channel(), Arc::new(drained)),
            self.bus.subscribe(self.keys.followers_channel(), Arc::new(followed)),
        ];
        for result in futures::future::join_all(subscriptions).await {
            if let Err(error) = result {
                tracing::debug!(%error, "a subscription follows later");
            }
        }
    }
}

/// The name of a process, or of a generation: time and chance.
fn random_id() -> Id {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    Id::new(Timestamp::from_millis(millis), rand::random())
}
