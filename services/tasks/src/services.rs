//! What the expressions of a task on a worker can ask for.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use windhover_engine::Env;
use windhover_expression::{Interrupt, SecretRequest, SeededRandom, Services, Zone};
use windhover_outbound::Client;
use windhover_types::{Secret, Tenant};

use crate::{ExecutionSource, SecretSource, TaskLog};

/// How often the properties of one attempt are rendered at most: each time something more was loaded.
pub const MAX_RENDERINGS: usize = 64;

/// What all tasks of a worker share.
pub struct TaskServices {
    pub http: Client,
    pub secrets: Arc<dyn SecretSource>,
    pub executions: Arc<dyn ExecutionSource>,
    /// `kestra.url`: base of the links to executions.
    pub url: Option<String>,
    /// Bounds of expressions, time zone, templates that are only known when they are rendered; as for the engine.
    pub env: Arc<Env>,
}

/// A secret that a template asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SecretName {
    pub(crate) namespace: String,
    pub(crate) key: String,
}

/// Secrets that were looked up for one attempt.
pub(crate) type LoadedSecrets = HashMap<SecretName, Result<Option<Secret>, String>>;

/// The services of one rendering. What is missing is noted, loaded by the caller, and the rendering done again.
pub(crate) struct RenderServices<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) secrets: &'a LoadedSecrets,
    pub(crate) log: &'a TaskLog,
    pub(crate) now: DateTime<Utc>,
    pub(crate) random: SeededRandom,
    timezone: &'a Zone,
    missing: RefCell<HashSet<SecretName>>,
}

impl<'a> RenderServices<'a> {
    pub(crate) fn new(
        namespace: &'a str,
        secrets: &'a LoadedSecrets,
        log: &'a TaskLog,
        env: &'a Env,
        now: DateTime<Utc>,
        seed: u64,
    ) -> Self {
        let random = SeededRandom::new(seed);
        Self { namespace, secrets, log, now, random, timezone: &env.timezone, missing: RefCell::default() }
    }

    pub(crate) fn into_missing(self) -> HashSet<SecretName> {
        self.missing.into_inner()
    }

    /// Another namespace can be read only upwards: a flow sees what it would inherit.
    fn readable(&self, namespace: &str) -> bool {
        let below = self.namespace.strip_prefix(namespace);
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl Services for RenderServices<'_> {
    fn secret(&self, request: &SecretRequest) -> Result<Option<String>, Interrupt> {
        let namespace = request.namespace.as_deref().unwrap_or(self.namespace);
        if !self.readable(namespace) {
            return Err(Interrupt::Failed(format!(
                "Namespace '{namespace}' is not allowed for secrets of '{}'",
                self.namespace
            )));
        }
        let name = SecretName { namespace: namespace.to_owned(), key: request.key.to_uppercase() };
        match self.secrets.get(&name) {
            Some(Ok(found)) => {
                if let Some(secret) = found {
                    self.log.add_secret(secret.expose());
                }
                Ok(found.as_ref().map(|secret| secret.expose().to_owned()))
            }
            Some(Err(reason)) => Err(Interrupt::Failed(reason.clone())),
            None => {
                let key = format!("secret {}", name.key);
                self.missing.borrow_mut().insert(name);
                Err(Interrupt::Needs(key))
            }
        }
    }

    fn mask(&self, text: &str) {
        self.log.add_secret(text);
    }

    fn now(&self) -> Result<DateTime<Utc>, Interrupt> {
        Ok(self.now)
    }

    fn random(&self) -> Result<u64, Interrupt> {
        Ok(self.random.next())
    }

    fn timezone(&self) -> Zone {
        self.timezone.clone()
    }
}

impl TaskServices {
    pub(crate) async fn load(&self, tenant: &Tenant, names: HashSet<SecretName>, into: &mut LoadedSecrets) {
        for name in names {
            let found = self.secrets.secret(tenant, &name.namespace, &name.key).await;
            into.insert(name, found);
        }
    }
}
