//! What is particular to Redis: processes that do not share memory, and a server that comes and goes.

mod support;

use std::{collections::HashSet, sync::Arc, time::Duration};

use support::{LEASE, OneFlow, PATIENCE, config, connect, id, job, jobs, key, keys, report, request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::OnceCell,
    time::timeout,
};
use windhover_queue::{
    Acknowledge, Feed, Hints, InProcessJobs, JobQueue, JobsConfig, Owns, PopRequest, QueueError, QueuedJob,
    RedisConfig, RedisQueue, RedisStatus, Renewal, ReportKind, RoutedWakeups, TieredJobs, Wake, WakeReceiver, Wakeups,
    in_process_wakeups,
};
use windhover_testkit::{Redis, RedisCluster, RedisOptions, wait_until};
use windhover_types::{State, Tenant, shard_of};

/// For tests that leave the server as it is.
async fn server() -> &'static Redis {
    static SERVER: OnceCell<Redis> = OnceCell::const_new();
    SERVER.get_or_try_init(Redis::start).await.expect("Redis starts")
}

fn owns(shards: &'static [u16]) -> Owns {
    Arc::new(move |shard| shards.contains(&shard))
}

/// An owner of shards: what is sent for them comes out of the receiver.
fn owner(queue: &RedisQueue, shards: &'static [u16]) -> (WakeReceiver, Feed) {
    let (sender, receiver) = in_process_wakeups(64);
    let feed = queue.feed(owns(shards), sender);
    (receiver, feed)
}

async fn receive(receiver: &mut WakeReceiver) -> Vec<Wake> {
    timeout(PATIENCE, receiver.receive()).await.expect("something comes").expect("the feed goes on")
}

/// Sends looks until one arrives: from then on nothing that is sent is missed.
async fn settle(from: &RedisQueue, receiver: &mut WakeReceiver, shard: u16) {
    wait_until("the owner to read", PATIENCE, || {
        from.wakeups().try_send(vec![Wake::Look { shard, tenant: Tenant::main(), execution: id(0) }]);
        let seen = !receiver.take().is_empty();
        async move { seen.then_some(()) }
    })
    .await
    .expect("the owner reads");
}

/// The next report, and how to acknowledge it.
async fn next_report(receiver: &mut WakeReceiver) -> (windhover_queue::Report, Acknowledge) {
    loop {
        for wake in receive(receiver).await {
            if let Wake::Report { report, acknowledge } = wake {
                return (report, acknowledge);
            }
        }
    }
}

async fn reports_reach_the_owner_and_acknowledgements_the_sender(config: RedisConfig) {
    let (worker, executor) = (connect(config.clone()).await, connect(config).await);
    let (mut receiver, _feed) = owner(&executor, &[0, 1, 2]);
    for shard in 0..3 {
        settle(&worker, &mut receiver, shard).await;
        let sent = report(u32::from(shard), "out");
        let (acknowledge, acknowledged) = Acknowledge::pair();
        // Another's comes first and must not be seen here.
        let other = Wake::Report { report: report(3, "other"), acknowledge: Acknowledge::nobody() };
        let wake = Wake::Report { report: sent.clone(), acknowledge };
        worker.wakeups().send(vec![other, wake]).await.expect("Redis is there");
        let (got, acknowledge) = next_report(&mut receiver).await;
        assert_eq!(format!("{sent:?}"), format!("{got:?}"));
        let (ReportKind::Ended { result: sent }, ReportKind::Ended { result: got }) = (sent.kind, got.kind) else {
            panic!("a result")
        };
        assert_eq!(sent, got, "with lines and metrics");
        acknowledge.done();
        timeout(PATIENCE, acknowledged).await.expect("it is acknowledged").expect("as committed");
    }
}

#[tokio::test]
async fn reports_and_acknowledgements_cross_processes() {
    reports_reach_the_owner_and_acknowledgements_the_sender(config(&server().await.url())).await;
}

