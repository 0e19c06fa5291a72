//! Triggers over the API. No scheduler runs here: what it does with them is tested where it is.

use std::collections::BTreeMap;

use tonic::Code;
use windhover_proto::{
    admin::v1 as admin,
    v1::{self as proto},
};

use crate::server::{As, Calls, Server, fields, reason};

const FLOW: &str = r#"
id: nightly
namespace: company.team
inputs:
  - id: day
    type: STRING
    defaults: today
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "{{ inputs.day }}"
triggers:
  - id: daily
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "0 3 * * *"
  - id: resting
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "@hourly"
    disabled: true
  - id: hook
    type: io.kestra.plugin.core.trigger.Webhook
    key: a-key-that-nobody-knows
"#;

/// 2024-01-01T00:00:00Z
const NEW_YEAR: i64 = 1_704_067_200;
const DAY: i64 = 86_400;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

macro_rules! of {
    ($trigger:expr, $request:ident { $($more:tt)* }) => {
        proto::$request {
            namespace: "company.team".into(),
            flow_id: "nightly".into(),
            trigger_id: $trigger.into(),
            $($more)*
        }
    };
}

fn backfill(start: i64, end: i64, request_id: &str) -> proto::CreateBackfillRequest {
    let inputs = BTreeMap::from([("day".to_owned(), proto::Json { text: "\"then\"".into() })]);
    let label = proto::Label { key: "catching".into(), value: "up".into() };
    of!(
        "daily",
        CreateBackfillRequest {
            start: at(start),
            end: at(end),
            inputs,
            labels: vec![label],
            request_id: request_id.into(),
        }
    )
}

