//! Conditions of triggers (flow model reference 7.1).

use serde_json::Value;
use windhover_expression::{Environment, ExpressionError, condition::is_trigger_truthy};
use windhover_types::{Label, State, label_value};

use crate::{Properties, Text};

mod dates;
mod holidays;
mod preconditions;

pub use dates::{DateCondition, DateTest};
pub(crate) use dates::{date_time, local_date, time_of_day};
pub(crate) use holidays::{countries, is_known};
pub use preconditions::{Field, Filter, FilterPrecondition, FilterTest, FlowPrecondition, Operand};

/// One condition. All conditions of a list must hold.
#[derive(Debug)]
pub enum Condition {
    /// The state of the upstream execution is one of `is_in` (if any are given) and none of `not_in`.
    ExecutionStatus {
        is_in: Option<Properties>,
        not_in: Option<Properties>,
    },
    ExecutionNamespace {
        namespace: Text,
        comparison: Option<Text>,
        prefix: Option<Text>,
    },
    ExecutionFlow {
        namespace: Text,
        flow_id: Text,
    },
    /// All pairs are among the labels of the upstream execution.
    ExecutionLabels {
        labels: Vec<(Text, Text)>,
    },
    /// Any holds.
    Or(Vec<Condition>),
    /// None holds.
    Not(Vec<Condition>),
    Expression(Text),
    /// On a date: of the slot of a schedule, or any other.
    Date(DateCondition),
    /// The upstream execution has outputs, and the text says yes.
    ExecutionOutputs(Text),
    /// An attempt of a task run that was tried more than once has a state that passes.
    HasRetryAttempt {
        is_in: Option<Properties>,
        not_in: Option<Properties>,
    },
    /// The flow that listens is this one.
    ListeningFlow {
        namespace: Text,
        flow_id: Text,
    },
    /// The flow that listens is in this namespace, or one that begins with it.
    ListeningNamespace {
        namespace: Text,
        prefix: bool,
    },
    /// An entry of `preconditions.flows`.
    Flow(FlowPrecondition),
    /// An entry of `preconditions.where`.
    Filters(FilterPrecondition),
}

impl Condition {
    /// Whether it is about dates alone, so that it decides which dates of a schedule are skipped. Expressions are not:
    /// they are looked at when a date has come (flow model 1.x reference 6.2).
    pub fn is_about_dates(&self) -> bool {
        match self {
            Self::Date(_) => true,
            Self::Or(conditions) | Self::Not(conditions) => conditions.iter().all(Self::is_about_dates),
            _ => false,
        }
    }

    /// Whether it looks at the attempts of the upstream execution ([`Upstream::retried`]).
    pub fn looks_at_attempts(&self) -> bool {
        match self {
            Self::HasRetryAttempt { .. } => true,
            Self::Or(conditions) | Self::Not(conditions) => conditions.iter().any(Self::looks_at_attempts),
            _ => false,
        }
    }
}

/// What conditions look at: the execution whose change of state is being looked at.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a> {
    pub namespace: &'a str,
    pub flow_id: &'a str,
    pub state: State,
    pub labels: &'a [Label],
    pub has_outputs: bool,
    /// The states of the attempts of task runs that were tried more than once.
    pub retried: &'a [State],
    /// Namespace and id of the flow that listens.
    pub listening: (&'a str, &'a str),
}

/// Why a condition has no answer: whoever asks counts it as false and logs a warning, except when a fact is missing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConditionError {
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    #[error("the condition looks at an execution, and nothing but a Flow trigger has one")]
    NoExecution,
    #[error("{0}")]
    Value(String),
}

