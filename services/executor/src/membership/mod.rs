//! What makes this process the owner of shards: a registered instance, its heartbeat, and shards that come and go.
//!
//! Always true: the set of shards changes in the committer, between two commits, so that no batch of this process is
//! fenced by what this process does itself. A fence that has moved all the same means that it was taken for dead:
//! alone on its database it ends; one of many forgets everything and joins again under another name.

mod balance;
mod pulse;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use windhover_store::{
    ClaimError, ClaimRequest, HEARTBEAT, OWNERSHIP_EXPIRY, RegisterError, Registration, ServiceInfo, Store,
};
use windhover_types::{Error, Id};

use self::{
    balance::{Plan, View},
    pulse::Pulse,
};
use crate::{
    clock,
    message::Input,
    owned::OwnedShards,
    recovery::{Left, Recover},
};

/// A server that has just died still looks alive for a while; the next one waits for that long.
const PATIENCE: Duration = OWNERSHIP_EXPIRY.saturating_add(Duration::from_secs(2));
const RETRY: Duration = Duration::from_millis(200);
/// How often a process looks whether shards are to move, while some are.
const BUSY: Duration = Duration::from_millis(100);
/// Shards that are handed over before the next look.
const HANDED_OVER: usize = 4;

/// Whether others may own shards of the same installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// This process owns all shards, and ends when somebody takes them.
    Exclusive,
    /// One of many: it owns its share, gives and takes as others come and go, and joins again after it was taken for
    /// dead.
    Member,
}

