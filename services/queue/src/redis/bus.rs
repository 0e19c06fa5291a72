//! One subscribing connection per process: acknowledgements, kill hints, "jobs are there", followers' hints.
//!
//! Always true: what is published while the connection is away is lost. Everybody who listens here has another way to
//! learn of it later (a timeout, a renewal, a look).

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt;
use parking_lot::Mutex;
use redis::aio::{PubSub, PubSubSink};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{
    conn::{Dialer, in_time},
    error::sentence,
};
use crate::QueueError;

/// What is done with a message. Must not block.
pub(super) type Handler = Arc<dyn Fn(&[u8]) + Send + Sync>;

type Handlers = Arc<Mutex<HashMap<String, Handler>>>;

/// How often the connection is tried while nothing comes.
const PING: Duration = Duration::from_secs(2);

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(200);

enum Command {
    Subscribe(String, oneshot::Sender<bool>),
    Unsubscribe(String),
}

pub(super) struct Bus {
    handlers: Handlers,
    commands: mpsc::UnboundedSender<Command>,
    /// Counts connections: after a change something may have been missed.
    connections: watch::Receiver<u64>,
    timeout: Duration,
}

impl Bus {
    /// Connects and goes on connecting until `stop`.
    pub(super) fn start(dialer: Arc<Dialer>, timeout: Duration, stop: CancellationToken) -> Self {
        let handlers = Handlers::default();
        let (commands, receiver) = mpsc::unbounded_channel();
        let (connected, connections) = watch::channel(0);
        let task = Task { dialer, timeout, handlers: Arc::clone(&handlers), commands: receiver, connected };
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task.run() => {}
            }
        });
        Self { handlers, commands, connections, timeout }
    }

    /// Listens to a channel, in place of whoever listened to it before. Also when the answer is an error: then from
    /// the next connection on.
    ///
    /// # Errors
    /// Redis is away, or did not confirm in time.
    pub(super) async fn subscribe(&self, channel: String, handler: Handler) -> Result<(), QueueError> {
        self.handlers.lock().insert(channel.clone(), handler);
        let (sender, confirmed) = oneshot::channel();
        self.commands.send(Command::Subscribe(channel, sender)).map_err(|_| QueueError::Closed)?;
        match tokio::time::timeout(self.timeout, confirmed).await {
            Ok(Ok(true)) => Ok(()),
            _ => Err(QueueError::Unavailable("Redis does not confirm a subscription".to_owned())),
        }
    }

    pub(super) fn unsubscribe(&self, channel: String) {
        self.handlers.lock().remove(&channel);
        // Without the task nothing is subscribed to.
        let _ = self.commands.send(Command::Unsubscribe(channel));
    }

    pub(super) fn connections(&self) -> watch::Receiver<u64> {
        self.connections.clone()
    }
}

struct Task {
    dialer: Arc<Dialer>,
    timeout: Duration,
    handlers: Handlers,
    commands: mpsc::UnboundedReceiver<Command>,
    connected: watch::Sender<u64>,
}

impl Task {
    async fn run(mut self) {
        loop {
            match self.dialer.listen().await {
                Ok(listener) => self.serve(listener).await,
                Err(error) => {
                    tracing::debug!(reason = %sentence(&self.dialer.address(), &error), "no subscriptions");
                }
            }
            // Who wants to subscribe meanwhile is told at once that it has to wait.
            let pause = tokio::time::sleep(RETRY);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    command = self.commands.recv() => match command {
                        Some(Command::Subscribe(_, confirm)) => drop(confirm.send(false)),
                        Some(Command::Unsubscribe(_)) => {}
                        None => return,
                    },
                }
            }
        }
    }

    /// Until the connection is lost.
    async fn serve(&mut self, listener: PubSub) {
        let (mut sink, mut stream) = listener.split();
        let handlers = Arc::clone(&self.handlers);
        let mut reading = tokio::spawn(async move {
            while let Some(message) = stream.next().await {
                let handler = handlers.lock().get(message.get_channel_name()).cloned();
                if let Some(handler) = handler {
                    handler(message.get_payload_bytes());
                }
            }
        });
        if self.subscribe_all(&mut sink).await {
            self.connected.send_modify(|count| *count += 1);
            let mut ping = tokio::time::interval(PING);
            ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                let alive = tokio::select! {
                    _ = &mut reading => false,
                    _ = ping.tick() => in_time(self.timeout, sink.ping::<redis::Value>()).await.is_ok(),
                    command = self.commands.recv() => match command {
                        Some(command) => self.obey(&mut sink, command).await,
                        None => false,
                    },
                };
                if !alive {
                    break;
                }
            }
        }
        reading.abort();
    }

    async fn subscribe_all(&self, sink: &mut PubSubSink) -> bool {
        let channels: Vec<String> = self.handlers.lock().keys().cloned().collect();
        channels.is_empty() || in_time(self.timeout, sink.subscribe(channels)).await.is_ok()
    }

    async fn obey(&self, sink: &mut PubSubSink, command: Command) -> bool {
        match command {
            Command::Subscribe(channel, confirm) => {
                let done = in_time(self.timeout, sink.subscribe(channel)).await.is_ok();
                // Whoever asked may have given up.
                let _ = confirm.send(done);
                done
            }
            // Somebody may have come back meanwhile.
            Command::Unsubscribe(channel) if self.handlers.lock().contains_key(&channel) => true,
            Command::Unsubscribe(channel) => in_time(self.timeout, sink.unsubscribe(channel)).await.is_ok(),
        }
    }
}
