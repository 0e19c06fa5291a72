//! Conditions of triggers.

use windhover_types::State;

use super::fields::{self, Fields, below, is_template};
use super::labels;
use super::report::Report;
use super::windows;
use crate::condition::{
    ConditionError, DateCondition, DateTest, countries, date_time, is_known, local_date, time_of_day,
};
use crate::table::{CONDITION_COMMON, Family, Role};
use crate::yaml::{Content, Node};
use crate::{Condition, Properties, WindowSpec};

/// Reads the conditions of a Flow trigger: a MultipleCondition among them is a window.
pub(super) fn read_with_windows(report: &mut Report, node: &Node, path: &str) -> (Vec<Condition>, Vec<WindowSpec>) {
    let Content::List(items) = &node.content else { return (read_list(report, node, path), Vec::new()) };
    let (mut conditions, mut windows) = (Vec::new(), Vec::new());
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let entry = item.get("type").and_then(Node::scalar_text).and_then(crate::table::lookup);
        match entry.filter(|entry| entry.family == Family::Multiple) {
            Some(entry) => {
                let fields = fields::read(report, item, &path, &[CONDITION_COMMON, entry.properties], entry.name);
                windows.extend(fields.and_then(|fields| windows::multiple(report, &fields)));
            }
            None => conditions.extend(read(report, item, &path)),
        }
    }
    (conditions, windows)
}

/// Reads a list of conditions. Unbuilt and unknown ones are reported and left out.
pub(super) fn read_list(report: &mut Report, node: &Node, path: &str) -> Vec<Condition> {
    let Content::List(items) = &node.content else {
        report.error(path, node.at, format!("expected a list of conditions, but got {}", node.describe()));
        return Vec::new();
    };
    let item = |(index, item): (usize, &Node)| read(report, item, &format!("{path}[{index}]"));
    items.iter().enumerate().filter_map(item).collect()
}

pub(super) fn read(report: &mut Report, node: &Node, path: &str) -> Option<Condition> {
    let entry = super::tasks::resolve_type(report, node, path, Role::Condition)?;
    if !entry.is_built() {
        // Its nested conditions are not looked at: what they mean there is not known yet.
        return None;
    }
    let fields = fields::read(report, node, path, &[CONDITION_COMMON, entry.properties], entry.name)?;
    match entry.family {
        Family::ExecutionStatus => {
            states(report, &fields, "in");
            states(report, &fields, "notIn");
            Some(Condition::ExecutionStatus {
                is_in: fields.properties(report, "in"),
                not_in: fields.properties(report, "notIn"),
            })
        }
        Family::ExecutionNamespace => Some(Condition::ExecutionNamespace {
            namespace: fields.text(report, "namespace")?,
            comparison: fields.text(report, "comparison"),
            prefix: fields.text(report, "prefix"),
        }),
        Family::ExecutionFlow => Some(Condition::ExecutionFlow {
            namespace: fields.text(report, "namespace")?,
            flow_id: fields.text(report, "flowId")?,
        }),
        Family::ExecutionLabels => execution_labels(report, &fields),
        Family::Or => inner(report, &fields).map(Condition::Or),
        Family::Not => inner(report, &fields).map(Condition::Not),
        Family::Expression => Some(Condition::Expression(fields.text(report, "expression")?)),
        Family::ExecutionOutputs => Some(Condition::ExecutionOutputs(fields.text(report, "expression")?)),
        Family::HasRetryAttempt => {
            states(report, &fields, "in");
            states(report, &fields, "notIn");
            Some(Condition::HasRetryAttempt {
                is_in: fields.properties(report, "in"),
                not_in: fields.properties(report, "notIn"),
            })
        }
        Family::ListeningFlow => Some(Condition::ListeningFlow {
            namespace: fields.text(report, "namespace")?,
            flow_id: fields.text(report, "flowId")?,
        }),
        Family::ListeningNamespace => Some(Condition::ListeningNamespace {
            namespace: fields.text(report, "namespace")?,
            prefix: fields.bool(report, "prefix", false),
        }),
        Family::Multiple => {
            report.unsupported(path, node.at, "a MultipleCondition inside of other conditions");
            None
        }
        Family::DateTimeBetween | Family::TimeBetween => between(report, &fields, entry.family),
        Family::DayWeek => {
            date(report, &fields, |report| Some(DateTest::DayWeek { day: fields.text(report, "dayOfWeek")? }))
        }
        Family::DayWeekInMonth => date(report, &fields, |report| {
            let day = fields.text(report, "dayOfWeek")?;
            Some(DateTest::DayWeekInMonth { day, occurrence: fields.text(report, "dayInMonth")? })
        }),
        Family::Weekend => date(report, &fields, |_| Some(DateTest::Weekend)),
        Family::PublicHoliday => public_holiday(report, &fields),
        _ => None,
    }
}

/// A condition on a date; a literal that is none is reported.
fn date(
    report: &mut Report,
    fields: &Fields<'_>,
    test: impl FnOnce(&mut Report) -> Option<DateTest>,
) -> Option<Condition> {
    let test = test(report)?;
    let of_day = !matches!(test, DateTest::DateTimeBetween { .. } | DateTest::TimeBetween { .. });
    literal(report, fields, "date", |text| if of_day { local_date(text).map(drop) } else { date_time(text).map(drop) });
    Some(Condition::Date(DateCondition { date: fields.text(report, "date"), test }))
}

