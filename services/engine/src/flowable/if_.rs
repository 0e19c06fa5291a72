//! If: one of two lists, by a condition that is evaluated once (flow model reference 5.3).

use std::sync::Arc;

use windhover_expression::condition::is_truthy;
use windhover_flow::{Task, Text};

use super::Opening;
use crate::{
    Opened,
    context::{Context, Stop},
};

pub(super) fn open(condition: &Text, context: &Context<'_>) -> Result<Opening, Stop> {
    let then = is_truthy(&context.render(condition)?);
    Ok(Opening::decided(Opened::If { then }).with_output("evaluationResult", then))
}

pub(super) fn branch<'a>(
    then: &'a [Arc<Task>],
    otherwise: &'a [Arc<Task>],
    opened: Option<&Opened>,
) -> &'a [Arc<Task>] {
    match opened {
        Some(Opened::If { then: true }) => then,
        _ => otherwise,
    }
}
