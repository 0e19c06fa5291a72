//! A filter of executions as the store takes it.

use std::time::Duration;

use windhover_store::{ExecutionFilter, NamespaceFilter, TimeRange};
use windhover_types::Label;

use super::{Check, Filter, Op, Value};

/// The store's form of a filter over [`super::EXECUTIONS`].
pub(crate) fn for_store(filter: &Filter) -> ExecutionFilter {
    match filter {
        Filter::All(all) => ExecutionFilter { all: all.iter().map(for_store).collect(), ..Default::default() },
        Filter::Any(any) => ExecutionFilter { any: any.iter().map(for_store).collect(), ..Default::default() },
        Filter::Not(inner) => ExecutionFilter { not: vec![for_store(inner)], ..Default::default() },
        Filter::Check(check) if check.op == Op::NotEqual => {
            ExecutionFilter { not: vec![equal(check)], ..Default::default() }
        }
        Filter::Check(check) => equal(check),
    }
}

fn equal(check: &Check) -> ExecutionFilter {
    let mut filter = ExecutionFilter::default();
    match (check.field, &check.value) {
        (_, Value::State(state)) => filter.states.push(*state),
        (_, Value::Below(parent)) => filter.namespaces.push(NamespaceFilter::Below(parent.clone())),
        (_, Value::Id(id)) => filter.parent = Some(*id),
        ("namespace", Value::Text(text)) => filter.namespaces.push(NamespaceFilter::Exact(text.clone())),
        ("flow", Value::Text(text)) => filter.flow_ids.push(text.clone()),
        ("trigger.id", Value::Text(text)) => filter.trigger_id = Some(text.clone()),
        ("labels", Value::Text(text)) => {
            filter.labels.push(Label::new(check.key.clone().unwrap_or_default(), text.clone()));
        }
        ("created", Value::Time(_)) => filter.created = range(check),
        ("started", Value::Time(_)) => filter.started = range(check),
        ("ended", Value::Time(_)) => filter.ended = range(check),
        _ => {}
    }
    filter
}

/// Ranges of the store begin with their first and end before their last moment.
fn range(check: &Check) -> TimeRange {
    let Value::Time(at) = check.value else { return TimeRange::default() };
    let next = at.plus(Duration::from_micros(1));
    match check.op {
        Op::Less => TimeRange { from: None, until: Some(at) },
        Op::LessOrEqual => TimeRange { from: None, until: Some(next) },
        Op::Greater => TimeRange { from: Some(next), until: None },
        Op::GreaterOrEqual => TimeRange { from: Some(at), until: None },
        Op::Equal | Op::NotEqual | Op::Has => TimeRange { from: Some(at), until: Some(next) },
    }
}

#[cfg(test)]
mod tests {
    use windhover_types::{State, Timestamp};

    use super::*;
    use crate::filter::EXECUTIONS;

    fn stored(text: &str) -> ExecutionFilter {
        for_store(&Filter::parse(text, EXECUTIONS).unwrap())
    }

    #[test]
    fn every_field_reaches_the_store() {
        let filter = stored(
            r#"state=FAILED AND namespace=a AND namespace:"b." AND flow=f AND labels.x.y=z AND trigger.id=t AND parent=0000000000000000000000"#,
        );
        assert_eq!(filter.all.len(), 7);
        assert_eq!(filter.all[0].states, [State::Failed]);
        assert_eq!(filter.all[1].namespaces, [NamespaceFilter::Exact("a".into())]);
        assert_eq!(filter.all[2].namespaces, [NamespaceFilter::Below("b".into())]);
        assert_eq!(filter.all[3].flow_ids, ["f"]);
        assert_eq!(filter.all[4].labels, [Label::new("x.y", "z")]);
        assert_eq!(filter.all[5].trigger_id.as_deref(), Some("t"));
        assert!(filter.all[6].parent.is_some());
    }

    #[test]
    fn negations_alternatives_and_times_keep_their_meaning() {
        let filter = stored("NOT (state=FAILED OR flow!=f)");
        assert_eq!(filter.not[0].any[0].states, [State::Failed]);
        assert_eq!(filter.not[0].any[1].not[0].flow_ids, ["f"]);
        let second = Timestamp::from_millis(1_000);
        let after = second.plus(Duration::from_micros(1));
        for (op, from, until) in [
            ("<", None, Some(second)),
            ("<=", None, Some(after)),
            (">", Some(after), None),
            (">=", Some(second), None),
            ("=", Some(second), Some(after)),
        ] {
            let filter = stored(&format!("ended {op} 1970-01-01T00:00:01Z"));
            assert_eq!(filter.ended, TimeRange { from, until }, "{op}");
        }
    }
}
