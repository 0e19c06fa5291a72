//! Reading the streams: what others send for the shards of this process.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::Duration,
};

use redis::{RedisResult, Value};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Core,
    conn::{in_time, timed_out},
    error::sentence,
    script::{Arguments, Script, command},
    wakeups::LARGE,
    wire::{self, WireEnvelope, WireWake},
};
use crate::{InProcessWakeups, QueueError, Wake, Wakeups, routed::Owns};

/// How long a read waits for something new.
const BLOCK: Duration = Duration::from_secs(2);

/// Entries of each stream that one read takes; each holds up to [`super::wakeups::PER_ENTRY`] messages.
const ENTRIES: usize = 64;

/// After an error.
const RETRY: Duration = Duration::from_millis(200);

/// Older entries are of no use: their senders have sent again, or the owner has looked by itself.
const AGE: Duration = Duration::from_secs(60);

/// How often old entries are thrown away.
const TRIM: Duration = Duration::from_secs(15);

static TRIM_OLD: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("lua/trim.lua")]));

/// Reads the streams until it is dropped.
#[derive(Debug)]
pub struct Feed {
    _stop: DropGuard,
}

pub(super) fn start(core: Arc<Core>, owns: Owns, into: InProcessWakeups) -> Feed {
    let stop = CancellationToken::new();
    let keys: Vec<String> = (0..core.config.stream_groups).map(|group| core.keys.stream(group)).collect();
    // One server: one call for all streams. A cluster: the streams are on different nodes.
    let size = if core.link.dialer.is_cluster() { 1 } else { keys.len().max(1) };
    for keys in keys.chunks(size) {
        let reader = Reader {
            core: Arc::clone(&core),
            owns: Arc::clone(&owns),
            into: into.clone(),
            positions: keys.iter().map(|key| (key.clone(), None)).collect(),
        };
        let stop = stop.clone();
        core.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = reader.run() => {}
            }
        });
    }
    Feed { _stop: stop.drop_guard() }
}

struct Reader {
    core: Arc<Core>,
    owns: Owns,
    into: InProcessWakeups,
    /// The last entry that was read of each stream; unknown at first.
    positions: Vec<(String, Option<String>)>,
}

/// Shards and messages of one entry.
struct Entry {
    stream: String,
    id: String,
    messages: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Reader {
    async fn run(mut self) {
        let mut generation = self.core.generation.subscribe();
        let mut trimmed = tokio::time::Instant::now();
        loop {
            if generation.has_changed().unwrap_or(false) {
                generation.mark_unchanged();
                // A server that lost its data may count from an earlier time than before.
                self.positions.iter_mut().for_each(|(_, position)| *position = Some("0-0".to_owned()));
            }
            match self.read(&mut generation).await {
                Ok(entries) => {
                    if !self.pass_on(entries).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "wake-ups cannot be read");
                    tokio::time::sleep(RETRY).await;
                }
            }
            if trimmed.elapsed() >= TRIM {
                trimmed = tokio::time::Instant::now();
                self.trim().await;
            }
        }
    }

    /// Waits for entries; none when there were none for a while, or Redis was emptied meanwhile.
    async fn read(&mut self, generation: &mut tokio::sync::watch::Receiver<u64>) -> Result<Vec<Entry>, QueueError> {
        let Self { core, positions, .. } = self;
        for (key, position) in positions.iter_mut().filter(|(_, position)| position.is_none()) {
            // What was sent before this process owned anything is not for it.
            let last: Value =
                core.link.query(&command("XREVRANGE", &[key.as_bytes(), b"+", b"-", b"COUNT", b"1"])).await?;
            let last = entries_of(key, last).into_iter().next_back().map(|entry| entry.id);
            *position = Some(last.unwrap_or_else(|| "0-0".to_owned()));
        }
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(ENTRIES).arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(1)).arg("STREAMS");
        for (key, _) in positions.iter() {
            read.arg(key);
        }
        for (_, position) in positions.iter() {
            read.arg(position.as_deref().unwrap_or("0-0"));
        }

