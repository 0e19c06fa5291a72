//! One task by itself, which is only known when an execution runs.

use indexmap::IndexMap;
use windhover_types::{Severity, Violation};

use super::{
    Mode,
    check::Ids,
    report::Report,
    tasks::{Tasks, Within},
};
use crate::{Limits, ListKind, Task, yaml};

/// The task of a YAML document, for a flow of this namespace and id. It needs no id of its own.
///
/// # Errors
/// What is wrong with it, warnings left out; of a disabled task, that it is one.
pub fn compile_task(source: &str, namespace: &str, flow_id: &str) -> Result<Task, Vec<Violation>> {
    let (node, problems) = yaml::parse(source, &Limits::default());
    let mut report = Report::new(Mode::Strict);
    for problem in problems {
        report.problem(problem);
    }
    let task = node.and_then(|node| {
        let mut tasks = Tasks {
            report: &mut report,
            flow_id: flow_id.to_owned(),
            namespace: namespace.to_owned(),
            worker_group: None,
            ids: Ids::default(),
            index: IndexMap::new(),
        };
        tasks.read(&node, "", &Within { parent: None, list: ListKind::Main, disabled: false })
    });
    let mut errors = report.finish();
    errors.retain(|violation| violation.severity == Severity::Error && violation.path != "id");
    match task {
        Some(task) if errors.is_empty() => Ok(task),
        _ if errors.is_empty() => Err(vec![Violation {
            severity: Severity::Error,
            path: "disabled".to_owned(),
            line: 0,
            column: 0,
            message: "the task is disabled".to_owned(),
            suggestion: None,
            unsupported: false,
        }]),
        _ => Err(errors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TaskKind;

    fn messages(source: &str) -> Vec<String> {
        let errors = compile_task(source, "a.b", "f").err().unwrap_or_default();
        errors.into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn a_task_is_read_by_itself_and_says_what_is_wrong_with_it() {
        let task = compile_task("{type: io.kestra.plugin.core.debug.Return, format: '{{ 1 + 1 }}'}", "a.b", "f");
        assert!(matches!(task, Ok(task) if matches!(task.kind, TaskKind::Runnable(_))));
        for (source, reason) in [
            ("id: a", "type: must not be null"),
            ("[]", "expected a map"),
            ("{id: a, type: io.kestra.plugin.core.debug.Return, formt: x}", "Unrecognized field \"formt\""),
            ("{id: a, type: io.kestra.plugin.core.debug.Return, disabled: true}", "the task is disabled"),
            ("{id: a, type: ", ""),
        ] {
            let messages = messages(source);
            assert!(messages.iter().any(|message| message.contains(reason)), "{source}: {messages:?}");
        }
    }
}
