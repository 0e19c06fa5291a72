//! The types that flows can name, and the schema of flows: methods of FlowService.

use windhover_flow::{
    PropertySpec, TaskType, json_schema,
    table::{self, Family, Kind, Role, Support},
};
use windhover_proto::{
    reasons,
    v1::{self as proto, PluginKind},
};
use windhover_types::{Error, ErrorKind};

use super::{Shared, cluster::cut};
use crate::{
    convert,
    error::{Result, invalid},
    page::{Binding, page_size},
};

/// A text to look for is no novel.
const MAX_TEXT: usize = 256;

pub(super) fn schema() -> proto::GetFlowSchemaResponse {
    proto::GetFlowSchemaResponse { schema: Some(convert::json(json_schema())) }
}

pub(super) fn list(shared: &Shared, request: &proto::ListPluginsRequest) -> Result<proto::ListPluginsResponse> {
    let size = page_size(request.page_size)?;
    let wanted = PluginKind::try_from(request.kind)
        .map_err(|_| invalid("kind", format!("{} is no kind of types", request.kind)))?;
    if request.text.len() > MAX_TEXT {
        return Err(invalid("text", format!("at most {MAX_TEXT} bytes")));
    }
    let text = request.text.to_lowercase();
    let binding = Binding::new(&["plugins", wanted.as_str_name(), &text]);
    let after = shared.begin(&binding, &request.page_token)?;
    let found = types().filter(|entry| {
        let of_kind = wanted == PluginKind::Unspecified || kind(entry.family.role()) == wanted;
        let says = |said: &str| said.to_lowercase().contains(&text);
        let doc = table::doc_of(entry.name).map(|doc| doc.doc).unwrap_or_default();
        of_kind && (says(entry.name) || says(doc) || entry.aliases.iter().any(|alias| says(alias)))
    });
    let page = cut(found.collect(), size, after, |entry: &&TaskType| {
        format!("{}\n{}", kind(entry.family.role()) as i32, entry.name).into_bytes()
    });
    Ok(proto::ListPluginsResponse {
        plugins: page.items.into_iter().map(described).collect(),
        next_page_token: shared.next_token(&binding, page.next),
    })
}

pub(super) fn get(name: &str) -> Result<proto::GetPluginResponse> {
    if name.is_empty() {
        return Err(invalid("type", "is required"));
    }
    let Some(entry) = table::lookup(name).filter(|entry| entry.family != Family::Generated) else {
        let meant = table::probably_meant(name);
        let hint = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        let message = format!("there is no type {name}{hint}");
        let error = Error::new(ErrorKind::NotFound, reasons::PLUGIN_NOT_FOUND, message).with("type", name);
        return Err(meant.into_iter().fold(error, |error, meant| error.with("suggestion", meant)));
    };
    let own = entry.properties.iter().map(|spec| property(entry, spec, "", false));
    let common = entry.common().iter().map(|spec| property(entry, spec, "", true));
    let doc = table::doc_of(entry.name);
    let outputs = doc.map(|doc| doc.outputs).unwrap_or_default().iter().map(|(name, kind, said)| proto::PluginOutput {
        name: (*name).to_owned(),
        r#type: (*kind).to_owned(),
        description: (*said).to_owned(),
    });
    Ok(proto::GetPluginResponse {
        plugin: Some(proto::Plugin {
            properties: own.chain(common).collect(),
            outputs: outputs.collect(),
            example: doc.map(|doc| doc.example).unwrap_or_default().to_owned(),
            ..described(entry)
        }),
    })
}

fn types() -> impl Iterator<Item = &'static TaskType> {
    table::types().filter(|entry| entry.family != Family::Generated)
}

const fn kind(role: Role) -> PluginKind {
    match role {
        Role::Task => PluginKind::Task,
        Role::Trigger => PluginKind::Trigger,
        Role::Condition => PluginKind::Condition,
        Role::Part => PluginKind::Part,
    }
}

fn described(entry: &TaskType) -> proto::Plugin {
    proto::Plugin {
        r#type: entry.name.to_owned(),
        kind: kind(entry.family.role()) as i32,
        description: table::doc_of(entry.name).map(|doc| doc.doc).unwrap_or_default().to_owned(),
        aliases: entry.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        unsupported: !entry.is_built(),
        ..proto::Plugin::default()
    }
}

fn property(of: &TaskType, spec: &PropertySpec, above: &str, common: bool) -> proto::PluginProperty {
    let path = if above.is_empty() { spec.name.to_owned() } else { format!("{above}.{}", spec.name) };
    let (default, doc) = table::property_doc(of, &path).unwrap_or_default();
    let (choices, inner): (&[&str], &[PropertySpec]) = match spec.kind {
        Kind::Choice(values) => (values, &[]),
        Kind::Object(specs) => (&[], specs),
        Kind::Level => (&["TRACE", "DEBUG", "INFO", "WARN", "ERROR"], &[]),
        _ => (&[], &[]),
    };
    let possible = |value: &&&str| !matches!(spec.support, Support::Except(literal) if literal == **value);
    proto::PluginProperty {
        name: spec.name.to_owned(),
        r#type: type_of(spec),
        choices: choices.iter().filter(possible).map(|value| (*value).to_owned()).collect(),
        required: spec.required,
        default_value: default.to_owned(),
        description: doc.to_owned(),
        aliases: spec.aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        template: !matches!(spec.kind, Kind::Literal | Kind::Nested | Kind::Part | Kind::Object(_)),
        unsupported: spec.support == Support::Unbuilt,
        common,
        properties: inner.iter().map(|spec| property(of, spec, &path, common)).collect(),
    }
}

/// For people.
fn type_of(spec: &PropertySpec) -> String {
    let name = match spec.kind {
        Kind::Text | Kind::Literal => "text",
        Kind::Bool => "boolean",
        Kind::Int => "whole number",
        Kind::Duration => "duration",
        Kind::Level => "level",
        Kind::Choice(values) => return format!("one of {}", values.join(", ")),
        Kind::Map | Kind::Object(_) => "map",
        Kind::List => "list",
        Kind::Any => "any",
        Kind::Part => "map with a type",
        Kind::Nested => match spec.name {
            "tasks" | "errors" | "finally" | "then" | "else" | "defaults" => "list of tasks",
            "cases" => "lists of tasks",
            "onPause" | "task" => "task",
            "conditions" | "scheduleConditions" => "conditions",
            "onResume" => "list of inputs",
            "labels" => "labels",
            "states" | "stopAfter" => "list of states",
            _ => "map",
        },
    };
    name.to_owned()
}
