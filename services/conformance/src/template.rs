//! Templated values: `${main.id}`, `${main.taskrun(task;v1).outputs.x}`, `${triggered(flow).id}`, `${now+PT3S}` …

use chrono::TimeDelta;
use serde_json::Value;

use crate::{
    seen::{Execution, TaskRun, World},
    time,
};

/// Whether the value has a template in it that needs to look at executions.
pub fn looks_at_executions(value: &Value) -> bool {
    match value {
        Value::String(text) => parts(text).any(|part| match part {
            Part::Template(inner) => inner != "unique" && !inner.starts_with("now"),
            Part::Text(_) => false,
        }),
        Value::Array(items) => items.iter().any(looks_at_executions),
        Value::Object(map) => map.values().any(looks_at_executions),
        _ => false,
    }
}

/// The value with all templates in it replaced. The error says what a template speaks of that is not there.
pub fn resolve(value: &Value, world: &World) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => whole(text, world)?,
        Value::Array(items) => Value::Array(items.iter().map(|item| resolve(item, world)).collect::<Result<_, _>>()?),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, item)| Ok((key.clone(), resolve(item, world)?)));
            Value::Object(pairs.collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

/// The text with all templates in it replaced.
pub fn resolve_text(text: &str, world: &World) -> Result<String, String> {
    parts(text)
        .map(|part| match part {
            Part::Text(text) => Ok(text.to_owned()),
            Part::Template(inner) => evaluate(inner, world).map(|value| match value {
                Value::String(text) => text,
                other => other.to_string(),
            }),
        })
        .collect()
}

/// A text that is one template keeps the type of its value.
fn whole(text: &str, world: &World) -> Result<Value, String> {
    let mut all = parts(text);
    match (all.next(), all.next()) {
        (Some(Part::Template(inner)), None) => evaluate(inner, world),
        _ => resolve_text(text, world).map(Value::String),
    }
}

enum Part<'a> {
    Text(&'a str),
    Template(&'a str),
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((inner, after)) = rest.strip_prefix("${").and_then(|inner| inner.split_once('}')) {
            rest = after;
            return Some(Part::Template(inner));
        }
        // The first two bytes are searched past, or an unclosed `${` would be found again and again.
        let from = if rest.starts_with("${") { 2 } else { 0 };
        let end = rest[from..].find("${").map_or(rest.len(), |end| end + from);
        let (head, tail) = rest.split_at(end);
        rest = tail;
        Some(Part::Text(head))
    })
}

fn evaluate(inner: &str, world: &World) -> Result<Value, String> {
    let wrong = || format!("`${{{inner}}}` is no template");
    if inner == "unique" {
        return Ok(world.unique.as_str().into());
    }
    if let Some(offset) = inner.strip_prefix("now") {
        let (sign, offset) = match offset.split_at_checked(1) {
            None => (0.0, "PT0S"),
            Some(("+", offset)) => (1.0, offset),
            Some(("-", offset)) => (-1.0, offset),
            Some(_) => return Err(wrong()),
        };
        let seconds = time::seconds(offset).ok_or_else(wrong)? * sign;
        let at = world.now + TimeDelta::milliseconds((seconds * 1_000.0) as i64);
        return Ok(time::text(at).into());
    }
    if let Some((flow, property)) = inner.strip_prefix("triggered(").and_then(|rest| rest.split_once(").")) {
        let mut found = world.triggered(None).filter(|execution| execution.flow == flow);
        let execution = found.next().ok_or_else(|| format!("no execution of `{flow}` was triggered"))?;
        return property_of(execution, property).ok_or_else(wrong);
    }
    let (name, property) = inner.split_once('.').ok_or_else(wrong)?;
    if property == "id" {
        return Ok(world.created(name)?.id.as_str().into());
    }
    let execution = world.named(name)?;
    if let Some((selector, property)) = property.strip_prefix("taskrun(").and_then(|rest| rest.split_once(").")) {
        let run = task_run(execution, selector)?;
        return match property.strip_prefix("outputs.") {
            None if property == "id" => Ok(run.id.as_str().into()),
            None => Err(wrong()),
            Some(path) => output(run, path).ok_or_else(|| format!("`{selector}` of `{name}` has no output `{path}`")),
        };
    }
    property_of(execution, property).ok_or_else(wrong)
}

