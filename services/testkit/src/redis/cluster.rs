//! Three servers that share the keys among them.

use std::time::Duration;

use anyhow::bail;

use super::Redis;
use crate::{free_port, wait_until};

/// Where the slots of one node end and those of the next begin.
const SLOTS: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// A cluster of three masters without replicas.
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    pub async fn start() -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for _ in SLOTS {
            // The usual one, ten thousand above the other, may be none at all.
            let bus = free_port()?.to_string();
            let arguments = [
                ["--cluster-enabled", "yes"],
                ["--cluster-port", &bus],
                ["--cluster-announce-ip", "127.0.0.1"],
                ["--cluster-node-timeout", "2000"],
            ];
            nodes.push(Redis::start_with(arguments.concat().into_iter().map(str::to_owned).collect()).await?);
            buses.push(bus);
        }
        for (number, (node, (first, last))) in nodes.iter().zip(SLOTS).enumerate() {
            command(node, &format!("CLUSTER SET-CONFIG-EPOCH {}", number + 1)).await?;
            command(node, &format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await?;
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            command(&nodes[0], &format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port())).await?;
        }
        let cluster = Self { nodes };
        cluster.complete().await?;
        Ok(cluster)
    }

    /// Until all nodes know each other and serve all slots.
    pub async fn complete(&self) -> anyhow::Result<()> {
        wait_until("the nodes of the Redis cluster to find each other", Duration::from_secs(30), || async {
            for node in &self.nodes {
                let info = node.command("CLUSTER INFO").await.unwrap_or_default();
                if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:3") {
                    return None;
                }
            }
            Some(())
        })
        .await
    }

    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    /// Empties all nodes.
    pub async fn flush_all(&self) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.flush_all().await?;
        }
        Ok(())
    }
}

async fn command(node: &Redis, line: &str) -> anyhow::Result<()> {
    let answer = node.command(line).await?;
    if !answer.starts_with("+OK") {
        bail!("{line}: {answer}");
    }
    Ok(())
}
