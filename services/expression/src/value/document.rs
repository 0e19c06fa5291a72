//! Subtrees of shared JSON documents, read in place.
//!
//! A variable that is a large document costs nothing until a path walks into it: a view is a node and a counter. Lists of a document can
//! be changed by a template (`sort`, `+`), but the document itself never is: the changed list replaces the node in a table that lives as
//! long as the evaluation.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use num_bigint::BigInt;
use serde_json::Value as Json;
use yoke::Yoke;

use super::{List, Value};

/// A list or an object inside a shared JSON document.
#[derive(Clone)]
pub struct Document {
    node: Yoke<&'static Json, Arc<Json>>,
    changed: Option<Arc<ChangedLists>>,
}

/// Lists that the running evaluation has changed, by the address of the node that they replace. Each entry keeps its document alive, so
/// an address is never reused.
#[derive(Default)]
pub(crate) struct ChangedLists {
    any: AtomicBool,
    lists: Mutex<HashMap<usize, (Arc<Json>, List)>>,
}

impl ChangedLists {
    pub(crate) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    fn find(&self, node: &Json) -> Option<List> {
        if self.is_empty() {
            return None;
        }
        let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.get(&address(node)).map(|(_, list)| list.clone())
    }
}

fn address(node: &Json) -> usize {
    std::ptr::from_ref(node).addr()
}

impl Document {
    pub(crate) fn new(document: Arc<Json>) -> Self {
        Self { node: Yoke::attach_to_cart(document, |node| node), changed: None }
    }

    /// The same node, with the table of the running evaluation.
    pub(crate) fn within(mut self, changed: &Arc<ChangedLists>) -> Self {
        self.changed = Some(Arc::clone(changed));
        self
    }

    /// The node as it stands in the document.
    pub fn json(&self) -> &Json {
        self.node.get()
    }

    /// Whether [`Self::json`] shows this node as it is now.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.changed.as_ref().is_none_or(|changed| changed.is_empty())
    }

    pub(crate) fn is_list(&self) -> bool {
        self.json().is_array()
    }

    pub(crate) fn len(&self) -> usize {
        match self.json() {
            Json::Array(items) => items.len(),
            Json::Object(entries) => entries.len(),
            _ => 0,
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        // one lookup: the closure gives the scalar, if it is one, by way of its error
        let found = self.node.try_map_project_cloned(|node, _| {
            let child = node.as_object().and_then(|map| map.get(key)).ok_or(None)?;
            scalar(child).map_or(Ok(child), |value| Err(Some(value)))
        });
        found.map_or_else(|scalar| scalar, |node| Some(self.child(node)))
    }

    pub(crate) fn index(&self, index: usize) -> Option<Value> {
        let found = self.node.try_map_project_cloned(|node, _| {
            let child = node.as_array().and_then(|list| list.get(index)).ok_or(None)?;
            scalar(child).map_or(Ok(child), |value| Err(Some(value)))
        });
        found.map_or_else(|scalar| scalar, |node| Some(self.child(node)))
    }

    /// The elements of a list; nothing for an object.
    pub(crate) fn items(&self) -> Vec<Value> {
        (0..self.json().as_array().map_or(0, Vec::len)).filter_map(|index| self.index(index)).collect()
    }

    /// The entries of an object; nothing for a list.
    pub(crate) fn entries(&self) -> Vec<(Arc<str>, Value)> {
        let Some(entries) = self.json().as_object() else { return Vec::new() };
        entries.keys().filter_map(|key| Some((Arc::from(key.as_str()), self.get(key)?))).collect()
    }

    fn child(&self, node: Yoke<&'static Json, Arc<Json>>) -> Value {
        if let Some(list) = self.changed.as_ref().and_then(|changed| changed.find(node.get())) {
            return Value::List(list);
        }
        Value::Json(Self { node, changed: self.changed.clone() })
    }

    /// The list that stands for this node from now on, for a filter that changes it.
    pub(crate) fn to_changed_list(&self) -> List {
        let list = List::new(self.items());
        if let Some(changed) = &self.changed {
            let document = Arc::clone(self.node.backing_cart());
            let mut lists = changed.lists.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, list) = lists.entry(address(self.json())).or_insert((document, list));
            let list = list.clone();
            changed.any.store(true, Ordering::Relaxed);
            return list;
        }
        list
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.json().fmt(formatter)
    }
}

impl std::fmt::Debug for ChangedLists {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ChangedLists").finish_non_exhaustive()
    }
}

/// The value of a node that is no collection.
pub(crate) fn scalar(node: &Json) -> Option<Value> {
    match node {
        Json::Null => Some(Value::Null),
        Json::Bool(value) => Some(Value::Bool(*value)),
        Json::Number(number) => Some(json_number(number)),
        Json::String(text) => Some(Value::Text(Arc::from(text.deref()))),
        Json::Array(_) | Json::Object(_) => None,
    }
}

/// Whole numbers become the smallest of int32, int64 and bigint that holds them, all others float64 (section 4).
pub(crate) fn json_number(number: &serde_json::Number) -> Value {
    if let Some(value) = number.as_i64() {
        Value::whole(value)
    } else if let Some(value) = number.as_u64() {
        Value::BigInt(Arc::new(BigInt::from(value)))
    } else {
        Value::Double(number.as_f64().unwrap_or(f64::NAN))
    }
}
