//! FollowExecution: what is there, then every change, with cursors that resume on any gateway.
//!
//! Each round reads the execution and the position of its shard's feed in one snapshot, sends what is new since the
//! last round, and then waits for a hint (or two seconds). A reader that is slow holds up its own rounds only: what
//! happened meanwhile is read in the next one, as it is then, so nothing piles up. Feed and versions are in the store,
//! and each message's cursor counts that message as sent: it makes no difference which gateway goes on behind it, nor
//! who owns the shard.

mod position;

use std::{
    collections::{BTreeMap, HashSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use windhover_engine::TaskRun;
use windhover_executor::now;
use windhover_proto::v1::{self as proto, follow_execution_response::Event};
use windhover_queue::Subscription;
use windhover_store::{LogFilter, Snapshot, TaskRunFilter};
use windhover_types::{Id, Tenant};

use self::position::{Position, Round};
use super::{Shared, closed, execution::LOOK, execution_not_found, log::line, stopping};
use crate::{
    convert,
    error::{Result, internal, invalid, plain_status, status},
    page::Binding,
    request::within,
};

/// Messages between the reader of the store and the connection.
const BUFFER: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const PAGE: u64 = 500;
/// Feed rows of other executions that a round looks through; after more, all task runs are sent anew.
const MAX_FEED: i64 = 5_000;
/// Task runs that are fetched one by one; more are found by reading all.
const FEW: usize = 8;
/// Task runs whose last sent version is remembered: those that were created last.
const KNOWN: usize = 10_000;
/// A follower that is further behind looks whether the feed still holds what it has missed.
const LONG_AGO: Duration = Duration::from_secs(60 * 60);

type Message = Result<proto::FollowExecutionResponse, Status>;

/// Starts to follow. What the caller got wrong is an error here, not in the stream.
pub(super) async fn start(
    shared: Arc<Shared>,
    tenant: Tenant,
    request: proto::FollowExecutionRequest,
    request_id: Arc<str>,
) -> Result<ReceiverStream<Message>> {
    let id = convert::id("execution_id", &request.execution_id)?;
    let binding = Binding::new(&["follow", tenant.as_str(), &request.execution_id]);
    let min_level = convert::from_level("min_level", request.min_level)?;
    let position = match request.cursor.as_str() {
        "" => Position::BEGINNING,
        cursor => {
            let bytes = shared.tokens.open("cursor", &binding, cursor, now())?;
            Position::read(&bytes).ok_or_else(|| invalid("cursor", "cannot be read by this version"))?
        }
    };
    let (sender, receiver) = mpsc::channel(BUFFER);
    let mut follower = Follower {
        id,
        full: convert::is_full(request.view, true)?,
        task_runs: !request.omit_task_runs,
        logs: (!request.omit_logs).then(|| LogFilter { min_level: Some(min_level), ..LogFilter::default() }),
        binding,
        position,
        known: BTreeMap::new(),
        looked: None,
        sender,
        sent: Instant::now(),
        shared,
        tenant,
    };
    // Before the first look, so that no change falls between.
    let hints = follower.shared.executor.subscribe(&follower.tenant, id);
    let first = follower.look().await?;
    let name = Arc::clone(&request_id);
    tokio::spawn(within(request_id, async move {
        let ended = AssertUnwindSafe(follower.run(first, hints)).catch_unwind().await;
        let last = match ended {
            Ok(Ok(()) | Err(Stop::Gone)) => return,
            Ok(Err(Stop::Error(error))) => status(error),
            Err(_) => {
                tracing::error!(request_id = %name, "a follower panicked");
                plain_status(internal(&name))
            }
        };
        let _ = follower.sender.send(Err(last)).await;
    }));
    Ok(ReceiverStream::new(receiver))
}

/// Why following ends before the execution does.
enum Stop {
    /// Nobody reads any more.
    Gone,
    Error(windhover_types::Error),
}

impl<E: Into<windhover_types::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

struct Follower {
    shared: Arc<Shared>,
    tenant: Tenant,
    id: Id,
    full: bool,
    task_runs: bool,
    /// Which lines, if any.
    logs: Option<LogFilter>,
    binding: Binding,
    position: Position,
    /// Versions of task runs that this connection was sent, by place and id. They are read after the feed's position,
    /// so a change can be sent before its number of the feed is reached, and is not sent again then.
    known: BTreeMap<(u32, Id), i64>,
    /// When the feed was last read; `None`: not by this connection.
    looked: Option<Instant>,
    sender: mpsc::Sender<Message>,
    /// When the last message was sent.
    sent: Instant,
}

impl Follower {
    async fn look(&self) -> Result<Snapshot> {
        let found = self.shared.store.execution_snapshot(&self.tenant, self.id).await?;
        found.ok_or_else(|| execution_not_found(self.id))
    }

    async fn run(&mut self, first: Snapshot, mut hints: Subscription) -> Result<(), Stop> {
        let mut closing = self.shared.closing.clone();
        let mut hinted = true;
        let mut snapshot = first;
        loop {
            self.round(&snapshot).await?;
            if snapshot.execution.is_ended() {
                let state = convert::state(snapshot.execution.current()) as i32;
                return self.send(Event::End(proto::FollowEnd { state })).await;
            }
            let look = (Instant::now() + LOOK).min(self.sent + KEEP_ALIVE);
            tokio::select! {
                () = closed(&mut closing) => return Err(stopping().into()),
                () = self.sender.closed() => return Err(Stop::Gone),
                more = hints.changed(), if hinted => hinted = more,
                () = sleep_until(look) => {}
            }
            if self.sent.elapsed() >= KEEP_ALIVE {
                self.send(Event::KeepAlive(proto::FollowKeepAlive {})).await?;
            }
            snapshot = self.look().await?;
        }
    }

    /// Sends what is new in this snapshot.
    async fn round(&mut self, snapshot: &Snapshot) -> Result<(), Stop> {
        if snapshot.execution.version != self.position.version {
            self.position.version = snapshot.execution.version;
            let shown = convert::execution(&snapshot.execution, self.full);
            self.send(Event::Execution(Box::new(shown))).await?;
        }
        if self.task_runs {
            // What a lost connection left open comes first.
            if let Some(open) = self.position.round {
                self.send_task_runs(snapshot, open).await?;
            }
            self.send_task_runs(snapshot, Round { until: snapshot.feed_seq, next: 0 }).await?;
        }
        self.send_logs(snapshot.next_log).await
    }

    /// Sends the task runs that changed up to the end of the round.
    async fn send_task_runs(&mut self, snapshot: &Snapshot, round: Round) -> Result<(), Stop> {
        let changed = self.changed(snapshot.shard, round.until).await?;
        self.position.round = Some(round);
        match changed {
            None if snapshot.next_seq == 0 => {}
            None => self.send_all(round.next, |_| true).await?,
            Some(mut gone) if gone.len() > FEW => {
                self.send_all(round.next, |run| gone.remove(&run.id)).await?;
                // What lies before the place where a lost round goes on may still be there.
                for id in gone {
                    if round.next == 0 || self.shared.store.get_task_run(&self.tenant, self.id, id).await?.is_none() {
                        self.send_removed(id).await?;
                    }
                }
            }
            Some(changed) if changed.is_empty() => {}
            Some(changed) => {
                let changed: Vec<Id> = changed.into_iter().collect();
                let runs = self.shared.store.get_task_runs(&self.tenant, self.id, &changed).await?;
                for gone in changed.into_iter().filter(|id| runs.iter().all(|run| run.id != *id)) {
                    self.send_removed(gone).await?;
                }
                for run in runs.iter().filter(|run| run.seq >= round.next) {
                    self.send_task_run(run).await?;
                }
            }
        }
        self.position.round = None;
        self.position.feed = round.until;
        Ok(())
    }

    /// Task runs that have changed since the last round; `None`: all may have, or it takes less to send all.
    async fn changed(&mut self, shard: u16, until: i64) -> Result<Option<HashSet<Id>>, Stop> {
        let mut after = self.position.feed;
        let recently = self.looked.replace(Instant::now()).is_some_and(|last| last.elapsed() < LONG_AGO);
        if after >= until {
            return Ok(Some(HashSet::new()));
        }
        if after < 0 || until - after > MAX_FEED {
            return Ok(None);
        }
        if !recently {
            // Numbers have no gaps: a first one further on means that some were removed.
            let first = self.shared.store.feed(shard, after, 1).await?;
            if first.first().is_none_or(|row| row.seq > after + 1) {
                return Ok(None);
            }
        }
        let mut changed = HashSet::new();
        while after < until {
            let rows = self.shared.store.tenant_feed(&self.tenant, shard, after, PAGE).await?;
            let last = (rows.len() as u64) < PAGE || rows.last().is_some_and(|row| row.seq >= until);
            for row in rows.into_iter().take_while(|row| row.seq <= until) {
                after = row.seq;
                let ours = row.entries.into_iter().filter(|entry| entry.execution == self.id);
                changed.extend(ours.flat_map(|entry| entry.task_runs));
            }
            if last {
                break;
            }
        }
        Ok(Some(changed))
    }

    /// Sends the task runs that are wanted, in order of creation, from this place on.
    async fn send_all(&mut self, from: u32, mut wanted: impl FnMut(&TaskRun) -> bool) -> Result<(), Stop> {
        let mut after = from.checked_sub(1);
        loop {
            let (store, all) = (&self.shared.store, TaskRunFilter::default());
            let runs = match self.full {
                true => store.list_task_runs(&self.tenant, self.id, &all, after, PAGE).await?,
                false => store.list_task_runs_without_outputs(&self.tenant, self.id, &all, after, PAGE).await?,
            };
            for run in &runs {
                if wanted(run) {
                    self.send_task_run(run).await?;
                }
            }
            after = runs.last().map(|run| run.seq);
            if (runs.len() as u64) < PAGE {
                return Ok(());
            }
        }
    }

    async fn send_removed(&mut self, id: Id) -> Result<(), Stop> {
        self.known.retain(|(_, known), _| *known != id);
        self.send(Event::TaskRunRemoved(proto::FollowTaskRunRemoved { task_run_id: id.to_string() })).await
    }

    async fn send_task_run(&mut self, run: &TaskRun) -> Result<(), Stop> {
        if let Some(round) = &mut self.position.round {
            round.next = run.seq + 1;
        }
        if self.known.insert((run.seq, run.id), run.version) == Some(run.version) {
            return Ok(());
        }
        if self.known.len() > KNOWN {
            self.known.pop_first();
        }
        let shown = convert::task_run(self.id, run, self.full);
        self.send(Event::TaskRun(Box::new(shown))).await
    }

    async fn send_logs(&mut self, next: i64) -> Result<(), Stop> {
        let Some(filter) = self.logs.clone() else { return Ok(()) };
        while self.position.log < next {
            let rows =
                self.shared.store.list_execution_logs(&self.tenant, self.id, &filter, self.position.log, PAGE).await?;
            let last = (rows.len() as u64) < PAGE;
            for row in rows {
                self.position.log = row.position + 1;
                self.send(Event::LogLine(line(row))).await?;
            }
            if last {
                // What the filter leaves out is behind us as well; lines later than the snapshot were sent already.
                self.position.log = self.position.log.max(next);
            }
        }
        Ok(())
    }

    async fn send(&mut self, event: Event) -> Result<(), Stop> {
        let cursor = self.shared.tokens.sign(&self.binding, &self.position.write(), now());
        let message = proto::FollowExecutionResponse { cursor, event: Some(event) };
        self.sender.send(Ok(message)).await.map_err(|_| Stop::Gone)?;
        self.sent = Instant::now();
        Ok(())
    }
}
