//! Digest authentication against a local server that checks what it is shown.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{AppendHeaders, IntoResponse, Response},
};
use sha2::Digest;
use windhover_outbound::{AddressPolicy, Client, ClientConfig, Login, Request};
use windhover_types::Secret;

const REALM: &str = "staff \"only\"";

/// Lets `Mufasa` in, whose password is `Circle: of Life`, and answers what he has sent and how it was proven.
#[derive(Clone, Default)]
struct Guard {
    asked: Arc<AtomicUsize>,
    url: String,
}

impl Guard {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let guard = Self { url, ..Self::default() };
        let router = Router::new().fallback(answer).with_state(guard.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        guard
    }

    fn request(&self, path: &str, password: &str) -> Request {
        let mut request = Request::new(Method::POST, format!("{}{path}", self.url));
        request.body = "body".into();
        request.digest = Some(Login { user: "Mufasa".to_owned(), password: Secret::new(password) });
        request
    }

    /// Status, body, and how often the guard was asked for it.
    async fn told(&self, request: Request) -> (u16, String, usize) {
        let before = self.asked.load(Ordering::SeqCst);
        let addresses = AddressPolicy::public().allow_private(true);
        let client = Client::new(ClientConfig { addresses, ..ClientConfig::default() }).expect("a client");
        let answer = client.send(request).await.expect("an answer");
        (answer.status, answer.text_lossy(), self.asked.load(Ordering::SeqCst) - before)
    }
}

async fn answer(State(guard): State<Guard>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let number = guard.asked.fetch_add(1, Ordering::SeqCst);
    let digest = |more: &str| format!("Digest realm=\"staff \\\"only\\\"\", nonce=\"n{number}\", opaque=\"o\"{more}");
    let challenges = match uri.path() {
        "/md5" => vec![digest(", qop=\"auth-int, auth\"")],
        "/best" => vec![digest(", qop=\"auth\", algorithm=MD5"), digest(", qop=\"auth\", algorithm=SHA-256")],
        "/one-header" => vec![format!("Basic realm=\"b\", {}", digest(", algorithm=SHA-256, qop=\"auth\""))],
        "/of-before" => vec![digest("")],
        "/aging" => vec![digest(", qop=\"auth\", stale=true")],
        "/strange" => vec![digest(", algorithm=WHIRLPOOL"), "Bearer".to_owned(), "Digest ???".to_owned()],
        "/away" => {
            let there = format!("{}/md5", guard.url.replace("127.0.0.1", "localhost"));
            return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, there)]).into_response();
        }
        "/moved" => return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/md5?x=y")]).into_response(),
        other => panic!("nobody asks for {other}"),
    };
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(parameters);
    // A nonce is good for the request that follows it; on `/aging` the first one is too old by then.
    let fresh = |shown: &HashMap<String, String>| {
        shown["nonce"] == format!("n{}", number - 1) && (uri.path() != "/aging" || number > 1)
    };
    match shown.filter(fresh).and_then(|shown| proven(&shown, &method, &uri)) {
        Some(how) => format!("{how} {}", String::from_utf8_lossy(&body)).into_response(),
        None => {
            let challenges = challenges.into_iter().map(|challenge| (header::WWW_AUTHENTICATE, challenge));
            (StatusCode::UNAUTHORIZED, AppendHeaders(challenges.collect::<Vec<_>>()), "who are you?").into_response()
        }
    }
}

/// `name=value, name="value"` of this server's challenges: no value has a comma.
fn parameters(header: &str) -> HashMap<String, String> {
    let pairs = header.strip_prefix("Digest ").expect("a digest").split(", ");
    let pairs = pairs.map(|pair| pair.split_once('=').expect("a pair"));
    let unquoted = |value: &str| match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\""),
        None => value.to_owned(),
    };
    pairs.map(|(name, value)| (name.to_owned(), unquoted(value))).collect()
}

/// How it is proven, if it is (RFC 7616 3.4.1, RFC 2069 2.1.2).
fn proven(shown: &HashMap<String, String>, method: &Method, uri: &Uri) -> Option<String> {
    let algorithm = shown.get("algorithm").map_or("MD5", String::as_str);
    let hash = |text: String| match algorithm {
        "SHA-256" => sha2::Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        _ => md5::Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let secret = hash(format!("Mufasa:{REALM}:Circle: of Life"));
    let target = hash(format!("{method}:{uri}"));
    let (expected, how) = match shown.get("qop") {
        Some(qop) => {
            let (nonce, count, own) = (&shown["nonce"], &shown["nc"], &shown["cnonce"]);
            (hash(format!("{secret}:{nonce}:{count}:{own}:{qop}:{target}")), format!("{algorithm} {qop}"))
        }
        None => (hash(format!("{secret}:{}:{target}", shown["nonce"])), format!("{algorithm} plain")),
    };
    let is_good = shown["response"] == expected
        && shown["username"] == "Mufasa"
        && shown["realm"] == REALM
        && shown["uri"] == uri.to_string()
        && shown["opaque"] == "o";
    is_good.then_some(how)
}

#[tokio::test]
async fn a_server_that_demands_a_digest_gets_the_best_that_it_offers() {
    let guard = Guard::start().await;
    for (path, how) in [
        ("/md5?a=b%20c&d", "MD5 auth"),
        ("/best", "SHA-256 auth"),
        ("/one-header", "SHA-256 auth"),
        ("/of-before", "MD5 plain"),
        // The proof is about one target: it is asked for again after a redirect.
        ("/moved", "MD5 auth"),
    ] {
        let (status, body, asked) = guard.told(guard.request(path, "Circle: of Life")).await;
        let redirects = usize::from(path == "/moved");
        assert_eq!((status, body.as_str(), asked), (200, format!("{how} body").as_str(), 2 + redirects), "{path}");
    }
}

#[tokio::test]
async fn an_old_nonce_is_proven_anew_and_a_wrong_password_is_not_tried_again() {
    let guard = Guard::start().await;
    assert_eq!(guard.told(guard.request("/aging", "Circle: of Life")).await.2, 3);
    for (path, password, asked) in [("/md5", "wrong", 2), ("/strange", "Circle: of Life", 1)] {
        let told = guard.told(guard.request(path, password)).await;
        assert_eq!(told, (401, "who are you?".to_owned(), asked), "{path}");
    }
    // A server that calls every nonce old is not asked for ever.
    let told = guard.told(guard.request("/aging", "wrong")).await;
    assert_eq!((told.0, told.2), (401, 3));
}

#[tokio::test]
async fn a_login_does_not_follow_to_another_origin() {
    let guard = Guard::start().await;
    let told = guard.told(guard.request("/away", "Circle: of Life")).await;
    assert_eq!(told, (401, "who are you?".to_owned(), 2));
}
