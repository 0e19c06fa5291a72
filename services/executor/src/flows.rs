//! Flow definitions in memory: compiled once per revision and for what their namespaces say, the newest of every flow,
//! and who listens to whom.

mod namespaces;
mod resolver;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use windhover_engine::FoundFlow;
use windhover_flow::{Flow, Inherited, Mention, PluginDefaults, TriggerKind, Validation};
use windhover_store::{FlowRow, PutOutcome, Store};
use windhover_telemetry::{ExecutionMetrics, Metrics};
use windhover_types::{Error, ErrorKind, Severity, Tenant, Timestamp, Violation};

/// A stored revision of a flow.
pub struct StoredFlow {
    pub tenant: Tenant,
    pub namespace: String,
    pub id: String,
    pub revision: u32,
    pub source: Arc<str>,
    pub created_at: Timestamp,
    pub etag: String,
    /// Why the source can no longer be compiled, if so.
    pub flow: Result<Arc<Flow>, String>,
    /// Handles of its metrics, so that no labels are built per execution.
    metrics: OnceLock<Arc<ExecutionMetrics>>,
}

impl std::fmt::Debug for StoredFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredFlow({}/{}.{} revision {})", self.tenant, self.namespace, self.id, self.revision)
    }
}

impl StoredFlow {
    pub(crate) fn as_found(&self) -> FoundFlow {
        FoundFlow { revision: self.revision, flow: self.flow.clone() }
    }

    pub(crate) fn metrics(&self, metrics: &Metrics) -> &ExecutionMetrics {
        self.metrics.get_or_init(|| {
            let labels = self.flow.as_ref().map(|flow| flow.labels.as_slice()).unwrap_or_default();
            metrics.execution(&self.tenant, &self.namespace, &self.id, labels)
        })
    }

    fn from_row(row: FlowRow, around: &Inherited) -> Self {
        let name = || format!("{}/{}.{} revision {}", row.tenant, row.namespace, row.id, row.revision);
        let flow = namespaces::compile(name, &row.source, around);
        let etag = etag_of(row.revision, &row.source);
        Self {
            tenant: row.tenant,
            namespace: row.namespace,
            id: row.id,
            revision: row.revision,
            source: row.source.into(),
            created_at: row.created_at,
            etag,
            flow,
            metrics: OnceLock::new(),
        }
    }

    /// The same revision with what its namespace says now.
    fn renewed(&self, around: &Inherited) -> Self {
        Self {
            tenant: self.tenant.clone(),
            namespace: self.namespace.clone(),
            id: self.id.clone(),
            revision: self.revision,
            source: Arc::clone(&self.source),
            created_at: self.created_at,
            etag: self.etag.clone(),
            flow: namespaces::compile(|| format!("{self:?}"), &self.source, around),
            metrics: OnceLock::new(),
        }
    }
}

/// What must be true of the stored flow for [`Flows::apply`] to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Expect {
    #[default]
    Any,
    /// No flow of this name may exist.
    Create,
    /// The source must be that of this flow, which must exist.
    Update { namespace: String, id: String },
}

#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// Answer as if it were stored, and store nothing.
    pub validate_only: bool,
    /// ABORTED when the stored flow has another one.
    pub etag: Option<String>,
    pub expect: Expect,
    /// Worker groups that the tenant may not use: a flow that names one is refused.
    pub denied_groups: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Created,
    Updated,
    Unchanged,
}

/// Answer to [`Flows::apply`].
#[derive(Debug, Clone)]
pub struct Applied {
    pub namespace: String,
    pub id: String,
    pub revision: u32,
    pub outcome: Outcome,
    pub etag: String,
    pub warnings: Vec<Violation>,
    /// Worker groups that it names.
    pub worker_groups: Vec<Mention>,
}

/// Old revisions that are kept compiled per tenant.
const OLD_REVISIONS: usize = 1_000;
/// How often a process among others looks whether flows were changed elsewhere.
const LOOK: Duration = Duration::from_secs(1);

/// Namespace and id of a flow.
pub(crate) type Name = (String, String);

