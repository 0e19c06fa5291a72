//! `pluginDefaults`: values that the tasks, triggers and conditions of a flow get without saying so (flow model
//! reference 8.1, 1.x reference 1.5). Put into the tree before it is read, so that required properties can come from
//! them.

use super::fields::{self, below};
use super::report::Report;
use crate::table::{self, PLUGIN_DEFAULT, TaskType, nearest};
use crate::yaml::{Content, Entry, Node};

/// One entry.
struct PluginDefault {
    /// Its type as written, and the canonical name when it is an alias: both are matched as prefixes.
    names: Vec<String>,
    forced: bool,
    values: Vec<Entry>,
}

/// How much may be added: a large default times many tasks must not fill the memory.
struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        // Values, and texts by blocks of 16 bytes.
        Self { left: 1_000_000 }
    }
}

impl Budget {
    /// A copy of the node, if there is room for it.
    fn copy(&mut self, node: &Node) -> Option<Node> {
        match self.left.checked_sub(weight(node)) {
            Some(left) if left > 0 => {
                self.left = left;
                Some(node.clone())
            }
            _ => {
                self.left = 0;
                None
            }
        }
    }
}

fn weight(node: &Node) -> usize {
    1 + match &node.content {
        Content::Scalar(scalar) => scalar.text.len() / 16,
        Content::List(items) => items.iter().map(weight).sum(),
        Content::Map(entries) => entries.iter().map(|entry| 1 + weight(&entry.value)).sum(),
    }
}

const KEYS: [&str; 2] = ["pluginDefaults", "taskDefaults"];

/// Puts the defaults of the flow into its tasks and triggers. The older `taskDefaults` count only when there are no
/// `pluginDefaults`.
pub(super) fn inject(report: &mut Report, flow: &mut Node) {
    let Some(key) = KEYS.into_iter().find(|key| flow.get(key).is_some()) else { return };
    let Some(list) = flow.get(key) else { return };
    if key == KEYS[1] {
        report.warning(key, list.at, "taskDefaults is replaced by pluginDefaults");
    }
    let defaults = read(report, list, key);
    if defaults.is_empty() {
        return;
    }
    let at = list.at;
    let mut budget = Budget::default();
    if let Content::Map(entries) = &mut flow.content {
        for entry in entries.iter_mut().filter(|entry| !KEYS.contains(&entry.key.as_str()) && entry.key != "variables")
        {
            apply(&mut entry.value, &defaults, &mut budget);
        }
    }
    if budget.left == 0 {
        report.error(key, at, "Invalid Plugin Default: the defaults make the flow too large");
    }
}

fn read(report: &mut Report, list: &Node, path: &str) -> Vec<PluginDefault> {
    let Content::List(items) = &list.content else {
        report.error(path, list.at, format!("Invalid Plugin Default: expected a list, but got {}", list.describe()));
        return Vec::new();
    };
    let item = |(index, item): (usize, &Node)| read_entry(report, item, &format!("{path}[{index}]"));
    items.iter().enumerate().filter_map(item).collect()
}

fn read_entry(report: &mut Report, node: &Node, path: &str) -> Option<PluginDefault> {
    let fields = fields::read(report, node, path, &[PLUGIN_DEFAULT], "plugin default")?;
    let name = fields.string("type");
    if name.is_none() {
        report.error(&below(path, "type"), node.at, "Invalid Plugin Default: No 'type' provided");
    }
    let Some(values) = fields.get("values") else {
        report.error(&below(path, "values"), node.at, "Invalid Plugin Default: No 'values' provided");
        return None;
    };
    let name = name?;
    let Content::Map(entries) = &values.content else {
        let message = format!("Invalid Plugin Default: expected a map, but got {}", values.describe());
        report.error(&below(path, "values"), values.at, message);
        return None;
    };
    let entry = table::lookup(&name);
    for value in entries {
        let path = format!("{path}.values.{}", value.key);
        if value.value.is_null() {
            report.error(&path, value.key_at, format!("Invalid Plugin Default: the value of '{}' is null", value.key));
        }
        if let Some(entry) = entry.filter(|entry| entry.is_built())
            && find(entry, &value.key).is_none()
        {
            let names = entry.properties.iter().chain(entry.common()).map(|spec| spec.name);
            let suggestion = nearest(&value.key, names).map(str::to_owned);
            let message = format!("Invalid Plugin Default: No property '{}' exists in plugin '{name}'", value.key);
            report.error_with(&path, value.key_at, message, suggestion);
        }
    }
    let forced = fields.bool(report, "forced", false);
    let mut names = vec![name];
    if let Some(entry) = entry.filter(|entry| entry.name != names[0]) {
        names.push(entry.name.to_owned());
    }
    Some(PluginDefault { names, forced, values: entries.clone() })
}

