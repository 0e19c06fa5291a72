//! Windows of Flow triggers: `preconditions`, and the older MultipleCondition.

use std::time::Duration;

use chrono::NaiveTime;
use windhover_types::Label;

use super::check::Ids;
use super::conditions;
use super::fields::{self, Fields};
use super::labels;
use super::report::Report;
use crate::table::{FILTER, FILTER_PRECONDITION, FLOW_PRECONDITION, PRECONDITIONS, TIME_WINDOW};
use crate::yaml::{Content, Node};
use crate::{
    Condition, Field, Filter, FilterPrecondition, FilterTest, FlowPrecondition, Operand, Pattern, Text, TimeWindow,
    WindowSpec, parse_duration,
};

const DAY: Duration = Duration::from_secs(86_400);
/// Characters of the name of a window: it is part of the key that its state is stored under.
const LONGEST_ID: usize = 256;

pub(super) fn preconditions(report: &mut Report, node: &Node, path: &str) -> Option<WindowSpec> {
    let fields = fields::read(report, node, path, &[PRECONDITIONS], "preconditions")?;
    let mut found = Vec::new();
    // Named as in Kestra: by number, and entries of `where` with their id.
    each(report, &fields, "flows", |report, node, path| {
        let condition = flow_precondition(report, node, path)?;
        found.push((format!("condition_{}", found.len() + 1), condition));
        Some(())
    });
    let mut ids = Ids::default();
    each(report, &fields, "where", |report, node, path| {
        let (id, condition) = filter_precondition(report, node, path)?;
        ids.add(report, "precondition id", &id, &fields::below(path, "id"), node.at);
        found.push((format!("condition_{}_{id}", found.len() + 1), condition));
        Some(())
    });
    if fields.get("flows").is_none() && fields.get("where").is_none() {
        report.error(path, node.at, "preconditions: `flows` or `where` is needed");
    }
    let id = fields.string("id")?;
    if id.trim().is_empty() {
        report.error(&fields.path("id"), fields.place("id"), "id: must not be blank");
    }
    check_length(report, &fields, &id);
    Some(WindowSpec {
        id,
        conditions: found,
        time: fields
            .get("timeWindow")
            .map_or(Some(default_window()), |node| time_window(report, node, &fields.path("timeWindow")))?,
        reset_on_success: fields.bool(report, "resetOnSuccess", true),
    })
    .filter(|window| !window.conditions.is_empty())
}

/// A condition of type MultipleCondition, already read as fields.
pub(super) fn multiple(report: &mut Report, fields: &Fields<'_>) -> Option<WindowSpec> {
    let node = fields.get("conditions")?;
    let path = fields.path("conditions");
    let Content::Map(entries) = &node.content else {
        report.error(&path, node.at, format!("expected a map of conditions, but got {}", node.describe()));
        return None;
    };
    if entries.is_empty() {
        report.error(&path, node.at, "conditions: must not be empty");
    }
    let mut found = Vec::new();
    for entry in entries {
        let condition = conditions::read(report, &entry.value, &fields::below(&path, &entry.key));
        found.extend(condition.map(|condition| (entry.key.clone(), condition)));
    }
    let mut time = fields
        .get("timeWindow")
        .map_or(Some(default_window()), |node| time_window(report, node, &fields.path("timeWindow")))?;
    let older = |name: &str| fields.literal(name).and_then(|text| parse_duration(text).ok());
    if let TimeWindow::Duration { window, advance } = &mut time {
        *window = older("window").unwrap_or(*window);
        *advance = older("windowAdvance").unwrap_or(*advance);
    }
    let id = fields.string("id")?;
    check_length(report, fields, &id);
    Some(WindowSpec { id, conditions: found, time, reset_on_success: fields.bool(report, "resetOnSuccess", true) })
        .filter(|window| !window.conditions.is_empty())
}

fn check_length(report: &mut Report, fields: &Fields<'_>, id: &str) {
    if id.chars().count() > LONGEST_ID {
        report.error(&fields.path("id"), fields.place("id"), format!("id: size must be between 0 and {LONGEST_ID}"));
    }
}

const fn default_window() -> TimeWindow {
    TimeWindow::Duration { window: DAY, advance: Duration::ZERO }
}

/// Reads the entries of a list.
fn each(
    report: &mut Report,
    fields: &Fields<'_>,
    name: &str,
    mut read: impl FnMut(&mut Report, &Node, &str) -> Option<()>,
) {
    let Some(node) = fields.get(name) else { return };
    let path = fields.path(name);
    match &node.content {
        Content::List(items) if items.is_empty() => {
            report.error(&path, node.at, format!("{name}: must not be empty"));
        }
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let _ = read(report, item, &format!("{path}[{index}]"));
            }
        }
        _ => report.error(&path, node.at, format!("expected a list, but got {}", node.describe())),
    }
}

fn flow_precondition(report: &mut Report, node: &Node, path: &str) -> Option<Condition> {
    let fields = fields::read(report, node, path, &[FLOW_PRECONDITION], "flow of a precondition")?;
    let states = fields.get("states").map(|node| conditions::state_list(report, node, &fields.path("states")));
    let labels = fields.get("labels").map(|node| labels::of_trigger(report, node, &fields.path("labels")));
    let label = |(key, value): (Text, Text)| Label::new(key.source(), value.source());
    Some(Condition::Flow(FlowPrecondition {
        namespace: fields.string("namespace")?,
        flow_id: fields.string("flowId"),
        states: states.unwrap_or_default(),
        labels: labels.unwrap_or_default().into_iter().map(label).collect(),
    }))
}

