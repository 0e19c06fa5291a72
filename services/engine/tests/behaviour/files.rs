//! WorkingDirectory and ForEachItem, as far as the engine goes (flow model reference 5.3, 1.x reference 5.3).

use serde_json::{Value, json};
use windhover_engine::{Directory, Event, item_execution_id};
use windhover_types::{
    Id,
    State::{self, Failed, Killed, Killing, Running, Success, Warning},
};

use crate::{
    FAIL, JOB, LOG, flow,
    support::{Shell, ended},
};

const VALUE: &str = "type: io.kestra.plugin.core.debug.Return";
const DIRECTORY: &str = "type: io.kestra.plugin.core.flow.WorkingDirectory";

/// Ends the only job of a task with these outputs.
fn report(shell: &mut Shell, task_id: &str, outputs: Value, directory: Option<Value>) {
    let (id, job) = shell.job(task_id);
    let Event::JobEnded { task_run, dispatch, mut result } = ended(&job, Success, shell.now) else { unreachable!() };
    (result.outputs, result.directory_outputs) = (Some(outputs), directory);
    shell.send(id, Event::JobEnded { task_run, dispatch, result });
}

#[test]
fn tasks_of_a_working_directory_run_one_after_another_on_workers() {
    let source = flow(&format!(
        "tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [x]
    tasks:
      - id: dir
        {DIRECTORY}
        inputFiles: {{a.txt: \"{{{{ inputs.text }}}}\"}}
        tasks:
          - {{id: first, {VALUE}, format: \"{{{{ taskrun.value }}}}\"}}
          - {{id: off, {VALUE}, disabled: true}}
          - {{id: skipped, {LOG}, runIf: \"{{{{ outputs.first.x.value == 'no' }}}}\"}}
          - {{id: second, {LOG}}}
        errors: [{{id: e, {LOG}}}]"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({"text": "hello"}));
    let (_, job) = shell.job("first");
    let dir = shell.task_run(id, "dir").id;
    assert_eq!(job.directory, Some(Directory { task_run: dir, task_id: "dir".to_owned(), attempt: 0 }));
    assert_eq!(job.variables["taskrun"]["value"], "x");
    assert_eq!(job.variables["inputs"], json!({"text": "hello"}), "what its files read travels with it");
    assert_eq!(shell.task_run(id, "first").value, None);
    shell.crash(id);
    report(&mut shell, "first", json!({"value": "x"}), Some(json!({"outputFiles": {}})));
    report(&mut shell, "second", json!({}), Some(json!({"outputFiles": {"o": "kestra:///o"}})));
    assert_eq!(
        shell.summary(id)[1..],
        ["dir[x] SUCCESS", "first[x] SUCCESS", "skipped[x] SKIPPED", "second[x] SUCCESS"]
    );
    assert_eq!(shell.outputs(id, "dir"), json!({"outputFiles": {"o": "kestra:///o"}}));
}

#[test]
fn a_failure_in_a_working_directory_stops_it_and_a_restart_begins_it_anew() {
    // Cases 131 and 192.
    let source = flow(&format!(
        "tasks: [{{id: dir, {DIRECTORY}, tasks: [{{id: a, {JOB}, allowFailure: true}}, {{id: b, {LOG}}}, {{id: c, {LOG}}}]}}]"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    shell.report("a", Failed);
    shell.report("b", Failed);
    assert_eq!(shell.summary(id), ["dir FAILED", "a WARNING", "b FAILED"]);
    shell.send(id, Event::Restart { by_parent: false });
    assert_eq!(shell.summary(id), ["dir RUNNING", "a SUBMITTED"]);
    let attempt = shell.job("a").1.directory.map(|directory| directory.attempt);
    assert_eq!(attempt, Some(1), "another directory");
    for task in ["a", "b", "c"] {
        shell.report(task, Success);
    }
    assert_eq!(shell.state(id), Success);
}

fn items(more: &str) -> String {
    flow(&format!(
        "tasks:
  - {{id: each, type: io.kestra.plugin.core.flow.ForEachItem, items: \"{{{{ inputs.file }}}}\", batch: {{rows: 2}}, \
     namespace: company.team, flowId: child, inputs: {{part: \"{{{{ taskrun.items }}}} {{{{ taskrun.iteration }}}}\"}}, {more}}}
  - {{id: last, {VALUE}, format: \"{{{{ outputs.each_items.numberOfBatches }}}}\"}}"
    ))
}

fn child(task: &str) -> String {
    format!("id: child\nnamespace: company.team\ninputs: [{{id: part, type: STRING}}]\ntasks: [{{id: c, {task}}}]")
}

/// Starts it and lets the first task make so many parts.
fn split(more: &str, task: &str, parts: usize) -> (Shell, Id) {
    let mut shell = Shell::new(&[&items(more), &child(task)]);
    shell.env.limits.inline_per_step = 3;
    let lines: Vec<String> = (0..parts).map(|part| format!("kestra:///part{part}")).collect();
    shell.files.insert("kestra:///splits".to_owned(), lines.join("\n") + "\n");
    let id = shell.start("f", json!({"file": "kestra:///file"}));
    let (_, job) = shell.job("each_split");
    assert_eq!(job.variables["inputs"], json!({"file": "kestra:///file"}));
    report(&mut shell, "each_split", json!({"splits": "kestra:///splits"}), None);
    (shell, id)
}

/// Ends the job of the child of this part.
fn end(shell: &mut Shell, id: Id, part: u32, state: State) {
    let child = item_execution_id(shell.task_run(id, "each_items").id, 0, part);
    let (_, job) = shell.jobs.iter().find(|(of, _)| *of == child).expect("its job is out").clone();
    let now = shell.now;
    shell.send(child, ended(&job, state, now));
}

#[test]
fn an_execution_is_started_for_each_part_of_a_file() {
    // Case 162.
    let (mut shell, id) = split("transmitFailed: true", JOB, 5);
    assert_eq!(shell.created.len(), 6);
    let run = shell.task_run(id, "each_items").clone();
    assert_eq!(
        shell.outputs(id, "each_items"),
        json!({"iterations": {"CREATED": 0, "RUNNING": 5}, "numberOfBatches": 5})
    );
    let third = shell.execution(item_execution_id(run.id, 0, 2)).clone();
    assert_eq!(third.inputs["part"], "kestra:///part2 2");
    let trigger = third.trigger.expect("it was started by a task");
    assert_eq!((trigger.variables["executionId"].clone(), trigger.id.as_str()), (json!(id.to_string()), "each_items"));
    for part in [4, 2, 0] {
        shell.crash(id);
        end(&mut shell, id, part, Success);
    }
    end(&mut shell, id, 1, Success);
    end(&mut shell, id, 3, Success);
    assert_eq!(
        shell.outputs(id, "each_items"),
        json!({"iterations": {"CREATED": 0, "RUNNING": 0, "SUCCESS": 5}, "numberOfBatches": 5})
    );
    assert_eq!(shell.task_run(id, "each_items").attempts.len(), 1);
    let (_, merge) = shell.job("each_merge");
    let about = json!({"itemsTaskRun": run.id.to_string(), "attempt": 0, "batches": 5});
    assert_eq!(merge.variables["forEachItem"], about);
    assert_eq!(merge.variables["outputs"]["each_split"], json!({"splits": "kestra:///splits"}));
    report(&mut shell, "each_merge", json!({"subflowOutputs": null}), None);
    assert_eq!(
        shell.summary(id),
        ["each SUCCESS", "each_split SUCCESS", "each_items SUCCESS", "each_merge SUCCESS", "last SUCCESS"]
    );
}

#[test]
fn a_failed_part_fails_the_task_unless_it_is_not_transmitted() {
    // Case 164.
    let (mut shell, id) = split("allowFailure: true", JOB, 3);
    for (part, state) in [(0, Warning), (1, Failed), (2, Success)] {
        end(&mut shell, id, part, state);
    }
    assert_eq!(shell.summary(id), ["each WARNING", "each_split SUCCESS", "each_items FAILED", "last SUCCESS"]);
    let (mut shell, id) = split("transmitFailed: false", JOB, 1);
    end(&mut shell, id, 0, Failed);
    assert_eq!(shell.task_state(id, "each_items"), Success);
    assert_eq!(shell.job("each_merge").1.task_id, "each_merge");
}

#[test]
fn an_empty_file_starts_nothing() {
    // Case 161.
    let (mut shell, id) = split("wait: true", JOB, 0);
    assert_eq!((shell.outputs(id, "each_items"), shell.created.len()), (Value::Null, 1));
    report(&mut shell, "each_merge", json!({}), None);
    assert_eq!(shell.task_state(id, "each"), Success);
}

#[test]
fn parts_that_are_not_waited_for_are_done_when_they_are_started() {
    let (mut shell, id) = split("wait: false", JOB, 4);
    let iterations = json!({"CREATED": 0, "RUNNING": 0, "SUCCESS": 4});
    assert_eq!(shell.outputs(id, "each_items")["iterations"], iterations);
    let run = shell.task_run(id, "each_items").id;
    // A kill reaches them all the same.
    shell.crash(id);
    shell.send(id, Event::Kill);
    assert_eq!(shell.state(item_execution_id(run, 0, 3)), Killing);
}

#[test]
fn a_kill_goes_down_to_the_parts() {
    let (mut shell, id) = split("wait: true", JOB, 2);
    shell.send(id, Event::Kill);
    assert_eq!((shell.state(id), shell.task_state(id, "each_items")), (Killing, Killing));
    end(&mut shell, id, 0, Killed);
    end(&mut shell, id, 1, Killed);
    assert_eq!((shell.state(id), shell.task_state(id, "each")), (Killed, Killed));
}

#[test]
fn a_restart_goes_on_with_the_parts_that_failed() {
    let (mut shell, id) = split("wait: true", JOB, 3);
    for (part, state) in [(0, Failed), (1, Success), (2, Failed)] {
        end(&mut shell, id, part, state);
    }
    assert_eq!(shell.state(id), Failed);
    shell.crash(id);
    shell.send(id, Event::Restart { by_parent: false });
    let iterations = json!({"CREATED": 0, "RUNNING": 2, "SUCCESS": 1});
    assert_eq!((shell.state(id), shell.outputs(id, "each_items")["iterations"].clone()), (Running, iterations));
    end(&mut shell, id, 0, Success);
    end(&mut shell, id, 2, Success);
    assert_eq!((shell.task_state(id, "each_items"), shell.created.len()), (Success, 4));
}

#[test]
fn a_file_without_parts_and_a_flow_that_is_not_there_fail_the_task() {
    let mut shell = Shell::new(&[&items("wait: true"), &child(FAIL)]);
    let id = shell.start("f", json!({"file": "kestra:///file"}));
    report(&mut shell, "each_split", json!({"splits": "kestra:///gone"}), None);
    assert_eq!((shell.task_state(id, "each_items"), shell.state(id)), (Failed, Failed));
    let mut shell = Shell::new(&[&items("wait: true")]);
    shell.files.insert("kestra:///splits".to_owned(), "kestra:///part0".to_owned());
    let id = shell.start("f", json!({"file": "kestra:///file"}));
    report(&mut shell, "each_split", json!({"splits": "kestra:///splits"}), None);
    assert!(shell.messages(id).iter().any(|line| line.contains("Unable to find flow")), "{:?}", shell.messages(id));
    assert_eq!(shell.state(id), Failed);
}
