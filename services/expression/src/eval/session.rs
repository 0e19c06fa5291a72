//! What one evaluation and its nested renderings share: bounds, roots that were fetched, lists that were changed.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use crate::environment::Environment;
use crate::error::Fault;
use crate::limits::Meter;
use crate::value::{ChangedLists, Entry, List, Object, Printer, Value, Zone};

/// Values nested deeper than this are refused when they are copied.
const MAX_COPY_DEPTH: u32 = 150;

type Remembered = HashMap<usize, (Arc<dyn Object>, HashMap<Box<str>, Option<Value>>), ahash::RandomState>;

pub(crate) struct Session<'a> {
    pub(crate) environment: Environment<'a>,
    pub(crate) meter: Meter,
    pub(crate) zone: Zone,
    roots: RefCell<Vec<(Arc<str>, Option<Value>)>>,
    objects: RefCell<Remembered>,
    changed: OnceCell<Arc<ChangedLists>>,
    /// Lists that got other collections as elements and so may be part of a cycle.
    grown: RefCell<Vec<List>>,
    depth: Cell<u32>,
    renderings: Cell<u32>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(environment: &Environment<'a>) -> Self {
        Self {
            environment: *environment,
            meter: Meter::new(&environment.limits),
            zone: environment.services.timezone(),
            roots: RefCell::default(),
            objects: RefCell::default(),
            changed: OnceCell::new(),
            grown: RefCell::default(),
            depth: Cell::new(0),
            renderings: Cell::new(0),
        }
    }

    pub(crate) fn printer(&self) -> Printer<'_> {
        Printer { meter: &self.meter, zone: self.zone }
    }

    /// Runs a nested part within the depth limit.
    pub(crate) fn nested<T>(&self, part: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth.get() >= self.environment.limits.max_depth {
            return Err(Fault::Limit("The expression is nested too deeply".to_owned()));
        }
        self.meter.steps(1)?;
        self.depth.set(self.depth.get() + 1);
        let result = part();
        self.depth.set(self.depth.get() - 1);
        result
    }

    /// Runs a nested rendering within its limit.
    pub(crate) fn rendering<T>(&self, part: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        let limit = self.environment.limits.max_render_depth;
        if self.renderings.get() >= limit {
            return Err(Fault::engine(format!("Maximum render() nesting depth ({limit}) exceeded")));
        }
        self.renderings.set(self.renderings.get() + 1);
        let result = part();
        self.renderings.set(self.renderings.get() - 1);
        result
    }

    /// A variable of the run, fetched once.
    pub(crate) fn root(&self, name: &Arc<str>) -> Result<Option<Value>, Fault> {
        if let Some((_, value)) =
            self.roots.borrow().iter().find(|(known, _)| Arc::ptr_eq(known, name) || **known == **name)
        {
            return Ok(value.clone());
        }
        let value = match self.environment.variables.root(name)? {
            Some(value) => Some(self.import(value, 0)?),
            None => None,
        };
        self.roots.borrow_mut().push((Arc::clone(name), value.clone()));
        Ok(value)
    }

    /// An entry of a lazy object, fetched once.
    pub(crate) fn object_entry(&self, object: &Arc<dyn Object>, key: &str) -> Result<Option<Value>, Fault> {
        let address = Arc::as_ptr(object).addr();
        if let Some(value) = self.objects.borrow().get(&address).and_then(|(_, known)| known.get(key)) {
            return Ok(value.clone());
        }
        let value = match object.get(key)? {
            Some(value) => Some(self.import(value, 0)?),
            None => None,
        };
        let mut objects = self.objects.borrow_mut();
        let (_, known) = objects.entry(address).or_insert_with(|| (Arc::clone(object), HashMap::default()));
        known.insert(Box::from(key), value.clone());
        Ok(value)
    }

    /// A value from outside as one that this evaluation may change: lists are copied, documents get the table of changed lists.
    fn import(&self, value: Value, depth: u32) -> Result<Value, Fault> {
        match value {
            Value::Json(document) => Ok(Value::Json(document.within(self.changed.get_or_init(Arc::default)))),
            Value::Map(ref map) if !map.iter().any(|(_, value)| may_change(value)) => Ok(value),
            Value::List(_) | Value::Array(_) | Value::Map(_) | Value::Entry(_) => self.copy(&value, depth),
            other => Ok(other),
        }
    }

    fn copy(&self, value: &Value, depth: u32) -> Result<Value, Fault> {
        if depth > MAX_COPY_DEPTH {
            return Err(Fault::Limit("A value is nested too deeply".to_owned()));
        }
        let items = |list: &List| -> Result<Vec<Value>, Fault> {
            self.meter.elements(list.len())?;
            list.snapshot().iter().map(|item| self.import_nested(item, depth)).collect()
        };
        Ok(match value {
            Value::List(list) => Value::List(List::new(items(list)?)),
            Value::Array(list) => Value::Array(List::new(items(list)?)),
            Value::Map(map) => {
                self.meter.elements(map.len())?;
                let entries = map.iter().map(|(key, value)| Ok((key.clone(), self.import_nested(value, depth)?)));
                Value::Map(entries.collect::<Result<_, Fault>>()?)
            }
            Value::Entry(entry) => {
                Value::Entry(Entry::new(entry.key().clone(), self.import_nested(entry.value(), depth)?))
            }
            other => other.clone(),
        })
    }

    fn import_nested(&self, value: &Value, depth: u32) -> Result<Value, Fault> {
        if may_change(value) { self.import(value.clone(), depth + 1) } else { Ok(value.clone()) }
    }

    /// The list behind a value, for operators and filters that change it in place.
    pub(crate) fn changeable_list(&self, value: &Value) -> Result<Option<List>, Fault> {
        let list = match value {
            Value::List(list) | Value::Array(list) => list.clone(),
            Value::Json(document) if document.is_list() => {
                self.meter.elements(document.len())?;
                document.to_changed_list()
            }
            _ => return Ok(None),
        };
        if list.is_read_only() {
            return Err(Fault::host("java.lang.UnsupportedOperationException: the list cannot be changed"));
        }
        Ok(Some(list))
    }

    /// Notes that a list got these elements, in case it now contains itself.
    pub(crate) fn note_growth(&self, list: &List, elements: &[Value]) {
        if elements.iter().any(may_change) {
            self.grown.borrow_mut().push(list.clone());
        }
    }

    /// A result that shares nothing with this evaluation that `end` takes apart.
    pub(crate) fn detach(&self, value: &Value) -> Result<Value, Fault> {
        let changed = self.changed.get().is_some_and(|changed| !changed.is_empty());
        if self.grown.borrow().is_empty() && !changed {
            return Ok(value.clone());
        }
        self.detached(value, 0)
    }

    fn detached(&self, value: &Value, depth: u32) -> Result<Value, Fault> {
        if depth > MAX_COPY_DEPTH {
            return Err(Fault::Limit("A value is nested too deeply".to_owned()));
        }
        if let Some(items) = value.sequence_items() {
            self.meter.elements(items.len())?;
            let items = items.iter().map(|item| self.detached(item, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            return Ok(if matches!(value, Value::Array(_)) { Value::array(items) } else { Value::list(items) });
        }
        if matches!(value, Value::Map(_) | Value::Json(_)) {
            let entries = value.entries()?.unwrap_or_default();
            self.meter.elements(entries.len())?;
            let entries = entries.into_iter().map(|(key, value)| Ok((key, self.detached(&value, depth + 1)?)));
            return Ok(Value::Map(entries.collect::<Result<_, Fault>>()?));
        }
        Ok(value.clone())
    }

    /// Takes cycles apart that a template has built, so that nothing is left behind.
    pub(crate) fn end(&self) {
        for list in self.grown.borrow_mut().drain(..) {
            list.replace(Vec::new());
        }
    }
}

fn may_change(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Array(_) | Value::Map(_) | Value::Json(_) | Value::Entry(_) | Value::Set(_))
}
