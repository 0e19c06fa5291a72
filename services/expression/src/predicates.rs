//! Tests: what may stand after `is` (expression reference, section 11).

use crate::error::Fault;
use crate::eval::Session;
use crate::json;
use crate::syntax::is_java_whitespace;
use crate::value::Value;

#[derive(Debug)]
pub(crate) struct PredicateSpec {
    pub(crate) name: &'static str,
    /// An undefined subject counts as null instead of failing.
    pub(crate) rescues: bool,
    pub(crate) holds: fn(&Session<'_>, &Value) -> Result<bool, Fault>,
}

const fn predicate(name: &'static str, holds: fn(&Session<'_>, &Value) -> Result<bool, Fault>) -> PredicateSpec {
    PredicateSpec { name, rescues: false, holds }
}

static PREDICATES: [PredicateSpec; 8] = [
    PredicateSpec { name: "defined", rescues: true, holds: |_, value| Ok(!value.is_null()) },
    predicate("empty", is_empty),
    predicate("even", |_, value| parity(value, "even").map(|odd| !odd)),
    predicate("iterable", |_, value| Ok(value.items().is_some())),
    predicate("json", is_json),
    predicate("map", |_, value| Ok(value.is_map())),
    predicate("null", |_, value| Ok(value.is_null())),
    predicate("odd", |_, value| parity(value, "odd")),
];

pub(crate) fn find(name: &str) -> Option<&'static PredicateSpec> {
    PREDICATES.iter().find(|spec| spec.name == name)
}

/// Null, blank text, or a collection or map without elements.
pub(crate) fn is_empty(_: &Session<'_>, value: &Value) -> Result<bool, Fault> {
    Ok(match value {
        Value::Null => true,
        Value::Text(text) => text.chars().all(is_java_whitespace),
        Value::Array(_) => false,
        other => other.size()? == Some(0),
    })
}

/// Whether a whole number is odd.
fn parity(value: &Value, test: &str) -> Result<bool, Fault> {
    match value {
        Value::Int(value) => Ok(value % 2 != 0),
        Value::Long(value) => Ok(value % 2 != 0),
        Value::Null => Err(Fault::engine(format!("Can not pass null value to \"{test}\" test."))),
        other => Err(Fault::host(format!(
            "java.lang.ClassCastException: {} is no whole number for {test}",
            other.class_name()
        ))),
    }
}

fn is_json(session: &Session<'_>, value: &Value) -> Result<bool, Fault> {
    let Value::Text(text) = value else {
        return Err(Fault::host(format!("java.lang.ClassCastException: {} is no text for json", value.class_name())));
    };
    session.meter.steps(text.len() as u64)?;
    Ok(text.is_empty() || json::parse_first(text).is_ok())
}
