//! Inputs and outputs of type SECRET (flow model reference 2.2, 2.6, 3.7; 1.x reference 2.2, 3.3).

use std::sync::Arc;

use serde_json::{Value, json};
use windhover_engine::{
    Event, Fact, FactValue, Facts, FlowTriggerError, From, Repeat, Run, UpstreamChange, flow_trigger, repeat,
    window_offer,
};
use windhover_types::{Id, JsonMap, State};

use crate::{
    flow,
    support::{Shell, TestCipher, ended},
};

const KEY: &str = "tr0ub4dor";
const INPUTS: &str = "inputs: [{id: db.key, type: SECRET}, {id: name, type: STRING, required: false}]\n";

fn given() -> Value {
    json!({"db": {"key": TestCipher::value(KEY)}, "name": "n"})
}

/// Runs it; the key can be read nowhere.
fn started(source: &str) -> (Shell, Id) {
    let mut shell = Shell::new(&[source]);
    shell.hidden = Some(KEY);
    let id = shell.start("f", given());
    (shell, id)
}

#[test]
fn expressions_see_the_plain_value_and_nothing_that_is_kept_or_said_does() {
    let source = flow(&format!(
        "{INPUTS}tasks:
  - id: if
    type: io.kestra.plugin.core.flow.If
    condition: \"{{{{ inputs.db.key == '{KEY}' }}}}\"
    then:
      - {{id: length, type: io.kestra.plugin.core.debug.Return, format: '{{{{ inputs.db.key | length }}}}'}}
      - {{id: say, type: io.kestra.plugin.core.log.Log, message: '{{{{ inputs.db.key | upper }}}} {{{{ inputs.db.key }}}}'}}
      - {{id: known, type: io.kestra.plugin.core.log.Log, message: 'it was {KEY}, in base64 dHIwdWI0ZG9y'}}
      - {{id: fail, type: io.kestra.plugin.core.execution.Fail, errorMessage: 'not {{{{ inputs.db.key }}}}', allowFailure: true}}
      - {{id: wrong, type: io.kestra.plugin.core.debug.Return, format: '{{{{ inputs.db.key | toJson | number }}}}', allowFailure: true}}
outputs:
  - {{id: again, type: SECRET, value: '{{{{ inputs.db.key }}}}'}}"
    ));
    let (shell, id) = started(&source);
    assert_eq!(shell.state(id), State::Warning, "{:?} {:?}", shell.summary(id), shell.messages(id));
    assert_eq!(shell.outputs(id, "length"), json!({"value": "9"}));
    let messages = shell.messages(id);
    for told in ["INFO TR0UB4DOR ******", "INFO it was ******, in base64 ******", "ERROR not ******"] {
        assert!(messages.iter().any(|message| message == told), "{told}: {messages:?}");
    }
    let outputs = shell.execution(id).outputs.clone().expect("outputs");
    assert_eq!(outputs["again"], TestCipher::value(KEY));
    let asked = shell.asked.iter().filter(|fact| **fact == Fact::Cipher).count();
    assert_eq!(asked, 1, "once for all steps in memory");
}

#[test]
fn a_job_carries_it_sealed_also_when_its_templates_do_not_read_it() {
    let source = flow(&format!(
        "{INPUTS}tasks:
  - {{id: reads, type: io.kestra.plugin.core.log.Log, message: '{{{{ inputs.name }}}} {{{{ inputs.db.key }}}}', timeout: PT1H}}
  - {{id: blind, type: io.kestra.plugin.core.log.Log, message: hello, timeout: PT1H}}"
    ));
    let (mut shell, id) = started(&source);
    assert_eq!(shell.job("reads").1.variables["inputs"], given());
    shell.report("reads", State::Success);
    let only = json!({"db": {"key": TestCipher::value(KEY)}});
    assert_eq!(shell.job("blind").1.variables["inputs"], only);
    shell.crash(id);
    shell.load(id);
    shell.report("blind", State::Success);
    assert_eq!(shell.state(id), State::Success);
}

#[test]
fn without_a_key_what_reads_the_inputs_fails_and_says_which_setting_lacks() {
    let source = flow(&format!(
        "{INPUTS}tasks:
  - {{id: blind, type: io.kestra.plugin.core.log.Log, message: hello}}
  - {{id: reads, type: io.kestra.plugin.core.log.Log, message: '{{{{ inputs.db.key }}}}'}}"
    ));
    let mut shell = Shell::new(&[&source]);
    shell.cipher = Err("set windhover.master-key".to_owned());
    let id = shell.start("f", given());
    assert_eq!(shell.summary(id), ["blind SUCCESS", "reads FAILED"]);
    let messages = shell.messages(id);
    assert!(messages.iter().any(|message| message.contains("set windhover.master-key")), "{messages:?}");
}