#[tokio::test]
async fn a_cluster_carries_reports_and_tells_when_one_node_was_emptied_or_restarted() {
    let cluster = RedisCluster::start().await.expect("the cluster starts");
    let config = RedisConfig { urls: cluster.urls(), ..config("") };
    reports_reach_the_owner_and_acknowledgements_the_sender(config.clone()).await;
    let queue = connect(config).await;
    let mut generation = queue.generation();
    for (number, node) in cluster.nodes().iter().enumerate() {
        node.flush_all().await.expect("FLUSHALL");
        timeout(PATIENCE, generation.changed()).await.unwrap_or_else(|_| panic!("node {number}")).expect("told");
    }
    let mut status = queue.status();
    for node in cluster.nodes() {
        node.stop().await.expect("stopped");
        let mut away = |status: &RedisStatus| matches!(status, RedisStatus::Away(_));
        timeout(PATIENCE, status.wait_for(&mut away)).await.expect("noticed").expect("told");
        node.start_again().await.expect("started");
        let mut back = |status: &RedisStatus| *status == RedisStatus::Available;
        timeout(PATIENCE, status.wait_for(&mut back)).await.expect("noticed").expect("told");
    }
    queue.jobs().push(jobs("a", [1])).await.expect("pushed");
    assert_eq!(keys(&queue.jobs().pop(request("w", 1)).await.expect("taken")), [key(1, 1)]);
}

#[tokio::test]
async fn what_is_not_acknowledged_is_sent_again_by_its_sender() {
    let config = RedisConfig { ack_timeout: Duration::from_millis(200), ..config(&server().await.url()) };
    let (worker, executor) = (connect(config.clone()).await, connect(config).await);
    let (mut receiver, _feed) = owner(&executor, &[1]);
    settle(&worker, &mut receiver, 1).await;
    let (mut acknowledged, mut acknowledge);
    macro_rules! send {
        () => {
            (acknowledge, acknowledged) = Acknowledge::pair();
            worker.wakeups().send(vec![Wake::Report { report: report(1, ""), acknowledge }]).await.expect("sent");
        };
    }
    send!();
    drop(next_report(&mut receiver).await);
    timeout(PATIENCE, acknowledged).await.expect("told").expect_err("dropped by the owner");
    send!();
    let (_, kept) = next_report(&mut receiver).await;
    timeout(PATIENCE, acknowledged).await.expect("told").expect_err("the sender's time is over");
    send!();
    let (_, again) = next_report(&mut receiver).await;
    // The late acknowledgement of the one before is not one of this.
    kept.done();
    again.done();
    timeout(PATIENCE, acknowledged).await.expect("told").expect("the doubled one is acknowledged for itself");
}

#[tokio::test]
async fn large_results_leave_the_stream_and_too_large_ones_fail_with_the_reason() {
    let server = Redis::start().await.expect("Redis starts");
    let config = RedisConfig { max_report_bytes: 100_000, ..config(&server.url()) };
    let prefix = config.prefix.clone();
    let (worker, executor) = (connect(config.clone()).await, connect(config).await);
    let (mut receiver, _feed) = owner(&executor, &[1]);
    settle(&worker, &mut receiver, 1).await;
    for (size, state) in [(50_000, State::Success), (200_000, State::Failed)] {
        let report = report(1, &"x".repeat(size));
        let wake = Wake::Report { report, acknowledge: Acknowledge::nobody() };
        worker.wakeups().send(vec![wake]).await.expect("sent");
        let (got, _) = next_report(&mut receiver).await;
        let ReportKind::Ended { result } = got.kind else { panic!("a result") };
        assert_eq!(result.state, state);
        let error = result.error.unwrap_or_default();
        assert_eq!(state == State::Failed, error.contains("at most 100000"), "{error}");
        assert_eq!(result.logs.last().is_some_and(|line| line.message == error), state == State::Failed);
    }
    wait_until("the large entry to go", PATIENCE, || async {
        let size = server.command(&format!("MEMORY USAGE {{{prefix}:s1}}:wakes")).await.ok()?;
        let size: usize = size.trim().trim_start_matches(':').parse().ok()?;
        (size < 50_000).then_some(())
    })
    .await
    .expect("what was read is not kept");
}

#[tokio::test]
async fn routed_wakeups_go_by_memory_to_own_shards_and_by_redis_to_others() {
    let config = config(&server().await.url());
    let (here, there) = (connect(config.clone()).await, connect(config).await);
    let (mut receiver, _feed) = owner(&there, &[2]);
    settle(&here, &mut receiver, 2).await;
    let (local, mut own) = in_process_wakeups(8);
    let routed = RoutedWakeups::new(local, owns(&[1]), here.wakeups());
    let wakes = [1, 2].map(|number| Wake::Report { report: report(number, ""), acknowledge: Acknowledge::nobody() });
    routed.send(wakes.into()).await.expect("sent");
    let first = own.take();
    assert!(matches!(&first[..], [Wake::Report { report, .. }] if report.shard == 1), "{first:?}");
    assert_eq!(next_report(&mut receiver).await.0.shard, 2);
}

