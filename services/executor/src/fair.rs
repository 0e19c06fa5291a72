//! Work of many tenants, taken in turn and in rounds.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;
use windhover_types::Tenant;

/// How long a tenant counts as one of few items after its last one.
const REMEMBERED: Duration = Duration::from_secs(1);

/// Rounds that are under way at the same time, each with tenants of its own.
const LANES: usize = 2;

/// How long a flooding tenant rests after its round, in times of what the round took, while others have little to do.
/// A single execution passes some ten stages, here and in the database; each that is busy with a flood when it comes makes
/// it wait. On two cores, a rest of three rounds leaves it 2.5 to 3 times its latency without the flood (p99), ten about
/// twice. The flood pays with its rate: a seventh of what it has alone, as long as somebody has little to do.
const REST: u32 = 10;

/// Who has so many items waiting has many: single items of others do not share a commit with them.
const MANY: usize = 8;

/// A queue per tenant and a ring of the tenants that have something: each turn takes one item of one tenant, so that a
/// tenant with a million items delays another's single item by at most one round.
///
/// While somebody else has little to do, a tenant with much gets at most its share of a round and rests after it: single
/// items find short rounds, and processors that are not all busy with somebody's flood.
/// Tenants of whom all have much, or a tenant alone, get rounds as long as there is work.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    queues: HashMap<Tenant, VecDeque<T>>,
    ring: VecDeque<Tenant>,
    len: usize,
    /// Items of a tenant in one round, while another one has little to do.
    share: usize,
    /// Items of the round that is being taken.
    taken: HashMap<Tenant, usize>,
    /// Tenants of rounds that are under way.
    busy: HashSet<Tenant>,
    resting: HashMap<Tenant, Instant>,
    /// The last two tenants that had little to do, and until when that counts.
    light: [Option<(Tenant, Instant)>; 2],
    /// Tenants with many items wait for the round after.
    apart: bool,
    /// They have waited for one round: they are in the next.
    passed_over: bool,
}

/// When a queue gives something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Now,
    /// Whoever waits rests until then, or longer.
    At(Instant),
    /// Once a round is over.
    Later,
    Empty,
}

impl<T> FairQueue<T> {
    pub(crate) fn new(share: usize) -> Self {
        Self {
            queues: HashMap::new(),
            ring: VecDeque::new(),
            len: 0,
            share,
            taken: HashMap::new(),
            busy: HashSet::new(),
            resting: HashMap::new(),
            light: [None, None],
            apart: false,
            passed_over: false,
        }
    }

