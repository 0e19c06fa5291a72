//! Triggers.

use std::time::Duration;

use chrono::DateTime;
use windhover_expression::Zone;
use windhover_types::State;

use super::check::{self, IdRule, Ids};
use super::fields::{self, Fields};
use super::report::Report;
use super::{conditions, labels, tasks, windows};
use crate::table::{Family, HTTP_TRIGGER, Role, TRIGGER_COMMON};
use crate::yaml::{Content, Node};
use crate::{
    Cron, FlowTrigger, HttpTrigger, Schedule, ScheduleDates, Trigger, TriggerKind, WebhookAnswer, WebhookTrigger,
    WindowSpec, parse_duration,
};

/// The states that a Flow trigger listens to unless it names some: every terminal one, and PAUSED (flow model 1.x
/// reference 6.5).
const DEFAULT_STATES: &[State] = &[
    State::Success,
    State::Warning,
    State::Failed,
    State::Killed,
    State::Cancelled,
    State::Retried,
    State::Skipped,
    State::Paused,
];

const MULTIPLE: &str = "io.kestra.plugin.core.condition.MultipleCondition";

/// How often a polling trigger looks unless it is said (flow model reference 6.7), and what can be said (1.x 6.4).
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
const LONGEST_INTERVAL: Duration = Duration::from_secs(366 * 86_400);

/// Longest key of a webhook (flow model reference 6.6).
const LONGEST_KEY: usize = 256;

pub(super) fn read_list(report: &mut Report, node: &Node, path: &str) -> Vec<Trigger> {
    let Content::List(items) = &node.content else {
        report.error(path, node.at, format!("expected a list of triggers, but got {}", node.describe()));
        return Vec::new();
    };
    let mut ids = Ids::default();
    let mut triggers = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if let Some(node) = item.get("id")
            && let Some(id) = node.scalar_text()
        {
            ids.add(report, "trigger id", id, &fields::below(&path, "id"), node.at);
        }
        triggers.extend(read(report, item, &path));
    }
    preconditions(report, items, path);
    triggers
}

fn read(report: &mut Report, node: &Node, path: &str) -> Option<Trigger> {
    let entry = tasks::resolve_type(report, node, path, Role::Trigger)?;
    if !entry.is_built() {
        return None;
    }
    let fields = fields::read(report, node, path, &[TRIGGER_COMMON, entry.properties], entry.name)?;
    let id = fields.string("id").unwrap_or_default();
    if let Some(at) = fields.get("id").map(|node| node.at) {
        check::id(report, IdRule::Task, "id", &id, &fields.path("id"), at);
    }
    let (conditions, mut windows) = match fields.get("conditions") {
        Some(node) if entry.family == Family::FlowTrigger => {
            conditions::read_with_windows(report, node, &fields.path("conditions"))
        }
        // Refused with the whole trigger, and not as something that is not built.
        Some(node) if entry.family == Family::Webhook && conditions::mentions(node, MULTIPLE) => Default::default(),
        Some(node) => (conditions::read_list(report, node, &fields.path("conditions")), Vec::new()),
        None => Default::default(),
    };
    let labels =
        fields.get("labels").map(|node| labels::of_trigger(report, node, &fields.path("labels"))).unwrap_or_default();
    let kind = match entry.family {
        Family::FlowTrigger => flow_trigger(report, &fields, &mut windows),
        Family::Schedule => schedule(report, &fields)?,
        Family::ScheduleOnDates => schedule_on_dates(report, &fields)?,
        Family::HttpTrigger => http_trigger(report, &fields),
        _ => webhook(report, &fields)?,
    };
    let conditions = match fields.get("scheduleConditions") {
        Some(node) => {
            let path = fields.path("scheduleConditions");
            report.warning(
                &path,
                node.at,
                "`scheduleConditions` is deprecated: its conditions belong into `conditions`",
            );
            conditions.into_iter().chain(conditions::read_list(report, node, &path)).collect()
        }
        None => conditions,
    };
    let stop_after = match fields.get("stopAfter") {
        Some(node) => conditions::state_list(report, node, &fields.path("stopAfter")),
        None => Vec::new(),
    };
    Some(Trigger {
        id,
        type_name: fields.string("type")?,
        kind,
        conditions,
        labels,
        disabled: fields.bool(report, "disabled", false),
        stop_after,
        allow_concurrent: fields.bool(report, "allowConcurrent", false),
        definition: node.to_value().to_string(),
    })
}

fn schedule(report: &mut Report, fields: &Fields<'_>) -> Option<TriggerKind> {
    let source = fields.literal("cron")?;
    let (path, at) = (fields.path("cron"), fields.place("cron"));
    let cron = match Cron::parse(source, fields.bool(report, "withSeconds", false)) {
        Ok(cron) => Some(cron),
        Err(why) => {
            report.error(&path, at, format!("invalid cron expression '{source}': {why}"));
            None
        }
    };
    if let Some(cron) = &cron
        && cron.after(DateTime::UNIX_EPOCH, Zone::default()).is_none()
    {
        report.warning(&path, at, format!("the cron expression '{source}' matches no date"));
    }
    if let Some(node) = fields.get("backfill") {
        report.warning(
            &fields.path("backfill"),
            node.at,
            "`backfill` is deprecated and has no effect: a backfill is started by a call",
        );
    }
    let late_maximum_delay = late_maximum_delay(report, fields);
    timed(report, fields, ScheduleDates::Cron(cron?), late_maximum_delay)
}

