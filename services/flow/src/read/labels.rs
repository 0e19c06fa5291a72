//! Labels of flows, triggers and subflows (flow model reference 1.5, 1.x reference 1.2).

use serde_json::Value;
use windhover_types::Label;

use super::fields::{below, is_template};
use super::report::Report;
use crate::yaml::{Content, Node, Position};
use crate::{Key, Properties, Text};

/// One label as it was written.
struct Pair<'n> {
    key: &'n str,
    key_at: Position,
    path: String,
    value: &'n Node,
}

/// Labels of a flow: literals.
pub(super) fn of_flow(report: &mut Report, node: &Node, path: &str) -> Vec<Label> {
    let mut labels = Vec::new();
    for pair in pairs(report, node, path) {
        let Some(value) = scalar(report, &pair) else { continue };
        let (key, at) = (pair.key, pair.key_at);
        if key.starts_with(Label::SYSTEM_PREFIX) {
            if key != Label::READ_ONLY {
                report.error(&pair.path, at, system_label(key, &value));
                continue;
            }
        } else if !is_key(key) {
            report.error(&pair.path, at, format!("label key `{key}`: must match \"^[\\p{{Ll}}][\\p{{L}}0-9._-]*$\""));
            continue;
        }
        if value.is_empty() {
            report.error(&pair.path, pair.value.at, format!("label `{key}`: the value must not be empty"));
            continue;
        }
        labels.push(Label::new(key, value));
    }
    labels
}

/// Labels of a trigger: templates, but for keys that are plainly system labels.
pub(super) fn of_trigger(report: &mut Report, node: &Node, path: &str) -> Vec<(Text, Text)> {
    let mut labels = Vec::new();
    for pair in pairs(report, node, path) {
        let Some(value) = scalar(report, &pair) else { continue };
        if pair.key.starts_with(Label::SYSTEM_PREFIX) {
            report.error(&pair.path, pair.key_at, system_label(pair.key, &value));
            continue;
        }
        labels.push((report.text(pair.key, &pair.path, node), report.text(&value, &pair.path, pair.value)));
    }
    labels
}

/// Labels that a task gives: a map or list of templates, or a text that renders to one. Lists of pairs become maps.
pub(super) fn of_task(report: &mut Report, node: &Node, path: &str) -> Properties {
    if let Some(text) = node.scalar_text() {
        if !is_template(text) {
            report.error(path, node.at, "labels: expected a map or a list of `{key, value}`");
        }
        return Properties::Text(report.text(text, path, node));
    }
    let labels = of_trigger(report, node, path);
    Properties::Map(
        labels
            .into_iter()
            .map(|(key, value)| (Key::new(key.source()), Properties::from(&Value::String(value.source().to_owned()))))
            .collect(),
    )
}

fn system_label(key: &str, value: &str) -> String {
    format!("System labels can only be set by the system itself, offending label: {key}={value}")
}

fn is_key(key: &str) -> bool {
    let mut chars = key.chars();
    chars.next().is_some_and(char::is_lowercase)
        && chars.all(|c| c.is_alphabetic() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
}

/// Numbers and booleans as they were written; null, lists and maps are refused.
fn scalar(report: &mut Report, pair: &Pair<'_>) -> Option<String> {
    match pair.value.scalar_text() {
        Some(text) => Some(text.to_owned()),
        None => {
            let message = format!(
                "label `{}`: expected a text, a number or a boolean, but got {}",
                pair.key,
                pair.value.describe()
            );
            report.error(&pair.path, pair.value.at, message);
            None
        }
    }
}

/// Both forms: a map, or a list of `{key, value}`.
fn pairs<'n>(report: &mut Report, node: &'n Node, path: &str) -> Vec<Pair<'n>> {
    match &node.content {
        Content::Map(entries) => entries
            .iter()
            .map(|entry| Pair {
                key: &entry.key,
                key_at: entry.key_at,
                path: below(path, &entry.key),
                value: &entry.value,
            })
            .collect(),
        Content::List(items) => {
            let mut pairs = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                let unknown = item.entries().iter().find(|entry| !matches!(entry.key.as_str(), "key" | "value"));
                if let Some(entry) = unknown.filter(|_| report.is_strict()) {
                    report.error(
                        &below(&path, &entry.key),
                        entry.key_at,
                        format!("Unrecognized field \"{}\" (class label)", entry.key),
                    );
                }
                let key = item.get("key").and_then(Node::scalar_text);
                let value = item.entries().iter().find(|entry| entry.key == "value");
                match (key, value) {
                    (Some(key), Some(value)) => pairs.push(Pair { key, key_at: item.at, path, value: &value.value }),
                    _ => report.error(&path, item.at, "a label needs `key` and `value`"),
                }
            }
            pairs
        }
        Content::Scalar(_) => {
            report.error(path, node.at, "labels: expected a map or a list of `{key, value}`");
            Vec::new()
        }
    }
}
