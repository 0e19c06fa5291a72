//! ForEach: the list once for each value, in order (flow model reference 5.3, 1.x reference 4.4).

use indexmap::IndexSet;
use serde_json::Value;
use windhover_flow::{ForEachValues, Properties, Text};

use super::{Opening, Shape};
use crate::{
    Opened, RenderContext,
    context::{Context, Stop},
};

pub(super) fn open(values: &ForEachValues, context: &Context<'_>) -> Result<Opening, Stop> {
    Ok(Opening::decided(Opened::ForEach { values: texts(values, context)? }))
}

/// EachParallel: every task for every value.
pub(super) fn open_parallel(
    values: &ForEachValues,
    concurrent: Option<&Text>,
    context: &Context<'_>,
) -> Result<Opening, Stop> {
    let values = texts(values, context)?;
    let concurrent = super::parallel::concurrency(concurrent, context)?;
    Ok(Opening::decided(Opened::EachParallel { values, concurrent }))
}

/// Texts of the values, in order, without repeats.
fn texts(values: &ForEachValues, context: &Context<'_>) -> Result<Vec<String>, Stop> {
    let items = match values {
        ForEachValues::Text(text) => {
            let rendered = context.render(text)?;
            match serde_json::from_str(&rendered) {
                Ok(Value::Array(items)) => items,
                _ => return Err(Stop::Failed("the loop's `values` is no JSON array".to_owned())),
            }
        }
        ForEachValues::List(list) => listed(list, context)?,
    };
    let nulls = items.iter().filter(|item| item.is_null()).count();
    if nulls > 0 {
        return Err(Stop::Failed(format!("Found '{nulls}' null values on Each, with values=[{}]", items.len())));
    }
    // What is equal as text is one value; the first place counts.
    let values: IndexSet<String> = items.iter().map(value_text).collect();
    Ok(values.into_iter().collect())
}

/// Elements of a list as written: texts, whole numbers and maps; others are refused.
fn listed(list: &Properties, context: &Context<'_>) -> Result<Vec<Value>, Stop> {
    let Properties::List(elements) = list else {
        return Err(Stop::Failed("the loop's `values` is no list".to_owned()));
    };
    let environment = context.environment();
    elements
        .iter()
        .enumerate()
        .map(|(at, element)| match element.render(&environment).map_err(|error| context.stop(error))? {
            Value::Number(number) if number.is_f64() => Err(unsupported(at, "a number with a point")),
            Value::Bool(_) => Err(unsupported(at, "a boolean")),
            Value::Array(_) => Err(unsupported(at, "a list")),
            value => Ok(value),
        })
        .collect()
}

fn unsupported(at: usize, what: &str) -> Stop {
    Stop::Failed(format!("`values[{at}]` of the loop is {what}; texts, whole numbers and maps are possible"))
}

/// Texts keep their text; everything else becomes compact JSON.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(super) fn shape_of_pairs(opened: Option<&Opened>) -> Shape<'_> {
    match opened {
        Some(Opened::EachParallel { values, concurrent }) => Shape::Pairs { values, concurrent: *concurrent },
        _ => Shape::Pairs { values: &[], concurrent: 0 },
    }
}

pub(super) fn shape(concurrent: u32, opened: Option<&Opened>) -> Shape<'_> {
    match opened {
        Some(Opened::ForEach { values }) => Shape::Loop { values, concurrent },
        _ => Shape::Loop { values: &[], concurrent },
    }
}
