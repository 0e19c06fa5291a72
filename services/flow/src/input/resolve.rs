//! Resolution of inputs: which are asked for, in which order, with which values (flow model reference 2.4, 1.x
//! reference 2.3).

use std::collections::HashMap;

use serde_json::Value;
use windhover_expression::{Environment, ExpressionError, Interrupt, Value as ExpressionValue, Variables};
use windhover_types::{JsonMap, Masker, Secret};

use super::convert::convert;
use super::{Input, InputKind, Select, nest, secret, secret_inputs};
use crate::Text;
use crate::property::text_of;

/// Inputs of an execution.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResolvedInputs {
    /// Nested where ids have dots: `inputs` of expressions. Inputs that are not asked for are absent; optional ones
    /// without value null; those of type SECRET are sealed.
    pub values: JsonMap,
    /// Lines for the execution's log: what was given and is not declared.
    pub warnings: Vec<String>,
}

/// What is wrong with one input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InputError {
    pub input: String,
    /// Complete: names the input and the reason.
    pub message: String,
}

/// Why inputs have no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputsError {
    /// A fact has to be loaded first; load it and resolve again.
    #[error("the fact {0:?} has to be loaded first")]
    Needs(String),
    /// In order of declaration, at least one.
    #[error("{}", .0.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<InputError>),
}

/// Resolves the inputs of a flow from what a caller gives: texts (from the API) or native values, by flat id.
///
/// `environment` offers `flow`, `vars`, `envs`, `globals`, secrets and the like; `inputs` is added here, restricted
/// to what `dependsOn` names. What is given sealed for an input of type SECRET is opened; a caller's own sealed value is
/// to be made a text before ([`super::texts_of_secrets`]).
///
/// # Errors
/// Every input that is wrong, or a missing fact. No message holds the value of a SECRET.
pub fn resolve_inputs(
    inputs: &[Input],
    supplied: &JsonMap,
    environment: &Environment<'_>,
) -> Result<ResolvedInputs, InputsError> {
    let mut resolver = Resolver::new(inputs, supplied, environment);
    resolver.resolve_all()?;
    let mut resolved = ResolvedInputs::default();
    let mut errors = Vec::new();
    for input in inputs {
        match resolver.states.remove(input.id.as_str()) {
            Some(State::Value(value)) => {
                resolver.note_secret(input, &value);
                let sealed = match secret::sealed(input, value, environment) {
                    Ok(sealed) => sealed,
                    Err(interrupt) => {
                        errors.push(input_error(input, interrupted(interrupt, &input.id))?);
                        continue;
                    }
                };
                if let Err(taken) = nest(&mut resolved.values, &input.id, sealed) {
                    let message =
                        format!("Invalid value for input `{}`. Cause: it conflicts with the input `{taken}`", input.id);
                    errors.push(InputError { input: input.id.clone(), message });
                }
            }
            Some(State::Error(message)) => errors.push(InputError { input: input.id.clone(), message }),
            Some(State::Disabled | State::Open) | None => {}
        }
    }
    if !errors.is_empty() {
        return Err(InputsError::Invalid(resolver.masked(errors)));
    }
    for key in supplied.keys().filter(|key| !resolver.by_id.contains_key(key.as_str())) {
        resolved.warnings.push(format!("The input `{key}` is not declared by the flow and was ignored"));
    }
    Ok(resolved)
}

/// Inputs of an execution that a trigger made: what the trigger gives as it is, defaults for the rest; nothing is
/// required, and a default that cannot be rendered or converted is left out (flow model 1.x reference 2.3, 6.5). Values
/// of type SECRET are sealed, those that are given too.
///
/// # Errors
/// A missing fact, or a SECRET that cannot be sealed.
pub fn fill_defaults(inputs: &[Input], given: &JsonMap, environment: &Environment<'_>) -> Result<JsonMap, InputsError> {
    let nothing = JsonMap::new();
    let mut resolver = Resolver::new(inputs, &nothing, environment);
    // What is given is known beforehand, so that defaults that depend on it see it.
    for (key, value) in given {
        if let Some(input) = resolver.by_id.get(key.as_str()) {
            let value = secret::opened(input, value, environment);
            let value = value.or_else(|interrupt| invalid(input, interrupted(interrupt, &input.id)))?;
            resolver.states.insert(&input.id, State::Value(value));
        }
    }
    resolver.resolve_all()?;
    let seal = |input: &Input, value: Value| {
        let sealed = secret::sealed(input, value, environment);
        sealed.or_else(|interrupt| invalid(input, interrupted(interrupt, &input.id)))
    };
    let mut values = JsonMap::new();
    for (key, value) in given {
        let value = match resolver.by_id.get(key.as_str()).copied().filter(|input| input.kind.is_secret()) {
            Some(input) => match resolver.states.remove(input.id.as_str()) {
                Some(State::Value(plain)) => seal(input, plain)?,
                _ => continue,
            },
            None => value.clone(),
        };
        // Of two that conflict the first stays; nobody could read the second.
        let _ = nest(&mut values, key, value);
    }
    for input in inputs.iter().filter(|input| !given.contains_key(&input.id)) {
        if let Some(State::Value(value)) = resolver.states.remove(input.id.as_str())
            && !(value.is_null() && input.required)
        {
            let value = seal(input, value)?;
            let _ = nest(&mut values, &input.id, value);
        }
    }
    Ok(values)
}

