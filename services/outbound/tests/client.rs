//! The client against a local server.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
    routing::{any, get, post},
};
use http::Method;
use windhover_outbound::{AddressKind, AddressPolicy, Client, ClientConfig, OutboundError, Request};

async fn serve() -> String {
    let router = Router::new()
        .route("/agent", get(|headers: HeaderMap| async move { header_of(&headers, "user-agent") }))
        .route("/large", get(|| async { "x".repeat(1_000) }))
        .route("/never", get(std::future::pending::<String>))
        .route("/loop", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "/loop")]) }))
        .route("/away", get(|| async { (StatusCode::FOUND, [(header::LOCATION, "http://169.254.169.254/latest")]) }))
        .route(
            "/named",
            get(|headers: HeaderMap| async move {
                let port = header_of(&headers, "host").rsplit(':').next().unwrap_or_default().to_owned();
                (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("http://localhost:{port}/echo"))])
                    .into_response()
            }),
        )
        .route(
            "/status/{code}",
            post(|Path(code): Path<u16>| async move {
                (StatusCode::from_u16(code).unwrap_or_default(), [(header::LOCATION, "/echo")])
            }),
        )
        .route(
            "/echo",
            any(|method: Method, headers: HeaderMap, body: String| async move {
                format!("{method} {} {body}", header_of(&headers, "authorization"))
            }),
        )
        .route(
            "/endless",
            get(|| async {
                let chunks = futures_like::repeat();
                Body::from_stream(chunks)
            }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

/// A stream without end, without a crate for it.
mod futures_like {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    pub(super) struct Repeat;

    pub(super) fn repeat() -> Repeat {
        Repeat
    }

    impl tokio_stream::Stream for Repeat {
        type Item = Result<&'static str, std::io::Error>;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(Some(Ok("0123456789")))
        }
    }
}

fn header_of(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned()
}

fn local() -> Client {
    let addresses = AddressPolicy::public().allow_private(true);
    Client::new(ClientConfig { addresses, ..ClientConfig::default() }).expect("a client")
}

fn get_request(url: String) -> Request {
    Request::new(Method::GET, url)
}

#[tokio::test]
async fn the_user_agent_is_kestra_unless_given() {
    let (base, client) = (serve().await, local());
    let mut request = get_request(format!("{base}/agent"));
    assert_eq!(client.send(request.clone()).await.expect("an answer").text_lossy(), "Kestra");
    request.headers.insert("user-agent", "mine".parse().expect("a header"));
    assert_eq!(client.send(request).await.expect("an answer").text_lossy(), "mine");
}

#[tokio::test]
async fn written_and_resolved_addresses_are_refused_alike() {
    let base = serve().await;
    let strict = Client::new(ClientConfig::default()).expect("a client");
    let named = base.replace("127.0.0.1", "localhost");
    let tricks = ["http://2130706433/", "http://0x7f.1/", "http://[::ffff:127.0.0.1]/", "http://[::1]/"];
    for url in [base.as_str(), &named].into_iter().chain(tricks) {
        let outcome = strict.send(get_request(url.to_owned())).await;
        assert!(matches!(outcome, Err(OutboundError::Refused { .. })), "{url}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_redirect_to_a_refused_address_is_not_followed() {
    let base = serve().await;
    let outcome = local().send(get_request(format!("{base}/away"))).await;
    let expected = OutboundError::Refused { host: "169.254.169.254".to_owned(), kind: AddressKind::Metadata };
    assert_eq!(outcome.map(|response| response.status), Err(expected));
}

#[tokio::test]
async fn a_redirect_keeps_or_changes_the_method_as_its_status_says() {
    let (base, client) = (serve().await, local());
    for (status, echoed) in [
        (301, "GET secret "),
        (302, "GET secret "),
        (303, "GET secret "),
        (307, "POST secret body"),
        (308, "POST secret body"),
    ] {
        let mut request = Request::new(Method::POST, format!("{base}/status/{status}"));
        request.headers.insert("authorization", "secret".parse().expect("a header"));
        request.body = "body".into();
        assert_eq!(client.send(request.clone()).await.expect("an answer").text_lossy(), echoed, "{status}");
        request.follow_redirects = false;
        assert_eq!(client.send(request).await.expect("an answer").status, status);
    }
}

#[tokio::test]
async fn credentials_do_not_follow_to_another_origin() {
    let (base, client) = (serve().await, local());
    let mut request = get_request(format!("{base}/named"));
    request.headers.insert("authorization", "secret".parse().expect("a header"));
    let response = client.send(request).await.expect("an answer");
    assert_eq!((response.url.host_str(), response.text_lossy().as_str()), (Some("localhost"), "GET - "));
}

#[tokio::test]
async fn limits_end_what_is_too_large_too_slow_or_turns_in_circles() {
    let (base, client) = (serve().await, local());
    for path in ["large", "endless"] {
        let mut request = get_request(format!("{base}/{path}"));
        request.max_response_bytes = Some(999);
        let outcome = client.send(request).await;
        assert!(matches!(outcome, Err(OutboundError::TooLarge { limit: 999, .. })), "{path}: {outcome:?}");
    }
    let outcome = client.send(get_request(format!("{base}/loop"))).await;
    assert!(matches!(outcome, Err(OutboundError::TooManyRedirects { .. })), "{outcome:?}");
    let mut request = get_request(format!("{base}/never"));
    request.timeout = Some(Duration::from_millis(50));
    let outcome = client.send(request).await;
    assert!(matches!(outcome, Err(OutboundError::Timeout { .. })), "{outcome:?}");
}

#[tokio::test]
async fn an_open_answer_comes_in_pieces_and_ends_at_its_limits() {
    let (base, client) = (serve().await, local());
    let mut answer = client.open(get_request(format!("{base}/large"))).await.expect("an answer");
    assert_eq!((answer.status, answer.length(), answer.received()), (200, Some(1_000), 0));
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.expect("a piece") {
        body.extend_from_slice(&piece);
    }
    assert_eq!((body.len(), answer.received()), (1_000, 1_000));

    // What has no end is read as far as somebody wants, and no further than it may be.
    let mut request = get_request(format!("{base}/endless"));
    request.max_response_bytes = Some(100_000);
    let mut answer = client.open(request.clone()).await.expect("an answer");
    assert!(answer.chunk().await.expect("a piece").is_some_and(|piece| !piece.is_empty()));
    let failed = loop {
        match answer.chunk().await {
            Ok(piece) => assert!(piece.is_some(), "it has no end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, OutboundError::TooLarge { limit: 100_000, .. }), "{failed:?}");
    request.max_response_bytes = None;
    request.timeout = Some(Duration::from_millis(100));
    let mut answer = client.open(request).await.expect("an answer");
    let failed = loop {
        if let Err(error) = answer.chunk().await {
            break error;
        }
    };
    assert!(matches!(failed, OutboundError::Timeout { .. }), "{failed:?}");
    let answer = client.open(get_request(format!("{base}/away"))).await;
    assert!(matches!(answer, Err(OutboundError::Refused { .. })), "{answer:?}");
}

#[tokio::test]
async fn errors_show_the_host_and_no_token() {
    let client = local();
    // Nothing listens on port 1.
    let url = "http://user:hunter2@127.0.0.1:1/services/T0/hunter2?token=hunter2";
    let error = client.send(get_request(url.to_owned())).await.expect_err("nobody listens");
    assert!(matches!(error, OutboundError::Connect { .. }), "{error:?}");
    for text in [error.to_string(), format!("{error:?}"), format!("{:?}", get_request(url.to_owned()))] {
        assert!(text.contains("127.0.0.1") && !text.contains("hunter2"), "{text}");
    }
    for (url, reason) in [("ftp://example.org/hunter2", "ftp"), ("hunter2", "relative"), ("http://", "host")] {
        let error = client.send(get_request(url.to_owned())).await.expect_err("not a URL for us").to_string();
        assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
    }
}
