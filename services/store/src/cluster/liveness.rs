//! Words of services about themselves, and of others about those that say nothing.
//!
//! A state changes only over the state and number (`seq_id`) that were read, so of several that want to change it at
//! once one does.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, EntityTrait, QueryOrder};
use windhover_types::{Id, JsonMap, Timestamp};

use super::{EVENTS, Instance, RestartStrategy, ServiceKind, ServiceState, WHAT, event, readable};
use crate::{
    Store,
    bulk::{id, int, text, time},
    entity::service_instances,
    error::Result,
    rows::{corrupt, json, parse},
};

/// What a service tells with each of its words.
#[derive(Debug, Clone, Default)]
pub struct Vitals {
    pub props: JsonMap,
    /// See [`super::ServiceInfo::metrics`].
    pub metrics: serde_json::Value,
}

/// What became of a word of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    Accepted {
        seq_id: i64,
    },
    /// It is not known (any more): it should register again.
    Missing,
    /// Somebody has said something that this state cannot follow: the service should end, or force its state if it
    /// is one that is not ended by others.
    Refused {
        stored: ServiceState,
    },
}

/// What a look at all services has changed; nobody else is told the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Coordination {
    /// Not heard of for longer than their timeouts; jobs of workers with [`RestartStrategy::Immediately`] are to be run
    /// again now.
    pub disconnected: Vec<Instance>,
    /// Workers whose jobs are to be run again now.
    pub lost_workers: Vec<Instance>,
    /// Others that have come to their end.
    pub ended: Vec<Instance>,
}

/// A group of workers of which some live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveGroup {
    /// `None`: the workers that were started without a group.
    pub group: Option<String>,
    pub workers: u32,
}

impl Store {
    /// The groups of the workers that live and take jobs, as these tell them in `worker.group` of their `props` (a text,
    /// a list of texts, or nothing), by name.
    pub async fn live_worker_groups(&self) -> Result<Vec<LiveGroup>> {
        let mut groups: BTreeMap<Option<String>, u32> = BTreeMap::new();
        for instance in self.instances().await? {
            let info = &instance.service;
            let works = info.kind == ServiceKind::Worker && instance.alive && !info.state.is_ending();
            if works {
                for group in groups_of(info.props.get("worker.group")) {
                    *groups.entry(group).or_default() += 1;
                }
            }
        }
        Ok(groups.into_iter().map(|(group, workers)| LiveGroup { group, workers }).collect())
    }

    /// A service says that it is in this state. Says nothing about shards: see [`Store::heartbeat`].
    pub async fn beat(&self, service: Id, state: ServiceState, vitals: &Vitals) -> Result<Beat> {
        let now = self.backend().now();
        // The common case, in one statement: nothing has changed.
        let sql = format!(
            "UPDATE service_instances SET updated_at = {now}, seq_id = seq_id + 1, props = $3, metrics = $4, \
             heartbeat_at = CASE WHEN kind = 'EXECUTOR' THEN heartbeat_at ELSE {now} END \
             WHERE id = $1 AND state = $2 RETURNING seq_id"
        );
        let told = || [text(json(&vitals.props)), text(json(&vitals.metrics))];
        let [props, metrics] = told();
        let same = [id(service), text(state.as_str()), props, metrics];
        if let Some(row) = self.write().query_one_raw(self.statement(&sql, same)).await? {
            return Ok(Beat::Accepted { seq_id: row.try_get_by_index(0)? });
        }
        loop {
            let key = service.as_bytes().to_vec();
            let Some(row) = service_instances::Entity::find_by_id(key).one(self.write()).await? else {
                return Ok(Beat::Missing);
            };
            let stored: ServiceState = row.state.parse().map_err(corrupt(WHAT))?;
            if !stored.may_become(state) {
                return Ok(Beat::Refused { stored });
            }
            if self.set_state(&row, state, "reported by the service").await? {
                let [props, metrics] = told();
                let sql = "UPDATE service_instances SET props = $2, metrics = $3 WHERE id = $1";
                self.write().execute_raw(self.statement(sql, [id(service), props, metrics])).await?;
                return Ok(Beat::Accepted { seq_id: row.seq_id + 1 });
            }
        }
    }

    /// Sets the state whatever it was. For services that are not ended by others, and for operators. `false`: it is not
    /// known.
    pub async fn force_state(&self, service: Id, state: ServiceState, reason: &str) -> Result<bool> {
        loop {
            let key = service.as_bytes().to_vec();
            let Some(row) = service_instances::Entity::find_by_id(key).one(self.write()).await? else {
                return Ok(false);
            };
            if self.set_state(&row, state, reason).await? {
                return Ok(true);
            }
        }
    }

