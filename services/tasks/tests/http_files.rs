//! `http.Download`, and files of internal storage in forms, against a local server.

mod support;

use serde_json::{Value, json};
use support::{Answer, Receiver, Try, id, variables};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windhover_storage::FileUri;
use windhover_types::{Level, Tenant};

const DOWNLOAD: &str = "io.kestra.plugin.core.http.Download";
const REQUEST: &str = "io.kestra.plugin.core.http.Request";

/// What a stored file holds; its name is checked as well.
async fn stored(attempt: &Try, outputs: &Value, name: &str) -> Vec<u8> {
    let uri = outputs["uri"].as_str().expect("a URI");
    assert!(uri.ends_with(name), "{uri} does not end with {name}");
    let below = format!("kestra:///company/team/hello/executions/{}/tasks/task/{}/", id(1), id(2));
    assert!(uri.starts_with(&below), "{uri}");
    let uri: FileUri = uri.parse().expect("a URI of internal storage");
    attempt.files().read(&Tenant::main(), &uri, 1 << 20).await.expect("the file").to_vec()
}

#[tokio::test]
async fn what_a_server_sends_becomes_a_file_under_the_best_name_that_there_is() {
    let receiver = Receiver::start().await;
    let disposition = |value: &str| vec![("content-disposition", value.to_owned())];
    let body = b"id,total\n1,2\n\xff".to_vec();
    for (path, headers, save_as, name) in [
        ("/files/orders.csv", Vec::new(), None, ".csv"),
        ("/files/archive.tar.gz", Vec::new(), None, ".gz"),
        ("/report", disposition("attachment; filename=\"my report.csv\""), None, "/my+report.csv"),
        ("/evil", disposition("attachment; filename=\"../../etc/passwd\""), None, "/passwd"),
        ("/saved", disposition("attachment; filename=no.csv"), Some("{{ 'yes' }}.csv"), "/yes.csv"),
    ] {
        receiver.answer_with(path, Answer { status: 200, headers, body: body.clone() });
        let attempt = Try::default();
        let mut properties = json!({"uri": format!("{}{path}", receiver.base), "saveAs": save_as});
        if save_as.is_none() {
            properties.as_object_mut().expect("a map").remove("saveAs");
        }
        let ran = attempt.run(DOWNLOAD, properties).await;
        let outputs = ran.outputs();
        assert_eq!((&outputs["code"], &outputs["length"]), (&json!(200), &json!(body.len())));
        assert_eq!(outputs["headers"]["content-length"], json!([body.len().to_string()]));
        assert_eq!(stored(&attempt, &outputs, name).await, body, "{path}");
        let metrics = ran.outcome.expect("it went well").metrics;
        let length = metrics.iter().find(|metric| metric.name == "response.length").expect("the length");
        assert!(length.tags.contains(&("request.method".to_owned(), "GET".to_owned())));
    }
}

#[tokio::test]
async fn an_empty_body_fails_unless_it_may_be_empty() {
    let receiver = Receiver::start().await;
    receiver.answer("/empty", 200, "");
    let uri = format!("{}/empty", receiver.base);
    let refused = Try::default();
    let ran = refused.run(DOWNLOAD, json!({"uri": uri})).await;
    assert!(ran.error().contains("No response from server"), "{}", ran.error());
    for properties in [
        json!({"uri": uri, "failOnEmptyResponse": false}),
        json!({"uri": uri, "allowFailed": true}),
        json!({"uri": uri, "options": {"allowFailed": true}}),
    ] {
        let attempt = Try::default();
        let ran = attempt.run(DOWNLOAD, properties).await;
        assert_eq!(ran.outputs()["length"], 0);
        assert!(stored(&attempt, &ran.outputs(), "").await.is_empty());
        assert!(ran.logs.contains(&(Level::Warn, format!("File '{uri}' is empty"))), "{:?}", ran.logs);
    }
}

