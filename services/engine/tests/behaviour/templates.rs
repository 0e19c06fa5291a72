//! Template: none are kept (flow model reference 5.3).

use serde_json::json;
use windhover_types::State;

use crate::{LOG, flow, run};

#[test]
fn a_template_task_fails_with_the_name_of_what_is_missing_and_the_flows_errors_run() {
    let source = flow(&format!(
        "tasks:
  - id: t
    type: io.kestra.core.tasks.flows.Template
    namespace: company.{{{{ 'team' }}}}
    templateId: shared
    args: {{a: '{{{{ flow.id }}}}'}}
    errors:
      - {{id: of_the_template, {LOG}}}
errors:
  - {{id: e, {LOG}}}"
    ));
    let (shell, id) = run(&source);
    assert_eq!(shell.summary(id), ["t FAILED", "e SUCCESS"]);
    assert_eq!(shell.state(id), State::Failed);
    assert_eq!(shell.outputs(id, "t"), json!({"args": {"a": "f"}}));
    let told = &shell.messages(id)[0];
    assert!(told.starts_with("ERROR Can't find flow template 'company.team.shared'"), "{told}");
}