/// The server has no country of its own, so that the condition has to name one.
fn public_holiday(report: &mut Report, fields: &Fields<'_>) -> Option<Condition> {
    let part = fields.literal("subDivision");
    match fields.literal("country") {
        None => report.error(&fields.path("country"), fields.at, "country: must not be null"),
        Some(country) if is_template(country) || part.is_some_and(is_template) => {}
        Some(country) if is_known(country.trim(), part.map(str::trim)) => {}
        Some(country) => {
            let place = part.map_or_else(|| country.to_owned(), |part| format!("{country}, {part}"));
            let known: Vec<&str> = countries().collect();
            let what = format!("the calendar of public holidays of `{place}` (there are {})", known.join(", "));
            report.unsupported(&fields.path("country"), fields.place("country"), &what);
        }
    }
    date(report, fields, |report| {
        let country = fields.text(report, "country")?;
        Some(DateTest::PublicHoliday { country, part: fields.text(report, "subDivision") })
    })
}

fn between(report: &mut Report, fields: &Fields<'_>, family: Family) -> Option<Condition> {
    for bound in ["after", "before"] {
        literal(report, fields, bound, |text| match family {
            Family::TimeBetween => time_of_day(text).map(drop),
            _ => date_time(text).map(drop),
        });
    }
    date(report, fields, |report| {
        let (after, before) = (fields.text(report, "after"), fields.text(report, "before"));
        Some(match family {
            Family::TimeBetween => DateTest::TimeBetween { after, before },
            _ => DateTest::DateTimeBetween { after, before },
        })
    })
}

/// Reports a text without a template that cannot be read.
fn literal(
    report: &mut Report,
    fields: &Fields<'_>,
    name: &str,
    read: impl FnOnce(&str) -> Result<(), ConditionError>,
) {
    let Some(text) = fields.literal(name).filter(|text| !is_template(text)) else { return };
    if let Err(error) = read(text.trim()) {
        report.error(&fields.path(name), fields.place(name), format!("{name}: {error}"));
    }
}

fn inner(report: &mut Report, fields: &Fields<'_>) -> Option<Vec<Condition>> {
    let node = fields.get("conditions")?;
    let path = fields.path("conditions");
    if matches!(&node.content, Content::List(items) if items.is_empty()) {
        report.error(&path, node.at, "conditions: must not be empty");
    }
    Some(read_list(report, node, &path))
}

fn execution_labels(report: &mut Report, fields: &Fields<'_>) -> Option<Condition> {
    let node = fields.get("labels")?;
    let path = fields.path("labels");
    Some(Condition::ExecutionLabels { labels: labels::of_trigger(report, node, &path) })
}

/// Reports literals of a list that are no states.
fn states(report: &mut Report, fields: &Fields<'_>, name: &str) {
    let Some(node) = fields.get(name) else { return };
    let Content::List(items) = &node.content else { return };
    for (index, item) in items.iter().enumerate() {
        let path = format!("{}[{index}]", fields.path(name));
        state(report, item, &path);
    }
}

/// One literal state; nothing for what is none (which is reported) or a template.
pub(super) fn state(report: &mut Report, node: &Node, path: &str) -> Option<State> {
    match node.scalar_text() {
        Some(text) if is_template(text) => None,
        Some(text) => text.parse().map_err(|error| report.error(path, node.at, error)).ok(),
        None => {
            report.error(path, node.at, format!("expected a state, but got {}", node.describe()));
            None
        }
    }
}

/// Whether a condition anywhere in this node is of this type, by its canonical name.
pub(super) fn mentions(node: &Node, name: &str) -> bool {
    match &node.content {
        Content::Scalar(_) => false,
        Content::List(items) => items.iter().any(|item| mentions(item, name)),
        Content::Map(entries) => {
            let own = node.get("type").and_then(Node::scalar_text).and_then(crate::table::lookup);
            own.is_some_and(|entry| entry.name == name) || entries.iter().any(|entry| mentions(&entry.value, name))
        }
    }
}

/// For callers that read a list of literal states.
pub(super) fn state_list(report: &mut Report, node: &Node, path: &str) -> Vec<State> {
    let Content::List(items) = &node.content else {
        report.error(path, node.at, format!("expected a list of states, but got {}", node.describe()));
        return Vec::new();
    };
    let mut states = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if item.scalar_text().is_some_and(is_template) {
            report.unsupported(&path, item.at, "a template in a list of states");
        }
        states.extend(state(report, item, &path));
    }
    states
}

/// Inputs that a trigger gives.
pub(super) fn inputs(report: &mut Report, fields: &Fields<'_>) -> Option<Properties> {
    let node = fields.get("inputs")?;
    if node.scalar_text().is_some() {
        report.unsupported(&below(&fields.path, "inputs"), node.at, "`inputs` as one text");
    }
    fields.properties(report, "inputs")
}
