//! Errors, as people read them.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use tonic::Code;
use windhover_client::ClientError;

use super::{
    sources::Source,
    style::{self, paint},
};

/// The execution that was waited for or followed did not end well.
pub(super) const ENDED_BADLY: u8 = 3;
/// It did not end in the time given.
pub(super) const NOT_IN_TIME: u8 = 4;

/// Why a command did not work.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server, or the way to it.
    Client(ClientError),
    /// The command line, a file, or anything else here; a plain sentence.
    Here(String),
    /// The output cannot be written.
    Output(io::Error),
    /// Everything has been said already.
    Reported,
}

impl Failure {
    /// Says it on standard error. `server`: whom the client was to call.
    pub(super) fn report(&self, server: &str) -> ExitCode {
        let lines = match self {
            Self::Client(error) => {
                let mut lines = describe(error, None);
                lines.extend(hint(error.code, server));
                lines
            }
            Self::Here(message) => vec![headline(message, "")],
            // Whoever reads the output has seen enough, as with `| head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Vec::new(),
            Self::Output(error) => vec![headline(&format!("cannot write the output: {error}"), "")],
            Self::Reported => Vec::new(),
        };
        say(&lines);
        ExitCode::FAILURE
    }
}

/// Writes lines to standard error; when that fails there is nobody left to tell.
pub(super) fn say(lines: &[String]) {
    let mut out = anstream::stderr().lock();
    for line in lines {
        let _ = writeln!(out, "{line}");
    }
}

/// An error with its reason, what it is about, and every wrong field. Fields in the source of a flow are given as
/// places of the file that it came from.
pub(super) fn describe(error: &ClientError, source: Option<&Source>) -> Vec<String> {
    let mut lines = Vec::new();
    let about = source.map(|source| format!("{}: ", source.name)).unwrap_or_default();
    lines.push(headline(&format!("{about}{}", error.message), &error.reason));
    // What was said already is not said twice.
    for violation in error.fields.iter().filter(|violation| !error.message.ends_with(&violation.description)) {
        let place = match (source, place_in_source(&violation.field)) {
            (Some(source), Some((line, column, path))) => {
                let place = source.place(line, column);
                if path.is_empty() { place } else { format!("{place}: {path}") }
            }
            _ => violation.field.clone(),
        };
        lines.push(format!("  {}: {}", style::safe(&place), style::safe(&violation.description)));
    }
    for (key, value) in &error.metadata {
        lines.push(paint(style::DIM, &format!("  {}: {}", style::safe(key), style::safe(value))));
    }
    if let Some(after) = error.retry_after {
        lines.push(format!("  try again after {}", style::duration(after)));
    }
    if let Some(id) = &error.request_id {
        lines.push(paint(style::DIM, &format!("  request: {}", style::safe(id))));
    }
    lines
}

fn headline(message: &str, reason: &str) -> String {
    let reason = if reason.is_empty() { String::new() } else { format!(" ({})", style::safe(reason)) };
    format!("{} {}{reason}", paint(style::ERROR, "error:"), style::safe(message))
}

fn hint(code: Code, server: &str) -> Option<String> {
    match code {
        Code::Unavailable => Some(format!(
            "  is a server running at {}? `windhover server local` starts one; --server or WINDHOVER_SERVER name another",
            style::safe(server)
        )),
        Code::Unauthenticated => Some("  give a token with --token or WINDHOVER_TOKEN".to_owned()),
        _ => None,
    }
}

/// Line, column and path of a field `source:LINE:COLUMN path`.
fn place_in_source(field: &str) -> Option<(u32, u32, &str)> {
    let rest = field.strip_prefix("source:")?;
    let (place, path) = rest.split_once(' ').unwrap_or((rest, ""));
    let (line, column) = place.split_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?, path))
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    fn plain(lines: &[String]) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn violations_are_shown_at_their_place_in_the_file() {
        let mut details = ErrorDetails::with_error_info(
            "INVALID_FLOW",
            "windhover",
            HashMap::from([("flow".into(), "hello".into())]),
        );
        details.add_bad_request_violation("source:3:5 tasks[0].type", "unknown type `x`");
        details.add_bad_request_violation("source:1:1", "no id");
        let error = ClientError::from(Status::with_error_details(Code::InvalidArgument, "2 errors", details));
        let source = Source { name: "all.yaml".into(), lines_before: 10, text: String::new() };
        assert_eq!(
            plain(&describe(&error, Some(&source))),
            "error: all.yaml: 2 errors (INVALID_FLOW)\n  all.yaml:13:5: tasks[0].type: unknown type `x`\n  \
             all.yaml:11:1: no id\n  flow: hello"
        );
        assert!(plain(&describe(&error, None)).contains("  source:3:5 tasks[0].type: unknown type `x`"));
    }

    #[test]
    fn a_server_that_is_not_there_is_told_with_what_to_do() {
        let error = ClientError::from(windhover_client::v1::Error {
            code: Code::Unavailable.into(),
            reason: "UNAVAILABLE".into(),
            message: "cannot reach http://h: connection refused\u{1b}[31m".into(),
            metadata: BTreeMap::new(),
            fields: Vec::new(),
            retry_after: None,
        });
        let text = plain(&describe(&error, None));
        assert_eq!(text, "error: cannot reach http://h: connection refused\u{fffd}[31m (UNAVAILABLE)");
        let hint = hint(error.code, "http://h").unwrap();
        assert!(hint.contains("http://h") && hint.contains("windhover server local"), "{hint}");
    }
}
