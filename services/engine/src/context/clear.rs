//! What is kept sealed of an execution, opened for its expressions: inputs of type SECRET, and sealed values in outputs
//! and in what a trigger gave (flow model reference 3.7, 1.x reference 3.3).
//!
//! Opened values are in the memory of a [`Run`] only. Whoever reads them leaves them in [`Seen`], by which messages are
//! masked.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value as Json;
use windhover_expression::{Interrupt, Object, Value};
use windhover_flow::{Flow, open_inputs, sealed_inputs, secret_inputs};
use windhover_types::{Cipher, JsonMap, Masker, Secret, has_sealed, open_all};

use crate::{Fact, FactValue, Facts, Run};

/// A document with plain texts in the places of what was sealed in it.
#[derive(Clone)]
pub(super) struct Clear {
    pub(super) document: Arc<Json>,
    /// What was sealed in it.
    pub(super) secrets: Arc<[Secret]>,
}

impl fmt::Debug for Clear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clear(******)")
    }
}

impl Clear {
    fn new(document: JsonMap, secrets: Vec<Secret>) -> Self {
        Self { document: Arc::new(Json::Object(document)), secrets: secrets.into() }
    }
}

/// Plain values that an evaluation has read.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<Secret>>>);

impl Seen {
    pub(super) fn add(&self, secrets: &[Secret]) {
        if secrets.is_empty() {
            return;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in secrets {
            if !seen.contains(secret) {
                seen.push(secret.clone());
            }
        }
    }

    pub(super) fn masker(&self) -> Masker {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_empty() { Masker::default() } else { Masker::of_all_forms(seen.iter()) }
    }
}

/// Opens the inputs of type SECRET before the first step over a run, so that nothing it logs tells them.
///
/// # Errors
/// The tenant's cipher is needed first.
pub(crate) fn open_run(flow: &Flow, run: &Run, facts: &Facts) -> Result<(), Fact> {
    if run.roots.masker.get().is_some() {
        return Ok(());
    }
    if secret_inputs(&flow.inputs).next().is_none() {
        let _ = run.roots.masker.set(Masker::default());
        return Ok(());
    }
    match clear_inputs(flow, run.execution.inputs.as_ref().clone(), facts) {
        Ok(clear) => {
            let _ = run.roots.masker.set(Masker::of_all_forms(clear.secrets.iter()));
            let _ = run.roots.inputs.set(clear);
            Ok(())
        }
        Err(Interrupt::Needs(_)) => Err(Fact::Cipher),
        // Whatever reads the inputs is told why they cannot be opened.
        Err(_) => Ok(()),
    }
}

/// What seals and opens values of the tenant.
pub(super) fn cipher(facts: &Facts) -> Result<Arc<dyn Cipher>, Interrupt> {
    match facts.get(&Fact::Cipher) {
        Some(FactValue::Cipher(Ok(cipher))) => Ok(Arc::clone(cipher)),
        Some(FactValue::Cipher(Err(reason))) => Err(Interrupt::failed(reason.clone())),
        _ => Err(Interrupt::Needs(Fact::Cipher.key())),
    }
}

/// Inputs of an execution of this flow.
pub(super) fn clear_inputs(flow: &Flow, mut inputs: JsonMap, facts: &Facts) -> Result<Clear, Interrupt> {
    let mut secrets = Vec::new();
    if !sealed_inputs(&flow.inputs, &inputs).is_empty() {
        let cipher = cipher(facts)?;
        open_inputs(&flow.inputs, &mut inputs, |input, text| {
            let why = |why: String| Interrupt::failed(format!("the input `{}` cannot be read: {why}", input.id));
            let secret = cipher.open(text).map_err(why)?;
            secrets.extend(secret.clone());
            Ok::<_, Interrupt>(secret)
        })?;
    }
    Ok(Clear::new(inputs, secrets))
}

/// A document in which sealed values may stand anywhere.
pub(super) fn clear_all(document: JsonMap, facts: &Facts) -> Result<Clear, Interrupt> {
    let mut document = Json::Object(document);
    let mut secrets = Vec::new();
    if has_sealed(&document) {
        let cipher = cipher(facts)?;
        open_all(&mut document, &mut |text: &str| open(cipher.as_ref(), text, &mut secrets))?;
    }
    match document {
        Json::Object(document) => Ok(Clear::new(document, secrets)),
        // The whole was one sealed value, which no document is.
        _ => Ok(Clear::new(JsonMap::new(), secrets)),
    }
}

fn open(cipher: &dyn Cipher, text: &str, secrets: &mut Vec<Secret>) -> Result<Option<Secret>, Interrupt> {
    let opened = cipher.open(text).map_err(|why| Interrupt::failed(format!("a sealed value cannot be read: {why}")))?;
    secrets.extend(opened.clone());
    Ok(opened)
}

/// The value with everything opened that is sealed in it; maps that are loaded on demand stay so.
pub(super) fn opened(value: Value, cipher: &Arc<dyn Cipher>, seen: &Seen) -> Result<Value, Interrupt> {
    match value {
        Value::Object(inner) => {
            Ok(Value::Object(Arc::new(Opening { inner, cipher: Arc::clone(cipher), seen: seen.clone() })))
        }
        Value::Json(_) | Value::List(_) | Value::Map(_) => {
            let mut json = value.to_json().map_err(|error| match error {
                windhover_expression::ExpressionError::Needs(key) => Interrupt::Needs(key),
                other => Interrupt::failed(other.to_string()),
            })?;
            if !has_sealed(&json) {
                return Ok(value);
            }
            let mut secrets = Vec::new();
            open_all(&mut json, &mut |text: &str| open(cipher.as_ref(), text, &mut secrets))?;
            seen.add(&secrets);
            Ok(Value::from_json(&json))
        }
        scalar => Ok(scalar),
    }
}

struct Opening {
    inner: Arc<dyn Object>,
    cipher: Arc<dyn Cipher>,
    seen: Seen,
}

impl Object for Opening {
    fn get(&self, key: &str) -> Result<Option<Value>, Interrupt> {
        self.inner.get(key)?.map(|value| opened(value, &self.cipher, &self.seen)).transpose()
    }

    fn entries(&self) -> Result<Vec<(String, Value)>, Interrupt> {
        let entries = self.inner.entries()?.into_iter();
        entries.map(|(key, value)| Ok((key, opened(value, &self.cipher, &self.seen)?))).collect()
    }

    fn length(&self) -> Option<usize> {
        self.inner.length()
    }
}
