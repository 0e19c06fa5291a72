//! Several versions beside each other: a process that would not understand what others write does not start.

use anyhow::{Result, bail};
use windhover_store::Store;

use super::parts::{FORMAT, FORMAT_PROPERTY};

/// # Errors
/// Names the instance whose messages and rows this version does not know.
pub(super) async fn check(store: &Store) -> Result<()> {
    let now = store.now().await?;
    for instance in store.instances().await? {
        let service = &instance.service;
        if service.state.is_terminated() || now.since(instance.updated_at) > service.config.liveness.timeout {
            continue;
        }
        let format = service.props.get(FORMAT_PROPERTY).and_then(serde_json::Value::as_u64).unwrap_or(0);
        if format > FORMAT {
            bail!(
                "a newer Windhover works on this installation ({} {} on {}): it writes format {format} and this version \
                 ({}) understands up to {FORMAT}; update this one, or stop that one and wait until it is gone",
                service.kind.as_str(),
                service.server.version,
                instance.host,
                env!("CARGO_PKG_VERSION")
            );
        }
    }
    Ok(())
}
