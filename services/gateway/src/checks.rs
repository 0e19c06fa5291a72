//! Checks of a flow, which are looked at before a call creates an execution (flow model 1.x reference 1.3).

use std::{ops::ControlFlow, sync::Arc};

use serde_json::Value;
use windhover_flow::{CheckBehavior, FailedCheck, evaluate_checks};
use windhover_proto::reasons;
use windhover_types::{Error, ErrorKind, JsonMap, Masker, Timestamp};

use crate::{create::Runnable, templates::Templates};

/// Why the execution is to be created in FAILED, if it is.
///
/// # Errors
/// CHECK_FAILED: a check that does not hold blocks the execution.
pub(crate) async fn look_at(
    templates: &Templates,
    runnable: &Runnable,
    inputs: &JsonMap,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let Runnable { stored, flow } = runnable;
    if flow.checks.is_empty() {
        return Ok(None);
    }
    let mut variables = templates.variables(stored, flow, None);
    let mut inputs = Value::Object(inputs.clone());
    let secrets = templates.open(&stored.tenant, &mut inputs).await.map_err(refused)?;
    variables.set_json("inputs", Arc::new(inputs));
    let failed =
        templates.evaluate(stored, &variables, now, |environment| match evaluate_checks(&flow.checks, environment) {
            Ok(failed) => ControlFlow::Break(failed),
            Err(_) => ControlFlow::Continue(()),
        });
    let Some(failed) = failed.await else {
        return Err(refused("a check of the flow needs something that is not available here".to_owned()));
    };
    // It may quote the inputs.
    let message = Masker::of_all_forms(&secrets).mask(&messages(&failed));
    match failed.iter().map(|check| check.behavior).max() {
        Some(CheckBehavior::BlockExecution) => Err(refused(message)),
        Some(CheckBehavior::FailExecution) => Ok(Some(message)),
        Some(CheckBehavior::CreateExecution) | None => Ok(None),
    }
}

fn messages(failed: &[FailedCheck]) -> String {
    failed.iter().map(|check| check.message.as_str()).collect::<Vec<_>>().join("\n")
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::FailedPrecondition, reasons::CHECK_FAILED, message)
}
