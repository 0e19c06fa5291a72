//! The flow itself.

use serde_json::Value;
use windhover_types::JsonMap;

use super::check::{self, IdRule, Ids};
use super::fields::{self, Fields};
use super::report::Report;
use super::tasks::{Tasks, Within, worker_group};
use super::{inputs, labels, retry, rules, triggers};
use crate::table::FLOW;
use crate::yaml::{Content, Node};
use crate::{Flow, Inherited, ListKind, TaskList};

/// Flow ids that clash with paths of Kestra's API; here they are only warned of (flow model 1.x reference 12).
const RESERVED: &[&str] =
    &["pause", "resume", "force-run", "change-status", "kill", "executions", "search", "source", "disable", "enable"];

/// Reads the document. Nothing when it is no map; what is wrong is in the report.
pub(super) fn read(report: &mut Report, node: &Node, around: &Inherited) -> Option<Flow> {
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
    let after_execution = list(&mut tasks, &fields, "afterExecution", ListKind::AfterExecution);
    let listeners = tasks.listeners(fields.get("listeners"));
    let Tasks { index, ids: task_ids, .. } = tasks;
    if fields.get("tasks").is_none_or(|node| matches!(&node.content, Content::List(items) if items.is_empty())) {
        report.error("tasks", fields.place("tasks"), "tasks: must not be empty");
    }
    let outputs = fields.get("outputs").map(|node| inputs::read_outputs(report, node, "outputs")).unwrap_or_default();
    check::dashes(report, &input_ids, &task_ids);
    let triggers = fields.get("triggers").map(|node| triggers::read_list(report, node, "triggers")).unwrap_or_default();
    let concurrency = fields.get("concurrency").and_then(|node| rules::concurrency(report, node));
    let sla = rules::sla_list(report, fields.get("sla"));
    let checks = rules::check_list(report, fields.get("checks"));
    let labels = fields.get("labels").map(|node| labels::of_flow(report, node, "labels")).unwrap_or_default();
    let retry = fields.get("retry").and_then(|node| retry::read(report, node, "retry"));
    let disabled = fields.bool(report, "disabled", false);
    Some(Flow {
        description: fields.string("description"),
        labels,
        inputs,
        outputs,
        variables: around.complete(variables(&fields)),
        namespace_variables: around.variables().clone(),
        tasks: main,
        errors,
        finally,
        after_execution,
        listeners,
        triggers,
        retry,
        concurrency,
        sla,
        checks,
        disabled,
        index,
        id,
        namespace,
    })
}

fn list(tasks: &mut Tasks<'_>, fields: &Fields<'_>, name: &str, list: ListKind) -> TaskList {
    tasks.read_list(fields.get(name), name, &Within { parent: None, list, disabled: false })
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
