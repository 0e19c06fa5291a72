//! A job carries inputs of type SECRET and other sealed values as they are kept; they are opened here, for one attempt
//! (flow model reference 3.7, 1.x reference 3.3).

use std::sync::Arc;

use serde_json::Value;
use windhover_flow::open_inputs;
use windhover_types::{Cipher, Secret, has_sealed, open_all};

use crate::{Attempt, TaskServices};

/// Roots of expressions in which sealed values may stand anywhere.
const ROOTS: [&str; 6] = ["outputs", "parents", "parent", "trigger", "schedule", "execution"];

/// Puts plain texts in the places of sealed values; answers them, to be masked in whatever the attempt says.
///
/// # Errors
/// A sentence for the user: there is no key, or a value was changed.
pub(crate) async fn open(attempt: &mut Attempt, services: &TaskServices) -> Result<Vec<Secret>, String> {
    if !attempt.variables.values().any(has_sealed) {
        return Ok(Vec::new());
    }
    let cipher: Arc<dyn Cipher> = services.secrets.cipher(&attempt.tenant).await?;
    let mut secrets = Vec::new();
    if let Some(Value::Object(inputs)) = attempt.variables.get_mut("inputs") {
        open_inputs(&attempt.flow.inputs, inputs, |input, text| {
            let why = |why: String| format!("the input `{}` cannot be read: {why}", input.id);
            let opened = cipher.open(text).map_err(why)?;
            secrets.extend(opened.clone());
            Ok::<_, String>(opened)
        })?;
    }
    for root in ROOTS {
        let Some(value) = attempt.variables.get_mut(root) else { continue };
        open_all(value, &mut |text: &str| {
            let opened = cipher.open(text).map_err(|why| format!("a sealed value cannot be read: {why}"))?;
            secrets.extend(opened.clone());
            Ok::<_, String>(opened)
        })?;
    }
    Ok(secrets)
}
