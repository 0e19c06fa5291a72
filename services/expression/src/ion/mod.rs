//! Ion text: reading (expression reference, section 15.2) and writing (section 12.4).

mod lex;
mod read;
mod write;

pub(crate) use read::parse;
pub use write::item_line;
pub(crate) use write::to_text;

use serde_json::Value as Json;

/// The items of a file of items: values of Ion or JSON, one after the other, as JSON.
///
/// # Errors
/// What is wrong with the text, as a sentence.
pub fn read_items(text: &str) -> Result<Vec<Json>, String> {
    let values = parse(text, true)?;
    values.iter().map(|value| value.to_json().map_err(|error| error.to_string())).collect()
}
