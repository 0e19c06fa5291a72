//! `windhover plugin …`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use windhover_client::v1::{GetPluginRequest, ListPluginsRequest, Plugin, PluginKind, PluginOutput, PluginProperty};

use super::{
    error::Failure,
    output::table,
    pages,
    session::Session,
    style::{self, BOLD, DIM, paint, safe},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the types that flows can name.
    List(List),
    /// Print what a type does, its properties, its outputs and an example.
    Doc(Doc),
}

#[derive(Args)]
pub(crate) struct List {
    /// Only types in whose name or description this stands.
    #[arg(default_value = "", hide_default_value = true)]
    text: String,
    /// Only this kind: task, trigger, condition, part.
    #[arg(long, value_parser = kind)]
    kind: Option<PluginKind>,
    /// Also those that this version knows and cannot run.
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub(crate) struct Doc {
    /// Name or older name of the type; of names that only one type has, the last part is enough.
    #[arg(value_name = "TYPE")]
    name: String,
    /// Also the properties that every type of its kind has.
    #[arg(long)]
    all: bool,
}

fn kind(text: &str) -> Result<PluginKind, String> {
    match PluginKind::from_short_name(text) {
        Some(kind) if kind != PluginKind::Unspecified => Ok(kind),
        _ => Err("is no kind; kinds are task, trigger, condition, part".to_owned()),
    }
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List(List { text, kind, all }) => {
            let kind = kind.unwrap_or_default();
            let mut response = plugins(session, kind, &text).await?;
            response.plugins.retain(|plugin| all || !plugin.unsupported);
            session.output.print(&response, || rows(&response.plugins))?;
        }
        Command::Doc(Doc { name, all }) => {
            let name = full_name(session, name).await?;
            let response = session.client.get_plugin(GetPluginRequest { r#type: name }).await?;
            session
                .output
                .print(&response, || response.plugin.iter().flat_map(|plugin| described(plugin, all)).collect())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn plugins(
    session: &Session,
    kind: PluginKind,
    text: &str,
) -> Result<windhover_client::v1::ListPluginsResponse, Failure> {
    let response = pages::collect(0, async |page_size, page_token| {
        let request = ListPluginsRequest { page_size, page_token, kind: kind.into(), text: text.to_owned() };
        session.client.list_plugins(request).await
    });
    Ok(response.await?)
}

/// The type whose name ends so, if it is the only one.
async fn full_name(session: &Session, name: String) -> Result<String, Failure> {
    if name.is_empty() || name.contains("kestra") {
        return Ok(name);
    }
    let end = format!(".{}", name.to_lowercase());
    let mut found: Vec<String> = plugins(session, PluginKind::Unspecified, &name)
        .await?
        .plugins
        .into_iter()
        .map(|plugin| plugin.r#type)
        .filter(|known| known.to_lowercase().ends_with(&end))
        .collect();
    match found.len() {
        // The server says what was probably meant.
        0 => Ok(name),
        1 => Ok(found.remove(0)),
        _ => Err(Failure::Here(format!("several types are called {name}: {}", found.join(", ")))),
    }
}

fn rows(plugins: &[Plugin]) -> Vec<String> {
    let rows = plugins.iter().map(|plugin| {
        let said = if plugin.unsupported { "not supported yet" } else { &plugin.description };
        [safe(&plugin.r#type).into_owned(), plugin.kind().short_name().to_lowercase(), safe(said).into_owned()]
    });
    table(["TYPE", "KIND", ""], rows.collect())
}

fn described(plugin: &Plugin, all: bool) -> Vec<String> {
    let mut lines = vec![format!("{}  {}", paint(BOLD, &plugin.r#type), plugin.kind().short_name().to_lowercase())];
    if plugin.unsupported {
        lines.push(paint(style::WARNING, "This version knows it and cannot run it."));
    }
    if !plugin.description.is_empty() {
        lines.push(safe(&plugin.description).into_owned());
    }
    if !plugin.aliases.is_empty() {
        lines.push(paint(DIM, &format!("also called {}", plugin.aliases.join(", "))));
    }
    let shown = plugin.properties.iter().filter(|property| all || !property.common);
    let mut rows = Vec::new();
    shown.for_each(|property| rows_of(property, "", &mut rows));
    if !rows.is_empty() {
        lines.extend([String::new(), paint(BOLD, "Properties")]);
        lines.extend(table(["NAME", "TYPE", "DEFAULT", ""], rows));
    }
    if !plugin.outputs.is_empty() {
        lines.extend([String::new(), paint(BOLD, "Outputs")]);
        let row = |output: &PluginOutput| [output.name.clone(), output.r#type.clone(), output.description.clone()];
        lines.extend(table(["NAME", "TYPE", ""], plugin.outputs.iter().map(row).collect()));
    }
    if !plugin.example.is_empty() {
        lines.extend([String::new(), paint(BOLD, "Example")]);
        let dash = |(index, line): (usize, &str)| format!("{}{line}", if index == 0 { "- " } else { "  " });
        lines.extend(plugin.example.trim_end().lines().enumerate().map(dash));
    }
    lines
}

/// A property, and below it what it consists of.
fn rows_of(property: &PluginProperty, above: &str, rows: &mut Vec<[String; 4]>) {
    let name = format!("{above}{}", property.name);
    let mut said = property.description.clone();
    if property.required {
        said = format!("Required. {said}");
    }
    if property.unsupported {
        said = format!("Not supported yet. {said}");
    }
    if !property.aliases.is_empty() {
        said = format!("{said} Also called {}.", property.aliases.join(", "));
    }
    rows.push([name.clone(), property.r#type.clone(), property.default_value.clone(), said.trim().to_owned()]);
    for inner in &property.properties {
        rows_of(inner, &format!("{name}."), rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_tells_what_is_required_and_what_is_inside_of_what() {
        let inner = PluginProperty { name: "rows".into(), default_value: "1".into(), ..Default::default() };
        let batch = PluginProperty {
            name: "batch".into(),
            required: true,
            description: "How it is split.".into(),
            properties: vec![inner],
            ..Default::default()
        };
        let common = PluginProperty { name: "runIf".into(), common: true, ..Default::default() };
        let plugin = Plugin {
            r#type: "io.kestra.plugin.core.flow.ForEachItem".into(),
            kind: PluginKind::Task.into(),
            properties: vec![batch, common],
            example: "id: each\ntype: x\n".into(),
            ..Default::default()
        };
        let text = anstream::adapter::strip_str(&described(&plugin, false).join("\n")).to_string();
        for part in ["ForEachItem  task", "Required. How it is split.", "batch.rows", "- id: each\n  type: x"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(!text.contains("runIf"));
    }
}
