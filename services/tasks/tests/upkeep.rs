//! Tasks over the data of a tenant beyond their own execution.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use support::{Ran, Try, execution, id, variables};
use windhover_storage::FileUri;
use windhover_tasks::{
    CountedExecutions, EndedExecution, EndedExecutions, ExecutionCount, KvPurge, NamespaceScope, Period, PurgeCount,
    PurgedLogs, PurgedParts, Resumed, Upkeep,
};
use windhover_types::{Id, JsonMap, Level, State, Tenant, Timestamp};

/// Records what it is asked, and answers what it was told to.
#[derive(Default)]
struct Recorder {
    counted: Mutex<Vec<CountedExecutions>>,
    counts: Mutex<Vec<ExecutionCount>>,
    /// In order; those of `open` have been taken up again.
    ended: Mutex<Vec<EndedExecution>>,
    open: Mutex<Vec<Id>>,
    wanted: Mutex<Vec<(EndedExecutions, u64)>>,
    parts: Mutex<Vec<PurgedParts>>,
    files_purged: Mutex<Vec<Id>>,
    logs: Mutex<Vec<PurgedLogs>>,
    /// How many lines each purge takes.
    lines: Mutex<Vec<u64>>,
    namespaces: Mutex<Vec<(&'static str, bool)>>,
    triggers: Mutex<Vec<(String, bool)>>,
    resumed: Mutex<Vec<(Id, JsonMap, String)>>,
    refuses: Mutex<Option<Resumed>>,
}

#[async_trait]
impl Upkeep for Recorder {
    async fn count_executions(&self, _: &Tenant, wanted: &CountedExecutions) -> Result<Vec<ExecutionCount>, String> {
        self.counted.lock().push(wanted.clone());
        Ok(self.counts.lock().clone())
    }

    async fn ended_executions(
        &self,
        _: &Tenant,
        wanted: &EndedExecutions,
        after: Option<Id>,
        limit: u64,
    ) -> Result<Vec<EndedExecution>, String> {
        self.wanted.lock().push((wanted.clone(), limit));
        let ended = self.ended.lock();
        let rest = ended.iter().filter(|execution| after.is_none_or(|after| execution.id > after));
        Ok(rest.take(limit as usize).cloned().collect())
    }

    async fn purge_executions(&self, _: &Tenant, ids: &[Id], parts: PurgedParts) -> Result<PurgeCount, String> {
        self.parts.lock().push(parts);
        let open = self.open.lock();
        let executions: Vec<Id> = ids.iter().filter(|id| !open.contains(id)).copied().collect();
        let (logs, metrics) = (2 * executions.len() as u64, executions.len() as u64);
        Ok(PurgeCount { executions, logs, metrics })
    }

    async fn files_purged(&self, _: &Tenant, ids: &[Id]) -> Result<(), String> {
        self.files_purged.lock().extend(ids);
        Ok(())
    }

    async fn purge_logs(&self, _: &Tenant, wanted: &PurgedLogs) -> Result<u64, String> {
        self.logs.lock().push(wanted.clone());
        Ok(self.lines.lock().pop().unwrap_or_default())
    }

    async fn namespaces(&self, _: &Tenant, with_flows: bool) -> Result<Vec<String>, String> {
        let all = self.namespaces.lock();
        Ok(all.iter().filter(|(_, flows)| *flows || !with_flows).map(|(name, _)| (*name).to_owned()).collect())
    }

    async fn set_trigger_disabled(
        &self,
        _: &Tenant,
        namespace: &str,
        flow_id: &str,
        trigger_id: &str,
        disabled: bool,
    ) -> Result<bool, String> {
        self.triggers.lock().push((format!("{namespace}.{flow_id}.{trigger_id}"), disabled));
        Ok(trigger_id != "unknown")
    }

