//! Parallel and Dag: all children at once, or so many (flow model reference 4.3; `concurrent` is rendered since 1.x).

use windhover_flow::Text;

use super::{Opening, Shape};
use crate::{
    Opened,
    context::{Context, Stop},
};

pub(super) fn open(concurrent: Option<&Text>, context: &Context<'_>) -> Result<Opening, Stop> {
    Ok(Opening::decided(Opened::Parallel { concurrent: concurrency(concurrent, context)? }))
}

/// How many children run at once; 0 = all.
pub(super) fn concurrency(concurrent: Option<&Text>, context: &Context<'_>) -> Result<u32, Stop> {
    let Some(text) = concurrent else { return Ok(0) };
    let rendered = context.render(text)?;
    rendered.trim().parse().map_err(|_| {
        let rendered = context.mask_message(&rendered);
        Stop::Failed(format!("`concurrent` is `{rendered}` and must be a whole number from 0"))
    })
}

pub(super) fn shape(opened: Option<&Opened>) -> Shape<'_> {
    Shape::Parallel { concurrent: limit(opened) }
}

pub(super) fn limit(opened: Option<&Opened>) -> u32 {
    match opened {
        Some(Opened::Parallel { concurrent }) => *concurrent,
        _ => 0,
    }
}
