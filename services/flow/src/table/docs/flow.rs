//! Tasks of `flow`: those that decide which tasks come next, and Sleep.

use super::TypeDoc;
use crate::table::core;

pub(super) const DOCS: &[TypeDoc] = &[
    TypeDoc {
        name: core!("flow.Sleep"),
        doc: "Waits for some time; needs no worker meanwhile.",
        properties: &[("duration", "", "How long.")],
        outputs: &[],
        example: "id: wait
type: io.kestra.plugin.core.flow.Sleep
duration: PT5S
",
    },
    TypeDoc {
        name: core!("flow.Sequential"),
        doc: "Runs tasks one after another: a group with `errors` and `finally` of its own.",
        properties: &[],
        outputs: &[],
        example: "id: group
type: io.kestra.plugin.core.flow.Sequential
tasks:
  - id: first
    type: io.kestra.plugin.core.log.Log
    message: first
",
    },
    TypeDoc {
        name: core!("flow.AllowFailure"),
        doc: "Runs tasks one after another; when one fails the rest is left out, and the group ends with a warning.",
        properties: &[],
        outputs: &[],
        example: "id: optional
type: io.kestra.plugin.core.flow.AllowFailure
tasks:
  - id: may_fail
    type: io.kestra.plugin.core.execution.Fail
",
    },
    TypeDoc {
        name: core!("flow.Parallel"),
        doc: "Runs tasks side by side.",
        properties: &[("concurrent", "0", "How many at the same time; 0 = all.")],
        outputs: &[],
        example: "id: both
type: io.kestra.plugin.core.flow.Parallel
tasks:
  - id: left
    type: io.kestra.plugin.core.log.Log
    message: left
  - id: right
    type: io.kestra.plugin.core.log.Log
    message: right
",
    },
    TypeDoc {
        name: core!("flow.If"),
        doc: "Runs one of two lists of tasks.",
        properties: &[
            ("condition", "", "`false`, `0`, `-0`, nothing and null are false; everything else is true."),
            ("then", "", "Tasks when it is true."),
            ("else", "", "Tasks when it is false."),
        ],
        outputs: &[("evaluationResult", "boolean", "What the condition was.")],
        example: "id: branch
type: io.kestra.plugin.core.flow.If
condition: \"{{ labels.stage == 'production' }}\"
then:
  - id: careful
    type: io.kestra.plugin.core.log.Log
    message: production
else:
  - id: relaxed
    type: io.kestra.plugin.core.log.Log
    message: not production
",
    },
    TypeDoc {
        name: core!("flow.Switch"),
        doc: "Runs the list of tasks whose name a value has.",
        properties: &[
            ("value", "", "Compared with the names as a text."),
            ("cases", "", "Lists of tasks by the values that they are for."),
            ("defaults", "", "Tasks for any other value; without them such a value is a failure."),
        ],
        outputs: &[("value", "text", "What the value was."), ("defaults", "boolean", "Whether no case was for it.")],
        example: "id: choose
type: io.kestra.plugin.core.flow.Switch
value: \"{{ labels.color }}\"
cases:
  red:
    - id: stop
      type: io.kestra.plugin.core.log.Log
      message: stop
defaults:
  - id: go
    type: io.kestra.plugin.core.log.Log
    message: go
",
    },
    TypeDoc {
        name: core!("flow.ForEach"),
        doc: "Runs tasks for each value of a list; `taskrun.value` is the value.",
        properties: &[
            ("values", "", "A list, or a text that renders to one (JSON). Doubles are left out."),
            ("concurrencyLimit", "1", "How many values at the same time; 0 = all."),
            ("tasks", "", "Run one after another for each value."),
        ],
        outputs: &[],
        example: "id: each
type: io.kestra.plugin.core.flow.ForEach
values: [\"a\", \"b\"]
concurrencyLimit: 2
tasks:
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: \"{{ taskrun.value }}\"
",
    },
    TypeDoc {
        name: core!("flow.EachSequential"),
        doc: "Runs tasks for each value of a list, one value after another; an older form of ForEach.",
        properties: &[("value", "", "A list, or a text that renders to one (JSON).")],
        outputs: &[],
        example: "id: each
type: io.kestra.plugin.core.flow.EachSequential
value: [\"a\", \"b\"]
tasks:
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: \"{{ taskrun.value }}\"
",
    },
    TypeDoc {
        name: core!("flow.EachParallel"),
        doc: "Runs every task for every value of a list, all side by side; an older form of ForEach.",
        properties: &[
            ("value", "", "A list, or a text that renders to one (JSON)."),
            ("concurrent", "0", "How many tasks at the same time; 0 = all."),
        ],
        outputs: &[],
        example: "id: each
type: io.kestra.plugin.core.flow.EachParallel
value: [\"a\", \"b\"]
tasks:
  - id: show
    type: io.kestra.plugin.core.log.Log
    message: \"{{ taskrun.value }}\"
",
    },
    TypeDoc {
        name: core!("flow.Dag"),
        doc: "Runs each task as soon as those that it depends on have ended.",
        properties: &[
            ("tasks", "", "A list of `{task, dependsOn}`; `dependsOn` holds ids of tasks of this list."),
            ("concurrent", "0", "How many at the same time; 0 = all."),
        ],
        outputs: &[],
        example: "id: dag
type: io.kestra.plugin.core.flow.Dag
tasks:
  - task:
      id: extract
      type: io.kestra.plugin.core.log.Log
      message: extract
  - task:
      id: load
      type: io.kestra.plugin.core.log.Log
      message: load
    dependsOn: [extract]
",
    },
    TypeDoc {
        name: core!("flow.LoopUntil"),
        doc: "Runs tasks again and again until a condition holds.",
        properties: &[
            ("condition", "", "Looked at after each round, with the outputs of the tasks of that round."),
            ("checkFrequency", "", "How often it looks, and when it gives up."),
            ("checkFrequency.interval", "PT1M", "Time between two rounds."),
            ("checkFrequency.maxIterations", "", "Rounds at most."),
            ("checkFrequency.maxDuration", "", "How long it goes on at most."),
            ("failOnMaxReached", "false", "Giving up is a failure."),
        ],
        outputs: &[("iterationCount", "number", "How many rounds there were; one more when it gave up.")],
        example: "id: until_ready
type: io.kestra.plugin.core.flow.LoopUntil
condition: \"{{ outputs.ask.value == 'ready' }}\"
checkFrequency:
  interval: PT10S
  maxIterations: 30
tasks:
  - id: ask
    type: io.kestra.plugin.core.debug.Return
    format: ready
",
    },
    TypeDoc {
        name: core!("flow.Pause"),
        doc: "Holds the execution until somebody resumes it, or some time is over.",
        properties: &[
            ("pauseDuration", "", "After this time `behavior` says what happens; for ever when it is not given."),
            ("behavior", "RESUME", "What happens when the time is over: go on, go on with a warning, fail, or cancel."),
            ("timeout", "", "Fails when nobody has resumed it by then; only without `pauseDuration`."),
            ("onResume", "", "Inputs that are asked for when somebody resumes it."),
            ("onPause", "", "A task that runs when the pause begins."),
            ("tasks", "", "Deprecated: tasks that run after the pause."),
        ],
        outputs: &[
            ("onResume", "map", "The inputs that were given."),
            (
                "resumed",
                "map",
                "When it was resumed (`on`), by whom if that is known (`by`), and to which state (`to`).",
            ),
        ],
        example: "id: approve
type: io.kestra.plugin.core.flow.Pause
onResume:
  - id: reason
    type: STRING
",
    },
    TypeDoc {
        name: core!("flow.WorkingDirectory"),
        doc: "Runs tasks one after another in one folder, so that each finds the files of those before it.",
        properties: &[
            ("tasks", "", "Tasks that do work; others are refused."),
            ("cache", "", "Files that later executions find again."),
            ("cache.patterns", "", "Which files: patterns such as `node_modules/**`."),
            ("cache.ttl", "", "How long they are kept."),
            ("namespaceFiles", "", "Files of namespaces that are put into the folder."),
            ("namespaceFiles.enabled", "true", "Whether they are."),
            ("namespaceFiles.include", "", "Only files of these patterns."),
            ("namespaceFiles.exclude", "", "Without files of these patterns."),
            ("namespaceFiles.namespaces", "", "Of which namespaces; the flow's own when it is not given."),
            ("namespaceFiles.ifExists", "OVERWRITE", "What happens to a file that is there already."),
            ("namespaceFiles.folderPerNamespace", "false", "Each namespace's files in a folder of its name."),
            ("inputFiles", "", "Files that are written first: content, or URI of a file, by name."),
            ("outputFiles", "", "Patterns of files that are kept when the last task has ended."),
        ],
        outputs: &[("outputFiles", "map", "URIs of the files that were kept, by name.")],
        example: "id: folder
type: io.kestra.plugin.core.flow.WorkingDirectory
inputFiles:
  hello.txt: \"hello from {{ flow.id }}\"
outputFiles: [\"*.txt\"]
tasks:
  - id: inside
    type: io.kestra.plugin.core.log.Log
    message: inside
",
    },
    TypeDoc {
        name: core!("flow.Subflow"),
        doc: "Starts another flow, and waits for its end unless told otherwise.",
        properties: &[
            ("namespace", "", "Namespace of the flow."),
            ("flowId", "", "Its id."),
            ("revision", "", "Its revision; the newest when it is not given."),
            ("inputs", "", "Inputs of the execution, by their ids."),
            ("labels", "", "Labels of the execution."),
            ("wait", "true", "Wait until it has ended."),
            ("transmitFailed", "true", "When it fails, the task fails; with `wait`."),
            ("inheritLabels", "false", "The execution gets this one's labels too."),
            (
                "restartBehavior",
                "RETRY_FAILED",
                "A restart of this execution restarts the failed one, or starts a new one.",
            ),
            ("outputs", "", "Deprecated: outputs that are rendered as the other flow sees them; use its `outputs`."),
            ("scheduleDate", "", "When the execution begins."),
        ],
        outputs: &[
            ("executionId", "text", "Id of the execution."),
            ("state", "text", "Its state; CREATED without `wait`."),
            ("outputs", "map", "The outputs of the flow; with `wait`."),
        ],
        example: "id: report
type: io.kestra.plugin.core.flow.Subflow
namespace: company.team
flowId: report
inputs:
  day: \"{{ execution.startDate | date('yyyy-MM-dd') }}\"
",
    },
    TypeDoc {
        name: core!("flow.ForEachItem"),
        doc: "Splits a file into batches and starts a flow for each of them.",
        properties: &[
            ("items", "", "URI of the file."),
            ("batch", "", "How it is split; a line each when nothing is said."),
            ("batch.rows", "1", "Lines of a batch."),
            ("batch.bytes", "", "Size of a batch, as a number or a text such as `10MB`."),
            ("batch.partitions", "", "Number of batches."),
            ("batch.separator", "\\n", "What stands between two items."),
            ("batch.regexPattern", "", "Lines with the same first group make a batch."),
            ("namespace", "", "Namespace of the flow."),
            ("flowId", "", "Its id."),
            ("revision", "", "Its revision; the newest when it is not given."),
            (
                "inputs",
                "",
                "Inputs of each execution; `taskrun.items` is the URI of its batch, `taskrun.iteration` its number from 0.",
            ),
            ("labels", "", "Labels of the executions."),
            ("wait", "true", "Wait until all have ended."),
            ("transmitFailed", "true", "When one fails, the task fails; with `wait`."),
            ("inheritLabels", "false", "The executions get this one's labels too."),
            (
                "restartBehavior",
                "RETRY_FAILED",
                "A restart of this execution restarts the failed ones, or starts new ones.",
            ),
            ("scheduleDate", "", "When the executions begin."),
        ],
        outputs: &[
            ("ID_split.splits", "uri", "Of the task ID_split: a file with the URIs of the batches."),
            ("ID_items.numberOfBatches", "number", "Of the task ID_items: how many batches there were."),
            ("ID_items.iterations", "map", "Of the task ID_items: how many executions ended in each state."),
            ("ID_merge.subflowOutputs", "uri", "Of the task ID_merge: a file with the outputs of all executions."),
        ],
        example: "id: each
type: io.kestra.plugin.core.flow.ForEachItem
items: \"{{ trigger.uri }}\"
batch:
  rows: 100
namespace: company.team
flowId: one_batch
inputs:
  file: \"{{ taskrun.items }}\"
",
    },
    TypeDoc {
        name: core!("flow.Template"),
        doc: "Runs the tasks of a template; templates are a thing of the past, so that it fails as for a missing one.",
        properties: &[
            ("namespace", "", "Namespace of the template."),
            ("templateId", "", "Its id."),
            ("args", "", "What it reads as `parent.outputs.args`."),
        ],
        outputs: &[("args", "map", "What was given.")],
        example: "id: template
type: io.kestra.plugin.core.flow.Template
namespace: company.team
templateId: common
",
    },
];