#[derive(Default)]
struct TenantFlows {
    /// The tenant's version of flows that `latest` has at least.
    version: i64,
    latest: HashMap<Name, Arc<StoredFlow>>,
    old: BTreeMap<(String, String, u32), Arc<StoredFlow>>,
    /// Enabled flows with an enabled Flow trigger, in order of their names.
    listeners: Arc<Vec<Arc<StoredFlow>>>,
    /// What was said of namespaces.
    settings: namespaces::Settings,
    /// Changes with them.
    stamp: u64,
}

impl TenantFlows {
    fn set_latest(&mut self, flow: Arc<StoredFlow>) {
        let name = (flow.namespace.clone(), flow.id.clone());
        if let Some(before) = self.latest.insert(name, Arc::clone(&flow))
            && before.revision != flow.revision
        {
            self.keep_old(before);
        }
        self.find_listeners();
    }

    fn keep_old(&mut self, flow: Arc<StoredFlow>) {
        if self.old.len() >= OLD_REVISIONS {
            self.old.pop_first();
        }
        self.old.insert((flow.namespace.clone(), flow.id.clone(), flow.revision), flow);
    }

    fn find_listeners(&mut self) {
        let listens = |stored: &&Arc<StoredFlow>| {
            stored.flow.as_ref().is_ok_and(|flow| {
                !flow.disabled
                    && flow
                        .triggers
                        .iter()
                        .any(|trigger| !trigger.disabled && matches!(trigger.kind, TriggerKind::Flow(_)))
            })
        };
        let mut found: Vec<_> = self.latest.values().filter(listens).cloned().collect();
        found.sort_by(|a, b| (&a.namespace, &a.id).cmp(&(&b.namespace, &b.id)));
        self.listeners = Arc::new(found);
    }
}

struct Inner {
    store: Store,
    /// Plugin defaults of the server itself.
    server: PluginDefaults,
    /// Raised when flows are compiled anew because of what their namespaces say.
    epoch: AtomicU64,
    tenants: RwLock<HashMap<Tenant, TenantFlows>>,
    /// One change at a time, so that what is in memory follows the order of the store.
    changing: Mutex<()>,
    /// Other processes change flows too.
    followed: AtomicBool,
}

/// Flow definitions, per tenant; shared by gateway, executor and workers of a process.
#[derive(Clone)]
pub struct Flows(Arc<Inner>);

impl Flows {
    /// Reads the newest revision of every flow.
    pub async fn load(store: Store) -> Result<Self, Error> {
        Self::load_with(store, PluginDefaults::default()).await
    }

    /// The same, with plugin defaults that the server gives to every flow of every tenant.
    pub async fn load_with(store: Store, server: PluginDefaults) -> Result<Self, Error> {
        // Versions first: what is read after them is at least as new.
        let version = |(tenant, version)| (tenant, TenantFlows { version, ..TenantFlows::default() });
        let mut tenants: HashMap<Tenant, TenantFlows> = store.flow_versions().await?.into_iter().map(version).collect();
        let mut said: HashMap<Tenant, Vec<_>> = HashMap::new();
        for row in store.all_tenants_namespace_settings().await? {
            said.entry(row.tenant.clone()).or_default().push(row);
        }
        for (tenant, rows) in said {
            let flows = tenants.entry(tenant).or_default();
            if let Some(renewal) = flows.renewal(rows, &server) {
                flows.renew(renewal);
            }
        }
        for row in store.all_latest_flows().await? {
            let flows = tenants.entry(row.tenant.clone()).or_default();
            let around = namespaces::inherited(&flows.settings, &server, &row.namespace);
            let flow = Arc::new(StoredFlow::from_row(row, &around));
            flows.latest.insert((flow.namespace.clone(), flow.id.clone()), flow);
        }
        tenants.values_mut().for_each(TenantFlows::find_listeners);
        Ok(Self(Arc::new(Inner {
            store,
            server,
            epoch: AtomicU64::new(0),
            tenants: RwLock::new(tenants),
            changing: Mutex::new(()),
            followed: AtomicBool::new(false),
        })))
    }

