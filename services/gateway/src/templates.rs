//! Templates that the gateway renders before there is an execution.

pub(crate) use windhover_executor::Templates;
