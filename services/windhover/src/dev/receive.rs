//! A receiver for what flows send.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{Request, StatusCode},
};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::slack;
use crate::cli::style::{BOLD, DIM, ERROR, local_time_of_day, paint, safe};

const MAX_BODY_BYTES: usize = 16 << 20;
/// How long open connections may take to notice the end.
const GOODBYE: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct Receive {
    /// Port to listen on, on this machine only; 0 = a free one. The first line says which.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// End after so many requests; runs on when not given.
    #[arg(long)]
    count: Option<u64>,
    /// Give up after so many seconds, with exit code 1; waits for ever when not given.
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// A request as it came.
struct Received {
    at: DateTime<Utc>,
    method: String,
    target: String,
    body: Result<Vec<u8>, String>,
}

pub(super) async fn run(command: Receive) -> ExitCode {
    match receive(command).await {
        Ok(code) => code,
        // Whoever reads the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(anstream::stderr(), "{} {error}", paint(ERROR, "error:"));
            ExitCode::FAILURE
        }
    }
}

async fn receive(command: Receive) -> io::Result<ExitCode> {
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), command.port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
    print(&[format!("listening on http://{}", listener.local_addr()?)])?;

    let (sender, mut receiver) = mpsc::channel(64);
    let (stop, stopped) = oneshot::channel::<()>();
    let app = Router::new().fallback(answer).with_state(sender);
    let server = tokio::spawn(
        axum::serve(listener, app)
            .with_graceful_shutdown(async {
                let _ = stopped.await;
            })
            .into_future(),
    );

    let deadline = command.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut left = command.count;
    while left != Some(0) {
        let next = async {
            match deadline {
                Some(deadline) => tokio::select! { next = receiver.recv() => next, () = sleep_until(deadline) => None },
                None => receiver.recv().await,
            }
        };
        let Some(received) = next.await else {
            let _ = writeln!(anstream::stderr(), "{} nothing more came in time", paint(ERROR, "error:"));
            return Ok(ExitCode::FAILURE);
        };
        print(&lines(&received, local_time_of_day))?;
        left = left.map(|left| left - 1);
    }
    let _ = stop.send(());
    // The sender of the last request gets its answer before this process ends.
    let _ = timeout(GOODBYE, server).await;
    Ok(ExitCode::SUCCESS)
}

async fn answer(State(sender): State<mpsc::Sender<Received>>, request: Request<Body>) -> (StatusCode, &'static str) {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY_BYTES).await;
    let status = if body.is_ok() { StatusCode::OK } else { StatusCode::PAYLOAD_TOO_LARGE };
    let received = Received {
        at: Utc::now(),
        method: head.method.to_string(),
        target: head.uri.to_string(),
        body: body.map(|bytes| bytes.to_vec()).map_err(|error| error.to_string()),
    };
    // Nobody prints any more when the last request that was waited for has come.
    let _ = sender.send(received).await;
    (status, if status == StatusCode::OK { "ok" } else { "too large" })
}

fn print(lines: &[String]) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn lines(received: &Received, time_of_day: fn(DateTime<Utc>) -> String) -> Vec<String> {
    let head = format!(
        "{} {}",
        paint(DIM, &time_of_day(received.at)),
        paint(BOLD, &safe(&format!("{} {}", received.method, received.target)))
    );
    let body = match &received.body {
        Err(error) => return vec![head, format!("  the body cannot be read: {error}")],
        Ok(bytes) => String::from_utf8_lossy(bytes),
    };
    let json: Option<Value> = serde_json::from_str(&body).ok();
    if let Some(message) = json.as_ref().and_then(slack::message) {
        let mut lines = vec![format!("{head}  Slack message{}", message.about)];
        lines.extend(message.lines.iter().map(|line| format!("  {line}")));
        return lines;
    }
    let text = match json {
        Some(value) => format!("{value:#}"),
        None => body.into_owned(),
    };
    let mut lines = vec![head];
    lines.extend(safe(&text).lines().map(|line| format!("  {line}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> String {
        let received = Received {
            at: DateTime::UNIX_EPOCH,
            method: "POST".into(),
            target: "/hook?x=1".into(),
            body: Ok(body.into()),
        };
        let lines = lines(&received, |at| at.format("%H:%M:%S%.3f").to_string());
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn every_body_is_printed_in_the_form_that_fits() {
        assert_eq!(shown(r#"{"a":1}"#), "00:00:00.000 POST /hook?x=1\n  {\n    \"a\": 1\n  }");
        assert_eq!(shown("plain\ntext\u{1b}[2J"), "00:00:00.000 POST /hook?x=1\n  plain\n  text\u{fffd}[2J");
        assert_eq!(shown(""), "00:00:00.000 POST /hook?x=1");
        assert_eq!(shown(r#"{"text":"*hi*"}"#), "00:00:00.000 POST /hook?x=1  Slack message\n  ┃ hi");
    }
}
