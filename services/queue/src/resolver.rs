//! Flows of jobs that come from other processes.

use std::sync::Arc;

use async_trait::async_trait;
use windhover_flow::Flow;
use windhover_types::Tenant;

/// Finds the flow of a job that another process has sent: what crosses processes names it only.
#[async_trait]
pub trait FlowResolver: Send + Sync + 'static {
    /// The revision, compiled. `None`: there is none, and there will be none; the attempt is then reported as failed.
    ///
    /// # Errors
    /// Why it cannot be found out now; the job goes back to its queue.
    async fn flow(
        &self,
        tenant: &Tenant,
        namespace: &str,
        id: &str,
        revision: u32,
    ) -> Result<Option<Arc<Flow>>, String>;
}
