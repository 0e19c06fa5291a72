//! What a job carries of the context: the roots that the task's templates touch, as they are when the job is made.

use std::collections::BTreeSet;

use windhover_expression::{Interrupt, Reads, Value, Variables};
use windhover_flow::{Flow, ListKind, Properties, Runnable, Task, TaskKind, Text, sealed_inputs};
use windhover_types::JsonMap;

use super::{Context, ROOTS, Stop, narrow, stop, views};
use crate::{Directory, Fact, Opened, Run, TaskRun};

/// Small, and functions and tasks look at them besides the templates.
const ALWAYS: [&str; 4] = ["flow", "execution", "task", "taskrun"];

/// Whatever the templates of a task read.
#[derive(Default)]
struct Touched<'a> {
    texts: Vec<&'a Text>,
    everything: bool,
    roots: BTreeSet<&'a str>,
    outputs: Tasks<'a>,
    tasks: Tasks<'a>,
}

#[derive(Default)]
struct Tasks<'a> {
    all: bool,
    ids: BTreeSet<&'a str>,
}

impl<'a> Tasks<'a> {
    fn add(&mut self, reads: &'a Reads) {
        match reads {
            Reads::None => {}
            Reads::Some(ids) => self.ids.extend(ids.iter().map(String::as_str)),
            Reads::All => self.all = true,
        }
    }

    fn is_empty(&self) -> bool {
        !self.all && self.ids.is_empty()
    }
}

impl<'a> Touched<'a> {
    fn of(task: &'a Task, runnable: &'a Runnable, around: Option<&'a Properties>) -> Self {
        // What a templated task reads is known when it is rendered.
        let everything = runnable.task_type.name.ends_with(TEMPLATED);
        let mut touched = Self { everything, ..Self::default() };
        runnable.properties.each_text(&mut |text| touched.add(text));
        if let Some(around) = around {
            around.each_text(&mut |text| touched.add(text));
        }
        if let Some(timeout) = &task.timeout {
            touched.add(timeout);
        }
        touched
    }

    fn add(&mut self, text: &'a Text) {
        let Some(analysis) = text.analysis() else { return };
        self.texts.push(text);
        self.everything |= analysis.is_dynamic();
        self.roots.extend(analysis.roots.iter().map(String::as_str));
        self.outputs.add(&analysis.outputs);
        self.tasks.add(&analysis.tasks);
        if analysis.asks_world {
            // Functions that read files check access against the execution that triggered this one.
            self.roots.insert("trigger");
        }
        if analysis.functions.contains("currentEachOutput") {
            self.roots.insert("parents");
        }
        if analysis.functions.contains("tasksWithState") {
            self.tasks.all = true;
        }
    }
}

/// The variables of a job for this task. Sealed values are carried as they are kept; the worker opens them. Sealed inputs go with every
/// job, whatever its templates read: its lines are masked by them.
pub(crate) fn job_variables(context: &Context<'_>, task: &Task, runnable: &Runnable) -> Result<JsonMap, Stop> {
    let mut touched = Touched::of(task, runnable, files_around(context));
    if touched.everything {
        touched.roots.extend(ROOTS);
        touched.outputs.all = true;
        touched.tasks.all = true;
    }
    let shared = context.run.task_runs.shared();
    need_all(context, [&touched.outputs, &touched.tasks])?;
    let few = outputs_of_many(context, &touched)?;
    let mut variables = JsonMap::new();
    let kept = context.as_kept();
    for name in ROOTS {
        let value = match name {
            "outputs" if touched.outputs.is_empty() => None,
            "outputs" => pick(&kept, name, &touched.outputs, |task_id| match few.contains_key(task_id) {
                true => Ok(None),
                false => views::outputs_of(shared, task_id),
            })?,
            "tasks" if touched.tasks.is_empty() => None,
            "tasks" => pick(&kept, name, &touched.tasks, |task_id| views::states_of(shared, task_id))?,
            _ if ALWAYS.contains(&name) || touched.roots.contains(name) => kept.root(name).map_err(stop)?,
            _ => None,
        };
        if let Some(value) = value {
            variables.insert(name.to_owned(), value.to_json()?);
        }
    }
    if let Some(serde_json::Value::Object(outputs)) = variables.get_mut("outputs") {
        outputs.extend(few);
    }
    if !variables.contains_key("inputs") {
        let sealed = sealed_inputs(&context.flow.inputs, &context.run.execution.inputs);
        if !sealed.is_empty() {
            variables.insert("inputs".to_owned(), serde_json::Value::Object(sealed));
        }
    }
    if runnable.task_type.name.ends_with(MERGE) {
        add_items(context, &mut variables)?;
    }
    Ok(variables)
}

/// A task whose definition is rendered.
const TEMPLATED: &str = ".templating.TemplatedTask";

/// The last task of a ForEachItem.
const MERGE: &str = "$ForEachItemMergeOutputs";

