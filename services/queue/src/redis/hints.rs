//! [`Hints`] between processes: a channel per shard, used only while somebody in another process follows it.
//!
//! Followers say on one channel which shards they follow, at once and then every few seconds. Whoever publishes
//! remembers that for a while; the first time it hears of a shard it sends one hint for all of it, so that what was
//! committed before it knew is looked at.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use windhover_types::{Id, Tenant, shard_of};

use super::{Core, script::command};
use crate::{Hints, InProcessHints, Subscription, hints::Guard};

/// How often followers say again what they follow.
const ANNOUNCE: Duration = Duration::from_secs(3);

/// How long a publisher believes them.
const BELIEVED: Duration = Duration::from_secs(10);

/// A subscription outlives its last follower by this: another comes soon, as a rule.
const LINGER: Duration = Duration::from_secs(10);

/// Hints that may wait to be published; what finds no room becomes one hint for the whole shard.
const CAPACITY: usize = 8_192;

/// Hints to and from all processes: in memory where the follower is here, over Redis for the others.
#[derive(Clone)]
pub struct RedisHints {
    followers: Arc<Followers>,
    publish: mpsc::Sender<(u16, Tenant, Id)>,
}

/// Who follows what, here and elsewhere.
pub(super) struct Followers {
    local: InProcessHints,
    /// Reference point of the times below.
    start: Instant,
    shards: Vec<Shard>,
    /// Followers of this process by shard, and since when there is none.
    here: Mutex<HashMap<u16, Followed>>,
    /// Something changed in `here`, or somebody new follows elsewhere.
    changed: Notify,
}

#[derive(Default)]
struct Shard {
    /// Milliseconds after `start`; 0 = nobody follows elsewhere.
    followed_until: AtomicU64,
    /// This process has published (or would have) something of this shard.
    notified: AtomicBool,
    /// Everything of the shard is to be looked at.
    all: AtomicBool,
}

struct Followed {
    count: usize,
    since: Instant,
}

impl Followers {
    pub(super) fn new(shards: u16, local: InProcessHints) -> Self {
        Self {
            local,
            start: Instant::now(),
            shards: (0..shards).map(|_| Shard::default()).collect(),
            here: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn count(&self) -> u16 {
        u16::try_from(self.shards.len()).unwrap_or(u16::MAX)
    }

    fn follow(self: &Arc<Self>, shard: u16, subscription: Subscription) -> Subscription {
        let first = {
            let mut here = self.here.lock();
            let followed = here.entry(shard).or_insert(Followed { count: 0, since: Instant::now() });
            followed.count += 1;
            followed.count == 1
        };
        if first {
            self.changed.notify_one();
        }
        subscription.with(Arc::new(Following { shard, followers: Arc::clone(self) }))
    }

    /// Reads what a process says of its followers: its name, then shards.
    pub(super) fn told(&self, message: &[u8], own: &str) {
        let text = String::from_utf8_lossy(message);
        let mut words = text.split(' ');
        if words.next().is_none_or(|process| process == own) {
            return;
        }
        let now = self.millis();
        let until = now.saturating_add(u64::try_from(BELIEVED.as_millis()).unwrap_or(u64::MAX));
        let mut new = false;
        for shard in words.filter_map(|word| self.shards.get(word.parse::<usize>().ok()?)) {
            let before = shard.followed_until.swap(until, Ordering::SeqCst);
            // What was committed until now was not told.
            if before < now && shard.notified.load(Ordering::SeqCst) {
                shard.all.store(true, Ordering::SeqCst);
                new = true;
            }
        }
        if new {
            self.changed.notify_one();
        }
    }

    /// Reads hints of another process: its name, then tenants and executions in turn; none = look at everything.
    fn hinted(&self, shard: u16, message: &[u8], own: &str) {
        let text = String::from_utf8_lossy(message);
        let mut words = text.split(' ');
        if words.next().is_none_or(|process| process == own) {
            return;
        }
        let mut all = true;
        while let (Some(tenant), Some(execution)) = (words.next(), words.next()) {
            all = false;
            if let Ok(execution) = execution.parse() {
                self.local.notify(shard, &Tenant::trusted(tenant), execution);
            }
        }
        if all {
            self.look_at(|other| other == shard);
        }
    }

    fn look_at(&self, concerned: impl Fn(u16) -> bool) {
        self.local.notify_all(|execution, shard| match (execution, shard) {
            (Some((tenant, id)), _) => concerned(shard_of(tenant, id, self.count())),
            (None, Some(shard)) => concerned(shard),
            (None, None) => false,
        });
    }
}

impl Hints for RedisHints {
    fn subscribe(&self, tenant: &Tenant, execution: Id) -> Subscription {
        let shard = shard_of(tenant, execution, self.followers.count());
        self.followers.follow(shard, self.followers.local.subscribe(tenant, execution))
    }

    fn subscribe_shard(&self, shard: u16) -> Subscription {
        self.followers.follow(shard, self.followers.local.subscribe_shard(shard))
    }

    fn notify(&self, shard: u16, tenant: &Tenant, execution: Id) {
        self.followers.local.notify(shard, tenant, execution);
        let Some(state) = self.followers.shards.get(usize::from(shard)) else { return };
        // Before the look at the followers: who comes between the two is told to look at everything.
        if !state.notified.load(Ordering::SeqCst) {
            state.notified.store(true, Ordering::SeqCst);
        }
        let until = state.followed_until.load(Ordering::SeqCst);
        if until != 0
            && until >= self.followers.millis()
            && self.publish.try_send((shard, tenant.clone(), execution)).is_err()
        {
            state.all.store(true, Ordering::SeqCst);
            self.followers.changed.notify_one();
        }
    }
}

/// Ends a follower's share in its shard.
struct Following {
    shard: u16,
    followers: Arc<Followers>,
}

impl Guard for Following {}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(followed) = self.followers.here.lock().get_mut(&self.shard) {
            followed.count = followed.count.saturating_sub(1);
            followed.since = Instant::now();
        }
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.shard)
    }
}

