//! The flows that are measured.

pub(crate) const NAMESPACE: &str = "bench";

/// Two tasks that only compute.
pub(crate) const TWO_TASK: &str = "id: two-task
namespace: bench
tasks:
  - id: values
    type: io.kestra.plugin.core.output.OutputValues
    values:
      greeting: \"hello {{ execution.id }}\"
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: \"{{ outputs.values.values.greeting }}\"
";

/// Two tasks that need a worker: requests to a server of the load generator.
pub(crate) fn worker_task(url: &str) -> String {
    format!(
        "id: worker-task
namespace: bench
tasks:
  - id: first
    type: io.kestra.plugin.core.http.Request
    uri: {url}
  - id: second
    type: io.kestra.plugin.core.http.Request
    uri: {url}?previous={{{{ outputs.first.code }}}}
"
    )
}

/// A loop of `iterations` over one inline task.
pub(crate) fn for_each(iterations: u32) -> String {
    format!(
        "id: foreach-{iterations}
namespace: bench
tasks:
  - id: loop
    type: io.kestra.plugin.core.flow.ForEach
    values: \"{{{{ range(1, {iterations}) }}}}\"
    tasks:
      - id: say
        type: io.kestra.plugin.core.debug.Return
        format: \"{{{{ taskrun.value }}}}\"
"
    )
}

/// Changes each half second, `times` over, without a worker.
pub(crate) fn ticking(times: u32) -> String {
    format!(
        "id: ticking
namespace: bench
tasks:
  - id: loop
    type: io.kestra.plugin.core.flow.ForEach
    values: \"{{{{ range(1, {times}) }}}}\"
    tasks:
      - id: wait
        type: io.kestra.plugin.core.flow.Pause
        delay: PT0.5S
"
    )
}
