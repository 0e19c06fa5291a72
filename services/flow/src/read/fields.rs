//! A map read by its table of properties: unknown, unbuilt, missing and ill-typed ones are reported; what is left is
//! looked up by canonical names.

use serde_json::Value;

use super::report::Report;
use super::tasks::resolve_type;
use crate::table::{self, Family, Kind, PropertySpec, Role, Support, nearest};
use crate::yaml::{Content, Node, Position, Scalar};
use crate::{Key, Properties, Text, parse_duration};

/// The properties of one map.
pub(super) struct Fields<'n> {
    pub(super) at: Position,
    pub(super) path: String,
    values: Vec<(&'static PropertySpec, &'n Node)>,
}

/// Path of `key` below `path`.
pub(super) fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether a text holds a template.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Reads the map `node` by these tables. `class` names it in messages. Nothing when it is no map.
pub(super) fn read<'n>(
    report: &mut Report,
    node: &'n Node,
    path: &str,
    specs: &[&'static [PropertySpec]],
    class: &str,
) -> Option<Fields<'n>> {
    let Content::Map(entries) = &node.content else {
        report.error(path, node.at, format!("expected a map ({class}), but got {}", node.describe()));
        return None;
    };
    let all = || specs.iter().flat_map(|table| table.iter());
    let mut fields = Fields { at: node.at, path: path.to_owned(), values: Vec::new() };
    for entry in entries {
        let field = below(path, &entry.key);
        let Some(spec) = all().find(|spec| spec.is_named(&entry.key)) else {
            if report.is_strict() {
                let names = all().map(|spec| spec.name);
                let near = if report.is_full() { None } else { nearest(&entry.key, names) };
                let suggestion = near.map(str::to_owned);
                report.error_with(
                    &field,
                    entry.key_at,
                    format!("Unrecognized field \"{}\" (class {class})", entry.key),
                    suggestion,
                );
            }
            continue;
        };
        // Null is the same as absent; an empty list or map of what is not built changes nothing.
        let empty = match &entry.value.content {
            Content::List(items) => items.is_empty(),
            Content::Map(entries) => entries.is_empty(),
            Content::Scalar(_) => false,
        };
        if entry.value.is_null() || (empty && spec.support == Support::Unbuilt) {
            continue;
        }
        if fields.values.iter().any(|(known, _)| known.name == spec.name) {
            report.error(
                &field,
                entry.key_at,
                format!("Duplicate field '{}' (also written as `{}`)", entry.key, spec.name),
            );
            continue;
        }
        let good = check(report, spec.kind, &entry.value, &field);
        let harmless = match spec.support {
            Support::Only(literal) => match bool_of(&entry.value) {
                Some(bool) => literal == bool.to_string(),
                None => entry.value.scalar_text() == Some(literal),
            },
            Support::Except(literal) => entry.value.scalar_text() != Some(literal),
            Support::Built | Support::Unbuilt => false,
        };
        if good && spec.support != Support::Built && !harmless {
            report.unsupported(&field, entry.key_at, &format!("`{}` of {class}", spec.name));
        }
        fields.values.push((spec, &entry.value));
    }
    for spec in all().filter(|spec| spec.required) {
        if fields.get(spec.name).is_none() {
            report.error(&below(path, spec.name), node.at, format!("{}: must not be null", spec.name));
        }
    }
    Some(fields)
}