/// What it puts together: the executions of the task before it, which are named by that task run, its attempt and their number; and the
/// outputs of both tasks before it.
fn add_items(context: &Context<'_>, variables: &mut JsonMap) -> Result<(), Stop> {
    let Some((_, run)) = context.task else { return Ok(()) };
    let Some(each) = run.task_id.strip_suffix("_merge") else { return Ok(()) };
    let (split, items) = (format!("{each}_split"), format!("{each}_items"));
    let shared = context.run.task_runs.shared();
    let missing: Vec<Fact> = [&split, &items]
        .into_iter()
        .filter(|id| !shared.knows(id))
        .map(|id| Fact::Outputs { task_id: Some(id.clone()) })
        .collect();
    if !missing.is_empty() {
        return Err(Stop::Needs(missing));
    }
    let sibling = |task_id: &str| {
        let same = |other: &&TaskRun| other.parent_id == run.parent_id && other.task_id == task_id;
        context.run.task_runs().find(same)
    };
    let mut outputs = JsonMap::new();
    for task_id in [&split, &items] {
        let found = sibling(task_id).and_then(|run| run.outputs.as_deref()).cloned();
        outputs.insert(task_id.clone(), found.unwrap_or_default());
    }
    variables.insert("outputs".to_owned(), serde_json::Value::Object(outputs));
    if let Some(run) = sibling(&items)
        && let Some(Opened::Items(items)) = run.opened.as_deref()
    {
        let about = serde_json::json!({
            "itemsTaskRun": run.id.to_string(), "attempt": items.attempt, "batches": items.parts,
        });
        variables.insert("forEachItem".to_owned(), about);
    }
    Ok(())
}

/// The directory that a task run shares with its siblings, if it does.
pub(crate) fn directory_of(flow: &Flow, run: &Run, task_run: &TaskRun) -> Option<Directory> {
    let place = flow.index.get(&task_run.task_id).filter(|place| place.list == ListKind::Main)?;
    let around = flow.index.get(place.parent.as_deref()?)?;
    let directory = run.task_run(task_run.parent_id?)?;
    matches!(around.task.kind, TaskKind::WorkingDirectory(_)).then(|| Directory {
        task_run: directory.id,
        task_id: directory.task_id.clone(),
        attempt: u32::try_from(directory.attempts.len().saturating_sub(1)).unwrap_or(u32::MAX),
    })
}

/// The files of the WorkingDirectory around the task of this context.
fn files_around<'a>(context: &Context<'a>) -> Option<&'a Properties> {
    let (_, task_run) = context.task?;
    directory_of(context.flow, context.run, task_run)?;
    let place = context.flow.index.get(&task_run.task_id)?;
    match &context.flow.index.get(place.parent.as_deref()?)?.task.kind {
        TaskKind::WorkingDirectory(directory) => Some(&directory.files),
        _ => None,
    }
}

/// Takes the tasks with outputs for many values out of what is carried whole, and answers the entries that are needed of them.
fn outputs_of_many(context: &Context<'_>, touched: &Touched<'_>) -> Result<JsonMap, Stop> {
    if touched.outputs.all {
        return Ok(JsonMap::new());
    }
    let wide: BTreeSet<&str> = touched.outputs.ids.iter().copied().filter(|id| narrow::is_wide(context, id)).collect();
    if wide.is_empty() {
        return Ok(JsonMap::new());
    }
    Ok(narrow::needed(context, &touched.texts, &wide)?.unwrap_or_default())
}

/// Asks for all that is not in memory at once.
fn need_all(context: &Context<'_>, reads: [&Tasks<'_>; 2]) -> Result<(), Stop> {
    let shared = context.run.task_runs.shared();
    if shared.complete {
        return Ok(());
    }
    if reads.iter().any(|tasks| tasks.all) {
        return Err(Stop::Needs(vec![Fact::Outputs { task_id: None }]));
    }
    let ids: BTreeSet<&str> = reads.iter().flat_map(|tasks| tasks.ids.iter().copied()).collect();
    let known = |id: &&str| !shared.knows(id) && context.flow.index.contains_key(*id);
    let missing: Vec<Fact> =
        ids.into_iter().filter(known).map(|id| Fact::Outputs { task_id: Some(id.to_owned()) }).collect();
    if missing.is_empty() { Ok(()) } else { Err(Stop::Needs(missing)) }
}

fn pick(
    context: &Context<'_>,
    root: &str,
    tasks: &Tasks<'_>,
    of_task: impl Fn(&str) -> Result<Option<Value>, Interrupt>,
) -> Result<Option<Value>, Stop> {
    if tasks.all || context.run.task_runs.is_empty() {
        return context.root(root).map_err(stop);
    }
    let mut picked = Vec::new();
    for id in tasks.ids.iter().copied().filter(|id| context.flow.index.contains_key(*id)) {
        if let Some(value) = of_task(id).map_err(stop)? {
            picked.push((id, value));
        }
    }
    Ok(Some(Value::map(picked)))
}