fn filter_precondition(report: &mut Report, node: &Node, path: &str) -> Option<(String, Condition)> {
    let fields = fields::read(report, node, path, &[FILTER_PRECONDITION], "entry of `where`")?;
    let mut filters = Vec::new();
    each(report, &fields, "filters", |report, node, path| {
        filters.push(filter(report, node, path)?);
        Some(())
    });
    let operand = if fields.literal("operand") == Some("OR") { Operand::Or } else { Operand::And };
    Some((fields.string("id")?, Condition::Filters(FilterPrecondition { operand, filters })))
}

fn filter(report: &mut Report, node: &Node, path: &str) -> Option<Filter> {
    let fields = fields::read(report, node, path, &[FILTER], "filter")?;
    let kind = fields.literal("type")?;
    let of_list = matches!(kind, "IN" | "NOT_IN");
    let (wanted, other) = if of_list { ("values", "value") } else { ("value", "values") };
    if fields.get(wanted).is_none() {
        report.error(path, node.at, format!("`{wanted}` cannot be null for type {kind}"));
    }
    if fields.get(other).is_some() {
        report.error(&fields.path(other), fields.place(other), format!("`{other}` must be null for type {kind}"));
    }
    let values: Vec<String> = match fields.get("values").map(|node| &node.content) {
        Some(Content::List(items)) => items.iter().filter_map(Node::scalar_text).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let value = fields.string("value").unwrap_or_default();
    let test = match kind {
        "EQUAL_TO" => FilterTest::EqualTo(value),
        "NOT_EQUAL_TO" => FilterTest::NotEqualTo(value),
        "IN" => FilterTest::In(values),
        "NOT_IN" => FilterTest::NotIn(values),
        "IS_TRUE" => FilterTest::IsTrue,
        "IS_FALSE" => FilterTest::IsFalse,
        "IS_NULL" => FilterTest::IsNull,
        "IS_NOT_NULL" => FilterTest::IsNotNull,
        "STARTS_WITH" => FilterTest::StartsWith(value),
        "ENDS_WITH" => FilterTest::EndsWith(value),
        "REGEX" => match Pattern::new(&value) {
            Ok(pattern) => FilterTest::Regex(pattern),
            Err(why) => {
                report.error(&fields.path("value"), fields.place("value"), why);
                return None;
            }
        },
        "CONTAINS" => FilterTest::Contains(value),
        // Reported as no choice.
        _ => return None,
    };
    let field = match fields.literal("field")? {
        "FLOW_ID" => Field::FlowId,
        "NAMESPACE" => Field::Namespace,
        "STATE" => Field::State,
        "EXPRESSION" => Field::Expression(fields.text(report, "value")?),
        _ => return None,
    };
    Some(Filter { field, test })
}

fn time_window(report: &mut Report, node: &Node, path: &str) -> Option<TimeWindow> {
    let fields = fields::read(report, node, path, &[TIME_WINDOW], "timeWindow")?;
    let kind = fields.literal("type").unwrap_or("DURATION_WINDOW");
    let (needed, allowed): (&[&str], &[&str]) = match kind {
        "DAILY_TIME_DEADLINE" => (&["deadline"], &[]),
        "DAILY_TIME_WINDOW" => (&["startTime", "endTime"], &[]),
        "SLIDING_WINDOW" => (&[], &["window"]),
        _ => (&[], &["window", "windowAdvance"]),
    };
    for name in ["deadline", "startTime", "endTime", "window", "windowAdvance"] {
        let (given, needed) = (fields.get(name), needed.contains(&name));
        let article = if name == "endTime" { "an" } else { "a" };
        if let Some(node) = given.filter(|_| !needed && !allowed.contains(&name)) {
            let message = format!("Time window of type `{kind}` cannot have {article} {name}.");
            report.error(&fields.path(name), node.at, message);
        } else if given.is_none() && needed {
            report.error(path, node.at, format!("Time window of type `{kind}` must have {article} {name}."));
        }
    }
    let duration = |name: &str| fields.literal(name).and_then(|text| parse_duration(text).ok());
    let mut time = |name: &str| time_of_day(report, &fields, name);
    Some(match kind {
        "DAILY_TIME_DEADLINE" => TimeWindow::Deadline { deadline: time("deadline")? },
        "DAILY_TIME_WINDOW" => TimeWindow::Daily { start: time("startTime")?, end: time("endTime")? },
        "SLIDING_WINDOW" => TimeWindow::Sliding { window: duration("window").unwrap_or(DAY) },
        _ => TimeWindow::Duration {
            window: duration("window").unwrap_or(DAY),
            advance: duration("windowAdvance").unwrap_or_default(),
        },
    })
}

/// A time of day in the server's zone.
fn time_of_day(report: &mut Report, fields: &Fields<'_>, name: &str) -> Option<NaiveTime> {
    let text = fields.literal(name)?.trim();
    let local = text.strip_suffix('Z').unwrap_or(text);
    let found = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|format| NaiveTime::parse_from_str(local, format).ok());
    if found.is_none() {
        let message = format!("{name}: a time of day is expected, such as 09:00:00, but got `{text}`");
        report.error(&fields.path(name), fields.place(name), message);
    }
    found
}