impl<'n> Fields<'n> {
    /// The node of a property by its canonical name; null is absent.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.values.iter().find(|(spec, _)| spec.name == name).map(|(_, node)| *node)
    }

    pub(super) fn path(&self, name: &str) -> String {
        below(&self.path, name)
    }

    /// Where a property stands; where the map begins when it is absent.
    pub(super) fn place(&self, name: &str) -> Position {
        self.get(name).map_or(self.at, |node| node.at)
    }

    /// A scalar that is never a template, as it was written.
    pub(super) fn literal(&self, name: &str) -> Option<&'n str> {
        self.get(name).and_then(Node::scalar_text)
    }

    pub(super) fn string(&self, name: &str) -> Option<String> {
        self.literal(name).map(str::to_owned)
    }

    /// A boolean that cannot be a template here.
    pub(super) fn bool(&self, report: &mut Report, name: &str, default: bool) -> bool {
        let Some(node) = self.get(name) else { return default };
        match bool_of(node) {
            Some(bool) => bool,
            None => {
                if node.scalar_text().is_some_and(is_template) {
                    report.unsupported(&self.path(name), node.at, &format!("a template in `{name}`"));
                }
                default
            }
        }
    }

    /// A whole number that cannot be a template here.
    pub(super) fn int(&self, report: &mut Report, name: &str) -> Option<i64> {
        let node = self.get(name)?;
        let text = node.scalar_text()?;
        if is_template(text) {
            report.unsupported(&self.path(name), node.at, &format!("a template in `{name}`"));
            return None;
        }
        int_of(node)
    }

    /// A text with its template.
    pub(super) fn text(&self, report: &mut Report, name: &str) -> Option<Text> {
        let node = self.get(name)?;
        let source = node.scalar_text()?;
        Some(report.text(source, &self.path(name), node))
    }

    /// Any tree.
    pub(super) fn properties(&self, report: &mut Report, name: &str) -> Option<Properties> {
        let (spec, node) = self.values.iter().find(|(spec, _)| spec.name == name)?;
        Some(build(report, spec.kind, node, &self.path(name)))
    }

    /// All properties of a table as one map, by canonical names.
    pub(super) fn map_of(&self, report: &mut Report, specs: &'static [PropertySpec]) -> Properties {
        let mut entries = Vec::new();
        for spec in specs {
            if let Some(properties) = self.properties(report, spec.name) {
                entries.push((Key::Literal(spec.name.to_owned()), properties));
            }
        }
        Properties::Map(entries)
    }
}

pub(super) fn bool_of(node: &Node) -> Option<bool> {
    match (node.to_value(), node.scalar_text()) {
        (Value::Bool(bool), _) => Some(bool),
        (_, Some("true")) => Some(true),
        (_, Some("false")) => Some(false),
        _ => None,
    }
}

