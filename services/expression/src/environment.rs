//! What a template is evaluated against.

use crate::cache::TemplateCache;
use crate::limits::Limits;
use crate::services::Services;
use crate::variables::Variables;

/// Everything that one evaluation needs besides the template. Cheap to build.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// The root variables.
    pub variables: &'a dyn Variables,
    /// The world.
    pub services: &'a dyn Services,
    /// Where templates that are only known at run time (`render`, structures) are compiled; without it each is compiled again.
    pub cache: Option<&'a TemplateCache>,
    /// The bounds.
    pub limits: Limits,
    /// The server option `kestra.variables.recursive-rendering`: results are rendered again until they no longer change, and the functions
    /// `render` and `renderOnce` do not exist (expression reference, section 1.2).
    pub recursive: bool,
}

impl<'a> Environment<'a> {
    /// Default limits, no cache, no recursive rendering.
    pub fn new(variables: &'a dyn Variables, services: &'a dyn Services) -> Self {
        Self { variables, services, cache: None, limits: Limits::default(), recursive: false }
    }

    /// Uses a cache.
    pub fn with_cache(mut self, cache: &'a TemplateCache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Uses other bounds.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Switches recursive rendering on or off.
    pub fn with_recursive(mut self, recursive: bool) -> Self {
        self.recursive = recursive;
        self
    }
}
