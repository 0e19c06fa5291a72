//! `windhover namespace …`

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use tonic::Code;
use windhover_client::v1::{
    Dependency, GetDependenciesRequest, GetNamespaceRequest, GetNamespaceResponse, Json, ListNamespacesRequest,
    Namespace, PluginDefault, UpdateNamespaceRequest, UpdateNamespaceResponse, View, dependency::Kind,
};

use super::{
    error::Failure,
    output::table,
    pages,
    session::Session,
    style::{self, paint, safe},
};

/// How often a change is made again because somebody else was faster.
const TRIES: usize = 5;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print what was said of a namespace, as YAML that `set --file` takes.
    Get(Get),
    /// Say what the flows of a namespace, and of those below it, get from it.
    Set(Set),
    /// List the namespaces that hold something.
    List(List),
    /// Print which flows of a namespace start which others.
    Dependencies(Dependencies),
}

#[derive(Args)]
pub(crate) struct Get {
    /// Name of the namespace.
    namespace: String,
    /// What its flows get in all, also from the namespaces above.
    #[arg(long)]
    effective: bool,
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true)))]
pub(crate) struct Set {
    /// Name of the namespace.
    namespace: String,
    /// YAML or JSON with `description`, `variables`, `pluginDefaults`: what is in it replaces what was said; `-` for
    /// standard input.
    #[arg(long, short, group = "change")]
    file: Option<PathBuf>,
    /// Set a variable; dots in the name lead into maps. May be given more than once.
    #[arg(long = "variable", short = 'v', value_name = "NAME=VALUE", value_parser = pair, group = "change")]
    variables: Vec<(String, String)>,
    /// The values are JSON texts, and kept as what they say.
    #[arg(long, requires = "variables")]
    json: bool,
    /// Take a variable away; dots lead into maps. May be given more than once.
    #[arg(long, value_name = "NAME", group = "change")]
    unset: Vec<String>,
    /// Replace all plugin defaults by those of a file: a list as flows write it; `-` for standard input.
    #[arg(long, value_name = "FILE", group = "change")]
    plugin_defaults: Option<PathBuf>,
    /// What it is for.
    #[arg(long, group = "change")]
    description: Option<String>,
    /// Only if nothing was said since this was read.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    /// Check and answer as if, but store nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
pub(crate) struct List {
    /// At most so many; 0 = all.
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

#[derive(Args)]
pub(crate) struct Dependencies {
    /// Name of the namespace.
    namespace: String,
    /// Also flows of the namespaces below.
    #[arg(long)]
    below: bool,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Get(Get { namespace, effective }) => {
            let view = if effective { View::Full } else { View::Basic };
            let request = GetNamespaceRequest { namespace, view: view.into() };
            let response = session.client.get_namespace(request).await?;
            let lines = if effective { in_all(&response)? } else { said(response.namespace.as_ref())? };
            session.output.print(&response, || lines)?;
        }
        Command::Set(command) => {
            let response = set(session, &command).await?;
            session.output.print(&response, || vec![updated(&response, command.dry_run)])?;
        }
        Command::List(List { limit }) => {
            let response = pages::collect(limit, async |page_size, page_token| {
                let request = ListNamespacesRequest { page_size, page_token, view: View::Basic.into() };
                session.client.list_namespaces(request).await
            })
            .await?;
            session.output.print(&response, || names(&response.namespaces))?;
        }
        Command::Dependencies(Dependencies { namespace, below }) => {
            let request = GetDependenciesRequest { namespace, include_below: below };
            let response = session.client.get_dependencies(request).await?;
            session.output.print(&response, || dependencies(&response.dependencies))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn set(session: &Session, command: &Set) -> Result<UpdateNamespaceResponse, Failure> {
    let change = Change::of(command)?;
    let mut tries = 1;
    loop {
        let request = GetNamespaceRequest { namespace: command.namespace.clone(), view: View::Basic.into() };
        let current = session.client.get_namespace(request).await?.namespace.unwrap_or_default();
        // What is changed in part must not take back what somebody else says at the same moment.
        let etag = if command.etag.is_empty() { current.etag.clone() } else { command.etag.clone() };
        let (mut namespace, paths) = change.apply(current)?;
        namespace.etag = etag;
        let request = UpdateNamespaceRequest {
            namespace: Some(namespace),
            update_mask: Some(prost_types::FieldMask { paths }),
            validate_only: command.dry_run,
        };
        match session.client.update_namespace(request).await {
            Err(error) if error.code == Code::Aborted && command.etag.is_empty() && tries < TRIES => tries += 1,
            other => return Ok(other?),
        }
    }
}

/// What the command line asks for.
struct Change {
    description: Option<String>,
    /// All of them.
    variables: Option<Map<String, Value>>,
    plugin_defaults: Option<Vec<PluginDefault>>,
    set: Vec<(String, Value)>,
    unset: Vec<String>,
}

impl Change {
    fn of(command: &Set) -> Result<Self, Failure> {
        let mut change = Self {
            description: None,
            variables: None,
            plugin_defaults: None,
            set: Vec::new(),
            unset: command.unset.clone(),
        };
        if let Some(file) = &command.file {
            change.read(document(file)?).map_err(|why| Failure::Here(format!("{}: {why}", file.display())))?;
        }
        if let Some(file) = &command.plugin_defaults {
            let list = match document(file)? {
                Value::Object(mut map) => map.remove("pluginDefaults").unwrap_or(Value::Null),
                other => other,
            };
            let read = plugin_defaults(&list);
            change.plugin_defaults = Some(read.map_err(|why| Failure::Here(format!("{}: {why}", file.display())))?);
        }
        if let Some(description) = &command.description {
            change.description = Some(description.clone());
        }
        for (name, text) in &command.variables {
            let value = match command.json {
                true => serde_json::from_str(text)
                    .map_err(|error| Failure::Here(format!("the value of {name} is no JSON: {error}")))?,
                false => Value::String(text.clone()),
            };
            change.set.push((name.clone(), value));
        }
        Ok(change)
    }

    fn read(&mut self, document: Value) -> Result<(), String> {
        let Value::Object(map) = document else { return Err("is no map".to_owned()) };
        for (key, value) in map {
            match (key.as_str(), value) {
                ("description", Value::String(text)) => self.description = Some(text),
                ("variables", Value::Object(map)) => self.variables = Some(map),
                ("variables", Value::Null) => self.variables = Some(Map::new()),
                ("pluginDefaults", list) => self.plugin_defaults = Some(plugin_defaults(&list)?),
                ("description" | "variables", _) => return Err(format!("`{key}` is not what it should be")),
                _ => return Err(format!("`{key}` is none of description, variables, pluginDefaults")),
            }
        }
        Ok(())
    }

    /// The namespace as it shall be, and what of it counts.
    fn apply(&self, current: Namespace) -> Result<(Namespace, Vec<String>), Failure> {
        let (mut namespace, mut paths) = (current, Vec::new());
        if let Some(description) = &self.description {
            namespace.description = description.clone();
            paths.push("description".to_owned());
        }
        if let Some(plugin_defaults) = &self.plugin_defaults {
            namespace.plugin_defaults = plugin_defaults.clone();
            paths.push("plugin_defaults".to_owned());
        }
        if self.variables.is_some() || !self.set.is_empty() || !self.unset.is_empty() {
            let mut variables = match &self.variables {
                Some(variables) => variables.clone(),
                None => object(namespace.variables.as_ref()),
            };
            for name in &self.unset {
                if !remove(&mut variables, name) {
                    return Err(Failure::Here(format!("there is no variable {name}")));
                }
            }
            for (name, value) in &self.set {
                insert(&mut variables, name, value.clone());
            }
            namespace.variables = Some(windhover_client::json(&Value::Object(variables)));
            paths.push("variables".to_owned());
        }
        Ok((namespace, paths))
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.split('.').any(str::is_empty) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

/// YAML, of which JSON is a part.
fn document(file: &Path) -> Result<Value, Failure> {
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => io::stdin().read_to_string(&mut text).map(drop),
        _ => fs::read_to_string(file).map(|content| text = content),
    };
    read.map_err(|error| Failure::Here(format!("cannot read {}: {error}", file.display())))?;
    serde_yaml::from_str(&text).map_err(|error| Failure::Here(format!("{}: is no YAML: {error}", file.display())))
}

fn plugin_defaults(list: &Value) -> Result<Vec<PluginDefault>, String> {
    let Value::Array(items) = list else { return Err("`pluginDefaults` is no list".to_owned()) };
    let entry = |(index, item): (usize, &Value)| {
        let place = format!("pluginDefaults[{index}]");
        let Value::Object(map) = item else { return Err(format!("{place} is no map")) };
        if let Some(key) = map.keys().find(|key| !matches!(key.as_str(), "type" | "forced" | "values")) {
            return Err(format!("{place}: `{key}` is none of type, forced, values"));
        }
        let Some(name) = map.get("type").and_then(Value::as_str) else {
            return Err(format!("{place}: `type` is missing"));
        };
        Ok(PluginDefault {
            r#type: name.to_owned(),
            forced: map.get("forced").and_then(Value::as_bool).unwrap_or_default(),
            values: map.get("values").map(windhover_client::json),
        })
    };
    items.iter().enumerate().map(entry).collect()
}

fn insert(map: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => drop(map.insert(name.to_owned(), value)),
        Some((first, rest)) => {
            let inner = map.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn remove(map: &mut Map<String, Value>, name: &str) -> bool {
    match name.split_once('.') {
        None => map.remove(name).is_some(),
        Some((first, rest)) => {
            map.get_mut(first).and_then(Value::as_object_mut).is_some_and(|inner| remove(inner, rest))
        }
    }
}

fn value_of(json: Option<&Json>) -> Value {
    json.and_then(|json| serde_json::from_str(&json.text).ok()).unwrap_or(Value::Null)
}

fn object(json: Option<&Json>) -> Map<String, Value> {
    match value_of(json) {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// Lines of YAML.
fn yaml(value: &Value) -> Result<Vec<String>, Failure> {
    let text = serde_yaml::to_string(value).map_err(|error| Failure::Here(format!("cannot print it: {error}")))?;
    Ok(text.lines().map(|line| safe(line).into_owned()).collect())
}

fn shown(default: &PluginDefault) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("type".to_owned(), json!(default.r#type));
    if default.forced {
        map.insert("forced".to_owned(), json!(true));
    }
    map.insert("values".to_owned(), value_of(default.values.as_ref()));
    map
}

fn said(namespace: Option<&Namespace>) -> Result<Vec<String>, Failure> {
    let Some(namespace) = namespace else { return Ok(Vec::new()) };
    let mut map = Map::new();
    if !namespace.description.is_empty() {
        map.insert("description".to_owned(), json!(namespace.description));
    }
    map.insert("variables".to_owned(), Value::Object(object(namespace.variables.as_ref())));
    let defaults = namespace.plugin_defaults.iter().map(|default| Value::Object(shown(default))).collect();
    map.insert("pluginDefaults".to_owned(), Value::Array(defaults));
    yaml(&Value::Object(map))
}

fn in_all(response: &GetNamespaceResponse) -> Result<Vec<String>, Failure> {
    let effective = response.effective.clone().unwrap_or_default();
    let mut map = Map::new();
    map.insert("variables".to_owned(), Value::Object(object(effective.variables.as_ref())));
    let defaults = effective.plugin_defaults.iter().map(|inherited| {
        let mut entry = inherited.plugin_default.as_ref().map(shown).unwrap_or_default();
        entry.insert("from".to_owned(), json!(inherited.namespace));
        Value::Object(entry)
    });
    map.insert("pluginDefaults".to_owned(), Value::Array(defaults.collect()));
    yaml(&Value::Object(map))
}

fn updated(response: &UpdateNamespaceResponse, dry_run: bool) -> String {
    let name = response.namespace.as_ref().map(|namespace| namespace.name.as_str()).unwrap_or_default();
    let how = if dry_run { " (nothing was stored)" } else { "" };
    let flows = if response.flows == 1 { "1 flow".to_owned() } else { format!("{} flows", response.flows) };
    format!("set {}; it holds for {flows}{how}", safe(name))
}

fn names(namespaces: &[Namespace]) -> Vec<String> {
    let rows = namespaces.iter().map(|namespace| {
        [
            safe(&namespace.name).into_owned(),
            style::date_time(namespace.updated.as_ref()),
            safe(namespace.description.lines().next().unwrap_or_default()).into_owned(),
        ]
    });
    table(["NAMESPACE", "SET", ""], rows.collect())
}

fn dependencies(dependencies: &[Dependency]) -> Vec<String> {
    let row = |one: &Dependency| {
        let how = match one.kind() {
            Kind::Subflow => format!("task {}", one.id),
            Kind::Trigger => format!("trigger {}", one.id),
            Kind::Unspecified => one.id.clone(),
        };
        let missing =
            if one.missing { paint(style::WARNING, "the flow that is named is not there") } else { String::new() };
        [
            safe(&format!("{}/{}", one.from_namespace, one.from_flow_id)).into_owned(),
            safe(&format!("{}/{}", one.to_namespace, one.to_flow_id)).into_owned(),
            safe(&how).into_owned(),
            missing,
        ]
    };
    table(["FLOW", "STARTS", "BY", ""], dependencies.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_lead_into_maps() {
        let mut map = Map::new();
        insert(&mut map, "github.token", json!("t"));
        insert(&mut map, "github.owner", json!("o"));
        insert(&mut map, "plain", json!(1));
        assert_eq!(Value::Object(map.clone()), json!({"github": {"token": "t", "owner": "o"}, "plain": 1}));
        assert!(remove(&mut map, "github.token") && !remove(&mut map, "github.token"));
        assert_eq!(Value::Object(map), json!({"github": {"owner": "o"}, "plain": 1}));
        assert!(pair("a=b=c").is_ok() && pair("a..b=c").is_err() && pair("a").is_err());
    }

    #[test]
    fn what_is_printed_can_be_read_again() {
        let namespace = Namespace {
            description: "for orders".into(),
            variables: Some(Json { text: r#"{"region": "eu"}"#.into() }),
            plugin_defaults: vec![PluginDefault {
                r#type: "io.kestra.plugin.core.log.Log".into(),
                forced: true,
                values: Some(Json { text: r#"{"level":"WARN"}"#.into() }),
            }],
            ..Namespace::default()
        };
        let text = said(Some(&namespace)).unwrap().join("\n");
        let mut change =
            Change { description: None, variables: None, plugin_defaults: None, set: Vec::new(), unset: Vec::new() };
        change.read(serde_yaml::from_str(&text).unwrap()).unwrap();
        let (again, paths) = change.apply(Namespace::default()).unwrap();
        assert_eq!(again.plugin_defaults, namespace.plugin_defaults);
        assert_eq!(
            (again.description, value_of(again.variables.as_ref())),
            ("for orders".into(), json!({"region": "eu"}))
        );
        assert_eq!(paths, ["description", "plugin_defaults", "variables"]);
        assert!(change.read(json!({"variabels": {}})).unwrap_err().contains("variabels"));
    }
}