fn int_of(node: &Node) -> Option<i64> {
    match node.to_value() {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Compiles a tree. Scalars of text properties are the text as it was written, whatever they look like.
pub(super) fn build(report: &mut Report, kind: Kind, node: &Node, path: &str) -> Properties {
    match (&node.content, kind) {
        (Content::Scalar(scalar), _) => scalar_of(report, kind, scalar, node, path),
        (Content::List(items), _) => {
            let item = |(index, item): (usize, &Node)| build(report, Kind::Any, item, &format!("{path}[{index}]"));
            Properties::List(items.iter().enumerate().map(item).collect())
        }
        (Content::Map(entries), Kind::Object(specs)) => {
            let mut built = Vec::new();
            for entry in entries {
                let field = below(path, &entry.key);
                if let Some(spec) = specs.iter().find(|spec| spec.is_named(&entry.key)) {
                    built.push((Key::Literal(spec.name.to_owned()), build(report, spec.kind, &entry.value, &field)));
                }
            }
            Properties::Map(built)
        }
        (Content::Map(entries), _) => {
            let mut built = Vec::new();
            for entry in entries {
                let field = below(path, &entry.key);
                built.push((Key::new(&entry.key), build(report, Kind::Any, &entry.value, &field)));
            }
            Properties::Map(built)
        }
    }
}

fn scalar_of(report: &mut Report, kind: Kind, scalar: &Scalar, node: &Node, path: &str) -> Properties {
    let value = scalar.value();
    let as_written = matches!(kind, Kind::Text | Kind::Literal | Kind::Choice(_) | Kind::Level | Kind::Duration);
    match value {
        Value::Null => Properties::Literal(Value::Null),
        Value::String(text) if text.contains('{') => Properties::Text(report.text(&text, path, node)),
        _ if as_written => Properties::Literal(Value::String(scalar.text.clone())),
        other => Properties::Literal(other),
    }
}

/// Reports a value that cannot be what the property takes. Whether it can.
pub(super) fn check(report: &mut Report, kind: Kind, node: &Node, path: &str) -> bool {
    let problem = match (&node.content, kind) {
        (_, Kind::Any | Kind::Nested) => None,
        (Content::Scalar(scalar), kind) => check_scalar(kind, scalar, node),
        (Content::Map(_), Kind::Map) | (Content::List(_), Kind::List) => None,
        (Content::Map(_), Kind::Object(specs)) => {
            // Reported by the inner reading.
            return read(report, node, path, &[specs], path.rsplit('.').next().unwrap_or(path)).is_some();
        }
        (Content::Map(_), Kind::Part) => return part(report, node, path),
        (_, kind) => Some(format!("expected {}, but got {}", expected(kind), node.describe())),
    };
    match problem {
        None => true,
        Some(message) => {
            let suggestion = match (kind, node.scalar_text()) {
                (Kind::Choice(values), Some(text)) if !report.is_full() => nearest(text, values.iter().copied()),
                _ => None,
            };
            report.error_with(path, node.at, message, suggestion.map(str::to_owned));
            false
        }
    }
}

/// A map whose `type` says what else may be in it.
fn part(report: &mut Report, node: &Node, path: &str) -> bool {
    let named = node.get("type").and_then(Node::scalar_text).and_then(table::lookup);
    if let Some(entry) = named.filter(|entry| entry.family == Family::Unbuilt(Role::Part)) {
        let instead =
            "scripts run as processes of the worker: io.kestra.plugin.core.runner.Process, or no `taskRunner`";
        report.unsupported(&below(path, "type"), node.at, &format!("the type {} ({instead})", entry.name));
        return false;
    }
    let entry = resolve_type(report, node, path, Role::Part);
    match entry.filter(|entry| entry.is_built()) {
        Some(entry) => read(report, node, path, &[entry.common(), entry.properties], entry.name).is_some(),
        None => false,
    }
}

fn check_scalar(kind: Kind, scalar: &Scalar, node: &Node) -> Option<String> {
    let text = scalar.text.as_str();
    if is_template(text) && !matches!(kind, Kind::Literal) {
        return None;
    }
    let good = match kind {
        Kind::Text | Kind::Literal | Kind::Any | Kind::Nested => true,
        Kind::Bool => bool_of(node).is_some(),
        Kind::Int => int_of(node).is_some(),
        Kind::Duration => return parse_duration(text).err(),
        Kind::Level => text.parse::<windhover_types::Level>().is_ok(),
        Kind::Choice(values) => values.contains(&text),
        // JSON written as a text.
        Kind::Map | Kind::Object(_) => text.trim_start().starts_with('{'),
        Kind::Part => false,
        Kind::List => !scalar.plain || text.trim_start().starts_with('['),
    };
    (!good).then(|| format!("expected {}, but got `{text}`", expected(kind)))
}

fn expected(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Literal => "a text".to_owned(),
        Kind::Bool => "a boolean".to_owned(),
        Kind::Int => "a whole number".to_owned(),
        Kind::Duration => "a duration".to_owned(),
        Kind::Level => "one of TRACE, DEBUG, INFO, WARN, ERROR".to_owned(),
        Kind::Choice(values) => format!("one of {}", values.join(", ")),
        Kind::Map | Kind::Object(_) => "a map".to_owned(),
        Kind::Part => "a map with a `type`".to_owned(),
        Kind::List => "a list".to_owned(),
        Kind::Any | Kind::Nested => "a value".to_owned(),
    }
}