/// Why an executor did not start; the text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error("{0}")]
    Failed(Error),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<windhover_store::StoreError> for StartError {
    fn from(error: windhover_store::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// A change of what this process owns.
pub(crate) enum Change {
    /// Answers the shards that were not this process's before.
    Claim { instance: Id, request: ClaimRequest, reply: oneshot::Sender<Result<Vec<u16>, ClaimError>> },
    /// No batch holds anything of these any more.
    Release { instance: Id, shards: Vec<u16>, reply: oneshot::Sender<Result<(), ClaimError>> },
    /// The instance is no longer this process's; batches that were computed before it count no more.
    Forget { generation: u64, done: oneshot::Sender<()> },
}

/// The committer's end.
pub(crate) struct Changes {
    changes: mpsc::UnboundedReceiver<Change>,
    fenced: Arc<Notify>,
}

impl Changes {
    pub(crate) async fn recv(&mut self) -> Option<Change> {
        self.changes.recv().await
    }

    /// A commit was refused since the fence has moved.
    pub(crate) fn lost(&self) {
        self.fenced.notify_one();
    }
}

/// Registers this process, keeps it alive, and moves its shards.
pub(crate) struct Member {
    pub(crate) store: Store,
    pub(crate) membership: Membership,
    pub(crate) registration: Registration,
    pub(crate) service: ServiceInfo,
    pub(crate) owned: OwnedShards,
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    pub(crate) recover: mpsc::UnboundedSender<Recover>,
    changes: mpsc::UnboundedSender<Change>,
    fenced: Arc<Notify>,
    state: Arc<State>,
    /// How often this process was taken for dead.
    generation: u64,
}

/// What the rest of the process sees of it.
pub(crate) struct State {
    pub(crate) instance: watch::Sender<Id>,
    /// Why the shards are somebody else's, once they are and this process does not join again.
    pub(crate) lost: watch::Sender<Option<String>>,
    draining: AtomicBool,
    /// The executor ends: what it is asked for finds nobody any more.
    stopping: AtomicBool,
    /// Something has changed that the next look should not wait for.
    hurry: Notify,
}

impl State {
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.hurry.notify_one();
    }

    /// No more shards are taken or given; the heartbeat goes on.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

impl Member {
    pub(crate) fn new(
        store: Store,
        membership: Membership,
        registration: Registration,
        service: ServiceInfo,
        owned: OwnedShards,
        inputs: mpsc::UnboundedSender<Input>,
        recover: mpsc::UnboundedSender<Recover>,
    ) -> (Self, Changes, Arc<State>) {
        let (sender, changes) = mpsc::unbounded_channel();
        let fenced = Arc::new(Notify::new());
        let state = Arc::new(State {
            instance: watch::channel(registration.id).0,
            lost: watch::channel(None).0,
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            hurry: Notify::new(),
        });
        let registration = Registration { exclusive: membership == Membership::Exclusive, ..registration };
        let changes = Changes { changes, fenced: Arc::clone(&fenced) };
        let member = Self {
            store,
            membership,
            registration,
            service,
            owned,
            inputs,
            recover,
            changes: sender,
            fenced,
            state: Arc::clone(&state),
            generation: 0,
        };
        (member, changes, state)
    }

    /// Makes the process known. While another server that tolerates no other looks alive it waits whether that is gone.
    pub(crate) async fn register(&self) -> Result<(), RegisterError> {
        let started = Instant::now();
        let mut told = false;
        loop {
            match self.store.register_service(&self.registration, &self.service).await {
                Ok(_) => return Ok(()),
                Err(RegisterError::AnotherInstance { host, .. }) if started.elapsed() < PATIENCE => {
                    if !told {
                        tracing::info!(%host, "another server is registered on this database; waiting whether it is gone");
                        told = true;
                    }
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes every shard, for a process that is alone. The jobs that are stored were held by its predecessor, which had
    /// no time to free its shards if it has died.
    pub(crate) async fn take_all(&self) -> Result<(), StartError> {
        let everything: Vec<u16> = (0..self.owned.count()).collect();
        let has_died = self.store.list_shards().await?.iter().any(|shard| shard.owner.is_some());
        let jobs = self.store.jobs(&everything).await?;
        let request = ClaimRequest { limit: None, take_over: true };
        self.claim(request, Some(Left { jobs, has_died })).await?;
        Ok(())
    }

    /// Runs until the process stops, or has lost its shards for good.
    pub(crate) async fn run(mut self) {
        loop {
            let why = self.keep().await;
            if self.state.is_stopping() {
                // What looks like a loss is its own end.
                return std::future::pending().await;
            }
            if self.membership == Membership::Exclusive {
                self.state.lost.send_replace(Some(format!("this server stops: {why}")));
                return;
            }
            tracing::error!(instance = %self.registration.id, why, "this process was taken for dead; it joins again");
            self.join_again().await;
        }
    }

    /// Keeps the instance alive and its shards in balance; answers why that is over.
    async fn keep(&self) -> String {
        let pulse = Pulse::default();
        let beat = pulse.beat(&self.store, self.registration.id);
        let balance = async {
            match self.membership {
                Membership::Exclusive => std::future::pending().await,
                Membership::Member => self.balance(&pulse).await,
            }
        };
        tokio::select! {
            why = beat => why,
            why = balance => why,
            () = self.fenced.notified() => "its shards were taken over by another server".to_owned(),
        }
    }

    /// Forgets everything and registers under a new name.
    async fn join_again(&mut self) {
        self.owned.clear();
        self.generation += 1;
        let generation = self.generation;
        let _ = self.inputs.send(Input::Lost { generation });
        let (done, forgotten) = oneshot::channel();
        if self.changes.send(Change::Forget { generation, done }).is_ok() {
            let _ = forgotten.await;
        }
        // What a batch on its way has told meanwhile.
        let _ = self.fenced.notified().now_or_never();
        let old = self.registration.id;
        self.registration.id = clock::new_id();
        loop {
            match self.store.register_service(&self.registration, &self.service).await {
                Ok(_) => break,
                Err(error) => tracing::warn!(%error, "this process cannot join again yet"),
            }
            tokio::time::sleep(RETRY).await;
        }
        if let Err(error) = self.store.unregister(old).await {
            tracing::warn!(%error, instance = %old, "the old name of this process stays until others forget it");
        }
        self.state.instance.send_replace(self.registration.id);
    }

    /// Looks who has what, takes and gives until everybody has a fair share; answers why the shards are lost.
    async fn balance(&self, pulse: &Pulse) -> String {
        loop {
            if self.state.is_stopping() {
                return std::future::pending().await;
            }
            let pause = match self.look(pulse).await {
                Ok(Next::Lost) => return "its shards belong to another server".to_owned(),
                Ok(Next::Busy) => BUSY,
                Ok(Next::Quiet) => HEARTBEAT,
                // The parts that a change of shards needs have ended.
                Err(ClaimError::Gone) if self.state.is_stopping() => continue,
                Err(ClaimError::Gone) => return "it is no longer registered".to_owned(),
                Err(ClaimError::Store(error)) => {
                    tracing::warn!(%error, "who owns which shards cannot be read or changed; trying again");
                    HEARTBEAT
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.state.hurry.notified() => {}
            }
        }
    }

    async fn look(&self, pulse: &Pulse) -> Result<Next, ClaimError> {
        let executors = self.store.executors().await?;
        let shards = self.store.list_shards().await?;
        let view = View {
            me: self.registration.id,
            held: &self.owned.list(),
            executors: &executors,
            shards: &shards,
            is_steady: pulse.is_steady(),
            is_draining: self.state.draining.load(Ordering::Acquire),
        };
        let Plan { is_lost, is_busy, release, claim } = balance::plan(&view);
        if is_lost {
            return Ok(Next::Lost);
        }
        let gives = !release.is_empty();
        for shard in release.into_iter().take(HANDED_OVER) {
            self.hand_over(shard).await?;
        }
        let takes = match claim {
            Some(request) => self.claim(request, None).await?,
            None => true,
        };
        // Whoever wanted some and got none was not the first, or looks at an owner that is about to be heard of.
        Ok(if is_busy && (gives || takes) { Next::Busy } else { Next::Quiet })
    }

    /// `jobs`: of a predecessor, if that is gone together with all its workers. Answers whether there was anything to take.
    async fn claim(&self, request: ClaimRequest, jobs: Option<Left>) -> Result<bool, ClaimError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.changes.send(Change::Claim { instance: self.registration.id, request, reply });
        let taken = answer.await.map_err(|_| ClaimError::Gone)??;
        if taken.is_empty() {
            return Ok(false);
        }
        tracing::info!(shards = ?taken, "shards were taken");
        let _ = self.recover.send(Recover::Taken { shards: taken, jobs });
        Ok(true)
    }

    /// Gives one shard up: first nothing here works on it any more, then it is free.
    async fn hand_over(&self, shard: u16) -> Result<(), ClaimError> {
        self.owned.remove(&[shard]);
        let (done, left) = oneshot::channel();
        let _ = self.inputs.send(Input::ShardsLeft { shards: vec![shard], done });
        if left.await.is_err() {
            return Err(ClaimError::Gone);
        }
        let (reply, answer) = oneshot::channel();
        let release = Change::Release { instance: self.registration.id, shards: vec![shard], reply };
        let _ = self.changes.send(release);
        answer.await.map_err(|_| ClaimError::Gone)??;
        tracing::info!(shard, "a shard was handed over");
        Ok(())
    }
}

enum Next {
    Lost,
    Busy,
    Quiet,
}
