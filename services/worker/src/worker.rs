//! The worker's loops: leasing, renewing, listening for kills.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;
use windhover_queue::{JobKey, LeasedJob, PopRequest, Renewal};
use windhover_telemetry::WorkerMetrics;

use crate::{
    WorkerConfig, WorkerParts,
    attempt::{self, Signal},
    view::{RunningAttempt, WorkerView},
};

/// How long one call waits for jobs; then it asks again.
const POP_WAIT: Duration = Duration::from_secs(10);

/// After an error of the queue.
const RETRY: Duration = Duration::from_millis(500);

/// A running worker. Dropped without [`Worker::stop`] it ends at once, and its leases run out.
pub struct Worker {
    shared: Arc<Shared>,
    loops: Vec<JoinHandle<()>>,
}

pub(crate) struct Shared {
    pub(crate) config: WorkerConfig,
    parts: WorkerParts,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) running: Mutex<HashMap<JobKey, Held>>,
    attempts: TaskTracker,
    /// No more jobs are taken.
    stopping: CancellationToken,
    /// Everything ends.
    stopped: CancellationToken,
}

/// An attempt that runs, and how it is told something.
pub(crate) struct Held {
    signal: watch::Sender<Signal>,
    pub(crate) about: Arc<RunningAttempt>,
}

impl Worker {
    pub fn start(config: WorkerConfig, parts: WorkerParts) -> Self {
        // One set of gauges for a worker of one named group, as the reference has it; else without the tag.
        let group = match config.groups.as_slice() {
            [group] if !group.is_empty() => Some(group.as_ref()),
            _ => None,
        };
        let metrics = parts.metrics.worker(group);
        metrics.threads.set(config.slots as f64);
        metrics.pending.set(0.0);
        metrics.running.set(0.0);
        let shared = Arc::new(Shared {
            config,
            parts,
            metrics,
            running: Mutex::default(),
            attempts: TaskTracker::new(),
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
        });
        let loops = vec![
            tokio::spawn(lease(shared.clone())),
            tokio::spawn(renew(shared.clone())),
            tokio::spawn(listen(shared.clone())),
        ];
        Self { shared, loops }
    }

    /// Attempts that run now.
    pub fn running(&self) -> usize {
        self.shared.running.lock().len()
    }

    /// What it does, for those that show it.
    pub fn view(&self) -> WorkerView {
        WorkerView::new(self.shared.clone())
    }

    /// Takes no more jobs and waits for those that run, at most `grace`. What still runs then is stopped and its lease
    /// given up at once, so that the owner sees it as lost. Tells whether everything ended in time.
    pub async fn stop(mut self, grace: Duration) -> bool {
        let shared = &self.shared;
        shared.stopping.cancel();
        shared.attempts.close();
        let in_time = tokio::time::timeout(grace, shared.attempts.wait()).await.is_ok();
        if !in_time {
            let left: Vec<JobKey> = shared.running.lock().keys().copied().collect();
            warn!(worker = %shared.config.name, attempts = left.len(), "attempts did not end in time; they are given up");
            shared.tell(&left, Signal::Abandon);
            shared.attempts.wait().await;
            if let Err(error) = shared.parts.queue.renew(&shared.config.name, &left, Duration::ZERO).await {
                warn!(error = %error, "leases could not be given up; they run out by themselves");
            }
        }
        shared.stopped.cancel();
        for task in self.loops.drain(..) {
            // Ended by the token; a panic in a loop has been logged by the runtime.
            let _ = task.await;
        }
        in_time
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.shared.stopped.cancel();
        let left: Vec<JobKey> = self.shared.running.lock().keys().copied().collect();
        self.shared.tell(&left, Signal::Abandon);
    }
}

impl Shared {
    fn tell(&self, keys: &[JobKey], signal: Signal) {
        let running = self.running.lock();
        for key in keys {
            if let Some(held) = running.get(key) {
                // What is abandoned stays so; a kill that comes late changes nothing.
                held.signal.send_if_modified(|told| {
                    let changes = *told != Signal::Abandon && *told != signal;
                    if changes {
                        *told = signal;
                    }
                    changes
                });
            }
        }
    }

