//! Switch: the list whose key is the rendered value, or else the defaults (flow model reference 5.3).

use std::sync::Arc;

use indexmap::IndexMap;
use windhover_flow::{Task, TaskList, Text};

use super::Opening;
use crate::{
    Opened,
    context::{Context, Stop},
};

pub(super) fn open(
    value: &Text,
    cases: &IndexMap<String, TaskList>,
    defaults: Option<&TaskList>,
    context: &Context<'_>,
) -> Result<Opening, Stop> {
    let value = context.render(value)?;
    let case = cases.contains_key(&value).then(|| value.clone());
    let failure = (case.is_none() && defaults.is_none())
        .then(|| format!("No case of the Switch is `{}`, and it has no defaults", context.mask_message(&value)));
    let by_default = case.is_none();
    let opening =
        Opening::decided(Opened::Switch { case }).with_output("value", value).with_output("defaults", by_default);
    Ok(Opening { failure, ..opening })
}

pub(super) fn branch<'a>(
    cases: &'a IndexMap<String, TaskList>,
    defaults: Option<&'a TaskList>,
    opened: Option<&Opened>,
) -> &'a [Arc<Task>] {
    let case = match opened {
        Some(Opened::Switch { case: Some(case) }) => cases.get(case),
        _ => defaults,
    };
    case.map_or(&[], Vec::as_slice)
}
