//! Inputs and outputs of a flow.

use std::collections::HashMap;

use super::check::{self, IdRule, Ids};
use super::fields::{self, Fields, below};
use super::report::Report;
use crate::input::{Bounds, literal_problem};
use crate::table::{INPUT_COMMON, Kind, OUTPUT, input_properties, nearest};
use crate::yaml::{Content, Node};
use crate::{DependsOn, Input, InputKind, InputType, Output, Pattern, Properties, Select};

/// Longest `displayName`.
const LONGEST_NAME: usize = 64;

/// Reads the inputs; `ids` learns their ids.
pub(super) fn read_inputs(report: &mut Report, node: &Node, path: &str, ids: &mut Ids) -> Vec<Input> {
    let items = list(report, node, path, "inputs");
    let mut inputs = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let own = ["id", "name"].into_iter().find_map(|key| Some((key, item.get(key)?)));
        if let Some((key, node)) = own
            && let Some(id) = node.scalar_text()
        {
            ids.add(report, "input", id, &below(&path, key), node.at);
        }
        inputs.extend(input(report, item, &path));
    }
    dependencies(report, items, path);
    inputs
}

/// Reads the outputs.
pub(super) fn read_outputs(report: &mut Report, node: &Node, path: &str) -> Vec<Output> {
    let mut ids = Ids::default();
    let mut outputs = Vec::new();
    for (index, item) in list(report, node, path, "outputs").iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(fields) = fields::read(report, item, &path, &[OUTPUT], "output") else { continue };
        let Some(id) = fields.string("id") else { continue };
        check::id(report, IdRule::Input, "id", &id, &fields.path("id"), fields.place("id"));
        ids.add(report, "output", &id, &fields.path("id"), fields.place("id"));
        let output_type = input_type(report, &fields, "type");
        let value = fields.properties(report, "value");
        let (Some(output_type), Some(value)) = (output_type, value) else { continue };
        outputs.push(Output {
            id,
            output_type,
            value,
            required: fields.bool(report, "required", true),
            description: fields.string("description"),
            display_name: fields.string("displayName"),
        });
    }
    outputs
}

fn list<'n>(report: &mut Report, node: &'n Node, path: &str, what: &str) -> &'n [Node] {
    match &node.content {
        Content::List(items) => items,
        _ => {
            report.error(path, node.at, format!("expected a list of {what}, but got {}", node.describe()));
            &[]
        }
    }
}

/// The type that a property names; reported when there is none such.
fn input_type(report: &mut Report, fields: &Fields<'_>, name: &str) -> Option<InputType> {
    let node = fields.get(name)?;
    let text = node.scalar_text().unwrap_or_default();
    let Some(known) = InputType::parse(text) else {
        let names = InputType::ALL.iter().map(|known| known.as_str());
        let suggestion = nearest(text, names).map(str::to_owned);
        report.error_with(&fields.path(name), node.at, format!("Invalid type: {text}"), suggestion);
        return None;
    };
    Some(known)
}

fn input(report: &mut Report, node: &Node, path: &str) -> Option<Input> {
    let Content::Map(_) = &node.content else {
        report.error(path, node.at, format!("expected an input, but got {}", node.describe()));
        return None;
    };
    // The table of its properties depends on the type, known or not.
    let named = node.get("type").and_then(Node::scalar_text).and_then(InputType::parse);
    let own = named.map_or(&[][..], input_properties);
    // Of an unknown type no property can be called unknown.
    let fields = match (named, node.get("type")) {
        (None, Some(at)) => {
            let text = at.scalar_text().unwrap_or_default();
            let names = InputType::ALL.iter().map(|known| known.as_str());
            let suggestion = nearest(text, names).map(str::to_owned);
            report.error_with(&below(path, "type"), at.at, format!("Invalid type: {text}"), suggestion);
            return None;
        }
        _ => fields::read(report, node, path, &[INPUT_COMMON, own], "input")?,
    };
    let id = match fields.literal("id").or_else(|| fields.literal("name")) {
        Some(id) => id.to_owned(),
        None => {
            report.error(&below(path, "id"), node.at, "id: must not be null");
            String::new()
        }
    };
    if !id.is_empty() {
        let key = if fields.get("id").is_some() { "id" } else { "name" };
        check::id(report, IdRule::Input, "id", &id, &below(path, key), fields.place(key));
    }
    let input_type = input_type(report, &fields, "type")?;
    let kind = kind(report, &fields, input_type)?;
    let required = fields.bool(report, "required", true);
    let defaults = defaults(report, &fields, &kind, required);
    if fields.literal("displayName").is_some_and(|name| name.chars().count() > LONGEST_NAME) {
        report.error(
            &fields.path("displayName"),
            fields.place("displayName"),
            format!("displayName: size must be between 0 and {LONGEST_NAME}"),
        );
    }
    Some(Input {
        id,
        kind,
        required,
        defaults,
        prefill: fields.get("prefill").map(Node::to_value),
        depends_on: fields.get("dependsOn").and_then(|node| depends_on(report, node, &fields.path("dependsOn"))),
        description: fields.string("description"),
        display_name: fields.string("displayName"),
    })
}