    pub(crate) fn push(&mut self, tenant: &Tenant, item: T) {
        self.len += 1;
        match self.queues.get_mut(tenant) {
            Some(queue) => queue.push_back(item),
            None => {
                self.queues.insert(tenant.clone(), VecDeque::from([item]));
                self.ring.push_back(tenant.clone());
            }
        }
    }

    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        for _ in 0..self.ring.len() {
            let tenant = self.ring.pop_front()?;
            if self.is_held_back(&tenant, now) {
                self.ring.push_back(tenant);
                continue;
            }
            let queue = self.queues.get_mut(&tenant)?;
            let item = queue.pop_front();
            let is_last = queue.is_empty();
            let taken = match self.taken.get_mut(&tenant) {
                Some(taken) => taken,
                None => self.taken.entry(tenant.clone()).or_default(),
            };
            *taken += 1;
            let is_light = is_last && *taken < self.share.min(MANY);
            if is_last {
                self.queues.remove(&tenant);
            } else {
                self.ring.push_back(tenant.clone());
            }
            if is_light {
                self.remember(tenant, now + REMEMBERED);
            }
            self.len -= usize::from(item.is_some());
            return item;
        }
        None
    }

    /// The round was taken and is under way: nothing more of its tenants until it is over.
    fn begin_round(&mut self) -> HashMap<Tenant, usize> {
        let round = std::mem::take(&mut self.taken);
        self.busy.extend(round.keys().cloned());
        round
    }

    fn end_round(&mut self, round: HashMap<Tenant, usize>, now: Instant, took: Duration) {
        round.keys().for_each(|tenant| {
            self.busy.remove(tenant);
        });
        self.rest(round, now, took);
    }

    /// For who takes the next round while one is `under_way`; `begun`: something was taken already. While others have
    /// little to do, tenants with many items wait: first for the end of what is under way, so that a single item that
    /// comes meanwhile need not share a commit with theirs, then for one round of those with few.
    pub(crate) fn arrange(&mut self, under_way: bool, begun: bool, now: Instant) {
        if !under_way && !begun {
            // A round that left nothing to do is over.
            self.taken.clear();
        }
        let few = |tenant: &Tenant| !self.has_many(tenant) && !self.is_held_back(tenant, now);
        self.apart = under_way || (!self.passed_over && (begun || self.ring.iter().any(few)));
    }

    fn has_many(&self, tenant: &Tenant) -> bool {
        self.queues.get(tenant).is_some_and(|queue| queue.len() >= MANY) && !self.taken.contains_key(tenant)
    }

    /// For who takes the next round while this one is under way: tenants that still have something after their share
    /// rest, as long as if rounds take what the last one `took`.
    pub(crate) fn next_round(&mut self, now: Instant, took: Duration) {
        let rests = |tenant| self.resting.get(tenant).is_some_and(|until| *until > now);
        self.passed_over = self.ring.iter().any(|tenant| self.has_many(tenant) && !rests(tenant));
        let round = std::mem::take(&mut self.taken);
        self.rest(round, now, took);
    }

    /// Whether those who wait share rounds with somebody who has little to do.
    pub(crate) fn is_shared(&self, now: Instant) -> bool {
        self.ring.iter().any(|tenant| self.others_have_little(tenant, now))
    }

    fn others_have_little(&self, tenant: &Tenant, now: Instant) -> bool {
        self.light.iter().flatten().any(|(other, until)| other != tenant && *until > now)
    }

    /// Tenants that have had their share, or as much as there was room for, and still have something. However long the
    /// round took (the database may have been away), a rest is over when nobody remembers any more who had little to do.
    fn rest(&mut self, round: HashMap<Tenant, usize>, now: Instant, took: Duration) {
        self.resting.retain(|_, until| *until > now);
        for (tenant, taken) in round {
            let left = self.queues.get(&tenant).map_or(0, VecDeque::len);
            if left >= MANY || (left > 0 && taken >= self.share) {
                self.resting.insert(tenant, now + took.saturating_mul(REST).min(REMEMBERED));
            }
        }
    }

    pub(crate) fn turn(&self, now: Instant) -> Turn {
        if self.len == 0 {
            return Turn::Empty;
        }
        let mut first: Option<Instant> = None;
        for tenant in &self.ring {
            if !self.is_held_back(tenant, now) {
                return Turn::Now;
            }
            let until = self.resting.get(tenant).copied().filter(|until| *until > now);
            first = first.into_iter().chain(until).min();
        }
        first.map_or(Turn::Later, Turn::At)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Everything, in no order that matters.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        self.ring.clear();
        self.len = 0;
        self.queues.drain().flat_map(|(_, queue)| queue).collect()
    }

    fn is_held_back(&self, tenant: &Tenant, now: Instant) -> bool {
        if self.busy.contains(tenant) {
            return true;
        }
        let has_had = self.taken.get(tenant).is_some_and(|taken| *taken >= self.share);
        let rests = self.resting.get(tenant).is_some_and(|until| *until > now);
        let waits = self.apart && self.has_many(tenant);
        (has_had || rests || waits) && self.others_have_little(tenant, now)
    }

    fn remember(&mut self, tenant: Tenant, until: Instant) {
        if self.light[0].as_ref().is_none_or(|(latest, _)| *latest != tenant) {
            self.light.swap(0, 1);
        }
        self.light[0] = Some((tenant, until));
    }
}

/// A round that is being taken: its items, in turn over the tenants.
pub(crate) struct Round<'a, T> {
    queue: &'a mut FairQueue<T>,
    now: Instant,
}

impl<T> Iterator for Round<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.queue.pop(self.now)
    }
}

