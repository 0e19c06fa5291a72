//! Settings: a YAML file, then the environment, then flags.
//!
//! Windhover's own keys stand in one table; an unknown key below `windhover.` is refused. Keys of a Kestra file that
//! mean something here are read; the others are named once in the log.

use std::{collections::BTreeMap, env, fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use serde_yaml::Value;
use windhover_types::JsonMap;

/// A key of Windhover's own: name, what it is.
pub(crate) const KEYS: &[(&str, &str)] = &[
    (
        "windhover.bootstrap-token",
        "first credential: a platform administrator for as long as it is set (at least 32 characters)",
    ),
    (
        "windhover.clock.offset",
        "by how much this process's clock is off (PT1M, -PT1M), to see what wrong clocks do (default PT0S)",
    ),
    ("windhover.data-dir", "folder for what one process keeps: the database of `local`, the generated master key"),
    ("windhover.database.max-connections", "connections to Postgres that one process opens at most (default 16)"),
    ("windhover.database.url", "postgres://user:password@host/database, or sqlite:PATH"),
    ("windhover.limits.max-input-bytes", "size of all inputs of an execution together (default 4194304)"),
    ("windhover.limits.max-request-bytes", "size of one request (default 16777216)"),
    ("windhover.limits.requests-per-second", "requests that one tenant may send per second (default 10000)"),
    ("windhover.log.format", "`text` for people, `json` for machines (default text)"),
    ("windhover.log.level", "TRACE, DEBUG, INFO, WARN or ERROR (default INFO)"),
    ("windhover.management-port", "port of health and metrics (default 8081)"),
    ("windhover.master-key", "32 bytes in base64 that protect stored secrets"),
    ("windhover.master-key-file", "file with the master key"),
    (
        "windhover.outbound.allow-private",
        "tasks may call private, loopback and link-local addresses (default: only in `local`)",
    ),
    ("windhover.port", "port of gRPC, gRPC-web and webhooks (default 8080)"),
    (
        "windhover.queue.max-job-bytes",
        "a job (what its task's expressions read) that is larger, and has to go through Redis, fails its attempt (default 16777216)",
    ),
    (
        "windhover.queue.max-report-bytes",
        "a result that is larger, and has to go through Redis, fails its attempt (default 67108864)",
    ),
    (
        "windhover.queue.window",
        "jobs of one tenant and worker group that are in the queue at the same time (default 1000)",
    ),
    ("windhover.redis.ca-file", "certificates (PEM) that a Redis over TLS is checked with (default: the system's)"),
    ("windhover.redis.prefix", "what the names of all keys in Redis begin with (default windhover)"),
    (
        "windhover.redis.url",
        "redis://user:password@host:6379, rediss:// for TLS; the nodes of a Redis cluster with commas between them",
    ),
    (
        "windhover.server.liveness.enabled",
        "whether services that are silent are taken for lost (default true); also kestra.server.liveness.enabled",
    ),
    (
        "windhover.server.liveness.heartbeat-interval",
        "how often a service says that it is there (default 3s); also kestra.server.liveness.heartbeatInterval",
    ),
    (
        "windhover.server.liveness.initial-delay",
        "how old a service is before it is checked (default 45s); also kestra.server.liveness.initialDelay",
    ),
    (
        "windhover.server.liveness.interval",
        "how often services are checked (default 5s); also kestra.server.liveness.interval",
    ),
    (
        "windhover.server.liveness.timeout",
        "silence after which a service counts as lost (default 45s); also kestra.server.liveness.timeout",
    ),
    (
        "windhover.server.termination-grace-period",
        "how long a stopping server waits for running tasks (default 5m); also kestra.server.terminationGracePeriod",
    ),
    ("windhover.shards", "number of shards of a new installation (default 64)"),
    (
        "windhover.storage.bucket",
        "S3 bucket of internal storage, instead of a folder; also kestra.storage.s3.bucket or kestra.storage.minio.bucket",
    ),
    ("windhover.storage.endpoint", "where the bucket is, other than Amazon's (http://minio:9000)"),
    (
        "windhover.storage.folder",
        "folder of internal storage, the same for all processes (default: `storage` in the data folder); also kestra.storage.local.basePath",
    ),
    (
        "windhover.storage.key-id",
        "access key of the bucket (default: the environment's AWS_... variables, or the machine's role)",
    ),
    (
        "windhover.storage.max-row-bytes",
        "outputs of a task run or an execution that are larger go to internal storage instead of their row in the database; at least 1024 (default 262144)",
    ),
    ("windhover.storage.prefix", "what the names of all files in the bucket begin with"),
    ("windhover.storage.region", "region of the bucket (default us-east-1)"),
    ("windhover.storage.secret-key", "secret of the access key of the bucket"),
    ("windhover.worker.group", "worker group whose tasks this process runs (default: those that name none)"),
    (
        "windhover.worker.processes.enabled",
        "script tasks run as processes of the workers of this process, and so of their worker group (default: only in `local`)",
    ),
    ("windhover.worker.processes.max-duration", "how long a script may run (default 1d)"),
    (
        "windhover.worker.processes.max-memory",
        "bytes that a script and all its children may use, at least 67108864 (default 2147483648)",
    ),
    ("windhover.worker.processes.max-output-bytes", "output of a script that is kept as log lines (default 16777216)"),
    ("windhover.worker.processes.max-output-lines", "the same in lines (default 100000)"),
    ("windhover.worker.processes.max-processes", "processes that a script may run at the same time (default 512)"),
    (
        "windhover.worker.processes.variables",
        "variables of the server's environment that scripts see besides PATH, LANG, LC_ALL, LC_CTYPE and TZ: names with commas between them",
    ),
    ("windhover.worker.slots", "tasks that run at the same time in one process"),
];

/// Keys of a Kestra file that are read, in kebab case; camel case is the same key.
const KESTRA_KEYS: &[&str] = &[
    "endpoints.all.port",
    "kestra.environment.name",
    "kestra.kv.purge-expired.batch-size",
    "kestra.kv.purge-expired.enabled",
    "kestra.kv.purge-expired.fixed-delay",
    "kestra.kv.purge-expired.initial-delay",
    "kestra.metrics.prefix",
    "kestra.plugins.configurations",
    "kestra.plugins.defaults",
    "kestra.server.liveness.enabled",
    "kestra.server.liveness.heartbeat-interval",
    "kestra.server.liveness.initial-delay",
    "kestra.server.liveness.interval",
    "kestra.server.liveness.timeout",
    "kestra.server.termination-grace-period",
    "kestra.server.worker-task-restart-strategy",
    "kestra.storage.local.base-path",
    "kestra.storage.minio.access-key",
    "kestra.storage.minio.bucket",
    "kestra.storage.minio.endpoint",
    "kestra.storage.minio.port",
    "kestra.storage.minio.secret-key",
    "kestra.storage.minio.secure",
    "kestra.storage.s3.access-key",
    "kestra.storage.s3.bucket",
    "kestra.storage.s3.endpoint",
    "kestra.storage.s3.region",
    "kestra.storage.s3.secret-key",
    "kestra.storage.type",
    "kestra.tasks.defaults",
    "kestra.url",
    "kestra.variables.env-vars-prefix",
    "kestra.worker.group",
];
/// Keys of a Kestra file below which everything is read.
const KESTRA_TREES: &[&str] = &["kestra.variables.globals.", "logger.levels."];
const ENV_PREFIX: &str = "WINDHOVER_";
/// Variables of the environment that start with the prefix and belong to the command line or the tests.
const NOT_SETTINGS: &[&str] = &[
    "WINDHOVER_SERVER",
    "WINDHOVER_TOKEN",
    "WINDHOVER_TENANT",
    "WINDHOVER_CONFIG",
    "WINDHOVER_CONFORMANCE_DIR",
    "WINDHOVER_CONFORMANCE_ONLY",
    "WINDHOVER_CONFORMANCE_SERVER",
    "WINDHOVER_SIMULATION_SEED",
    "WINDHOVER_SIMULATION_SEEDS",
];

/// All settings by their dotted names.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<String, Value>,
    /// Keys of the file that mean nothing here.
    pub(crate) ignored: Vec<String>,
}