    /// Looks at all services but those of this server, and says of each what is due: silent ones are disconnected, jobs
    /// of workers that are gone are to be run again, what has ended is forgotten step by step. Any number of executors
    /// may do it at once.
    pub async fn coordinate(&self, server: Id) -> Result<Coordination> {
        let now = self.now().await?;
        let rows = service_instances::Entity::find()
            .order_by_asc(service_instances::Column::UpdatedAt)
            .all(self.read())
            .await?;
        let mut done = Coordination::default();
        for row in rows {
            let Some(instance) = readable(row.clone(), now) else { continue };
            if instance.service.server.id == Some(server) {
                continue;
            }
            let Some((next, reason)) = due(&instance, now) else { continue };
            if !self.set_state(&row, next, reason).await? {
                continue;
            }
            let strategy = instance.service.config.restart_strategy;
            let graceful = instance.service.state == ServiceState::TerminatedGracefully;
            match next {
                ServiceState::Disconnected => done.disconnected.push(instance),
                ServiceState::NotRunning
                    if instance.service.kind == ServiceKind::Worker
                        && !graceful
                        && strategy != RestartStrategy::Never =>
                {
                    done.lost_workers.push(instance);
                }
                ServiceState::NotRunning => done.ended.push(instance),
                _ => {}
            }
        }
        Ok(done)
    }

    /// Forgets at most `limit` services that came to their end before `before`; tells how many.
    pub async fn purge_instances(&self, before: Timestamp, limit: u64) -> Result<u64> {
        let sql = "DELETE FROM service_instances WHERE id IN (SELECT i.id FROM service_instances i \
                   WHERE i.state = 'EMPTY' AND i.updated_at < $1 \
                   AND NOT EXISTS (SELECT 1 FROM shards s WHERE s.owner = i.id) ORDER BY i.updated_at LIMIT $2)";
        let values = [time(before), int(limit as i64)];
        Ok(self.write().execute_raw(self.statement(sql, values)).await?.rows_affected())
    }

    /// `false`: somebody else was first.
    async fn set_state(&self, row: &service_instances::Model, state: ServiceState, reason: &str) -> Result<bool> {
        let now = self.now().await?;
        let mut events = parse(WHAT, &row.events).unwrap_or_else(|_| Vec::new());
        events.push(event(now, state, reason));
        let surplus = events.len().saturating_sub(EVENTS);
        events.drain(..surplus);
        let sql = "UPDATE service_instances SET state = $3, events = $4, updated_at = $5, seq_id = seq_id + 1 \
                   WHERE id = $1 AND seq_id = $2";
        let values = [
            sea_orm::Value::Bytes(Some(row.id.clone())),
            int(row.seq_id),
            text(state.as_str()),
            text(json(&events)),
            time(now),
        ];
        Ok(self.write().execute_raw(self.statement(sql, values)).await?.rows_affected() > 0)
    }
}

fn groups_of(told: Option<&serde_json::Value>) -> Vec<Option<String>> {
    use serde_json::Value;
    match told {
        Some(Value::String(group)) => vec![Some(group.clone())],
        Some(Value::Array(groups)) if !groups.is_empty() => {
            groups.iter().map(|group| group.as_str().map(str::to_owned)).collect()
        }
        _ => vec![None],
    }
}

/// What others have to say about a service that is not theirs.
fn due(instance: &Instance, now: Timestamp) -> Option<(ServiceState, &'static str)> {
    use ServiceState::*;
    let config = &instance.service.config;
    let (silence, age) = (now.since(instance.updated_at), now.since(instance.started_at));
    let over = silence > config.termination_grace_period;
    match instance.service.state {
        Created | Running => {
            let silent =
                config.liveness.enabled && silence > config.liveness.timeout && age > config.liveness.initial_delay;
            silent.then_some((Disconnected, "not heard of for longer than its timeout"))
        }
        Error => (silence > config.liveness.timeout && config.liveness.enabled)
            .then_some((Terminating, "not heard of since its error")),
        Disconnected | Terminating => over.then_some((NotRunning, "its grace period is over")),
        // Jobs that a worker has let go of by force wait for nothing; what has ended well left none.
        TerminatedForced | TerminatedGracefully if instance.service.kind == ServiceKind::Worker => {
            Some((NotRunning, "it has ended"))
        }
        TerminatedForced | TerminatedGracefully => over.then_some((NotRunning, "it has ended")),
        NotRunning => Some((Empty, "to be forgotten")),
        Empty => None,
    }
}
