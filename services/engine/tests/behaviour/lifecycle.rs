//! From creation to end: schedule times, kill, doubled events, reloading, contexts of jobs.

use serde_json::json;
use windhover_engine::{Event, Fact, Timer, open_jobs, open_timers};
use windhover_types::State::{Created, Failed, Killed, Killing, Running, Submitted, Success};

use crate::{
    JOB, LOG, flow, run,
    support::{self, Shell},
};

#[test]
fn an_execution_with_a_schedule_time_waits_for_it() {
    let mut shell = Shell::new(&[&flow(&format!("tasks:\n  - {{id: a, {LOG}}}"))]);
    let at = shell.now.plus(std::time::Duration::from_secs(60));
    let new = windhover_engine::NewExecution { schedule_time: Some(at), ..shell.new_execution("f", json!({})) };
    let id = shell.start_new(new);
    assert_eq!(shell.history(id), [Created]);
    shell.send(id, Event::Advance);
    assert_eq!(shell.timers, [(id, Timer::Schedule, at)]);
    shell.fire_next();
    assert_eq!(shell.history(id), [Created, Running, Success]);
    assert!(shell.execution(id).state.entries()[1].at >= at);
}

#[test]
fn a_sleep_ends_when_its_timer_fires() {
    let source = flow("tasks:\n  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT5S}");
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    assert_eq!(shell.task_history(id, "nap"), [Created, Submitted, Running]);
    shell.crash(id);
    let before = shell.now;
    shell.fire_next();
    assert_eq!(shell.now, before.plus(std::time::Duration::from_secs(5)));
    assert_eq!(shell.history(id), [Created, Running, Success]);
}

