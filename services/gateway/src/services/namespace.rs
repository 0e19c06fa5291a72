//! NamespaceService: what namespaces pass down to their flows.

use std::sync::Arc;

use serde_json::{Value, json};
use tonic::{Request, Response, Status};
use windhover_flow::{Inherited, PluginDefaults};
use windhover_proto::{
    reasons,
    v1::{self as proto, namespace_service_server::NamespaceService},
};
use windhover_store::{NamespaceRow, NamespaceSettings};
use windhover_types::{Error, ErrorKind, JsonMap, Tenant};

use super::{Shared, answer, dependencies, key_value::check_namespace, open};
use crate::{
    auth::Caller,
    convert,
    error::{Result, invalid},
    page::{Binding, page_size},
};

const MAX_DESCRIPTION: usize = 4 << 10;
/// Of all that is said of a namespace, as JSON.
const MAX_SETTINGS: usize = 256 << 10;
/// How often a change is made out again because somebody else was faster.
const TRIES: usize = 10;

pub(crate) struct NamespaceApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl NamespaceService for NamespaceApi {
    async fn get_namespace(
        &self,
        request: Request<proto::GetNamespaceRequest>,
    ) -> Result<Response<proto::GetNamespaceResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.get(&caller.tenant, request).await)
    }

    async fn list_namespaces(
        &self,
        request: Request<proto::ListNamespacesRequest>,
    ) -> Result<Response<proto::ListNamespacesResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list(&caller.tenant, request).await)
    }

    async fn update_namespace(
        &self,
        request: Request<proto::UpdateNamespaceRequest>,
    ) -> Result<Response<proto::UpdateNamespaceResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.update(&caller, request).await)
    }

    async fn get_dependencies(
        &self,
        request: Request<proto::GetDependenciesRequest>,
    ) -> Result<Response<proto::GetDependenciesResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.dependencies(&caller.tenant, &request))
    }
}

impl NamespaceApi {
    async fn get(&self, tenant: &Tenant, request: proto::GetNamespaceRequest) -> Result<proto::GetNamespaceResponse> {
        let proto::GetNamespaceRequest { namespace, view } = request;
        check_namespace(&namespace)?;
        let full = convert::is_full(view, true)?;
        let lineage = self.0.store.namespace_lineage(tenant, &namespace).await?;
        let own = lineage.iter().find(|row| row.namespace == namespace);
        let effective = full.then(|| effective(&lineage));
        Ok(proto::GetNamespaceResponse { namespace: Some(shown(&namespace, own, true)), effective })
    }

