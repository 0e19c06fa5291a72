//! The way to Redis: one shared connection for short calls, a pool for the others, and whether anybody is there.

use std::{sync::Arc, time::Duration};

use deadpool::managed::{Object, PoolError};
use parking_lot::Mutex;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value, aio::ConnectionLike};
use tokio::sync::{Notify, watch};

use super::{
    RedisConfig,
    conn::{Conn, Dialer, Manager, Pool, in_time, timed_out},
    error::{Meaning, meaning, queue_error, sentence},
    probe::{self, Probed},
};
use crate::QueueError;

/// Whether Redis can be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisStatus {
    Available,
    /// It answers and takes nothing new, for this reason; what it has is still given out.
    Refuses(String),
    /// The reason, as a sentence for operators.
    Away(String),
}

impl RedisStatus {
    fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

/// Connections that may be out of the pool at once: readers of streams and bulk transfers.
const POOL: usize = 16;

pub(super) struct Link {
    pub(super) dialer: Arc<Dialer>,
    pool: Pool,
    timeout: Duration,
    /// With a number, so that a late error of an older connection does not end this one.
    shared: Mutex<(u64, Option<Conn>)>,
    status: watch::Sender<RedisStatus>,
    /// The shared connection has gone: somebody has to make another.
    lost: Notify,
}

impl Link {
    /// Connects and looks at the server.
    pub(super) async fn connect(config: &RedisConfig) -> Result<(Self, Probed), QueueError> {
        let dialer = Dialer::new(config).map_err(|error| {
            // The text of the URL may hold a password: only the kind of problem is told.
            QueueError::Unusable(format!(
                "windhover.redis.url must be redis://[user:password@]host[:port][/database] or rediss://… ({})",
                error.category()
            ))
        })?;
        let dialer = Arc::new(dialer);
        let pool = Pool::builder(Manager { dialer: Arc::clone(&dialer) })
            .max_size(POOL)
            .wait_timeout(Some(config.timeout))
            .create_timeout(Some(config.timeout))
            .recycle_timeout(Some(config.timeout))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| QueueError::Unusable(format!("no pool of connections can be made: {error}")))?;
        let link = Self {
            dialer,
            pool,
            timeout: config.timeout,
            shared: Mutex::new((0, None)),
            status: watch::Sender::new(RedisStatus::Away("not connected yet".to_owned())),
            lost: Notify::new(),
        };
        let probed = link.reconnect().await?;
        Ok((link, probed))
    }

    /// Makes the shared connection anew. Whether it is of use has to be found out and told.
    pub(super) async fn reconnect(&self) -> Result<Probed, QueueError> {
        let connected = self.try_connect().await;
        if let Err(error) = &connected {
            self.tell_away(error);
        }
        connected
    }

    pub(super) fn tell_available(&self) {
        self.tell(RedisStatus::Available);
    }

    pub(super) fn tell_refuses(&self, error: &QueueError) {
        self.tell(RedisStatus::Refuses(error.reason()));
    }

    pub(super) fn tell_away(&self, error: &QueueError) {
        self.tell(RedisStatus::Away(error.reason()));
    }

    async fn try_connect(&self) -> Result<Probed, QueueError> {
        let address = self.dialer.address();
        let told = |error: RedisError| queue_error(&address, &error);
        let mut conn = self.dialer.dial().await.map_err(told)?;
        let mut probed = probe::probe(&mut conn, &address, self.timeout, self.dialer.is_cluster()).await?;
        if probed.cluster && !self.dialer.is_cluster() {
            self.dialer.use_cluster().map_err(told)?;
            conn = self.dialer.dial().await.map_err(told)?;
            // Of many servers none can be told by its id.
            probed.run_id.clear();
        }
        {
            let mut shared = self.shared.lock();
            *shared = (shared.0.wrapping_add(1), Some(conn));
        }
        Ok(probed)
    }

    fn tell(&self, status: RedisStatus) {
        let changed = self.status.send_if_modified(|known| {
            let changed = *known != status;
            if changed {
                known.clone_from(&status);
            }
            changed
        });
        if changed {
            match &status {
                RedisStatus::Available => tracing::info!(redis = %self.dialer.address(), "Redis is there"),
                RedisStatus::Refuses(reason) => tracing::warn!(%reason, "Redis takes nothing new; jobs wait for it"),
                RedisStatus::Away(reason) => tracing::warn!(%reason, "Redis is away; it is tried again and again"),
            }
        }
    }

