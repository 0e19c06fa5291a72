//! Compiled templates by their text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::ExpressionError;
use crate::template::Template;

/// A bounded cache of compiled templates. Thread-safe; share one in a process.
///
/// Two generations: when the young one is full it becomes the old one and the former old one is dropped, so that what is used stays and
/// nothing has to be counted.
#[derive(Debug)]
pub struct TemplateCache {
    generations: Mutex<Generations>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Arc<str>, Template, ahash::RandomState>,
    old: HashMap<Arc<str>, Template, ahash::RandomState>,
}

/// Longer texts are compiled each time, so that the cache stays small whatever it is given.
const MAX_CACHED_LENGTH: usize = 16 << 10;

impl TemplateCache {
    /// A cache of at most `capacity` templates.
    pub fn new(capacity: usize) -> Self {
        Self { generations: Mutex::default(), capacity: capacity.max(2) }
    }

    /// The compiled template of this text.
    ///
    /// # Errors
    /// [`ExpressionError::Syntax`] if it is malformed; errors are not kept.
    pub fn get(&self, source: &str) -> Result<Template, ExpressionError> {
        if source.len() > MAX_CACHED_LENGTH {
            return Template::compile(source);
        }
        if let Some(template) = self.find(source) {
            return Ok(template);
        }
        let template = Template::compile(source)?;
        self.keep(template.clone());
        Ok(template)
    }

    fn find(&self, source: &str) -> Option<Template> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = generations.young.get(source) {
            return Some(template.clone());
        }
        let (key, template) = generations.old.remove_entry(source)?;
        generations.insert(key, template.clone(), self.capacity);
        Some(template)
    }

    fn keep(&self, template: Template) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.insert(template.source_shared(), template, self.capacity);
    }
}

impl Generations {
    fn insert(&mut self, key: Arc<str>, template: Template, capacity: usize) {
        if self.young.len() >= capacity / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, template);
    }
}

/// 1,000 templates, as the reference's engine has.
impl Default for TemplateCache {
    fn default() -> Self {
        Self::new(1_000)
    }
}
