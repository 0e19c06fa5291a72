//! What every implementation of [`JobQueue`] does, as one suite; each implementation runs it whole.

mod support;

use std::{sync::Arc, time::Duration};

use support::{LEASE, PATIENCE, connect, job, jobs, key, keys, request};
use tokio::sync::OnceCell;
use windhover_queue::{
    Cancelled, DEFAULT_GROUP, Group, GroupDepth, InProcessJobs, JobKey, JobQueue, JobsConfig, LeasedJob, PopRequest,
    QueuedJob, RedisConfig, RedisJobs, Renewal, TieredJobs,
};
use windhover_testkit::{Redis, RedisCluster, RedisOptions};
use windhover_types::Tenant;

const WINDOW: usize = 4;

/// Makes queues for the suite and lets their time pass.
trait Subject {
    type Queue: JobQueue;

    /// How long it is waited in vain.
    const VAIN: Duration;

    /// Windows of so many jobs.
    async fn queue(window: usize) -> Self::Queue;

    async fn pass(queue: &Self::Queue, time: Duration);
}

/// In memory; the clock stands still.
struct InProcess;

impl Subject for InProcess {
    type Queue = InProcessJobs;

    const VAIN: Duration = Duration::from_secs(5);

    async fn queue(window: usize) -> InProcessJobs {
        InProcessJobs::new(JobsConfig { window })
    }

    async fn pass(_: &InProcessJobs, time: Duration) {
        tokio::time::advance(time).await;
    }
}

/// One server.
struct OnRedis;

/// Three servers that share the keys.
struct OnCluster;

/// One server, with TLS and a password.
struct Guarded;

/// Memory in front of one server.
struct Tiered;

async fn on_redis(window: usize) -> RedisJobs {
    static SERVER: OnceCell<Redis> = OnceCell::const_new();
    let server = SERVER.get_or_try_init(Redis::start).await.expect("Redis starts");
    connect(RedisConfig { window, ..support::config(&server.url()) }).await.jobs()
}

async fn on_cluster(window: usize) -> RedisJobs {
    static CLUSTER: OnceCell<RedisCluster> = OnceCell::const_new();
    let cluster = CLUSTER.get_or_try_init(RedisCluster::start).await.expect("the cluster starts");
    connect(RedisConfig { urls: cluster.urls(), window, ..support::config("") }).await.jobs()
}

async fn guarded(window: usize) -> RedisJobs {
    static SERVER: OnceCell<Redis> = OnceCell::const_new();
    let options = RedisOptions { password: Some("a-good-one".to_owned()), tls: true, ..RedisOptions::default() };
    let server = SERVER.get_or_try_init(|| Redis::start_as(options)).await.expect("Redis starts");
    let ca_certificate = server.ca_certificate();
    connect(RedisConfig { window, ca_certificate, ..support::config(&server.url()) }).await.jobs()
}

macro_rules! redis_subject {
    ($subject:ty, $queue:ident) => {
        impl Subject for $subject {
            type Queue = RedisJobs;

            const VAIN: Duration = Duration::from_millis(50);

            async fn queue(window: usize) -> RedisJobs {
                $queue(window).await
            }

            async fn pass(queue: &RedisJobs, time: Duration) {
                queue.advance_clock(time);
            }
        }
    };
}

redis_subject!(OnRedis, on_redis);
redis_subject!(OnCluster, on_cluster);
redis_subject!(Guarded, guarded);

impl Subject for Tiered {
    type Queue = TieredJobs;

    const VAIN: Duration = Duration::from_millis(50);

    async fn queue(window: usize) -> TieredJobs {
        TieredJobs::new(InProcessJobs::new(JobsConfig { window }), on_redis(window).await)
    }

    async fn pass(queue: &TieredJobs, time: Duration) {
        queue.remote().advance_clock(time);
    }
}

macro_rules! suite {
    ($($module:ident: $subject:ty, $paused:literal;)+) => {
        $(mod $module {
            suite!(@tests $subject, $paused, [
                jobs_come_out_once_and_in_order,
                a_newer_dispatch_takes_the_place_of_an_older_one,
                a_full_window_refuses_and_tells_when_it_has_drained,
                a_lease_is_its_holders_until_it_expires,
                a_lease_that_is_given_up_is_told_at_once_and_as_no_loss,
                what_waits_or_is_leased_is_held_under_its_very_dispatch,
                a_released_job_is_the_next_one_again,
                a_cancelled_job_is_removed_or_its_holder_told,
                groups_keep_their_jobs_apart_and_are_served_in_turn,
                who_waits_is_woken_by_a_push,
                a_flood_delays_another_tenant_by_at_most_one_round,
                weights_share_out_the_turns,
            ]);
        })+
    };
    (@tests $subject:ty, $paused:literal, [$($name:ident),+ $(,)?]) => {
        $(#[tokio::test(start_paused = $paused)]
        async fn $name() {
            super::$name::<$subject>().await;
        })+
    };
}