fn property_of(execution: &Execution, property: &str) -> Option<Value> {
    match property {
        "id" => Some(execution.id.as_str().into()),
        "schedule_date" => execution.schedule_date.map(|date| time::text(date).into()),
        _ => None,
    }
}

/// `task;v1;v2`: the task run of that task inside these iterations.
fn task_run<'a>(execution: &'a Execution, selector: &str) -> Result<&'a TaskRun, String> {
    let mut words = selector.split(';');
    let task = words.next().unwrap_or_default();
    let values: Vec<&str> = words.collect();
    let fits = |run: &&TaskRun| run.task == task && (values.is_empty() || run.values == values);
    execution.task_runs.iter().find(fits).ok_or_else(|| format!("there is no task run `{selector}`"))
}

fn output(run: &TaskRun, path: &str) -> Option<Value> {
    path.split('.').try_fold(run.outputs.as_ref()?, |value, key| value.get(key)).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seen::Named;
    use serde_json::json;

    fn world() -> World {
        let run = |id: &str, values: &[&str]| TaskRun {
            id: id.into(),
            task: "t".into(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            outputs: Some(json!({"x": {"y": id}, "n": 7})),
            ..TaskRun::default()
        };
        let main = Execution {
            id: "M".into(),
            task_runs: vec![run("r1", &["a"]), run("r2", &["a a", "b"])],
            schedule_date: time::instant("2024-01-01T00:00:00Z"),
            ..Execution::default()
        };
        let child = Execution {
            id: "C".into(),
            flow: "child".into(),
            trigger: Some(json!({"id": "sub", "variables": {"executionId": "M"}})),
            ..Execution::default()
        };
        let refused = Named::None("refused".into());
        World {
            named: [("main".into(), Named::Created(Box::new(main.clone()))), ("bad".into(), refused)].into(),
            first_ids: [("main".into(), "M".into())].into(),
            executions: vec![main, child],
            unique: "u1".into(),
            now: time::instant("2024-01-01T00:00:00Z").unwrap(),
        }
    }

    #[test]
    fn templates_are_replaced_by_what_they_speak_of() {
        for (template, expected) in [
            ("${main.id}", json!("M")),
            ("<${main.id}|${unique}>", json!("<M|u1>")),
            ("${main.schedule_date}", json!("2024-01-01T00:00:00.000Z")),
            ("${main.taskrun(t).id}", json!("r1")),
            ("${main.taskrun(t;a a;b).outputs.x.y}", json!("r2")),
            ("${main.taskrun(t;a).outputs.n}", json!(7)),
            ("n=${main.taskrun(t;a).outputs.n}", json!("n=7")),
            ("${triggered(child).id}", json!("C")),
            ("${now+PT3S}", json!("2024-01-01T00:00:03.000Z")),
            ("${now-PT1M}", json!("2023-12-31T23:59:00.000Z")),
            ("costs ${ 5", json!("costs ${ 5")),
        ] {
            assert_eq!(resolve(&json!([template]), &world()), Ok(json!([expected])), "{template}");
        }
    }

    #[test]
    fn a_template_that_speaks_of_nothing_is_an_error() {
        for template in [
            "${other.id}",
            "${bad.id}",
            "${main.name}",
            "${main.taskrun(t;b).id}",
            "${main.taskrun(t).outputs.z}",
            "${main.taskrun(t).state}",
            "${triggered(other).id}",
            "${now*2}",
            "${main}",
        ] {
            assert!(resolve(&json!({"a": template}), &world()).is_err(), "{template}");
        }
    }

    #[test]
    fn only_templates_about_executions_need_them() {
        assert!(!looks_at_executions(&json!({"a": ["${unique}", "${now+PT1S}", "plain", 1]})));
        assert!(looks_at_executions(&json!({"a": ["${main.id}"]})));
    }
}
