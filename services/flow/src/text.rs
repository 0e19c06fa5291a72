//! Text properties: compiled once per revision.

use std::sync::Arc;

use serde_json::Value;
use windhover_expression::{Analysis, Environment, ExpressionError, Template};

/// A text property with its template, compiled once per revision.
///
/// A template that does not compile does not refuse a flow (Kestra accepts it at deployment): the flow gets a
/// warning, and whoever renders the text gets the error.
#[derive(Debug, Clone)]
pub struct Text {
    source: Arc<str>,
    template: Result<Template, Arc<ExpressionError>>,
}

impl Text {
    pub fn new(source: &str) -> Self {
        Self { source: Arc::from(source), template: Template::compile(source).map_err(Arc::new) }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Why the template does not compile, if it does not.
    pub fn broken(&self) -> Option<&ExpressionError> {
        self.template.as_ref().err().map(Arc::as_ref)
    }

    /// Whether the text is its own result, whatever the variables.
    pub fn is_literal(&self) -> bool {
        self.template.as_ref().is_ok_and(Template::is_constant)
    }

    /// What the template reads and calls; `None` for one that does not compile.
    pub fn analysis(&self) -> Option<&Analysis> {
        self.template.as_ref().ok().map(Template::analysis)
    }

    /// Whether the executor may render it: it calls nothing that does I/O, waits, or renders what is only known then.
    /// The clock and chance are no hindrance: both are fixed for each step of the engine.
    pub fn is_pure(&self) -> bool {
        self.analysis().is_none_or(|analysis| !analysis.asks_world && !analysis.reads_anything)
    }

    /// # Errors
    /// Any [`ExpressionError`]; `Syntax` when the template does not compile.
    pub fn render(&self, environment: &Environment<'_>) -> Result<String, ExpressionError> {
        match &self.template {
            Ok(template) => template.render_text(environment),
            Err(error) => Err(ExpressionError::clone(error)),
        }
    }

    /// Renders to a JSON value with its own type (expression reference 7.3).
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_typed(&self, environment: &Environment<'_>) -> Result<Value, ExpressionError> {
        match &self.template {
            Ok(template) if template.is_constant() => Ok(Value::String(self.source.as_ref().to_owned())),
            Ok(template) => template.render_typed(environment)?.to_json(),
            Err(error) => Err(ExpressionError::clone(error)),
        }
    }

    /// Renders as a leaf of a structure: text, but null when nothing but null was written (expression reference 1.1).
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_leaf(&self, environment: &Environment<'_>) -> Result<Value, ExpressionError> {
        let text = self.render(environment)?;
        // Only an empty result can have been null; asking a second time is rare and cheap.
        if text.is_empty() && !self.source.is_empty() && self.render_typed(environment)?.is_null() {
            return Ok(Value::Null);
        }
        Ok(Value::String(text))
    }
}