    pub(super) fn status(&self) -> watch::Receiver<RedisStatus> {
        self.status.subscribe()
    }

    pub(super) fn is_available(&self) -> bool {
        !self.status.borrow().is_away()
    }

    /// Until the shared connection is lost.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// At once when it is lost already.
    pub(super) async fn lost_now(&self) {
        // It ends only with the link itself.
        let _ = self.status().wait_for(RedisStatus::is_away).await;
    }

    fn shared(&self) -> Result<(u64, Conn), QueueError> {
        let shared = self.shared.lock();
        match &shared.1 {
            Some(conn) => Ok((shared.0, conn.clone())),
            None => Err(self.away()),
        }
    }

    fn away(&self) -> QueueError {
        match &*self.status.borrow() {
            RedisStatus::Away(reason) => QueueError::Unavailable(reason.clone()),
            _ => QueueError::Unavailable("the connection to Redis was lost just now".to_owned()),
        }
    }

    /// What became of a call over the shared connection `number`.
    fn judge<T>(&self, number: u64, result: RedisResult<T>) -> Result<T, QueueError> {
        result.map_err(|error| {
            if meaning(&error) == Meaning::Lost {
                self.drop_shared(number, &error);
            }
            // A call that fails is never final: whoever operates Redis may help.
            QueueError::Unavailable(sentence(&self.dialer.address(), &error))
        })
    }

    fn drop_shared(&self, number: u64, error: &RedisError) {
        {
            let mut shared = self.shared.lock();
            if shared.0 != number || shared.1.is_none() {
                return;
            }
            shared.1 = None;
        }
        self.tell(RedisStatus::Away(sentence(&self.dialer.address(), error)));
        self.lost.notify_one();
    }

    /// A short call over the shared connection.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, QueueError> {
        let (number, mut conn) = self.shared()?;
        let result = in_time(self.timeout, command.query_async(&mut conn)).await;
        self.judge(number, result)
    }

    /// A short call whose refusal the caller looks at itself.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<RedisResult<Value>, QueueError> {
        let (number, mut conn) = self.shared()?;
        match in_time(self.timeout, command.query_async(&mut conn)).await {
            Err(error) if meaning(&error) == Meaning::Lost => self.judge(number, Err(error)),
            other => Ok(other),
        }
    }

    /// The answer to [`Self::ask`] as what the caller wants of it.
    pub(super) fn value<T: FromRedisValue>(&self, answer: RedisResult<Value>) -> Result<T, QueueError> {
        let value = answer.and_then(|value| Ok(redis::from_redis_value(value)?));
        value.map_err(|error| QueueError::Unavailable(sentence(&self.dialer.address(), &error)))
    }

    /// Much at once, over a connection of its own; all commands are about keys of one hash tag. The answers stand in
    /// the order of the commands; an error is that of the first that failed.
    pub(super) async fn bulk(&self, pipeline: &Pipeline) -> Result<Vec<Value>, QueueError> {
        let mut pooled = self.pooled().await?;
        pooled.busy = true;
        let call = pooled.conn.req_packed_commands(pipeline, 0, pipeline.len());
        let result = in_time(self.timeout, call).await;
        pooled.busy = result.as_ref().is_err_and(|error| meaning(error) == Meaning::Lost);
        let values = result.and_then(|values| values.into_iter().map(Value::extract_error).collect());
        values.map_err(|error: RedisError| QueueError::Unavailable(sentence(&self.dialer.address(), &error)))
    }

    /// A connection that the caller may block.
    pub(super) async fn pooled(&self) -> Result<Object<Manager>, QueueError> {
        if !self.is_available() {
            return Err(self.away());
        }
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => QueueError::Unavailable(sentence(&self.dialer.address(), &error)),
            PoolError::Timeout(_) => QueueError::Unavailable(sentence(&self.dialer.address(), &timed_out())),
            other => QueueError::Unavailable(format!("no connection to Redis: {other}")),
        })
    }
}