impl Settings {
    /// Reads the file, if there is one, and the environment over it.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self> {
        let mut settings = Self::default();
        if let Some(path) = file {
            let text = fs::read_to_string(path)
                .with_context(|| format!("the settings file {} cannot be read", path.display()))?;
            let value: Value = serde_yaml::from_str(&text)
                .with_context(|| format!("the settings file {} is not YAML", path.display()))?;
            settings.add_tree(String::new(), value)?;
        }
        settings.add_environment(env::vars())?;
        Ok(settings)
    }

    fn add_tree(&mut self, prefix: String, value: Value) -> Result<()> {
        match value {
            Value::Mapping(map) => {
                for (key, value) in map {
                    let Some(key) = key.as_str() else { bail!("a key below `{prefix}` is not a text") };
                    let name = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
                    self.add_tree(name, value)?;
                }
            }
            Value::Null => {}
            value => self.add(prefix, value)?,
        }
        Ok(())
    }

    fn add(&mut self, name: String, value: Value) -> Result<()> {
        let known = KEYS.iter().any(|(key, _)| *key == name) || KESTRA_TREES.iter().any(|tree| name.starts_with(tree));
        let kebab = kebab_case(&name);
        if known {
            self.values.insert(name, value);
        } else if KESTRA_KEYS.contains(&kebab.as_str()) {
            self.values.insert(kebab, value);
        } else if name.starts_with("windhover.") {
            bail!("unknown setting `{name}`; {}", nearest(&name));
        } else {
            self.ignored.push(name);
        }
        Ok(())
    }

    fn add_environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Result<()> {
        for (name, value) in variables.filter(|(name, _)| name.starts_with(ENV_PREFIX)) {
            if NOT_SETTINGS.contains(&name.as_str()) {
                continue;
            }
            let Some((key, _)) = KEYS.iter().find(|(key, _)| environment_name(key) == name) else {
                bail!(
                    "the variable {name} of the environment is no setting of Windhover: unset it; {}",
                    nearest(&name.to_lowercase().replace('_', "."))
                );
            };
            self.values.insert((*key).to_owned(), Value::String(value));
        }
        Ok(())
    }

    /// A flag of the command line wins over everything.
    pub(crate) fn set(&mut self, key: &str, value: impl ToString) {
        self.values.insert(key.to_owned(), Value::String(value.to_string()));
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        match self.values.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(value) => Some(value.to_string()),
            _ => None,
        }
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>> {
        self.text(key)
            .map(|text| {
                text.trim().parse().map_err(|_| anyhow::anyhow!("the setting `{key}` is no number in range: `{text}`"))
            })
            .transpose()
    }

    pub(crate) fn switch(&self, key: &str) -> Result<Option<bool>> {
        self.text(key)
            .map(|text| match text.trim() {
                "true" => Ok(true),
                "false" => Ok(false),
                other => bail!("the setting `{key}` is `true` or `false`, not `{other}`"),
            })
            .transpose()
    }

    /// `30s`, `5m`, `25ms`, `PT1M30S`; a plain number is seconds. `key` is one of `windhover.server.`, and what is not
    /// said there may be said below `kestra.server.`.
    pub(crate) fn server_duration(&self, key: &str) -> Result<Option<Duration>> {
        let Some((key, text)) = self.server_text(key) else { return Ok(None) };
        match duration(text.trim()) {
            Some(duration) => Ok(Some(duration)),
            None => bail!("the setting `{key}` is a duration such as 45s, 5m or PT1M30S, not `{text}`"),
        }
    }

    /// The same for a switch.
    pub(crate) fn server_switch(&self, key: &str) -> Result<Option<bool>> {
        match self.server_text(key) {
            Some((key, _)) => self.switch(&key),
            None => Ok(None),
        }
    }

    /// The value of `windhover.server.KEY`, else of `kestra.server.KEY`, with the key that has it.
    pub(crate) fn server_text(&self, key: &str) -> Option<(String, String)> {
        ["windhover.server.", "kestra.server."].iter().find_map(|tree| {
            let name = format!("{tree}{key}");
            let text = self.text(&name)?;
            Some((name, text))
        })
    }

    /// A duration under one key.
    pub(crate) fn duration(&self, key: &str) -> Result<Option<Duration>> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match duration(text.trim()) {
            Some(duration) => Ok(Some(duration)),
            None => bail!("the setting `{key}` is a duration such as 45s, 5m or PT1M30S, not `{text}`"),
        }
    }

    /// `windhover.clock.offset` in microseconds.
    pub(crate) fn clock_offset(&self) -> Result<i64> {
        const KEY: &str = "windhover.clock.offset";
        let Some(text) = self.text(KEY) else { return Ok(0) };
        let (sign, amount) = match text.trim().strip_prefix('-') {
            Some(amount) => (-1, amount),
            None => (1, text.trim()),
        };
        match duration(amount).and_then(|amount| i64::try_from(amount.as_micros()).ok()) {
            Some(micros) => Ok(sign * micros),
            None => bail!("the setting `{KEY}` is a duration such as PT1M or -PT1M, not `{text}`"),
        }
    }

    /// A value that `kestra.plugins.configurations` gives to the types whose names end so.
    pub(crate) fn plugin_value(&self, type_ends: &str, value: &str) -> Option<String> {
        let Some(Value::Sequence(plugins)) = self.values.get("kestra.plugins.configurations") else { return None };
        let of_type =
            |plugin: &&Value| plugin.get("type").and_then(Value::as_str).is_some_and(|name| name.ends_with(type_ends));
        plugins.iter().filter(of_type).find_map(|plugin| Some(plugin.get("values")?.get(value)?.as_str()?.to_owned()))
    }

    /// Plugin defaults for all flows: those of the older key are the more important ones (flow model reference 8.1).
    pub(crate) fn plugin_defaults(&self) -> Result<Vec<serde_json::Value>> {
        let mut all = Vec::new();
        for key in ["kestra.tasks.defaults", "kestra.plugins.defaults"] {
            match self.values.get(key) {
                None => {}
                Some(Value::Sequence(list)) => {
                    for entry in list {
                        all.push(
                            serde_json::to_value(entry).with_context(|| format!("the setting `{key}` is not JSON"))?,
                        );
                    }
                }
                Some(_) => bail!("the setting `{key}` is a list of `type`, `forced` and `values`"),
            }
        }
        Ok(all)
    }

    /// Everything below a key, as JSON.
    pub(crate) fn tree(&self, prefix: &str) -> Result<JsonMap> {
        let mut root = JsonMap::new();
        for (name, value) in self.values.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix)) {
            let value = serde_json::to_value(value).with_context(|| format!("the setting `{name}` is not JSON"))?;
            let mut at = &mut root;
            let mut parts = name[prefix.len()..].split('.').peekable();
            while let Some(part) = parts.next() {
                if parts.peek().is_none() {
                    at.insert(part.to_owned(), value);
                    break;
                }
                let next = at.entry(part).or_insert_with(|| serde_json::Value::Object(JsonMap::new()));
                match next {
                    serde_json::Value::Object(map) => at = map,
                    _ => bail!("the setting `{name}` is both a value and a map"),
                }
            }
        }
        Ok(root)
    }

    /// Every text whose key starts with `prefix`, by the rest of the key.
    pub(crate) fn texts(&self, prefix: &str) -> BTreeMap<String, String> {
        let below = self.values.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        below.filter_map(|(name, _)| Some((name[prefix.len()..].to_owned(), self.text(name)?))).collect()
    }

    /// `envs` of expressions: the environment's variables with the configured prefix, cut off and in lower case
    /// (flow model reference 8.2).
    pub(crate) fn envs(&self) -> JsonMap {
        const HIDDEN: &[&str] =
            &["KESTRA_CONFIGURATION", "KESTRA_CONFIGURATION_PATH", "KESTRA_PLUGINS_PATH", "KESTRA_JAVA_OPTS"];
        let prefix = self.text("kestra.variables.env-vars-prefix").unwrap_or_else(|| "KESTRA_".to_owned());
        env::vars()
            .filter(|(name, _)| !HIDDEN.contains(&name.as_str()))
            .filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?.to_lowercase(), value.into())))
            .collect()
    }
}

