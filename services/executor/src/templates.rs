//! Templates that are rendered before there is an execution: defaults of inputs, keys of webhooks, conditions and inputs of
//! webhooks and schedules. They see the flow and secrets; nothing that needs an execution.

use std::{cell::RefCell, collections::HashMap, ops::ControlFlow, sync::Arc};

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use windhover_expression::{
    Environment, ExpressionError, Interrupt, SecretRequest, SeededRandom, Services, SharedVariables, TemplateCache,
};
use windhover_flow::Flow;
use windhover_types::{JsonMap, Masker, Secret, Timestamp, nested_labels};

use crate::{SecretSource, StoredFlow};

/// Secrets that one template may ask for.
const MAX_SECRETS: usize = 64;

/// What all templates of a gateway or scheduler have in common.
pub struct Templates {
    secrets: Arc<dyn SecretSource>,
    /// `envs`, `globals` and the like.
    globals: Vec<(String, Arc<Json>)>,
    cache: TemplateCache,
}

impl Templates {
    pub fn new(secrets: Arc<dyn SecretSource>, globals: JsonMap) -> Self {
        let globals = globals.into_iter().map(|(name, value)| (name, Arc::new(value))).collect();
        Self { secrets, globals, cache: TemplateCache::default() }
    }

    /// What templates of this flow see; `trigger` only while a trigger is evaluated.
    pub fn variables(&self, stored: &StoredFlow, flow: &Flow, trigger: Option<&JsonMap>) -> SharedVariables {
        let mut variables = SharedVariables::default();
        for (name, value) in &self.globals {
            variables.set_json(name, Arc::clone(value));
        }
        variables.set_json(
            "flow",
            Arc::new(json!({
                "id": stored.id,
                "namespace": stored.namespace,
                "revision": stored.revision,
                "tenantId": stored.tenant.as_str(),
            })),
        );
        variables.set_json("vars", Arc::new(Json::Object(flow.variables.clone())));
        variables.set_json("labels", Arc::new(Json::Object(nested_labels(&flow.labels))));
        if let Some(trigger) = trigger {
            variables.set_json("trigger", Arc::new(Json::Object(trigger.clone())));
        }
        variables
    }

    /// Evaluates until every secret that is asked for is there: `evaluate` answers `Continue` when it needs a fact.
    /// `None`: it needs something that does not exist here, or too much.
    pub async fn evaluate<T>(
        &self,
        stored: &StoredFlow,
        variables: &SharedVariables,
        now: Timestamp,
        evaluate: impl FnMut(&Environment<'_>) -> ControlFlow<T>,
    ) -> Option<T> {
        self.evaluate_with_mask(stored, variables, now, evaluate).await.map(|(value, _)| value)
    }

    /// As [`Templates::evaluate`], with what takes the secrets that were seen out of what is said about it: the reason
    /// why a value does not fit may hold the value.
    pub async fn evaluate_with_mask<T>(
        &self,
        stored: &StoredFlow,
        variables: &SharedVariables,
        now: Timestamp,
        mut evaluate: impl FnMut(&Environment<'_>) -> ControlFlow<T>,
    ) -> Option<(T, Masker)> {
        let mut known = HashMap::new();
        let seed = rand::random();
        loop {
            let wanted = {
                let world = World {
                    namespace: &stored.namespace,
                    known: &known,
                    wanted: RefCell::default(),
                    parts: RefCell::default(),
                    random: SeededRandom::new(seed),
                    now: now.to_utc(),
                };
                let environment = Environment::new(variables, &world).with_cache(&self.cache);
                match evaluate(&environment) {
                    ControlFlow::Break(value) => return Some((value, world.masker())),
                    ControlFlow::Continue(()) => world.wanted.take(),
                }
            };
            let key = wanted.filter(|_| known.len() < MAX_SECRETS)?;
            let value = self.secrets.secret(&stored.tenant, &key.0, &key.1).await;
            known.insert(key, value);
        }
    }

    /// Renders something; the error is a sentence.
    pub async fn render<T>(
        &self,
        stored: &StoredFlow,
        variables: &SharedVariables,
        now: Timestamp,
        render: impl FnMut(&Environment<'_>) -> Result<T, ExpressionError>,
    ) -> Result<T, String> {
        self.render_with_mask(stored, variables, now, render).await.map(|(value, _)| value)
    }

    /// As [`Templates::render`], with what takes the secrets that were seen out of what is said about the value.
    pub async fn render_with_mask<T>(
        &self,
        stored: &StoredFlow,
        variables: &SharedVariables,
        now: Timestamp,
        mut render: impl FnMut(&Environment<'_>) -> Result<T, ExpressionError>,
    ) -> Result<(T, Masker), String> {
        let rendered = self.evaluate_with_mask(stored, variables, now, |environment| match render(environment) {
            Err(ExpressionError::Needs(_)) => ControlFlow::Continue(()),
            other => ControlFlow::Break(other.map_err(|error| error.to_string())),
        });
        match rendered.await {
            Some((Ok(rendered), masker)) => Ok((rendered, masker)),
            Some((Err(why), masker)) => Err(masker.mask(&why)),
            None => Err("it needs something that is not available here".to_owned()),
        }
    }
}

/// Namespace and name of a secret.
type Key = (String, String);

/// The world as such a template sees it: secrets that are known so far, the time, chance.
struct World<'a> {
    namespace: &'a str,
    known: &'a HashMap<Key, Result<Secret, String>>,
    wanted: RefCell<Option<Key>>,
    /// Parts of secrets that were taken out of them.
    parts: RefCell<Vec<Secret>>,
    random: SeededRandom,
    now: Option<DateTime<Utc>>,
}

impl World<'_> {
    fn masker(&self) -> Masker {
        let whole = self.known.values().filter_map(|secret| secret.as_ref().ok()).cloned();
        Masker::new(whole.chain(self.parts.borrow().iter().cloned()))
    }
}

impl Services for World<'_> {
    fn secret(&self, request: &SecretRequest) -> Result<Option<String>, Interrupt> {
        let namespace = request.namespace.as_deref().unwrap_or(self.namespace);
        let key = (namespace.to_owned(), request.key.to_uppercase());
        match self.known.get(&key) {
            Some(Ok(secret)) => Ok(Some(secret.expose().to_owned())),
            Some(Err(why)) => Err(Interrupt::Failed(why.clone())),
            None => {
                let name = key.1.clone();
                self.wanted.replace(Some(key));
                Err(Interrupt::Needs(name))
            }
        }
    }

    fn mask(&self, text: &str) {
        self.parts.borrow_mut().push(Secret::new(text));
    }

    fn now(&self) -> Result<DateTime<Utc>, Interrupt> {
        self.now.ok_or_else(|| Interrupt::Failed("the clock shows no time of the calendar".into()))
    }

    fn random(&self) -> Result<u64, Interrupt> {
        Ok(self.random.next())
    }
}
