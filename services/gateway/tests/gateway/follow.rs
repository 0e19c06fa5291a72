//! Cursors go on exactly behind their message, on whichever gateway.

use windhover_proto::v1::{self as proto, State, follow_execution_response::Event};

use crate::server::{Calls, Server};

const LOOP: &str = r#"
id: loop
namespace: company.team
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    tasks:
      - id: say
        type: io.kestra.plugin.core.log.Log
        message: "number {{ taskrun.value }}"
"#;

async fn follow(calls: &mut Calls, id: &str, cursor: &str) -> Vec<(String, Event)> {
    let request =
        proto::FollowExecutionRequest { execution_id: id.into(), cursor: cursor.into(), ..Default::default() };
    let mut stream = calls.executions.follow_execution(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        messages.push((message.cursor, message.event.unwrap()));
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn another_gateway_goes_on_behind_any_message_without_gap_or_double() {
    let mut server = Server::start().await;
    let mut calls = server.admin();
    let apply = proto::ApplyFlowRequest { source: LOOP.into(), ..Default::default() };
    calls.flows.apply_flow(apply).await.unwrap();
    let create = proto::CreateExecutionRequest {
        namespace: "company.team".into(),
        flow_id: "loop".into(),
        ..Default::default()
    };
    let id = calls.executions.create_execution(create).await.unwrap().into_inner().execution.unwrap().id;

    // While it runs: whatever comes is new, and at the end everything was seen.
    let live = follow(&mut calls, &id, "").await;
    let mut seen: Vec<&Event> = Vec::new();
    for (_, event) in live.iter().filter(|(_, event)| !matches!(event, Event::KeepAlive(_))) {
        assert!(!seen.contains(&event), "came twice: {event:?}");
        seen.push(event);
    }
    let lines = seen.iter().filter(|event| matches!(event, Event::LogLine(_))).count();
    let last = seen.iter().rev().find_map(|event| match event {
        Event::Execution(execution) => Some(execution.state.as_ref().unwrap().current()),
        _ => None,
    });
    assert_eq!((lines, last), (12, Some(State::Success)));

    let whole = follow(&mut calls, &id, "").await;
    // The execution, the loop and its twelve tasks, their lines, the end.
    assert_eq!(whole.len(), 1 + 13 + 12 + 1);
    let mut other = server.another_gateway().await;
    for (index, (cursor, event)) in whole.iter().enumerate() {
        let rest: Vec<Event> = follow(&mut other, &id, cursor).await.into_iter().map(|(_, event)| event).collect();
        let mut expected: Vec<Event> = whole[index + 1..].iter().map(|(_, event)| event.clone()).collect();
        if expected.is_empty() {
            // Whoever asks behind the end is told again that it is over.
            expected.push(event.clone());
        }
        assert_eq!(rest, expected, "behind message {index}");
    }
    drop((calls, other));
    server.stop().await;
}
