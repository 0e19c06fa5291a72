//! The metrics of Windhover, under Kestra's names.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use windhover_types::{Label, Tenant, label_value};

use super::{Counter, ExecutionMetrics, Gauge, Registry, TaskMetrics, Timer, names, process, published};

/// Settings of metrics (operations reference 1.1).
#[derive(Debug, Clone)]
pub struct MetricsConfig {
    /// `kestra.metrics.prefix`; `None` or empty: no prefix. Default: `kestra`.
    pub prefix: Option<String>,
    /// `kestra.metrics.tags`, `micronaut.metrics.tags`: on every series.
    pub tags: Vec<(String, String)>,
    /// `kestra.metrics.labels`: keys of execution labels that become tags `label_<key>`.
    pub labels: Vec<String>,
    /// Tenants that get a label value of their own; the rest are `other`. Default: 500.
    pub max_tenants: usize,
    /// Series of one name. Default: 20,000.
    pub max_series: usize,
    /// `micronaut.metrics.export.prometheus.step`: how long a maximum is remembered. Default: 1 min.
    pub step: Duration,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            prefix: Some("kestra".to_owned()),
            tags: Vec::new(),
            labels: Vec::new(),
            max_tenants: 500,
            max_series: 20_000,
            step: Duration::from_secs(60),
        }
    }
}

/// The process's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    /// With its dot.
    prefix: Arc<str>,
    labels: Vec<String>,
    max_tenants: usize,
    tenants: Mutex<HashSet<Tenant>>,
    executions: RwLock<Cache<ExecutionMetrics>>,
    tasks: RwLock<Cache<TaskMetrics>>,
}

type Cache<T> = HashMap<Vec<String>, Arc<T>, ahash::RandomState>;

/// How many flows' handles are kept; beyond it they are made again, which costs and loses nothing.
const MAX_CACHED: usize = 50_000;

/// Gauges of a worker, for autoscaling.
#[derive(Clone)]
pub struct WorkerMetrics {
    pub threads: Gauge,
    pub pending: Gauge,
    pub running: Gauge,
}

