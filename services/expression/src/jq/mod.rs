//! jq 1.6 programs (expression reference, section 14): an interpreter of our own, so that a program can never run away.
//!
//! A value is handed on to the rest of the program as soon as it is produced, so nothing is collected that the program does not collect
//! itself. Every step is paid for, nesting is bounded, and values know how deep they are, so that neither evaluating nor freeing them
//! exhausts the stack.

mod ast;
mod bind;
mod builtins;
mod collections;
mod convert;
mod eval;
mod formats;
mod forms;
mod lexer;
mod loops;
mod native;
mod ops;
mod parser;
mod paths;
mod regex;
mod strings;
mod value;

use crate::error::Fault;
use crate::eval::Session;
use crate::value::Value;
use eval::{Interpreter, Stop};

/// Why a program has no result.
pub(crate) enum JqError {
    /// The program does not compile or failed.
    Program(String),
    /// A limit was reached, or a fact is needed.
    Fault(Fault),
}

/// Runs a program on a value and gives all values that it produces.
pub(crate) fn run(session: &Session<'_>, program: &str, input: &Value) -> Result<Vec<Value>, JqError> {
    session.meter.steps(program.len() as u64).map_err(JqError::Fault)?;
    let main = parser::parse(program).map_err(JqError::Program)?;
    let input = convert::from_value(session, input, 0).map_err(JqError::Fault)?;
    let interpreter = Interpreter::new(session);
    let mut results = Vec::new();
    let outcome = interpreter.eval(&main, &builtins::environment(), input, &mut |value| {
        session.meter.elements(1)?;
        results.push(convert::to_value(&value));
        Ok(())
    });
    match outcome {
        Ok(()) => Ok(results),
        Err(Stop::Fault(fault)) => Err(JqError::Fault(fault)),
        Err(Stop::Error(error)) => Err(JqError::Program(strings::message(&error))),
        Err(Stop::Invalid(message)) => Err(JqError::Program(message)),
        Err(Stop::Break(_)) => Err(JqError::Program("break outside of its label".to_owned())),
    }
}
