//! The flow itself.

use serde_json::Value;
use windhover_types::JsonMap;

use super::check::{self, IdRule, Ids};
use super::fields::{self, Fields};
use super::report::Report;
use super::tasks::{Tasks, Within, worker_group};
use super::{inputs, labels, retry, triggers};
use crate::table::{CHECK, CONCURRENCY, FLOW, PropertySpec};
use crate::yaml::{Content, Node};
use crate::{Flow, ListKind, TaskList};

/// Flow ids that clash with paths of Kestra's API; here they are only warned of (flow model 1.x reference 12).
const RESERVED: &[&str] =
    &["pause", "resume", "force-run", "change-status", "kill", "executions", "search", "source", "disable", "enable"];

/// Reads the document. Nothing when it is no map; what is wrong is in the report.
pub(super) fn read(report: &mut Report, node: &Node) -> Option<Flow> {
    let fields = fields::read(report, node, "", &[FLOW], "flow")?;
    let id = ids(report, &fields);
    let namespace = fields.string("namespace").unwrap_or_default();
    let mut input_ids = Ids::default();
    let inputs = fields
        .get("inputs")
        .map(|node| inputs::read_inputs(report, node, "inputs", &mut input_ids))
        .unwrap_or_default();
    let group = fields.get("workerGroup").and_then(|node| worker_group(report, node, "workerGroup"));
    let mut tasks = Tasks {
        report,
        flow_id: id.clone(),
        namespace: namespace.clone(),
        worker_group: group,
        ids: Ids::default(),
        index: indexmap::IndexMap::new(),
    };
    let main = list(&mut tasks, &fields, "tasks", ListKind::Main);
    let errors = list(&mut tasks, &fields, "errors", ListKind::Errors);
    let finally = list(&mut tasks, &fields, "finally", ListKind::Finally);
    let (index, task_ids) = rest_of_ids(tasks, &fields);
    if fields.get("tasks").is_none_or(|node| matches!(&node.content, Content::List(items) if items.is_empty())) {
        report.error("tasks", fields.place("tasks"), "tasks: must not be empty");
    }
    let outputs = fields.get("outputs").map(|node| inputs::read_outputs(report, node, "outputs")).unwrap_or_default();
    check::dashes(report, &input_ids, &task_ids);
    let triggers = fields.get("triggers").map(|node| triggers::read_list(report, node, "triggers")).unwrap_or_default();
    unbuilt(report, &fields);
    let labels = fields.get("labels").map(|node| labels::of_flow(report, node, "labels")).unwrap_or_default();
    let retry = fields.get("retry").and_then(|node| retry::read(report, node, "retry"));
    let disabled = fields.bool(report, "disabled", false);
    Some(Flow {
        description: fields.string("description"),
        labels,
        inputs,
        outputs,
        variables: variables(&fields),
        tasks: main,
        errors,
        finally,
        triggers,
        retry,
        disabled,
        index,
        id,
        namespace,
    })
}

fn list(tasks: &mut Tasks<'_>, fields: &Fields<'_>, name: &str, list: ListKind) -> TaskList {
    tasks.read_list(fields.get(name), name, &Within { parent: None, list, disabled: false })
}

/// Ids of the tasks in lists that are not built: they take part in the check for duplicates.
fn rest_of_ids(mut tasks: Tasks<'_>, fields: &Fields<'_>) -> (indexmap::IndexMap<String, crate::TaskPlace>, Ids) {
    let within = Within { parent: None, list: ListKind::Main, disabled: true };
    tasks.read_list(fields.get("afterExecution"), "afterExecution", &within);
    if let Some(Content::List(items)) = fields.get("listeners").map(|node| &node.content) {
        for (index, item) in items.iter().enumerate() {
            tasks.read_list(item.get("tasks"), &format!("listeners[{index}].tasks"), &within);
        }
    }
    (tasks.index, tasks.ids)
}

/// The flow's id, checked with its namespace.
fn ids(report: &mut Report, fields: &Fields<'_>) -> String {
    for (name, rule) in [("id", IdRule::Flow), ("namespace", IdRule::Namespace)] {
        if let Some(node) = fields.get(name) {
            check::id(report, rule, name, node.scalar_text().unwrap_or_default(), name, node.at);
        }
    }
    if let Some(node) = fields.get("id").filter(|node| node.scalar_text().is_some_and(|id| RESERVED.contains(&id))) {
        report.warning("id", node.at, "this id is reserved in Kestra 1.x");
    }
    if fields.int(report, "revision").is_some_and(|revision| revision < 1) {
        report.error("revision", fields.place("revision"), "revision: must be greater than or equal to 1");
    }
    fields.string("id").unwrap_or_default()
}

fn variables(fields: &Fields<'_>) -> JsonMap {
    match fields.get("variables").map(Node::to_value) {
        Some(Value::Object(map)) => map,
        _ => JsonMap::new(),
    }
}

/// What can be said of properties that are not built: their own mistakes are mistakes already.
fn unbuilt(report: &mut Report, fields: &Fields<'_>) {
    let mut each = |name: &str, specs: &'static [PropertySpec], class: &str| {
        let Some(node) = fields.get(name) else { return };
        match &node.content {
            Content::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    fields::read(report, item, &format!("{name}[{index}]"), &[specs], class);
                }
            }
            _ => {
                fields::read(report, node, name, &[specs], class);
            }
        }
    };
    each("checks", CHECK, "check");
    each("concurrency", CONCURRENCY, "concurrency");
    if let Some(node) = fields.get("concurrency").and_then(|node| node.get("limit"))
        && node.to_value().as_i64().is_some_and(|limit| limit < 1)
    {
        report.error("concurrency.limit", node.at, "limit: must be greater than 0");
    }
}