#[tokio::test]
async fn hints_are_published_only_while_somebody_elsewhere_follows() {
    let server = Redis::start().await.expect("Redis starts");
    let config = config(&server.url());
    let (gateway, executor) = (connect(config.clone()).await, connect(config).await);
    let (tenant, execution) = (Tenant::main(), id(7));
    let shard = shard_of(&tenant, execution, support::SHARDS);
    let published = async || {
        let stats = server.command("INFO commandstats").await.expect("INFO");
        let line = stats.lines().find(|line| line.starts_with("cmdstat_publish:")).map(str::to_owned);
        line.and_then(|line| line.split(['=', ',']).nth(1)?.parse::<u32>().ok()).unwrap_or(0)
    };
    for _ in 0..100 {
        executor.hints().notify(shard, &tenant, execution);
    }
    assert_eq!(published().await, 0);

    let mut follower = gateway.hints().subscribe(&tenant, execution);
    // Without another commit: what was committed before the executor knew of the follower.
    assert!(timeout(PATIENCE, follower.changed()).await.expect("it is told to look"));
    let mut own = executor.hints().subscribe(&tenant, execution);
    executor.hints().notify(shard, &tenant, execution);
    assert!(own.take(), "who follows in the same process hears it at once");
    assert!(timeout(PATIENCE, follower.changed()).await.expect("a hint comes"));
}

#[tokio::test]
async fn after_a_flush_leases_are_announced_again_and_owners_push_again() {
    let server = Redis::start().await.expect("Redis starts");
    let config = config(&server.url());
    let (worker, executor) = (connect(config.clone()).await, connect(config).await);
    let mut generation = executor.generation();
    let (held, owned) = (worker.jobs(), executor.jobs());
    owned.set_weight(&Tenant::trusted("heavy"), 3).await.expect("set");
    owned.push(jobs("a", 1..=3)).await.expect("pushed");
    let taken = held.pop(request("w", 2)).await.expect("taken");
    assert_eq!(keys(&taken), [key(1, 1), key(2, 1)]);
    server.flush_all().await.expect("FLUSHALL");
    timeout(PATIENCE, generation.changed()).await.expect("it is noticed").expect("told");
    wait_until("the worker to announce what it holds", PATIENCE, || async {
        let depths = owned.depths().await.ok()?;
        depths.iter().any(|depth| depth.leased == 2).then_some(())
    })
    .await
    .expect("announced");
    owned.push(jobs("a", 1..=3)).await.expect("pushed again");
    assert_eq!(keys(&held.pop(request("v", 9)).await.expect("taken")), [key(3, 1)], "the others run");
    let renewed = held.renew("w", &[key(1, 1), key(2, 1)], LEASE).await.expect("renewed");
    assert_eq!(renewed, [Renewal::Held { kill: false }; 2]);
    assert!(held.complete("w", key(1, 1)).await.expect("completed"));
    held.release("w", vec![taken[1].job.clone()]).await.expect("given back");
    assert_eq!(keys(&held.pop(request("v", 9)).await.expect("taken")), [key(2, 1)]);
    owned.push(jobs("heavy", 10..20)).await.expect("pushed");
    owned.push(jobs("light", 20..30)).await.expect("pushed");
    let taken = held.pop(request("v", 8)).await.expect("taken");
    assert_eq!(taken.iter().filter(|job| job.job.tenant.as_str() == "heavy").count(), 6, "weights are set again");
}

#[tokio::test]
async fn a_holder_that_renews_before_the_flush_was_noticed_keeps_its_lease() {
    let server = Redis::start().await.expect("Redis starts");
    let queue = connect(config(&server.url())).await.jobs();
    queue.push(jobs("a", [1])).await.expect("pushed");
    queue.pop(request("w", 1)).await.expect("taken");
    server.flush_all().await.expect("FLUSHALL");
    // Its owner was quicker, and somebody else would have taken it.
    queue.push(jobs("a", [1])).await.expect("pushed again");
    assert_eq!(queue.renew("w", &[key(1, 1)], LEASE).await.expect("renewed"), [Renewal::Held { kill: false }]);
    assert_eq!(keys(&queue.pop(request("v", 9)).await.expect("taken")), []);
    assert!(queue.complete("w", key(1, 1)).await.expect("completed"));
}

