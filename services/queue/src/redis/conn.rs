//! Connections to one server or to a cluster, as one type, and the pool of those that block.

use std::{fmt, sync::Arc, time::Duration};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError, RedisFuture,
    RedisResult, TlsCertificates, Value,
    aio::{ConnectionLike, MultiplexedConnection, PubSub},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
};

use super::RedisConfig;

/// A connection over which many calls go at once. Cloned cheaply.
#[derive(Clone)]
pub(super) enum Conn {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Conn {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(conn) => conn.req_packed_command(cmd),
            Self::Cluster(conn) => conn.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(conn) => conn.req_packed_commands(cmd, offset, count),
            Self::Cluster(conn) => conn.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(conn) => conn.get_db(),
            Self::Cluster(conn) => conn.get_db(),
        }
    }
}

/// Makes connections. A call over one of them ends after the time that the caller allows it, not by itself.
pub(super) struct Dialer {
    nodes: Vec<Client>,
    infos: Vec<ConnectionInfo>,
    certificates: Option<TlsCertificates>,
    timeout: Duration,
    /// Set once, when the server has told that it is one.
    cluster: std::sync::OnceLock<ClusterClient>,
}

impl Dialer {
    pub(super) fn new(config: &RedisConfig) -> RedisResult<Self> {
        let mut infos = Vec::with_capacity(config.urls.len());
        for url in &config.urls {
            infos.push(url.as_str().into_connection_info()?);
        }
        let tls = infos.iter().any(|info| matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }));
        if tls {
            // Fails when there is one already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let certificates = config
            .ca_certificate
            .clone()
            .filter(|_| tls)
            .map(|root_cert| TlsCertificates { client_tls: None, root_cert: Some(root_cert) });
        let open = |info: &ConnectionInfo| match &certificates {
            Some(certificates) => Client::build_with_tls(info.clone(), certificates.clone()),
            None => Client::open(info.clone()),
        };
        let nodes = infos.iter().map(open).collect::<RedisResult<Vec<Client>>>()?;
        Ok(Self { nodes, infos, certificates, timeout: config.timeout, cluster: std::sync::OnceLock::new() })
    }

    /// Host and port of the servers that were named.
    pub(super) fn address(&self) -> String {
        let names: Vec<String> = self.infos.iter().map(|info| info.addr().to_string()).collect();
        names.join(", ")
    }

    pub(super) fn database(&self) -> i64 {
        self.infos.first().map_or(0, |info| info.redis_settings().db())
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.cluster.get().is_some()
    }

    /// From now on connections are to the whole cluster.
    pub(super) fn use_cluster(&self) -> RedisResult<()> {
        if self.is_cluster() {
            return Ok(());
        }
        let builder = ClusterClient::builder(self.infos.iter().cloned())
            .connection_timeout(self.timeout)
            // Not the limit of ordinary calls, which have their own, but of those that block.
            .response_timeout(Duration::from_secs(10))
            .overall_response_timeout(None)
            .retries(4)
            .min_retry_wait(20)
            .max_retry_wait(200);
        let builder = match &self.certificates {
            Some(certificates) => builder.certs(certificates.clone()),
            None => builder,
        };
        // Somebody else may have been first, with the same settings.
        let _ = self.cluster.set(builder.build()?);
        Ok(())
    }

    /// To one server (the first that answers), or to the cluster.
    pub(super) async fn dial(&self) -> RedisResult<Conn> {
        if let Some(cluster) = self.cluster.get() {
            return in_time(self.timeout, cluster.get_async_connection()).await.map(Conn::Cluster);
        }
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(self.timeout)).set_response_timeout(None);
        let mut failed = None;
        for node in &self.nodes {
            match in_time(self.timeout, node.get_multiplexed_async_connection_with_config(&config)).await {
                Ok(conn) => return Ok(Conn::Single(conn)),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(timed_out))
    }

    /// For publish and subscribe: any node will do, a cluster tells all its nodes what is published.
    pub(super) async fn listen(&self) -> RedisResult<PubSub> {
        let mut failed = None;
        for node in &self.nodes {
            match in_time(self.timeout, node.get_async_pubsub()).await {
                Ok(listener) => return Ok(listener),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(timed_out))
    }
}

/// What did not come in time, as Redis's own error.
pub(super) fn timed_out() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

pub(super) async fn in_time<T>(timeout: Duration, call: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| Err(timed_out()))
}

/// Makes and checks the pool's connections: those that wait for a stream, and those that carry much at once, so that
/// short calls do not stand behind them.
pub(super) struct Manager {
    pub(super) dialer: Arc<Dialer>,
}

pub(super) type Pool = managed::Pool<Manager>;

/// A connection of the pool.
pub(super) struct Pooled {
    pub(super) conn: Conn,
    /// Set before a call and cleared after its answer: what was given up in the middle is not used again.
    pub(super) busy: bool,
}

/// An idle connection is tried before it is used again.
const IDLE: Duration = Duration::from_secs(1);

impl managed::Manager for Manager {
    type Type = Pooled;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<Pooled> {
        Ok(Pooled { conn: self.dialer.dial().await?, busy: false })
    }

    async fn recycle(&self, pooled: &mut Pooled, metrics: &Metrics) -> RecycleResult<RedisError> {
        if pooled.busy {
            return Err(RecycleError::message("a call was given up"));
        }
        if metrics.last_used() > IDLE {
            in_time(self.dialer.timeout, redis::cmd("PING").exec_async(&mut pooled.conn)).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("address", &self.dialer.address()).finish()
    }
}
