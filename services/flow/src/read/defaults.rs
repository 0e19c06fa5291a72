//! `pluginDefaults`: values that the tasks, triggers and conditions of a flow get without saying so (flow model
//! reference 8.1, 1.x reference 1.5): from the flow itself, from its namespace and those above, from the server. Put
//! into the tree before it is read, so that required properties can come from them.

use std::sync::Arc;

use serde_json::Value;
use windhover_types::Violation;

use super::Mode;
use super::fields::{self, below};
use super::report::Report;
use crate::table::{self, PLUGIN_DEFAULT, Role, TaskType, nearest};
use crate::yaml::{Content, Entry, Node, Position};

/// One entry.
#[derive(Debug)]
struct PluginDefault {
    /// Its type as written, and the canonical name when it is an alias: both are matched as prefixes.
    names: Vec<String>,
    forced: bool,
    values: Vec<Entry>,
    /// It comes from outside of the flow: its values have no place in the source.
    inherited: bool,
}

/// A list of plugin defaults from outside of a flow: of a namespace, of the server. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PluginDefaults(Arc<Vec<PluginDefault>>);

/// What decides which tasks there are. From outside it would change the shape of executions that run: it belongs to
/// the revision of the flow alone.
const SHAPE: [&str; 9] = ["tasks", "errors", "finally", "then", "else", "cases", "defaults", "onPause", "disabled"];

