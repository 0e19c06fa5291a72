//! Bounds of one evaluation. A template is somebody else's program: whatever it says, it ends soon and stays small.

use std::cell::Cell;

use crate::error::Fault;

/// Bounds of one evaluation, nested `render` calls included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Evaluation steps: about one for each node of an expression, each element and each 64 bytes that are touched.
    pub max_steps: u64,
    /// Bytes of texts and collections that may be built in total, kept or not.
    pub max_memory: u64,
    /// Bytes of one result, and of every text on the way to it.
    pub max_output: usize,
    /// Nested expressions, tags, macros and renderings. Sized so that the stack of a thread of 2 MiB suffices.
    pub max_depth: u32,
    /// Nested `render` calls (expression reference, section 15.4).
    pub max_render_depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_steps: 10_000_000,
            max_memory: 256 << 20,
            max_output: 32 << 20,
            max_depth: 250,
            max_render_depth: 16,
        }
    }
}

/// What is left of the limits while an evaluation runs.
#[derive(Debug)]
pub(crate) struct Meter {
    steps: Cell<u64>,
    memory: Cell<u64>,
    max_output: usize,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { steps: Cell::new(limits.max_steps), memory: Cell::new(limits.max_memory), max_output: limits.max_output }
    }

    /// Pays for `count` steps.
    pub(crate) fn steps(&self, count: u64) -> Result<(), Fault> {
        let Some(left) = self.steps.get().checked_sub(count) else {
            self.steps.set(0);
            return Err(Fault::Limit("The expression takes too many steps".to_owned()));
        };
        self.steps.set(left);
        Ok(())
    }

    /// Pays for a text of `length` bytes that is about to be built.
    pub(crate) fn text(&self, length: usize) -> Result<(), Fault> {
        if length > self.max_output {
            return Err(Fault::Limit(format!("A text of the expression is longer than {} bytes", self.max_output)));
        }
        self.bytes(length as u64)
    }

    /// Pays for a collection of `length` elements that is about to be built.
    pub(crate) fn elements(&self, length: usize) -> Result<(), Fault> {
        self.steps(length as u64)?;
        self.bytes((length as u64).saturating_mul(32))
    }

    /// Fails once a growing text has passed the bound.
    pub(crate) fn check_output(&self, length: usize) -> Result<(), Fault> {
        if length > self.max_output {
            return Err(Fault::Limit(format!("The result of the expression is longer than {} bytes", self.max_output)));
        }
        Ok(())
    }

    fn bytes(&self, count: u64) -> Result<(), Fault> {
        let Some(left) = self.memory.get().checked_sub(count) else {
            self.memory.set(0);
            return Err(Fault::Limit("The expression uses too much memory".to_owned()));
        };
        self.memory.set(left);
        self.steps(count / 64)
    }
}