/// Does what arrives, until nobody can send any more: `begin` takes as much as it wants of a round, and answers the work.
/// What arrives while a tenant's round is under way is in its next one; somebody else's need not wait for that.
pub(crate) async fn in_rounds<T, Work: Future<Output = ()>>(
    mut wanted: mpsc::UnboundedReceiver<T>,
    share: usize,
    tenant: fn(&T) -> &Tenant,
    begin: impl Fn(Round<'_, T>) -> Work,
) {
    let mut queue = FairQueue::new(share);
    let mut running = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !queue.is_empty() || !running.is_empty() {
        while let Ok(item) = wanted.try_recv() {
            queue.push(&tenant(&item).clone(), item);
        }
        let now = Instant::now();
        let turn = if running.len() < LANES { queue.turn(now) } else { Turn::Later };
        if turn == Turn::Now {
            let work = begin(Round { queue: &mut queue, now });
            let round = queue.begin_round();
            running.push(async move {
                work.await;
                (round, now)
            });
            continue;
        }
        let rested = async {
            match turn {
                Turn::At(until) => tokio::time::sleep_until(until.into()).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            item = wanted.recv(), if is_open => match item {
                Some(item) => queue.push(&tenant(&item).clone(), item),
                None => is_open = false,
            },
            Some((round, began)) = running.next() => {
                let now = Instant::now();
                queue.end_round(round, now, now.saturating_duration_since(began));
            }
            () = rested => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: usize = 4;

    fn tenants() -> (Tenant, Tenant) {
        (Tenant::trusted("flood"), Tenant::trusted("quiet"))
    }

    fn all<T>(queue: &mut FairQueue<T>, now: Instant) -> Vec<T> {
        std::iter::from_fn(|| queue.pop(now)).collect()
    }

    #[test]
    fn a_flooding_tenant_delays_another_by_one_turn() {
        let (flood, quiet) = tenants();
        let mut queue = FairQueue::new(SHARE);
        for item in 0..1_000 {
            queue.push(&flood, ("flood", item));
        }
        queue.push(&quiet, ("quiet", 0));
        let now = Instant::now();
        assert_eq!(queue.pop(now), Some(("flood", 0)));
        assert_eq!(queue.pop(now), Some(("quiet", 0)));
        assert_eq!(queue.pop(now), Some(("flood", 1)));
    }

    #[test]
    fn items_of_one_tenant_keep_their_order_and_a_tenant_alone_has_no_limit() {
        let tenant = Tenant::main();
        let mut queue = FairQueue::new(SHARE);
        (0..50).for_each(|item| queue.push(&tenant, item));
        assert_eq!(all(&mut queue, Instant::now()), (0..50).collect::<Vec<_>>());
        assert!(queue.is_empty());
        (0..50).for_each(|item| queue.push(&tenant, item));
        assert!(!queue.is_shared(Instant::now()), "not with itself");
    }

    #[test]
    fn while_another_has_little_to_do_a_flood_gets_its_share_of_a_round_and_rests_after_it() {
        let ((flood, quiet), now) = (tenants(), Instant::now());
        let mut queue = FairQueue::new(SHARE);
        queue.push(&quiet, 1_000);
        (0..50).for_each(|item| queue.push(&flood, item));
        assert_eq!(all(&mut queue, now), [1_000, 0, 1, 2, 3]);
        let round = queue.begin_round();
        assert_eq!(queue.turn(now), Turn::Later);
        let took = Duration::from_millis(5);
        queue.end_round(round, now, took);
        assert_eq!(queue.turn(now), Turn::At(now + took * REST));
        queue.push(&quiet, 1_001);
        assert_eq!(all(&mut queue, now), [1_001], "others do not rest");
        queue.next_round(now, took);
        let rested = now + took * REST;
        assert_eq!(all(&mut queue, rested), [4, 5, 6, 7]);
        queue.next_round(rested, Duration::from_secs(60));
        queue.push(&quiet, 1_002);
        assert_eq!(all(&mut queue, rested), [1_002]);
        assert_eq!(queue.turn(rested), Turn::At(rested + REMEMBERED), "not for as long as a database was away");
        // The quiet one is forgotten after a while.
        assert_eq!(all(&mut queue, rested + REMEMBERED).len(), 42);
    }

    #[test]
    fn single_items_go_before_many_of_another_for_one_round_and_no_longer() {
        let ((flood, quiet), now) = (tenants(), Instant::now());
        let mut queue = FairQueue::new(100);
        let round = |queue: &mut FairQueue<i32>, under_way, begun| {
            queue.arrange(under_way, begun, now);
            all(queue, now)
        };
        (0..20).for_each(|item| queue.push(&flood, item));
        assert_eq!(round(&mut queue, true, false).len(), 20, "nobody is remembered who has few");
        queue.next_round(now, Duration::ZERO);

        queue.push(&quiet, 100);
        assert_eq!(round(&mut queue, false, false), [100]);
        queue.next_round(now, Duration::ZERO);
        (20..40).for_each(|item| queue.push(&flood, item));
        assert_eq!(round(&mut queue, true, false), [0; 0], "a single item may still come");
        assert_eq!(queue.turn(now), Turn::Later);
        queue.push(&quiet, 101);
        assert_eq!(round(&mut queue, true, false), [101]);
        assert_eq!(round(&mut queue, false, true), [0; 0]);
        queue.next_round(now, Duration::ZERO);
        queue.push(&quiet, 102);
        assert_eq!(round(&mut queue, true, false), [102]);
        assert_eq!(round(&mut queue, false, true).len(), 20, "who was passed over once is in the next round");
        queue.next_round(now, Duration::ZERO);
        (40..60).for_each(|item| queue.push(&flood, item));
        assert_eq!(round(&mut queue, false, false).len(), 20, "nobody else has anything");
    }

    #[test]
    fn what_is_over_is_not_waited_for() {
        let ((flood, quiet), now) = (tenants(), Instant::now());
        let mut queue = FairQueue::new(SHARE);
        queue.push(&quiet, 1_000);
        (0..50).for_each(|item| queue.push(&flood, item));
        assert_eq!(all(&mut queue, now).len(), 1 + SHARE);
        queue.arrange(false, false, now);
        assert_eq!(queue.turn(now), Turn::Now, "what was taken has left nothing to commit");
        assert_eq!(all(&mut queue, now).len(), SHARE);
        let round = queue.begin_round();
        let took = Duration::from_millis(5);
        queue.end_round(round, now, took);
        let rested = now + took * REST;
        assert_eq!(all(&mut queue, rested).len(), SHARE);
        queue.begin_round();
        assert_eq!(queue.turn(rested), Turn::Later, "its rest is over, its round is not");
    }

    #[test]
    fn tenants_that_all_have_much_to_do_are_not_held_back() {
        let ((one, other), now) = (tenants(), Instant::now());
        let mut queue = FairQueue::new(SHARE);
        for item in 0..50 {
            queue.push(&one, item);
            queue.push(&other, item);
        }
        assert_eq!(all(&mut queue, now).len(), 100);
    }

    #[test]
    fn a_tenant_that_had_little_to_do_before_is_not_held_back_by_itself() {
        let (tenant, now) = (Tenant::main(), Instant::now());
        let mut queue = FairQueue::new(SHARE);
        queue.push(&tenant, 0);
        assert_eq!(all(&mut queue, now), [0]);
        (1..50).for_each(|item| queue.push(&tenant, item));
        assert_eq!(all(&mut queue, now).len(), 49);
    }

    #[tokio::test]
    async fn a_round_that_takes_long_does_not_keep_others_waiting() {
        let (flood, quiet) = tenants();
        let (sender, wanted) = mpsc::unbounded_channel();
        let (begun, mut rounds) = mpsc::unbounded_channel();
        let (_held, gate) = tokio::sync::watch::channel(());
        (0..3).for_each(|item| sender.send((flood.clone(), item)).unwrap());
        let running = tokio::spawn(in_rounds(
            wanted,
            SHARE,
            |(tenant, _)| tenant,
            move |round| {
                let items: Vec<(Tenant, i32)> = round.take(1).collect();
                let (begun, mut gate) = (begun.clone(), gate.clone());
                async move {
                    let is_flood = items[0].0.as_str() == "flood";
                    begun.send(items).unwrap();
                    if is_flood {
                        let _ = gate.changed().await;
                    }
                }
            },
        ));
        assert_eq!(rounds.recv().await.unwrap(), [(flood.clone(), 0)]);
        for item in 10..13 {
            sender.send((quiet.clone(), item)).unwrap();
            assert_eq!(rounds.recv().await.unwrap(), [(quiet.clone(), item)], "nothing more of the flood meanwhile");
        }
        drop(_held);
        drop(sender);
        assert_eq!(rounds.recv().await.unwrap(), [(flood.clone(), 1)]);
        assert_eq!(rounds.recv().await.unwrap(), [(flood, 2)]);
        running.await.unwrap();
    }
}