fn defaults(report: &mut Report, fields: &Fields<'_>, kind: &InputKind, required: bool) -> Option<Properties> {
    let node = fields.get("defaults")?;
    let path = fields.path("defaults");
    if fields.get("prefill").is_some() {
        report.error(&fields.path("prefill"), node.at, "`prefill` and `defaults` cannot be given together");
    }
    if !required {
        report.warning(&path, node.at, "an input with `defaults` always has a value: `required: false` has no effect");
    }
    if matches!(kind, InputKind::File { .. }) {
        match node.scalar_text() {
            Some(text) if text.starts_with("file://") || text.starts_with("nsfile://") => {
                report.unsupported(&path, node.at, "a default of a FILE input");
            }
            _ => report.error(&path, node.at, "defaults of a FILE input must be a `file://` or `nsfile://` URI"),
        }
    }
    // Texts are taken as they were written, numbers and the like by what they are.
    let as_text = matches!(
        kind,
        InputKind::String { .. }
            | InputKind::Secret { .. }
            | InputKind::Select(_)
            | InputKind::Enum { .. }
            | InputKind::Uri
            | InputKind::Email
    );
    let kind_of_value = if as_text { Kind::Text } else { Kind::Any };
    let defaults = fields::build(report, kind_of_value, node, &path);
    let mut rendered = false;
    defaults.each_text(&mut |_| rendered = true);
    if !rendered && let Some(cause) = literal_problem(kind, &defaults.source(), required) {
        report.error(&path, node.at, format!("Invalid default: {cause}"));
    }
    Some(defaults)
}

fn depends_on(report: &mut Report, node: &Node, path: &str) -> Option<DependsOn> {
    use crate::table::PropertySpec;
    const SPECS: &[PropertySpec] =
        &[PropertySpec::new("inputs", Kind::List).required(), PropertySpec::new("condition", Kind::Text)];
    let fields = fields::read(report, node, path, &[SPECS], "dependsOn")?;
    Some(DependsOn { inputs: texts(report, &fields, "inputs"), condition: fields.text(report, "condition") })
}

/// A list of scalars, as they were written.
fn texts(report: &mut Report, fields: &Fields<'_>, name: &str) -> Vec<String> {
    let Some(node) = fields.get(name) else { return Vec::new() };
    let Content::List(items) = &node.content else {
        report.error(&fields.path(name), node.at, format!("{name}: expected a list, but got {}", node.describe()));
        return Vec::new();
    };
    let mut texts = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match item.scalar_text() {
            Some(text) => texts.push(text.to_owned()),
            None => {
                let path = format!("{}[{index}]", fields.path(name));
                report.error(&path, item.at, format!("{name}: expected a text, but got {}", item.describe()));
            }
        }
    }
    texts
}

fn kind(report: &mut Report, fields: &Fields<'_>, input: InputType) -> Option<InputKind> {
    Some(match input {
        InputType::String => InputKind::String { validator: pattern(report, fields) },
        InputType::Int => InputKind::Int(bounds(report, fields, ["min", "max"], &|text| text.parse().ok())),
        InputType::Float => InputKind::Float(bounds(report, fields, ["min", "max"], &|text| {
            text.parse().ok().filter(|number: &f64| number.is_finite())
        })),
        InputType::Duration => {
            InputKind::Duration(bounds(report, fields, ["min", "max"], &|text| crate::parse_duration(text).ok()))
        }
        InputType::DateTime => InputKind::DateTime(bounds(report, fields, ["after", "before"], &|text| {
            chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| at.with_timezone(&chrono::Utc))
        })),
        InputType::Date => InputKind::Date(bounds(report, fields, ["after", "before"], &|text| {
            chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
        })),
        InputType::Time => InputKind::Time(bounds(report, fields, ["after", "before"], &|text| {
            ["%H:%M", "%H:%M:%S%.f"].iter().find_map(|format| chrono::NaiveTime::parse_from_str(text, format).ok())
        })),
        InputType::Bool => InputKind::Bool,
        InputType::Json => InputKind::Json,
        InputType::Yaml => InputKind::Yaml,
        InputType::Uri => InputKind::Uri,
        InputType::Email => InputKind::Email,
        InputType::File => InputKind::File { allowed_extensions: extensions(report, fields) },
        InputType::Array => InputKind::Array { item: item_type(report, fields)? },
        InputType::Select => InputKind::Select(select(report, fields)),
        InputType::MultiSelect => {
            let item = if fields.get("itemType").is_some() { item_type(report, fields)? } else { InputType::String };
            InputKind::MultiSelect { select: select(report, fields), item }
        }
        InputType::Enum => InputKind::Enum { values: texts(report, fields, "values") },
        InputType::Secret => InputKind::Secret { validator: pattern(report, fields) },
    })
}

