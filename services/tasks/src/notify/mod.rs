//! Notifications: what all targets share, and one module for each target (notifications reference).

mod execution;
mod send;
mod sentry;
mod slack;

pub(crate) use sentry::SentryAlert;
pub(crate) use slack::{SlackExecution, SlackIncomingWebhook};
