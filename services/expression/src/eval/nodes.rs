//! Texts, prints and tags (expression reference, section 10).

use std::mem;
use std::sync::Arc;

use super::Frame;
use super::output::Output;
use crate::error::{Fault, Offset};
use crate::syntax::ast::{Arguments, Body, Expr, FilterUse, Macro, Node};
use crate::value::{Entry, LoopState, Value};

impl<'s> Frame<'s, '_> {
    pub(super) fn run(&mut self, body: &'s Body, out: &mut Output) -> Result<(), Fault> {
        for node in body {
            self.session.meter.steps(1)?;
            match node {
                Node::Text(text) => out.write_text(self.session, text)?,
                Node::Print(expression, at) => {
                    let value = self.eval(expression).map_err(|fault| fault.place(*at))?;
                    out.write(self.session, value).map_err(|fault| fault.place(*at))?;
                }
                Node::Set { name, value, at } => {
                    let value = self.eval(value).map_err(|fault| fault.place(*at))?;
                    self.assign(name, value)?;
                }
                tag => self.deeper(|frame| frame.run_tag(tag, out))?,
            }
        }
        Ok(())
    }

    /// Runs a part one level deeper.
    pub(super) fn deeper<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        let session = self.session;
        session.nested(|| part(self))
    }

    fn run_tag(&mut self, node: &'s Node, out: &mut Output) -> Result<(), Fault> {
        match node {
            Node::If { branches, otherwise, at } => self.run_if(branches, otherwise.as_ref(), *at, out),
            Node::For { name, items, body, otherwise, at } => {
                let items = self.eval(items).map_err(|fault| fault.place(*at))?;
                self.run_for(name, items, body, otherwise.as_ref(), out).map_err(|fault| fault.place(*at))
            }
            Node::Block(name) => self.run_block(name, out),
            Node::Filter { filters, body, at } => self.run_filter(filters, body, out).map_err(|fault| fault.place(*at)),
            Node::Text(_) | Node::Print(..) | Node::Set { .. } => Ok(()),
        }
    }

    fn run_if(
        &mut self,
        branches: &'s [(Expr, Body)],
        otherwise: Option<&'s Body>,
        at: Offset,
        out: &mut Output,
    ) -> Result<(), Fault> {
        for (condition, body) in branches {
            if self.condition(condition, at)? {
                return self.run(body, out);
            }
        }
        otherwise.map_or(Ok(()), |body| self.run(body, out))
    }

    fn condition(&mut self, condition: &'s Expr, at: Offset) -> Result<bool, Fault> {
        let result = self.eval(condition).and_then(|value| match value {
            Value::Null => Err(Fault::engine("null value given to if statement and strict variables is set to true")),
            value => truth(&value, "\"if\" statement"),
        });
        result.map_err(|fault| {
            let cause = fault.place(at);
            if cause.is_final() {
                return cause;
            }
            Fault::Engine {
                message: format!("Wrong operand(s) type in conditional expression: {}", cause.summary()),
                at,
            }
        })
    }

    fn run_for(
        &mut self,
        name: &Arc<str>,
        items: Value,
        body: &'s Body,
        otherwise: Option<&'s Body>,
        out: &mut Output,
    ) -> Result<(), Fault> {
        let items = match items.items() {
            Some(items) => items,
            None if items.is_null() => return Ok(()),
            None => match items.entries()? {
                Some(entries) => {
                    self.session.meter.elements(entries.len())?;
                    Arc::new(entries.into_iter().map(|(key, value)| Value::Entry(Entry::new(key, value))).collect())
                }
                None => {
                    let text = self.session.printer().plain_text(&items)?;
                    return Err(Fault::engine(format!("Not an iterable object. Value = [{text}]")));
                }
            },
        };
        if items.is_empty() {
            return otherwise.map_or(Ok(()), |body| self.run(body, out));
        }
        let length = u32::try_from(items.len()).unwrap_or(u32::MAX);
        self.scopes.push(vec![(Arc::from("loop"), Value::Null), (Arc::clone(name), Value::Null)]);
        let mut result = Ok(());
        for (index, item) in items.iter().enumerate() {
            if let Some([loop_binding, item_binding, ..]) = self.scopes.last_mut().map(Vec::as_mut_slice) {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                loop_binding.1 = Value::Loop(LoopState { index, length });
                item_binding.1 = item.clone();
            }
            result = self.run(body, out);
            if result.is_err() {
                break;
            }
        }
        self.scopes.pop();
        result
    }

    pub(crate) fn run_block(&mut self, name: &str, out: &mut Output) -> Result<(), Fault> {
        let tree = self.tree;
        match tree.blocks.iter().find(|(known, _)| **known == *name) {
            Some((_, body)) => self.run(body, out),
            None => Ok(()),
        }
    }

    /// A block again, in the plain text form.
    pub(crate) fn block_text(&mut self, name: &str) -> Result<Value, Fault> {
        self.deeper(|frame| {
            let mut out = Output::plain();
            frame.run_block(name, &mut out)?;
            Ok(Value::text(out.into_text()))
        })
    }

    fn run_filter(&mut self, filters: &'s [FilterUse], body: &'s Body, out: &mut Output) -> Result<(), Fault> {
        let mut inner = Output::plain();
        self.run(body, &mut inner)?;
        let mut value = Value::text(inner.into_text());
        for filter in filters {
            value = self.apply_filter(filter, |_| Ok(value)).map_err(|fault| fault.place(filter.at))?;
        }
        out.write(self.session, value)
    }

    pub(super) fn find_macro(&self, name: &str) -> Option<&'s Macro> {
        self.tree.macros.iter().find(|known| &*known.name == name)
    }

    /// Calls a macro: a closed scope with its arguments, output as markup.
    pub(super) fn call_macro(&mut self, called: &'s Macro, arguments: &'s Arguments) -> Result<Value, Fault> {
        let names: Vec<&str> = called.parameters.iter().map(|(name, _)| &**name).collect();
        if names.is_empty() && !arguments.positional.is_empty() {
            return Err(Fault::engine("The argument at position 1 is not allowed. Only 0 argument(s) are allowed."));
        }
        if let Some((name, _)) = arguments.named.iter().find(|(name, _)| !names.contains(&&**name)) {
            return Err(Fault::engine(format!("The following named argument does not exist: {name}")));
        }
        let args = self.arguments(&names, false, arguments)?;
        self.deeper(|frame| {
            let outer = mem::replace(&mut frame.scopes, vec![Vec::new()]);
            let outer_closed = mem::replace(&mut frame.closed, true);
            let result = frame.macro_body(called, &args);
            frame.scopes = outer;
            frame.closed = outer_closed;
            result
        })
    }

    fn macro_body(&mut self, called: &'s Macro, args: &super::Args) -> Result<Value, Fault> {
        // defaults see only the defaults before them, so all of them come first
        for (name, default) in &called.parameters {
            let value = match default {
                Some(default) => self.eval(default)?,
                None => Value::Null,
            };
            self.scopes[0].push((Arc::clone(name), value));
        }
        for (position, (_, value)) in self.scopes[0].iter_mut().enumerate() {
            if let Some(given) = args.given(position) {
                *value = given.clone();
            }
        }
        let mut out = Output::plain();
        self.run(&called.body, &mut out)?;
        Ok(Value::Markup(Arc::from(out.into_text())))
    }
}

/// The truth of a value that is not null (expression reference, section 4.2).
pub(super) fn truth(value: &Value, place: &str) -> Result<bool, Fault> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Text(text) => Ok(!text.is_empty()),
        value if value.is_number() => Ok(super::as_f64(value).unwrap_or(0.0) != 0.0),
        other => Err(Fault::engine(format!(
            "Unsupported value type {}. Expected Boolean, String, Number in {place}",
            other.class_name()
        ))),
    }
}
