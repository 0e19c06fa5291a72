//! Waiting for something to be so.

use std::{
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    net::TcpListener,
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

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

/// A TCP port of the loopback interface that nobody listens on just now, and that this process has not been given
/// before. It is none that the system gives to outgoing connections: whoever starts there a second later, or again after
/// a restart, still finds it free.
pub fn free_port() -> std::io::Result<u16> {
    const FIRST: u16 = 15_000;
    const COUNT: u16 = 17_000;
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Processes begin at different places.
    let next =
        NEXT.get_or_init(|| AtomicU16::new((RandomState::new().build_hasher().finish() % u64::from(COUNT)) as u16));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    // Everything there is taken: the system may still know one.
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