/// `server.terminationGracePeriod` as `server.termination-grace-period`.
fn kebab_case(name: &str) -> String {
    let mut kebab = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}

/// Durations of settings (operations reference, conventions).
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let Ok(number) = text[..digits].parse::<u64>() else {
        return windhover_flow::parse_duration(text).ok();
    };
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

fn environment_name(key: &str) -> String {
    key.replace(['.', '-'], "_").to_uppercase()
}

fn nearest(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    match KEYS.iter().find(|(key, _)| key.ends_with(last) || key.contains(last)) {
        Some((key, _)) => format!("did you mean `{key}`?"),
        None => "`README.md lists the settings".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_yaml(text: &str) -> Result<Settings> {
        let mut settings = Settings::default();
        settings.add_tree(String::new(), serde_yaml::from_str(text)?)?;
        Ok(settings)
    }

    #[test]
    fn an_unknown_setting_of_our_own_is_refused_with_a_hint() {
        let error = from_yaml("windhover: {worker: {slot: 3}}").unwrap_err().to_string();
        assert!(error.contains("windhover.worker.slot") && error.contains("windhover.worker.slots"), "{error}");
    }

    #[test]
    fn foreign_settings_are_named_and_those_of_kestra_are_read() -> Result<()> {
        let settings =
            from_yaml("kestra: {url: 'https://x', queue: {type: postgres}, variables: {globals: {a: {b: 1}}}}")?;
        assert_eq!(settings.ignored, ["kestra.queue.type"]);
        assert_eq!(settings.text("kestra.url").as_deref(), Some("https://x"));
        assert_eq!(
            serde_json::Value::Object(settings.tree("kestra.variables.globals.")?),
            serde_json::json!({"a": {"b": 1}})
        );
        Ok(())
    }

    #[test]
    fn plugin_defaults_of_both_keys_are_one_list() -> Result<()> {
        let settings = from_yaml(
            "kestra: {plugins: {defaults: [{type: b, values: {x: 1}}]}, tasks: {defaults: [{type: a, values: {}}]}}",
        )?;
        let types: Vec<_> = settings.plugin_defaults()?.iter().map(|entry| entry["type"].clone()).collect();
        assert_eq!(types, ["a", "b"]);
        assert!(settings.ignored.is_empty());
        assert!(from_yaml("kestra: {plugins: {defaults: all}}")?.plugin_defaults().is_err());
        Ok(())
    }

    #[test]
    fn both_spellings_of_kestra_say_the_same_and_our_own_wins() -> Result<()> {
        for text in [
            "kestra: {server: {terminationGracePeriod: 90s, liveness: {heartbeatInterval: PT2S}}}",
            "kestra: {server: {termination-grace-period: PT1M30S, liveness: {heartbeat-interval: 2000ms}}}",
            "kestra: {server: {terminationGracePeriod: 5m}}\nwindhover: {server: {termination-grace-period: 90, liveness: {heartbeat-interval: 2s}}}",
        ] {
            let settings = from_yaml(text)?;
            assert_eq!(settings.server_duration("termination-grace-period")?, Some(Duration::from_secs(90)), "{text}");
            let heartbeat = settings.server_duration("liveness.heartbeat-interval")?;
            assert_eq!(heartbeat, Some(Duration::from_secs(2)), "{text}");
            assert!(settings.ignored.is_empty(), "{text}");
        }
        let wrong = from_yaml("kestra: {server: {liveness: {timeout: soon}}}")?;
        let error = wrong.server_duration("liveness.timeout").unwrap_err().to_string();
        assert!(error.contains("kestra.server.liveness.timeout") && error.contains("soon"), "{error}");
        Ok(())
    }

    #[test]
    fn the_readme_lists_every_setting_as_it_is() {
        let readme = include_str!("../../../README.md");
        for (key, meaning) in KEYS {
            assert!(readme.contains(&format!("| `{key}` | {meaning} |")), "README.md lacks `{key}`: {meaning}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file() -> Result<()> {
        let mut settings = from_yaml("windhover: {database: {url: 'sqlite:a'}}")?;
        settings.add_environment([("WINDHOVER_DATABASE_URL".to_owned(), "sqlite:b".to_owned())].into_iter())?;
        assert_eq!(settings.text("windhover.database.url").as_deref(), Some("sqlite:b"));
        assert!(settings.add_environment([("WINDHOVER_NOSUCH".to_owned(), String::new())].into_iter()).is_err());
        Ok(())
    }
}