/// Whether all conditions hold; the first that does not decides.
///
/// # Errors
/// See [`ConditionError`].
pub fn evaluate_all(
    conditions: &[Condition],
    upstream: Option<&Upstream<'_>>,
    environment: &Environment<'_>,
) -> Result<bool, ConditionError> {
    for condition in conditions {
        if !evaluate(condition, upstream, environment)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a condition holds for this upstream execution (`None`: there is none, as in a webhook).
///
/// # Errors
/// See [`ConditionError`].
pub fn evaluate(
    condition: &Condition,
    upstream: Option<&Upstream<'_>>,
    environment: &Environment<'_>,
) -> Result<bool, ConditionError> {
    let execution = || upstream.ok_or(ConditionError::NoExecution);
    match condition {
        Condition::ExecutionStatus { is_in, not_in } => {
            let state = execution()?.state;
            let allowed = states(is_in.as_ref(), environment)?;
            let refused = states(not_in.as_ref(), environment)?;
            Ok((allowed.is_empty() || allowed.contains(&state)) && !refused.contains(&state))
        }
        Condition::ExecutionNamespace { namespace, comparison, prefix } => {
            let have = execution()?.namespace;
            let want = namespace.render(environment)?;
            Ok(match comparison_of(comparison.as_ref(), prefix.as_ref(), environment)? {
                Comparison::Equals => have == want,
                // A plain prefix of the text: `company` also holds for `companyx` (flow model reference, corner case
                // 237).
                Comparison::Prefix => have.starts_with(&want),
                Comparison::Suffix => have.ends_with(&want),
            })
        }
        Condition::ExecutionFlow { namespace, flow_id } => {
            let upstream = execution()?;
            Ok(upstream.namespace == namespace.render(environment)?
                && upstream.flow_id == flow_id.render(environment)?)
        }
        Condition::ExecutionLabels { labels } => {
            let have = execution()?.labels;
            for (key, value) in labels {
                if label_value(have, &key.render(environment)?) != Some(value.render(environment)?.as_str()) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Condition::Or(conditions) => any(conditions, upstream, environment),
        Condition::Not(conditions) => Ok(!any(conditions, upstream, environment)?),
        Condition::Expression(text) => Ok(is_trigger_truthy(&text.render(environment)?)),
        Condition::Date(condition) => condition.holds(environment),
        Condition::ExecutionOutputs(text) => {
            Ok(execution()?.has_outputs && is_trigger_truthy(&text.render(environment)?))
        }
        Condition::HasRetryAttempt { is_in, not_in } => {
            let allowed = states(is_in.as_ref(), environment)?;
            let refused = states(not_in.as_ref(), environment)?;
            let passes = |state: &State| (allowed.is_empty() || allowed.contains(state)) && !refused.contains(state);
            Ok(execution()?.retried.iter().any(passes))
        }
        Condition::ListeningFlow { namespace, flow_id } => {
            let (own_namespace, own_id) = execution()?.listening;
            Ok(own_namespace == namespace.render(environment)? && own_id == flow_id.render(environment)?)
        }
        Condition::ListeningNamespace { namespace, prefix } => {
            let (own, wanted) = (execution()?.listening.0, namespace.render(environment)?);
            Ok(if *prefix { own.starts_with(&wanted) } else { own == wanted })
        }
        Condition::Flow(precondition) => Ok(precondition.holds(execution()?)),
        Condition::Filters(precondition) => precondition.holds(execution()?, environment),
    }
}

fn any(
    conditions: &[Condition],
    upstream: Option<&Upstream<'_>>,
    environment: &Environment<'_>,
) -> Result<bool, ConditionError> {
    for condition in conditions {
        if evaluate(condition, upstream, environment)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A list of states, or a text that renders to one. An absent or empty list says nothing (flow model 1.x reference 7).
fn states(list: Option<&Properties>, environment: &Environment<'_>) -> Result<Vec<State>, ConditionError> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let items = match list.render(environment)? {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        Value::String(text) => {
            serde_json::from_str(&text).map_err(|_| ConditionError::Value("expected a list of states".to_owned()))?
        }
        _ => return Err(ConditionError::Value("expected a list of states".to_owned())),
    };
    items.iter().map(|item| item.as_str().unwrap_or_default().parse().map_err(ConditionError::Value)).collect()
}

enum Comparison {
    Equals,
    Prefix,
    Suffix,
}

/// `comparison` wins over the older `prefix`.
fn comparison_of(
    comparison: Option<&Text>,
    prefix: Option<&Text>,
    environment: &Environment<'_>,
) -> Result<Comparison, ConditionError> {
    if let Some(text) = comparison {
        return match text.render(environment)?.trim() {
            "EQUALS" => Ok(Comparison::Equals),
            "PREFIX" => Ok(Comparison::Prefix),
            "SUFFIX" => Ok(Comparison::Suffix),
            other => Err(ConditionError::Value(format!("`{other}` is no comparison; EQUALS, PREFIX and SUFFIX are"))),
        };
    }
    let prefix = prefix.map(|text| text.render(environment)).transpose()?;
    Ok(if prefix.is_some_and(|text| text.trim().eq_ignore_ascii_case("true")) {
        Comparison::Prefix
    } else {
        Comparison::Equals
    })
}