impl Metrics {
    pub fn new(config: MetricsConfig) -> Self {
        let registry = Registry::new(config.tags, config.max_series, config.step);
        let prefix =
            config.prefix.filter(|prefix| !prefix.is_empty()).map_or_else(String::new, |prefix| format!("{prefix}."));
        process::register(&registry);
        let inner = Inner {
            registry,
            prefix: prefix.into(),
            labels: config.labels,
            max_tenants: config.max_tenants,
            tenants: Mutex::default(),
            executions: RwLock::default(),
            tasks: RwLock::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The metrics of this process: made by the first call, which also takes what libraries publish through the
    /// `metrics` crate. Later calls answer the same, whatever their settings.
    pub fn install(config: MetricsConfig) -> Self {
        static INSTALLED: OnceLock<Metrics> = OnceLock::new();
        let install = || {
            let installed = Self::new(config);
            published::install();
            installed
        };
        INSTALLED.get_or_init(install).clone()
    }

    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Handles for the executions of a flow. `labels` are the execution's; they matter only when the settings name
    /// label keys.
    pub fn execution(
        &self,
        tenant: &Tenant,
        namespace: &str,
        flow_id: &str,
        labels: &[Label],
    ) -> Arc<ExecutionMetrics> {
        let values = self.inner.labels.iter().map(|key| label_value(labels, key).unwrap_or("__none__").to_owned());
        let mut key = vec![tenant.as_str().to_owned(), namespace.to_owned(), flow_id.to_owned()];
        key.extend(values);
        cached(&self.inner.executions, key, |key| {
            let label_tags =
                self.inner.labels.iter().zip(&key[3..]).map(|(name, value)| (format!("label_{name}"), value.clone()));
            let tags = self.flow_tags(tenant, namespace, flow_id);
            ExecutionMetrics::new(self.inner.registry.clone(), self.inner.prefix.clone(), tags, label_tags.collect())
        })
    }

    /// Handles for a task type of a flow on a worker.
    pub fn task(
        &self,
        tenant: &Tenant,
        namespace: &str,
        flow_id: &str,
        task_type: &str,
        worker_group: Option<&str>,
    ) -> Arc<TaskMetrics> {
        let group = worker_group.unwrap_or_default();
        let key = [tenant.as_str(), namespace, flow_id, task_type, group].map(str::to_owned).to_vec();
        cached(&self.inner.tasks, key, |_| {
            let mut tags = self.flow_tags(tenant, namespace, flow_id);
            tags.push(("task_type".to_owned(), task_type.to_owned()));
            if !group.is_empty() {
                tags.push(("worker_group".to_owned(), group.to_owned()));
            }
            TaskMetrics::new(self.inner.registry.clone(), self.inner.prefix.clone(), tags)
        })
    }

    pub fn worker(&self, worker_group: Option<&str>) -> WorkerMetrics {
        let tags: Vec<(&str, &str)> = worker_group.map(|group| ("worker_group", group)).into_iter().collect();
        let gauge = |name: &str| self.inner.registry.gauge(&self.name(name), &tags);
        WorkerMetrics {
            threads: gauge(names::WORKER_JOB_THREAD),
            pending: gauge(names::WORKER_JOB_PENDING),
            running: gauge(names::WORKER_JOB_RUNNING),
        }
    }

    /// A counter that a task published (operations reference 1.5).
    pub fn task_counter(
        &self,
        tenant: &Tenant,
        namespace: &str,
        flow_id: &str,
        task_type: &str,
        name: &str,
        tags: &[(String, String)],
    ) -> Counter {
        self.custom(tenant, namespace, flow_id, tags, |tags| {
            self.inner.registry.counter(&self.custom_name(task_type, name), tags)
        })
    }

    /// A timer that a task published.
    pub fn task_timer(
        &self,
        tenant: &Tenant,
        namespace: &str,
        flow_id: &str,
        task_type: &str,
        name: &str,
        tags: &[(String, String)],
    ) -> Timer {
        self.custom(tenant, namespace, flow_id, tags, |tags| {
            self.inner.registry.timer(&self.custom_name(task_type, name), tags)
        })
    }

    /// A gauge that a task published.
    pub fn task_gauge(
        &self,
        tenant: &Tenant,
        namespace: &str,
        flow_id: &str,
        task_type: &str,
        name: &str,
        tags: &[(String, String)],
    ) -> Gauge {
        self.custom(tenant, namespace, flow_id, tags, |tags| {
            self.inner.registry.gauge(&self.custom_name(task_type, name), tags)
        })
    }

    /// A step of a flowable task of this type.
    pub fn flowable_execution(&self, task_type: &str) -> Counter {
        self.inner.registry.counter(&self.name(names::EXECUTOR_FLOWABLE_EXECUTION_COUNT), &[("task_type", task_type)])
    }

    /// How long the executor's batches take.
    pub fn batch_duration(&self) -> Timer {
        self.inner.registry.timer(&self.name(names::EXECUTOR_EXECUTION_MESSAGE_PROCESS), &[])
    }

    /// Kills that were processed for a tenant.
    pub fn kills(&self, tenant: &Tenant) -> Counter {
        let tenant = self.tenant_value(tenant);
        let tags = [("tenant_id", tenant.as_str()), ("execution_killed_type", "execution")];
        self.inner.registry.counter(&self.name(names::EXECUTOR_KILLED_COUNT), &tags)
    }

    /// Jobs that were handed out again.
    pub fn jobs_resubmitted(&self) -> Counter {
        self.inner.registry.counter(&self.name(names::EXECUTOR_WORKER_JOB_RESUBMIT_COUNT), &[])
    }

    /// Threads of the engine.
    pub fn executor_threads(&self) -> Gauge {
        self.inner.registry.gauge(&self.name(names::EXECUTOR_THREAD_COUNT), &[])
    }

    /// A name with the prefix.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.inner.prefix)
    }

    fn custom_name(&self, task_type: &str, name: &str) -> String {
        format!("{}{}.{name}", self.inner.prefix, names::task_segment(task_type))
    }

    fn custom<T>(
        &self,
        tenant: &Tenant,
        namespace: &str,
        flow_id: &str,
        own: &[(String, String)],
        make: impl FnOnce(&[(&str, &str)]) -> T,
    ) -> T {
        let flow = self.flow_tags(tenant, namespace, flow_id);
        // The flow's come first: a task cannot publish in another flow's or tenant's name.
        let tags: Vec<(&str, &str)> =
            flow.iter().chain(own).map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut unique: Vec<(&str, &str)> = Vec::with_capacity(tags.len());
        for tag in tags {
            if !unique.iter().any(|(key, _)| *key == tag.0) {
                unique.push(tag);
            }
        }
        make(&unique)
    }

    fn flow_tags(&self, tenant: &Tenant, namespace: &str, flow_id: &str) -> Vec<(String, String)> {
        vec![
            ("tenant_id".to_owned(), self.tenant_value(tenant)),
            ("namespace_id".to_owned(), namespace.to_owned()),
            ("flow_id".to_owned(), flow_id.to_owned()),
        ]
    }

    /// A tenant as a label value: the one place where it becomes one. Beyond the cap of tenants it is `other`.
    pub fn tenant_value(&self, tenant: &Tenant) -> String {
        let mut tenants = self.inner.tenants.lock();
        if tenants.contains(tenant) || (tenants.len() < self.inner.max_tenants && tenants.insert(tenant.clone())) {
            tenant.as_str().to_owned()
        } else {
            "other".to_owned()
        }
    }
}

fn cached<T>(cache: &RwLock<Cache<T>>, key: Vec<String>, make: impl FnOnce(&[String]) -> T) -> Arc<T> {
    if let Some(known) = cache.read().get(&key) {
        return known.clone();
    }
    let made = Arc::new(make(&key));
    let mut cache = cache.write();
    if cache.len() >= MAX_CACHED {
        cache.clear();
    }
    cache.entry(key).or_insert(made).clone()
}
