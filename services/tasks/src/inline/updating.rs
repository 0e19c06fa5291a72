//! Tasks that change their execution: labels, variables, its end (flow model 1.x reference 5.2). They run in the executor alone.

use serde_json::Value;
use windhover_engine::{InlineOutcome, RenderContext};
use windhover_expression::Environment;
use windhover_flow::{Properties, PropertyError, text_of};
use windhover_types::{JsonMap, Label, State};

use super::compute::{Outcome, failed};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Updating {
    Labels,
    SetVariables,
    UnsetVariables,
    Exit,
}

impl Updating {
    /// By the type's canonical name.
    pub(crate) fn of(canonical: &str) -> Option<Self> {
        Some(match canonical.strip_prefix("io.kestra.plugin.core.execution.")? {
            "Labels" => Self::Labels,
            "SetVariables" => Self::SetVariables,
            "UnsetVariables" => Self::UnsetVariables,
            "Exit" => Self::Exit,
            _ => return None,
        })
    }

    pub(crate) fn run(self, properties: &Properties, context: &dyn RenderContext) -> Outcome {
        let environment = context.environment();
        match self {
            Self::Labels => labels(properties, &environment),
            Self::SetVariables => set_variables(properties, &environment, context.variables()),
            Self::UnsetVariables => unset_variables(properties, &environment, context.variables()),
            Self::Exit => exit(properties, &environment),
        }
    }
}

fn missing(property: &str) -> PropertyError {
    PropertyError::Missing { property: property.to_owned() }
}

/// A map, a list of `{key, value}`, or a text that renders to JSON of either.
fn labels(properties: &Properties, environment: &Environment<'_>) -> Outcome {
    let rendered = properties.value("labels", environment)?.ok_or_else(|| missing("labels"))?;
    let value = match rendered {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
        other => other,
    };
    let pair =
        |item: &Value| Some(Label::new(text_of(item.get("key")?), item.get("value").map(text_of).unwrap_or_default()));
    let labels: Option<Vec<Label>> = match &value {
        Value::Object(map) => Some(map.iter().map(|(key, value)| Label::new(key, text_of(value))).collect()),
        Value::Array(items) => items.iter().map(pair).collect(),
        _ => None,
    };
    let Some(labels) = labels else {
        return Ok(failed(
            "labels: a map, a list of `key` and `value`, or a text that renders to JSON of either is expected",
        ));
    };
    if let Some(label) = labels.iter().find(|label| label.is_system()) {
        let message = "System labels can only be set by the system itself, offending label";
        return Ok(failed(format!("{message}: {}", label.key)));
    }
    if labels.iter().any(|label| label.key.is_empty() || label.value.is_empty()) {
        return Ok(failed("Label keys and values cannot be empty"));
    }
    Ok(InlineOutcome { labels, ..InlineOutcome::default() })
}

fn set_variables(properties: &Properties, environment: &Environment<'_>, have: &JsonMap) -> Outcome {
    let given = properties.get("variables").map(|variables| variables.render_values(environment)).transpose();
    let given = given.map_err(|source| PropertyError::Render { property: "variables".to_owned(), source })?;
    let Some(Value::Object(new)) = given else {
        return Ok(failed("variables: a map is expected"));
    };
    if !properties.bool("overwrite", environment)?.unwrap_or(true) {
        let existing: Vec<&str> = new.keys().filter(|key| have.contains_key(*key)).map(String::as_str).collect();
        if !existing.is_empty() {
            let existing = existing.join(",");
            let message = format!("`overwrite` is set to false and the following variables already exist: {existing}");
            return Ok(failed(message));
        }
    }
    let mut variables = have.clone();
    merge(&mut variables, new);
    Ok(InlineOutcome { variables: Some(variables), ..InlineOutcome::default() })
}

/// Maps are merged, lists are joined together, null changes nothing; everything else is replaced.
fn merge(have: &mut JsonMap, new: JsonMap) {
    for (key, value) in new {
        match (have.get_mut(&key), value) {
            (_, Value::Null) => {}
            (Some(Value::Object(have)), Value::Object(new)) => merge(have, new),
            (Some(Value::Array(have)), Value::Array(new)) => have.extend(new),
            (_, value) => {
                have.insert(key, value);
            }
        }
    }
}

fn unset_variables(properties: &Properties, environment: &Environment<'_>, have: &JsonMap) -> Outcome {
    let paths = properties.list("variables", environment)?.ok_or_else(|| missing("variables"))?;
    let mut variables = have.clone();
    let paths: Vec<String> = paths.iter().map(text_of).collect();
    let gone: Vec<&str> = paths.iter().map(String::as_str).filter(|path| !remove(&mut variables, path)).collect();
    if !gone.is_empty() && !properties.bool("ignoreMissing", environment)?.unwrap_or(false) {
        return Ok(failed(format!("The following variables do not exist: {}", gone.join(","))));
    }
    Ok(InlineOutcome { variables: Some(variables), ..InlineOutcome::default() })
}

/// Takes away what a dotted path leads to. Whether it was there.
fn remove(variables: &mut JsonMap, path: &str) -> bool {
    if variables.shift_remove(path).is_some() {
        return true;
    }
    match path.split_once('.').and_then(|(first, rest)| Some((variables.get_mut(first)?, rest))) {
        Some((Value::Object(inner), rest)) => remove(inner, rest),
        _ => false,
    }
}

fn exit(properties: &Properties, environment: &Environment<'_>) -> Outcome {
    let text = properties.text("state", environment)?;
    let state = match text.as_deref().map(str::trim) {
        None | Some("") => Ok(State::Success),
        Some(text) => text.parse(),
    };
    match state {
        Ok(state @ (State::Success | State::Warning | State::Failed | State::Cancelled | State::Killed)) => {
            Ok(InlineOutcome { exit: Some(state), ..InlineOutcome::default() })
        }
        _ => Ok(failed("state: one of SUCCESS, WARNING, FAILED, CANCELLED, KILLED is expected")),
    }
}
