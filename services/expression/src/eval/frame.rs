//! The variables that one template sees while it runs (expression reference, section 9).

use std::sync::Arc;

use super::Session;
use crate::error::Fault;
use crate::syntax::ast::Tree;
use crate::value::Value;

pub(crate) type Binding = (Arc<str>, Value);

/// One running template.
pub(crate) struct Frame<'s, 'a> {
    pub(crate) session: &'s Session<'a>,
    pub(super) tree: &'s Tree,
    source: &'s str,
    /// Variables on top of the run's, for nested renderings; read-only as these.
    inherited: Vec<Binding>,
    /// The template's own variables, then a scope for each running loop.
    pub(super) scopes: Vec<Vec<Binding>>,
    /// Inside a macro: the variables of the run and of the template are out of sight.
    pub(super) closed: bool,
}

impl<'s, 'a> Frame<'s, 'a> {
    pub(super) fn new(session: &'s Session<'a>, tree: &'s Tree, source: &'s str, inherited: Vec<Binding>) -> Self {
        Self { session, tree, source, inherited, scopes: vec![Vec::new()], closed: false }
    }

    /// The value of a name, `None` if it is undefined.
    pub(super) fn variable(&self, name: &Arc<str>) -> Result<Option<Value>, Fault> {
        let own = self.scopes.iter().rev().flat_map(|scope| scope.iter().rev());
        if let Some((_, value)) = own.into_iter().find(|(known, _)| **known == **name) {
            return Ok(Some(value.clone()));
        }
        if !self.closed {
            if let Some((_, value)) = self.inherited.iter().find(|(known, _)| **known == **name) {
                return Ok(Some(value.clone()));
            }
            if let Some(value) = self.session.root(name)? {
                return Ok(Some(value));
            }
        }
        Ok(match &**name {
            "locale" => Some(Value::text("en_US")),
            "template" => Some(Value::map([("name", Value::text(self.source))])),
            "_context" => return Err(Fault::host("The variable '_context' cannot be used")),
            _ => None,
        })
    }

    /// The entry of a map, for functions that read variables by themselves.
    pub(crate) fn entry(&self, value: &Value, key: &str) -> Result<Option<Value>, Fault> {
        super::members::entry(self.session, value, key)
    }

    /// Sets a variable where it is visible, or creates it in the innermost scope.
    pub(super) fn assign(&mut self, name: &Arc<str>, value: Value) -> Result<(), Fault> {
        for scope in self.scopes.iter_mut().rev() {
            if let Some((_, known)) = scope.iter_mut().rev().find(|(known, _)| known == name) {
                *known = value;
                return Ok(());
            }
        }
        let of_the_run =
            self.inherited.iter().any(|(known, _)| known == name) || self.session.environment.variables.contains(name);
        if !self.closed && of_the_run {
            return Err(Fault::host(format!("The variable '{name}' belongs to the run and cannot be set")));
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.push((Arc::clone(name), value));
        }
        Ok(())
    }

    /// The variables that a nested rendering gets besides the run's. In a macro it sees all of the run's as null.
    pub(crate) fn visible(&self) -> Vec<Binding> {
        let mut bindings: Vec<Binding> = Vec::new();
        let own = self.scopes.iter().rev().flat_map(|scope| scope.iter().rev());
        for (name, value) in own.chain(self.inherited.iter().filter(|_| !self.closed)) {
            if !bindings.iter().any(|(known, _)| known == name) {
                bindings.push((Arc::clone(name), value.clone()));
            }
        }
        if self.closed {
            for name in self.session.environment.variables.names() {
                if !bindings.iter().any(|(known, _)| **known == *name) {
                    bindings.push((Arc::from(name), Value::Null));
                }
            }
        }
        bindings
    }

    /// All variables of the run and of the template, without the built-in globals.
    pub(crate) fn everything(&self) -> Result<Value, Fault> {
        let mut entries: Vec<(Value, Value)> = Vec::new();
        if !self.closed {
            for name in self.session.environment.variables.names() {
                let name: Arc<str> = Arc::from(name);
                if let Some(value) = self.session.root(&name)? {
                    entries.push((Value::Text(name), value));
                }
            }
        }
        let mut visible = self.visible();
        visible.reverse();
        entries.extend(visible.into_iter().map(|(name, value)| (Value::Text(name), value)));
        Ok(Value::Map(entries.into_iter().collect()))
    }
}
