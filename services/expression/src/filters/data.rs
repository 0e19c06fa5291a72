//! Data formats (expression reference, section 12.4).

use super::text_argument;
use crate::error::Fault;
use crate::eval::{Args, Session};
use crate::jq::{self, JqError};
use crate::value::Value;
use crate::{ion, json, yaml};

/// Characters of the input that a message shows.
const MAX_SHOWN: usize = 500;

type Answer = Result<Value, Fault>;

pub(super) fn to_json(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    let text = session.printer().json_text(&input)?;
    session.meter.text(text.len())?;
    Ok(Value::text(text))
}

pub(super) fn to_yaml(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    yaml::to_text(session, &input).map(Value::text)
}

pub(super) fn to_ion(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    ion::to_text(session, &input).map(Value::text)
}

pub(super) fn jq(session: &Session<'_>, input: Value, args: &Args) -> Answer {
    let Some(program) = text_argument(args, 0, "jq")? else {
        return Err(Fault::engine("The 'jq' filter expects an argument 'expression'."));
    };
    let unparsable = |cause: &str| -> Result<Fault, Fault> {
        let shown = session.printer().plain_text(&input)?;
        let shown: String = shown.chars().take(MAX_SHOWN).collect();
        Ok(Fault::engine(format!("Unable to parse jq value '{shown}' with type '{}': {cause}", input.class_name())))
    };
    let document = match &input {
        Value::Null => return Ok(Value::Null),
        Value::Text(text) | Value::Markup(text) => {
            session.meter.elements(text.len() / 4)?;
            match json::parse_first(text) {
                Ok(document) => document,
                Err(error) => return Err(unparsable(&error.to_string())?),
            }
        }
        other => other.clone(),
    };
    match jq::run(session, &program, &document) {
        Ok(values) => Ok(Value::list(values)),
        Err(JqError::Program(cause)) => Err(unparsable(&cause)?),
        Err(JqError::Fault(fault)) => Err(fault),
    }
}
