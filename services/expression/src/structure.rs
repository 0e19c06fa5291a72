//! Rendering of structures: every string inside as text, shape and other kinds kept (expression reference, section 1.1).

use serde_json::{Map as JsonMap, Value as Json};

use crate::environment::Environment;
use crate::error::ExpressionError;
use crate::eval::{Rendered, Session, compile, render_in};

const MAX_DEPTH: u32 = 150;

/// Renders every string of a document, keys included. If two keys become equal the first one wins; nulls stay, and a text that writes
/// nothing but null gives null.
///
/// The limits of the environment apply to the whole document.
///
/// # Errors
/// Any [`ExpressionError`] of any string inside.
pub fn render_structure(document: &Json, environment: &Environment<'_>) -> Result<Json, ExpressionError> {
    let session = Session::new(environment);
    let result = rendered(document, &session, 0);
    session.end();
    result
}

fn rendered(node: &Json, session: &Session<'_>, depth: u32) -> Result<Json, ExpressionError> {
    if depth > MAX_DEPTH {
        return Err(ExpressionError::Limit { message: "The structure is nested too deeply".to_owned() });
    }
    match node {
        Json::String(text) => match rendered_text(text, session)? {
            Some(rendered) if rendered.only_null => Ok(Json::Null),
            Some(rendered) => Ok(Json::String(rendered.text)),
            None => Ok(node.clone()),
        },
        Json::Array(items) => {
            items.iter().map(|item| rendered(item, session, depth + 1)).collect::<Result<_, _>>().map(Json::Array)
        }
        Json::Object(entries) => {
            let mut out = JsonMap::with_capacity(entries.len());
            for (key, value) in entries {
                let key = rendered_text(key, session)?.map_or_else(|| key.clone(), Rendered::into_text);
                let value = rendered(value, session, depth + 1)?;
                out.entry(key).or_insert(value);
            }
            Ok(Json::Object(out))
        }
        other => Ok(other.clone()),
    }
}

fn rendered_text(text: &str, session: &Session<'_>) -> Result<Option<Rendered>, ExpressionError> {
    if !text.contains('{') {
        return Ok(None);
    }
    let template = compile(text, &session.environment)?;
    render_in(&template, session, Vec::new(), session.environment.recursive).map(Some)
}
