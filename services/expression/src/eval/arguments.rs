//! Arguments of filters and functions, by position and by name.

use super::Frame;
use crate::error::Fault;
use crate::syntax::ast::Arguments;
use crate::value::Value;

/// Evaluated arguments in the order of the declared names.
#[derive(Debug, Default)]
pub(crate) struct Args {
    values: Vec<Option<Value>>,
}

impl Args {
    /// The argument at this position, `None` if it was not given; an explicit null is given.
    pub(crate) fn given(&self, position: usize) -> Option<&Value> {
        self.values.get(position).and_then(Option::as_ref)
    }

    /// The argument at this position, `None` if it was not given or is null.
    pub(crate) fn get(&self, position: usize) -> Option<&Value> {
        self.given(position).filter(|value| !value.is_null())
    }

    /// All positional values, for functions that take any number.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Value> {
        self.values.iter().flatten()
    }
}

impl<'s> Frame<'s, '_> {
    /// Evaluates arguments and checks them against the declared names. Without declared names superfluous ones are ignored.
    pub(super) fn arguments(
        &mut self,
        names: &[&str],
        any_number: bool,
        arguments: &'s Arguments,
    ) -> Result<Args, Fault> {
        if arguments.positional.is_empty() && arguments.named.is_empty() {
            return Ok(Args::default());
        }
        let mut values = Vec::with_capacity(names.len().max(arguments.positional.len()));
        for argument in &arguments.positional {
            values.push(Some(self.eval(argument)?));
        }
        let limit = names.len();
        if !any_number && limit > 0 && values.len() > limit {
            let position = limit + 1;
            return Err(Fault::engine(format!(
                "The argument at position {position} is not allowed. Only {limit} argument(s) are allowed."
            )));
        }
        for (name, argument) in &arguments.named {
            let value = self.eval(argument)?;
            let Some(position) = names.iter().position(|known| *known == &**name) else {
                if limit == 0 {
                    continue;
                }
                return Err(Fault::engine(format!("The following named argument does not exist: {name}")));
            };
            if values.len() <= position {
                values.resize_with(position + 1, || None);
            }
            values[position] = Some(value);
        }
        Ok(Args { values })
    }
}
