//! Between the engine's words and the API's.

mod execution;
mod json;
mod webhook;

pub(crate) use execution::*;
pub(crate) use json::*;
pub(crate) use webhook::webhook_answer;