enum State {
    /// Waits for those it depends on; in a cycle, which validation refuses, it is not asked for.
    Open,
    /// Not asked for.
    Disabled,
    Value(Value),
    Error(String),
}

struct Resolver<'a> {
    inputs: &'a [Input],
    by_id: HashMap<&'a str, &'a Input>,
    supplied: &'a JsonMap,
    environment: &'a Environment<'a>,
    states: HashMap<&'a str, State>,
    /// Plain values of type SECRET, which must not be told.
    secrets: Vec<Secret>,
}

/// Why one input has no value.
enum Stop {
    Needs(String),
    Error(String),
}

impl<'a> Resolver<'a> {
    fn new(inputs: &'a [Input], supplied: &'a JsonMap, environment: &'a Environment<'a>) -> Self {
        let by_id = inputs.iter().map(|input| (input.id.as_str(), input)).collect();
        Self { inputs, by_id, supplied, environment, states: HashMap::new(), secrets: Vec::new() }
    }

    fn note_secret(&mut self, input: &Input, value: &Value) {
        if input.kind.is_secret() && !value.is_null() {
            self.secrets.push(Secret::new(text_of(value)));
        }
    }

    /// Another input's message may quote what depends on a secret.
    fn masked(mut self, errors: Vec<InputError>) -> Vec<InputError> {
        for input in secret_inputs(self.inputs) {
            if let Some(value) = self.supplied.get(&input.id) {
                self.note_secret(input, value);
            }
        }
        let masker = Masker::of_all_forms(&self.secrets);
        let mask = |error: InputError| InputError { message: masker.mask(&error.message), ..error };
        errors.into_iter().map(mask).collect()
    }

    /// In order of declaration, what an input depends on before it. With a stack of its own: chains can be as long as
    /// the flow.
    fn resolve_all(&mut self) -> Result<(), InputsError> {
        for input in self.inputs {
            let mut stack = vec![input];
            while let Some(input) = stack.last().copied() {
                let known = self.states.get(input.id.as_str());
                if known.is_some_and(|state| !matches!(state, State::Open)) {
                    stack.pop();
                    continue;
                }
                let opened = known.is_some();
                let waiting: Vec<&Input> = self
                    .dependencies(input)
                    .into_iter()
                    .filter(|other| !self.states.contains_key(other.id.as_str()))
                    .collect();
                if !opened && !waiting.is_empty() {
                    self.states.insert(&input.id, State::Open);
                    stack.extend(waiting);
                    continue;
                }
                let state = match self.state(input) {
                    Ok(state) => state,
                    Err(Stop::Error(message)) => State::Error(message),
                    Err(Stop::Needs(key)) => return Err(InputsError::Needs(key)),
                };
                self.states.insert(&input.id, state);
                stack.pop();
            }
        }
        Ok(())
    }

