//! Outputs of a flow (flow model reference 2.6, 1.x reference 2.6).

use serde_json::Value;
use windhover_expression::{Environment, ExpressionError, Interrupt};
use windhover_types::{JsonMap, sealed_value};

use crate::Properties;
use crate::input::{InputType, convert_output, nest};

/// An output of a flow.
#[derive(Debug)]
pub struct Output {
    pub id: String,
    pub output_type: InputType,
    pub value: Properties,
    /// `false`: a value that cannot be had is null with a warning, and the execution keeps its state.
    pub required: bool,
    pub description: Option<String>,
    pub display_name: Option<String>,
}

/// Outputs of an execution.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResolvedOutputs {
    /// Nested where ids have dots; those of type SECRET are sealed.
    pub values: JsonMap,
    /// Lines for the execution's log, level WARN.
    pub warnings: Vec<String>,
}

/// Why there are no outputs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputsError {
    /// A fact has to be loaded first; load it and resolve again.
    #[error("the fact {0:?} has to be loaded first")]
    Needs(String),
    /// The execution fails with this line.
    #[error("Failed to render output values: {0}")]
    Invalid(String),
}

/// Renders the outputs with the final context and converts them by their types.
///
/// # Errors
/// The first required output that has no value, or a missing fact.
pub fn resolve_outputs(outputs: &[Output], environment: &Environment<'_>) -> Result<ResolvedOutputs, OutputsError> {
    let mut resolved = ResolvedOutputs::default();
    for output in outputs {
        let rendered = match output.value.render(environment) {
            Err(ExpressionError::Needs(key)) => return Err(OutputsError::Needs(key)),
            rendered => rendered.map_err(|error| error.to_string()),
        };
        let value = match rendered.and_then(|value| converted(output, &value)) {
            Ok(Value::String(text)) if output.output_type == InputType::Secret => {
                match environment.services.seal(&text) {
                    Ok(sealed) => Ok(sealed_value(sealed)),
                    Err(Interrupt::Needs(key)) => return Err(OutputsError::Needs(key)),
                    Err(Interrupt::Missing(why) | Interrupt::Failed(why)) => Err(why),
                }
            }
            converted => converted,
        };
        let value = match value {
            Ok(value) => value,
            Err(cause) => {
                let message = format!("Invalid value for output `{}`. Cause: {cause}", output.id);
                if output.required {
                    return Err(OutputsError::Invalid(message));
                }
                resolved.warnings.push(message);
                Value::Null
            }
        };
        nest(&mut resolved.values, &output.id, value).map_err(|taken| {
            OutputsError::Invalid(format!(
                "Invalid value for output `{}`. Cause: it conflicts with the output `{taken}`",
                output.id
            ))
        })?;
    }
    Ok(resolved)
}

fn converted(output: &Output, value: &Value) -> Result<Value, String> {
    let empty = value.is_null() || (!output.required && value.as_str() == Some(""));
    if empty { Err("it has no value".to_owned()) } else { convert_output(output.output_type, value) }
}
