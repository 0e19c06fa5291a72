//! Waiting for something to be so.

use std::{future::Future, net::TcpListener, time::Duration};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// Looks until `condition` answers `Some`, at most for `timeout`; the error then says what was waited for.
pub async fn wait_until<T, F, Fut>(what: &str, timeout: Duration, mut condition: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let looking = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(timeout, looking).await.map_err(|_| anyhow::anyhow!("waited {timeout:?} for {what}"))
}

/// A TCP port of the loopback interface that nobody listens on just now.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
