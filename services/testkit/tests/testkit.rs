//! The tools of the tests themselves.

use std::{path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use windhover_testkit::{
    Answer, Cluster, ClusterOptions, Postgres, PostgresOptions, Proxy, Receiver, Role, Traffic, wait_until,
};

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

/// A server that sends back what it gets.
async fn echo() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Ok(address)
}

async fn says(stream: &mut TcpStream, word: &[u8; 4]) -> anyhow::Result<bool> {
    stream.write_all(word).await?;
    hears(stream, word).await
}

async fn hears(stream: &mut TcpStream, word: &[u8; 4]) -> anyhow::Result<bool> {
    let mut back = [0; 4];
    stream.read_exact(&mut back).await?;
    Ok(back == *word)
}

#[tokio::test]
async fn a_proxy_delays_silences_cuts_and_refuses() -> anyhow::Result<()> {
    let target = echo().await?;
    let (proxy, url) = Proxy::before(&format!("redis://:word@{target}/0?x=1")).await?;
    assert_eq!(url, format!("redis://:word@{}/0?x=1", proxy.address()));
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert!(says(&mut stream, b"open").await?);

    proxy.set(Traffic::Delayed(Duration::from_millis(40)));
    let before = std::time::Instant::now();
    assert!(says(&mut stream, b"late").await?);
    assert!(before.elapsed() >= Duration::from_millis(80), "there and back: {:?}", before.elapsed());

    proxy.set(Traffic::Silent);
    stream.write_all(b"hush").await?;
    let mut other = TcpStream::connect(proxy.address()).await?;
    other.write_all(b"also").await?;
    let heard = tokio::time::timeout(Duration::from_millis(50), hears(&mut stream, b"hush")).await;
    assert!(heard.is_err(), "nothing may arrive while it is silent");
    proxy.set(Traffic::Passes);
    assert!(hears(&mut stream, b"hush").await? && hears(&mut other, b"also").await?);

    proxy.cut();
    assert!(says(&mut stream, b"gone").await.is_err());
    let mut stream = TcpStream::connect(proxy.address()).await?;
    assert!(says(&mut stream, b"back").await?);
    proxy.set(Traffic::Refused);
    assert!(says(&mut stream, b"gone").await.is_err());
    let refused = async { says(&mut TcpStream::connect(proxy.address()).await?, b"none").await };
    assert!(refused.await.is_err());
    wait_until("all connections to be closed", PATIENCE, || async { (proxy.connections() == 0).then_some(()) }).await
}

#[tokio::test]
async fn a_process_that_ends_at_once_is_told_with_its_log() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("program");
    std::fs::write(&program, "#!/bin/sh\necho \"called with $2\"\nexit 3\n")?;
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    let options = ClusterOptions::new(&program, "postgres://nobody@127.0.0.1:1/none");
    let error = Cluster::start(options, &[Role::Worker]).await.err().expect("it cannot have become ready");
    let text = format!("{error:#}");
    assert!(text.contains("worker-1") && text.contains('3') && text.contains("called with worker"), "{text}");
    Ok(())
}