async fn started(server: &Server) -> Calls {
    let mut calls = server.admin();
    let apply = proto::ApplyFlowRequest { source: FLOW.into(), ..Default::default() };
    calls.flows.apply_flow(apply).await.unwrap();
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_are_listed_with_their_next_dates_as_soon_as_the_flow_is_applied() {
    let server = Server::start().await;
    let mut calls = started(&server).await;
    let list = |filter: &str, page_size, page_token| proto::ListTriggersRequest {
        filter: filter.into(),
        page_size,
        page_token,
    };
    let all = calls.triggers.list_triggers(list("", 0, String::new())).await.unwrap().into_inner().triggers;
    let seen: Vec<_> =
        all.iter().map(|one| (one.id.as_str(), one.scheduled, one.disabled, one.disabled_in_flow)).collect();
    assert_eq!(seen, [("daily", true, false, false), ("resting", true, true, true), ("hook", false, false, false)]);
    let next = all[0].next_date.unwrap().seconds;
    assert!(next > NEW_YEAR && (next - NEW_YEAR) % DAY == 3 * 3_600 && all[2].next_date.is_none(), "{all:?}");

    let mut ids = Vec::new();
    let mut token = String::new();
    loop {
        let page = calls.triggers.list_triggers(list("", 1, token)).await.unwrap().into_inner();
        ids.extend(page.triggers.into_iter().map(|one| one.id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, ["daily", "resting", "hook"]);
    for (filter, expected) in [
        ("disabled = true", vec!["resting"]),
        (r#"namespace:"company." AND trigger = daily"#, vec!["daily"]),
        ("type = \"io.kestra.plugin.core.trigger.Webhook\"", vec!["hook"]),
        ("flow = other OR locked = true OR backfill = true", vec![]),
    ] {
        let found = calls.triggers.list_triggers(list(filter, 0, String::new())).await.unwrap().into_inner().triggers;
        assert_eq!(found.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), expected, "{filter}");
    }
    let wrong = calls.triggers.list_triggers(list("when = now", 0, String::new())).await.unwrap_err();
    assert_eq!(reason(&wrong), "windhover INVALID_FILTER");
    let wrong = calls.triggers.list_triggers(list("", 1_001, String::new())).await.unwrap_err();
    assert_eq!(fields(&wrong), ["page_size"]);
    let wrong = calls.triggers.list_triggers(list("", 0, "x".into())).await.unwrap_err();
    assert_eq!(reason(&wrong), "windhover INVALID_PAGE_TOKEN");

    let dates = of!("daily", ListTriggerDatesRequest { from: at(NEW_YEAR), count: 2 });
    let dates = calls.triggers.list_trigger_dates(dates).await.unwrap().into_inner().dates;
    let three = NEW_YEAR + 3 * 3_600;
    assert_eq!(dates.iter().map(|date| date.seconds).collect::<Vec<_>>(), [three, three + DAY]);
    let many = of!("daily", ListTriggerDatesRequest { from: None, count: 101 });
    assert_eq!(fields(&calls.triggers.list_trigger_dates(many).await.unwrap_err()), ["count"]);

    let delete =
        proto::DeleteFlowRequest { namespace: "company.team".into(), flow_id: "nightly".into(), ..Default::default() };
    calls.flows.delete_flow(delete).await.unwrap();
    let gone = calls.triggers.get_trigger(of!("daily", GetTriggerRequest {})).await.unwrap_err();
    assert_eq!((reason(&gone).as_str(), gone.code()), ("windhover TRIGGER_NOT_FOUND", Code::NotFound));
    drop(calls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_rests_and_catches_up_when_it_is_told_to() {
    let server = Server::start().await;
    let mut calls = started(&server).await;
    for disabled in [true, true, false] {
        let set = of!("daily", SetTriggerDisabledRequest { disabled });
        let now = calls.triggers.set_trigger_disabled(set).await.unwrap().into_inner().trigger.unwrap();
        assert_eq!((now.disabled, now.disabled_in_flow), (disabled, false));
    }
    let unlock = of!("daily", UnlockTriggerRequest { request_id: String::new() });
    let refused = calls.triggers.unlock_trigger(unlock).await.unwrap_err();
    assert_eq!((reason(&refused).as_str(), refused.code()), ("windhover TRIGGER_NOT_LOCKED", Code::FailedPrecondition));

    let begun = calls.triggers.create_backfill(backfill(NEW_YEAR, NEW_YEAR + 2 * DAY, "b")).await.unwrap();
    let begun = begun.into_inner().trigger.unwrap().backfill.unwrap();
    assert_eq!((begun.start, begun.end, begun.paused), (at(NEW_YEAR), at(NEW_YEAR + 2 * DAY), false));
    assert_eq!((begun.inputs["day"].text.as_str(), begun.labels[0].key.as_str()), ("\"then\"", "catching"));
    // The same request again is the same backfill; another one has to wait.
    calls.triggers.create_backfill(backfill(NEW_YEAR, NEW_YEAR + 2 * DAY, "b")).await.unwrap();
    let other = calls.triggers.create_backfill(backfill(NEW_YEAR, NEW_YEAR + DAY, "b")).await.unwrap_err();
    assert_eq!(reason(&other), "windhover REQUEST_ID_REUSED");
    let second = calls.triggers.create_backfill(backfill(NEW_YEAR, NEW_YEAR + DAY, "")).await.unwrap_err();
    assert_eq!((reason(&second).as_str(), second.code()), ("windhover BACKFILL_EXISTS", Code::AlreadyExists));
    let listed = proto::ListTriggersRequest { filter: "backfill = true".into(), ..Default::default() };
    assert_eq!(calls.triggers.list_triggers(listed).await.unwrap().into_inner().triggers.len(), 1);

    let paused = calls.triggers.pause_backfill(of!("daily", PauseBackfillRequest {})).await.unwrap().into_inner();
    assert!(paused.trigger.unwrap().backfill.unwrap().paused);
    let resumed = calls.triggers.resume_backfill(of!("daily", ResumeBackfillRequest {})).await.unwrap().into_inner();
    assert!(!resumed.trigger.unwrap().backfill.unwrap().paused);
    let delete = of!("daily", DeleteBackfillRequest { request_id: "gone".into() });
    let deleted = calls.triggers.delete_backfill(delete.clone()).await.unwrap().into_inner().trigger.unwrap();
    assert!(deleted.backfill.is_none() && deleted.next_date.is_some(), "{deleted:?}");
    calls.triggers.delete_backfill(delete).await.unwrap();
    let none = [
        calls.triggers.pause_backfill(of!("daily", PauseBackfillRequest {})).await.unwrap_err(),
        calls.triggers.resume_backfill(of!("daily", ResumeBackfillRequest {})).await.unwrap_err(),
        calls
            .triggers
            .delete_backfill(of!("daily", DeleteBackfillRequest { request_id: String::new() }))
            .await
            .unwrap_err(),
    ];
    for none in none {
        assert_eq!((reason(&none).as_str(), none.code()), ("windhover BACKFILL_NOT_FOUND", Code::NotFound));
    }
    drop(calls);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_for_a_trigger_is_refused_by_name() {
    let server = Server::start().await;
    let mut calls = started(&server).await;
    let good = backfill(NEW_YEAR, NEW_YEAR + DAY, "");
    let label = |key: &str| vec![proto::Label { key: key.into(), value: "x".into() }];
    let inputs = |text: &str| BTreeMap::from([("day".to_owned(), proto::Json { text: text.into() })]);
    for (request, expected, field) in [
        (proto::CreateBackfillRequest { start: None, ..good.clone() }, "INVALID_ARGUMENT", "start"),
        (
            proto::CreateBackfillRequest { start: at(4_000_000_000), end: None, ..good.clone() },
            "INVALID_ARGUMENT",
            "start",
        ),
        (proto::CreateBackfillRequest { start: at(i64::MAX), ..good.clone() }, "INVALID_ARGUMENT", "start"),
        (proto::CreateBackfillRequest { end: at(NEW_YEAR - 1), ..good.clone() }, "INVALID_ARGUMENT", "end"),
        (proto::CreateBackfillRequest { end: at(4_000_000_000), ..good.clone() }, "INVALID_ARGUMENT", "end"),
        (
            proto::CreateBackfillRequest { labels: label("system.from"), ..good.clone() },
            "LABEL_RESERVED",
            "labels[0].key",
        ),
        (
            proto::CreateBackfillRequest { labels: label("system.correlationId"), ..good.clone() },
            "LABEL_RESERVED",
            "labels[0].key",
        ),
        (proto::CreateBackfillRequest { labels: label(""), ..good.clone() }, "INVALID_ARGUMENT", "labels[0].key"),
        (proto::CreateBackfillRequest { inputs: inputs("{"), ..good.clone() }, "INVALID_INPUT", "inputs.day"),
        (
            proto::CreateBackfillRequest { request_id: "x".repeat(129), ..good.clone() },
            "INVALID_ARGUMENT",
            "request_id",
        ),
        (proto::CreateBackfillRequest { namespace: String::new(), ..good.clone() }, "INVALID_ARGUMENT", "namespace"),
        (proto::CreateBackfillRequest { flow_id: String::new(), ..good.clone() }, "INVALID_ARGUMENT", "flow_id"),
        (proto::CreateBackfillRequest { trigger_id: String::new(), ..good.clone() }, "INVALID_ARGUMENT", "trigger_id"),
    ] {
        let wrong = calls.triggers.create_backfill(request).await.unwrap_err();
        assert_eq!((reason(&wrong), fields(&wrong)), (format!("windhover {expected}"), vec![field.to_owned()]));
    }
    for (trigger, expected, code) in [
        ("hook", "windhover TRIGGER_NOT_SCHEDULED", Code::FailedPrecondition),
        ("none", "windhover TRIGGER_NOT_FOUND", Code::NotFound),
    ] {
        let triggers = &mut calls.triggers;
        let named = proto::CreateBackfillRequest { trigger_id: trigger.into(), ..good.clone() };
        let refusals = [
            triggers
                .set_trigger_disabled(of!(trigger, SetTriggerDisabledRequest { disabled: true }))
                .await
                .unwrap_err(),
            triggers
                .unlock_trigger(of!(trigger, UnlockTriggerRequest { request_id: String::new() }))
                .await
                .unwrap_err(),
            triggers
                .list_trigger_dates(of!(trigger, ListTriggerDatesRequest { from: None, count: 1 }))
                .await
                .unwrap_err(),
            triggers.create_backfill(named).await.unwrap_err(),
            triggers.pause_backfill(of!(trigger, PauseBackfillRequest {})).await.unwrap_err(),
            triggers.resume_backfill(of!(trigger, ResumeBackfillRequest {})).await.unwrap_err(),
            triggers
                .delete_backfill(of!(trigger, DeleteBackfillRequest { request_id: String::new() }))
                .await
                .unwrap_err(),
        ];
        for (index, refusal) in refusals.iter().enumerate() {
            assert_eq!((reason(refusal).as_str(), refusal.code()), (expected, code), "{trigger} {index}");
        }
    }
    // A webhook can be looked at.
    calls.triggers.get_trigger(of!("hook", GetTriggerRequest {})).await.unwrap();

    let token = admin::CreateTokenRequest { name: "v".into(), role: admin::Role::Viewer as i32, ..Default::default() };
    let token = calls.access.create_token(token).await.unwrap().into_inner().token_text;
    let mut viewer = server.calls(As { token: Some(token), tenant: None });
    viewer.triggers.get_trigger(of!("daily", GetTriggerRequest {})).await.unwrap();
    assert_eq!(reason(&viewer.triggers.create_backfill(good).await.unwrap_err()), "windhover PERMISSION_DENIED");
    drop((calls, viewer));
    server.stop().await;
}
