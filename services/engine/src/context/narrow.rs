//! Which entries of `outputs` a job needs of tasks that have run for many values.
//!
//! A task in a loop of ten thousand values that reads `outputs.x[taskrun.value]` must not carry all ten thousand. Its templates are
//! rendered here once, and what they look at is noted; the worker, which renders the same templates against the same variables, looks
//! at the same entries. That holds for templates without chance and without the world only; others carry everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value as Json;
use windhover_expression::{ExpressionError, Interrupt, Object, Value, Variables};
use windhover_flow::Text;
use windhover_types::JsonMap;

use super::{Context, RenderContext, Stop, views};
use crate::runs::Node;

/// Fewer entries are carried without looking.
const MANY: usize = 32;

/// Whether the outputs of this task are so many that it pays to look which are needed.
pub(super) fn is_wide(context: &Context<'_>, task_id: &str) -> bool {
    fn reaches(node: &Node, left: &mut usize) -> bool {
        match node {
            Node::Leaf(_) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            Node::Values(values) => values.values().any(|node| reaches(node, left)),
        }
    }
    let mut left = MANY;
    context.run.task_runs.shared().by_task.get(task_id).is_some_and(|node| reaches(node, &mut left))
}

/// The entries of these tasks that the templates look at; `None` when that cannot be told.
pub(super) fn needed(context: &Context<'_>, texts: &[&Text], wide: &BTreeSet<&str>) -> Result<Option<JsonMap>, Stop> {
    if texts.iter().any(|text| text.analysis().is_some_and(|analysis| !analysis.is_pure())) {
        return Ok(None);
    }
    let recorder = Arc::new(Recorder::default());
    let recording =
        Recording { context, wide: wide.iter().map(|id| (*id).to_owned()).collect(), recorder: Arc::clone(&recorder) };
    let mut environment = context.environment();
    environment.variables = &recording;
    for text in texts {
        // Any other error comes up at the worker in the same place, and is told there.
        if let Err(error @ ExpressionError::Needs(_)) = text.render(&environment) {
            return Err(error.into());
        }
    }
    let seen = std::mem::take(&mut *recorder.seen.lock().unwrap_or_else(PoisonError::into_inner));
    if seen.everything {
        return Ok(None);
    }
    let mut needed: BTreeMap<&str, JsonMap> = wide.iter().map(|id| (*id, JsonMap::new())).collect();
    for (task_id, path) in &seen.paths {
        let Some(entries) = needed.get_mut(task_id.as_str()) else { continue };
        if let Some(value) = look_up(context, task_id, path)? {
            insert(entries, path, value);
        }
    }
    Ok(Some(needed.into_iter().map(|(id, entries)| (id.to_owned(), Json::Object(entries))).collect()))
}

/// The outputs at the end of a path of values; `None` for what is not there or goes on.
fn look_up(context: &Context<'_>, task_id: &str, path: &[String]) -> Result<Option<Json>, Stop> {
    let interrupted = |interrupt| match interrupt {
        Interrupt::Needs(key) => Stop::from(ExpressionError::Needs(key)),
        Interrupt::Missing(message) | Interrupt::Failed(message) => Stop::Failed(message),
    };
    let mut value = views::outputs_of(context.run.task_runs.shared(), task_id).map_err(interrupted)?;
    for key in path {
        value = match value {
            Some(Value::Object(entries)) => entries.get(key).map_err(interrupted)?,
            _ => return Ok(None),
        };
    }
    match value {
        Some(Value::Object(_)) | None => Ok(None),
        Some(value) => Ok(Some(value.to_json()?)),
    }
}

fn insert(entries: &mut JsonMap, path: &[String], value: Json) {
    let Some((last, outer)) = path.split_last() else { return };
    let mut at = entries;
    for key in outer {
        match at.entry(key.clone()).or_insert_with(|| Json::Object(JsonMap::new())) {
            Json::Object(inner) => at = inner,
            _ => return,
        }
    }
    at.insert(last.clone(), value);
}

/// What templates have looked at.
#[derive(Default)]
struct Recorder {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// A map was used as a whole.
    everything: bool,
    /// Task and values.
    paths: BTreeSet<(String, Vec<String>)>,
}

impl Recorder {
    fn note(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

struct Recording<'a> {
    context: &'a Context<'a>,
    wide: BTreeSet<String>,
    recorder: Arc<Recorder>,
}

impl Variables for Recording<'_> {
    fn root(&self, name: &str) -> Result<Option<Value>, Interrupt> {
        match (name, self.context.root(name)?) {
            ("outputs", Some(Value::Object(inner))) => {
                let (wide, recorder) = (self.wide.clone(), Arc::clone(&self.recorder));
                Ok(Some(Value::Object(Arc::new(RecordedTasks { inner, wide, recorder }))))
            }
            (_, value) => Ok(value),
        }
    }

    fn names(&self) -> Vec<String> {
        self.context.names()
    }

    fn contains(&self, name: &str) -> bool {
        self.context.contains(name)
    }
}

struct RecordedTasks {
    inner: Arc<dyn Object>,
    wide: BTreeSet<String>,
    recorder: Arc<Recorder>,
}

impl Object for RecordedTasks {
    fn get(&self, key: &str) -> Result<Option<Value>, Interrupt> {
        match self.inner.get(key)? {
            Some(Value::Object(inner)) if self.wide.contains(key) => {
                let values = RecordedValues {
                    inner,
                    task_id: key.to_owned(),
                    path: Vec::new(),
                    recorder: Arc::clone(&self.recorder),
                };
                Ok(Some(Value::Object(Arc::new(values))))
            }
            value => Ok(value),
        }
    }

    fn entries(&self) -> Result<Vec<(String, Value)>, Interrupt> {
        self.recorder.note(|seen| seen.everything = true);
        self.inner.entries()
    }
}

struct RecordedValues {
    inner: Arc<dyn Object>,
    task_id: String,
    path: Vec<String>,
    recorder: Arc<Recorder>,
}

impl Object for RecordedValues {
    fn get(&self, key: &str) -> Result<Option<Value>, Interrupt> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        match self.inner.get(key)? {
            Some(Value::Object(inner)) => {
                let (task_id, recorder) = (self.task_id.clone(), Arc::clone(&self.recorder));
                Ok(Some(Value::Object(Arc::new(Self { inner, task_id, path, recorder }))))
            }
            value => {
                self.recorder.note(|seen| {
                    seen.paths.insert((self.task_id.clone(), path));
                });
                Ok(value)
            }
        }
    }

    fn entries(&self) -> Result<Vec<(String, Value)>, Interrupt> {
        self.recorder.note(|seen| seen.everything = true);
        self.inner.entries()
    }
}
