//! Functions over lists and objects.

use super::eval::{Interpreter, Stop, error};
use super::value::Json;
use super::{ops, strings};

type Answer = Result<Json, Stop>;

pub(super) fn contains(jq: &Interpreter<'_, '_>, left: &Json, right: &Json) -> Result<bool, Stop> {
    jq.session.meter.steps(1)?;
    Ok(match (left, right) {
        (Json::Object(a), Json::Object(b)) => {
            for (key, wanted) in &b.content {
                let Some(found) = a.content.get(key) else { return Ok(false) };
                if !contains(jq, found, wanted)? {
                    return Ok(false);
                }
            }
            true
        }
        (Json::List(a), Json::List(b)) => {
            for wanted in &b.content {
                let mut found = false;
                for item in &a.content {
                    if std::mem::discriminant(item) == std::mem::discriminant(wanted) && contains(jq, item, wanted)? {
                        found = true;
                        break;
                    }
                }
                if !found {
                    return Ok(false);
                }
            }
            true
        }
        (Json::Text(a), Json::Text(b)) => a.contains(&**b),
        (a, b) if a.kind() == b.kind() => ops::compare(jq.session, a, b)?.is_eq(),
        (a, b) => {
            return error(format!(
                "{} and {} cannot have their containment checked",
                strings::describe(a),
                strings::describe(b)
            ));
        }
    })
}

pub(super) fn sorted(jq: &Interpreter<'_, '_>, mut pairs: Vec<(Json, Json)>) -> Answer {
    ops::sort_pairs(jq.session, &mut pairs)?;
    Json::list(pairs.into_iter().map(|(_, item)| item).collect())
}

/// Runs of items with equal keys, in the order of the keys.
pub(super) fn groups(jq: &Interpreter<'_, '_>, mut pairs: Vec<(Json, Json)>) -> Result<Vec<Vec<Json>>, Stop> {
    ops::sort_pairs(jq.session, &mut pairs)?;
    let mut groups: Vec<Vec<Json>> = Vec::new();
    let mut last: Option<Json> = None;
    for (key, item) in pairs {
        let same = match &last {
            Some(last) => ops::compare(jq.session, last, &key)?.is_eq(),
            None => false,
        };
        match groups.last_mut() {
            Some(group) if same => group.push(item),
            _ => groups.push(vec![item]),
        }
        last = Some(key);
    }
    Ok(groups)
}

pub(super) fn grouped(jq: &Interpreter<'_, '_>, pairs: Vec<(Json, Json)>) -> Answer {
    Json::list(groups(jq, pairs)?.into_iter().map(Json::list).collect::<Result<_, _>>()?)
}

pub(super) fn unique(jq: &Interpreter<'_, '_>, pairs: Vec<(Json, Json)>) -> Answer {
    Json::list(groups(jq, pairs)?.into_iter().filter_map(|group| group.into_iter().next()).collect())
}

/// The item with the smallest or largest key; of equals the first smallest and the last largest.
pub(super) fn extreme(jq: &Interpreter<'_, '_>, pairs: Vec<(Json, Json)>, largest: bool) -> Answer {
    let mut best: Option<(Json, Json)> = None;
    for (key, item) in pairs {
        let better = match &best {
            None => true,
            Some((known, _)) => {
                let order = ops::compare(jq.session, &key, known)?;
                if largest { order.is_ge() } else { order.is_lt() }
            }
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Json::Null, |(_, item)| item))
}

pub(super) fn flattened(jq: &Interpreter<'_, '_>, input: &Json, depth: f64) -> Answer {
    let mut flat = Vec::new();
    flatten_into(jq, &ops::children(input)?, depth, &mut flat)?;
    Json::list(flat)
}

pub(super) fn flatten_into(
    jq: &Interpreter<'_, '_>,
    items: &[Json],
    depth: f64,
    flat: &mut Vec<Json>,
) -> Result<(), Stop> {
    for item in items {
        jq.session.meter.elements(1)?;
        match item {
            Json::List(node) if depth > 0.0 => flatten_into(jq, &node.content, depth - 1.0, flat)?,
            other => flat.push(other.clone()),
        }
    }
    Ok(())
}

/// Where a text, item or sublist occurs.
pub(super) fn indices(jq: &Interpreter<'_, '_>, input: &Json, wanted: &Json) -> Answer {
    let mut places = Vec::new();
    match (input, wanted) {
        (Json::Null, _) => return Ok(Json::Null),
        (Json::Text(_), Json::Text(part)) if part.is_empty() => return Ok(Json::Null),
        (Json::Text(text), Json::Text(part)) => {
            jq.session.meter.elements(text.len())?;
            for (count, (place, _)) in text.char_indices().enumerate() {
                if text[place..].starts_with(&**part) {
                    places.push(Json::whole(count as i64));
                }
            }
        }
        (Json::List(list), Json::List(part)) => {
            let (list, part) = (&list.content, &part.content);
            if part.is_empty() {
                return Ok(Json::Null);
            }
            for start in 0..list.len() {
                let mut same = list.len() - start >= part.len();
                for (a, b) in list[start..].iter().zip(part) {
                    same = same && ops::compare(jq.session, a, b)?.is_eq();
                    if !same {
                        break;
                    }
                }
                if same {
                    places.push(Json::whole(start as i64));
                }
            }
        }
        (Json::List(list), item) => {
            for (place, candidate) in list.content.iter().enumerate() {
                if ops::compare(jq.session, candidate, item)?.is_eq() {
                    places.push(Json::whole(place as i64));
                }
            }
        }
        (input, wanted) => {
            return error(format!("Cannot determine indices of {} in {}", wanted.kind(), input.kind()));
        }
    }
    Json::list(places)
}
