//! Tasks over internal storage, with what expressions read of it.

mod support;

use serde_json::{Value, json};
use support::{Ran, Try, id};
use windhover_engine::LogLine;
use windhover_storage::FileUri;
use windhover_types::{Level, Tenant, Timestamp};

fn core(name: &str) -> String {
    format!("io.kestra.plugin.core.{name}")
}

async fn run(attempt: &Try, name: &str, properties: Value) -> Ran {
    attempt.run(&core(name), properties).await
}

async fn file(attempt: &Try, content: &str) -> String {
    let ran = run(attempt, "storage.Write", json!({"content": content, "extension": "txt"})).await;
    ran.outputs()["uri"].as_str().expect("a text").to_owned()
}

async fn content(attempt: &Try, uri: &Value) -> String {
    let uri: FileUri = uri.as_str().expect("a text").parse().expect("a URI");
    let bytes = attempt.files().read(&Tenant::main(), &uri, 1 << 20).await.expect("a file");
    String::from_utf8(bytes.to_vec()).expect("a text")
}

#[tokio::test]
async fn a_written_file_lies_below_its_task_run_and_can_be_read_in_expressions() {
    let attempt = Try::default();
    let uri = file(&attempt, "abc").await;
    let directory = FileUri::task_run("company.team", "hello", id(1), "task", id(2)).to_string();
    assert!(uri.starts_with(&directory) && uri.ends_with(".txt"), "{uri}");
    assert_eq!(run(&attempt, "storage.Size", json!({"uri": uri})).await.outputs(), json!({"size": 3}));
    let read = format!("{{{{ read('{uri}') }}}} {{{{ fileSize('{uri}') }}}} {{{{ fileExists('{uri}x') }}}}");
    let ran = run(&attempt, "debug.Return", json!({ "format": read })).await;
    assert_eq!(ran.outputs(), json!({"value": "abc 3 false"}));
}

#[tokio::test]
async fn only_uris_of_internal_storage_are_taken() {
    let attempt = Try::default();
    let error = async |uri: &str| run(&attempt, "storage.Size", json!({"uri": uri})).await.error();
    assert!(error("file:///etc/passwd").await.contains("kestra:///"), "another scheme");
    assert!(error("kestra:///a/../b").await.contains(".."), "a way out");
    assert!(error("kestra:///a/b").await.contains("was not found"), "nothing there");
}

#[tokio::test]
async fn concat_writes_the_separator_after_every_file() {
    let attempt = Try::default();
    let files = [file(&attempt, "a").await, file(&attempt, "b").await];
    let ran = run(&attempt, "storage.Concat", json!({"files": files, "separator": "\n"})).await;
    assert_eq!(content(&attempt, &ran.outputs()["uri"]).await, "a\nb\n");
}

#[tokio::test]
async fn a_file_is_split_by_rows_partitions_bytes_and_groups() {
    let attempt = Try::default();
    let from = file(&attempt, "a1\nb2\na3\n").await;
    let parts = async |mut properties: Value| {
        properties["from"] = json!(from);
        let outputs = run(&attempt, "storage.Split", properties).await.outputs();
        let mut parts = Vec::new();
        for uri in outputs["uris"].as_array().expect("a list") {
            parts.push(content(&attempt, uri).await);
        }
        parts
    };
    assert_eq!(parts(json!({"rows": 2})).await, ["a1\nb2\n", "a3\n"]);
    assert_eq!(parts(json!({"partitions": 8})).await, ["a1\n", "b2\n", "a3\n"]);
    assert_eq!(parts(json!({"bytes": "1"})).await, ["a1\n", "b2\n", "a3\n"]);
    assert_eq!(parts(json!({"regexPattern": "^(.)"})).await, ["a1\na3\n", "b2\n"]);
    let none = run(&attempt, "storage.Split", json!({ "from": from })).await.error();
    assert!(none.contains("bytes, partitions, rows"), "{none}");
}

#[tokio::test]
async fn reverse_turns_the_lines_around() {
    let attempt = Try::default();
    let from = file(&attempt, "1\n2\n3\n").await;
    let ran = run(&attempt, "storage.Reverse", json!({ "from": from })).await;
    assert_eq!(content(&attempt, &ran.outputs()["uri"]).await, "3\n2\n1\n");
}

#[tokio::test]
async fn the_last_item_of_a_key_is_kept_in_its_place() {
    let attempt = Try::default();
    let from = file(&attempt, "{\"k\":1,\"v\":\"a\"}\n{k:2,v:\"b\"}\n{\"k\":1,\"v\":\"c\"}\n").await;
    let outputs = run(&attempt, "storage.DeduplicateItems", json!({"from": from, "expr": "{{ k }}"})).await.outputs();
    assert_eq!(
        (&outputs["processedItemsTotal"], &outputs["droppedItemsTotal"], &outputs["numKeys"]),
        (&json!(3), &json!(1), &json!(2))
    );
    assert_eq!(content(&attempt, &outputs["uri"]).await, "{k:2,v:\"b\"}\n{\"k\":1,\"v\":\"c\"}\n");
}