    /// Inputs that `dependsOn` names; unknown ids and the input itself are ignored.
    fn dependencies(&self, input: &'a Input) -> Vec<&'a Input> {
        let names = input.depends_on.iter().flat_map(|depends| &depends.inputs).filter(|name| **name != input.id);
        names.filter_map(|name| self.by_id.get(name.as_str()).copied()).collect()
    }

    fn state(&self, input: &'a Input) -> Result<State, Stop> {
        let dependencies = self.dependencies(input);
        let mut visible = JsonMap::new();
        for dependency in &dependencies {
            match self.states.get(dependency.id.as_str()) {
                Some(State::Value(value)) if !value.is_null() => {
                    let _ = nest(&mut visible, &dependency.id, value.clone());
                }
                // Not asked for, without value, or wrong (which is reported for itself).
                _ => return Ok(State::Disabled),
            }
        }
        if let Some(condition) = input.depends_on.as_ref().and_then(|depends| depends.condition.as_ref()) {
            let holds = self.typed(condition, &visible).map_err(|error| stop(error, "Invalid condition", &input.id))?;
            if holds != Value::Bool(true) {
                return Ok(State::Disabled);
            }
        }
        let select = self.choices(input, &visible)?;
        let Some(value) = self.given_or_default(input, select.as_ref(), &visible)? else {
            return if input.required {
                Err(Stop::Error(format!("Missing required input:{}", input.id)))
            } else {
                Ok(State::Value(Value::Null))
            };
        };
        let kind = select.as_ref().unwrap_or(&input.kind);
        convert(kind, &value, input.required)
            .map(State::Value)
            .map_err(|cause| Stop::Error(format!("Invalid value for input `{}`. Cause: {cause}", input.id)))
    }

    fn given_or_default(
        &self,
        input: &Input,
        select: Option<&InputKind>,
        visible: &JsonMap,
    ) -> Result<Option<Value>, Stop> {
        if let Some(value) = self.supplied.get(&input.id).filter(|value| !value.is_null()) {
            let value = secret::opened(input, value, self.environment);
            return value.map(Some).map_err(|interrupt| interrupted(interrupt, &input.id));
        }
        if let Some(defaults) = &input.defaults {
            let value = self.with_inputs(visible, |environment| defaults.render_typed(environment));
            let value = value.map_err(|error| stop(error, "Invalid default", &input.id))?;
            return Ok((!value.is_null()).then_some(value));
        }
        Ok(match select.unwrap_or(&input.kind) {
            InputKind::Select(select) if select.auto_select_first => select.values.first().cloned().map(Value::String),
            InputKind::MultiSelect { select, .. } if select.auto_select_first => {
                select.values.first().map(|first| Value::Array(vec![Value::String(first.clone())]))
            }
            _ => None,
        })
    }

    /// The input with the values that its `expression` gives now; `None` without expression.
    fn choices(&self, input: &Input, visible: &JsonMap) -> Result<Option<InputKind>, Stop> {
        let (select, item) = match &input.kind {
            InputKind::Select(select) => (select, None),
            InputKind::MultiSelect { select, item } => (select, Some(*item)),
            _ => return Ok(None),
        };
        let Some(expression) = &select.expression else { return Ok(None) };
        let rendered =
            self.typed(expression, visible).map_err(|error| stop(error, "Cannot render 'expression'", &input.id))?;
        let Value::Array(items) = rendered else {
            return Err(Stop::Error(format!(
                "Invalid value for input `{}`. Cause: Invalid expression result. Expected a list of strings",
                input.id
            )));
        };
        let select = Select {
            values: items.iter().filter(|item| !item.is_null()).map(text_of).collect(),
            expression: None,
            allow_custom_value: select.allow_custom_value,
            auto_select_first: select.auto_select_first,
        };
        Ok(Some(match item {
            Some(item) => InputKind::MultiSelect { select, item },
            None => InputKind::Select(select),
        }))
    }

    fn typed(&self, text: &Text, visible: &JsonMap) -> Result<Value, ExpressionError> {
        self.with_inputs(visible, |environment| text.render_typed(environment))
    }

    fn with_inputs<T>(&self, visible: &JsonMap, render: impl FnOnce(&Environment<'_>) -> T) -> T {
        let variables = WithInputs { base: self.environment.variables, inputs: visible };
        let mut environment = *self.environment;
        environment.variables = &variables;
        render(&environment)
    }
}

/// Why a value cannot be sealed or opened.
fn interrupted(interrupt: Interrupt, input: &str) -> Stop {
    match interrupt {
        Interrupt::Needs(key) => Stop::Needs(key),
        Interrupt::Missing(why) | Interrupt::Failed(why) => {
            Stop::Error(format!("Invalid value for input `{input}`. Cause: {why}"))
        }
    }
}

fn input_error(input: &Input, stop: Stop) -> Result<InputError, InputsError> {
    match stop {
        Stop::Needs(key) => Err(InputsError::Needs(key)),
        Stop::Error(message) => Ok(InputError { input: input.id.clone(), message }),
    }
}

fn invalid<T>(input: &Input, stop: Stop) -> Result<T, InputsError> {
    Err(InputsError::Invalid(vec![input_error(input, stop)?]))
}

fn stop(error: ExpressionError, what: &str, input: &str) -> Stop {
    match error {
        ExpressionError::Needs(key) => Stop::Needs(key),
        other => Stop::Error(format!("Invalid value for input `{input}`. Cause: {what}: {other}")),
    }
}

/// The caller's variables with `inputs` replaced.
struct WithInputs<'a> {
    base: &'a dyn Variables,
    inputs: &'a JsonMap,
}

impl Variables for WithInputs<'_> {
    fn root(&self, name: &str) -> Result<Option<ExpressionValue>, Interrupt> {
        if name == "inputs" {
            return Ok(Some(ExpressionValue::from_json(&Value::Object(self.inputs.clone()))));
        }
        self.base.root(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.base.names();
        if !names.iter().any(|name| name == "inputs") {
            names.push("inputs".to_owned());
        }
        names
    }
}
