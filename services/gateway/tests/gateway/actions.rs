//! What people do to executions.

use std::collections::BTreeMap;

use tonic::Code;
use windhover_proto::v1::{self as proto, State};

use crate::server::{As, BOOTSTRAP, Calls, Server, fields, reason};

const ASKS: &str = r#"
id: asks
namespace: company.team
tasks:
  - id: ask
    type: io.kestra.plugin.core.flow.Pause
    onResume:
      - id: reason
        type: STRING
      - id: times
        type: INT
        required: false
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "because {{ outputs.ask.onResume.reason }}"
"#;

const SLEEPS: &str = r#"
id: sleeps
namespace: company.team
tasks:
  - id: nap
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT1H
"#;

const FAILS: &str = r#"
id: fails
namespace: company.team
inputs:
  - id: who
    type: STRING
    defaults: you
tasks:
  - id: first
    type: io.kestra.plugin.core.output.OutputValues
    values:
      who: "{{ inputs.who }}"
  - id: breaks
    type: io.kestra.plugin.core.execution.Fail
  - id: last
    type: io.kestra.plugin.core.output.OutputValues
    values:
      who: "{{ outputs.first.values.who }}"
"#;

impl Calls {
    async fn apply(&mut self, source: &str) {
        let request = proto::ApplyFlowRequest { source: source.into(), ..Default::default() };
        self.flows.apply_flow(request).await.unwrap();
    }

    async fn begin(&mut self, flow: &str) -> String {
        let request = proto::CreateExecutionRequest {
            namespace: "company.team".into(),
            flow_id: flow.into(),
            ..Default::default()
        };
        self.executions.create_execution(request).await.unwrap().into_inner().execution.unwrap().id
    }

    async fn wait(&mut self, id: &str, state: State) -> proto::Execution {
        let request =
            proto::WaitExecutionRequest { execution_id: id.into(), states: vec![state as i32], ..Default::default() };
        let waited = self.executions.wait_execution(request).await.unwrap().into_inner();
        assert!(waited.reached, "waited for {state:?}: {:?}", waited.execution);
        waited.execution.unwrap()
    }

    async fn run(&mut self, flow: &str, end: State) -> proto::Execution {
        let id = self.begin(flow).await;
        self.wait(&id, end).await
    }
}

fn resume(id: &str, inputs: &[(&str, &str)], request_id: &str) -> proto::ResumeExecutionRequest {
    proto::ResumeExecutionRequest {
        execution_id: id.into(),
        inputs: inputs.iter().map(|(id, text)| ((*id).to_owned(), proto::Json { text: (*text).into() })).collect(),
        request_id: request_id.into(),
    }
}

fn pause(id: &str) -> proto::PauseExecutionRequest {
    proto::PauseExecutionRequest { execution_id: id.into(), ..Default::default() }
}

fn restart(id: &str) -> proto::RestartExecutionRequest {
    proto::RestartExecutionRequest { execution_id: id.into(), ..Default::default() }
}

fn replay(id: &str) -> proto::ReplayExecutionRequest {
    proto::ReplayExecutionRequest { execution_id: id.into(), ..Default::default() }
}

fn labels(id: &str, of: &[(&str, &str)]) -> proto::SetExecutionLabelsRequest {
    let label = |(key, value): &(&str, &str)| proto::Label { key: (*key).into(), value: (*value).into() };
    proto::SetExecutionLabelsRequest {
        execution_id: id.into(),
        labels: of.iter().map(label).collect(),
        ..Default::default()
    }
}

