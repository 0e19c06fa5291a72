//! Lists of tasks, flowables included.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::check::{self, IdRule, Ids};
use super::fields::{self, Fields, below, is_template};
use super::report::Report;
use super::{labels, retry, rules};
use crate::table::{self, Family, Role, TASK_COMMON, TaskType, nearest_type};
use crate::yaml::{Content, Node};
use crate::{
    Block, Fallback, Handlers, ListKind, RestartBehavior, Runnable, Subflow, Task, TaskKind, TaskList, TaskPlace,
    TemplateCall, Text, WorkerGroup,
};

/// Reads the tasks of one flow.
pub(super) struct Tasks<'r> {
    pub(super) report: &'r mut Report,
    /// Of the flow, to find calls of itself.
    pub(super) flow_id: String,
    pub(super) namespace: String,
    /// For tasks that name none.
    pub(super) worker_group: Option<WorkerGroup>,
    pub(super) ids: Ids,
    pub(super) index: IndexMap<String, TaskPlace>,
}

/// A list that is being read: whose it is, and which.
#[derive(Clone)]
pub(super) struct Within<'a> {
    pub(super) parent: Option<&'a str>,
    pub(super) list: ListKind,
    /// Something around it is disabled: checked, but not part of the plan.
    pub(super) disabled: bool,
}

/// The type of a node, reported when it is missing, unknown, unbuilt, an alias or of another role.
pub(super) fn resolve_type(report: &mut Report, node: &Node, path: &str, role: Role) -> Option<&'static TaskType> {
    if !matches!(node.content, Content::Map(_)) {
        report.error(path, node.at, format!("expected a map with a `type`, but got {}", node.describe()));
        return None;
    }
    let path = below(path, "type");
    let Some(type_node) = node.get("type") else {
        report.error(&path, node.at, "type: must not be null: no plugin is registered for the type `<null>`");
        return None;
    };
    let Some(name) = type_node.scalar_text() else {
        report.error(&path, type_node.at, format!("type: expected a text, but got {}", type_node.describe()));
        return None;
    };
    let Some(entry) = table::lookup(name).filter(|entry| entry.family != Family::Generated) else {
        let near = if report.is_full() { None } else { nearest_type(name, role) };
        let suggestion = near.map(str::to_owned);
        let message = format!("Invalid type: {name}; no plugin registered for the defined type");
        report.error_with(&path, type_node.at, message, suggestion);
        return None;
    };
    if entry.family.role() != role {
        let message = format!("Invalid type: {name} cannot stand here");
        report.error(&path, type_node.at, message);
        return None;
    }
    if !entry.is_built() {
        report.unsupported(&path, type_node.at, &format!("the type {name}"));
    } else if !entry.name.eq_ignore_ascii_case(name) {
        report.warning(&path, type_node.at, format!("{name} is replaced by {}", entry.name));
    }
    Some(entry)
}

