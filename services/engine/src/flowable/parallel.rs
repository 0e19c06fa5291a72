//! Parallel: all children at once, or so many (flow model reference 4.3; `concurrent` is rendered since 1.x).

use windhover_flow::Text;

use super::{Opening, Shape};
use crate::{
    Opened,
    context::{Context, Stop},
};

pub(super) fn open(concurrent: Option<&Text>, context: &Context<'_>) -> Result<Opening, Stop> {
    let Some(text) = concurrent else { return Ok(Opening::decided(Opened::Parallel { concurrent: 0 })) };
    let rendered = context.render(text)?;
    match rendered.trim().parse() {
        Ok(concurrent) => Ok(Opening::decided(Opened::Parallel { concurrent })),
        Err(_) => Err(Stop::Failed(format!(
            "`concurrent` is `{}` and must be a whole number from 0",
            context.mask_message(&rendered)
        ))),
    }
}

pub(super) fn shape(opened: Option<&Opened>) -> Shape<'_> {
    match opened {
        Some(Opened::Parallel { concurrent }) => Shape::Parallel { concurrent: *concurrent },
        _ => Shape::Parallel { concurrent: 0 },
    }
}