#[tokio::test]
async fn a_refusal_fails_with_what_the_server_says_and_stores_nothing() {
    let receiver = Receiver::start().await;
    receiver.answer("/gone.csv", 404, "no such report");
    let uri = format!("{}/gone.csv", receiver.base);
    let attempt = Try::default();
    let ran = attempt.run(DOWNLOAD, json!({"uri": uri})).await;
    assert_eq!(ran.error(), "Failed http request with response code '404' and body: no such report");
    let directory = FileUri::execution("company.team", "hello", id(1));
    assert_eq!(attempt.files().list(&Tenant::main(), &directory).await.expect("a list"), []);
    let ran = attempt.run(DOWNLOAD, json!({"uri": uri, "allowFailed": true})).await;
    assert_eq!((&ran.outputs()["code"], &ran.outputs()["length"]), (&json!(404), &json!(14)));
    let ran = attempt.run(DOWNLOAD, json!({"uri": uri, "options": {"allowFailed": true, "maxContentLength": 3}})).await;
    assert!(ran.error().contains("larger than 3 bytes"), "{}", ran.error());
}

/// A server that answers one request with these bytes and hangs up.
async fn hang_up_after(answer: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/cut.csv")
}

#[tokio::test]
async fn a_body_that_does_not_come_whole_leaves_nothing() {
    let uri = hang_up_after("HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nabcd").await;
    let attempt = Try::default();
    let ran = attempt.run(DOWNLOAD, json!({"uri": uri})).await;
    assert_eq!(ran.error(), "Invalid size, got 4, expected 10");
    let directory = FileUri::execution("company.team", "hello", id(1));
    assert_eq!(attempt.files().list(&Tenant::main(), &directory).await.expect("a list"), []);
}

#[tokio::test]
async fn a_form_of_parts_sends_stored_files_by_their_content() {
    let receiver = Receiver::start().await;
    let flow = json!({"flow": {"namespace": "company.team", "id": "hello"}});
    let attempt = Try { variables: variables(flow), ..Try::default() };
    let file: FileUri = "kestra:///company/team/_files/data.bin".parse().expect("a URI");
    attempt.files().put(&Tenant::main(), &file, vec![0xff, 0x00, b'x']).await.expect("a file");
    let properties = json!({"uri": receiver.base, "method": "POST", "contentType": "multipart/form-data",
        "formData": {"note": "hi", "file": {"name": "data.bin", "content": file.to_string()}}});
    assert_eq!(attempt.run(REQUEST, properties.clone()).await.error(), "");
    let body = receiver.last().body;
    let holds = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
    assert!(holds(b"name=\"file\"; filename=\"data.bin\"") && holds(b"\r\n\r\n\xff\x00x\r\n"), "{body:?}");
    // Whatever way a file is named, and wherever.
    let newest = attempt.files().next_version(&Tenant::main(), "company.team", "data.bin").await.expect("a place");
    attempt.files().put(&Tenant::main(), &newest, "newest").await.expect("a file");
    let many = json!({"uri": receiver.base, "method": "POST", "contentType": "multipart/form-data", "formData": {
        "first": "{{ fileURI('data.bin', version=1) }}", "own": "nsfile:///data.bin",
        "named": {"name": "{{ 'n' }}.bin", "content": "nsfile://company.team/data.bin"}}});
    assert_eq!(attempt.run(REQUEST, many.clone()).await.error(), "");
    let body = receiver.last().text();
    for (part, content) in [
        ("\"first\"; filename=\"first\"", "\u{fffd}\u{0}x"),
        ("\"own\"; filename=\"own\"", "newest"),
        ("\"named\"; filename=\"n.bin\"", "newest"),
    ] {
        let part = format!("name={part}\r\nContent-Type: application/octet-stream\r\n\r\n{content}\r\n");
        assert!(body.contains(&part), "{part:?} is not in {body:?}");
    }
    for (from, to, error) in [
        ("nsfile:///data", "nsfile:///gone", "File 'gone.bin' was not found in namespace 'company.team'"),
        ("nsfile://company.team", "nsfile://other", "Namespace 'other' is not allowed"),
    ] {
        let ran = attempt.run(REQUEST, serde_json::from_str(&many.to_string().replace(from, to)).expect("JSON")).await;
        assert!(ran.error().contains(error), "{}", ran.error());
    }
    let gone = properties.to_string().replace("_files/data.bin", "_files/gone.bin");
    let ran = attempt.run(REQUEST, serde_json::from_str(&gone).expect("JSON")).await;
    assert!(ran.error().contains("kestra:///company/team/_files/gone.bin was not found"), "{}", ran.error());
}