impl Tasks<'_> {
    /// Reads a list. Tasks that cannot be read are reported and left out; disabled ones are checked and left out.
    pub(super) fn read_list(&mut self, node: Option<&Node>, path: &str, within: &Within<'_>) -> TaskList {
        let Some(node) = node else { return Vec::new() };
        let Content::List(items) = &node.content else {
            self.report.error(path, node.at, format!("expected a list of tasks, but got {}", node.describe()));
            return Vec::new();
        };
        let mut list = TaskList::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(task) = self.read(item, &format!("{path}[{index}]"), within) {
                self.add(&mut list, task, within);
            }
        }
        list
    }

    /// Puts a task at the end of its list and into the index.
    pub(super) fn add(&mut self, list: &mut TaskList, task: Task, within: &Within<'_>) {
        let task = Arc::new(task);
        let place = TaskPlace {
            task: Arc::clone(&task),
            parent: within.parent.map(str::to_owned),
            list: within.list.clone(),
            position: list.len(),
        };
        if !within.disabled {
            self.index.insert(task.id.clone(), place);
        }
        list.push(task);
    }

    pub(super) fn read(&mut self, node: &Node, path: &str, within: &Within<'_>) -> Option<Task> {
        if let Some(id) = node.get("id").and_then(|id| id.scalar_text().map(|text| (text, id.at))) {
            self.ids.add(self.report, "task id", id.0, &below(path, "id"), id.1);
        }
        let entry = resolve_type(self.report, node, path, Role::Task);
        let Some(entry) = entry.filter(|entry| entry.is_built()) else {
            self.unbuilt(node, path, within);
            return None;
        };
        let fields = fields::read(self.report, node, path, &[TASK_COMMON, entry.properties], entry.name)?;
        let id = fields.string("id").unwrap_or_default();
        if let Some(at) = fields.get("id").map(|node| node.at) {
            check::id(self.report, IdRule::Task, "id", &id, &fields.path("id"), at);
        }
        let disabled = fields.bool(self.report, "disabled", false);
        let inner = Within { parent: Some(&id), list: ListKind::Main, disabled: disabled || within.disabled };
        let run_if = fields.text(self.report, "runIf");
        let kind = self.kind(entry, &fields, &inner, run_if.as_ref())?;
        let report = &mut *self.report;
        let runnable = matches!(kind, TaskKind::Runnable(_));
        let timeout = fields.text(report, "timeout");
        let pause = matches!(kind, TaskKind::Pause(_));
        let directory = matches!(kind, TaskKind::WorkingDirectory(_));
        let acts = |name: &str| (pause && name == "timeout") || (directory && name == "workerGroup");
        let idle = |name: &&str| !(runnable || acts(name));
        for name in ["timeout", "workerGroup"].into_iter().filter(idle) {
            if let Some(at) = fields.get(name).map(|node| node.at) {
                report.warning(
                    &fields.path(name),
                    at,
                    format!("`{name}` has no effect on a task of type {}", entry.name),
                );
            }
        }
        let own_group =
            fields.get("workerGroup").and_then(|node| worker_group(report, node, &fields.path("workerGroup")));
        let task = Task {
            type_name: fields.string("type")?,
            retry: fields.get("retry").and_then(|node| retry::read(report, node, &fields.path("retry"))),
            timeout: timeout.filter(|_| runnable),
            run_if,
            allow_failure: fields.bool(report, "allowFailure", false),
            allow_warning: fields.bool(report, "allowWarning", false),
            log_level: fields.literal("logLevel").and_then(|text| text.parse().ok()),
            worker_group: own_group.or_else(|| self.worker_group.clone()).filter(|_| runnable),
            kind,
            id,
        };
        (!disabled).then_some(task)
    }

    fn kind(
        &mut self,
        entry: &'static TaskType,
        fields: &Fields<'_>,
        within: &Within<'_>,
        run_if: Option<&Text>,
    ) -> Option<TaskKind> {
        Some(match entry.family {
            Family::Sequential => TaskKind::Sequential(self.block(fields, within)),
            Family::AllowFailure => TaskKind::AllowFailure(self.block(fields, within)),
            Family::Parallel => {
                let concurrent = fields.text(self.report, "concurrent");
                TaskKind::Parallel { concurrent, block: self.block(fields, within) }
            }
            Family::If => TaskKind::If {
                // Without a condition nothing is rendered, which is false.
                condition: fields.text(self.report, "condition").unwrap_or_else(|| Text::new("")),
                then: self.filled(fields, "then", ListKind::Then, within),
                otherwise: self.list(fields, "else", ListKind::Else, within),
                handlers: self.handlers(fields, within),
            },
            Family::Switch => self.switch(fields, within)?,
            Family::ForEach => self.for_each(fields, within)?,
            Family::EachSequential => TaskKind::ForEach {
                values: self.each(fields, "value")?,
                concurrency_limit: 1,
                block: self.block(fields, within),
            },
            Family::EachParallel => TaskKind::EachParallel {
                values: self.each(fields, "value")?,
                concurrent: fields.text(self.report, "concurrent"),
                block: self.block(fields, within),
            },
            Family::Dag => self.dag(fields, within),
            Family::LoopUntil => self.loop_until(fields, within)?,
            Family::Pause => self.pause(fields, within),
            Family::WorkingDirectory => self.working_directory(fields, within),
            Family::ForEachItem => self.for_each_item(fields, within)?,
            Family::Subflow => TaskKind::Subflow(Box::new(self.subflow(fields)?)),
            Family::Template => TaskKind::Template(Box::new(self.template(fields, within)?)),
            _ => {
                rules::purge_behavior(self.report, fields);
                let properties = fields.map_of(self.report, entry.properties);
                let pure = properties.is_pure() && run_if.is_none_or(Text::is_pure);
                TaskKind::Runnable(Runnable { task_type: entry, properties, pure })
            }
        })
    }

    pub(super) fn block(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> Block {
        Block { tasks: self.filled(fields, "tasks", ListKind::Main, within), handlers: self.handlers(fields, within) }
    }

    pub(super) fn handlers(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> Handlers {
        Handlers {
            errors: self.list(fields, "errors", ListKind::Errors, within),
            finally: self.list(fields, "finally", ListKind::Finally, within),
        }
    }

    pub(super) fn list(&mut self, fields: &Fields<'_>, name: &str, list: ListKind, within: &Within<'_>) -> TaskList {
        self.read_list(fields.get(name), &fields.path(name), &Within { list, ..within.clone() })
    }

    /// A list that must not be empty.
    fn filled(&mut self, fields: &Fields<'_>, name: &str, list: ListKind, within: &Within<'_>) -> TaskList {
        if let Some(node) = fields.get(name)
            && matches!(&node.content, Content::List(items) if items.is_empty())
        {
            self.report.error(&fields.path(name), node.at, format!("{name}: must not be empty"));
        }
        self.list(fields, name, list, within)
    }

    fn switch(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> Option<TaskKind> {
        let path = fields.path("cases");
        let mut cases = IndexMap::new();
        let node = fields.get("cases");
        if let Some(node) = node {
            if !matches!(node.content, Content::Map(_)) {
                self.report.error(
                    &path,
                    node.at,
                    format!("cases: expected a map of lists of tasks, but got {}", node.describe()),
                );
            }
            for entry in node.entries() {
                let within = Within { list: ListKind::Case(entry.key.clone()), ..within.clone() };
                let tasks = self.read_list(Some(&entry.value), &below(&path, &entry.key), &within);
                cases.insert(entry.key.clone(), tasks);
            }
        }
        let is_empty = |node: &Node| matches!(&node.content, Content::List(items) if items.is_empty());
        if cases.is_empty() && fields.get("defaults").is_none_or(is_empty) {
            self.report.error(&fields.path, fields.at, "No task defined, neither cases or default have any tasks");
        }
        let defaults = fields.get("defaults").filter(|node| !is_empty(node));
        let defaults = defaults.map(|node| {
            self.read_list(Some(node), &fields.path("defaults"), &Within { list: ListKind::Defaults, ..within.clone() })
        });
        let handlers = self.handlers(fields, within);
        Some(TaskKind::Switch { value: fields.text(self.report, "value")?, cases, defaults, handlers })
    }

    pub(super) fn subflow(&mut self, fields: &Fields<'_>) -> Option<Subflow> {
        let report = &mut *self.report;
        let (namespace, flow_id) = (fields.text(report, "namespace"), fields.text(report, "flowId"));
        for (name, text) in [("namespace", &namespace), ("flowId", &flow_id)] {
            if text.as_ref().is_some_and(|text| text.source().is_empty()) {
                report.error(&fields.path(name), fields.place(name), format!("{name}: must not be empty"));
            }
        }
        let is = |text: &Option<Text>, own: &str| text.as_ref().is_some_and(|text| text.source() == own);
        if is(&namespace, &self.namespace) && is(&flow_id, &self.flow_id) {
            let message = format!("Recursive call to flow [{}.{}]", self.namespace, self.flow_id);
            report.error(&fields.path("flowId"), fields.place("flowId"), message);
        }
        let revision = fields.int(report, "revision");
        if revision.is_some_and(|revision| revision < 1) {
            report.error(
                &fields.path("revision"),
                fields.place("revision"),
                "revision: must be greater than or equal to 1",
            );
        }
        Some(Subflow {
            revision: revision.and_then(|revision| u32::try_from(revision).ok()),
            inputs: fields.properties(report, "inputs"),
            labels: fields.get("labels").map(|node| labels::of_task(report, node, &fields.path("labels"))),
            wait: fields.bool(report, "wait", true),
            transmit_failed: fields.bool(report, "transmitFailed", true),
            inherit_labels: fields.bool(report, "inheritLabels", false),
            outputs: fields.properties(report, "outputs"),
            schedule_date: fields.text(report, "scheduleDate"),
            restart_behavior: restart_behavior(report, fields),
            namespace: namespace?,
            flow_id: flow_id?,
        })
    }

    /// The flow is deployed: what else is in it works, and what handles its failure.
    fn template(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> Option<TemplateCall> {
        let path = fields.path("type");
        let message = "templates are not kept: the task will fail; a Subflow runs tasks that several flows share";
        self.report.warning(&path, fields.place("type"), message);
        let call = TemplateCall {
            namespace: fields.text(self.report, "namespace")?,
            template_id: fields.text(self.report, "templateId")?,
            args: fields.properties(self.report, "args"),
            handlers: self.handlers(fields, within),
        };
        Some(call)
    }

    /// What can be said of a task whose type is unknown or unbuilt: its id, and the tasks inside it.
    fn unbuilt(&mut self, node: &Node, path: &str, within: &Within<'_>) {
        match node.get("id") {
            Some(id) => {
                let text = id.scalar_text().unwrap_or_default().to_owned();
                check::id(self.report, IdRule::Task, "id", &text, &below(path, "id"), id.at);
            }
            None if matches!(node.content, Content::Map(_)) => {
                self.report.error(&below(path, "id"), node.at, "id: must not be null");
            }
            None => {}
        }
        let inner = Within { disabled: true, ..within.clone() };
        for name in ["tasks", "then", "else", "defaults", "errors", "finally"] {
            let Some(Content::List(items)) = node.get(name).map(|node| &node.content) else { continue };
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}.{name}[{index}]");
                // The tasks of a Dag stand one level deeper.
                let (item, path) = match item.get("task") {
                    Some(task) => (task, below(&path, "task")),
                    None => (item, path),
                };
                if item.get("type").is_some() {
                    self.read(item, &path, &inner);
                }
            }
        }
    }
}

fn restart_behavior(report: &mut Report, fields: &Fields<'_>) -> RestartBehavior {
    match fields.literal("restartBehavior") {
        Some("NEW_EXECUTION") => RestartBehavior::NewExecution,
        Some(text) if is_template(text) => {
            let path = fields.path("restartBehavior");
            report.unsupported(&path, fields.place("restartBehavior"), "a template in `restartBehavior`");
            RestartBehavior::RetryFailed
        }
        _ => RestartBehavior::RetryFailed,
    }
}

/// A worker group: without key there is none.
pub(super) fn worker_group(report: &mut Report, node: &Node, path: &str) -> Option<WorkerGroup> {
    let key_node = node.get("key")?;
    let key = key_node.scalar_text()?;
    let path = below(path, "key");
    if is_template(key) {
        report.unsupported(&path, key_node.at, "a template in `workerGroup.key`");
        return None;
    }
    check::id(report, IdRule::Task, "workerGroup.key", key, &path, key_node.at);
    report.worker_group(key, &path, key_node.at);
    let fallback = match node.get("fallback").map(Node::to_value) {
        Some(Value::String(text)) if text == "FAIL" => Fallback::Fail,
        Some(Value::String(text)) if text == "CANCEL" => Fallback::Cancel,
        _ => Fallback::Wait,
    };
    Some(WorkerGroup { key: key.to_owned(), fallback })
}
