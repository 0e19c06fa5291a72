//! Where reports go.

use std::sync::Arc;

use async_trait::async_trait;
use windhover_queue::{Acknowledge, QueueError, Report, Wake, Wakeups};

/// Why a report was not acknowledged. It is sent again.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The owner took it and let it go: its batch was not committed.
    #[error("the report was received and not committed")]
    NotCommitted,
}

/// Takes reports to whoever owns their execution's shard.
#[async_trait]
pub trait ResultSink: Send + Sync + 'static {
    /// Returns when what the report says is committed, or needs no commit because it is out of date.
    async fn report(&self, report: Report) -> Result<(), SinkError>;
}

/// A sink that hands reports over in memory or through a queue, and waits for the acknowledgement.
pub struct WakeupSink {
    wakeups: Arc<dyn Wakeups>,
}

impl WakeupSink {
    pub fn new(wakeups: Arc<dyn Wakeups>) -> Self {
        Self { wakeups }
    }
}

#[async_trait]
impl ResultSink for WakeupSink {
    async fn report(&self, report: Report) -> Result<(), SinkError> {
        let (acknowledge, acknowledged) = Acknowledge::pair();
        self.wakeups.send(vec![Wake::Report { report, acknowledge }]).await?;
        acknowledged.await.map_err(|_| SinkError::NotCommitted)
    }
}
