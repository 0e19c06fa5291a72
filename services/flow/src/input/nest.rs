//! Ids with dots as nested maps.

use serde_json::Value;
use windhover_types::JsonMap;

/// Puts `value` at the path `id`: `a.b` is `{a: {b: value}}`.
///
/// # Errors
/// The id that is in the way: `a` and `a.b` cannot both be values.
pub(crate) fn nest(root: &mut JsonMap, id: &str, value: Value) -> Result<(), String> {
    let mut at = root;
    let mut walked = String::new();
    let mut parts = id.split('.').peekable();
    while let Some(part) = parts.next() {
        walked.push_str(part);
        if parts.peek().is_none() {
            if at.contains_key(part) {
                return Err(walked);
            }
            at.insert(part.to_owned(), value);
            return Ok(());
        }
        let slot = at.entry(part.to_owned()).or_insert_with(|| Value::Object(JsonMap::new()));
        match slot {
            Value::Object(map) => at = map,
            _ => return Err(walked),
        }
        walked.push('.');
    }
    Ok(())
}
