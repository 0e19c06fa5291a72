//! `outputs` and `tasks` as lazy maps over the task runs: nothing is copied, and what is not in memory is asked for.

use std::sync::Arc;

use indexmap::IndexMap;
use windhover_expression::{Interrupt, Object, Value};
use windhover_types::Id;

use crate::{
    Fact, Run,
    runs::{Node, Shared},
};

/// `outputs`: by task id, then by the values of the loops around it, outermost first.
pub(super) fn outputs(run: &Run) -> Value {
    Value::Object(Arc::new(Outputs(Arc::clone(run.task_runs.shared()))))
}

/// `tasks`: the state by task id, in loops by the task run's own value.
pub(super) fn tasks(run: &Run) -> Value {
    Value::Object(Arc::new(Tasks(Arc::clone(run.task_runs.shared()))))
}

/// The outputs of one task, or `None` when none of its task runs has any.
pub(super) fn outputs_of(shared: &Arc<Shared>, task_id: &str) -> Result<Option<Value>, Interrupt> {
    match shared.by_task.get(task_id) {
        Some(Node::Leaf(id)) => Ok(leaf(shared, *id)),
        _ if !shared.knows(task_id) => Err(missing(Some(task_id))),
        Some(Node::Values(_)) => {
            let view = Iterations { shared: Arc::clone(shared), task_id: task_id.to_owned(), path: Vec::new() };
            Ok((!view.is_bare()).then(|| Value::Object(Arc::new(view))))
        }
        None => Ok(None),
    }
}

/// The states of one task, as `tasks` shows them.
pub(super) fn states_of(shared: &Arc<Shared>, task_id: &str) -> Result<Option<Value>, Interrupt> {
    let node = shared.by_task.get(task_id);
    if !matches!(node, Some(Node::Leaf(_))) && !shared.knows(task_id) {
        return Err(missing(Some(task_id)));
    }
    let Some(node) = node else { return Ok(None) };
    // One level of values only; the last task run of a value counts (flow model reference 3.7).
    let mut alone = None;
    let mut by_value: IndexMap<&str, Value> = IndexMap::new();
    let mut left = vec![node];
    while let Some(node) = left.pop() {
        match node {
            Node::Values(values) => left.extend(values.values().rev()),
            Node::Leaf(id) => {
                let Some(run) = shared.runs.get(id) else { continue };
                let state = Value::map([("state", Value::text(run.state.current().as_str()))]);
                match &run.value {
                    Some(value) => drop(by_value.insert(value, state)),
                    None => alone = Some(state),
                }
            }
        }
    }
    Ok(alone.or_else(|| (!by_value.is_empty()).then(|| Value::map(by_value))))
}

fn missing(task_id: Option<&str>) -> Interrupt {
    Interrupt::Needs(Fact::Outputs { task_id: task_id.map(str::to_owned) }.key())
}

fn leaf(shared: &Shared, id: Id) -> Option<Value> {
    let outputs = shared.runs.get(&id)?.outputs.as_ref()?;
    Some(Value::from_shared_json(Arc::clone(outputs)))
}

struct Outputs(Arc<Shared>);

impl Object for Outputs {
    fn get(&self, key: &str) -> Result<Option<Value>, Interrupt> {
        outputs_of(&self.0, key)
    }

    fn entries(&self) -> Result<Vec<(String, Value)>, Interrupt> {
        all(&self.0, outputs_of)
    }
}

struct Tasks(Arc<Shared>);

impl Object for Tasks {
    fn get(&self, key: &str) -> Result<Option<Value>, Interrupt> {
        states_of(&self.0, key)
    }

    fn entries(&self) -> Result<Vec<(String, Value)>, Interrupt> {
        all(&self.0, states_of)
    }
}

/// Of every task, in order of its first task run.
pub(super) fn all(
    shared: &Arc<Shared>,
    of_task: fn(&Arc<Shared>, &str) -> Result<Option<Value>, Interrupt>,
) -> Result<Vec<(String, Value)>, Interrupt> {
    if !shared.complete {
        return Err(missing(None));
    }
    let mut runs: Vec<_> = shared.runs.values().collect();
    runs.sort_by_key(|run| run.seq);
    let mut seen = std::collections::HashSet::new();
    let mut entries = Vec::new();
    for run in runs {
        if seen.insert(run.task_id.as_str())
            && let Some(value) = of_task(shared, &run.task_id)?
        {
            entries.push((run.task_id.clone(), value));
        }
    }
    Ok(entries)
}

/// Outputs of a task in loops, from some value on.
struct Iterations {
    shared: Arc<Shared>,
    task_id: String,
    path: Vec<String>,
}

impl Iterations {
    fn values(&self) -> Option<&IndexMap<String, Node>> {
        let mut node = self.shared.by_task.get(&self.task_id)?;
        for value in &self.path {
            let Node::Values(values) = node else { return None };
            node = values.get(value)?;
        }
        match node {
            Node::Values(values) => Some(values),
            Node::Leaf(_) => None,
        }
    }

    fn child(&self, value: &str, node: &Node) -> Result<Option<Value>, Interrupt> {
        match node {
            Node::Leaf(id) => Ok(leaf(&self.shared, *id)),
            Node::Values(_) => {
                let mut path = self.path.clone();
                path.push(value.to_owned());
                let view = Self { shared: Arc::clone(&self.shared), task_id: self.task_id.clone(), path };
                Ok((!view.is_bare()).then(|| Value::Object(Arc::new(view))))
            }
        }
    }

    /// No task run below has outputs.
    fn is_bare(&self) -> bool {
        // Ends at the first that has some, which is nearly always the very first.
        fn bare(shared: &Shared, values: &IndexMap<String, Node>) -> bool {
            values.values().all(|node| match node {
                Node::Values(values) => bare(shared, values),
                Node::Leaf(id) => shared.runs.get(id).is_none_or(|run| run.outputs.is_none()),
            })
        }
        self.values().is_none_or(|values| bare(&self.shared, values))
    }
}

impl Object for Iterations {
    fn get(&self, key: &str) -> Result<Option<Value>, Interrupt> {
        match self.values().and_then(|values| values.get(key)) {
            Some(node) => self.child(key, node),
            None => Ok(None),
        }
    }

    fn entries(&self) -> Result<Vec<(String, Value)>, Interrupt> {
        let mut entries = Vec::new();
        for (value, node) in self.values().into_iter().flatten() {
            if let Some(child) = self.child(value, node)? {
                entries.push((value.clone(), child));
            }
        }
        Ok(entries)
    }
}
