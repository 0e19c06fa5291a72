//! The expression language: `{{ … }}` templates inside flow definitions.
//!
//! For: compiling templates once, evaluating them often against lazily read variables, and telling beforehand what a template reads
//! ([`Template::analysis`]).
//!
//! Always true: no I/O, no clock, no randomness of its own (see [`Services`]); every evaluation is bounded ([`Limits`]); no input makes it
//! panic or exhaust the stack; values that a caller hands in are never changed.
//!
//! Not here: where variables come from, what happens to results, masking of secrets.

mod analysis;
mod cache;
pub mod condition;
mod date;
mod decimal_format;
mod environment;
mod error;
mod eval;
mod filters;
mod functions;
mod ion;
mod jq;
mod json;
mod limits;
mod predicates;
mod services;
mod structure;
mod syntax;
mod template;
mod value;
mod variables;
mod yaml;

pub use analysis::{Analysis, Reads};
pub use cache::TemplateCache;
pub use environment::Environment;
pub use error::{ErrorKind, ExpressionError, Interrupt};
pub use eval::{render_text, render_typed};
pub use filters::slugify;
pub use functions::is_kv_key;
pub use ion::{item_line, read_items};
pub use limits::Limits;
pub use services::{
    FileAnswer, FileInfo, FileRef, HttpAnswer, HttpCall, KvAnswer, KvRequest, NoServices, SecretRequest, SeededRandom,
    Services,
};
pub use structure::render_structure;
pub use template::Template;
pub use value::{Document, Entry, List, LoopState, Map, Object, Set, Span, Value, Zone, Zoned};
pub use variables::{NoVariables, SharedVariables, Variables};
