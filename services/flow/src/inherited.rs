//! What a flow gets from around it: from its namespace, from those above, from the server.

use std::sync::Arc;

use serde_json::Value;
use windhover_types::JsonMap;

use crate::PluginDefaults;

/// What the flows of a namespace inherit. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Inherited {
    variables: Arc<JsonMap>,
    /// The most important first.
    defaults: Arc<Vec<PluginDefaults>>,
}

impl Inherited {
    /// Of what was said at each place, the nearest first: of a variable the nearest value counts, maps are put together
    /// key by key.
    pub fn of<'a>(layers: impl IntoIterator<Item = (&'a JsonMap, &'a PluginDefaults)>) -> Self {
        let (mut variables, mut defaults) = (JsonMap::new(), Vec::new());
        for (own, list) in layers {
            fill(&mut variables, own);
            if !list.is_empty() {
                defaults.push(list.clone());
            }
        }
        Self { variables: Arc::new(variables), defaults: Arc::new(defaults) }
    }

    /// Nothing is inherited.
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.defaults.is_empty()
    }

    /// The variables alone.
    #[must_use]
    pub fn without_defaults(&self) -> Self {
        Self { variables: Arc::clone(&self.variables), defaults: Arc::default() }
    }

    /// Of all places together.
    pub fn variables(&self) -> &Arc<JsonMap> {
        &self.variables
    }

    pub(crate) fn defaults(&self) -> &[PluginDefaults] {
        &self.defaults
    }

    /// A flow's own variables, with what they leave open.
    pub(crate) fn complete(&self, mut own: JsonMap) -> JsonMap {
        fill(&mut own, &self.variables);
        own
    }
}

/// Adds what is not there yet. Null is a value.
fn fill(into: &mut JsonMap, from: &JsonMap) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (None, _) => drop(into.insert(key.clone(), value.clone())),
            (Some(Value::Object(into)), Value::Object(from)) => fill(into, from),
            (Some(_), _) => {}
        }
    }
}