    /// From now on other processes may change flows: looks each second whether they did, for as long as anybody holds
    /// these flows. Called again it does nothing. Needs a runtime.
    pub fn follow(&self) {
        if !self.0.followed.swap(true, Ordering::AcqRel) {
            tokio::spawn(follow(Arc::downgrade(&self.0)));
        }
    }

    /// The tenant's version of flows that is in memory, or an older one; for the batches that rely on it.
    pub fn version(&self, tenant: &Tenant) -> i64 {
        self.0.tenants.read().get(tenant).map_or(0, |flows| flows.version)
    }

    /// Looks now whether the tenant's flows were changed elsewhere; in effect when it returns. `true`: something was.
    pub async fn sync(&self, tenant: &Tenant) -> Result<bool, Error> {
        Ok(!self.refresh(tenant).await?.is_empty())
    }

    /// The same; answers the flows that are new, changed or gone, also by what their namespaces say.
    pub(crate) async fn refresh(&self, tenant: &Tenant) -> Result<HashSet<Name>, Error> {
        if self.0.store.tenant_version(tenant).await? == self.version(tenant) {
            return Ok(HashSet::new());
        }
        let _guard = self.0.changing.lock().await;
        self.read_again(tenant).await
    }

    /// Under the lock of those who change something.
    async fn read_again(&self, tenant: &Tenant) -> Result<HashSet<Name>, Error> {
        let version = self.0.store.tenant_version(tenant).await?;
        if version == self.version(tenant) {
            return Ok(HashSet::new());
        }
        let stored: HashMap<Name, u32> = (self.0.store.latest_revisions(tenant).await?.into_iter())
            .map(|(namespace, id, revision)| ((namespace, id), revision))
            .collect();
        let (mut changed, mut gone, mut wanted) = (HashSet::new(), Vec::new(), Vec::new());
        {
            let tenants = self.0.tenants.read();
            let known = tenants.get(tenant).map(|flows| &flows.latest);
            let revision = |name: &Name| known?.get(name).map(|flow| flow.revision);
            wanted.extend(stored.iter().filter(|(name, stored)| revision(name) != Some(**stored)));
            let known = known.into_iter().flat_map(HashMap::keys);
            gone.extend(known.filter(|name| !stored.contains_key(*name)).cloned());
        }
        let rows = self.0.store.all_namespace_settings(tenant).await?;
        changed.extend(self.renew(tenant, rows));
        let mut found = Vec::with_capacity(wanted.len());
        // One by one: most often it is one.
        for (name, revision) in wanted {
            // Gone since: the next look tells of it.
            let Some(row) = self.0.store.get_flow(tenant, &name.0, &name.1, Some(*revision)).await? else { continue };
            let around = self.inherited(tenant, &row.namespace);
            found.push(StoredFlow::from_row(row, &around));
        }
        let mut tenants = self.0.tenants.write();
        let flows = tenants.entry(tenant.clone()).or_default();
        for name in gone {
            if let Some(before) = flows.latest.remove(&name) {
                flows.keep_old(before);
            }
            changed.insert(name);
        }
        for flow in found {
            let flow = Arc::new(flow);
            let name = (flow.namespace.clone(), flow.id.clone());
            if let Some(before) = flows.latest.insert(name.clone(), flow) {
                flows.keep_old(before);
            }
            changed.insert(name);
        }
        flows.version = version;
        flows.find_listeners();
        Ok(changed)
    }

    /// After a change of this process: nobody else's came in between, or everything is read again. The store has it
    /// already; what cannot be read now the next look finds.
    async fn settle(&self, tenant: &Tenant, expected: i64) {
        match self.0.store.tenant_version(tenant).await {
            Ok(version) if version == expected => {
                self.0.tenants.write().entry(tenant.clone()).or_default().version = version;
            }
            Ok(_) => {
                if let Err(error) = self.read_again(tenant).await {
                    tracing::warn!(%tenant, %error, "changed flows cannot be read yet");
                }
            }
            Err(error) => tracing::warn!(%tenant, %error, "the version of flows cannot be read yet"),
        }
    }