/// The canonical name of a property; names in defaults match in any letter case.
fn find(entry: &TaskType, name: &str) -> Option<&'static str> {
    let same = |known: &str| known.eq_ignore_ascii_case(name);
    let all = entry.properties.iter().chain(entry.common());
    all.into_iter().find(|spec| same(spec.name) || spec.aliases.iter().any(|alias| same(alias))).map(|spec| spec.name)
}

/// Inner maps first.
fn apply(node: &mut Node, defaults: &[PluginDefault], budget: &mut Budget) {
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::List(items) => items.iter_mut().for_each(|item| apply(item, defaults, budget)),
        Content::Map(entries) => {
            entries.iter_mut().for_each(|entry| apply(&mut entry.value, defaults, budget));
            let Some(name) =
                entries.iter().find(|entry| entry.key == "type").and_then(|entry| entry.value.scalar_text())
            else {
                return;
            };
            let name = name.to_owned();
            let matching = || {
                defaults.iter().filter(|default| default.names.iter().any(|prefix| name.starts_with(prefix.as_str())))
            };
            let target = table::lookup(&name);
            for default in matching().filter(|default| !default.forced) {
                merge(entries, &default.values, target, false, budget);
            }
            // The most important one comes last, and so wins.
            let forced: Vec<&PluginDefault> = matching().filter(|default| default.forced).collect();
            for default in forced.into_iter().rev() {
                merge(entries, &default.values, target, true, budget);
            }
        }
    }
}

/// Puts what the target has as a property into its map. A default never sets the type or the id.
fn merge(
    entries: &mut Vec<Entry>,
    values: &[Entry],
    target: Option<&'static TaskType>,
    forced: bool,
    budget: &mut Budget,
) {
    for value in values.iter().filter(|value| !value.value.is_null() && !matches!(value.key.as_str(), "type" | "id")) {
        let canonical = match target.filter(|target| target.is_built()) {
            Some(target) => match find(target, &value.key) {
                Some(canonical) => canonical,
                // A prefix reaches types that have no such property.
                None => continue,
            },
            None => value.key.as_str(),
        };
        let same = |key: &str| key == canonical || target.is_some_and(|target| find(target, key) == Some(canonical));
        match entries.iter_mut().find(|entry| same(&entry.key)) {
            Some(entry) => merge_value(&mut entry.value, &value.value, forced, budget),
            None => {
                let copy = budget.copy(&value.value);
                entries.extend(copy.map(|copy| Entry { key: canonical.to_owned(), key_at: value.key_at, value: copy }));
            }
        }
    }
}

/// Maps merge deeply, lists follow each other; of scalars the task's own stays unless the default is forced. Null is
/// no value.
fn merge_value(own: &mut Node, default: &Node, forced: bool, budget: &mut Budget) {
    let replaces = own.is_null() || (forced && !same_shape(own, default));
    if replaces {
        if let Some(copy) = budget.copy(default) {
            *own = copy;
        }
        return;
    }
    match (&mut own.content, &default.content) {
        (Content::Map(own), Content::Map(defaults)) => {
            for value in defaults.iter().filter(|value| !value.value.is_null()) {
                match own.iter_mut().find(|entry| entry.key == value.key) {
                    Some(entry) => merge_value(&mut entry.value, &value.value, forced, budget),
                    None => {
                        let copy = budget.copy(&value.value);
                        own.extend(copy.map(|copy| Entry {
                            key: value.key.clone(),
                            key_at: value.key_at,
                            value: copy,
                        }));
                    }
                }
            }
        }
        (Content::List(own), Content::List(defaults)) => {
            let copies: Vec<Node> = defaults.iter().filter_map(|item| budget.copy(item)).collect();
            let place = if forced { own.len() } else { 0 };
            own.splice(place..place, copies);
        }
        _ => {}
    }
}

/// Both lists or both maps: they are merged, everything else is one or the other.
fn same_shape(own: &Node, default: &Node) -> bool {
    matches!(
        (&own.content, &default.content),
        (Content::Map(_), Content::Map(_)) | (Content::List(_), Content::List(_))
    )
}