impl PluginDefaults {
    /// Reads a list of `{type, forced, values}`; its path is what the violations begin with. They name type and
    /// property; what they are about is left out of the list, the rest of it is good.
    pub fn read(list: &[Value], path: &str) -> (Self, Vec<Violation>) {
        let mut report = Report::new(Mode::Strict);
        let mut found = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            let node = Node::of_value(entry, Position::default());
            found.extend(read_entry(&mut report, &node, &format!("{path}[{index}]"), true));
        }
        (Self(Arc::new(found)), report.finish())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How much may be added: a large default times many tasks must not fill the memory.
struct Budget {
    left: usize,
    /// Where copies stand that have no place of their own: at the task that gets them.
    at: Option<Position>,
}

impl Default for Budget {
    fn default() -> Self {
        // Values, and texts by blocks of 16 bytes.
        Self { left: 1_000_000, at: None }
    }
}

impl Budget {
    /// A copy of the node, if there is room for it.
    fn copy(&mut self, node: &Node) -> Option<Node> {
        match self.left.checked_sub(weight(node)) {
            Some(left) if left > 0 => {
                self.left = left;
                let mut copy = node.clone();
                if let Some(at) = self.at {
                    copy.place(at);
                }
                Some(copy)
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

/// Puts the defaults of the flow, and of what is around it (the most important first), into its tasks and triggers.
pub(super) fn inject(report: &mut Report, flow: &mut Node, around: &[PluginDefaults]) {
    let own = own(report, flow);
    let inherited = around.iter().flat_map(|list| list.0.iter());
    let defaults: Vec<&PluginDefault> = own.iter().chain(inherited).collect();
    if defaults.is_empty() {
        return;
    }
    let mut budget = Budget::default();
    if let Content::Map(entries) = &mut flow.content {
        for entry in entries.iter_mut().filter(|entry| !KEYS.contains(&entry.key.as_str()) && entry.key != "variables")
        {
            apply(&mut entry.value, &defaults, &mut budget);
        }
    }
    if budget.left == 0 {
        let (key, at) = KEYS.into_iter().find_map(|key| Some((key, flow.get(key)?.at))).unwrap_or((KEYS[0], flow.at));
        report.error(key, at, "Invalid Plugin Default: the defaults make the flow too large");
    }
}

/// The flow's own. The older `taskDefaults` count only when there are no `pluginDefaults`.
fn own(report: &mut Report, flow: &Node) -> Vec<PluginDefault> {
    let Some((key, list)) = KEYS.into_iter().find_map(|key| Some((key, flow.get(key)?))) else { return Vec::new() };
    if key == KEYS[1] {
        report.warning(key, list.at, "taskDefaults is replaced by pluginDefaults");
    }
    let Content::List(items) = &list.content else {
        report.error(key, list.at, format!("Invalid Plugin Default: expected a list, but got {}", list.describe()));
        return Vec::new();
    };
    let item = |(index, item): (usize, &Node)| read_entry(report, item, &format!("{key}[{index}]"), false);
    items.iter().enumerate().filter_map(item).collect()
}

fn read_entry(report: &mut Report, node: &Node, path: &str, inherited: bool) -> Option<PluginDefault> {
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
    let mut good = Vec::with_capacity(entries.len());
    for value in entries {
        let path = format!("{path}.values.{}", value.key);
        let is_good = check_value(report, entry, &name, value, &path)
            && (!inherited || check_inherited(report, entry, &name, value, &path));
        // A flow with a wrong one is refused anyway.
        if is_good || !inherited {
            good.push(value.clone());
        }
    }
    let forced = fields.bool(report, "forced", false);
    let mut names = vec![name];
    if let Some(entry) = entry.filter(|entry| entry.name != names[0]) {
        names.push(entry.name.to_owned());
    }
    Some(PluginDefault { names, forced, values: good, inherited })
}

/// Whether a value is one, and of a property that the type has, as far as the type is known.
fn check_value(report: &mut Report, entry: Option<&TaskType>, name: &str, value: &Entry, path: &str) -> bool {
    if value.value.is_null() {
        report.error(path, value.key_at, format!("Invalid Plugin Default: the value of '{}' is null", value.key));
        return false;
    }
    if let Some(entry) = entry.filter(|entry| entry.is_built())
        && find(entry, &value.key).is_none()
    {
        let names = entry.properties.iter().chain(entry.common()).map(|spec| spec.name);
        let suggestion = nearest(&value.key, names).map(str::to_owned);
        let message = format!("Invalid Plugin Default: No property '{}' exists in plugin '{name}'", value.key);
        report.error_with(path, value.key_at, message, suggestion);
        return false;
    }
    true
}

/// What no flow will check: whether the value is one that the property takes, and whether it may come from outside.
fn check_inherited(
    report: &mut Report,
    entry: Option<&'static TaskType>,
    name: &str,
    value: &Entry,
    path: &str,
) -> bool {
    let key = entry.and_then(|entry| find(entry, &value.key)).unwrap_or(value.key.as_str());
    if SHAPE.contains(&key) && reaches_tasks(name) {
        let message = format!(
            "Invalid Plugin Default: '{key}' of '{name}' decides which tasks there are, which only the flow itself can say"
        );
        report.error(path, value.key_at, message);
        return false;
    }
    match entry.filter(|entry| entry.is_built()).and_then(|entry| entry.property(key)) {
        Some(spec) => fields::check(report, spec.kind, &value.value, path),
        None => true,
    }
}

/// Whether tasks can have a type that begins so.
fn reaches_tasks(prefix: &str) -> bool {
    let begins = |name: &str| name.starts_with(prefix);
    table::types()
        .filter(|entry| entry.family.role() == Role::Task)
        .any(|entry| begins(entry.name) || entry.aliases.iter().any(|alias| begins(alias)))
}

/// The canonical name of a property; names in defaults match in any letter case.
fn find(entry: &TaskType, name: &str) -> Option<&'static str> {
    let same = |known: &str| known.eq_ignore_ascii_case(name);
    let all = entry.properties.iter().chain(entry.common());
    all.into_iter().find(|spec| same(spec.name) || spec.aliases.iter().any(|alias| same(alias))).map(|spec| spec.name)
}

/// Inner maps first.
fn apply(node: &mut Node, defaults: &[&PluginDefault], budget: &mut Budget) {
    let at = node.at;
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
            let matching = |forced: bool| {
                let of = move |default: &&&PluginDefault| default.forced == forced;
                let begins =
                    |default: &&&PluginDefault| default.names.iter().any(|prefix| name.starts_with(prefix.as_str()));
                defaults.iter().filter(of).filter(begins)
            };
            let target = table::lookup(&name);
            // Of the forced ones the most important comes last, and so wins.
            for default in matching(false).chain(matching(true).rev()) {
                budget.at = default.inherited.then_some(at);
                merge(entries, &default.values, target, default.forced, budget);
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
                let (copy, key_at) = (budget.copy(&value.value), budget.at.unwrap_or(value.key_at));
                entries.extend(copy.map(|copy| Entry { key: canonical.to_owned(), key_at, value: copy }));
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
                        let (copy, key_at) = (budget.copy(&value.value), budget.at.unwrap_or(value.key_at));
                        own.extend(copy.map(|copy| Entry { key: value.key.clone(), key_at, value: copy }));
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
