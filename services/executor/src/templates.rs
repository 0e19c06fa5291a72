//! Templates that are rendered without a step of an execution: defaults of inputs, keys of webhooks, conditions and
//! inputs of webhooks, schedules and polling triggers. They see the flow, secrets, key-value stores and files, and may
//! call servers.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ops::ControlFlow,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use windhover_engine::{Answer, HttpQuestion, Question};
use windhover_expression::{
    Environment, ExpressionError, FileAnswer, FileInfo, FileRef, HttpAnswer, HttpCall, Interrupt, KvAnswer, KvRequest,
    SecretRequest, SeededRandom, Services, SharedVariables, TemplateCache, Zone,
};
use windhover_flow::Flow;
use windhover_types::{Cipher, JsonMap, Masker, Secret, Tenant, Timestamp, has_sealed, nested_labels, open_all};

use crate::{NoWorld, SecretSource, StoredFlow, WorldSource};

/// Secrets and other facts that one template may ask for.
const MAX_FACTS: usize = 64;

/// What all templates of a gateway or scheduler have in common.
pub struct Templates {
    secrets: Arc<dyn SecretSource>,
    world: Arc<dyn WorldSource>,
    /// `envs`, `globals` and the like.
    globals: Vec<(String, Arc<Json>)>,
    timezone: Zone,
    cache: TemplateCache,
}

impl Templates {
    pub fn new(secrets: Arc<dyn SecretSource>, globals: JsonMap) -> Self {
        let globals = globals.into_iter().map(|(name, value)| (name, Arc::new(value))).collect();
        let (world, timezone) = (Arc::new(NoWorld), Zone::default());
        Self { secrets, world, globals, timezone, cache: TemplateCache::default() }
    }

    /// Lets them ask key-value stores, files and servers.
    #[must_use]
    pub fn with_world(mut self, world: Arc<dyn WorldSource>) -> Self {
        self.world = world;
        self
    }

    /// The server's time zone; UTC unless it is said.
    #[must_use]
    pub fn in_zone(mut self, timezone: Zone) -> Self {
        self.timezone = timezone;
        self
    }

    /// What seals and opens values of type SECRET of a tenant; the error is a sentence.
    pub async fn cipher(&self, tenant: &Tenant) -> Result<Arc<dyn Cipher>, String> {
        match self.secrets.known_cipher(tenant) {
            Some(cipher) => Ok(cipher),
            None => self.secrets.cipher(tenant).await,
        }
    }

    /// Opens whatever is sealed in a document, for templates that read it; answers what it was.
    ///
    /// # Errors
    /// A sentence: there is no key, or a value was changed.
    pub async fn open(&self, tenant: &Tenant, document: &mut Json) -> Result<Vec<Secret>, String> {
        let mut secrets = Vec::new();
        if has_sealed(document) {
            let cipher = self.cipher(tenant).await?;
            open_all(document, &mut |text: &str| {
                let opened = cipher.open(text)?;
                secrets.extend(opened.clone());
                Ok::<_, String>(opened)
            })?;
        }
        Ok(secrets)
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
        if !flow.namespace_variables.is_empty() {
            variables.set_json("namespace", Arc::new(Json::Object(flow.namespace_variables.as_ref().clone())));
        }
        variables.set_json("vars", Arc::new(Json::Object(flow.variables.clone())));
        variables.set_json("labels", Arc::new(Json::Object(nested_labels(&flow.labels))));
        if let Some(trigger) = trigger {
            variables.set_json("trigger", Arc::new(Json::Object(trigger.clone())));
        }
        variables
    }