fn schedule_on_dates(report: &mut Report, fields: &Fields<'_>) -> Option<TriggerKind> {
    let dates = fields.properties(report, "dates")?;
    timed(report, fields, ScheduleDates::List(dates), None)
}

/// What both kinds of schedules have.
fn timed(
    report: &mut Report,
    fields: &Fields<'_>,
    dates: ScheduleDates,
    late_maximum_delay: Option<Duration>,
) -> Option<TriggerKind> {
    if let Some(node) = fields.get("interval") {
        report.error(&fields.path("interval"), node.at, "interval: must be null");
    }
    let timezone = match fields.literal("timezone") {
        None => None,
        Some(text) => match text.parse::<Zone>() {
            Ok(zone) => Some(zone),
            Err(_) => {
                let message = format!("timezone '({text})' is not a valid time-zone ID");
                report.error(&fields.path("timezone"), fields.place("timezone"), message);
                None
            }
        },
    };
    let recover = fields.literal("recoverMissedSchedules").filter(|text| !fields::is_template(text));
    if recover.is_none() && fields.get("recoverMissedSchedules").is_some() {
        report.unsupported(
            &fields.path("recoverMissedSchedules"),
            fields.place("recoverMissedSchedules"),
            "a template in `recoverMissedSchedules`",
        );
    }
    Some(TriggerKind::Schedule(Schedule {
        dates,
        timezone,
        inputs: conditions::inputs(report, fields),
        recover: recover.and_then(|text| text.parse().ok()),
        late_maximum_delay,
    }))
}

fn late_maximum_delay(report: &mut Report, fields: &Fields<'_>) -> Option<Duration> {
    let text = fields.literal("lateMaximumDelay")?;
    if fields::is_template(text) {
        report.unsupported(
            &fields.path("lateMaximumDelay"),
            fields.place("lateMaximumDelay"),
            "a template in `lateMaximumDelay`",
        );
    }
    parse_duration(text).ok()
}

fn flow_trigger(report: &mut Report, fields: &Fields<'_>, windows: &mut Vec<WindowSpec>) -> TriggerKind {
    if let Some(node) = fields.get("preconditions") {
        windows.extend(windows::preconditions(report, node, &fields.path("preconditions")));
    }
    if windows.len() > 1 {
        report.unsupported(
            &fields.path,
            fields.at,
            "more than one window (`preconditions`, MultipleCondition) in a trigger",
        );
    }
    let states = match fields.get("states") {
        Some(node) => conditions::state_list(report, node, &fields.path("states")),
        None => DEFAULT_STATES.to_vec(),
    };
    if fields.get("conditions").is_none() && fields.get("preconditions").is_none() {
        let message = "this trigger has no conditions: it fires for every execution of every other flow";
        report.warning(&fields.path, fields.at, message);
    }
    TriggerKind::Flow(FlowTrigger { states, inputs: conditions::inputs(report, fields), window: windows.pop() })
}

fn webhook(report: &mut Report, fields: &Fields<'_>) -> Option<TriggerKind> {
    if let Some(node) = fields.get("conditions").filter(|node| conditions::mentions(node, MULTIPLE)) {
        let message = "invalid webhook: conditions of type MultipleCondition are not supported";
        report.error(&fields.path("conditions"), node.at, message);
    }
    if let Some(node) =
        fields.get("key").filter(|node| node.scalar_text().is_some_and(|key| key.chars().count() > LONGEST_KEY))
    {
        report.error(&fields.path("key"), node.at, format!("key: size must be between 0 and {LONGEST_KEY}"));
    }
    let inputs = conditions::inputs(report, fields);
    let wait = fields.bool(report, "wait", false);
    let answer = WebhookAnswer {
        outputs: fields.bool(report, "returnOutputs", false),
        plain_text: fields.literal("responseContentType") == Some("text/plain"),
        code: fields.text(report, "responseCode"),
    };
    for (name, given) in [("returnOutputs", answer.outputs), ("responseCode", answer.code.is_some())] {
        if given && !wait {
            report.warning(
                &fields.path(name),
                fields.place(name),
                format!("`{name}` has no effect without `wait: true`"),
            );
        }
    }
    let key = fields.text(report, "key")?;
    Some(TriggerKind::Webhook(WebhookTrigger { key, inputs, wait: wait.then_some(answer) }))
}

fn http_trigger(report: &mut Report, fields: &Fields<'_>) -> TriggerKind {
    let interval = match fields.literal("interval") {
        Some(text) if fields::is_template(text) => {
            report.unsupported(&fields.path("interval"), fields.place("interval"), "a template in `interval`");
            None
        }
        Some(text) => parse_duration(text).ok(),
        None => None,
    };
    let interval = interval.unwrap_or(DEFAULT_INTERVAL);
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        let message = "interval: must be between PT1S and P366D";
        report.error(&fields.path("interval"), fields.place("interval"), message);
    }
    TriggerKind::Http(HttpTrigger {
        interval,
        response_condition: fields.text(report, "responseCondition"),
        request: fields.map_of(report, HTTP_TRIGGER),
        fail_on_error: fields.bool(report, "failOnTriggerError", false),
    })
}

/// Two triggers whose preconditions have one id would share a window (flow model 1.x reference 1.2).
fn preconditions(report: &mut Report, items: &[Node], path: &str) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Some(node) = item.get("preconditions").and_then(|node| node.get("id")) else { continue };
        let Some(id) = node.scalar_text() else { continue };
        if seen.contains(&id) {
            report.error(
                &format!("{path}[{index}].preconditions.id"),
                node.at,
                format!("Duplicate preconditions with id [{id}]"),
            );
        }
        seen.push(id);
    }
}