#[tokio::test]
async fn items_are_filtered_and_a_failing_condition_does_what_is_asked() {
    let attempt = Try::default();
    let from = file(&attempt, "{\"n\":1}\n{\"n\":5}\n{\"m\":1}\n").await;
    let filter = async |behavior: &str| {
        let properties = json!({"from": from, "filterCondition": "{{ n > 2 }}", "errorOrNullBehavior": behavior});
        run(&attempt, "storage.FilterItems", properties).await
    };
    assert!(filter("FAIL").await.error().contains("line 3"), "the third has no n");
    assert_eq!(content(&attempt, &filter("INCLUDE").await.outputs()["uri"]).await, "{\"n\":5}\n{\"m\":1}\n");
    let outputs = filter("EXCLUDE").await.outputs();
    assert_eq!(content(&attempt, &outputs["uri"]).await, "{\"n\":5}\n");
    assert_eq!((&outputs["processedItemsTotal"], &outputs["droppedItemsTotal"]), (&json!(3), &json!(2)));
}

#[tokio::test]
async fn deleting_tells_whether_there_was_a_file() {
    let attempt = Try::default();
    let uri = file(&attempt, "x").await;
    let delete = async |properties: Value| run(&attempt, "storage.Delete", properties).await;
    assert_eq!(delete(json!({ "uri": uri })).await.outputs()["deleted"], json!(true));
    assert_eq!(delete(json!({ "uri": uri })).await.outputs()["deleted"], json!(false));
    assert!(delete(json!({"uri": uri, "errorOnMissing": true})).await.error().contains("was not found"));
    let other = file(&attempt, "y").await;
    let purged = run(&attempt, "storage.PurgeCurrentExecutionFiles", json!({})).await.outputs();
    assert_eq!(purged["uris"], json!([other]));
}

#[tokio::test]
async fn the_log_of_an_execution_becomes_a_file_of_items() {
    let attempt = Try::default();
    let line = |task: &str, level, message: &str| LogLine {
        at: Timestamp::from_millis(1_700_000_000_000),
        level,
        message: message.to_owned(),
        task_id: Some(task.to_owned()),
        task_run_id: Some(id(2)),
        attempt: Some(0),
    };
    attempt.world.lines.lock().extend([
        line("a", Level::Info, "one"),
        line("a", Level::Debug, "two"),
        line("b", Level::Error, "\"three\""),
    ]);
    let outputs = run(&attempt, "log.Fetch", json!({})).await.outputs();
    assert_eq!(outputs["size"], json!(2));
    let rows = content(&attempt, &outputs["uri"]).await;
    assert!(rows.contains(r#"taskId:"a""#) && rows.contains(r#"message:"\"three\"""#), "{rows}");
    let of_b = run(&attempt, "log.Fetch", json!({"tasksId": ["b"]})).await.outputs();
    assert_eq!(of_b["size"], json!(1));
    let error = run(&attempt, "log.Fetch", json!({"executionId": id(1).to_string(), "namespace": "a"})).await.error();
    assert!(error.contains("both or none"), "{error}");
}

#[tokio::test]
async fn files_of_a_namespace_are_uploaded_read_downloaded_and_deleted() {
    let flow = support::variables(json!({"flow": {"namespace": "company.team", "id": "hello"}}));
    let attempt = Try { variables: flow, ..Try::default() };
    let source = file(&attempt, "select 1").await;
    let upload = async |source: &str, conflict: &str| {
        let properties = json!({"filesMap": {"sql/q.sql": source}, "conflict": conflict});
        run(&attempt, "namespace.UploadFiles", properties).await
    };
    assert_eq!(upload(&source, "ERROR").await.error(), "");
    assert!(upload(&source, "ERROR").await.error().contains("already exists"));
    let other = file(&attempt, "select 2").await;
    upload(&other, "SKIP").await;
    let read = json!({"format": "{{ read('sql/q.sql') }} {{ fileURI('sql/q.sql') }}"});
    let uri = "kestra:///company/team/_files/sql/q.sql";
    let shown = run(&attempt, "debug.Return", read.clone()).await.outputs()["value"].clone();
    assert_eq!(shown, json!(format!("select 1 {uri}")));
    upload(&other, "OVERWRITE").await;
    assert_eq!(
        run(&attempt, "debug.Return", read).await.outputs()["value"],
        json!(format!("select 2 {uri}.v2")),
        "a new version"
    );

    // A file whose own name looks like a version of another.
    let odd = json!({"filesMap": {"sql/q.sql.v2": file(&attempt, "odd").await}});
    run(&attempt, "namespace.UploadFiles", odd).await;
    let read = "{{ read('sql/q.sql.v2') }} {{ read(fileURI('sql/q.sql.v2')) }} {{ read(fileURI('sql/q.sql')) }}";
    let shown = run(&attempt, "debug.Return", json!({ "format": read })).await.outputs();
    assert_eq!(shown["value"], json!("odd odd select 2"));

    let downloaded = run(&attempt, "namespace.DownloadFiles", json!({"files": "q.sql"})).await.outputs();
    assert_eq!(content(&attempt, &downloaded["files"]["/sql/q.sql"]).await, "select 2");
    run(&attempt, "namespace.DeleteFiles", json!({"files": ["/sql/*"]})).await;
    let gone = run(&attempt, "debug.Return", json!({"format": "{{ read('sql/q.sql') }}"})).await.error();
    assert!(gone.contains("File 'sql/q.sql' was not found in namespace 'company.team'."), "{gone}");
}