    /// Evaluates until everything that is asked for is there: `evaluate` answers `Continue` when it needs a fact.
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
        let mut known = Known::default();
        let seed = rand::random();
        loop {
            let wanted = {
                let world = World {
                    namespace: &stored.namespace,
                    known: &known,
                    wanted: RefCell::default(),
                    parts: RefCell::default(),
                    random: SeededRandom::new(seed),
                    ports: Cell::new(0),
                    now: now.to_utc(),
                    timezone: self.timezone,
                };
                let environment = Environment::new(variables, &world).with_cache(&self.cache);
                match evaluate(&environment) {
                    ControlFlow::Break(value) => return Some((value, world.masker())),
                    ControlFlow::Continue(()) => world.wanted.take(),
                }
            };
            match wanted.filter(|_| known.secrets.len() + known.answers.len() < MAX_FACTS)? {
                Wanted::Secret(key) => {
                    let value = self.secrets.secret(&stored.tenant, &key.0, &key.1).await;
                    known.secrets.insert(key, value);
                }
                Wanted::Cipher => known.cipher = Some(self.secrets.cipher(&stored.tenant).await),
                Wanted::World(question) => {
                    let answer = self.world.answer(&stored.tenant, &question).await;
                    known.answers.insert(question, answer);
                }
            }
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

/// What was looked up for one evaluation.
#[derive(Default)]
struct Known {
    secrets: HashMap<Key, Result<Secret, String>>,
    answers: HashMap<Question, Answer>,
    /// What seals and opens values of the tenant.
    cipher: Option<Result<Arc<dyn Cipher>, String>>,
}

/// What an evaluation stopped for.
enum Wanted {
    Secret(Key),
    Cipher,
    World(Question),
}

/// The world as such a template sees it: what is known of it so far, the time, chance.
struct World<'a> {
    namespace: &'a str,
    known: &'a Known,
    wanted: RefCell<Option<Wanted>>,
    /// Parts of secrets that were taken out of them.
    parts: RefCell<Vec<Secret>>,
    random: SeededRandom,
    /// How many ports were asked for.
    ports: Cell<u32>,
    now: Option<DateTime<Utc>>,
    timezone: Zone,
}

impl World<'_> {
    fn masker(&self) -> Masker {
        let whole = self.known.secrets.values().filter_map(|secret| secret.as_ref().ok()).cloned();
        Masker::new(whole.chain(self.parts.borrow().iter().cloned()))
    }

    fn cipher(&self) -> Result<&dyn Cipher, Interrupt> {
        match &self.known.cipher {
            Some(Ok(cipher)) => Ok(cipher.as_ref()),
            Some(Err(why)) => Err(Interrupt::Failed(why.clone())),
            None => {
                self.wanted.replace(Some(Wanted::Cipher));
                Err(Interrupt::Needs("the keys of the tenant".to_owned()))
            }
        }
    }

    /// The answer that is known; else the evaluation stops for it.
    fn ask<T>(&self, question: Question, pick: impl Fn(&Answer) -> Option<Result<T, String>>) -> Result<T, Interrupt> {
        match self.known.answers.get(&question).and_then(pick) {
            Some(answer) => answer.map_err(Interrupt::Failed),
            None => {
                self.wanted.replace(Some(Wanted::World(question)));
                Err(Interrupt::Needs("what a function asks for".to_owned()))
            }
        }
    }
}

impl Services for World<'_> {
    fn secret(&self, request: &SecretRequest) -> Result<Option<String>, Interrupt> {
        let namespace = request.namespace.as_deref().unwrap_or(self.namespace);
        let key = (namespace.to_owned(), request.key.to_uppercase());
        match self.known.secrets.get(&key) {
            Some(Ok(secret)) => Ok(Some(secret.expose().to_owned())),
            Some(Err(why)) => Err(Interrupt::Failed(why.clone())),
            None => {
                let name = key.1.clone();
                self.wanted.replace(Some(Wanted::Secret(key)));
                Err(Interrupt::Needs(name))
            }
        }
    }

    fn kv(&self, request: &KvRequest) -> Result<KvAnswer, Interrupt> {
        self.ask(Question::KeyValue(request.clone()), Answer::key_value)
    }

    fn read(&self, file: &FileRef) -> Result<FileAnswer<String>, Interrupt> {
        self.ask(Question::Content(file.clone()), Answer::content)
    }

    fn file_info(&self, file: &FileRef, _function: &str) -> Result<FileAnswer<FileInfo>, Interrupt> {
        self.ask(Question::Info(file.clone()), Answer::info)
    }

    fn http(&self, call: &HttpCall) -> Result<HttpAnswer, Interrupt> {
        self.ask(Question::Http(HttpQuestion::of(call)?), Answer::http)
    }

    fn random_port(&self) -> Result<u16, Interrupt> {
        let nth = self.ports.get();
        self.ports.set(nth + 1);
        self.ask(Question::FreePort { task_run: String::new(), nth }, Answer::free_port)
    }

    fn seal(&self, value: &str) -> Result<String, Interrupt> {
        self.cipher()?.seal(&Secret::new(value)).map_err(Interrupt::Failed)
    }

    fn open(&self, sealed: &str) -> Result<Option<String>, Interrupt> {
        let opened = self.cipher()?.open(sealed).map_err(Interrupt::Failed)?;
        self.parts.borrow_mut().extend(opened.clone());
        Ok(opened.map(|secret| secret.expose().to_owned()))
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

    fn timezone(&self) -> Zone {
        self.timezone
    }
}