#[tokio::test]
async fn while_redis_is_away_calls_say_so_and_afterwards_everything_goes_on() {
    let server = Redis::start().await.expect("Redis starts");
    // A call that waited for an answer would wait for longer than the test does.
    let config = RedisConfig { timeout: PATIENCE * 10, ..config(&server.url()) };
    let (queue, executor) = (connect(config.clone()).await, connect(config).await);
    let (mut receiver, _feed) = owner(&executor, &[1]);
    settle(&queue, &mut receiver, 1).await;
    let (jobs, mut status, mut generation) = (queue.jobs(), queue.status(), queue.generation());
    let mut kills = jobs.kill_hints("w").await.expect("subscribed");
    let waiting = tokio::spawn({
        let jobs = jobs.clone();
        async move { jobs.pop(PopRequest { wait: PATIENCE, ..request("w", 1) }).await }
    });
    server.stop().await.expect("stopped");
    let mut away = |status: &RedisStatus| matches!(status, RedisStatus::Away(_));
    timeout(PATIENCE, status.wait_for(&mut away)).await.expect("noticed").expect("told");
    let calls = async {
        [
            jobs.push(support::jobs("a", [1])).await.map(drop),
            jobs.pop(request("w", 1)).await.map(drop),
            jobs.renew("w", &[key(1, 1)], LEASE).await.map(drop),
            jobs.complete("w", key(1, 1)).await.map(drop),
            jobs.cancel(&[key(1, 1)]).await.map(drop),
            jobs.depths().await.map(drop),
            queue
                .wakeups()
                .send(vec![Wake::Report { report: report(1, ""), acknowledge: Acknowledge::nobody() }])
                .await,
        ]
    };
    let errors = timeout(PATIENCE, calls).await.expect("they answer at once");
    for error in errors {
        let error = error.expect_err("Redis is away");
        assert!(matches!(&error, QueueError::Unavailable(reason) if reason.contains("127.0.0.1")), "{error}");
    }
    assert!(!queue.wakeups().try_send(vec![Wake::Look { shard: 1, tenant: Tenant::main(), execution: id(1) }]));
    timeout(PATIENCE, waiting).await.expect("it does not hang").expect("no panic").expect_err("Redis is away");

    server.start_again().await.expect("started");
    timeout(PATIENCE, generation.changed()).await.expect("it is noticed").expect("told");
    settle(&queue, &mut receiver, 1).await;
    jobs.push(support::jobs("a", [1])).await.expect("pushed");
    assert_eq!(keys(&jobs.pop(request("w", 1)).await.expect("taken")), [key(1, 1)]);
    wait_until("kill hints to come again", PATIENCE, || {
        let hint = kills.try_recv().ok();
        let jobs = &jobs;
        async move {
            jobs.cancel(&[key(1, 1)]).await.ok()?;
            hint
        }
    })
    .await
    .expect("a hint");
}

