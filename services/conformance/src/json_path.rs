//! Paths into JSON documents: `$.a.b[0]['c d'][-1].*`, the part of JSONPath that cases use.

use serde_json::Value;

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(i64),
    All,
}

/// What stands at `path`: nothing, or with `*` possibly several values. An error for what is no path.
pub fn find<'a>(document: &'a Value, path: &str) -> Result<Vec<&'a Value>, String> {
    let mut found = vec![document];
    for step in parse(path)? {
        found = found.into_iter().flat_map(|value| children(value, &step)).collect();
    }
    Ok(found)
}

/// Whether the path can lead to more than one value.
pub fn is_plural(path: &str) -> bool {
    parse(path).is_ok_and(|steps| steps.contains(&Step::All))
}

fn children<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    match (value, step) {
        (Value::Object(map), Step::Key(key)) => map.get(key).into_iter().collect(),
        (Value::Object(map), Step::All) => map.values().collect(),
        (Value::Array(items), Step::All) => items.iter().collect(),
        (Value::Array(items), Step::Index(index)) => {
            let place =
                if *index < 0 { items.len().checked_add_signed(*index as isize) } else { Some(*index as usize) };
            place.and_then(|place| items.get(place)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn parse(path: &str) -> Result<Vec<Step>, String> {
    let wrong = || format!("`{path}` is no JSON path");
    let mut rest = path.strip_prefix('$').ok_or_else(wrong)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, next) = after.split_at(end);
            steps.push(match name {
                "" => return Err(wrong()),
                "*" => Step::All,
                name => Step::Key(name.to_owned()),
            });
            rest = next;
        } else {
            let after = rest.strip_prefix('[').ok_or_else(wrong)?;
            let (step, next) = bracket(after).ok_or_else(wrong)?;
            steps.push(step);
            rest = next;
        }
    }
    Ok(steps)
}

/// What stands between brackets, and what follows them.
fn bracket(text: &str) -> Option<(Step, &str)> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let (name, next) = text[1..].split_once(quote)?;
        return Some((Step::Key(name.to_owned()), next.strip_prefix(']')?));
    }
    let (inner, next) = text.split_once(']')?;
    let step = if inner == "*" { Step::All } else { Step::Index(inner.parse().ok()?) };
    Some((step, next))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_to_keys_indexes_and_all_children() {
        let document = json!({"a": {"b c": [1, 2, {"d": "x"}]}});
        for (path, expected) in [
            ("$.a['b c'][0]", vec![json!(1)]),
            ("$.a[\"b c\"][-1].d", vec![json!("x")]),
            ("$.a.*[0]", vec![json!(1)]),
            ("$.a.missing", vec![]),
            ("$.a['b c'][7]", vec![]),
            ("$.a['b c'][-7]", vec![]),
        ] {
            let found: Vec<Value> = find(&document, path).unwrap().into_iter().cloned().collect();
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_an_error() {
        for path in ["a.b", "$.", "$..a", "$[x]", "$['a", "$.a[0"] {
            assert!(find(&json!({}), path).is_err(), "{path}");
        }
    }
}
