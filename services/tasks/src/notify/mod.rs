//! Notifications: what all targets share, and one module for each target (notifications reference).

mod execution;
mod send;
mod slack;

pub(crate) use slack::{SlackExecution, SlackIncomingWebhook};
