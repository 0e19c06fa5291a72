//! What a process writes for executions that it does not own: new ones, and actions for their owners. Whatever a tenant
//! asks while a transaction with something of it is on its way is in the next one.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use windhover_engine::{Event, Execution, new_execution};
use windhover_queue::{Hints, Wakeups};
use windhover_store::{Batch, CommitError, InboxMessage, InboxRow, RequestIdRow, Store};
use windhover_types::{Error, ErrorKind, Id, Tenant, Timestamp, shard_of};

use crate::{
    act::{self, Acted},
    clock,
    committer::look,
    core::{created_row, flow_moved, not_found, unavailable},
    effects,
    fair::in_rounds,
    flows::{Flows, Name},
    message::{ActionKey, CreateRequest, CreatedExecution},
    size,
};

/// Executions and actions of one transaction.
const MEMBERS: usize = 500;
/// Of them, a flooding tenant's while others have little to write.
const SHARE: usize = 32;
/// Bytes of one transaction.
const BYTES: usize = 16 << 20;
/// How long a database that is away is waited for; nothing is written then, and the caller may ask again.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(100);
/// How long the outcome of an action is waited for.
const OUTCOME: Duration = Duration::from_secs(15);
/// The first and the longest pause between two looks for an outcome; a hint comes before.
const OUTCOME_LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Rounds of one batch that is taken apart; more means that something changes without end.
const ROUNDS: usize = 20;

/// What others in the process ask for.
pub(crate) enum Write {
    Create { request: Box<CreateRequest>, reply: oneshot::Sender<Result<CreatedExecution, Error>> },
    Tell { row: Box<InboxRow>, reply: oneshot::Sender<Result<(), Error>> },
}

impl Write {
    fn tenant(&self) -> &Tenant {
        match self {
            Write::Create { request, .. } => &request.tenant,
            Write::Tell { row, .. } => &row.tenant,
        }
    }
}

/// Everything that the writer works with.
#[derive(Clone)]
pub(crate) struct Remote {
    store: Store,
    wakeups: Arc<dyn Wakeups>,
    hints: Arc<dyn Hints>,
    shard_count: u16,
    writes: mpsc::UnboundedSender<Write>,
}

impl Remote {
    /// Starts the writer; it ends with the last of its handles.
    pub(crate) fn start(
        store: Store,
        flows: Flows,
        wakeups: Arc<dyn Wakeups>,
        hints: Arc<dyn Hints>,
        shard_count: u16,
    ) -> Self {
        flows.follow();
        let (writes, wanted) = mpsc::unbounded_channel();
        let writer = Writer { store: store.clone(), flows, wakeups: Arc::clone(&wakeups), shard_count };
        tokio::spawn(writer.run(wanted));
        Self { store, wakeups, hints, shard_count, writes }
    }

    pub(crate) async fn create(&self, request: CreateRequest) -> Result<CreatedExecution, Error> {
        let (reply, answer) = oneshot::channel();
        let _ = self.writes.send(Write::Create { request: Box::new(request), reply });
        answer.await.map_err(|_| unavailable("the server is stopping"))?
    }

    /// Leaves the action for the owner and waits for its outcome, by hint and by looking.
    pub(crate) async fn act(&self, tenant: &Tenant, id: Id, event: Event, key: ActionKey) -> Result<Acted, Error> {
        let mut hints = self.hints.subscribe(tenant, id);
        if let Some(row) = self.outcome(tenant, &key).await? {
            return act::answered(&row, &key.content, id);
        }
        if self.store.execution_place(tenant, id).await?.is_none() {
            return Err(not_found(id));
        }
        let row = self.action_row(tenant, id, event, &key);
        let (reply, answer) = oneshot::channel();
        let _ = self.writes.send(Write::Tell { row: Box::new(row.clone()), reply });
        answer.await.map_err(|_| unavailable("the server is stopping"))??;
        let deadline = Instant::now() + OUTCOME;
        let mut pause = OUTCOME_LOOK.0;
        loop {
            if let Some(row) = self.outcome(tenant, &key).await? {
                return act::answered(&row, &key.content, id);
            }
            if Instant::now() >= deadline {
                return Err(unavailable("what was asked for is stored and will be done; nobody has answered in time"));
            }
            if tokio::time::timeout(pause, hints.changed()).await.is_err() {
                pause = (pause * 2).min(OUTCOME_LOOK.1);
                // The wake-up may have been lost.
                self.wakeups.try_send(vec![look(row.clone())]);
            }
        }
    }

    async fn outcome(&self, tenant: &Tenant, key: &ActionKey) -> Result<Option<RequestIdRow>, Error> {
        Ok(self.store.request_id(tenant, &key.method, &key.request_id, clock::now()).await?)
    }

