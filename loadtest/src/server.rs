//! What is measured: processes of their own.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result};
use tokio::time::Instant;
use windhover_client::{Client, ClientOptions};
use windhover_testkit::{Cluster, ClusterOptions, Role, TOKEN};

/// The processes of a cluster of separate services.
pub(crate) const SEPARATE: &[Role] =
    &[Role::Gateway, Role::Executor, Role::Executor, Role::Worker, Role::Worker, Role::Scheduler];

/// One server or a cluster of them.
pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) started_in: Duration,
}

impl Server {
    /// Starts these processes; answers when all are ready.
    pub(crate) async fn start(
        binary: &Path,
        database: &str,
        redis: &str,
        folder: &Path,
        roles: &[Role],
    ) -> Result<Self> {
        let mut options = ClusterOptions::new(binary, database)
            .redis(redis)
            // Several clusters of a benchmark use one Redis, one after the other.
            .set("WINDHOVER_REDIS_PREFIX", database.rsplit('/').next().unwrap_or_default())
            .set("WINDHOVER_LIMITS_REQUESTS_PER_SECOND", "1000000");
        options.logs = Some(folder.to_owned());
        let before = Instant::now();
        let cluster = Cluster::start(options, roles).await?;
        Ok(Self { cluster, started_in: before.elapsed() })
    }

    pub(crate) async fn client(&self, connections: usize) -> Result<Client> {
        self.client_of("main", connections).await
    }

    pub(crate) async fn client_of(&self, tenant: &str, connections: usize) -> Result<Client> {
        let address = self.cluster.addresses().into_iter().next().context("somebody with an API")?;
        let options = ClientOptions::new(address).token(TOKEN).tenant(tenant).connections(connections);
        Ok(Client::connect(options).await?)
    }

    /// Resident memory of all processes, in MB.
    pub(crate) fn memory_mb(&self) -> Result<f64> {
        let mut bytes = 0;
        for member in self.cluster.members() {
            bytes += member.process.memory()?;
        }
        Ok(bytes as f64 / f64::from(1 << 20))
    }

    /// Processor time of all processes.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        self.cluster.members().iter().map(|member| member.process.processor_time()).sum()
    }

    /// Executions of a flow that have ended, by the executors' own counters.
    pub(crate) async fn ended(&self, flow: &str) -> Result<f64> {
        let label = format!("flow_id=\"{flow}\"");
        let mut sum = 0.0;
        for member in self.cluster.members() {
            if !matches!(member.process.role(), Role::Standalone | Role::Executor) {
                continue;
            }
            let (_, text) = member.process.get("/prometheus").await.context("the metrics of an executor")?;
            sum += text
                .lines()
                .filter(|line| line.starts_with("kestra_executor_execution_end_count") && line.contains(&label))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum::<f64>();
        }
        Ok(sum)
    }
}