fn item_type(report: &mut Report, fields: &Fields<'_>) -> Option<InputType> {
    let item = input_type(report, fields, "itemType")?;
    if !item.is_item() {
        report.error(
            &fields.path("itemType"),
            fields.place("itemType"),
            format!("`itemType` cannot be `{}`", item.as_str()),
        );
        return None;
    }
    Some(item)
}

fn select(report: &mut Report, fields: &Fields<'_>) -> Select {
    if fields.get("values").is_some() && fields.get("options").is_some() {
        report.error(
            &fields.path("options"),
            fields.place("options"),
            "`values` and `options` cannot be given together",
        );
    }
    let name = if fields.get("options").is_some() { "options" } else { "values" };
    Select {
        values: texts(report, fields, name),
        expression: fields.text(report, "expression"),
        allow_custom_value: fields.bool(report, "allowCustomValue", false),
        auto_select_first: fields.bool(report, "autoSelectFirst", false),
    }
}

fn extensions(report: &mut Report, fields: &Fields<'_>) -> Vec<String> {
    let extensions = texts(report, fields, "allowedFileExtensions");
    for extension in extensions.iter().filter(|extension| !extension.starts_with('.')) {
        let message = format!("`{extension}`: an extension begins with a dot");
        report.error(&fields.path("allowedFileExtensions"), fields.place("allowedFileExtensions"), message);
    }
    extensions
}

fn pattern(report: &mut Report, fields: &Fields<'_>) -> Option<Pattern> {
    let node = fields.get("validator")?;
    match Pattern::new(node.scalar_text().unwrap_or_default()) {
        Ok(pattern) => Some(pattern),
        Err(message) => {
            report.error(&fields.path("validator"), node.at, message);
            None
        }
    }
}

fn bounds<T>(
    report: &mut Report,
    fields: &Fields<'_>,
    names: [&str; 2],
    parse: &dyn Fn(&str) -> Option<T>,
) -> Bounds<T> {
    let mut bound = |name: &str| {
        let node = fields.get(name)?;
        let parsed = node.scalar_text().and_then(parse);
        if parsed.is_none() {
            let text = node.scalar_text().unwrap_or_default();
            report.error(&fields.path(name), node.at, format!("{name}: `{text}` is no value of this type"));
        }
        parsed
    };
    Bounds { low: bound(names[0]), high: bound(names[1]) }
}

/// Unknown dependencies and cycles.
fn dependencies(report: &mut Report, items: &[Node], path: &str) {
    let id = |node: &Node| {
        node.get("id").or_else(|| node.get("name")).and_then(Node::scalar_text).unwrap_or_default().to_owned()
    };
    let ids: Vec<String> = items.iter().map(id).collect();
    let positions: HashMap<&str, usize> = ids.iter().enumerate().map(|(index, id)| (id.as_str(), index)).collect();
    let mut graph: Vec<Vec<usize>> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let mut edges = Vec::new();
        let list = item.get("dependsOn").and_then(|depends| depends.get("inputs"));
        if let Some(Content::List(names)) = list.map(|node| &node.content) {
            for node in names {
                let Some(name) = node.scalar_text() else { continue };
                match positions.get(name) {
                    Some(target) => edges.push(*target),
                    None => {
                        let message =
                            format!("Input with id '{}' depends on a non-existent input '{name}'.", ids[index]);
                        report.error(&format!("{path}[{index}].dependsOn.inputs"), node.at, message);
                    }
                }
            }
        }
        graph.push(edges);
    }
    for cycle in cycles(&graph) {
        /// A longer cycle is told by its beginning.
        const SHOWN: usize = 20;
        let names: Vec<&str> = cycle.iter().take(SHOWN).map(|index| ids[*index].as_str()).collect();
        let first = cycle[0];
        let message = format!("Cycle dependency detected for input with id '{}': [{}]", names[0], names.join(", "));
        let at = items[first].get("dependsOn").map_or(items[first].at, |node| node.at);
        report.error(&format!("{path}[{first}].dependsOn"), at, message);
    }
}

/// Cycles of a graph, found depth first with a stack of its own; each begins at its first node.
fn cycles(graph: &[Vec<usize>]) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Color {
        White,
        Grey,
        Black,
    }
    let mut found = Vec::new();
    let mut colors = vec![Color::White; graph.len()];
    for start in 0..graph.len() {
        if colors[start] != Color::White {
            continue;
        }
        colors[start] = Color::Grey;
        // Nodes on the way, each with the number of its edges that were followed.
        let mut way = vec![(start, 0)];
        while let Some((node, followed)) = way.last_mut() {
            let Some(&next) = graph[*node].get(*followed) else {
                colors[*node] = Color::Black;
                way.pop();
                continue;
            };
            *followed += 1;
            match colors[next] {
                Color::White => {
                    colors[next] = Color::Grey;
                    way.push((next, 0));
                }
                Color::Grey => {
                    found.push(way.iter().map(|(node, _)| *node).skip_while(|node| *node != next).collect());
                }
                Color::Black => {}
            }
        }
    }
    found
}
