//! The schema of one property.

use serde_json::{Value, json};

use crate::table::{Kind, PropertySpec, Support};

/// A text that holds a template may be anything.
pub(super) const TEMPLATE: &str = r"\{\{|\{%|\{#";

/// What is needed for the schema of a property.
pub(super) struct Shape<'a> {
    pub(super) spec: &'a PropertySpec,
    /// For those that are read by what knows them.
    pub(super) nested: Value,
    /// For those that are maps with known keys.
    pub(super) inner: Option<Value>,
}

impl Shape<'_> {
    /// Null is the same as absent.
    pub(super) fn schema(self, part: Value) -> Value {
        let template = || json!({"type": "string", "pattern": TEMPLATE});
        let with_template = |schema: Value| vec![schema, template()];
        let text_of = |begin: &str| json!({"type": "string", "pattern": format!(r"^\s*{begin}|{TEMPLATE}")});
        let mut any: Vec<Value> = match (self.spec.support, self.spec.kind) {
            (Support::Unbuilt, _) => {
                vec![json!({"maxProperties": 0, "type": "object"}), json!({"maxItems": 0, "type": "array"})]
            }
            (Support::Only(literal), Kind::Bool) => vec![json!({"enum": [literal == "true", literal]})],
            (Support::Only(literal), _) => vec![json!({"enum": [literal]})],
            (_, Kind::Any) => return json!({}),
            (_, Kind::Text | Kind::Literal) => vec![scalar()],
            (_, Kind::Bool) => vec![
                json!({"type": "boolean"}),
                json!({"type": "string", "pattern": format!("^(true|false)$|{TEMPLATE}")}),
            ],
            (_, Kind::Int) => vec![
                json!({"type": "integer"}),
                json!({"type": "string", "pattern": format!(r"^\s*[-+]?[0-9]+\s*$|{TEMPLATE}")}),
            ],
            (_, Kind::Duration) => vec![json!({"type": ["string", "number"]})],
            (_, Kind::Level) => with_template(json!({"enum": ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"]})),
            (Support::Except(literal), Kind::Choice(values)) => {
                let values: Vec<&&str> = values.iter().filter(|value| **value != literal).collect();
                with_template(json!({"enum": values}))
            }
            (_, Kind::Choice(values)) => with_template(json!({"enum": values})),
            (_, Kind::Map) => vec![json!({"type": "object"}), text_of(r"\{")],
            (_, Kind::List) => vec![json!({"type": "array"}), json!({"type": "string"})],
            (_, Kind::Object(_)) => {
                let pattern = format!(r"^\s*\{{|{TEMPLATE}");
                let text = json!({"type": ["string", "null"], "pattern": pattern});
                return json!({"if": {"type": "object"}, "then": self.inner, "else": text});
            }
            // They take null themselves: one of two would not tell where something is wrong.
            (_, Kind::Part) => return part,
            (_, Kind::Nested) => return self.nested,
        };
        any.push(json!({"type": "null"}));
        json!({"anyOf": any})
    }
}

/// What can be taken as a text.
pub(super) fn scalar() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

/// Adds what people should know.
pub(super) fn describe(schema: &mut Value, default: &str, doc: &str) {
    let Some(map) = schema.as_object_mut() else { return };
    map.insert("description".to_owned(), json!(doc));
    if default.is_empty() {
        return;
    }
    // As it would be written: a number or a boolean is one.
    let value = serde_json::from_str(default).ok().filter(|value: &Value| value.is_number() || value.is_boolean());
    map.insert("default".to_owned(), value.unwrap_or_else(|| json!(default)));
}