        let mut pooled = core.link.pooled().await?;
        pooled.busy = true;
        let answer: RedisResult<Value> = tokio::select! {
            answer = in_time(BLOCK + core.config.timeout, read.query_async(&mut pooled.conn)) => answer,
            // The connection is given up with the call.
            _ = generation.changed() => {
                generation.mark_changed();
                return Ok(Vec::new());
            }
            () = core.link.lost_now() => Err(timed_out()),
        };
        pooled.busy = answer.is_err();
        let answer = answer.map_err(|error| QueueError::Unavailable(sentence(&core.link.dialer.address(), &error)))?;
        let entries: Vec<Entry> =
            pairs(answer).into_iter().flat_map(|(key, entries)| entries_of(&text(key), entries)).collect();
        for entry in &entries {
            if let Some((_, position)) = positions.iter_mut().find(|(key, _)| *key == entry.stream) {
                *position = Some(entry.id.clone());
            }
        }
        Ok(entries)
    }

    /// `false`: nobody receives any more.
    async fn pass_on(&self, entries: Vec<Entry>) -> bool {
        let mut wakes = Vec::new();
        let mut large: HashMap<String, Vec<String>> = HashMap::new();
        for Entry { stream, id, messages } in entries {
            for (shard, body) in messages {
                let shard = std::str::from_utf8(&shard).ok().and_then(|shard| shard.parse::<u16>().ok());
                let Some(shard) = shard.filter(|shard| (self.owns)(*shard)) else { continue };
                if body.len() > LARGE {
                    large.entry(stream.clone()).or_default().push(id.clone());
                }
                match wire::decode(&body) {
                    Ok(wake) => wakes.push(self.wake(shard, wake)),
                    // Not acknowledged: its sender keeps it until somebody understands it.
                    Err(error) => tracing::error!(%error, shard, "a wake-up of another process cannot be read"),
                }
            }
        }
        for (stream, ids) in large {
            let mut delete = redis::cmd("XDEL");
            delete.arg(&stream).arg(ids);
            // Left there, they are trimmed.
            let _ = self.core.link.query::<()>(&delete).await;
        }
        wakes.is_empty() || self.into.send(wakes).await.is_ok()
    }

    fn wake(&self, shard: u16, wake: WireWake<'_>) -> Wake {
        match wake {
            WireWake::Look { tenant, execution } => Wake::Look { shard, tenant: tenant.into_owned(), execution },
            WireWake::Report(envelope) => {
                let WireEnvelope { process, sequence, report } = *envelope;
                let acknowledge = self.core.acks.acknowledge(Arc::from(&*process), sequence);
                Wake::Report { report: report.into_report(shard), acknowledge }
            }
        }
    }

    async fn trim(&self) {
        for (key, _) in &self.positions {
            let arguments = Arguments::default().arg(u64::try_from(AGE.as_millis()).unwrap_or(u64::MAX));
            if let Err(error) = TRIM_OLD.call::<Value>(&self.core.link, key, &arguments).await {
                tracing::debug!(%error, "a stream is not trimmed");
                return;
            }
        }
    }
}

fn text(value: Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Value::SimpleString(text) => text,
        _ => String::new(),
    }
}

/// A map, in whichever form the protocol's version brings it.
fn pairs(value: Value) -> Vec<(Value, Value)> {
    match value {
        Value::Map(pairs) => pairs,
        Value::Array(items) => items
            .into_iter()
            .filter_map(|item| match item {
                Value::Array(pair) => {
                    let mut pair = pair.into_iter();
                    Some((pair.next()?, pair.next()?))
                }
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// Entries of a stream: an array of (id, array of fields and values in turn).
fn entries_of(stream: &str, value: Value) -> Vec<Entry> {
    pairs(value)
        .into_iter()
        .map(|(id, fields)| {
            let mut parts = match fields {
                Value::Array(parts) => parts,
                _ => Vec::new(),
            }
            .into_iter()
            .map(|part| match part {
                Value::BulkString(bytes) => bytes,
                _ => Vec::new(),
            });
            let mut messages = Vec::new();
            while let (Some(shard), Some(body)) = (parts.next(), parts.next()) {
                messages.push((shard, body));
            }
            Entry { stream: stream.to_owned(), id: text(id), messages }
        })
        .collect()
}
