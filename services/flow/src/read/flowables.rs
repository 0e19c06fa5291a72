//! Flowable tasks with more than lists: loops, graphs, pauses.

use std::collections::{HashMap, HashSet};

use super::check::Ids;
use super::fields::{self, Fields, below};
use super::inputs;
use super::report::Report;
use super::tasks::{Tasks, Within, worker_group};
use crate::table::{self, DAG_TASK, DIRECTORY, Family, ITEMS_TYPE, Kind, MERGE_TYPE, Role, SPLIT_TYPE};
use crate::yaml::{Content, Node, Position};
use crate::{
    Block, ForEachItem, ForEachValues, Key, ListKind, LoopUntil, Pause, Properties, Runnable, Task, TaskKind, TaskList,
    Text, WorkingDirectory,
};

/// A task of a Dag as it was written: what it waits for, and where it says so.
struct Vertex<'n> {
    id: &'n str,
    depends_on: Vec<String>,
    at: Position,
    path: String,
    /// Its place among the tasks that are not disabled.
    place: Option<u32>,
}

impl Tasks<'_> {
    pub(super) fn for_each(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> Option<TaskKind> {
        let values = self.each(fields, "values");
        let limit = fields.int(self.report, "concurrencyLimit").unwrap_or(1);
        let concurrency_limit = u32::try_from(limit).unwrap_or_else(|_| {
            let at = fields.place("concurrencyLimit");
            self.report.error(
                &fields.path("concurrencyLimit"),
                at,
                "concurrencyLimit: must be greater than or equal to 0",
            );
            1
        });
        let block = self.block(fields, within);
        Some(TaskKind::ForEach { values: values?, concurrency_limit, block })
    }

    /// The values of a loop: a text, or a list.
    pub(super) fn each(&mut self, fields: &Fields<'_>, name: &str) -> Option<ForEachValues> {
        fields.get(name).map(|node| match &node.content {
            Content::Scalar(scalar) => ForEachValues::Text(self.report.text(&scalar.text, &fields.path(name), node)),
            _ => ForEachValues::List(fields::build(self.report, Kind::List, node, &fields.path(name))),
        })
    }

    pub(super) fn dag(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> TaskKind {
        let path = fields.path("tasks");
        let within = Within { list: ListKind::Main, ..within.clone() };
        let mut tasks = TaskList::new();
        let mut nodes = Vec::new();
        match fields.get("tasks").map(|node| (&node.content, node)) {
            Some((Content::List(items), _)) => {
                for (index, item) in items.iter().enumerate() {
                    nodes.extend(self.dag_task(item, &format!("{path}[{index}]"), &within, &mut tasks));
                }
                if items.is_empty() {
                    self.report.error(&path, fields.place("tasks"), "No task defined");
                }
            }
            Some((_, node)) => {
                self.report.error(&path, node.at, format!("expected a list of tasks, but got {}", node.describe()));
            }
            None => {}
        }
        let depends_on = self.dependencies(&nodes, fields);
        let concurrent = fields.text(self.report, "concurrent");
        TaskKind::Dag { tasks, depends_on, concurrent, handlers: self.handlers(fields, &within) }
    }

    fn dag_task<'n>(
        &mut self,
        item: &'n Node,
        path: &str,
        within: &Within<'_>,
        tasks: &mut TaskList,
    ) -> Option<Vertex<'n>> {
        let fields = fields::read(self.report, item, path, &[DAG_TASK], "DagTask")?;
        let node = fields.get("task")?;
        let id = node.get("id").and_then(Node::scalar_text).unwrap_or_default();
        let depends_on = match fields.get("dependsOn").map(|node| &node.content) {
            Some(Content::List(items)) => {
                items.iter().filter_map(|item| item.scalar_text()).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        let place = tasks.len();
        if let Some(task) = self.read(node, &fields.path("task"), within) {
            self.add(tasks, task, within);
        }
        let place = (tasks.len() > place).then(|| u32::try_from(place).unwrap_or(u32::MAX));
        Some(Vertex { id, depends_on, at: fields.place("dependsOn"), path: fields.path("dependsOn"), place })
    }

    /// Checks what waits for what; answers it by places, for the tasks that are not disabled.
    fn dependencies(&mut self, nodes: &[Vertex<'_>], fields: &Fields<'_>) -> Vec<Vec<u32>> {
        let known: HashSet<&str> = nodes.iter().map(|node| node.id).collect();
        for node in nodes {
            let unknown: Vec<&str> =
                node.depends_on.iter().map(String::as_str).filter(|id| !known.contains(id)).collect();
            if !unknown.is_empty() {
                let message = format!("Not existing task id in dependency: {}", unknown.join(", "));
                self.report.error(&node.path, node.at, message);
            }
        }
        let cycle = in_cycles(nodes);
        if !cycle.is_empty() {
            let message = format!("Cyclic dependency detected: {}", cycle.join(", "));
            self.report.error(&fields.path("tasks"), fields.place("tasks"), message);
        }
        let places: HashMap<&str, u32> = nodes.iter().filter_map(|node| Some((node.id, node.place?))).collect();
        let place = |id: &String| places.get(id.as_str()).copied();
        let enabled = nodes.iter().filter(|node| node.place.is_some());
        enabled.map(|node| node.depends_on.iter().filter_map(place).collect()).collect()
    }

    pub(super) fn loop_until(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> Option<TaskKind> {
        let condition = fields.text(self.report, "condition");
        let mut often = |name: &str| inner_text(self.report, fields, "checkFrequency", name);
        let (interval, max_iterations, max_duration) =
            (often("interval"), often("maxIterations"), often("maxDuration"));
        let fail_on_max_reached = fields.text(self.report, "failOnMaxReached");
        let block = self.block(fields, within);
        let condition = condition?;
        Some(TaskKind::LoopUntil(Box::new(LoopUntil {
            condition,
            interval,
            max_iterations,
            max_duration,
            fail_on_max_reached,
            block,
        })))
    }

    pub(super) fn working_directory(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> TaskKind {
        let files = fields.map_of(self.report, DIRECTORY);
        let path = fields.path("workerGroup");
        let group = fields.get("workerGroup").and_then(|node| worker_group(self.report, node, &path));
        // Its tasks go where it goes.
        let around = group.map(|group| self.worker_group.replace(group));
        let block = Block {
            tasks: self.list(fields, "tasks", ListKind::Main, within),
            handlers: self.handlers(fields, within),
        };
        if let Some(around) = around {
            self.worker_group = around;
        }
        let tasks = fields.get("tasks").map(|node| &node.content);
        let Some(Content::List(items)) = tasks.filter(|node| !matches!(node, Content::List(items) if items.is_empty()))
        else {
            let path = fields.path("tasks");
            self.report.error(&path, fields.place("tasks"), "The 'tasks' property cannot be empty");
            return TaskKind::WorkingDirectory(Box::new(WorkingDirectory { block, files }));
        };
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", fields.path("tasks"));
            let name = item.get("type").and_then(Node::scalar_text);
            let family = name.and_then(table::lookup).map(|entry| entry.family);
            let id = item.get("id").and_then(Node::scalar_text).unwrap_or_default();
            if family.is_some_and(|family| !matches!(family, Family::Runnable | Family::Unbuilt(Role::Task))) {
                let message = "Impossible to use a flowable task here: only runnable tasks are allowed as children of a WorkingDirectory task";
                self.report.error(&path, item.at, format!("{id}: {message}"));
            }
            if let Some(node) = item.get("workerGroup").filter(|node| node.get("key").is_some()) {
                let message = "Cannot set a Worker Group in any WorkingDirectory sub-tasks, this is only supported at the WorkingDirectory level";
                self.report.error(&below(&path, "workerGroup"), node.at, format!("{id}: {message}"));
            }
        }
        TaskKind::WorkingDirectory(Box::new(WorkingDirectory { block, files }))
    }

    /// The task as three others: one splits the file, one runs the executions, one puts their outputs together.
    pub(super) fn for_each_item(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> Option<TaskKind> {
        let id = fields.string("id").unwrap_or_default();
        let subflow = self.subflow(fields);
        let properties = |names: &[&str], report: &mut Report| {
            let found = names.iter().filter_map(|name| Some((Key::new(name), fields.properties(report, name)?)));
            Properties::Map(found.collect())
        };
        let split = properties(&["items", "batch"], self.report);
        let runnable = |type_name: &str, properties: Properties| {
            let task_type = table::lookup(type_name)?;
            Some(TaskKind::Runnable(Runnable { task_type, properties, pure: false }))
        };
        let kinds = [
            ("split", SPLIT_TYPE, runnable(SPLIT_TYPE, split)),
            ("items", ITEMS_TYPE, subflow.map(|subflow| TaskKind::Items(Box::new(subflow)))),
            ("merge", MERGE_TYPE, runnable(MERGE_TYPE, Properties::default())),
        ];
        let within = Within { list: ListKind::Main, ..within.clone() };
        let mut tasks = TaskList::new();
        for (name, type_name, kind) in kinds {
            let id = format!("{id}_{name}");
            self.ids.add(self.report, "task id", &id, &fields.path("id"), fields.place("id"));
            let task = Task {
                id,
                type_name: type_name.to_owned(),
                kind: kind?,
                retry: None,
                timeout: None,
                run_if: None,
                allow_failure: false,
                allow_warning: false,
                log_level: None,
                worker_group: self.worker_group.clone(),
            };
            self.add(&mut tasks, task, &within);
        }
        let block = Block { tasks, handlers: self.handlers(fields, &within) };
        Some(TaskKind::ForEachItem(Box::new(ForEachItem { block })))
    }

    pub(super) fn pause(&mut self, fields: &Fields<'_>, within: &Within<'_>) -> TaskKind {
        let on_resume = fields
            .get("onResume")
            .map(|node| inputs::read_inputs(self.report, node, &fields.path("onResume"), &mut Ids::default()))
            .unwrap_or_default();
        let on_pause = fields.get("onPause").and_then(|node| self.on_pause(node, &fields.path("onPause"), within));
        TaskKind::Pause(Box::new(Pause {
            duration: fields.text(self.report, "pauseDuration"),
            behavior: fields.text(self.report, "behavior"),
            timeout: fields.text(self.report, "timeout"),
            on_resume,
            on_pause,
            block: Block {
                tasks: self.list(fields, "tasks", ListKind::Main, within),
                handlers: self.handlers(fields, within),
            },
        }))
    }

    /// One task that does work; its runs have no parent.
    fn on_pause(&mut self, node: &Node, path: &str, within: &Within<'_>) -> Option<std::sync::Arc<Task>> {
        let within = Within { parent: None, list: ListKind::OnPause, disabled: within.disabled };
        let task = self.read(node, path, &within)?;
        if !matches!(task.kind, TaskKind::Runnable(_)) {
            self.report.error(path, node.at, "onPause: only a runnable task is allowed");
            return None;
        }
        let mut alone = TaskList::new();
        self.add(&mut alone, task, &within);
        alone.pop()
    }
}

/// A text of a map inside a task.
fn inner_text(report: &mut Report, fields: &Fields<'_>, map: &str, name: &str) -> Option<Text> {
    let node = fields.get(map)?.get(name).filter(|node| !node.is_null())?;
    let source = node.scalar_text()?;
    Some(report.text(source, &below(&fields.path(map), name), node))
}

/// Ids of tasks that wait for each other, or for such, in order: nobody can be begun first.
fn in_cycles<'n>(nodes: &[Vertex<'n>]) -> Vec<&'n str> {
    let places: HashMap<&str, usize> = nodes.iter().enumerate().map(|(place, node)| (node.id, place)).collect();
    let mut waiting_for: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut waited_by: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        let known = node.depends_on.iter().filter_map(|id| places.get(id.as_str()));
        waiting_for.push(known.map(|place| waited_by[*place].push(at)).count());
    }
    let mut free: Vec<usize> = (0..nodes.len()).filter(|at| waiting_for[*at] == 0).collect();
    while let Some(at) = free.pop() {
        for next in std::mem::take(&mut waited_by[at]) {
            waiting_for[next] -= 1;
            if waiting_for[next] == 0 {
                free.push(next);
            }
        }
    }
    nodes.iter().zip(waiting_for).filter(|(_, waits)| *waits > 0).map(|(node, _)| node.id).collect()
}