    async fn list(
        &self,
        tenant: &Tenant,
        request: proto::ListNamespacesRequest,
    ) -> Result<proto::ListNamespacesResponse> {
        let full = convert::is_full(request.view, false)?;
        let size = page_size(request.page_size)?;
        let binding = Binding::new(&["namespaces", tenant.as_str(), if full { "full" } else { "basic" }]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let after = after.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let mut names = self.0.store.list_namespaces(tenant, after.as_deref(), u64::from(size) + 1).await?;
        let more = names.len() > size as usize;
        names.truncate(size as usize);
        let next = names.last().filter(|_| more).map(|name| name.clone().into_bytes());
        let said = self.0.store.all_namespace_settings(tenant).await?;
        let namespaces = names.iter().map(|name| shown(name, said.iter().find(|row| row.namespace == *name), full));
        Ok(proto::ListNamespacesResponse {
            namespaces: namespaces.collect(),
            next_page_token: self.0.next_token(&binding, next),
        })
    }

    async fn update(
        &self,
        caller: &Caller,
        request: proto::UpdateNamespaceRequest,
    ) -> Result<proto::UpdateNamespaceResponse> {
        let tenant = &caller.tenant;
        let proto::UpdateNamespaceRequest { namespace: wanted, update_mask, validate_only } = request;
        let wanted = wanted.ok_or_else(|| invalid("namespace", "is required"))?;
        if wanted.name.is_empty() {
            return Err(invalid("namespace.name", "is required"));
        }
        check_namespace(&wanted.name)?;
        let change = Change::of(&wanted, &update_mask.map(|mask| mask.paths).unwrap_or_default())?;
        for _ in 0..TRIES {
            let current = self.0.store.get_namespace(tenant, &wanted.name).await?;
            let etag = etag_of(current.as_ref());
            if !wanted.etag.is_empty() && wanted.etag != etag {
                let message = "the namespace was changed since it was read";
                return Err(Error::new(ErrorKind::Aborted, reasons::ETAG_MISMATCH, message).with("etag", etag));
            }
            let version = current.as_ref().map_or(0, |row| row.version);
            let settings = change.apply(current.as_ref().map(|row| row.settings.clone()).unwrap_or_default());
            check_settings(&settings)?;
            if validate_only {
                self.0.flows.check_namespace(tenant, &wanted.name, &settings)?;
                let row = current.map(|row| NamespaceRow { settings: settings.clone(), ..row });
                let namespace = match row {
                    Some(row) => shown(&wanted.name, Some(&row), true),
                    None => proto::Namespace { etag, ..described(&wanted.name, &settings) },
                };
                return Ok(self.updated(tenant, namespace));
            }
            let put = self.0.flows.put_namespace(tenant, &wanted.name, &settings, version).await?;
            let Some((row, flows)) = put else { continue };
            // The settings are stored: what fails here the scheduler does a moment later.
            for (namespace, flow_id) in flows {
                if let Err(error) = self.0.triggers.sync_flow(tenant, &namespace, &flow_id).await {
                    tracing::debug!(%tenant, namespace, flow_id, reason = error.reason, "triggers wait for the scheduler");
                }
            }
            self.0.audit(caller, "NamespaceService.UpdateNamespace", format!("namespaces/{}", wanted.name)).await;
            return Ok(self.updated(tenant, shown(&wanted.name, Some(&row), true)));
        }
        let message = "others change the namespace at the same time; try again";
        Err(Error::new(ErrorKind::Unavailable, reasons::UNAVAILABLE, message))
    }

    fn updated(&self, tenant: &Tenant, namespace: proto::Namespace) -> proto::UpdateNamespaceResponse {
        let flows =
            self.0.flows.latest(tenant).iter().filter(|flow| is_within(&flow.namespace, &namespace.name)).count();
        proto::UpdateNamespaceResponse { namespace: Some(namespace), flows: u32::try_from(flows).unwrap_or(u32::MAX) }
    }

    fn dependencies(
        &self,
        tenant: &Tenant,
        request: &proto::GetDependenciesRequest,
    ) -> Result<proto::GetDependenciesResponse> {
        check_namespace(&request.namespace)?;
        let asked = |namespace: &str| match request.include_below {
            true => is_within(namespace, &request.namespace),
            false => namespace == request.namespace,
        };
        let mut dependencies = dependencies::of(&self.0.flows.latest(tenant));
        dependencies.retain(|found| asked(&found.from_namespace) || asked(&found.to_namespace));
        Ok(proto::GetDependenciesResponse { dependencies })
    }
}

/// Whether a namespace is this one or below it.
fn is_within(namespace: &str, above: &str) -> bool {
    namespace.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What is asked for; `None` stays as it is.
struct Change {
    description: Option<String>,
    variables: Option<JsonMap>,
    plugin_defaults: Option<Vec<Value>>,
}

impl Change {
    fn of(wanted: &proto::Namespace, mask: &[String]) -> Result<Self> {
        const FIELDS: [&str; 3] = ["description", "variables", "plugin_defaults"];
        if let Some(unknown) = mask.iter().find(|path| !FIELDS.contains(&path.as_str())) {
            return Err(invalid("update_mask", format!("`{unknown}` is none of {}", FIELDS.join(", "))));
        }
        let asked = |field: &str| mask.is_empty() || mask.iter().any(|path| path == field);
        let variables = asked("variables").then(|| match &wanted.variables {
            Some(json) => object("namespace.variables", json),
            None => Ok(JsonMap::new()),
        });
        let defaults = asked("plugin_defaults").then(|| plugin_defaults(&wanted.plugin_defaults));
        Ok(Self {
            description: asked("description").then(|| wanted.description.clone()),
            variables: variables.transpose()?,
            plugin_defaults: defaults.transpose()?,
        })
    }

    fn apply(&self, mut settings: NamespaceSettings) -> NamespaceSettings {
        if let Some(description) = &self.description {
            settings.description = Some(description.clone()).filter(|text| !text.is_empty());
        }
        if let Some(variables) = &self.variables {
            settings.variables = variables.clone();
        }
        if let Some(plugin_defaults) = &self.plugin_defaults {
            settings.plugin_defaults = plugin_defaults.clone();
        }
        settings
    }
}

fn object(field: &str, json: &proto::Json) -> Result<JsonMap> {
    match serde_json::from_str(&json.text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(invalid(field, "must be a JSON object")),
        Err(error) => Err(invalid(field, format!("not a JSON text: {error}"))),
    }
}

/// As flows write them.
fn plugin_defaults(list: &[proto::PluginDefault]) -> Result<Vec<Value>> {
    let mut read = Vec::with_capacity(list.len());
    for (index, entry) in list.iter().enumerate() {
        let path = format!("namespace.plugin_defaults[{index}]");
        if entry.r#type.trim().is_empty() {
            return Err(invalid(&format!("{path}.type"), "is required"));
        }
        let values = entry.values.as_ref().ok_or_else(|| invalid(&format!("{path}.values"), "is required"))?;
        let values = object(&format!("{path}.values"), values)?;
        read.push(json!({"type": entry.r#type, "forced": entry.forced, "values": values}));
    }
    Ok(read)
}

fn check_settings(settings: &NamespaceSettings) -> Result<()> {
    let description = settings.description.as_ref().map_or(0, String::len);
    if description > MAX_DESCRIPTION {
        return Err(invalid("namespace.description", format!("{description} bytes; at most {MAX_DESCRIPTION}")));
    }
    let (variables, defaults) = (json!(settings.variables).to_string(), json!(settings.plugin_defaults).to_string());
    let size = description + variables.len() + defaults.len();
    if size > MAX_SETTINGS {
        let why = format!("{size} bytes; at most {MAX_SETTINGS}");
        let error = Error::new(ErrorKind::ResourceExhausted, reasons::MESSAGE_TOO_LARGE, format!("namespace: {why}"));
        return Err(error.with("limit", MAX_SETTINGS).field("namespace", why));
    }
    let (_, violations) = PluginDefaults::read(&settings.plugin_defaults, "namespace.plugin_defaults");
    if violations.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = violations.iter().map(|wrong| format!("{}: {}", wrong.path, wrong.message)).collect();
    let error = Error::new(ErrorKind::InvalidArgument, reasons::INVALID_ARGUMENT, lines.join("\n"));
    Err(violations.into_iter().fold(error, |error, wrong| {
        let why = match wrong.suggestion {
            Some(suggestion) => format!("{}; did you mean `{suggestion}`?", wrong.message),
            None => wrong.message,
        };
        error.field(wrong.path, why)
    }))
}

fn etag_of(row: Option<&NamespaceRow>) -> String {
    row.map_or_else(|| "0".to_owned(), |row| format!("{}-{:x}", row.version, row.updated_at.as_micros()))
}

fn shown(name: &str, row: Option<&NamespaceRow>, full: bool) -> proto::Namespace {
    let nothing = NamespaceSettings::default();
    let settings = row.map_or(&nothing, |row| &row.settings);
    let namespace = if full {
        described(name, settings)
    } else {
        let description = settings.description.clone().unwrap_or_default();
        proto::Namespace { name: name.to_owned(), description, ..Default::default() }
    };
    proto::Namespace {
        etag: etag_of(row),
        created: row.map(|row| convert::time(row.created_at)),
        updated: row.map(|row| convert::time(row.updated_at)),
        ..namespace
    }
}

fn described(name: &str, settings: &NamespaceSettings) -> proto::Namespace {
    proto::Namespace {
        name: name.to_owned(),
        description: settings.description.clone().unwrap_or_default(),
        variables: Some(convert::json(&settings.variables)),
        plugin_defaults: settings.plugin_defaults.iter().map(shown_default).collect(),
        ..Default::default()
    }
}

fn shown_default(entry: &Value) -> proto::PluginDefault {
    proto::PluginDefault {
        r#type: entry.get("type").and_then(Value::as_str).unwrap_or_default().to_owned(),
        forced: entry.get("forced").and_then(Value::as_bool).unwrap_or_default(),
        values: Some(convert::json(entry.get("values").unwrap_or(&Value::Null))),
    }
}

/// What a flow gets from these, the nearest first.
fn effective(lineage: &[NamespaceRow]) -> proto::InheritedSettings {
    let nothing = PluginDefaults::default();
    let variables = Inherited::of(lineage.iter().map(|row| (&row.settings.variables, &nothing)));
    let defaults = lineage.iter().flat_map(|row| {
        row.settings.plugin_defaults.iter().map(|entry| proto::InheritedPluginDefault {
            namespace: row.namespace.clone(),
            plugin_default: Some(shown_default(entry)),
        })
    });
    proto::InheritedSettings {
        variables: Some(convert::json(variables.variables().as_ref())),
        plugin_defaults: defaults.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_leaves_what_it_does_not_name() {
        let wanted = proto::Namespace {
            description: "new".into(),
            variables: Some(proto::Json { text: r#"{"a": 1}"#.into() }),
            ..Default::default()
        };
        let before = NamespaceSettings {
            description: Some("old".into()),
            variables: JsonMap::new(),
            plugin_defaults: vec![json!({"type": "t", "values": {}})],
        };
        let masked = Change::of(&wanted, &["variables".to_owned()]).unwrap().apply(before.clone());
        assert_eq!((masked.description.as_deref(), masked.plugin_defaults.len()), (Some("old"), 1));
        assert_eq!(Value::Object(masked.variables), json!({"a": 1}));
        let whole = Change::of(&wanted, &[]).unwrap().apply(before);
        assert_eq!((whole.description.as_deref(), whole.plugin_defaults.len()), (Some("new"), 0));
        assert!(Change::of(&wanted, &["etag".to_owned()]).is_err());
    }

    #[test]
    fn wrong_plugin_defaults_are_named_by_type_and_property() {
        let settings = NamespaceSettings {
            plugin_defaults: vec![
                json!({"type": "io.kestra.plugin.core.log.Log", "values": {"levle": "INFO", "level": "LOUD"}}),
                json!({"type": "io.kestra.plugin.core.flow", "values": {"disabled": true}}),
            ],
            ..NamespaceSettings::default()
        };
        let error = check_settings(&settings).unwrap_err();
        let fields: Vec<_> = error.fields.iter().map(|field| field.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "namespace.plugin_defaults[0].values.levle",
                "namespace.plugin_defaults[0].values.level",
                "namespace.plugin_defaults[1].values.disabled"
            ]
        );
        assert!(error.fields[0].description.contains("No property 'levle' exists in plugin"), "{error}");
        assert!(error.fields[0].description.ends_with("did you mean `level`?"));
        assert!(error.fields[2].description.contains("only the flow itself can say"));
    }

    #[test]
    fn names_below_are_told_by_their_dots() {
        assert!(is_within("a.b", "a.b") && is_within("a.b.c", "a.b"));
        assert!(!is_within("a.bc", "a.b") && !is_within("a", "a.b"));
    }
}
