//! What a deployment says of schedules and windows, by the flow model reference 6.2 to 6.5 and 7.

use windhover_flow::{Flow, RecoverMissed, TimeWindow, TriggerKind, validate};
use windhover_types::{Severity, State};

const SCHEDULE: &str = "io.kestra.plugin.core.trigger.Schedule";
const FLOW: &str = "io.kestra.plugin.core.trigger.Flow";

fn source(kind: &str, properties: &str) -> String {
    format!(
        "id: f
namespace: company.team
tasks: [{{id: t, type: io.kestra.plugin.core.log.Log, message: hi}}]
triggers:
  - id: s
    type: {kind}
    {properties}
"
    )
}

#[track_caller]
fn accepted(kind: &str, properties: &str) -> Flow {
    let validation = validate(&source(kind, properties));
    let violations = validation.violations;
    validation.flow.unwrap_or_else(|| panic!("{properties}: {violations:#?}"))
}

#[track_caller]
fn refused(kind: &str, properties: &str, message: &str) {
    let validation = validate(&source(kind, properties));
    assert!(validation.flow.is_none(), "accepted: {properties}");
    let mut errors = validation.violations.iter().filter(|violation| violation.severity == Severity::Error);
    let found = errors.any(|violation| !violation.unsupported && violation.message.contains(message));
    assert!(found, "{message} is not among {:#?}", validation.violations);
}

