//! What namespaces give to their flows: kept in memory beside the flows, which are compiled with it.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use windhover_flow::{Inherited, PluginDefaults, compile_stored_within};
use windhover_store::{NamespaceRow, NamespaceSettings};
use windhover_types::{Error, ErrorKind, JsonMap, Severity, Tenant, Timestamp, Violation};

use super::{Flow, Flows, Inner, Name, StoredFlow, TenantFlows};

/// Flows that one refusal names.
const SHOWN: usize = 20;

/// What was said of one namespace.
pub(super) struct Said {
    row: NamespaceRow,
    defaults: PluginDefaults,
}

impl Said {
    fn new(row: NamespaceRow) -> Self {
        // What was wrong was refused when it was said; a type that is gone since has no effect.
        let (defaults, _) = PluginDefaults::read(&row.settings.plugin_defaults, "plugin_defaults");
        Self { row, defaults }
    }

    fn is_of(&self, row: &NamespaceRow) -> bool {
        // Settings that were deleted and made again begin with version 1 again.
        self.row.version == row.version && self.row.updated_at == row.updated_at
    }
}

/// What was said of the namespaces of a tenant, by their names.
pub(super) type Settings = HashMap<String, Arc<Said>>;

/// What a flow of this namespace gets.
pub(super) fn inherited(settings: &Settings, server: &PluginDefaults, namespace: &str) -> Inherited {
    if settings.is_empty() && server.is_empty() {
        return Inherited::default();
    }
    let nothing = JsonMap::new();
    let own = lineage(namespace).filter_map(|name| settings.get(name));
    let layers = own.map(|said| (&said.row.settings.variables, &said.defaults));
    Inherited::of(layers.chain(std::iter::once((&nothing, server))))
}

/// A namespace and those above it, the nearest first.
fn lineage(namespace: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(namespace), |name| name.rsplit_once('.').map(|(above, _)| above))
}

/// A stored source with what it gets from around it. Where that spoils it, it is read without the defaults (flow model
/// 1.x reference 1.5); the error is why it cannot be read at all.
pub(super) fn compile(name: impl Fn() -> String, source: &str, around: &Inherited) -> Result<Arc<Flow>, String> {
    let told = |violations: Vec<Violation>| {
        violations.into_iter().map(|violation| violation.message).collect::<Vec<_>>().join("; ")
    };
    match compile_stored_within(source, around) {
        Ok(flow) => Ok(Arc::new(flow)),
        Err(violations) if around.is_empty() => Err(told(violations)),
        Err(violations) => match compile_stored_within(source, &around.without_defaults()) {
            Ok(flow) => {
                let reason = told(violations);
                tracing::warn!(
                    flow = name(),
                    reason,
                    "the plugin defaults of its namespace do not fit: it runs without them"
                );
                Ok(Arc::new(flow))
            }
            Err(_) => Err(told(violations)),
        },
    }
}

/// Settings as they will be, and what is compiled with them.
pub(super) struct Renewal {
    settings: Settings,
    flows: Vec<StoredFlow>,
    /// Of older revisions.
    old: Vec<StoredFlow>,
}

impl Renewal {
    /// Which flows it is about: the newest revisions.
    pub(super) fn names(&self) -> impl Iterator<Item = Name> {
        self.flows.iter().map(|flow| (flow.namespace.clone(), flow.id.clone()))
    }
}

impl TenantFlows {
    /// Compiles what these settings change; `None`: they are those that are known.
    pub(super) fn renewal(&self, rows: Vec<NamespaceRow>, server: &PluginDefaults) -> Option<Renewal> {
        let mut moved: Vec<String> =
            self.settings.keys().filter(|name| rows.iter().all(|row| row.namespace != **name)).cloned().collect();
        let mut settings = Settings::with_capacity(rows.len());
        for row in rows {
            let known = self.settings.get(&row.namespace).filter(|said| said.is_of(&row));
            let said = match known {
                Some(said) => Arc::clone(said),
                None => {
                    moved.push(row.namespace.clone());
                    Arc::new(Said::new(row))
                }
            };
            settings.insert(said.row.namespace.clone(), said);
        }
        if moved.is_empty() {
            return None;
        }
        let again =
            |stored: &&Arc<StoredFlow>| lineage(&stored.namespace).any(|name| moved.iter().any(|moved| moved == name));
        let renewed = |stored: &Arc<StoredFlow>| stored.renewed(&inherited(&settings, server, &stored.namespace));
        let flows = self.latest.values().filter(again).map(renewed).collect();
        let old = self.old.values().filter(again).map(renewed).collect();
        Some(Renewal { settings, flows, old })
    }

    /// Puts it into effect. What was replaced or removed meanwhile stays as it is.
    pub(super) fn renew(&mut self, renewal: Renewal) {
        self.settings = renewal.settings;
        self.stamp += 1;
        for flow in renewal.flows {
            let known = self.latest.get_mut(&(flow.namespace.clone(), flow.id.clone()));
            if let Some(known) = known.filter(|known| known.revision == flow.revision) {
                *known = Arc::new(flow);
            }
        }
        for flow in renewal.old {
            if let Some(known) = self.old.get_mut(&(flow.namespace.clone(), flow.id.clone(), flow.revision)) {
                *known = Arc::new(flow);
            }
        }
        self.find_listeners();
    }
}

