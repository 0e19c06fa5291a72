//! What the engine does with small flows, as the flow model references tell.

#[path = "../support/mod.rs"]
mod support;

mod actions;
mod ends;
mod failures;
mod files;
mod flow_triggers;
mod flowables;
mod lifecycle;
mod loops;
mod pauses;
mod sealed;
mod subflows;
mod templates;

use serde_json::json;
use support::Shell;
use windhover_types::{Id, State};

/// The rest of a task in one line: one that runs inline, one that fails, one for a worker.
const LOG: &str = "type: io.kestra.plugin.core.log.Log, message: hello";
const FAIL: &str = "type: io.kestra.plugin.core.execution.Fail";
const JOB: &str = "type: io.kestra.plugin.core.log.Log, message: on a worker, timeout: PT1H";

fn flow(tasks: &str) -> String {
    format!("id: f\nnamespace: {}\n{tasks}", support::NAMESPACE)
}

/// Runs a flow to its end; its jobs succeed.
fn run(source: &str) -> (Shell, Id) {
    let mut shell = Shell::new(&[source]);
    let id = shell.start("f", json!({}));
    shell.run_to_end(|_| State::Success);
    (shell, id)
}