suite! {
    in_process: super::InProcess, true;
    redis: super::OnRedis, false;
    redis_cluster: super::OnCluster, false;
    redis_guarded: super::Guarded, false;
    tiered: super::Tiered, false;
}

async fn pop(queue: &impl JobQueue, worker: &str, max: usize) -> Vec<LeasedJob> {
    queue.pop(request(worker, max)).await.expect("the queue is there")
}

async fn push(queue: &impl JobQueue, jobs: Vec<QueuedJob>) -> Vec<JobKey> {
    let refused = queue.push(jobs).await.expect("the queue is there");
    refused.iter().map(QueuedJob::key).collect()
}

async fn jobs_come_out_once_and_in_order<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    push(&queue, jobs("a", [1, 2, 3])).await;
    push(&queue, jobs("a", [2, 1])).await;
    assert_eq!(keys(&pop(&queue, "w", 2).await), [key(1, 1), key(2, 1)]);
    assert_eq!(pop(&queue, "w", 0).await.len(), 0);
    push(&queue, jobs("a", [1])).await;
    assert_eq!(keys(&pop(&queue, "w", 9).await), [key(3, 1)], "what is leased is not handed out again");
    assert!(queue.complete("w", key(1, 1)).await.expect("the queue is there"));
    assert!(!queue.complete("w", key(1, 1)).await.expect("the queue is there"), "completed once");
}

async fn a_newer_dispatch_takes_the_place_of_an_older_one<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    push(&queue, vec![job("a", 1, 1, None), job("a", 2, 1, None)]).await;
    push(&queue, vec![job("a", 1, 2, None)]).await;
    push(&queue, vec![job("a", 1, 1, None)]).await;
    assert_eq!(keys(&pop(&queue, "old", 9).await), [key(2, 1), key(1, 2)]);
    push(&queue, vec![job("a", 1, 3, None)]).await;
    let renewed = queue.renew("old", &[key(1, 2), key(2, 1)], LEASE).await.expect("the queue is there");
    assert_eq!(renewed, [Renewal::Lost, Renewal::Held { kill: false }]);
    assert!(!queue.complete("old", key(1, 2)).await.expect("the queue is there"));
    assert_eq!(keys(&pop(&queue, "new", 9).await), [key(1, 3)]);
}

async fn a_full_window_refuses_and_tells_when_it_has_drained<S: Subject>() {
    let queue = S::queue(WINDOW).await;
    let tenant = Tenant::trusted("a");
    assert_eq!(push(&queue, jobs("a", 1..=6)).await, [key(5, 1), key(6, 1)]);
    assert_eq!(queue.room(&tenant, DEFAULT_GROUP).await.expect("the queue is there"), 0);
    assert_eq!(push(&queue, jobs("b", [10])).await, [], "another tenant has a window of its own");
    let expected = [GroupDepth { group: DEFAULT_GROUP.into(), tenant: tenant.clone(), waiting: 4, leased: 0 }];
    assert_eq!(queue.depths().await.expect("the queue is there")[..1], expected);
    let mut drained = std::pin::pin!(queue.drained());
    assert_eq!(keys(&pop(&queue, "w", 1).await), [key(1, 1)]);
    assert!(poll_once(drained.as_mut()).await.is_none(), "still more than half full");
    queue.cancel(&[key(2, 1)]).await.expect("the queue is there");
    let drained = tokio::time::timeout(PATIENCE, drained).await.expect("it is told");
    assert_eq!(drained, [(tenant.clone(), Group::from(DEFAULT_GROUP))]);
    assert_eq!(queue.room(&tenant, DEFAULT_GROUP).await.expect("the queue is there"), 2);
    assert_eq!(push(&queue, jobs("a", [5, 6])).await, []);
}

/// Polls once.
async fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut future = Some(future);
    std::future::poll_fn(|context| {
        let polled = future.take().map(|future| future.poll(context));
        std::task::Poll::Ready(match polled {
            Some(std::task::Poll::Ready(output)) => Some(output),
            _ => None,
        })
    })
    .await
}

