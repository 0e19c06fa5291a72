//! Lists, sets, maps and map entries: shared by reference counting, and taken apart without recursion.
//!
//! Always true: cloning a collection is one counter; a list is changed in place only by the operators and filters that do so in the
//! language, everything else works on snapshots, so no lock is held while other code runs.

use std::hash::{Hash, Hasher};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::{Equivalent, IndexMap, IndexSet};

use super::{Value, equality};

type Entries = IndexMap<Key, Value, ahash::RandomState>;
type Elements = IndexSet<Key, ahash::RandomState>;

/// An ordered, mutable list; clones share their elements.
#[derive(Clone, Debug)]
pub struct List(Arc<ListCell>);

#[derive(Debug)]
struct ListCell {
    items: Mutex<Arc<Vec<Value>>>,
    read_only: bool,
}

impl List {
    /// A list of these elements.
    pub fn new(items: Vec<Value>) -> Self {
        Self(Arc::new(ListCell { items: Mutex::new(Arc::new(items)), read_only: false }))
    }

    /// A list that `sort`, `reverse`, `+` and `-` refuse to change.
    pub(crate) fn read_only(items: Vec<Value>) -> Self {
        Self(Arc::new(ListCell { items: Mutex::new(Arc::new(items)), read_only: true }))
    }

    fn items(&self) -> MutexGuard<'_, Arc<Vec<Value>>> {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The elements as they are now.
    pub fn snapshot(&self) -> Arc<Vec<Value>> {
        Arc::clone(&self.items())
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.items().len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.items().is_empty()
    }

    pub(crate) fn get(&self, index: usize) -> Option<Value> {
        self.items().get(index).cloned()
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.0.read_only
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn replace(&self, items: Vec<Value>) {
        let old = mem::replace(&mut *self.items(), Arc::new(items));
        dismantle_shared(old);
    }

    pub(crate) fn extend(&self, more: impl IntoIterator<Item = Value>) {
        Arc::make_mut(&mut self.items()).extend(more);
    }
}

impl Drop for ListCell {
    fn drop(&mut self) {
        dismantle_shared(mem::take(self.items.get_mut().unwrap_or_else(PoisonError::into_inner)));
    }
}

/// A map in insertion order; it never changes once built.
#[derive(Clone, Debug)]
pub struct Map(Arc<MapCell>);

#[derive(Debug)]
struct MapCell(Entries);

impl Map {
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.0.get(key)
    }

    pub(crate) fn get_key(&self, key: &Value) -> Option<&Value> {
        self.0.0.get(&KeyRef(key))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.0.0.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// Keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Value, &Value)> {
        self.0.0.iter().map(|(key, value)| (&key.0, value))
    }

    pub(crate) fn first_key(&self) -> Option<&Value> {
        self.0.0.first().map(|(key, _)| &key.0)
    }
}

impl FromIterator<(Value, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (Value, Value)>>(entries: I) -> Self {
        Self(Arc::new(MapCell(entries.into_iter().map(|(key, value)| (Key(key), value)).collect())))
    }
}

impl Drop for MapCell {
    fn drop(&mut self) {
        if self.0.iter().any(|(key, value)| key.0.is_nested() || value.is_nested()) {
            dismantle(self.0.drain(..).flat_map(|(key, value)| [key.0, value]).collect());
        }
    }
}

/// A set in insertion order; it never changes once built.
#[derive(Clone, Debug)]
pub struct Set(Arc<SetCell>);

#[derive(Debug)]
struct SetCell(Elements);

impl Set {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.0.0.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    pub(crate) fn contains(&self, value: &Value) -> bool {
        self.0.0.contains(&KeyRef(value))
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.0.iter().map(|key| &key.0)
    }
}

impl FromIterator<Value> for Set {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self(Arc::new(SetCell(items.into_iter().map(Key).collect())))
    }
}

impl Drop for SetCell {
    fn drop(&mut self) {
        if self.0.iter().any(|key| key.0.is_nested()) {
            dismantle(self.0.drain(..).map(|key| key.0).collect());
        }
    }
}

/// One entry of a map that a loop goes through.
#[derive(Clone, Debug)]
pub struct Entry(Arc<EntryCell>);

#[derive(Debug)]
struct EntryCell {
    key: Value,
    value: Value,
}

impl Entry {
    /// An entry of this key and value.
    pub fn new(key: Value, value: Value) -> Self {
        Self(Arc::new(EntryCell { key, value }))
    }

    /// The key.
    pub fn key(&self) -> &Value {
        &self.0.key
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.0.value
    }
}

impl Drop for EntryCell {
    fn drop(&mut self) {
        if self.key.is_nested() || self.value.is_nested() {
            dismantle(vec![mem::replace(&mut self.key, Value::Null), mem::replace(&mut self.value, Value::Null)]);
        }
    }
}

fn dismantle_shared(items: Arc<Vec<Value>>) {
    if items.iter().any(Value::is_nested)
        && let Some(items) = Arc::into_inner(items)
    {
        dismantle(items);
    }
}

/// Frees nested values with a work list: a template can nest lists deeper than the stack allows a recursion to follow.
fn dismantle(mut work: Vec<Value>) {
    while let Some(value) = work.pop() {
        match value {
            Value::List(List(cell)) | Value::Array(List(cell)) => {
                if let Some(mut cell) = Arc::into_inner(cell) {
                    let items = mem::take(cell.items.get_mut().unwrap_or_else(PoisonError::into_inner));
                    work.extend(Arc::into_inner(items).unwrap_or_default());
                }
            }
            Value::Map(Map(cell)) => {
                if let Some(mut cell) = Arc::into_inner(cell) {
                    work.extend(cell.0.drain(..).flat_map(|(key, value)| [key.0, value]));
                }
            }
            Value::Set(Set(cell)) => {
                if let Some(mut cell) = Arc::into_inner(cell) {
                    work.extend(cell.0.drain(..).map(|key| key.0));
                }
            }
            Value::Entry(Entry(cell)) => {
                if let Some(mut cell) = Arc::into_inner(cell) {
                    work.push(mem::replace(&mut cell.key, Value::Null));
                    work.push(mem::replace(&mut cell.value, Value::Null));
                }
            }
            _ => {}
        }
    }
}

/// A value as a key: equal if kind and content are (expression reference, section 4).
#[derive(Clone, Debug)]
pub(crate) struct Key(pub(crate) Value);

/// A borrowed [`Key`].
struct KeyRef<'a>(&'a Value);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        equality::keys_equal(&self.0, &other.0)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        equality::hash_key(&self.0, state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        equality::hash_key(self.0, state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        equality::keys_equal(self.0, &key.0)
    }
}

impl Equivalent<Key> for str {
    fn equivalent(&self, key: &Key) -> bool {
        matches!(&key.0, Value::Text(text) if **text == *self)
    }
}