#[test]
fn a_kill_waits_for_running_attempts_and_runs_no_handlers() {
    // Case 121.
    let source = flow(&format!(
        "tasks:
  - id: p
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {{id: running, {JOB}}}
      - {{id: waiting, {JOB}}}
      - {{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}}
  - {{id: next, {LOG}}}
errors: [{{id: e, {LOG}}}]
finally: [{{id: fin, {LOG}}}]
outputs: [{{id: o, type: STRING, value: x}}]"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let (_, job) = shell.job("running");
    shell.send(id, support::started(&job, shell.now));
    shell.send(id, Event::Kill);
    assert_eq!(shell.state(id), Killing);
    assert_eq!(shell.summary(id), ["p KILLING", "running KILLING", "waiting KILLING", "nap KILLED"]);
    assert_eq!(shell.cancelled.len(), 2);
    shell.send(id, Event::Kill);
    assert_eq!(shell.cancelled.len(), 2, "a second wish changes nothing");
    shell.report("waiting", Killed);
    shell.report("running", Killed);
    assert_eq!(shell.summary(id), ["p KILLED", "running KILLED", "waiting KILLED", "nap KILLED"]);
    assert_eq!(shell.history(id), [Created, Running, Killing, Killed]);
    assert!(shell.timers.is_empty(), "{:?}", shell.timers);
    assert_eq!(shell.execution(id).outputs, None);
}

#[test]
fn a_kill_ends_without_its_workers_when_their_time_is_over_and_hears_them_all_the_same() {
    let mut shell = Shell::new(&[&flow(&format!("tasks:\n  - {{id: a, {JOB}}}"))]);
    let id = shell.start("f", json!({}));
    let (_, job) = shell.job("a");
    shell.send(id, support::started(&job, shell.now));
    shell.send(id, Event::Kill);
    let asked = shell.now;
    shell.crash(id);
    assert!(shell.fire_next());
    assert_eq!(shell.now, asked.plus(shell.env.limits.kill_grace));
    assert_eq!((shell.state(id), shell.task_state(id, "a")), (Killed, Killed));
    let row = shell.execution(id).clone();
    shell.crash(id);
    shell.report("a", Success);
    assert_eq!(*shell.execution(id), row);
    assert_eq!(shell.task_state(id, "a"), Killed);
    assert_eq!(shell.task_run(id, "a").attempts[0].state.current(), Success);
}

#[test]
fn a_kill_before_the_schedule_time_ends_at_once() {
    let mut shell = Shell::new(&[&flow(&format!("tasks:\n  - {{id: a, {LOG}}}"))]);
    let at = shell.now.plus(std::time::Duration::from_secs(60));
    let new = windhover_engine::NewExecution { schedule_time: Some(at), ..shell.new_execution("f", json!({})) };
    let id = shell.start_new(new);
    shell.send(id, Event::Kill);
    assert_eq!(shell.history(id), [Created, Killing, Killed]);
    assert!(shell.timers.is_empty());
}

#[test]
fn doubled_and_outdated_events_change_nothing() {
    let source =
        flow(&format!("tasks:\n  - {{id: a, {JOB}, retry: {{type: constant, interval: PT1S, maxAttempts: 3}}}}"));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    let mut told = vec![Event::Advance];
    for attempt in 1..3 {
        let (_, job) = shell.job("a");
        for event in [
            support::started(&job, shell.now),
            support::ended(&job, Failed, shell.now),
            Event::TimerFired { timer: Timer::Retry { task_run: job.task_run, attempt } },
        ] {
            assert!(!shell.apply(id, event.clone()).is_empty());
            told.push(event);
            for event in &told {
                assert!(shell.apply(id, event.clone()).is_empty(), "{event:?}");
            }
        }
    }
    shell.report("a", Success);
    told.push(Event::Kill);
    for event in &told {
        assert!(shell.apply(id, event.clone()).is_empty(), "{event:?}");
    }
}

#[test]
fn after_a_reload_only_the_outputs_that_are_read_are_asked_for() {
    let source = flow(&format!(
        "tasks:
  - {{id: a, type: io.kestra.plugin.core.debug.Return, format: one}}
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [x, y]
    tasks:
      - {{id: b, type: io.kestra.plugin.core.debug.Return, format: '{{{{ taskrun.value }}}}'}}
  - {{id: wait, {JOB}}}
  - {{id: r, type: io.kestra.plugin.core.debug.Return, format: '{{{{ outputs.a.value }}}} {{{{ outputs.b | keys }}}} {{{{ outputs.none.value ?? 0 }}}}'}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    shell.crash(id);
    shell.report("wait", Success);
    assert_eq!(shell.state(id), Success, "{:?}", shell.messages(id));
    assert_eq!(shell.outputs(id, "r"), json!({ "value": "one [\"x\",\"y\"] 0" }));
    let asked: Vec<Fact> = ["a", "b", "none"].map(|task| Fact::Outputs { task_id: Some(task.to_owned()) }).to_vec();
    assert_eq!(shell.asked, asked);
}

#[test]
fn a_job_carries_the_roots_that_its_templates_touch() {
    let source = flow(
        "variables: {v: 1}
tasks:
  - {id: a, type: io.kestra.plugin.core.debug.Return, format: one}
  - {id: b, type: io.kestra.plugin.core.debug.Return, format: two}
  - {id: job, type: io.kestra.plugin.core.log.Log, message: '{{ outputs.a.value }} {{ inputs.i }}', timeout: PT1H}
  - {id: all, type: io.kestra.plugin.core.log.Log, message: \"{{ render('{{ vars.v }}') }}\", timeout: PT1H}
",
    );
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({ "i": 5 }));
    let (_, job) = shell.job("job");
    assert_eq!(job.variables["outputs"], json!({ "a": { "value": "one" } }));
    assert_eq!(job.variables["inputs"], json!({ "i": 5 }));
    assert_eq!(job.variables["task"]["id"], "job");
    assert_eq!(job.variables["flow"]["namespace"], "company.team");
    assert!(!job.variables.contains_key("vars") && !job.variables.contains_key("tasks"));
    shell.report("job", Success);
    let (_, job) = shell.job("all");
    assert_eq!(job.variables["vars"], json!({ "v": 1 }));
    assert_eq!(job.variables["outputs"]["b"], json!({ "value": "two" }));
    assert_eq!(job.variables["tasks"]["job"], json!({ "state": "SUCCESS" }));
    let flow = shell.flows["f"].clone();
    let stored = &shell.stored[&id];
    let open = stored.task_runs.values().filter(|run| run.is_open()).cloned().collect();
    let mut run = windhover_engine::Run::from_stored(stored.execution.clone(), open, stored.task_runs.len() as u32);
    let moment = windhover_engine::Moment { now: shell.now, seed: 1 };
    let mut facts = windhover_engine::Facts::new();
    let needed = open_jobs(&flow, &mut run, &facts, moment, &shell.env).expect_err("outputs are missing");
    assert_eq!(needed, [Fact::Outputs { task_id: None }]);
    let ended = stored.task_runs.values().filter(|run| !run.is_open()).cloned().collect();
    facts.insert(needed[0].clone(), windhover_engine::FactValue::Outputs(ended));
    assert_eq!(open_jobs(&flow, &mut run, &facts, moment, &shell.env).expect("all is known"), [job]);
}

#[test]
fn a_job_in_a_long_loop_carries_only_the_outputs_that_it_looks_at() {
    for (read, expected) in [
        ("outputs.x[taskrun.value].value", json!({ "7": { "value": "7!" } })),
        ("outputs.x['3'].value ~ (outputs.x.nobody ?? '') ~ (outputs.x is defined)", json!({ "3": { "value": "3!" } })),
        ("outputs.x['3'].value ~ nothing", json!({ "3": { "value": "3!" } })),
        ("outputs.x | length", json!(100)),
        ("outputs.x['3'].value ~ now()", json!(100)),
    ] {
        let source = flow(&format!(
            "tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    concurrencyLimit: 0
    values: \"{{{{ range(1, 100) }}}}\"
    tasks:
      - {{id: x, type: io.kestra.plugin.core.debug.Return, format: '{{{{ taskrun.value }}}}!'}}
  - id: again
    type: io.kestra.plugin.core.flow.ForEach
    values: ['7']
    tasks:
      - {{id: job, type: io.kestra.plugin.core.log.Log, message: \"{{{{ {read} }}}}\", timeout: PT1H}}"
        ));
        let mut shell = Shell::new(&[&source]);
        shell.start("f", json!({}));
        let (_, job) = shell.job("job");
        let carried = &job.variables["outputs"]["x"];
        match expected.as_u64() {
            Some(all) => assert_eq!(carried.as_object().expect("a map").len() as u64, all, "{read}"),
            None => assert_eq!(*carried, expected, "{read}"),
        }
    }
}

#[test]
fn the_timers_that_are_set_can_be_derived_from_the_state() {
    let source = flow(&format!(
        "tasks:
  - id: p
    type: io.kestra.plugin.core.flow.Parallel
    tasks:
      - {{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}}
      - {{id: again, {JOB}, retry: {{type: random, minInterval: PT1M, maxInterval: PT9M, maxAttempts: 2}}}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let id = shell.start("f", json!({}));
    shell.report("again", Failed);
    let stored = &shell.stored[&id];
    let open = stored.task_runs.values().filter(|run| run.is_open()).cloned().collect();
    let run = windhover_engine::Run::from_stored(stored.execution.clone(), open, stored.task_runs.len() as u32);
    for (timer, at) in open_timers(&shell.flows["f"], &run, &shell.env) {
        let set = shell.timers.iter().find(|(_, known, _)| *known == timer).expect("it was set");
        assert!(at.is_none_or(|at| at == set.2), "{timer:?}");
    }
    assert_eq!(shell.timers.len(), 2);
}

#[test]
fn expressions_see_the_execution() {
    let source = flow(
        "labels: {a.b: nested}
variables: {v: from-flow}
tasks:
  - id: r
    type: io.kestra.plugin.core.debug.Return
    format: '{{ flow.id }} {{ flow.namespace }} {{ flow.revision }} {{ execution.id }} {{ execution.state }} {{ task.id }} {{ taskrun.attemptsCount }} {{ vars.v }} {{ labels.system.correlationId }} {{ parents }} {{ outputs.r is defined }} {{ trigger is defined }} {{ inputs is defined }}'
",
    );
    let (shell, id) = run(&source);
    let expected = format!("f company.team 1 {id} RUNNING r 0 from-flow {id} [] false false false");
    assert_eq!(shell.outputs(id, "r"), json!({ "value": expected }), "{:?}", shell.messages(id));
}

#[test]
fn metadata_of_task_runs_is_the_same_whenever_they_are_made() {
    let source = flow(&format!("tasks:\n  - {{id: a, {LOG}}}\n  - {{id: b, {JOB}}}"));
    let ids = |shell: &Shell, id| shell.task_runs(id).map(|run| run.id).collect::<Vec<_>>();
    let mut shell = Shell::new(&[&source]);
    let new = shell.new_execution("f", json!({}));
    let id = shell.start_new(new.clone());
    let mut later = Shell::new(&[&source]);
    later.now = later.now.plus(std::time::Duration::from_secs(3_600));
    later.start_new(new);
    assert_eq!(ids(&shell, id), ids(&later, id));
    assert!(ids(&shell, id).iter().all(|task_run| task_run.time() == id.time()));
    assert_eq!(shell.state(id), Running);
}
