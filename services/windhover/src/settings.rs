//! Settings: a YAML file, then the environment, then flags.
//!
//! Windhover's own keys stand in one table; an unknown key below `windhover.` is refused. Keys of a Kestra file that
//! mean something here are read; the others are named once in the log.

use std::{collections::BTreeMap, env, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_yaml::Value;
use windhover_types::JsonMap;

/// A key of Windhover's own: name, what it is.
pub(crate) const KEYS: &[(&str, &str)] = &[
    (
        "windhover.bootstrap-token",
        "first credential: a platform administrator for as long as it is set (at least 32 characters)",
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
    ("windhover.shards", "number of shards of a new installation (default 64)"),
    ("windhover.worker.slots", "tasks that run at the same time in one process"),
];

/// Keys of a Kestra file that are read.
const KESTRA_KEYS: &[&str] = &[
    "endpoints.all.port",
    "kestra.metrics.prefix",
    "kestra.url",
    "kestra.environment.name",
    "kestra.variables.env-vars-prefix",
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
        let known = KEYS.iter().any(|(key, _)| *key == name) || KESTRA_KEYS.contains(&name.as_str());
        if known || KESTRA_TREES.iter().any(|tree| name.starts_with(tree)) {
            self.values.insert(name, value);
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