impl fmt::Debug for RedisHints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisHints").finish_non_exhaustive()
    }
}

/// The handle and its tasks.
pub(super) fn start(core: &Arc<Core>) -> RedisHints {
    let (publish, hints) = mpsc::channel(CAPACITY);
    core.spawn(publish_hints(Arc::clone(core), hints));
    core.spawn(follow_shards(Arc::clone(core)));
    RedisHints { followers: Arc::clone(&core.followers), publish }
}

/// Publishes what came while the last messages were under way, one message per shard.
async fn publish_hints(core: Arc<Core>, mut hints: mpsc::Receiver<(u16, Tenant, Id)>) {
    let mut batch = Vec::new();
    while hints.recv_many(&mut batch, 2_048).await > 0 {
        let mut messages: BTreeMap<u16, String> = BTreeMap::new();
        let mut seen = HashSet::new();
        for (shard, tenant, execution) in batch.drain(..) {
            if seen.insert((shard, tenant.clone(), execution)) {
                let message = messages.entry(shard).or_insert_with(|| core.process.to_string());
                message.push_str(&format!(" {tenant} {execution}"));
            }
        }
        publish(&core, messages).await;
    }
}

async fn publish(core: &Core, messages: BTreeMap<u16, String>) {
    let published = messages.into_iter().map(|(shard, message)| {
        let channel = core.keys.hints_channel(shard);
        async move { core.link.query::<()>(&command("PUBLISH", &[channel.as_bytes(), message.as_bytes()])).await }
    });
    for result in futures::future::join_all(published).await {
        if let Err(error) = result {
            tracing::debug!(%error, "hints are lost; followers look by themselves");
        }
    }
}

/// Keeps the subscriptions of this process as its followers need them, and says what they follow.
async fn follow_shards(core: Arc<Core>) {
    let followers = &core.followers;
    let mut subscribed: HashSet<u16> = HashSet::new();
    let mut connections = core.bus.connections();
    let mut announce = tokio::time::interval(ANNOUNCE);
    announce.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut everything = false;
        tokio::select! {
            () = followers.changed.notified() => {}
            _ = announce.tick() => everything = true,
            changed = connections.changed() => {
                if changed.is_err() {
                    return;
                }
                // Whatever was published while nobody listened was missed.
                followers.look_at(|_| true);
                everything = true;
            }
        }
        look_at_all(&core).await;
        let (wanted, unwanted) = wanted(followers, &subscribed);
        for shard in unwanted {
            subscribed.remove(&shard);
            core.bus.unsubscribe(core.keys.hints_channel(shard));
        }
        let new: Vec<u16> = wanted.iter().copied().filter(|shard| subscribed.insert(*shard)).collect();
        let subscriptions = new.iter().map(|shard| {
            let (core, shard) = (Arc::downgrade(&core), *shard);
            let channel = core.upgrade().map(|core| core.keys.hints_channel(shard));
            async move {
                let (Some(strong), Some(channel)) = (core.upgrade(), channel) else { return };
                let hinted = move |message: &[u8]| {
                    if let Some(core) = core.upgrade() {
                        core.followers.hinted(shard, message, &core.process);
                    }
                };
                // An error: it follows with the next connection, and everybody looks then.
                let _ = strong.bus.subscribe(channel, Arc::new(hinted)).await;
            }
        });
        futures::future::join_all(subscriptions).await;
        let announced: Vec<u16> = if everything { wanted } else { new };
        if !announced.is_empty() {
            let mut message = core.process.to_string();
            announced.iter().for_each(|shard| message.push_str(&format!(" {shard}")));
            let channel = core.keys.followers_channel();
            let publish = command("PUBLISH", &[channel.as_bytes(), message.as_bytes()]);
            if let Err(error) = core.link.query::<()>(&publish).await {
                tracing::debug!(%error, "nobody hears of new followers; they look by themselves");
            }
        }
    }
}

/// Sends one hint for everything of each shard that has a new follower, or more hints than could wait.
async fn look_at_all(core: &Core) {
    let mut messages = BTreeMap::new();
    for (number, shard) in core.followers.shards.iter().enumerate() {
        if shard.all.swap(false, Ordering::SeqCst)
            && let Ok(number) = u16::try_from(number)
        {
            messages.insert(number, core.process.to_string());
        }
    }
    publish(core, messages).await;
}

/// Shards to listen to, and those that nobody has followed for a while.
fn wanted(followers: &Followers, subscribed: &HashSet<u16>) -> (Vec<u16>, Vec<u16>) {
    let mut here = followers.here.lock();
    here.retain(|_, followed| followed.count > 0 || followed.since.elapsed() < LINGER);
    let wanted: Vec<u16> = here.keys().copied().collect();
    let unwanted = subscribed.iter().copied().filter(|shard| !here.contains_key(shard)).collect();
    (wanted, unwanted)
}
