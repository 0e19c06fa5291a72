//! Inputs of type SECRET: encrypted wherever they are kept, plain to expressions (flow model reference 2.2, 1.x
//! reference 2.2).

use std::collections::BTreeSet;

use serde_json::Value;
use windhover_expression::{Environment, Interrupt};
use windhover_types::{JsonMap, Secret, sealed_text, sealed_value};

use super::{Input, nest};
use crate::property::text_of;
use crate::{Flow, TaskKind};

/// Those of type SECRET.
pub fn secret_inputs(inputs: &[Input]) -> impl Iterator<Item = &Input> {
    inputs.iter().filter(|input| input.kind.is_secret())
}

/// Puts the plain texts of inputs of type SECRET in the places of the sealed ones. `open`: see
/// [`windhover_types::Cipher::open`].
///
/// # Errors
/// The first of `open`.
pub fn open_inputs<E>(
    inputs: &[Input],
    values: &mut JsonMap,
    mut open: impl FnMut(&Input, &str) -> Result<Option<Secret>, E>,
) -> Result<(), E> {
    for input in secret_inputs(inputs) {
        let Some(value) = at_path(values, &input.id) else { continue };
        let Some(text) = sealed_text(value) else { continue };
        if let Some(secret) = open(input, text)? {
            *value = Value::String(secret.expose().to_owned());
        }
    }
    Ok(())
}

/// Of the values of inputs only those that are sealed, in their places.
pub fn sealed_inputs(inputs: &[Input], values: &JsonMap) -> JsonMap {
    let mut sealed = JsonMap::new();
    for input in secret_inputs(inputs) {
        let mut parts = input.id.split('.');
        let first = parts.next().and_then(|part| values.get(part));
        let found = parts.fold(first, |value, part| value?.get(part));
        if let Some(value) = found.filter(|value| sealed_text(value).is_some()) {
            // Two inputs never have one place: they could not have been resolved.
            let _ = nest(&mut sealed, &input.id, value.clone());
        }
    }
    sealed
}

/// Makes texts of whatever a caller gives for inputs of type SECRET: nobody may have an encrypted value opened by
/// giving it as one's own.
pub fn texts_of_secrets(inputs: &[Input], given: &mut JsonMap) {
    for input in secret_inputs(inputs) {
        if let Some(value) = given.get_mut(&input.id).filter(|value| !value.is_null()) {
            *value = Value::String(text_of(value));
        }
    }
}

/// Seals what a caller gives for those of these inputs that are of type SECRET, by flat id, before it is kept for a
/// later resolution. Several inputs may have one id: nobody knows yet which of them is meant.
///
/// # Errors
/// The first of `seal`.
pub fn seal_given<'i, E>(
    inputs: impl IntoIterator<Item = &'i Input>,
    given: &mut JsonMap,
    mut seal: impl FnMut(&Secret) -> Result<String, E>,
) -> Result<(), E> {
    let ids: BTreeSet<&str> =
        inputs.into_iter().filter(|input| input.kind.is_secret()).map(|input| input.id.as_str()).collect();
    for id in ids {
        if let Some(value) = given.get_mut(id).filter(|value| !value.is_null()) {
            *value = sealed_value(seal(&Secret::new(text_of(value)))?);
        }
    }
    Ok(())
}

/// What the Pauses of a flow ask for when they are resumed.
pub fn resume_inputs(flow: &Flow) -> impl Iterator<Item = &Input> {
    flow.index.values().flat_map(|place| match &place.task.kind {
        TaskKind::Pause(pause) => pause.on_resume.as_slice(),
        _ => &[],
    })
}

/// A value of this input as it is kept.
pub(super) fn sealed(input: &Input, value: Value, environment: &Environment<'_>) -> Result<Value, Interrupt> {
    if !input.kind.is_secret() || value.is_null() {
        return Ok(value);
    }
    environment.services.seal(&text_of(&value)).map(sealed_value)
}

/// A value that was given for this input as a text.
pub(super) fn opened(input: &Input, value: &Value, environment: &Environment<'_>) -> Result<Value, Interrupt> {
    if !input.kind.is_secret() || value.is_null() {
        return Ok(value.clone());
    }
    let known = sealed_text(value).map(|text| environment.services.open(text)).transpose()?.flatten();
    Ok(Value::String(known.unwrap_or_else(|| text_of(value))))
}

fn at_path<'v>(values: &'v mut JsonMap, id: &str) -> Option<&'v mut Value> {
    let mut parts = id.split('.');
    let mut value = values.get_mut(parts.next()?)?;
    for part in parts {
        value = value.get_mut(part)?;
    }
    Some(value)
}
