//! Tasks of `log`, `debug`, `output`, `execution`, `metric`, `templating` and `trigger`.

use super::TypeDoc;
use crate::table::core;

pub(super) const DOCS: &[TypeDoc] = &[
    TypeDoc {
        name: core!("log.Log"),
        doc: "Writes lines to the log of the execution.",
        properties: &[
            ("message", "", "A text, or a list of texts: a line each."),
            ("level", "INFO", "Level of the lines."),
        ],
        outputs: &[],
        example: "id: hello
type: io.kestra.plugin.core.log.Log
message: \"Hello from {{ flow.id }}\"
",
    },
    TypeDoc {
        name: core!("log.Fetch"),
        doc: "Stores log lines of an execution as a file.",
        properties: &[
            ("namespace", "", "Namespace of the flow; with `flowId` and `executionId`."),
            ("flowId", "", "Id of the flow; with `namespace` and `executionId`."),
            ("executionId", "{{ execution.id }}", "Whose lines."),
            ("tasksId", "", "Only lines of these tasks; all when it is not given."),
            ("level", "INFO", "Only lines of this level and above."),
        ],
        outputs: &[("size", "number", "How many lines."), ("uri", "uri", "The file, a line each (ION).")],
        example: "id: errors
type: io.kestra.plugin.core.log.Fetch
level: ERROR
",
    },
    TypeDoc {
        name: core!("log.PurgeLogs"),
        doc: "Deletes log lines of executions and triggers.",
        properties: &[
            ("namespace", "", "Only of this namespace and those below; exact with `flowId`. All when it is not given."),
            ("flowId", "", "Only of this flow."),
            ("executionId", "", "Only of this execution."),
            ("logLevels", "", "Only of these levels; all when it is not given."),
            ("startDate", "", "Only lines from then on."),
            ("endDate", "", "Only lines up to then."),
        ],
        outputs: &[("count", "number", "How many lines were deleted.")],
        example: "id: purge
type: io.kestra.plugin.core.log.PurgeLogs
endDate: \"{{ now() | dateAdd(-1, 'MONTHS') }}\"
",
    },
    TypeDoc {
        name: core!("debug.Return"),
        doc: "Renders a text and gives it as its output: to look at values, or to hand them on.",
        properties: &[("format", "", "The text.")],
        outputs: &[("value", "text", "What it rendered to.")],
        example: "id: day
type: io.kestra.plugin.core.debug.Return
format: \"{{ execution.startDate | date('yyyy-MM-dd') }}\"
",
    },
    TypeDoc {
        name: core!("debug.Echo"),
        doc: "Writes a line to the log; an older form of log.Log.",
        properties: &[("format", "", "The line."), ("level", "INFO", "Its level.")],
        outputs: &[],
        example: "id: hello
type: io.kestra.plugin.core.debug.Echo
format: \"Hello from {{ flow.id }}\"
",
    },
    TypeDoc {
        name: core!("output.OutputValues"),
        doc: "Gives values as its outputs, each with its type.",
        properties: &[("values", "", "The values by their names; texts in them are rendered, at any depth.")],
        outputs: &[("values", "map", "What they rendered to.")],
        example: "id: outputs
type: io.kestra.plugin.core.output.OutputValues
values:
  day: \"{{ execution.startDate }}\"
  limit: 10
",
    },
    TypeDoc {
        name: core!("execution.Fail"),
        doc: "Fails, always or on a condition.",
        properties: &[
            ("condition", "", "Fails only when this renders to something true; always when it is not given."),
            ("errorMessage", "Task failure", "The reason."),
        ],
        outputs: &[],
        example: "id: fail
type: io.kestra.plugin.core.execution.Fail
condition: \"{{ labels.stage == 'forbidden' }}\"
errorMessage: \"This stage must not run\"
",
    },
    TypeDoc {
        name: core!("execution.Assert"),
        doc: "Fails unless all of its conditions hold.",
        properties: &[
            ("conditions", "", "Texts; each must render to something true."),
            ("errorMessage", "", "A line to write when one does not hold."),
        ],
        outputs: &[("failed", "number", "How many conditions did not hold."), ("passed", "number", "How many held.")],
        example: "id: check
type: io.kestra.plugin.core.execution.Assert
conditions:
  - \"{{ flow.namespace == 'company.team' }}\"
",
    },
    TypeDoc {
        name: core!("execution.Labels"),
        doc: "Adds labels to the execution; of equal keys the new value counts.",
        properties: &[(
            "labels",
            "",
            "A map, a list of `{key, value}`, or a text that renders to one. Keys that begin with `system.` are refused.",
        )],
        outputs: &[],
        example: "id: label
type: io.kestra.plugin.core.execution.Labels
labels:
  day: \"{{ execution.startDate | date('yyyy-MM-dd') }}\"
",
    },
    TypeDoc {
        name: core!("execution.SetVariables"),
        doc: "Changes what `vars` shows in the rest of the execution.",
        properties: &[
            ("variables", "", "New variables and values; maps are merged, lists are appended."),
            ("overwrite", "true", "`false`: a variable that is there already is a failure."),
        ],
        outputs: &[],
        example: "id: remember
type: io.kestra.plugin.core.execution.SetVariables
variables:
  day: \"{{ execution.startDate }}\"
",
    },
    TypeDoc {
        name: core!("execution.UnsetVariables"),
        doc: "Takes variables away from `vars` for the rest of the execution.",
        properties: &[
            ("variables", "", "Their names; dots lead into maps."),
            ("ignoreMissing", "false", "One that is not there is no failure."),
        ],
        outputs: &[],
        example: "id: forget
type: io.kestra.plugin.core.execution.UnsetVariables
variables:
  - day
ignoreMissing: true
",
    },
    TypeDoc {
        name: core!("execution.Exit"),
        doc: "Ends the execution at once, in a state of one's choice.",
        properties: &[("state", "SUCCESS", "The state.")],
        outputs: &[],
        example: "id: enough
type: io.kestra.plugin.core.execution.Exit
state: WARNING
runIf: \"{{ labels.stage == 'dry-run' }}\"
",
    },
    TypeDoc {
        name: core!("execution.Count"),
        doc: "Counts the executions of flows and keeps the flows whose count is as an expression says.",
        properties: &[
            ("flows", "", "Which flows: a list of `{namespace, flowId}`. Needed unless there are `namespaces`."),
            ("namespaces", "", "All flows of these namespaces."),
            ("states", "", "Only executions in these states; all when it is not given."),
            ("startDate", "", "Only executions that began from then on."),
            ("endDate", "", "Only executions that began before; now when it is not given."),
            ("expression", "", "With the variable `count`: a flow is kept when this renders to `true`."),
        ],
        outputs: &[
            ("results", "list", "`namespace`, `flowId` and `count` of the flows that were kept."),
            ("total", "number", "The sum of their counts."),
        ],
        example: "id: silent
type: io.kestra.plugin.core.execution.Count
expression: \"{{ count == 0 }}\"
flows:
  - namespace: company.team
    flowId: nightly
startDate: \"{{ now() | dateAdd(-1, 'DAYS') }}\"
",
    },
    TypeDoc {
        name: core!("execution.Resume"),
        doc: "Resumes an execution that is paused.",
        properties: &[
            ("executionId", "", "Which execution."),
            ("namespace", "", "Namespace of its flow; with `flowId`."),
            ("flowId", "", "Id of its flow; with `namespace`."),
            ("inputs", "", "What the Pause asks for (`onResume`), by ids."),
        ],
        outputs: &[],
        example: "id: resume
type: io.kestra.plugin.core.execution.Resume
executionId: \"{{ trigger.executionId }}\"
inputs:
  approved: true
",
    },
    TypeDoc {
        name: core!("execution.PurgeExecutions"),
        doc: "Deletes executions that have ended, with what belongs to them.",
        properties: &[
            ("namespace", "", "Only of this namespace and those below; exact with `flowId`. All when it is not given."),
            ("flowId", "", "Only of this flow."),
            ("startDate", "", "Only executions from then on."),
            ("endDate", "", "Only executions up to then."),
            ("states", "", "Only executions in these states; all that have ended when it is not given."),
            ("purgeExecution", "true", "Delete the executions."),
            ("purgeLog", "true", "Delete their log lines."),
            ("purgeMetric", "true", "Delete their metrics."),
            ("purgeStorage", "true", "Delete their files."),
            ("batchSize", "100", "How many at a time."),
        ],
        outputs: &[
            ("executionsCount", "number", "Executions that were deleted."),
            ("logsCount", "number", "Log lines that were deleted."),
            ("storagesCount", "number", "Files that were deleted."),
            ("metricsCount", "number", "Metrics that were deleted."),
        ],
        example: "id: purge
type: io.kestra.plugin.core.execution.PurgeExecutions
endDate: \"{{ now() | dateAdd(-1, 'MONTHS') }}\"
states:
  - SUCCESS
",
    },
    TypeDoc {
        name: core!("metric.Publish"),
        doc: "Records numbers as metrics of the task run.",
        properties: &[(
            "metrics",
            "",
            "A list of `{type: counter | timer | gauge, name, value, description, tags}`; the value of a timer is a duration or milliseconds.",
        )],
        outputs: &[],
        example: "id: publish
type: io.kestra.plugin.core.metric.Publish
metrics:
  - type: counter
    name: rows
    value: \"{{ 40 + 2 }}\"
    tags:
      source: orders
",
    },
    TypeDoc {
        name: core!("templating.TemplatedTask"),
        doc: "Renders the YAML of a task and runs it in its own place.",
        properties: &[("spec", "", "YAML of one task that does work; it may not be a TemplatedTask again.")],
        outputs: &[],
        example: "id: templated
type: io.kestra.plugin.core.templating.TemplatedTask
spec: |
  id: inner
  type: io.kestra.plugin.core.debug.Return
  format: \"{{ flow.id }}\"
",
    },
    TypeDoc {
        name: core!("trigger.Toggle"),
        doc: "Enables or disables a trigger of a flow.",
        properties: &[
            ("trigger", "", "Id of the trigger."),
            ("flowId", "{{ flow.id }}", "Id of its flow."),
            ("enabled", "false", "Whether it shall act."),
        ],
        outputs: &[],
        example: "id: stop
type: io.kestra.plugin.core.trigger.Toggle
trigger: daily
enabled: false
",
    },
];