    /// Runs a job in its slot.
    fn start(self: &Arc<Self>, leased: LeasedJob, slot: OwnedSemaphorePermit) {
        let key = leased.job.key();
        let (sender, signal) = watch::channel(Signal::Run);
        let about = Arc::new(RunningAttempt::of(&leased.job, self.config.now()));
        self.running.lock().insert(key, Held { signal: sender, about });
        self.metrics.running.add(1.0);
        let shared = self.clone();
        self.attempts.spawn(async move {
            // Also when the attempt itself ends in a panic: the slot and the entry must not stay.
            let entry = Entry { shared: shared.clone(), key };
            let reported = attempt::run(&shared.config, &shared.parts, leased, signal).await;
            if reported && let Err(error) = shared.parts.queue.complete(&shared.config.name, key).await {
                warn!(error = %error, "a lease could not be ended; it runs out by itself");
            }
            drop(entry);
            drop(slot);
        });
    }
}

/// A place among the running attempts.
struct Entry {
    shared: Arc<Shared>,
    key: JobKey,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.running.lock().remove(&self.key);
        self.shared.metrics.running.add(-1.0);
    }
}

/// Takes as many jobs as there are free slots.
async fn lease(shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(shared.config.slots.max(1)));
    let mut outage = Outage::default();
    loop {
        let first = tokio::select! {
            () = shared.stopping.cancelled() => return,
            slot = slots.clone().acquire_owned() => slot,
        };
        let Ok(first) = first else {
            return;
        };
        let request = PopRequest {
            groups: shared.config.groups.clone(),
            worker: shared.config.name.clone(),
            max: 1 + slots.available_permits(),
            lease: shared.config.lease,
            wait: POP_WAIT,
        };
        let taken = tokio::select! {
            () = shared.stopping.cancelled() => return,
            taken = shared.parts.queue.pop(request) => taken,
        };
        let jobs = match taken {
            Ok(jobs) => jobs,
            Err(error) => {
                outage.tell(|| {
                    warn!(worker = %shared.config.name, error = %error, "no jobs can be taken; will try again");
                });
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        outage.over();
        let mut first = Some(first);
        for job in jobs {
            // Only this loop takes slots, so there are at least as many as were counted.
            let slot = match first.take() {
                Some(slot) => Some(slot),
                None => slots.clone().try_acquire_owned().ok(),
            };
            match slot {
                Some(slot) => shared.start(job, slot),
                None => give_back(&shared, job).await,
            }
        }
    }
}

async fn give_back(shared: &Shared, job: LeasedJob) {
    if let Err(error) = shared.parts.queue.release(&shared.config.name, vec![job.job]).await {
        warn!(error = %error, "a job could not be given back; its lease runs out");
    }
}

/// Prolongs the leases of what runs; the wish to kill rides on the answers.
async fn renew(shared: Arc<Shared>) {
    let period = (shared.config.lease / 3).max(Duration::from_millis(10));
    let mut outage = Outage::default();
    loop {
        tokio::select! {
            () = shared.stopped.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let keys: Vec<JobKey> = shared.running.lock().keys().copied().collect();
        if keys.is_empty() {
            continue;
        }
        match shared.parts.queue.renew(&shared.config.name, &keys, shared.config.lease).await {
            Ok(renewals) => {
                outage.over();
                for (key, renewal) in keys.iter().zip(renewals) {
                    match renewal {
                        Renewal::Held { kill: false } => {}
                        Renewal::Held { kill: true } => shared.tell(&[*key], Signal::Kill),
                        Renewal::Lost => shared.tell(&[*key], Signal::Abandon),
                    }
                }
            }
            Err(error) => outage.tell(|| {
                warn!(worker = %shared.config.name, error = %error, "leases cannot be renewed; will try again");
            }),
        }
    }
}

/// Tells about an outage once, however many calls it fails.
#[derive(Default)]
struct Outage(bool);

impl Outage {
    fn tell(&mut self, tell: impl FnOnce()) {
        if !self.0 {
            self.0 = true;
            tell();
        }
    }

    fn over(&mut self) {
        self.0 = false;
    }
}

/// Passes kill hints on.
async fn listen(shared: Arc<Shared>) {
    loop {
        let hints = tokio::select! {
            () = shared.stopped.cancelled() => return,
            hints = shared.parts.queue.kill_hints(&shared.config.name) => hints,
        };
        if let Ok(mut hints) = hints {
            loop {
                let hint = tokio::select! {
                    () = shared.stopped.cancelled() => return,
                    hint = hints.recv() => hint,
                };
                match hint {
                    Some(key) => shared.tell(&[key], Signal::Kill),
                    None => break,
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
