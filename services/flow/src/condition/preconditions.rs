//! Single preconditions of Flow triggers (flow model reference 6.5): what one upstream execution has to be like.

use windhover_expression::{Environment, condition::is_truthy};
use windhover_types::{Label, State, label_value};

use super::{ConditionError, Upstream};
use crate::{Pattern, Text};

/// One entry of `preconditions.flows`: all that is given must match. Nothing of it is rendered.
#[derive(Debug)]
pub struct FlowPrecondition {
    pub namespace: String,
    pub flow_id: Option<String>,
    /// Any when empty.
    pub states: Vec<State>,
    pub labels: Vec<Label>,
}

/// One entry of `preconditions.where`.
#[derive(Debug)]
pub struct FilterPrecondition {
    pub operand: Operand,
    pub filters: Vec<Filter>,
}

/// How filters are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    And,
    Or,
}

/// What a filter looks at, and how.
#[derive(Debug)]
pub struct Filter {
    pub field: Field,
    pub test: FilterTest,
}

#[derive(Debug)]
pub enum Field {
    FlowId,
    Namespace,
    State,
    /// The tested text is what this renders to.
    Expression(Text),
}

/// With the value as it is written, not rendered.
#[derive(Debug)]
pub enum FilterTest {
    EqualTo(String),
    NotEqualTo(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    IsTrue,
    IsFalse,
    IsNull,
    IsNotNull,
    StartsWith(String),
    EndsWith(String),
    /// The whole text.
    Regex(Pattern),
    Contains(String),
}

impl FlowPrecondition {
    pub(super) fn holds(&self, upstream: &Upstream<'_>) -> bool {
        let has = |label: &Label| label_value(upstream.labels, &label.key) == Some(label.value.as_str());
        self.namespace == upstream.namespace
            && self.flow_id.as_ref().is_none_or(|id| id == upstream.flow_id)
            && (self.states.is_empty() || self.states.contains(&upstream.state))
            && self.labels.iter().all(has)
    }
}

impl FilterPrecondition {
    pub(super) fn holds(&self, upstream: &Upstream<'_>, environment: &Environment<'_>) -> Result<bool, ConditionError> {
        for filter in &self.filters {
            let holds = filter.holds(upstream, environment)?;
            match self.operand {
                Operand::And if !holds => return Ok(false),
                Operand::Or if holds => return Ok(true),
                Operand::And | Operand::Or => {}
            }
        }
        Ok(self.operand == Operand::And)
    }
}

impl Filter {
    fn holds(&self, upstream: &Upstream<'_>, environment: &Environment<'_>) -> Result<bool, ConditionError> {
        let rendered;
        let text = match &self.field {
            Field::FlowId => upstream.flow_id,
            Field::Namespace => upstream.namespace,
            Field::State => upstream.state.as_str(),
            Field::Expression(expression) => {
                rendered = expression.render(environment)?;
                rendered.as_str()
            }
        };
        Ok(match &self.test {
            FilterTest::EqualTo(value) => text == value,
            FilterTest::NotEqualTo(value) => text != value,
            FilterTest::In(values) => values.iter().any(|value| value == text),
            FilterTest::NotIn(values) => !values.iter().any(|value| value == text),
            FilterTest::IsTrue => is_truthy(text),
            FilterTest::IsFalse => !is_truthy(text),
            FilterTest::IsNull => text.is_empty(),
            FilterTest::IsNotNull => !text.is_empty(),
            FilterTest::StartsWith(value) => text.starts_with(value.as_str()),
            FilterTest::EndsWith(value) => text.ends_with(value.as_str()),
            FilterTest::Regex(pattern) => pattern.matches(text),
            FilterTest::Contains(value) => text.contains(value.as_str()),
        })
    }
}