impl Inner {
    /// What flows of the namespace get, and the stamp of the settings that it comes from.
    pub(super) fn around(&self, tenant: &Tenant, namespace: &str) -> (Inherited, u64) {
        let tenants = self.tenants.read();
        match tenants.get(tenant) {
            Some(flows) => (inherited(&flows.settings, &self.server, namespace), flows.stamp),
            None => (inherited(&Settings::new(), &self.server, namespace), 0),
        }
    }
}

impl Flows {
    /// What flows of this namespace get from it, from those above, and from the server.
    pub fn inherited(&self, tenant: &Tenant, namespace: &str) -> Inherited {
        self.0.around(tenant, namespace).0
    }

    /// Says something of a namespace, if the version of what was said of it is this one (0: nothing was). In effect in
    /// this process when it returns, in others within a second; batches that were computed under what held before are
    /// computed again. Answers the row and the flows that were compiled anew, or `None` when the version is another one.
    ///
    /// # Errors
    /// NAMESPACE_BREAKS_FLOWS: flows that are good now would not be, with each as a field.
    pub async fn put_namespace(
        &self,
        tenant: &Tenant,
        namespace: &str,
        settings: &NamespaceSettings,
        expected: i64,
    ) -> Result<Option<(NamespaceRow, Vec<(String, String)>)>, Error> {
        let _guard = self.0.changing.lock().await;
        if self.is_followed() {
            self.read_again(tenant).await?;
        }
        self.check_namespace(tenant, namespace, settings)?;
        let version = self.version(tenant);
        if self.0.store.put_namespace(tenant, namespace, settings, Some(expected)).await?.is_none() {
            return Ok(None);
        }
        let rows = self.0.store.all_namespace_settings(tenant).await?;
        let row = rows.iter().find(|row| row.namespace == namespace).cloned();
        let renewed = self.renew(tenant, rows);
        if self.is_followed() {
            self.settle(tenant, version + 1).await;
        }
        let gone = || Error::new(ErrorKind::Unavailable, "UNAVAILABLE", "the namespace was deleted at the same moment");
        Ok(Some((row.ok_or_else(gone)?, renewed)))
    }

    /// Takes over what was read of the settings, under the lock of those who change something.
    pub(super) fn renew(&self, tenant: &Tenant, rows: Vec<NamespaceRow>) -> Vec<Name> {
        let renewal = {
            let tenants = self.0.tenants.read();
            let nothing = TenantFlows::default();
            tenants.get(tenant).unwrap_or(&nothing).renewal(rows, &self.0.server)
        };
        let Some(renewal) = renewal else { return Vec::new() };
        let names = renewal.names().collect();
        self.0.tenants.write().entry(tenant.clone()).or_default().renew(renewal);
        self.0.epoch.fetch_add(1, Ordering::AcqRel);
        names
    }

    /// No flow that is good today may be spoilt by these settings of a namespace.
    ///
    /// # Errors
    /// NAMESPACE_BREAKS_FLOWS, with each as a field.
    pub fn check_namespace(&self, tenant: &Tenant, namespace: &str, settings: &NamespaceSettings) -> Result<(), Error> {
        let (flows, next) = {
            let tenants = self.0.tenants.read();
            let Some(of_tenant) = tenants.get(tenant) else { return Ok(()) };
            let below = |stored: &&Arc<StoredFlow>| lineage(&stored.namespace).any(|name| name == namespace);
            let flows: Vec<_> = of_tenant.latest.values().filter(below).cloned().collect();
            let mut next: Settings = of_tenant.settings.clone();
            let now = Timestamp::from_micros(0);
            let row = NamespaceRow {
                tenant: tenant.clone(),
                namespace: namespace.to_owned(),
                settings: settings.clone(),
                version: 0,
                created_at: now,
                updated_at: now,
            };
            next.insert(namespace.to_owned(), Arc::new(Said::new(row)));
            (flows, next)
        };
        let mut spoilt: Vec<(String, String)> = Vec::new();
        for stored in flows {
            let source = &stored.source;
            let then = inherited(&next, &self.0.server, &stored.namespace);
            let Err(violations) = compile_stored_within(source, &then) else { continue };
            // One that is wrong today is not made worse.
            if compile_stored_within(source, &self.inherited(tenant, &stored.namespace)).is_ok() {
                let why = violations.iter().find(|violation| violation.severity == Severity::Error);
                let why = why.map(|violation| format!("{}: {}", violation.path, violation.message));
                spoilt.push((format!("{}.{}", stored.namespace, stored.id), why.unwrap_or_default()));
            }
        }
        if spoilt.is_empty() {
            return Ok(());
        }
        spoilt.sort();
        let many = if spoilt.len() == 1 { "1 flow".to_owned() } else { format!("{} flows", spoilt.len()) };
        let message = format!("{many} of the namespace would be wrong with these settings");
        let error = Error::new(ErrorKind::FailedPrecondition, "NAMESPACE_BREAKS_FLOWS", message);
        Err(spoilt.into_iter().take(SHOWN).fold(error, |error, (flow, why)| error.field(flow, why)))
    }

    /// Changes with every change of the settings of the tenant's namespaces; 0: nothing was ever said of any.
    pub fn settings_stamp(&self, tenant: &Tenant) -> u64 {
        self.0.tenants.read().get(tenant).map_or(0, |flows| flows.stamp)
    }

    /// Changes whenever flows were compiled anew because of what their namespaces say: who keeps a [`StoredFlow`] for
    /// long looks for it again.
    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::Acquire)
    }
}