async fn a_lease_is_its_holders_until_it_expires<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    push(&queue, jobs("a", [1, 2])).await;
    pop(&queue, "w", 2).await;
    let none = queue.renew("thief", &[key(1, 1)], LEASE).await.expect("the queue is there");
    assert_eq!(none, [Renewal::Lost]);
    assert!(!queue.complete("thief", key(1, 1)).await.expect("the queue is there"));
    S::pass(&queue, LEASE / 2).await;
    queue.renew("w", &[key(2, 1)], LEASE).await.expect("the queue is there");
    S::pass(&queue, LEASE / 2).await;
    assert_eq!(queue.expired(&[0, 2, 3]).await.expect("the queue is there"), [], "another shard's");
    let expired = queue.expired(&[0, 1]).await.expect("the queue is there");
    assert_eq!(
        expired.iter().map(|lease| (lease.key, lease.shard, lease.worker.as_str())).collect::<Vec<_>>(),
        [(key(1, 1), 1, "w")]
    );
    assert_eq!(queue.expired(&[0, 1]).await.expect("the queue is there"), [], "told once");
    let renewed = queue.renew("w", &[key(1, 1), key(2, 1)], LEASE).await.expect("the queue is there");
    assert_eq!(renewed, [Renewal::Lost, Renewal::Held { kill: false }]);
    push(&queue, vec![job("a", 1, 2, None)]).await;
    assert_eq!(keys(&pop(&queue, "w", 9).await), [key(1, 2)]);
}

async fn a_lease_that_is_given_up_is_told_at_once_and_as_no_loss<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    push(&queue, jobs("a", [1, 2])).await;
    pop(&queue, "w", 2).await;
    let renewed = queue.renew("w", &[key(1, 1)], Duration::ZERO).await.expect("the queue is there");
    assert_eq!(renewed, [Renewal::Held { kill: false }], "it is its own until somebody is told");
    let told = async || {
        let expired = queue.expired(&[0, 1, 2]).await.expect("the queue is there");
        expired.into_iter().map(|lease| (lease.key, lease.given_up)).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [(key(1, 1), true)]);
    S::pass(&queue, LEASE).await;
    assert_eq!(told().await, [(key(2, 1), false)], "of the other nothing was heard");
    // Given up and given back in one: whoever has it next is lost like everybody.
    push(&queue, vec![job("a", 1, 2, None)]).await;
    let taken = pop(&queue, "w", 1).await;
    queue.renew("w", &[key(1, 2)], Duration::ZERO).await.expect("the queue is there");
    queue.release("w", taken.into_iter().map(|leased| leased.job).collect()).await.expect("the queue is there");
    assert_eq!(keys(&pop(&queue, "v", 1).await), [key(1, 2)]);
    S::pass(&queue, LEASE).await;
    assert_eq!(told().await, [(key(1, 2), false)]);
}

async fn what_waits_or_is_leased_is_held_under_its_very_dispatch<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    push(&queue, vec![job("a", 1, 2, None), job("a", 2, 1, Some("gpu")), job("b", 3, 1, None)]).await;
    assert_eq!(keys(&pop(&queue, "w", 1).await), [key(1, 2)]);
    let asked = [key(1, 2), key(1, 1), key(1, 3), key(2, 1), key(3, 1), key(9, 1)];
    let held = queue.held(&asked).await.expect("the queue is there");
    assert_eq!(held, [true, false, false, true, true, false]);
    assert!(queue.complete("w", key(1, 2)).await.expect("the queue is there"));
    queue.cancel(&[key(3, 1)]).await.expect("the queue is there");
    assert_eq!(queue.held(&[key(1, 2), key(3, 1)]).await.expect("the queue is there"), [false, false]);
    assert!(queue.held(&[]).await.expect("the queue is there").is_empty());
    push(&queue, vec![job("a", 4, 1, None)]).await;
    pop(&queue, "w", 1).await;
    S::pass(&queue, LEASE).await;
    assert_eq!(queue.held(&[key(4, 1)]).await.expect("the queue is there"), [true], "until it is told as expired");
    queue.expired(&[0, 1, 2, 3]).await.expect("the queue is there");
    assert_eq!(queue.held(&[key(4, 1)]).await.expect("the queue is there"), [false]);
}