#[tokio::test]
async fn a_redis_that_stands_still_is_away_and_jobs_that_it_gave_meanwhile_wait_again() {
    let server = Redis::start().await.expect("Redis starts");
    let config = RedisConfig { timeout: Duration::from_millis(500), ..config(&server.url()) };
    let queue = connect(config).await.jobs();
    queue.push(jobs("a", 1..=3)).await.expect("pushed");
    let held = queue.pop(request("w", 1)).await.expect("taken");
    server.pause().expect("paused");
    // The call is in the server's buffer, and will be done when nobody waits for its answer any more.
    queue.pop(request("w", 1)).await.expect_err("no answer");
    queue.pop(request("w", 1)).await.expect_err("away");
    server.resume().expect("resumed");
    wait_until("Redis to be back", PATIENCE, || async { queue.depths().await.ok() }).await.expect("back");
    assert_eq!(keys(&queue.pop(request("w", 9)).await.expect("taken")), [key(2, 1), key(3, 1)]);
    let renewed = queue.renew("w", &[held[0].job.key()], LEASE).await.expect("renewed");
    assert_eq!(renewed, [Renewal::Held { kill: false }], "what it holds stays");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_loses_no_job() {
    let queue = connect(config(&server().await.url())).await.jobs();
    queue.push(jobs("a", [1])).await.expect("pushed");
    {
        let mut call = std::pin::pin!(queue.pop(PopRequest { wait: PATIENCE, ..request("gone", 1) }));
        // Polled once: it is on its way.
        assert!(futures::poll!(call.as_mut()).is_pending());
    }
    let taken = queue.pop(PopRequest { wait: PATIENCE, ..request("w", 1) }).await.expect("taken");
    assert_eq!(keys(&taken), [key(1, 1)]);
}

#[tokio::test]
async fn many_processes_take_every_job_once() {
    let config = config(&server().await.url());
    let pusher = connect(config.clone()).await.jobs();
    let mut workers = Vec::new();
    for number in 0..4 {
        let queue = connect(config.clone()).await.jobs();
        workers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            let request = PopRequest { wait: Duration::from_secs(2), ..request(&format!("w{number}"), 7) };
            loop {
                let jobs = queue.pop(request.clone()).await.expect("Redis is there");
                if jobs.is_empty() {
                    return taken;
                }
                for job in jobs {
                    assert!(queue.complete(&request.worker, job.job.key()).await.expect("completed"));
                    taken.push(job.job.key());
                }
            }
        }));
    }
    for part in 0..10 {
        let (a, b) = (part * 100, part * 100 + 50);
        pusher.push(jobs("a", a..b)).await.expect("pushed");
        pusher.push(jobs("b", b..b + 50)).await.expect("pushed");
    }
    let mut all = Vec::new();
    for worker in workers {
        all.extend(timeout(PATIENCE, worker).await.expect("it ends").expect("no panic"));
    }
    let different: HashSet<_> = all.iter().copied().collect();
    assert_eq!((all.len(), different.len()), (1_000, 1_000));
    assert_eq!(pusher.depths().await.expect("Redis is there"), []);
}

#[tokio::test]
async fn jobs_without_a_flow_and_jobs_that_are_too_large_are_reported_as_failed() {
    let config = RedisConfig { max_job_bytes: 10_000, ..config(&server().await.url()) };
    let (worker, executor) = (connect(config.clone()).await, connect(config).await);
    let (mut receiver, _feed) = owner(&executor, &[0, 1, 2, 3]);
    settle(&worker, &mut receiver, 1).await;
    let mut large = job("a", 1, 1, None);
    large.job.variables.insert("x".to_owned(), "y".repeat(20_000).into());
    let gone = QueuedJob { flow_revision: 2, ..job("a", 2, 1, None) };
    let later = QueuedJob { flow_revision: 3, ..job("a", 3, 1, None) };
    let refused = executor.jobs().push(vec![large, gone, later]).await.expect("pushed");
    assert!(refused.is_empty());
    let mut error = async |number: u32| {
        let (report, acknowledge) = next_report(&mut receiver).await;
        acknowledge.done();
        let ReportKind::Ended { result } = report.kind else { panic!("a result") };
        assert_eq!((report.key, result.state), (key(number, 1), State::Failed));
        assert_eq!(result.error.as_ref(), result.logs.first().map(|line| &line.message), "the log tells it too");
        result.error.unwrap_or_default()
    };
    let reason = error(1).await;
    assert!(reason.contains("at most 10000"), "{reason}");
    assert!(worker.jobs().pop(request("w", 9)).await.expect("taken").is_empty());
    let reason = error(2).await;
    assert!(reason.contains("revision 2 of flow n.f"), "{reason}");
    wait_until("the third to wait again", PATIENCE, || async {
        let depths = executor.jobs().depths().await.ok()?;
        depths.iter().any(|depth| depth.waiting == 1 && depth.leased == 0).then_some(())
    })
    .await
    .expect("it goes back");
}