    fn is_followed(&self) -> bool {
        self.0.followed.load(Ordering::Acquire)
    }

    /// From memory alone; `None` may also mean that it has to be fetched.
    pub fn cached(&self, tenant: &Tenant, namespace: &str, id: &str, revision: Option<u32>) -> Option<Arc<StoredFlow>> {
        let tenants = self.0.tenants.read();
        let flows = tenants.get(tenant)?;
        let latest = flows.latest.get(&(namespace.to_owned(), id.to_owned()));
        match (latest, revision) {
            (Some(latest), None) => Some(Arc::clone(latest)),
            (Some(latest), Some(revision)) if latest.revision == revision => Some(Arc::clone(latest)),
            (_, Some(revision)) => flows.old.get(&(namespace.to_owned(), id.to_owned(), revision)).cloned(),
            (None, None) => None,
        }
    }

    /// `None`: no such flow, or it was deleted. Without a revision the newest.
    pub async fn get(
        &self,
        tenant: &Tenant,
        namespace: &str,
        id: &str,
        revision: Option<u32>,
    ) -> Result<Option<Arc<StoredFlow>>, Error> {
        if let Some(found) = self.cached(tenant, namespace, id, revision) {
            return Ok(Some(found));
        }
        let Some(revision) = revision else {
            // Made a moment ago by another process, perhaps.
            if !self.is_followed() {
                return Ok(None);
            }
            // Also when there was nothing new: somebody else may have read it since the look above.
            self.sync(tenant).await?;
            return Ok(self.cached(tenant, namespace, id, None));
        };
        let Some(row) = self.0.store.get_flow(tenant, namespace, id, Some(revision)).await? else { return Ok(None) };
        let (around, stamp) = self.0.around(tenant, namespace);
        let flow = Arc::new(StoredFlow::from_row(row, &around));
        let mut tenants = self.0.tenants.write();
        let flows = tenants.entry(tenant.clone()).or_default();
        // Compiled under settings that have changed meanwhile it is good for this once.
        if flows.stamp == stamp {
            flows.keep_old(Arc::clone(&flow));
        }
        Ok(Some(flow))
    }

    /// Flows of the tenant that listen to executions of others.
    pub fn listeners(&self, tenant: &Tenant) -> Arc<Vec<Arc<StoredFlow>>> {
        self.0.tenants.read().get(tenant).map(|flows| Arc::clone(&flows.listeners)).unwrap_or_default()
    }

    /// The newest revision of every flow of the tenant, by name.
    pub fn latest(&self, tenant: &Tenant) -> Vec<Arc<StoredFlow>> {
        let tenants = self.0.tenants.read();
        let mut found: Vec<_> =
            tenants.get(tenant).into_iter().flat_map(|flows| flows.latest.values()).cloned().collect();
        found.sort_by(|a, b| (&a.namespace, &a.id).cmp(&(&b.namespace, &b.id)));
        found
    }

    /// Every flow of the tenant with a webhook.
    pub fn webhooks(&self, tenant: &Tenant) -> Vec<Arc<StoredFlow>> {
        let has_webhook = |stored: &&Arc<StoredFlow>| {
            stored
                .flow
                .as_ref()
                .is_ok_and(|flow| flow.triggers.iter().any(|trigger| matches!(trigger.kind, TriggerKind::Webhook(_))))
        };
        let tenants = self.0.tenants.read();
        let mut found: Vec<_> = tenants
            .get(tenant)
            .into_iter()
            .flat_map(|flows| flows.latest.values())
            .filter(has_webhook)
            .cloned()
            .collect();
        found.sort_by(|a, b| (&a.namespace, &a.id).cmp(&(&b.namespace, &b.id)));
        found
    }

