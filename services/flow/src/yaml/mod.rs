//! YAML with positions: one tree that holds the values and where each of them stands.
//!
//! For: reading flows of strangers. Always true: the size of the source, the depth and the number of nodes (aliases
//! counted as often as they are used) are bounded before memory grows; nothing recurses deeper than the bound; keys
//! are texts and unique.
//!
//! Why one parser and not two side by side: typed properties need the text as it was written (`format: 1.10` is the
//! text `1.10`), which a tree of resolved values has lost, and two parsers that disagree about a document would be a
//! hole.

mod builder;
mod node;
mod scalar;

use serde_json::Value;

pub(crate) use builder::parse;
pub(crate) use node::{Content, Entry, Node, Position, Scalar};

/// Bounds of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the source.
    pub max_bytes: usize,
    /// Nested lists and maps.
    pub max_depth: usize,
    /// Keys and values in all, those that aliases stand for included.
    pub max_nodes: usize,
    /// Bytes of all texts, those that aliases stand for included.
    pub max_text: usize,
}

/// 1 MiB, 100 levels, 100,000 nodes, 4 MiB of text.
impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_depth: 100, max_nodes: 100_000, max_text: 4 << 20 }
    }
}

/// A place and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) at: Position,
    /// Path of the node; empty for the document.
    pub(crate) path: String,
    pub(crate) message: String,
}

/// The value of one YAML document, for inputs of type YAML.
///
/// # Errors
/// What is wrong, with line and column.
pub(crate) fn to_value(source: &str) -> Result<Value, String> {
    let (node, problems) = parse(source, &Limits { max_bytes: 8 << 20, ..Limits::default() });
    match (node, problems.into_iter().next()) {
        (Some(node), None) => Ok(node.to_value()),
        (_, Some(problem)) => {
            Err(format!("{} at line {}, column {}", problem.message, problem.at.line, problem.at.column))
        }
        (None, None) => Err("the document is empty".to_owned()),
    }
}