fn attempts(execution: &proto::Execution) -> BTreeMap<&str, usize> {
    execution.task_runs.iter().map(|run| (run.task_id.as_str(), run.attempts.len())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_asks_until_it_is_answered_and_is_answered_once() {
    let server = Server::start().await;
    let mut calls = server.admin();
    calls.apply(ASKS).await;
    let id = calls.begin("asks").await;
    calls.wait(&id, State::Paused).await;
    for inputs in [&[][..], &[("reason", "\"it must\""), ("times", "\"many\"")], &[("reason", "{")]] {
        let wrong = calls.executions.resume_execution(resume(&id, inputs, "")).await.unwrap_err();
        assert_eq!(reason(&wrong), "windhover INVALID_INPUT", "{inputs:?}");
        assert!(fields(&wrong)[0].starts_with("inputs"), "{wrong:?}");
    }
    let large = format!("\"{}\"", "x".repeat(4 * 1024 * 1024));
    let wrong = calls.executions.resume_execution(resume(&id, &[("reason", &large)], "")).await.unwrap_err();
    assert_eq!(reason(&wrong), "windhover MESSAGE_TOO_LARGE");

    let answer = [("reason", "\"it must\"")];
    calls.executions.resume_execution(resume(&id, &answer, "once")).await.unwrap();
    let ended = calls.wait(&id, State::Success).await;
    let asked = ended.task_runs.iter().find(|run| run.task_id == "ask").unwrap();
    assert!(asked.outputs.as_ref().unwrap().text.contains("it must"), "{asked:?}");
    // The same again is answered again; something else under the same id is not.
    calls.executions.resume_execution(resume(&id, &answer, "once")).await.unwrap();
    let other = calls.executions.resume_execution(resume(&id, &[], "once")).await.unwrap_err();
    assert_eq!((reason(&other).as_str(), fields(&other)), ("windhover REQUEST_ID_REUSED", vec!["request_id".into()]));
    let late = calls.executions.resume_execution(resume(&id, &answer, "")).await.unwrap_err();
    assert_eq!((reason(&late).as_str(), late.code()), ("windhover EXECUTION_NOT_PAUSED", Code::FailedPrecondition));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_can_be_paused_and_what_waits_can_be_forced() {
    let server = Server::start().await;
    let mut calls = server.admin();
    calls.apply(SLEEPS).await;
    calls.apply(FAILS).await;
    let id = calls.begin("sleeps").await;
    calls.wait(&id, State::Running).await;
    let paused = calls.executions.pause_execution(pause(&id)).await.unwrap().into_inner().execution.unwrap();
    assert_eq!(paused.state.unwrap().current(), State::Paused);
    assert_eq!(
        reason(&calls.executions.pause_execution(pause(&id)).await.unwrap_err()),
        "windhover EXECUTION_NOT_RUNNING"
    );
    calls.executions.resume_execution(resume(&id, &[], "")).await.unwrap();
    calls.wait(&id, State::Running).await;
    let open = proto::DeleteExecutionRequest { execution_id: id.clone(), ..Default::default() };
    assert_eq!(reason(&calls.executions.delete_execution(open).await.unwrap_err()), "windhover EXECUTION_NOT_ENDED");
    let unqueue = proto::UnqueueExecutionRequest { execution_id: id.clone(), ..Default::default() };
    assert_eq!(
        reason(&calls.executions.unqueue_execution(unqueue).await.unwrap_err()),
        "windhover EXECUTION_NOT_QUEUED"
    );

    let later = proto::CreateExecutionRequest {
        namespace: "company.team".into(),
        flow_id: "fails".into(),
        schedule_time: Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        ..Default::default()
    };
    let later = calls.executions.create_execution(later).await.unwrap().into_inner().execution.unwrap();
    let force = proto::ForceRunExecutionRequest { execution_id: later.id.clone(), ..Default::default() };
    calls.executions.force_run_execution(force.clone()).await.unwrap();
    calls.wait(&later.id, State::Failed).await;
    let late = calls.executions.force_run_execution(force).await.unwrap_err();
    assert_eq!(reason(&late), "windhover EXECUTION_ENDED");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_runs_again_or_is_decided_by_hand() {
    let server = Server::start().await;
    let mut calls = server.admin();
    calls.apply(FAILS).await;
    let failed = calls.run("fails", State::Failed).await;
    let id = failed.id.clone();
    assert_eq!(attempts(&failed), [("breaks", 1), ("first", 1)].into());

    calls.executions.restart_execution(restart(&id)).await.unwrap();
    let again = calls.wait(&id, State::Failed).await;
    assert_eq!(attempts(&again), [("breaks", 2), ("first", 1)].into());

    let breaks = again.task_runs.iter().find(|run| run.task_id == "breaks").unwrap();
    let decide = proto::ChangeTaskRunStateRequest {
        execution_id: id.clone(),
        task_run_id: breaks.id.clone(),
        state: State::Success as i32,
        ..Default::default()
    };
    for (request, field) in [
        (proto::ChangeTaskRunStateRequest { state: 0, ..decide.clone() }, "state"),
        (proto::ChangeTaskRunStateRequest { state: State::Running as i32, ..decide.clone() }, "state"),
        (proto::ChangeTaskRunStateRequest { task_run_id: String::new(), ..decide.clone() }, "task_run_id"),
        (proto::ChangeTaskRunStateRequest { task_run_id: "none".into(), ..decide.clone() }, "task_run_id"),
    ] {
        let wrong = calls.executions.change_task_run_state(request).await.unwrap_err();
        assert_eq!((wrong.code(), fields(&wrong)), (Code::InvalidArgument, vec![field.to_owned()]), "{wrong:?}");
    }
    calls.executions.change_task_run_state(decide).await.unwrap();
    let went_on = calls.wait(&id, State::Success).await;
    assert_eq!(attempts(&went_on), [("breaks", 2), ("first", 1), ("last", 1)].into());
    assert_eq!(
        reason(&calls.executions.restart_execution(restart(&id)).await.unwrap_err()),
        "windhover NOTHING_TO_RESTART"
    );

    let decide = proto::ChangeExecutionStateRequest {
        execution_id: id.clone(),
        state: State::Warning as i32,
        ..Default::default()
    };
    let open = proto::ChangeExecutionStateRequest { state: State::Paused as i32, ..decide.clone() };
    let wrong = calls.executions.change_execution_state(open).await.unwrap_err();
    assert_eq!((reason(&wrong).as_str(), fields(&wrong)), ("windhover INVALID_STATE", vec!["state".to_owned()]));
    let changed = calls.executions.change_execution_state(decide).await.unwrap().into_inner().execution.unwrap();
    assert_eq!(changed.state.unwrap().current(), State::Warning);

    let labelled = calls.executions.set_execution_labels(labels(&id, &[("team", "ops"), ("n", "1")])).await.unwrap();
    let shown = labelled.into_inner().execution.unwrap().labels;
    assert!(shown.iter().any(|label| (label.key.as_str(), label.value.as_str()) == ("team", "ops")), "{shown:?}");
    for (of, expected) in [
        (&[][..], "windhover INVALID_ARGUMENT"),
        (&[("", "x")], "windhover INVALID_ARGUMENT"),
        (&[("system.from", "me")], "windhover LABEL_RESERVED"),
    ] {
        let wrong = calls.executions.set_execution_labels(labels(&id, of)).await.unwrap_err();
        assert_eq!(reason(&wrong), expected, "{of:?}");
    }
    // What it has already may be given again.
    calls.executions.set_execution_labels(labels(&id, &[("system.correlationId", &id)])).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_execution_is_made_again_from_any_place_and_deleted() {
    let server = Server::start().await;
    let mut calls = server.admin();
    calls.apply(FAILS).await;
    let old = calls.run("fails", State::Failed).await;

    let whole = proto::ReplayExecutionRequest { request_id: "once".into(), ..replay(&old.id) };
    let made = calls.executions.replay_execution(whole.clone()).await.unwrap().into_inner().execution.unwrap();
    assert_ne!(made.id, old.id);
    assert_eq!((&made.replayed_from_id, &made.original_id), (&old.id, &old.id));
    let again = calls.executions.replay_execution(whole).await.unwrap().into_inner().execution.unwrap();
    assert_eq!(again.id, made.id);
    calls.wait(&made.id, State::Failed).await;

    let inputs = BTreeMap::from([("who".to_owned(), proto::Json { text: "\"me\"".into() })]);
    let anew = proto::ReplayExecutionRequest { inputs, ..replay(&made.id) };
    let anew = calls.executions.replay_execution(anew).await.unwrap().into_inner().execution.unwrap();
    let anew = calls.wait(&anew.id, State::Failed).await;
    assert_eq!((anew.inputs.unwrap().text.as_str(), &anew.original_id), (r#"{"who":"me"}"#, &old.id));

    // The task that fails is mended in the second revision: the replay begins with it, and keeps what was before.
    let mended = FAILS.replace("execution.Fail", "log.Log\n    message: mended");
    calls.apply(&mended).await;
    let breaks = old.task_runs.iter().find(|run| run.task_id == "breaks").unwrap();
    let from = proto::ReplayExecutionRequest { task_run_id: breaks.id.clone(), revision: Some(2), ..replay(&old.id) };
    let from = calls.executions.replay_execution(from).await.unwrap().into_inner().execution.unwrap();
    let from = calls.wait(&from.id, State::Success).await;
    assert_eq!(attempts(&from), [("breaks", 2), ("first", 1), ("last", 1)].into());
    assert!(from.task_runs.iter().all(|run| old.task_runs.iter().all(|other| other.id != run.id)));
    let restarted = proto::RestartExecutionRequest { revision: Some(2), ..restart(&old.id) };
    let restarted = calls.executions.restart_execution(restarted).await.unwrap().into_inner().execution.unwrap();
    assert_eq!((restarted.flow_revision, &restarted.replayed_from_id), (2, &old.id));
    calls.wait(&restarted.id, State::Success).await;

    for (request, expected) in [
        (proto::ReplayExecutionRequest { task_run_id: "unknown".into(), ..replay(&old.id) }, "TASK_RUN_NOT_FOUND"),
        (proto::ReplayExecutionRequest { task_run_id: old.id.clone(), ..replay(&old.id) }, "TASK_RUN_NOT_FOUND"),
        (proto::ReplayExecutionRequest { revision: Some(7), ..replay(&old.id) }, "FLOW_NOT_FOUND"),
    ] {
        let wrong = calls.executions.replay_execution(request).await.unwrap_err();
        assert_eq!(reason(&wrong), format!("windhover {expected}"));
    }

    let delete =
        proto::DeleteExecutionRequest { execution_id: old.id.clone(), request_id: "away".into(), ..Default::default() };
    calls.executions.delete_execution(delete.clone()).await.unwrap();
    calls.executions.delete_execution(delete.clone()).await.unwrap();
    let anew = proto::DeleteExecutionRequest { request_id: String::new(), ..delete };
    assert_eq!(reason(&calls.executions.delete_execution(anew).await.unwrap_err()), "windhover EXECUTION_NOT_FOUND");
    let get = proto::GetExecutionRequest { execution_id: old.id, ..Default::default() };
    assert_eq!(reason(&calls.executions.get_execution(get).await.unwrap_err()), "windhover EXECUTION_NOT_FOUND");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_find_only_what_is_there_in_their_tenant() {
    use windhover_proto::admin::v1 as admin;
    let server = Server::start().await;
    let mut calls = server.admin();
    calls.apply(FAILS).await;
    let foreign = calls.run("fails", State::Failed).await.id;
    calls
        .tenants
        .create_tenant(admin::CreateTenantRequest { tenant_id: "acme".into(), ..Default::default() })
        .await
        .unwrap();
    let mut acme = server.calls(As { token: Some(BOOTSTRAP.into()), tenant: Some("acme".into()) });
    for (id, expected) in [
        (foreign.as_str(), "windhover EXECUTION_NOT_FOUND"),
        ("0000000000000000000000", "windhover EXECUTION_NOT_FOUND"),
        ("notfound", "windhover EXECUTION_NOT_FOUND"),
        ("", "windhover INVALID_ARGUMENT"),
    ] {
        let executions = &mut acme.executions;
        let force = proto::ForceRunExecutionRequest { execution_id: id.into(), ..Default::default() };
        let unqueue = proto::UnqueueExecutionRequest { execution_id: id.into(), ..Default::default() };
        let delete = proto::DeleteExecutionRequest { execution_id: id.into(), ..Default::default() };
        let state = State::Success as i32;
        let change = proto::ChangeExecutionStateRequest { execution_id: id.into(), state, ..Default::default() };
        let task_run_id = "0000000000000000000000".to_owned();
        let run =
            proto::ChangeTaskRunStateRequest { execution_id: id.into(), task_run_id, state, ..Default::default() };
        let refusals = [
            executions.pause_execution(pause(id)).await.unwrap_err(),
            executions.resume_execution(resume(id, &[], "")).await.unwrap_err(),
            executions.restart_execution(restart(id)).await.unwrap_err(),
            executions.replay_execution(replay(id)).await.unwrap_err(),
            executions.force_run_execution(force).await.unwrap_err(),
            executions.unqueue_execution(unqueue).await.unwrap_err(),
            executions.change_execution_state(change).await.unwrap_err(),
            executions.change_task_run_state(run).await.unwrap_err(),
            executions.set_execution_labels(labels(id, &[("a", "b")])).await.unwrap_err(),
            executions.delete_execution(delete).await.unwrap_err(),
        ];
        for (index, refusal) in refusals.iter().enumerate() {
            assert_eq!(reason(refusal), expected, "action {index} on `{id}`");
        }
    }
    let long = proto::PauseExecutionRequest { request_id: "x".repeat(129), ..pause(&foreign) };
    let wrong = calls.executions.pause_execution(long).await.unwrap_err();
    assert_eq!(fields(&wrong), ["request_id"]);
    server.stop().await;
}