    /// Validates the source and stores a revision if something changed. In effect everywhere in this process when it
    /// returns. Errors: INVALID_FLOW or UNSUPPORTED with every violation, FLOW_EXISTS, FLOW_NOT_FOUND, ETAG_MISMATCH.
    pub async fn apply(&self, tenant: &Tenant, source: &str, options: ApplyOptions) -> Result<Applied, Error> {
        let stamp = self.settings_stamp(tenant);
        let mut validation = self.validate(tenant, source);
        let _guard = self.0.changing.lock().await;
        if self.is_followed() {
            self.read_again(tenant).await?;
        }
        if self.settings_stamp(tenant) != stamp {
            validation = self.validate(tenant, source);
        }
        let worker_groups = std::mem::take(&mut validation.worker_groups);
        validation.violations.extend(denied(&worker_groups, &options.denied_groups));
        let (errors, warnings): (Vec<_>, Vec<_>) =
            validation.violations.into_iter().partition(|violation| violation.severity == Severity::Error);
        let Some(flow) = validation.flow.filter(|_| errors.is_empty()) else { return Err(invalid_flow(&errors)) };
        let (namespace, id) = (flow.namespace.clone(), flow.id.clone());
        if let Expect::Update { namespace: expected_namespace, id: expected_id } = &options.expect {
            let mut error = Error::new(ErrorKind::InvalidArgument, "INVALID_FLOW", "an update cannot rename a flow");
            if *expected_id != id {
                error = error.field("source id", format!("illegal flow id update: the flow is `{expected_id}`"));
            }
            if *expected_namespace != namespace {
                error =
                    error.field("source namespace", format!("illegal namespace update: it is `{expected_namespace}`"));
            }
            if !error.fields.is_empty() {
                return Err(error);
            }
        }
        let version = self.version(tenant);
        let current = self.cached(tenant, &namespace, &id, None);
        check_expectations(current.as_deref(), &options, &namespace, &id)?;
        if options.validate_only {
            let (revision, outcome) = match &current {
                Some(stored) if *stored.source == *source => (stored.revision, Outcome::Unchanged),
                Some(stored) => (stored.revision + 1, Outcome::Updated),
                None => (1, Outcome::Created),
            };
            let etag = etag_of(revision, source);
            return Ok(Applied { etag, namespace, id, revision, outcome, warnings, worker_groups });
        }
        let put = self.0.store.put_flow(tenant, &namespace, &id, source).await?;
        let outcome = match put.outcome {
            PutOutcome::Created => Outcome::Created,
            PutOutcome::Updated => Outcome::Updated,
            PutOutcome::Unchanged => Outcome::Unchanged,
        };
        let etag = etag_of(put.revision, source);
        let stored = Arc::new(StoredFlow {
            tenant: tenant.clone(),
            namespace: namespace.clone(),
            id: id.clone(),
            revision: put.revision,
            source: source.into(),
            created_at: put.created_at,
            etag: etag.clone(),
            flow: Ok(Arc::new(flow)),
            metrics: OnceLock::new(),
        });
        // Also when a call before was cut off between the store and here.
        if current.is_none_or(|before| before.revision != put.revision) {
            self.0.tenants.write().entry(tenant.clone()).or_default().set_latest(stored);
        }
        if self.is_followed() {
            self.settle(tenant, version + i64::from(outcome != Outcome::Unchanged)).await;
        }
        Ok(Applied { namespace, id, revision: put.revision, outcome, etag, warnings, worker_groups })
    }

    /// Says what is wrong with a source, with what the namespace that it names gives to its flows.
    pub fn validate(&self, tenant: &Tenant, source: &str) -> Validation {
        windhover_flow::validate_within(source, &|namespace| self.inherited(tenant, namespace))
    }

    /// Writes a tombstone; answers its revision. FLOW_NOT_FOUND when there is no such flow.
    pub async fn delete(&self, tenant: &Tenant, namespace: &str, id: &str) -> Result<u32, Error> {
        let _guard = self.0.changing.lock().await;
        if self.is_followed() {
            self.read_again(tenant).await?;
        }
        let version = self.version(tenant);
        let deleted = self.0.store.delete_flow(tenant, namespace, id).await?;
        // Whatever the store says: a call before may have been cut off between it and here.
        if let Some(flows) = self.0.tenants.write().get_mut(tenant) {
            if let Some(before) = flows.latest.remove(&(namespace.to_owned(), id.to_owned())) {
                flows.keep_old(before);
            }
            flows.find_listeners();
        }
        if self.is_followed() {
            self.settle(tenant, version + i64::from(deleted.is_some())).await;
        }
        deleted.ok_or_else(|| flow_not_found(namespace, id))
    }
}