#[test]
fn a_schedule_has_all_its_properties_under_either_name_of_its_type() {
    let properties = "cron: '*/5 * * * * *'
    withSeconds: true
    timezone: Europe/Paris
    recoverMissedSchedules: LAST
    lateMaximumDelay: PT10M
    allowConcurrent: true
    stopAfter: [FAILED, KILLED]
    inputs: {day: \"{{ trigger.date }}\"}
    labels: {why: scheduled}
    conditions: [{type: io.kestra.plugin.core.condition.Weekend}]
    scheduleConditions: [{type: io.kestra.core.models.conditions.types.DayWeekCondition, dayOfWeek: SUNDAY}]";
    for kind in [SCHEDULE, "io.kestra.core.models.triggers.types.Schedule"] {
        let flow = accepted(kind, properties);
        let trigger = &flow.triggers[0];
        let TriggerKind::Schedule(schedule) = &trigger.kind else { panic!("{trigger:?}") };
        assert_eq!(schedule.recover, Some(RecoverMissed::Last));
        assert_eq!(schedule.late_maximum_delay.map(|delay| delay.as_secs()), Some(600));
        assert_eq!(schedule.type_name(), SCHEDULE);
        assert_eq!(trigger.stop_after, [State::Failed, State::Killed]);
        assert!(trigger.allow_concurrent && trigger.conditions.len() == 2 && schedule.inputs.is_some());
    }
}

#[test]
fn schedules_that_cannot_work_are_refused() {
    refused(SCHEDULE, "cron: '61 * * * *'", "invalid cron expression '61 * * * *'");
    refused(SCHEDULE, "cron: '* * * * *'\n    withSeconds: true", "needs 6");
    refused(SCHEDULE, "timezone: UTC", "cron: must not be null");
    refused(
        SCHEDULE,
        "cron: '@daily'\n    timezone: Mars/Olympus",
        "timezone '(Mars/Olympus)' is not a valid time-zone ID",
    );
    refused(SCHEDULE, "cron: '@daily'\n    interval: PT1M", "interval: must be null");
    refused(SCHEDULE, "cron: '@daily'\n    recoverMissedSchedules: SOME", "ALL, LAST, NONE");
    refused(SCHEDULE, "cron: '@daily'\n    lateMaximumDelay: soon", "no duration");
    refused(SCHEDULE, "cron: '@daily'\n    stopAfter: [OFTEN]", "OFTEN");
    let condition =
        |text: &str| format!("cron: '@daily'\n    conditions: [{{type: io.kestra.plugin.core.condition.{text}}}]");
    refused(SCHEDULE, &condition("DayWeek"), "dayOfWeek: must not be null");
    refused(SCHEDULE, &condition("DayWeek, dayOfWeek: SOMEDAY"), "MONDAY");
    refused(SCHEDULE, &condition("TimeBetween, after: noon"), "a time of day with an offset");
    refused(SCHEDULE, &condition("DateTimeBetween, after: '2024-01-01'"), "a date and time with an offset");
    let dates = "io.kestra.plugin.core.trigger.ScheduleOnDates";
    refused(dates, "timezone: UTC", "dates: must not be null");
    accepted(dates, "dates: ['2024-01-01T00:00:00Z', '2024-06-01T00:00:00+02:00']");
}

#[test]
fn a_definition_is_another_one_when_anything_of_it_is() {
    let definition = |properties: &str| accepted(SCHEDULE, properties).triggers[0].definition.clone();
    let one = definition("cron: '@daily'");
    assert_eq!(one, definition("cron:   '@daily'   # every day"));
    assert_ne!(one, definition("cron: '@hourly'"));
    assert_ne!(one, definition("cron: '@daily'\n    description: every day"));
}

#[test]
fn preconditions_and_multiple_conditions_are_windows() {
    let flow = accepted(
        FLOW,
        "preconditions:
      id: both
      resetOnSuccess: false
      timeWindow: {type: DAILY_TIME_DEADLINE, deadline: \"09:00:00\"}
      flows:
        - {namespace: company, flowId: a, states: [SUCCESS], labels: {team: blue}}
        - {namespace: company}
      where:
        - {id: w, operand: OR, filters: [{field: NAMESPACE, type: IN, values: [a, b]}]}",
    );
    let TriggerKind::Flow(trigger) = &flow.triggers[0].kind else { panic!("a Flow trigger") };
    let window = trigger.window.as_ref().expect("a window");
    let names: Vec<&str> = window.conditions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["condition_1", "condition_2", "condition_3_w"]);
    assert!(window.id == "both" && !window.reset_on_success && matches!(window.time, TimeWindow::Deadline { .. }));

    let multiple = "conditions:
      - type: io.kestra.core.models.conditions.types.MultipleCondition
        id: multiple
        window: PT2H
        conditions:
          a: {type: io.kestra.plugin.core.condition.ExecutionFlow, namespace: company, flowId: a}
          b: {type: io.kestra.plugin.core.condition.ExecutionStatus, in: [SUCCESS]}
      - {type: io.kestra.plugin.core.condition.ExecutionNamespace, namespace: company}";
    let flow = accepted(FLOW, multiple);
    let TriggerKind::Flow(trigger) = &flow.triggers[0].kind else { panic!("a Flow trigger") };
    let window = trigger.window.as_ref().expect("a window");
    assert!(matches!(window.time, TimeWindow::Duration { window, .. } if window.as_secs() == 7_200));
    assert!(window.conditions.len() == 2 && flow.triggers[0].conditions.len() == 1);
}

#[test]
fn windows_that_cannot_work_are_refused() {
    let with = |rest: &str| format!("preconditions: {{id: p, flows: [{{namespace: a}}], {rest}}}");
    let window = |rest: &str| with(&format!("timeWindow: {{{rest}}}"));
    let filter = |rest: &str| with(&format!("where: [{{id: w, filters: [{{{rest}}}]}}]"));
    for (properties, message) in [
        (window("type: SLIDING_WINDOW, windowAdvance: PT1H"), "`SLIDING_WINDOW` cannot have a windowAdvance"),
        (window("type: DAILY_TIME_DEADLINE"), "`DAILY_TIME_DEADLINE` must have a deadline"),
        (window("type: DAILY_TIME_WINDOW, startTime: \"09:00\""), "`DAILY_TIME_WINDOW` must have an endTime"),
        (window("type: DAILY_TIME_DEADLINE, deadline: noon"), "a time of day is expected"),
        (window("deadline: \"09:00\""), "`DURATION_WINDOW` cannot have a deadline"),
        (filter("field: FLOW_ID, type: IN, value: a"), "`values` cannot be null for type IN"),
        (filter("field: FLOW_ID, type: IS_TRUE"), "`value` cannot be null for type IS_TRUE"),
        (filter("field: FLOW_ID, type: EQUAL_TO, value: a, values: [a]"), "`values` must be null for type EQUAL_TO"),
        (filter("field: FLOW_ID, type: REGEX, value: \"[\""), "invalid pattern"),
        (filter("field: COLOUR, type: EQUAL_TO, value: a"), "FLOW_ID"),
        (with("where: [{id: w, filters: []}]"), "must not be empty"),
        ("preconditions: {flows: [{namespace: a}]}".to_owned(), "id: must not be null"),
        ("preconditions: {id: p, flows: [{flowId: a}]}".to_owned(), "namespace: must not be null"),
    ] {
        refused(FLOW, &properties, message);
    }
}

#[test]
fn an_http_trigger_has_the_properties_of_a_request_and_an_interval() {
    let properties = "interval: PT30S
    uri: https://status.example/api
    method: POST
    params: {q: 1}
    headers: {Authorization: \"Bearer {{ secret('TOKEN') }}\"}
    formData: {a: b}
    options: {auth: {type: BEARER, token: x}, followRedirects: false}
    responseCondition: \"{{ json(response.body).ok }}\"
    failOnTriggerError: true
    stopAfter: [SUCCESS]";
    for kind in ["io.kestra.plugin.core.http.Trigger", "io.kestra.plugin.fs.http.Trigger"] {
        let flow = accepted(kind, properties);
        let TriggerKind::Http(http) = &flow.triggers[0].kind else { panic!("{:?}", flow.triggers[0]) };
        assert_eq!((http.interval.as_secs(), http.fail_on_error), (30, true));
        assert!(http.response_condition.is_some() && http.request.get("options").is_some());
    }
    let flow = accepted("io.kestra.plugin.core.http.Trigger", "uri: https://a.b");
    let TriggerKind::Http(http) = &flow.triggers[0].kind else { panic!("{:?}", flow.triggers[0]) };
    assert_eq!((http.interval.as_secs(), http.fail_on_error, http.response_condition.is_none()), (60, false, true));
    refused("io.kestra.plugin.core.http.Trigger", "interval: PT60S", "uri: must not be null");
    refused(
        "io.kestra.plugin.core.http.Trigger",
        "uri: https://a.b\n    interval: PT0.5S",
        "interval: must be between PT1S",
    );
}

#[test]
fn a_webhook_that_waits_says_what_it_answers() {
    const WEBHOOK: &str = "io.kestra.plugin.core.trigger.Webhook";
    let properties = "key: k
    wait: true
    returnOutputs: true
    responseContentType: text/plain
    responseCode: \"{{ outputs.t.code }}\"";
    let flow = accepted(WEBHOOK, properties);
    let TriggerKind::Webhook(webhook) = &flow.triggers[0].kind else { panic!("{:?}", flow.triggers[0]) };
    let answer = webhook.wait.as_ref().expect("it waits");
    assert!(answer.outputs && answer.plain_text && answer.code.is_some());
    let validation = validate(&source(WEBHOOK, "key: k\n    returnOutputs: true"));
    let warned = |violation: &windhover_types::Violation| violation.message.contains("no effect without `wait: true`");
    assert!(validation.flow.is_some() && validation.violations.iter().any(warned), "{:?}", validation.violations);
    refused(WEBHOOK, "key: k\n    wait: true\n    responseContentType: text/html", "text/plain");
}