    async fn resume(&self, _: &Tenant, id: Id, inputs: JsonMap, request: String) -> Result<Resumed, String> {
        self.resumed.lock().push((id, inputs, request));
        Ok(self.refuses.lock().clone().unwrap_or(Resumed::Done))
    }
}

fn attempt() -> (Try, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    (Try { upkeep: recorder.clone(), ..Try::default() }, recorder)
}

async fn run(attempt: &Try, name: &str, properties: Value) -> Ran {
    attempt.run(&format!("io.kestra.plugin.core.{name}"), properties).await
}

fn at(text: &str) -> Option<Timestamp> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|at| Timestamp::from_utc(at.to_utc()))
}

#[tokio::test]
async fn flows_without_executions_are_counted_too_and_the_expression_decides_which_stay() {
    let (attempt, recorder) = attempt();
    let count =
        |flow_id: &str, count| ExecutionCount { namespace: "a.b".to_owned(), flow_id: flow_id.to_owned(), count };
    *recorder.counts.lock() = vec![count("f", 3), count("g", 1)];
    let properties = json!({
        "flows": [{"namespace": "a.b", "flowId": "f"}, {"namespace": "a.b", "flowId": "none"}],
        "namespaces": ["a.b"],
        "states": ["success", "FAILED"],
        "startDate": "2024-05-01T11:00:00+02:00[Europe/Paris]",
        "endDate": "{{ '2024-05-02T00:00:00Z' }}",
        "expression": "{{ count == 0 or count == 3 }}",
    });
    let ran = run(&attempt, "execution.Count", properties).await;
    let kept = |flow: &str, count: u64| json!({"namespace": "a.b", "flowId": flow, "count": count});
    assert_eq!(ran.outputs(), json!({"results": [kept("f", 3), kept("none", 0)], "total": 3}));
    assert!(ran.said("2 flows matching the expression"));
    let flow = |flow_id: &str| ("a.b".to_owned(), flow_id.to_owned());
    let wanted = CountedExecutions {
        flows: vec![flow("f"), flow("none")],
        namespaces: vec!["a.b".to_owned()],
        states: vec![State::Success, State::Failed],
        created: Period { from: at("2024-05-01T09:00:00Z"), until: at("2024-05-02T00:00:00Z") },
    };
    assert_eq!(*recorder.counted.lock(), [wanted]);
    for (properties, reason) in [
        (json!({"startDate": "2024-05-01T09:00:00Z", "expression": "true"}), "flows, namespaces"),
        (json!({"namespaces": ["a"], "startDate": "yesterday", "expression": "true"}), "startDate: `yesterday`"),
        (
            json!({"namespaces": ["a"], "states": ["DONE"], "startDate": "2024-05-01T09:00:00Z", "expression": "x"}),
            "states: 'DONE'",
        ),
        (json!({"flows": [{"namespace": "a"}], "startDate": "2024-05-01T09:00:00Z", "expression": "x"}), "flows: each"),
    ] {
        let error = run(&attempt, "execution.Count", properties).await.error();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

/// Five executions of `company.team/load`, each with two files.
async fn with_files(attempt: &Try, recorder: &Recorder) -> Vec<Id> {
    let tenant = Tenant::main();
    let mut ids: Vec<Id> = (10..15).map(id).collect();
    ids.sort();
    for id in &ids {
        let execution = EndedExecution { id: *id, namespace: "company.team".to_owned(), flow_id: "load".to_owned() };
        recorder.ended.lock().push(execution);
        let folder = FileUri::execution("company.team", "load", *id);
        for name in ["inputs/a", "tasks/t/b"] {
            let uri = folder.below(name).expect("a name");
            attempt.files().put(&tenant, &uri, "x").await.expect("it is stored");
        }
    }
    ids
}

async fn files_of(attempt: &Try, id: Id) -> usize {
    let folder = FileUri::execution("company.team", "load", id);
    attempt.files().list(&Tenant::main(), &folder).await.expect("a listing").len()
}

#[tokio::test]
async fn executions_are_purged_in_batches_with_their_files() {
    let (attempt, recorder) = attempt();
    let ids = with_files(&attempt, &recorder).await;
    recorder.open.lock().push(ids[1]);
    let properties = json!({
        "namespace": "company",
        "states": ["SUCCESS"],
        "startDate": "2024-01-01T00:00:00Z",
        "endDate": "2024-05-01T00:00:00Z",
        "batchSize": "{{ 2 }}",
    });
    let ran = run(&attempt, "storage.Purge", properties).await;
    let counts = json!({"executionsCount": 4, "logsCount": 8, "storagesCount": 8, "metricsCount": 4});
    assert_eq!(ran.outputs(), counts);
    assert_eq!(files_of(&attempt, ids[0]).await, 0);
    assert_eq!(files_of(&attempt, ids[1]).await, 2, "it was taken up again meanwhile");
    let purged: Vec<Id> = ids.iter().copied().filter(|id| *id != ids[1]).collect();
    assert_eq!(*recorder.files_purged.lock(), purged);
    let wanted = EndedExecutions {
        scope: Some(NamespaceScope { namespace: "company".to_owned(), below: true }),
        flow_id: None,
        states: vec![State::Success],
        created_from: at("2024-01-01T00:00:00Z"),
        ended_until: at("2024-05-01T00:00:00Z"),
    };
    assert_eq!(
        recorder.wanted.lock().as_slice(),
        [(wanted.clone(), 2), (wanted.clone(), 2), (wanted.clone(), 2), (wanted, 2)]
    );
}

#[tokio::test]
async fn a_purge_takes_what_it_is_asked_for_alone() {
    let (attempt, recorder) = attempt();
    let ids = with_files(&attempt, &recorder).await;
    let properties = json!({
        "namespace": "company.team", "flowId": "load", "endDate": "2024-05-01T00:00:00Z",
        "purgeExecution": false, "purgeMetric": "{{ false }}",
    });
    let counts = json!({"executionsCount": 0, "logsCount": 10, "storagesCount": 10, "metricsCount": 5});
    assert_eq!(run(&attempt, "execution.PurgeExecutions", properties).await.outputs(), counts);
    let parts = PurgedParts { executions: false, logs: true, metrics: false, files: true };
    assert_eq!(*recorder.parts.lock(), [parts]);
    assert!(recorder.files_purged.lock().is_empty(), "the executions are there");
    assert_eq!(
        recorder.wanted.lock()[0].0.scope,
        Some(NamespaceScope { namespace: "company.team".to_owned(), below: false })
    );
    assert_eq!(files_of(&attempt, ids[0]).await, 0);
    for (properties, reason) in [
        (json!({"endDate": "{{ trigger.date }}"}), "endDate"),
        (json!({"endDate": "2024-05-01"}), "endDate: `2024-05-01` is no date and time with a zone"),
        (json!({"endDate": "2024-05-01T00:00:00Z", "batchSize": 0}), "batchSize: must be greater than 0"),
    ] {
        let error = run(&attempt, "execution.PurgeExecutions", properties).await.error();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[tokio::test]
async fn logs_are_purged_until_none_is_left() {
    let (attempt, recorder) = attempt();
    *recorder.lines.lock() = vec![7, 1_000];
    let properties = json!({
        "namespace": "a", "logLevels": ["DEBUG", "info"], "executionId": id(9).to_string(),
        "endDate": "2024-05-01T00:00:00Z",
    });
    assert_eq!(run(&attempt, "log.PurgeLogs", properties).await.outputs(), json!({"count": 1_007}));
    let wanted = PurgedLogs {
        scope: Some(NamespaceScope { namespace: "a".to_owned(), below: true }),
        flow_id: None,
        execution: Some(id(9)),
        levels: vec![Level::Debug, Level::Info],
        written: Period { from: None, until: at("2024-05-01T00:00:00Z") },
    };
    assert_eq!(*recorder.logs.lock(), [wanted.clone(), wanted.clone(), wanted]);
    let wrong = json!({"logLevels": ["LOUD"], "endDate": "2024-05-01T00:00:00Z"});
    assert!(run(&attempt, "log.PurgeLogs", wrong).await.error().contains("logLevels: 'LOUD'"));
}

#[tokio::test]
async fn a_paused_execution_is_resumed_once_per_attempt_with_its_inputs() {
    let (attempt, recorder) = attempt();
    let paused = execution(7, State::Paused);
    attempt.world.executions.lock().insert(paused.id, paused.clone());
    let resume = async |properties: Value| run(&attempt, "execution.Resume", properties).await;
    let properties = json!({
        "executionId": paused.id.to_string(), "namespace": "company.team", "flowId": "load",
        "inputs": {"n": "{{ 1 + 1 }}", "text": "yes"},
    });
    assert_eq!(resume(properties).await.error(), "");
    let (resumed, inputs, request) = recorder.resumed.lock()[0].clone();
    assert_eq!((resumed, Value::Object(inputs)), (paused.id, json!({"n": 2, "text": "yes"})));
    assert_eq!(request, format!("{}/0", id(2)));

    let error = resume(json!({"executionId": id(8).to_string()})).await.error();
    assert!(error.contains("does not exist"), "{error}");
    let elsewhere = json!({"executionId": paused.id.to_string(), "namespace": "company.team", "flowId": "other"});
    assert!(resume(elsewhere).await.error().contains("does not exist"));
    let half = json!({"executionId": paused.id.to_string(), "namespace": "company.team"});
    assert!(resume(half).await.error().contains("both or none"));
    *recorder.refuses.lock() = Some(Resumed::Refused("the execution is RUNNING, not PAUSED".to_owned()));
    let error = resume(json!({"executionId": paused.id.to_string()})).await.error();
    assert!(error.contains("is RUNNING, not PAUSED"), "{error}");
}

#[tokio::test]
async fn a_trigger_is_switched_and_one_without_state_is_an_error() {
    let (attempt, recorder) = attempt();
    assert_eq!(run(&attempt, "trigger.Toggle", json!({"trigger": "daily"})).await.error(), "");
    let other = json!({"trigger": "daily", "flowId": "f", "namespace": "a", "enabled": true});
    assert_eq!(run(&attempt, "trigger.Toggle", other).await.error(), "");
    let unknown = run(&attempt, "trigger.Toggle", json!({"trigger": "unknown"})).await.error();
    assert!(unknown.contains("'unknown' of the flow 'company.team.hello' has no state"), "{unknown}");
    let switched = recorder.triggers.lock()[..2].to_vec();
    assert_eq!(switched, [("company.team.hello.daily".to_owned(), true), ("a.f.daily".to_owned(), false)]);
}

#[tokio::test]
async fn keys_are_purged_in_the_namespaces_that_are_meant() {
    let (attempt, recorder) = attempt();
    *recorder.namespaces.lock() =
        vec![("company", true), ("company.data", false), ("company.team", true), ("companyx", true), ("other", true)];
    for key in ["AI_a", "AI_b", "c"] {
        let set = json!({"key": key, "value": 1, "namespace": "company"});
        assert_eq!(run(&attempt, "kv.Set", set).await.error(), "");
    }
    let purged = async |properties: Value| {
        let ran = run(&attempt, "kv.PurgeKV", properties).await;
        assert_eq!(ran.error(), "");
        let namespaces: Vec<String> = attempt.world.purges.lock().drain(..).map(|(namespace, ..)| namespace).collect();
        (ran.outputs()["size"].clone(), namespaces)
    };
    assert_eq!(purged(json!({})).await.1, ["company", "company.team", "companyx", "other"], "those that hold a flow");
    let below = purged(json!({"namespaces": ["company"], "keyPattern": "AI_*"})).await;
    assert_eq!(below, (json!(2), ["company", "company.data", "company.team"].map(str::to_owned).to_vec()));
    let alone = json!({"namespaces": ["company", "nowhere"], "includeChildNamespaces": false});
    assert_eq!(purged(alone).await.1, ["company", "nowhere"]);
    assert_eq!(purged(json!({"namespacePattern": "company*"})).await.1.len(), 4);
    let both = json!({"namespaces": ["a"], "namespacePattern": "a*"});
    assert!(run(&attempt, "kv.PurgeKV", both).await.error().contains("only one of them"));
}

#[tokio::test]
async fn what_of_the_keys_is_purged_is_the_behavior() {
    let (attempt, recorder) = attempt();
    *recorder.namespaces.lock() = vec![("a", true)];
    let purge = async |properties: Value| {
        let ran = run(&attempt, "kv.PurgeKV", properties).await;
        (ran.error(), attempt.world.purges.lock().pop().map(|(_, purge, _)| purge))
    };
    for (properties, meant) in [
        (json!({}), KvPurge::Keys { expired_only: true }),
        (json!({"behavior": {"type": "key"}}), KvPurge::Keys { expired_only: true }),
        (json!({"behavior": {"type": "key", "expiredOnly": false}}), KvPurge::Keys { expired_only: false }),
        (json!({"expiredOnly": false, "behavior": {"type": "version"}}), KvPurge::Keys { expired_only: false }),
        (json!({"behavior": {"type": "version"}}), KvPurge::AllButNewest(0)),
        (json!({"behavior": {"type": "version", "keepAmount": "{{ 3 }}"}}), KvPurge::AllButNewest(3)),
        (
            json!({"behavior": {"type": "version", "before": "2024-05-01T00:00:00Z"}}),
            KvPurge::WrittenUntil(at("2024-05-01T00:00:00Z").expect("a date")),
        ),
    ] {
        assert_eq!(purge(properties.clone()).await, (String::new(), Some(meant)), "{properties}");
    }
    let (error, _) = purge(json!({"behavior": {"type": "version", "before": "then"}})).await;
    assert!(error.contains("behavior.before: `then`"), "{error}");
}

#[tokio::test]
async fn namespace_files_keep_their_versions_until_they_are_purged() {
    let (attempt, recorder) = attempt();
    *recorder.namespaces.lock() = vec![("company.team", true)];
    let upload = async |path: &str, content: &str, conflict: &str| {
        let written = run(&attempt, "storage.Write", json!({ "content": content })).await.outputs();
        let files = json!({"filesMap": {path: written["uri"]}, "destination": "/sql", "conflict": conflict});
        run(&attempt, "namespace.UploadFiles", files).await.error()
    };
    for content in ["1", "2", "3"] {
        assert_eq!(upload("q.sql", content, "OVERWRITE").await, "");
    }
    assert_eq!(upload("other.txt", "1", "OVERWRITE").await, "");
    assert_eq!(upload("other.txt", "2", "SKIP").await, "");
    assert!(upload("other.txt", "3", "ERROR").await.contains("already exists"));
    let mut reading = Try { upkeep: recorder.clone(), folder: attempt.folder.clone(), ..Try::default() };
    reading.variables = variables(json!({"flow": {"namespace": "company.team", "id": "hello"}}));
    let read = async |template: &str| run(&reading, "debug.Return", json!({ "format": template })).await;
    assert_eq!(read("{{ read('sql/q.sql') }} {{ read('sql/other.txt') }}").await.outputs()["value"], json!("3 1"));
    let all = run(&attempt, "namespace.DownloadFiles", json!({"namespace": "company.team", "files": "**"})).await;
    let files = all.outputs()["files"].as_object().cloned().unwrap_or_default();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["/sql/other.txt", "/sql/q.sql"]);

    let purge =
        async |properties: Value| run(&attempt, "namespace.PurgeFiles", properties).await.outputs()["size"].clone();
    let keep = json!({"filePattern": "**/*.sql", "behavior": {"type": "version", "keepAmount": 2}});
    assert_eq!(purge(keep).await, json!(1));
    assert_eq!(purge(json!({"behavior": {"type": "version", "before": "2020-01-01T00:00:00Z"}})).await, json!(0));
    assert_eq!(purge(json!({})).await, json!(1), "one version is kept");
    assert_eq!(read("{{ read('sql/q.sql') }}").await.outputs()["value"], json!("3"));
    assert_eq!(purge(json!({"behavior": {"type": "version"}})).await, json!(2), "everything");
    assert!(!read("{{ read('sql/q.sql') }}").await.error().is_empty());
}

#[tokio::test]
async fn metrics_are_published_and_those_of_one_series_are_one() {
    let attempt = Try::default();
    let metrics = json!([
        {"type": "counter", "name": "rows", "value": "{{ 2 + 3 }}", "tags": {"table": "t"}},
        {"type": "counter", "name": "rows", "value": 1, "tags": {"table": "t"}},
        {"type": "gauge", "name": "left", "value": 7},
        {"type": "gauge", "name": "left", "value": 3},
        {"type": "timer", "name": "took", "value": "PT2S", "description": "how long"},
    ]);
    let ran = run(&attempt, "metric.Publish", json!({ "metrics": metrics })).await;
    let published = ran.outcome.as_ref().map(|outcome| outcome.metrics.clone()).unwrap_or_default();
    let shown: Vec<(String, f64, usize)> =
        published.into_iter().map(|metric| (metric.name, metric.value, metric.tags.len())).collect();
    let expected = [("rows", 6.0, 1), ("left", 3.0, 0), ("took", 2_000.0, 0)];
    assert_eq!(shown, expected.map(|(name, value, tags)| (name.to_owned(), value, tags)));
    let wrong = json!({"metrics": "{{ [{'type': 'counter', 'name': 'm'}] }}"});
    assert_eq!(run(&attempt, "metric.Publish", wrong).await.error(), "metrics[0]: value: must not be null");
}

#[tokio::test]
async fn a_templated_task_is_the_task_that_its_text_renders_to() {
    let attempt =
        Try { variables: variables(json!({"vars": {"name": "Ada", "type": "debug.Return"}})), ..Try::default() };
    let templated = async |spec: &str| run(&attempt, "templating.TemplatedTask", json!({ "spec": spec })).await;
    let ran = templated(
        "id: inner\ntype: io.kestra.plugin.core.{{ vars.type }}\nformat: \"{% raw %}{{ vars.name }}{% endraw %}!\"\n",
    )
    .await;
    assert_eq!(ran.outputs(), json!({"value": "Ada!"}));
    let ran = templated("type: io.kestra.plugin.core.storage.Write\ncontent: x\nextension: txt").await;
    assert!(ran.outputs()["uri"].as_str().is_some_and(|uri| uri.ends_with(".txt")), "on workers only");
    for (spec, reason) in [
        (
            "id: a\ntype: io.kestra.plugin.core.flow.Parallel\ntasks: [{id: b, type: io.kestra.plugin.core.debug.Return}]",
            "must be a runnable task",
        ),
        ("id: a\ntype: io.kestra.plugin.core.execution.Exit", "must be a runnable task"),
        ("id: a\ntype: io.kestra.plugin.core.templating.TemplatedTask\nspec: x", "cannot be of type"),
        ("id: a\ntype: io.kestra.plugin.core.debug.Retrn", "Invalid type"),
        ("id: a", "type: must not be null"),
    ] {
        let error = templated(spec).await.error();
        assert!(error.starts_with("spec: ") && error.contains(reason), "{spec}: {error}");
    }
}