#[tokio::test]
async fn eager_jobs_go_by_memory_to_free_slots_also_without_redis() {
    let server = Redis::start().await.expect("Redis starts");
    let config = RedisConfig { timeout: Duration::from_secs(1), ..config(&server.url()) };
    let (queue, elsewhere) = (connect(config.clone()).await, connect(config).await.jobs());
    let tiered = TieredJobs::new(InProcessJobs::new(JobsConfig { window: 1_000 }), queue.jobs());
    let wait = |max: usize| {
        let tiered = tiered.clone();
        tokio::spawn(
            async move { tiered.pop(PopRequest { wait: PATIENCE, ..request("w", max) }).await.expect("taken") },
        )
    };
    let waits = async |max: usize| {
        let free = || async { (tiered.free_slots("") == max).then_some(()) };
        wait_until("the worker to wait", PATIENCE, free).await.expect("it waits");
    };
    let call = wait(2);
    waits(2).await;
    assert!(tiered.push(jobs("a", 1..=3)).await.expect("pushed").is_empty());
    assert_eq!(keys(&elsewhere.pop(request("v", 9)).await.expect("taken")), [key(3, 1)], "the one without a slot");
    assert_eq!(keys(&call.await.expect("no panic")), [key(1, 1), key(2, 1)]);
    let renewed = tiered.renew("w", &[key(1, 1), key(3, 1)], LEASE).await.expect("renewed");
    assert_eq!(renewed, [Renewal::Held { kill: false }, Renewal::Lost]);
    assert!(tiered.complete("w", key(1, 1)).await.expect("completed"));

    let call = wait(1);
    waits(1).await;
    server.stop().await.expect("stopped");
    wait_until("Redis to be away", PATIENCE, || async {
        matches!(*queue.status().borrow(), RedisStatus::Away(_)).then_some(())
    })
    .await
    .expect("noticed");
    waits(1).await;
    let refused = tiered.push(jobs("a", [4, 5])).await.expect("one of them goes");
    assert_eq!(refused.iter().map(QueuedJob::key).collect::<Vec<_>>(), [key(5, 1)]);
    assert_eq!(keys(&call.await.expect("no panic")), [key(4, 1)]);
}

#[tokio::test]
async fn a_lease_in_memory_that_lasts_is_known_to_others_and_they_reach_its_holder() {
    let config = config(&server().await.url());
    let (queue, elsewhere) = (connect(config.clone()).await, connect(config).await.jobs());
    let tiered = TieredJobs::new(InProcessJobs::new(JobsConfig { window: 1_000 }), queue.jobs());
    let mut kills = tiered.kill_hints("w").await.expect("subscribed");
    let call = tokio::spawn({
        let tiered = tiered.clone();
        async move { tiered.pop(PopRequest { wait: PATIENCE, ..request("w", 3) }).await.expect("taken") }
    });
    let free = || async { (tiered.free_slots("") == 3).then_some(()) };
    wait_until("the worker to wait", PATIENCE, free).await.expect("it waits");
    tiered.push(jobs("a", [1, 2])).await.expect("pushed");
    assert_eq!(call.await.expect("no panic").len(), 2);
    let both = [key(1, 1), key(2, 1)];
    assert_eq!(elsewhere.held(&both).await.expect("Redis is there"), [false, false], "not while they may be quick");
    let renewed = tiered.renew("w", &both, LEASE).await.expect("renewed");
    assert_eq!(renewed, [Renewal::Held { kill: false }; 2]);
    assert_eq!(elsewhere.held(&both).await.expect("Redis is there"), [true, true]);

    // What its new owner does with one and the other.
    elsewhere.cancel(&both[..1]).await.expect("cancelled");
    let hint = timeout(PATIENCE, kills.recv()).await.expect("a hint comes");
    assert_eq!(hint, Some(key(1, 1)));
    elsewhere.push(vec![job("a", 2, 2, None)]).await.expect("pushed again");
    let renewed = tiered.renew("w", &both, LEASE).await.expect("renewed");
    assert_eq!(renewed, [Renewal::Held { kill: true }, Renewal::Lost]);
    assert!(tiered.complete("w", key(1, 1)).await.expect("completed"));
    assert_eq!(elsewhere.held(&both[..1]).await.expect("Redis is there"), [false]);
    assert_eq!(keys(&elsewhere.pop(request("v", 9)).await.expect("taken")), [key(2, 2)]);
}

async fn refused(config: RedisConfig) -> QueueError {
    RedisQueue::connect(config, Arc::new(OneFlow)).await.err().expect("refused")
}

