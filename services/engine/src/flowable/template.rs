//! Template: the tasks of a stored template in the place of one task (flow model reference 5.3).
//!
//! The reference has deprecated templates for subflows and keeps them switched off unless `kestra.templates.enabled` is
//! set. None can be stored here, so that every template is a missing one, which fails the task.

use serde_json::{Map, Value};
use windhover_flow::TemplateCall;

use super::Opening;
use crate::{
    RenderContext,
    context::{Context, Stop},
};

pub(super) fn open(call: &TemplateCall, context: &Context<'_>) -> Result<Opening, Stop> {
    let (namespace, id) = (context.render(&call.namespace)?, context.render(&call.template_id)?);
    let args = match &call.args {
        Some(args) => args.render(&context.environment()).map_err(|error| context.stop(error))?,
        None => Value::Object(Map::new()),
    };
    let reason = format!(
        "Can't find flow template '{namespace}.{id}': templates are not kept (the reference has them switched off \
         unless `kestra.templates.enabled`); a Subflow runs tasks that several flows share"
    );
    let failure = Some(context.mask_message(&reason));
    Ok(Opening { failure, ..Opening::plain() }.with_output("args", args))
}