async fn a_released_job_is_the_next_one_again<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    push(&queue, jobs("a", [1, 2, 3])).await;
    let taken = pop(&queue, "w", 2).await;
    queue.release("thief", taken.iter().map(|leased| leased.job.clone()).collect()).await.expect("the queue is there");
    assert_eq!(keys(&pop(&queue, "v", 9).await), [key(3, 1)], "only the holder can give back");
    queue.release("w", taken.into_iter().map(|leased| leased.job).collect()).await.expect("the queue is there");
    assert_eq!(keys(&pop(&queue, "v", 9).await), [key(1, 1), key(2, 1)]);
}

async fn a_cancelled_job_is_removed_or_its_holder_told<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    let mut hints = queue.kill_hints("w").await.expect("the queue is there");
    push(&queue, jobs("a", [1, 2, 3])).await;
    let taken = pop(&queue, "w", 1).await;
    let outcome = queue.cancel(&[key(1, 1), key(2, 1), key(3, 7), key(9, 1)]).await.expect("the queue is there");
    assert_eq!(outcome, [Cancelled::Told, Cancelled::Removed, Cancelled::Unknown, Cancelled::Unknown]);
    let hint = tokio::time::timeout(PATIENCE, hints.recv()).await.expect("a hint comes");
    assert_eq!(hint, Some(key(1, 1)));
    let renewed = queue.renew("w", &[key(1, 1)], LEASE).await.expect("the queue is there");
    assert_eq!(renewed, [Renewal::Held { kill: true }], "the wish rides on every renewal");
    queue.release("w", taken.into_iter().map(|leased| leased.job).collect()).await.expect("the queue is there");
    let again = pop(&queue, "v", 9).await;
    let seen: Vec<_> = again.iter().map(|leased| (leased.job.key(), leased.kill)).collect();
    assert_eq!(seen, [(key(1, 1), true), (key(3, 1), false)], "and survives a release");
}

async fn groups_keep_their_jobs_apart_and_are_served_in_turn<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    push(&queue, jobs("a", 1..=3)).await;
    push(&queue, vec![job("a", 10, 1, Some("gpu")), job("a", 11, 1, Some("gpu")), job("a", 12, 1, Some("arm"))]).await;
    let both = PopRequest { groups: vec![DEFAULT_GROUP.into(), "gpu".into()], ..request("w", 4) };
    let mut taken = keys(&queue.pop(both.clone()).await.expect("the queue is there"));
    taken.sort();
    let mut expected = vec![key(1, 1), key(2, 1), key(10, 1), key(11, 1)];
    expected.sort();
    assert_eq!(taken, expected, "a full group does not hide another");
    assert_eq!(keys(&queue.pop(both).await.expect("the queue is there")), [key(3, 1)]);
}

async fn who_waits_is_woken_by_a_push<S: Subject>() {
    let queue = Arc::new(S::queue(usize::MAX).await);
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pop(PopRequest { wait: Duration::from_secs(3_600), ..request("w", 1) }).await }
    });
    tokio::task::yield_now().await;
    push(queue.as_ref(), jobs("a", [1])).await;
    let taken = waiting.await.expect("no panic").expect("the queue is there");
    assert_eq!(keys(&taken), [key(1, 1)]);
    let none = queue.pop(PopRequest { wait: S::VAIN, ..request("w", 1) }).await.expect("the queue is there");
    assert!(none.is_empty(), "gives up when the time is over");
}

async fn a_flood_delays_another_tenant_by_at_most_one_round<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    push(&queue, jobs("flood", 0..20_000)).await;
    push(&queue, jobs("flood2", 20_000..30_000)).await;
    // In the middle of the flood, at any place of a round.
    for (round, before) in [0_usize, 1, 2, 3, 50].into_iter().enumerate() {
        pop(&queue, "w", before).await;
        let single = 100_000 + u32::try_from(round).expect("small");
        push(&queue, jobs("quiet", [single])).await;
        let taken = keys(&pop(&queue, "w", 3).await);
        assert!(taken.contains(&key(single, 1)), "one job of each of the others, then this one: {taken:?}");
    }
}

async fn weights_share_out_the_turns<S: Subject>() {
    let queue = S::queue(usize::MAX).await;
    queue.set_weight(&Tenant::trusted("heavy"), 3).await.expect("the queue is there");
    push(&queue, jobs("heavy", 0..100)).await;
    push(&queue, jobs("light", 100..200)).await;
    let taken = pop(&queue, "w", 40).await;
    let heavy = taken.iter().filter(|leased| leased.job.tenant.as_str() == "heavy").count();
    assert_eq!(heavy, 30);
}