/// Looks at the tenants' versions until nobody holds the flows any more.
async fn follow(flows: Weak<Inner>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(flows) = flows.upgrade().map(Flows) else { return };
        let stored = match flows.0.store.flow_versions().await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::debug!(%error, "the versions of flows cannot be read");
                continue;
            }
        };
        for (tenant, version) in stored {
            if version != flows.version(&tenant)
                && let Err(error) = flows.refresh(&tenant).await
            {
                tracing::warn!(%tenant, %error, "changed flows cannot be read; trying again");
            }
        }
    }
}

/// What is wrong with naming worker groups that are denied to the tenant.
pub fn denied(named: &[Mention], groups: &[String]) -> Vec<Violation> {
    let refused = named.iter().filter(|named| groups.contains(&named.name));
    let violation = |named: &Mention| Violation {
        severity: Severity::Error,
        path: named.path.clone(),
        line: named.line,
        column: named.column,
        message: format!("the worker group `{}` is denied to this tenant", named.name),
        suggestion: None,
        unsupported: false,
    };
    refused.map(violation).collect()
}

fn check_expectations(
    current: Option<&StoredFlow>,
    options: &ApplyOptions,
    namespace: &str,
    id: &str,
) -> Result<(), Error> {
    match (&options.expect, current) {
        (Expect::Create, Some(_)) => {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "FLOW_EXISTS",
                format!("the flow {namespace}.{id} already exists"),
            )
            .field("source id", "a flow of this name already exists"));
        }
        (Expect::Update { .. }, None) => return Err(flow_not_found(namespace, id)),
        _ => {}
    }
    let stored_etag = current.map_or("", |stored| stored.etag.as_str());
    match &options.etag {
        Some(etag) if !etag.is_empty() && etag != stored_etag => {
            Err(Error::new(ErrorKind::Aborted, "ETAG_MISMATCH", "the flow was changed since it was read")
                .with("etag", stored_etag))
        }
        _ => Ok(()),
    }
}

pub(crate) fn flow_not_found(namespace: &str, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, "FLOW_NOT_FOUND", format!("there is no flow {namespace}.{id}"))
}

/// All violations in one error; UNSUPPORTED only when nothing else is wrong.
fn invalid_flow(errors: &[Violation]) -> Error {
    let unsupported = !errors.is_empty() && errors.iter().all(|violation| violation.unsupported);
    let (kind, reason) = if unsupported {
        (ErrorKind::Unimplemented, "UNSUPPORTED")
    } else {
        (ErrorKind::InvalidArgument, "INVALID_FLOW")
    };
    let mut message = String::from(if unsupported { "Unsupported flow: " } else { "Invalid flow: " });
    let lines: Vec<String> = errors
        .iter()
        .map(|v| match v.path.as_str() {
            "" => v.message.clone(),
            path => format!("{path}: {}", v.message),
        })
        .collect();
    message.push_str(&lines.join("\n"));
    errors.iter().fold(Error::new(kind, reason, message), |error, violation| {
        let place = match violation.line {
            0 => "source".to_owned(),
            line => format!("source:{line}:{}", violation.column),
        };
        let field = if violation.path.is_empty() { place } else { format!("{place} {}", violation.path) };
        let description = match &violation.suggestion {
            Some(suggestion) => format!("{}; did you mean `{suggestion}`?", violation.message),
            None => violation.message.clone(),
        };
        error.field(field, description)
    })
}

fn etag_of(revision: u32, source: &str) -> String {
    let digest = Sha256::digest(source.as_bytes());
    let short: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{revision}-{short}")
}
