//! Pause: how long, and what then (flow model 1.x reference 5.3).

use std::time::Duration;

use windhover_flow::{Pause, Text, parse_duration};

use super::Opening;
use crate::{
    Opened, PauseBehavior,
    context::{Context, Stop},
};

pub(super) fn open(pause: &Pause, context: &Context<'_>) -> Result<Opening, Stop> {
    // With both, the duration alone counts.
    if let Some(duration) = duration(pause.duration.as_ref(), "pauseDuration", context)? {
        let behavior = behavior(pause.behavior.as_ref(), context)?;
        let until = Some(context.moment.now.plus(duration));
        return Ok(Opening::decided(Opened::Pause { until, behavior: Some(behavior) }));
    }
    let until = duration(pause.timeout.as_ref(), "timeout", context)?.map(|timeout| context.moment.now.plus(timeout));
    Ok(Opening::decided(Opened::Pause { until, behavior: None }))
}

fn behavior(text: Option<&Text>, context: &Context<'_>) -> Result<PauseBehavior, Stop> {
    let Some(text) = text else { return Ok(PauseBehavior::Resume) };
    let rendered = context.render(text)?;
    match rendered.trim() {
        "RESUME" => Ok(PauseBehavior::Resume),
        "WARN" => Ok(PauseBehavior::Warn),
        "FAIL" => Ok(PauseBehavior::Fail),
        "CANCEL" => Ok(PauseBehavior::Cancel),
        other => Err(Stop::Failed(format!(
            "`behavior` is `{}` and must be one of RESUME, WARN, FAIL, CANCEL",
            context.mask_message(other)
        ))),
    }
}

/// A duration that is rendered; what renders to nothing is absent.
pub(crate) fn duration(text: Option<&Text>, property: &str, context: &Context<'_>) -> Result<Option<Duration>, Stop> {
    let Some(text) = text else { return Ok(None) };
    let rendered = context.render(text)?;
    if rendered.trim().is_empty() {
        return Ok(None);
    }
    let parsed = parse_duration(rendered.trim());
    parsed.map(Some).map_err(|reason| Stop::Failed(format!("`{property}`: {}", context.mask_message(&reason))))
}
