//! How a process is told to end.

use std::process;

use anyhow::Result;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// What a process that is told twice ends with: as one that SIGTERM ended.
const TOLD_TWICE: i32 = 128 + 15;

/// SIGTERM and Ctrl-C.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The next one ends the process at once: whoever sends it does not want to wait for what is under way. Nothing that
    /// was acknowledged is lost by it.
    pub(super) fn end_at_the_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("told to stop again: ends at once");
            process::exit(TOLD_TWICE);
        });
    }
}

/// Done once `stopped` says so.
pub(super) async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
