//! Follows an execution to its end over several gateways, and writes down what it is shown.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use prost::Message;
use tokio::sync::watch;
use windhover_client::{
    Client, FollowOptions,
    v1::{StateHistory, follow_execution_response::Event},
};

use crate::ledger::{Followed, Shown};

/// Follows `id`, on the first of the clients as long as its connection lives, then on the next one behind the last
/// message. Gives up after `patience` without a connection, and when `over` says that nothing more will happen.
pub async fn follow(clients: &[Client], id: String, patience: Duration, mut over: watch::Receiver<bool>) -> Followed {
    let mut seen = Followed { id: id.clone(), ..Followed::default() };
    let mut positions = HashSet::new();
    let mut cursor = String::new();
    let mut heard = Instant::now();
    for client in clients.iter().cycle() {
        let mut options = FollowOptions::new(&id);
        options.request.cursor.clone_from(&cursor);
        options.give_up_after = Duration::ZERO;
        let mut following = client.follow_with(options);
        seen.connections += 1;
        let mut connection = Connection::default();
        let lost = loop {
            let next = tokio::select! {
                next = following.next() => next,
                _ = over.wait_for(|over| *over) => {
                    seen.gave_up = Some("the execution did not end".to_owned());
                    return seen;
                }
            };
            match next {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    if let Some(event) = &message.event {
                        record(&mut seen, &mut positions, &mut connection, event);
                    }
                }
                Some(Err(error)) => break error,
                None => return seen,
            }
        };
        cursor = following.cursor().to_owned();
        if !lost.is_transient() || heard.elapsed() > patience {
            seen.gave_up = Some(lost.to_string());
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    seen
}

/// What one connection has shown already.
#[derive(Default)]
struct Connection {
    execution: bool,
    task_runs: HashSet<String>,
}

fn record(seen: &mut Followed, positions: &mut HashSet<u64>, connection: &mut Connection, event: &Event) {
    // What changed at the very moment when a connection was lost may come again as it was on the next one, as the API
    // says; on one connection nothing may come twice.
    match event {
        Event::Execution(execution) => {
            let first = !std::mem::replace(&mut connection.execution, true);
            add(&mut seen.executions, shown(execution.state.as_ref(), &execution.encode_to_vec()), first);
        }
        Event::TaskRun(run) => {
            let first = connection.task_runs.insert(run.id.clone());
            let all = seen.task_runs.entry(run.id.clone()).or_default();
            add(all, shown(run.state.as_ref(), &run.encode_to_vec()), first);
        }
        Event::LogLine(line) if !positions.insert(line.position) => {}
        Event::LogLine(line) => seen.lines.push(line.position),
        Event::End(end) => seen.ends.push(end.state().short_name().to_owned()),
        Event::TaskRunRemoved(removed) => drop(seen.task_runs.remove(&removed.task_run_id)),
        Event::KeepAlive(_) => {}
    }
}

fn add(all: &mut Vec<Shown>, message: Shown, first_of_connection: bool) {
    if !(first_of_connection && all.last() == Some(&message)) {
        all.push(message);
    }
}

fn shown(history: Option<&StateHistory>, message: &[u8]) -> Shown {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    let states = history.map(|history| history.history.iter().map(|change| change.state().short_name().to_owned()));
    Shown { states: states.into_iter().flatten().collect(), digest: hasher.finish() }
}
