//! Where root variables come from.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use crate::error::Interrupt;
use crate::value::Value;

/// The variables that a template can read: `inputs`, `outputs`, `flow` and so on. Roots are fetched when an expression first touches
/// them, once in an evaluation; large ones should be shared documents ([`Value::from_shared_json`]) or lazy objects.
///
/// A template can change lists in place (`sort`, `+`); it only ever changes its own copies.
pub trait Variables {
    /// The variable with this name, `None` if there is none.
    ///
    /// # Errors
    /// [`Interrupt::Needs`] if the value has to be loaded first.
    fn root(&self, name: &str) -> Result<Option<Value>, Interrupt>;

    /// All names in order, for `printContext` and to refuse `set` on a variable of the run.
    fn names(&self) -> Vec<String>;

    /// Whether a variable with this name exists.
    fn contains(&self, name: &str) -> bool {
        self.names().iter().any(|known| known == name)
    }
}

/// No variables at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVariables;

impl Variables for NoVariables {
    fn root(&self, _name: &str) -> Result<Option<Value>, Interrupt> {
        Ok(None)
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Copies a root when it is touched; use [`SharedVariables`] for large documents.
impl Variables for JsonMap<String, Json> {
    fn root(&self, name: &str) -> Result<Option<Value>, Interrupt> {
        Ok(self.get(name).map(Value::from_json))
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.contains_key(name)
    }
}

impl<S: std::hash::BuildHasher> Variables for HashMap<String, Value, S> {
    fn root(&self, name: &str) -> Result<Option<Value>, Interrupt> {
        Ok(self.get(name).cloned())
    }

    fn names(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.contains_key(name)
    }
}

/// Variables that are shared JSON documents or other values, in order. Small, cheap to clone and to look into.
#[derive(Debug, Clone, Default)]
pub struct SharedVariables {
    roots: Vec<(Arc<str>, Value)>,
}

impl SharedVariables {
    /// Adds a variable, or replaces the one of the same name.
    pub fn set(&mut self, name: impl AsRef<str>, value: Value) {
        match self.roots.iter_mut().find(|(known, _)| **known == *name.as_ref()) {
            Some((_, known)) => *known = value,
            None => self.roots.push((Arc::from(name.as_ref()), value)),
        }
    }

    /// Adds a shared document, or replaces the variable of the same name.
    pub fn set_json(&mut self, name: impl AsRef<str>, document: Arc<Json>) {
        self.set(name, Value::from_shared_json(document));
    }
}

impl<K: AsRef<str>> FromIterator<(K, Value)> for SharedVariables {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(roots: I) -> Self {
        let mut variables = Self::default();
        for (name, value) in roots {
            variables.set(name, value);
        }
        variables
    }
}

impl Variables for SharedVariables {
    fn root(&self, name: &str) -> Result<Option<Value>, Interrupt> {
        Ok(self.roots.iter().find(|(known, _)| **known == *name).map(|(_, value)| value.clone()))
    }

    fn names(&self) -> Vec<String> {
        self.roots.iter().map(|(name, _)| name.to_string()).collect()
    }

    fn contains(&self, name: &str) -> bool {
        self.roots.iter().any(|(known, _)| **known == *name)
    }
}