    /// The same request gives the same row.
    fn action_row(&self, tenant: &Tenant, id: Id, event: Event, key: &ActionKey) -> InboxRow {
        let parts = [b"action".as_slice(), id.as_bytes(), key.method.as_bytes(), key.request_id.as_bytes()];
        InboxRow {
            id: Id::derived(id.time(), &parts),
            shard: shard_of(tenant, id, self.shard_count),
            tenant: tenant.clone(),
            execution: id,
            message: InboxMessage::Action {
                event,
                method: key.method.clone().into_owned(),
                request_id: key.request_id.clone(),
                content: key.content,
            },
        }
    }
}

struct Creation {
    request: CreateRequest,
    execution: Execution,
    reply: oneshot::Sender<Result<CreatedExecution, Error>>,
}

struct Writer {
    store: Store,
    flows: Flows,
    wakeups: Arc<dyn Wakeups>,
    shard_count: u16,
}

/// What is written in one transaction, or in several when it has to be taken apart.
#[derive(Default)]
struct Round {
    creations: Vec<Creation>,
    tells: Vec<(InboxRow, oneshot::Sender<Result<(), Error>>)>,
}

impl Round {
    fn is_empty(&self) -> bool {
        self.creations.is_empty() && self.tells.is_empty()
    }

    fn fail(self, error: &Error) {
        for creation in self.creations {
            let _ = creation.reply.send(Err(error.clone()));
        }
        for (_, reply) in self.tells {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

impl Writer {
    async fn run(self, wanted: mpsc::UnboundedReceiver<Write>) {
        in_rounds(wanted, SHARE, Write::tenant, |mut writes| {
            let now = clock::now();
            let (mut round, mut bytes) = (Round::default(), 0);
            while round.creations.len() + round.tells.len() < MEMBERS
                && bytes < BYTES
                && let Some(write) = writes.next()
            {
                match write {
                    Write::Create { request, reply } => {
                        let mut execution = new_execution(&request.tenant, &request.new, now);
                        execution.version = 1;
                        bytes += size::of_new(&execution) + size::of_execution(&execution);
                        round.creations.push(Creation { request: *request, execution, reply });
                    }
                    Write::Tell { row, reply } => round.tells.push((*row, reply)),
                }
            }
            self.write(round, now)
        })
        .await;
    }

    /// Until everybody is answered.
    async fn write(&self, mut round: Round, now: Timestamp) {
        let mut later = Vec::new();
        hold_back_twins(&mut round, &mut later);
        for _ in 0..ROUNDS {
            if round.is_empty() {
                if later.is_empty() {
                    return;
                }
                round.creations = std::mem::take(&mut later);
                hold_back_twins(&mut round, &mut later);
            }
            let versions = self.versions(&round);
            let batch = self.batch(&round, &versions, now);
            match self.commit(&batch).await {
                Ok(()) => self.tell(std::mem::take(&mut round), batch),
                Err(error) => self.take_apart(&mut round, error).await,
            }
        }
        round.creations.append(&mut later);
        round.fail(&unavailable("the execution could not be stored; try again"));
    }

    fn versions(&self, round: &Round) -> Vec<(Tenant, i64)> {
        let tenants: HashSet<&Tenant> = round.creations.iter().map(|creation| &creation.request.tenant).collect();
        tenants.into_iter().map(|tenant| (tenant.clone(), self.flows.version(tenant))).collect()
    }

    fn batch(&self, round: &Round, versions: &[(Tenant, i64)], now: Timestamp) -> Batch {
        let mut batch = Batch { flow_versions: versions.to_vec(), ..Batch::default() };
        for Creation { request, execution, .. } in &round.creations {
            let shard = shard_of(&request.tenant, execution.id, self.shard_count);
            batch.new_executions.push(execution.clone());
            batch.task_runs.extend(effects::kept_rows(&request.tenant, execution.id, &request.new.task_runs));
            batch.inbox_sent.push(created_row(&request.tenant, execution.id, shard));
            if let Some(key) = &request.request {
                batch.request_ids.push(act::creation_row(&request.tenant, key, execution.id, now));
            }
        }
        batch.inbox_sent.extend(round.tells.iter().map(|(row, _)| row.clone()));
        batch
    }

    /// Waits a while for a database that is away. An unknown outcome is tried again: what is there already is told.
    async fn commit(&self, batch: &Batch) -> Result<(), CommitError> {
        let started = Instant::now();
        loop {
            match self.store.create(batch).await {
                Err(CommitError::Unavailable(reason) | CommitError::Unknown(reason))
                    if started.elapsed() < PATIENCE =>
                {
                    tracing::warn!(reason, "executions cannot be stored; trying again");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    fn tell(&self, round: Round, batch: Batch) {
        for Creation { execution, reply, .. } in round.creations {
            let _ = reply.send(Ok(CreatedExecution { execution, replayed: false }));
        }
        for (_, reply) in round.tells {
            let _ = reply.send(Ok(()));
        }
        // A hint that finds no room is lost; the owner's sweep finds what it is about.
        self.wakeups.try_send(batch.inbox_sent.into_iter().map(look).collect());
    }

    /// Answers those whose turn this error is, and leaves the others in the round.
    async fn take_apart(&self, round: &mut Round, error: CommitError) {
        match error {
            CommitError::RequestIds(rows) => {
                let known: HashMap<(Tenant, String, String), RequestIdRow> = rows
                    .into_iter()
                    .map(|row| ((row.tenant.clone(), row.method.clone(), row.request_id.clone()), row))
                    .collect();
                for creation in take_out(&mut round.creations, |creation| {
                    creation.request.request.as_ref().is_some_and(|key| {
                        let tenant = creation.request.tenant.clone();
                        known.contains_key(&(tenant, key.method.to_owned(), key.request_id.clone()))
                    })
                }) {
                    answer_known(creation, &known);
                }
            }
            // Made by a commit whose outcome was unknown, here or at the owner: it is as it should be.
            CommitError::Exists { executions } => {
                let made = |creation: &Creation| executions.contains(&creation.execution.id);
                for Creation { execution, reply, .. } in take_out(&mut round.creations, made) {
                    let _ = reply.send(Ok(CreatedExecution { execution, replayed: false }));
                }
            }
            CommitError::Data { executions, reason } => {
                tracing::warn!(reason, "the database refuses the data of new executions");
                let message = "the execution cannot be stored: the database refuses its data";
                let error = Error::new(ErrorKind::InvalidArgument, "INVALID_ARGUMENT", message);
                let bad = |creation: &Creation| executions.contains(&creation.execution.id);
                for creation in take_out(&mut round.creations, bad) {
                    let _ = creation.reply.send(Err(error.clone()));
                }
                let bad = |(row, _): &(InboxRow, _)| executions.contains(&row.execution);
                for (_, reply) in take_out(&mut round.tells, bad) {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            CommitError::FlowsMoved(tenants) => {
                for (tenant, _) in tenants {
                    match self.flows.refresh(&tenant).await {
                        Ok(names) => refuse_moved(round, &tenant, &names),
                        Err(error) => {
                            let of = |creation: &Creation| creation.request.tenant == tenant;
                            for creation in take_out(&mut round.creations, of) {
                                let _ = creation.reply.send(Err(error.clone()));
                            }
                        }
                    }
                }
            }
            CommitError::Unavailable(_) => std::mem::take(round).fail(&unavailable("the database is not available")),
            error => {
                tracing::error!(%error, "executions cannot be stored");
                std::mem::take(round).fail(&unavailable("the execution could not be stored; try again"));
            }
        }
    }
}

/// Two of one request must not come into one transaction: the second one is answered with what the first has made.
fn hold_back_twins(round: &mut Round, later: &mut Vec<Creation>) {
    let mut seen = HashSet::new();
    later.extend(take_out(&mut round.creations, |creation| {
        creation
            .request
            .request
            .as_ref()
            .is_some_and(|key| !seen.insert((creation.request.tenant.clone(), key.method, key.request_id.clone())))
    }));
    let mut ids = HashSet::new();
    later.extend(take_out(&mut round.creations, |creation| !ids.insert(creation.execution.id)));
}

fn take_out<T>(items: &mut Vec<T>, which: impl FnMut(&T) -> bool) -> Vec<T> {
    let mut which = which;
    items.extract_if(.., |item| which(item)).collect()
}

/// Those that were made out for a flow which has changed since have to be made out again.
fn refuse_moved(round: &mut Round, tenant: &Tenant, names: &HashSet<Name>) {
    let moved = |creation: &Creation| {
        let new = &creation.request.new;
        creation.request.tenant == *tenant && names.contains(&(new.namespace.clone(), new.flow_id.clone()))
    };
    for creation in take_out(&mut round.creations, moved) {
        let _ = creation.reply.send(Err(flow_moved()));
    }
}

fn answer_known(creation: Creation, known: &HashMap<(Tenant, String, String), RequestIdRow>) {
    let Creation { request, execution, reply } = creation;
    let Some(key) = request.request else { return };
    let Some(row) = known.get(&(request.tenant, key.method.to_owned(), key.request_id)) else { return };
    let answer = match row.result.parse::<Id>() {
        // Its own commit, whose outcome was unknown.
        Ok(id) if row.content == key.content && id == execution.id => {
            Ok(CreatedExecution { execution, replayed: false })
        }
        Ok(id) if row.content == key.content => {
            let execution = Execution { id, ..execution };
            Ok(CreatedExecution { execution, replayed: true })
        }
        _ => Err(act::reused(&row.request_id)),
    };
    let _ = reply.send(answer);
}
