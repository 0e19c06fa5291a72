//! Where a template writes to.

use std::sync::Arc;

use super::{Session, exact_json};
use crate::error::Fault;
use crate::value::Value;

pub(crate) struct Output {
    text: String,
    /// Values print in the plain text form: inside macros, `block()` and filter tags.
    plain: bool,
    /// What was written piece by piece, for typed rendering.
    pieces: Option<Vec<Value>>,
    wrote_null: bool,
    wrote_more: bool,
}

impl Output {
    fn new(plain: bool, pieces: Option<Vec<Value>>) -> Self {
        Self { text: String::new(), plain, pieces, wrote_null: false, wrote_more: false }
    }

    pub(super) fn text() -> Self {
        Self::new(false, None)
    }

    pub(super) fn plain() -> Self {
        Self::new(true, None)
    }

    pub(super) fn typed() -> Self {
        Self::new(false, Some(Vec::new()))
    }

    pub(super) fn write_text(&mut self, session: &Session<'_>, text: &Arc<str>) -> Result<(), Fault> {
        self.wrote_more = true;
        match &mut self.pieces {
            Some(pieces) => {
                session.meter.elements(1)?;
                pieces.push(Value::Text(Arc::clone(text)));
                Ok(())
            }
            None => session.printer().add(&mut self.text, text),
        }
    }

    pub(super) fn write(&mut self, session: &Session<'_>, value: Value) -> Result<(), Fault> {
        if value.is_null() {
            self.wrote_null = true;
            return Ok(());
        }
        self.wrote_more = true;
        match &mut self.pieces {
            Some(pieces) => {
                session.meter.elements(1)?;
                pieces.push(value);
                Ok(())
            }
            None if self.plain => session.printer().plain(&value, &mut self.text),
            None => session.printer().output(&value, &mut self.text),
        }
    }

    /// Whether nothing but nulls was written, and at least one.
    pub(super) fn only_null(&self) -> bool {
        self.wrote_null && !self.wrote_more
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The value of typed rendering (expression reference, section 7.3).
    pub(super) fn into_value(self, session: &Session<'_>) -> Result<Value, Fault> {
        let mut pieces = self.pieces.unwrap_or_default();
        if pieces.len() < 2 {
            return Ok(pieces.pop().unwrap_or(Value::Null));
        }
        let mut text = String::new();
        for piece in &pieces {
            session.printer().output(piece, &mut text)?;
        }
        if !pieces.iter().all(Value::is_scalar)
            && let Some(value) = exact_json(&text, session)?
        {
            return Ok(value);
        }
        Ok(Value::text(text))
    }
}
