//! Values that documents hold encrypted: inputs and outputs of type SECRET (flow model reference 2.2, 2.6, 3.7).
//!
//! A sealed value is the object `{type: "io.kestra.datatype:aes_encrypted", value: <text>}`. It may stand anywhere in
//! inputs, outputs and what a trigger gives; whoever renders expressions puts the plain text in its place.

use std::fmt;

use serde_json::Value;

use crate::{JsonMap, Secret};

/// The `type` of a sealed value.
pub const SEALED_TYPE: &str = "io.kestra.datatype:aes_encrypted";

/// Seals and opens values of one tenant. Implemented where the keys are.
///
/// Which bytes a value is sealed to may differ from call to call; nothing may be concluded from them.
pub trait Cipher: fmt::Debug + Send + Sync {
    /// # Errors
    /// A sentence that says why, without the value.
    fn seal(&self, value: &Secret) -> Result<String, String>;

    /// What was sealed; `None` for a text that no cipher has written.
    ///
    /// # Errors
    /// A sentence that says why: it was changed, or sealed for somebody else.
    fn open(&self, sealed: &str) -> Result<Option<Secret>, String>;
}

/// The object that stands for a sealed value.
pub fn sealed_value(text: String) -> Value {
    let mut sealed = JsonMap::new();
    sealed.insert("type".to_owned(), Value::String(SEALED_TYPE.to_owned()));
    sealed.insert("value".to_owned(), Value::String(text));
    Value::Object(sealed)
}

/// The text inside, if this is a sealed value.
pub fn sealed_text(value: &Value) -> Option<&str> {
    let map = value.as_object()?;
    let is_sealed = map.get("type")?.as_str()?.eq_ignore_ascii_case(SEALED_TYPE);
    map.get("value").filter(|_| is_sealed)?.as_str()
}

/// Whether a sealed value stands anywhere in it.
pub fn has_sealed(value: &Value) -> bool {
    match value {
        Value::Object(map) => sealed_text(value).is_some() || map.values().any(has_sealed),
        Value::Array(items) => items.iter().any(has_sealed),
        _ => false,
    }
}

/// Puts the plain texts in the places of all sealed values. `open`: as [`Cipher::open`]; what it does not know stays.
///
/// # Errors
/// The first of `open`.
pub fn open_all<E>(value: &mut Value, open: &mut impl FnMut(&str) -> Result<Option<Secret>, E>) -> Result<(), E> {
    if let Some(text) = sealed_text(value) {
        if let Some(secret) = open(text)? {
            *value = Value::String(secret.expose().to_owned());
        }
        return Ok(());
    }
    match value {
        Value::Object(map) => map.values_mut().try_for_each(|value| open_all(value, open)),
        Value::Array(items) => items.iter_mut().try_for_each(|value| open_all(value, open)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sealed_values_are_found_and_opened_wherever_they_stand() {
        let sealed = sealed_value("abc".to_owned());
        assert_eq!(sealed, json!({"type": "io.kestra.datatype:aes_encrypted", "value": "abc"}));
        let mut document = json!({"a": [1, {"b": sealed}], "c": {"type": "STRING", "value": "abc"}});
        assert!(has_sealed(&document));
        let mut open = |text: &str| Ok::<_, String>(Some(Secret::new(text.to_uppercase())));
        open_all(&mut document, &mut open).unwrap();
        assert_eq!(document, json!({"a": [1, {"b": "ABC"}], "c": {"type": "STRING", "value": "abc"}}));
        assert!(!has_sealed(&document));
    }

    #[test]
    fn what_nobody_has_sealed_stays_and_an_error_is_told() {
        let mut document = json!([sealed_value("abc".to_owned())]);
        let before = document.clone();
        open_all(&mut document, &mut |_: &str| Ok::<_, String>(None)).unwrap();
        assert_eq!(document, before);
        assert_eq!(open_all(&mut document, &mut |_: &str| Err("changed")), Err("changed"));
    }
}
