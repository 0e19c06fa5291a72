//! Compiled templates.

use std::sync::{Arc, OnceLock};

use crate::analysis::Analysis;
use crate::environment::Environment;
use crate::error::{ExpressionError, line_and_column};
use crate::eval;
use crate::syntax::ast::Tree;
use crate::syntax::{self, raw::RawSections};
use crate::value::Value;

/// Longer texts are refused.
const MAX_SOURCE: usize = 8 << 20;

/// A compiled template: immutable, thread-safe, and cheap to clone.
#[derive(Debug, Clone)]
pub struct Template(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    source: Arc<str>,
    /// `None` for a text without `{`, which is its own result.
    tree: Option<Tree>,
    raw: Option<RawSections>,
    analysis: OnceLock<Analysis>,
}

impl Template {
    /// Compiles a text. Syntax errors are found here, also in branches that would never run.
    ///
    /// # Errors
    /// [`ExpressionError::Syntax`] if the text is malformed, nested too deeply or longer than 8 MiB.
    pub fn compile(source: &str) -> Result<Self, ExpressionError> {
        if source.len() > MAX_SOURCE {
            let message = format!("The template is longer than {MAX_SOURCE} bytes");
            return Err(ExpressionError::Syntax { message, line: 1, column: 1 });
        }
        let compiled =
            |tree, raw| Self(Arc::new(Compiled { source: Arc::from(source), tree, raw, analysis: OnceLock::new() }));
        if !source.contains('{') {
            return Ok(compiled(None, None));
        }
        let (tree, raw) = match RawSections::take(source) {
            Some((rest, raw)) => (syntax::parse(&rest), Some(raw)),
            None => (syntax::parse(source), None),
        };
        match tree {
            Ok(tree) => Ok(compiled(Some(tree), raw)),
            Err(error) => {
                let (line, column) = line_and_column(source, error.at);
                let message = format!("{} ({}:{line})", error.message, crate::error::excerpt(source));
                Err(ExpressionError::Syntax { message, line, column })
            }
        }
    }

    /// The text that was compiled.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    pub(crate) fn source_shared(&self) -> Arc<str> {
        Arc::clone(&self.0.source)
    }

    pub(crate) fn tree(&self) -> Option<&Tree> {
        self.0.tree.as_ref()
    }

    pub(crate) fn raw(&self) -> Option<&RawSections> {
        self.0.raw.as_ref()
    }

    /// Whether the text holds no `{` at all and so is its own result, whatever the variables.
    pub fn is_constant(&self) -> bool {
        self.0.tree.is_none()
    }

    /// What the template reads and calls; computed once.
    pub fn analysis(&self) -> &Analysis {
        self.0.analysis.get_or_init(|| Analysis::of(self.0.tree.as_ref()))
    }

    /// Renders to text.
    ///
    /// # Errors
    /// Any [`ExpressionError`] but, except from nested renderings, `Syntax`.
    pub fn render_text(&self, environment: &Environment<'_>) -> Result<String, ExpressionError> {
        eval::entry::render_text(self, environment)
    }

    /// Renders to a value with its own type (expression reference, section 7.3).
    ///
    /// # Errors
    /// As [`Self::render_text`].
    pub fn render_typed(&self, environment: &Environment<'_>) -> Result<Value, ExpressionError> {
        eval::entry::render_typed(self, environment)
    }
}
