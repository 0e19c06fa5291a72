//! The tools of the tests themselves.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use windhover_testkit::{Answer, Postgres, PostgresOptions, Receiver, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

async fn send(receiver: &Receiver, request: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(receiver.url().trim_start_matches("http://")).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn the_receiver_records_requests_and_answers_as_it_is_told() -> anyhow::Result<()> {
    let receiver = Receiver::start().await?;
    let usual =
        send(&receiver, "GET /a?x=1&y HTTP/1.1\r\nhost: h\r\nX-Team: blue\r\nconnection: close\r\n\r\n").await?;
    assert!(usual.starts_with("HTTP/1.1 200") && usual.ends_with("\r\n\r\nok"), "{usual}");
    let busy =
        Answer { status: 503, body: "{}".to_owned(), content_type: "application/json".to_owned(), ..Answer::default() };
    receiver.answer("/b", busy);
    let post = "POST /b HTTP/1.1\r\nhost: h\r\ncontent-length: 7\r\nconnection: close\r\n\r\n{\"n\":1}";
    let told = send(&receiver, post).await?;
    assert!(told.starts_with("HTTP/1.1 503") && told.contains("application/json") && told.ends_with("{}"), "{told}");

    let received = receiver.wait_for(2, PATIENCE).await?;
    assert_eq!(
        (received[0].method.as_str(), received[0].path.as_str(), received[0].query.as_str()),
        ("GET", "/a", "x=1&y")
    );
    assert_eq!(received[0].header("x-team"), Some("blue"));
    assert_eq!(receiver.received_on("/b")[0].json(), Some(serde_json::json!({"n": 1})));
    let missed = receiver.wait_for(3, Duration::from_millis(1)).await.unwrap_err();
    assert!(missed.to_string().contains("2 requests of 3"), "{missed}");
    Ok(())
}

#[tokio::test]
async fn what_was_waited_for_in_vain_is_named() {
    let vain = wait_until("the moon", Duration::from_millis(1), || async { None::<()> }).await.unwrap_err();
    assert!(vain.to_string().contains("the moon"), "{vain}");
}

#[tokio::test]
async fn a_server_leaves_nothing_behind() -> anyhow::Result<()> {
    let server = Postgres::start_with(PostgresOptions { durable: false, ..Default::default() }).await?;
    let folder = server.folder().to_owned();
    let port = server.port();
    assert!(folder.exists() && TcpStream::connect(("127.0.0.1", port)).await.is_ok());
    server.restart().await?;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_ok());
    drop(server);
    assert!(!Path::new(&folder).exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    Ok(())
}