#[test]
fn a_value_that_was_changed_fails_what_reads_it() {
    let source = flow(&format!(
        "{INPUTS}tasks:
  - {{id: reads, type: io.kestra.plugin.core.log.Log, message: '{{{{ inputs.db.key }}}}'}}"
    ));
    let mut shell = Shell::new(&[&source]);
    let mut given = given();
    given["db"]["key"]["value"] = json!("sealed:zz");
    let id = shell.start("f", given);
    assert_eq!(shell.summary(id), ["reads FAILED"]);
    let told = shell.messages(id).join("\n");
    assert!(told.contains("the input `db.key` cannot be read: the encrypted value was changed"), "{told}");
}

#[test]
fn a_subflow_gets_it_sealed_anew_and_gives_secret_outputs_back_sealed() {
    let parent = flow(&format!(
        "{INPUTS}tasks:
  - {{id: sub, type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: child, inputs: {{key: '{{{{ inputs.db.key }}}}!'}}}}
  - {{id: check, type: io.kestra.plugin.core.debug.Return, format: \"{{{{ outputs.sub.outputs.token == '{KEY}!?' }}}} {{{{ outputs.sub.state }}}}\"}}
  - {{id: say, type: io.kestra.plugin.core.log.Log, message: '{{{{ outputs.sub.outputs }}}}'}}
  - {{id: job, type: io.kestra.plugin.core.log.Log, message: '{{{{ outputs.sub.outputs.token }}}}', timeout: PT1H}}"
    ));
    let child = "id: child
namespace: company.team
inputs: [{id: key, type: SECRET, validator: 'tr.*!'}]
tasks:
  - {id: t, type: io.kestra.plugin.core.log.Log, message: '{{ inputs.key }}'}
outputs:
  - {id: token, type: SECRET, value: '{{ inputs.key }}?'}
";
    let mut shell = Shell::new(&[&parent, child]);
    shell.hidden = Some(KEY);
    let id = shell.start("f", given());
    let made = shell.child("child");
    assert_eq!(
        *shell.execution(made).inputs,
        *json!({"key": TestCipher::value("tr0ub4dor!")}).as_object().expect("a map")
    );
    assert_eq!(shell.messages(made), ["INFO ******"]);
    assert_eq!(shell.outputs(id, "sub")["outputs"], json!({"token": TestCipher::value("tr0ub4dor!?")}));
    assert!(shell.execution(id).marks.sealed);
    assert_eq!(shell.outputs(id, "check"), json!({"value": "true SUCCESS"}));
    assert!(shell.messages(id).contains(&"INFO {\"token\":\"******\"}".to_owned()), "{:?}", shell.messages(id));
    assert_eq!(shell.job("job").1.variables["outputs"]["sub"]["outputs"]["token"], TestCipher::value("tr0ub4dor!?"));
    let refused = flow("tasks:
  - {id: sub, type: io.kestra.plugin.core.flow.Subflow, namespace: company.team, flowId: child, inputs: {key: hunter2}}");
    let mut shell = Shell::new(&[&refused, child]);
    shell.hidden = Some("hunter2");
    let id = shell.start("f", json!({}));
    assert_eq!(shell.task_state(id, "sub"), State::Failed);
    assert!(shell.messages(id)[0].contains("it must match the pattern `tr.*!`"), "{:?}", shell.messages(id));
}

#[test]
fn what_resumes_a_pause_is_sealed_whether_it_comes_plain_or_sealed() {
    let source = flow(&format!(
        "tasks:
  - id: pause
    type: io.kestra.plugin.core.flow.Pause
    onResume: [{{id: code, type: SECRET, validator: 'tr.*'}}]
  - {{id: check, type: io.kestra.plugin.core.debug.Return, format: \"{{{{ outputs.pause.onResume.code == '{KEY}' }}}}\"}}"
    ));
    for code in [json!(KEY), TestCipher::value(KEY)] {
        let mut shell = Shell::new(&[&source]);
        shell.hidden = Some(KEY);
        let id = shell.start("f", json!({}));
        let wrong = JsonMap::from_iter([("code".to_owned(), json!("hunter2"))]);
        let refusal = shell.refused(id, Event::Resume { inputs: wrong, by: None, undeclared: false });
        assert!(!refusal.message.contains("hunter2"), "{refusal:?}");
        let inputs = JsonMap::from_iter([("code".to_owned(), code)]);
        shell.send(id, Event::Resume { inputs, by: None, undeclared: false });
        assert_eq!(shell.state(id), State::Success, "{:?}", shell.messages(id));
        assert_eq!(shell.outputs(id, "pause")["onResume"], json!({"code": TestCipher::value(KEY)}));
        assert_eq!(shell.outputs(id, "check"), json!({"value": "true"}));
    }
}

#[test]
fn sealed_outputs_of_a_worker_are_opened_and_kept_by_a_replay() {
    let source = flow(&format!(
        "tasks:
  - {{id: job, type: io.kestra.plugin.core.log.Log, message: hello, timeout: PT1H}}
  - {{id: check, type: io.kestra.plugin.core.debug.Return, format: \"{{{{ outputs.job.body == '{KEY}' }}}}\"}}
  - {{id: loop, type: io.kestra.plugin.core.flow.ForEach, values: [1], tasks: [{{id: in, type: io.kestra.plugin.core.log.Log, message: '{{{{ outputs }}}}'}}]}}"
    ));
    let mut shell = Shell::new(&[&source]);
    shell.hidden = Some(KEY);
    let id = shell.start("f", json!({}));
    let (_, job) = shell.job("job");
    let Event::JobEnded { task_run, dispatch, mut result } = ended(&job, State::Success, shell.now) else {
        unreachable!("it is an end")
    };
    result.outputs = Some(json!({"list": [{"body": TestCipher::value(KEY)}], "body": TestCipher::value(KEY)}));
    shell.send(id, Event::JobEnded { task_run, dispatch, result });
    assert_eq!(shell.outputs(id, "check"), json!({"value": "true"}));
    let told = shell.messages(id).pop().expect("a line");
    assert!(told.contains("\"body\":\"******\""), "{told}");
    let runs: Vec<_> = shell.task_runs(id).cloned().collect();
    let again = repeat(Repeat {
        old: shell.execution(id),
        task_runs: &runs,
        from: From::TaskRun(shell.task_run(id, "check").id),
        id: Id::derived(shell.now, &[b"again"]),
        flow: &shell.flows["f"],
        revision: 1,
        inputs: None,
        at: shell.now,
    });
    let again = shell.start_new(again.expect("it can be replayed"));
    assert_eq!(shell.outputs(again, "check"), json!({"value": "true"}));
}

fn listener(window: &str) -> String {
    format!(
        "id: listener
namespace: company.monitoring
inputs: [{{id: token, type: SECRET}}, {{id: own, type: SECRET, defaults: hunter2}}]
tasks:
  - {{id: t, type: io.kestra.plugin.core.log.Log, message: '{{{{ trigger.outputs.token }}}} {{{{ inputs.token }}}}'}}
triggers:
  - id: watch
    type: io.kestra.plugin.core.trigger.Flow
    inputs: {{token: '{{{{ trigger.outputs.token }}}}'}}
{window}"
    )
}

#[test]
fn a_flow_trigger_passes_it_on_sealed() {
    let upstream = flow(&format!(
        "{INPUTS}tasks:
  - {{id: t, type: io.kestra.plugin.core.log.Log, message: hello}}
outputs:
  - {{id: token, type: SECRET, value: '{{{{ inputs.db.key }}}}'}}"
    ));
    let window = "    preconditions:\n      id: p\n      flows: [{namespace: company.team, flowId: f}]\n";
    for window in [None, Some(window)] {
        let mut shell = Shell::new(&[&upstream, &listener(window.unwrap_or_default())]);
        shell.hidden = Some(KEY);
        let id = shell.start("f", given());
        let stored = &shell.stored[&id];
        let rows: Vec<_> = stored.task_runs.values().cloned().collect();
        let run = Run::from_stored(stored.execution.clone(), rows, 1);
        let flow = Arc::clone(&shell.flows["f"]);
        let listening = Arc::clone(&shell.flows["listener"]);
        let trigger = &listening.triggers[0];
        let none = Facts::new();
        let facts = Facts::from([(Fact::Cipher, FactValue::Cipher(shell.cipher.clone()))]);
        let change = |facts| UpstreamChange { flow: &flow, run: &run, facts, to: State::Success };
        if window.is_some() {
            let offer =
                window_offer(&change(&facts), &listening, 1, trigger, &shell.env).expect("no error").expect("an offer");
            assert_eq!(offer.inputs, Ok(JsonMap::from_iter([("token".to_owned(), TestCipher::value(KEY))])));
            assert!(!format!("{offer:?}").contains(KEY));
            continue;
        }
        let unknown = flow_trigger(&change(&none), &listening, 1, trigger, &shell.env);
        assert!(matches!(unknown, Err(FlowTriggerError::Needs(facts)) if facts == [Fact::Cipher]));
        let new =
            flow_trigger(&change(&facts), &listening, 1, trigger, &shell.env).expect("no error").expect("it fires");
        assert!(!format!("{new:?}").contains(KEY) && !format!("{new:?}").contains("hunter2"), "{new:?}");
        assert_eq!(TestCipher::opened(Value::Object((*new.inputs).clone())), json!({"token": KEY, "own": "hunter2"}));
        let started = shell.start_new(new);
        assert_eq!(shell.messages(started), ["INFO ****** ******"]);
    }
}