#[tokio::test]
async fn a_redis_that_cannot_be_used_is_refused_with_the_reason_and_without_the_password() {
    let password = "very-secret-word".to_owned();
    let options = RedisOptions { password: Some(password.clone()), ..RedisOptions::default() };
    let server = Redis::start_as(options).await.expect("Redis starts");
    let port = server.port();
    let replica = Redis::start_with(["--replicaof", "127.0.0.1", "1"].map(str::to_owned).into()).await.expect("starts");
    // Speaks, but something else.
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let other = listener.local_addr().expect("a port").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 64];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    for (url, reason) in [
        (format!("redis://127.0.0.1:{port}"), "asks for a password"),
        (format!("redis://:wrong-{password}@127.0.0.1:{port}"), "refuses the user name or password"),
        (replica.url(), "read-only replica"),
        (format!("redis://127.0.0.1:{other}"), "does not speak Redis's protocol"),
        (format!("http://{password}@h"), "must be redis://"),
    ] {
        let error = refused(config(&url)).await;
        assert!(matches!(error, QueueError::Unusable(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains(reason), "{text}");
        assert!(!text.contains(&password), "{text}");
    }
    let error = refused(config("redis://127.0.0.1:1")).await;
    assert!(matches!(&error, QueueError::Unavailable(reason) if reason.contains("cannot be reached")), "{error}");
    assert!(!format!("{:?}", config(&server.url())).contains(&password));
    connect(config(&server.url())).await;
}

#[tokio::test]
async fn two_installations_never_work_under_one_prefix_and_one_that_is_gone_makes_room() {
    let server = Redis::start().await.expect("Redis starts");
    let named =
        |name: &str| RedisConfig { installation: name.to_owned(), prefix: "w".to_owned(), ..config(&server.url()) };
    let first = connect(named("first")).await;
    connect(named("first")).await;
    let error = refused(named("second")).await;
    assert!(matches!(error, QueueError::Unusable(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("another installation") && text.contains("windhover.redis.prefix (`w`)"), "{text}");
    connect(RedisConfig { prefix: "v".to_owned(), ..named("second") }).await;
    // As if it had been silent for longer than it is remembered.
    drop(first);
    server.command("DEL {w}:installation").await.expect("deleted");
    let second = connect(named("second")).await;
    // One that comes back to find its place taken keeps its hands off.
    let error = refused(named("first")).await;
    assert!(matches!(error, QueueError::Unusable(_)), "{error}");
    second.jobs().push(jobs("a", [1])).await.expect("pushed");
}

#[tokio::test]
async fn what_another_version_has_written_is_left_alone_and_others_go_on() {
    let server = Redis::start().await.expect("Redis starts");
    let config = config(&server.url());
    let prefix = config.prefix.clone();
    let (worker, executor) = (connect(config.clone()).await, connect(config).await);
    let (mut receiver, _feed) = owner(&executor, &[1]);
    settle(&worker, &mut receiver, 1).await;
    let message = server.command(&format!("XADD {{{prefix}:s1}}:wakes * 1 \u{2}of-a-later-version")).await;
    assert!(message.expect("sent").starts_with('$'));
    worker
        .wakeups()
        .send(vec![Wake::Report { report: report(1, ""), acknowledge: Acknowledge::nobody() }])
        .await
        .expect("sent");
    assert_eq!(next_report(&mut receiver).await.0.key, key(1, 1), "what comes behind it is read");
}

#[tokio::test]
async fn a_redis_without_memory_says_so_and_still_gives_out_what_it_has() {
    let server = Redis::start().await.expect("Redis starts");
    let connected = connect(config(&server.url())).await;
    let (queue, mut status) = (connected.jobs(), connected.status());
    queue.push(jobs("a", [1])).await.expect("pushed");
    server.command("CONFIG SET maxmemory 1").await.expect("set");
    let error = queue.push(jobs("a", [2])).await.expect_err("no memory");
    assert!(error.to_string().contains("out of memory"), "{error}");
    assert_eq!(keys(&queue.pop(request("w", 1)).await.expect("taken")), [key(1, 1)]);
    assert!(queue.complete("w", key(1, 1)).await.expect("completed"));
    let told = timeout(PATIENCE, status.wait_for(|status| *status != RedisStatus::Available)).await.expect("in time");
    let told = told.expect("told").clone();
    assert!(matches!(&told, RedisStatus::Refuses(reason) if reason.contains("out of memory")), "{told:?}");
    server.command("CONFIG SET maxmemory 0").await.expect("set");
    queue.push(jobs("a", [2])).await.expect("pushed");
    let mut back = |status: &RedisStatus| *status == RedisStatus::Available;
    timeout(PATIENCE, status.wait_for(&mut back)).await.expect("in time").expect("told");
}
