//! What a job carries of the context: the roots that the task's templates touch, as they are when the job is made.

use std::collections::BTreeSet;

use windhover_expression::{Interrupt, Reads, Value, Variables};
use windhover_flow::{Runnable, Task, Text};
use windhover_types::JsonMap;

use super::{Context, ROOTS, Stop, narrow, views};
use crate::Fact;

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
    fn of(task: &'a Task, runnable: &'a Runnable) -> Self {
        let mut touched = Self::default();
        runnable.properties.each_text(&mut |text| touched.add(text));
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

/// The variables of a job for this task.
pub(crate) fn job_variables(context: &Context<'_>, task: &Task, runnable: &Runnable) -> Result<JsonMap, Stop> {
    let mut touched = Touched::of(task, runnable);
    if touched.everything {
        touched.roots.extend(ROOTS);
        touched.outputs.all = true;
        touched.tasks.all = true;
    }
    let shared = context.run.task_runs.shared();
    need_all(context, [&touched.outputs, &touched.tasks])?;
    let few = outputs_of_many(context, &touched)?;
    let mut variables = JsonMap::new();
    for name in ROOTS {
        let value = match name {
            "outputs" if touched.outputs.is_empty() => None,
            "outputs" => pick(context, name, &touched.outputs, |task_id| match few.contains_key(task_id) {
                true => Ok(None),
                false => views::outputs_of(shared, task_id),
            })?,
            "tasks" if touched.tasks.is_empty() => None,
            "tasks" => pick(context, name, &touched.tasks, |task_id| views::states_of(shared, task_id))?,
            _ if ALWAYS.contains(&name) || touched.roots.contains(name) => context.root(name).map_err(stop)?,
            _ => None,
        };
        if let Some(value) = value {
            variables.insert(name.to_owned(), value.to_json()?);
        }
    }
    if let Some(serde_json::Value::Object(outputs)) = variables.get_mut("outputs") {
        outputs.extend(few);
    }
    Ok(variables)
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

fn stop(interrupt: Interrupt) -> Stop {
    match interrupt {
        Interrupt::Needs(key) => windhover_expression::ExpressionError::Needs(key).into(),
        Interrupt::Missing(message) | Interrupt::Failed(message) => Stop::Failed(message),
    }
}
