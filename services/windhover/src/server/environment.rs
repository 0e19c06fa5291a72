//! What expressions see of the server, the same in every part of the process.

use std::sync::Arc;

use anyhow::Result;
use serde_json::{Value, json};
use windhover_engine::{Env, InlineTasks};
use windhover_types::JsonMap;

use crate::settings::Settings;

/// Roots of expressions that are the server's: `envs`, `globals`, `kestra` (expression reference 16).
#[derive(Clone)]
pub(super) struct Roots {
    envs: JsonMap,
    globals: JsonMap,
    kestra: JsonMap,
}

impl Roots {
    pub(super) fn read(settings: &Settings) -> Result<Self> {
        let mut kestra = JsonMap::new();
        for (name, key) in [("environment", "kestra.environment.name"), ("url", "kestra.url")] {
            if let Some(value) = settings.text(key) {
                kestra.insert(name.to_owned(), value.into());
            }
        }
        Ok(Self { envs: settings.envs(), globals: settings.tree("kestra.variables.globals.")?, kestra })
    }

    /// For the templates of the gateway.
    pub(super) fn as_map(&self) -> JsonMap {
        let roots = json!({"envs": self.envs, "globals": self.globals, "kestra": self.kestra});
        match roots {
            Value::Object(map) => map,
            _ => JsonMap::new(),
        }
    }

    /// For the engine.
    pub(super) fn engine(&self, inline: Arc<dyn InlineTasks>) -> Env {
        let shared = |map: &JsonMap| Arc::new(Value::Object(map.clone()));
        Env {
            envs: shared(&self.envs),
            globals: shared(&self.globals),
            kestra: shared(&self.kestra),
            ..Env::new(inline)
        }
    }
}
