//! Evaluation: entry points and what one evaluation shares.

mod arguments;
mod arithmetic;
mod expression;
mod frame;
mod members;
mod nodes;
mod operators;
mod output;
mod session;
pub(crate) mod strings;

pub(crate) use arguments::Args;
pub(crate) use arithmetic::as_f64;
pub(crate) use frame::Frame;
pub(crate) use operators::{compare_numbers, range};
pub(crate) use session::Session;

use crate::environment::Environment;
use crate::error::{ExpressionError, Fault};
use crate::json;
use crate::syntax::raw;
use crate::template::Template;
use crate::value::Value;
use output::Output;

/// After this many repetitions a text that still changes is given up (expression reference, section 1.2).
const MAX_ROUNDS: u32 = 100;

/// Renders a text that is only known at run time.
///
/// # Errors
/// Any [`ExpressionError`].
pub fn render_text(source: &str, environment: &Environment<'_>) -> Result<String, ExpressionError> {
    if !source.contains('{') {
        return Ok(source.to_owned());
    }
    compile(source, environment)?.render_text(environment)
}

/// Renders a text that is only known at run time to a value with its own type.
///
/// # Errors
/// Any [`ExpressionError`].
pub fn render_typed(source: &str, environment: &Environment<'_>) -> Result<Value, ExpressionError> {
    if !source.contains('{') {
        return Ok(Value::text(source));
    }
    compile(source, environment)?.render_typed(environment)
}

/// The same for a compiled template.
pub(crate) fn compile(source: &str, environment: &Environment<'_>) -> Result<Template, ExpressionError> {
    match environment.cache {
        Some(cache) => cache.get(source),
        None => Template::compile(source),
    }
}

pub(crate) mod entry {
    use super::*;

    pub(crate) fn render_text(template: &Template, environment: &Environment<'_>) -> Result<String, ExpressionError> {
        let session = Session::new(environment);
        let text = render_in(template, &session, Vec::new(), environment.recursive).map(Rendered::into_text);
        session.end();
        text
    }

    pub(crate) fn render_typed(template: &Template, environment: &Environment<'_>) -> Result<Value, ExpressionError> {
        if template.is_constant() {
            return Ok(Value::text(template.source()));
        }
        let session = Session::new(environment);
        let value = typed(template, &session);
        session.end();
        value
    }
}

fn typed(template: &Template, session: &Session<'_>) -> Result<Value, ExpressionError> {
    let mut output = Output::typed();
    evaluate(template, session, Vec::new(), &mut output)?;
    let value = output.into_value(session).map_err(|fault| fault.into_error(template.source()))?;
    let Value::Text(text) = &value else {
        return session.detach(&value).map_err(|fault| fault.into_error(template.source()));
    };
    let text = match template.raw() {
        Some(raw) => raw.restore(text),
        None => text.to_string(),
    };
    let text = if session.environment.recursive { repeat(text, session, &[])? } else { text };
    Ok(Value::text(raw::strip(text)))
}

/// What a template wrote, as text.
pub(crate) struct Rendered {
    pub(crate) text: String,
    /// Nothing was written but nulls, and at least one of them.
    pub(crate) only_null: bool,
}

impl Rendered {
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// Renders a template to text within a running evaluation; `inherited` are variables on top of the run's.
pub(crate) fn render_in(
    template: &Template,
    session: &Session<'_>,
    inherited: Vec<frame::Binding>,
    recursive: bool,
) -> Result<Rendered, ExpressionError> {
    let mut rendered = once(template, session, inherited.clone())?;
    if recursive {
        rendered.text = repeat(rendered.text, session, &inherited)?;
    }
    rendered.text = raw::strip(rendered.text);
    Ok(rendered)
}

fn repeat(mut text: String, session: &Session<'_>, inherited: &[frame::Binding]) -> Result<String, ExpressionError> {
    for _ in 0..MAX_ROUNDS {
        if !text.contains('{') {
            return Ok(text);
        }
        let next = once(&compile(&text, &session.environment)?, session, inherited.to_vec())?.text;
        if next == text {
            return Ok(text);
        }
        text = next;
    }
    Err(Fault::engine("Too many rendering attempts").into_error(&text))
}

/// One pass, raw sections back in place with their tags.
fn once(
    template: &Template,
    session: &Session<'_>,
    inherited: Vec<frame::Binding>,
) -> Result<Rendered, ExpressionError> {
    if template.is_constant() {
        return Ok(Rendered { text: template.source().to_owned(), only_null: false });
    }
    let mut output = Output::text();
    evaluate(template, session, inherited, &mut output)?;
    let only_null = output.only_null();
    let text = output.into_text();
    let text = match template.raw() {
        Some(raw) => raw.restore(&text),
        None => text,
    };
    Ok(Rendered { text, only_null })
}

fn evaluate(
    template: &Template,
    session: &Session<'_>,
    inherited: Vec<frame::Binding>,
    output: &mut Output,
) -> Result<(), ExpressionError> {
    let Some(tree) = template.tree() else { return Ok(()) };
    let mut frame = Frame::new(session, tree, template.source(), inherited);
    frame.run(&tree.body, output).map_err(|fault| fault.into_error(template.source()))
}

/// Reads a text as JSON if it is exactly one value.
pub(crate) fn exact_json(text: &str, session: &Session<'_>) -> Result<Option<Value>, Fault> {
    session.meter.steps(text.len() as u64)?;
    Ok(json::parse_exactly(text).ok())
}
