//! Flows of jobs that come from other processes.

use std::sync::Arc;

use async_trait::async_trait;
use windhover_flow::Flow;
use windhover_queue::FlowResolver;
use windhover_types::Tenant;

use super::Flows;

#[async_trait]
impl FlowResolver for Flows {
    async fn flow(
        &self,
        tenant: &Tenant,
        namespace: &str,
        id: &str,
        revision: u32,
    ) -> Result<Option<Arc<Flow>>, String> {
        let found = self.get(tenant, namespace, id, Some(revision)).await.map_err(|error| error.to_string())?;
        // One that no longer compiles is as good as none: the attempt cannot be made.
        Ok(found.and_then(|stored| stored.flow.clone().ok()))
    }
}
