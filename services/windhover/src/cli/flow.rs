//! `windhover flow …`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use tonic::Code;
use windhover_client::{
    ClientError,
    v1::{
        ApplyFlowRequest, ApplyFlowResponse, DeleteFlowRequest, Flow, GetFlowRequest, GetFlowSchemaRequest,
        ListFlowRevisionsRequest, ListFlowsRequest, Severity, ValidateFlowRequest, ValidateFlowResponse, Violation,
    },
};

use super::{
    error::{Failure, describe, say},
    json,
    output::table,
    pages,
    session::Session,
    sources::{self, Source},
    style::{self, paint, safe},
    values::Filter,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make flows, or new revisions of them; the same source again changes nothing.
    Apply(Apply),
    /// Print the source of a flow.
    Get(Get),
    /// List the flows.
    List(List),
    /// Say everything that is wrong with sources, without storing them.
    Validate(Validate),
    /// Print the JSON Schema of flows, for editors.
    Schema,
    /// Take a flow out of service; its executions stay readable.
    Delete(Delete),
    /// List the revisions of a flow, newest first.
    Revisions(Revisions),
}

#[derive(Args)]
pub(crate) struct Apply {
    /// YAML files, folders of them, or `-` for standard input; a file may hold several flows, between lines of `---`.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Check and answer as if, but store nothing.
    #[arg(long)]
    dry_run: bool,
    /// The etag of the revision that this one shall replace; only with a single flow.
    #[arg(long)]
    etag: Option<String>,
}

#[derive(Args)]
pub(crate) struct Get {
    /// Namespace of the flow.
    namespace: String,
    /// Id of the flow.
    flow: String,
    /// Which revision; the newest when not given.
    #[arg(long)]
    revision: Option<u32>,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only this namespace; with a dot at its end, all below.
    #[arg(long, short)]
    namespace: Option<String>,
    /// A filter over namespace, flow, labels.KEY and disabled, e.g. `labels.team = "data"`.
    #[arg(long)]
    filter: Option<String>,
    /// At most so many; 0 = all.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Args)]
pub(crate) struct Validate {
    /// YAML files, folders of them, or `-` for standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Delete {
    /// Namespace of the flow.
    namespace: String,
    /// Id of the flow.
    flow: String,
    /// Delete only if the flow is still this revision.
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
}

#[derive(Args)]
pub(crate) struct Revisions {
    /// Namespace of the flow.
    namespace: String,
    /// Id of the flow.
    flow: String,
    /// At most so many; 0 = all.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Apply(command) => apply(session, command).await,
        Command::Validate(command) => validate(session, command).await,
        Command::Get(command) => {
            let request =
                GetFlowRequest { namespace: command.namespace, flow_id: command.flow, revision: command.revision };
            let response = session.client.get_flow(request).await?;
            session.output.print(&response, || {
                let source = response.flow.as_ref().map(|flow| flow.source.as_str()).unwrap_or_default();
                vec![safe(source.trim_end_matches('\n')).into_owned()]
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Schema => {
            let response = session.client.get_flow_schema(GetFlowSchemaRequest {}).await?;
            let text = response.schema.as_ref().map(|json| json.text.as_str()).unwrap_or_default();
            session.output.print(&response, || vec![json::pretty(text)])?;
            Ok(ExitCode::SUCCESS)
        }
        Command::List(command) => list(session, command).await,
        Command::Delete(command) => {
            let name = format!("{}/{}", command.namespace, command.flow);
            let request = DeleteFlowRequest {
                namespace: command.namespace,
                flow_id: command.flow,
                etag: command.etag,
                request_id: String::new(),
            };
            let response = session.client.delete_flow(request).await?;
            session.output.print(&response, || vec![format!("deleted {name}")])?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Revisions(command) => revisions(session, command).await,
    }
}

async fn apply(session: &Session, command: Apply) -> Result<ExitCode, Failure> {
    let sources = sources::read(&command.paths)?;
    if command.etag.is_some() && sources.len() != 1 {
        return Err(Failure::Here("--etag is for a single flow".to_owned()));
    }
    let mut responses = Vec::new();
    let mut refused = false;
    let mut stopped = None;
    for source in &sources {
        let request = ApplyFlowRequest {
            source: source.text.clone(),
            validate_only: command.dry_run,
            etag: command.etag.clone().unwrap_or_default(),
            ..ApplyFlowRequest::default()
        };
        match session.client.apply_flow_request(request).await {
            Ok(response) if session.output.is_json() => responses.push(json::value(&response)?),
            Ok(response) => session.output.lines(&applied(&response, source, command.dry_run))?,
            // The others have their own chance, …
            Err(error) if is_about_the_source(&error) => {
                say(&describe(&error, Some(source)));
                refused = true;
            }
            // … unless nothing can come of it.
            Err(error) => {
                stopped = Some(error);
                break;
            }
        }
    }
    let code = finish(session, responses, sources.len(), refused);
    stopped.map_or(code, |error| Err(error.into()))
}

async fn validate(session: &Session, command: Validate) -> Result<ExitCode, Failure> {
    let sources = sources::read(&command.paths)?;
    let mut responses = Vec::new();
    let mut wrong = false;
    for source in &sources {
        let request = ValidateFlowRequest { source: source.text.clone() };
        let response = session.client.validate_flow(request).await?;
        wrong |= !response.valid;
        if session.output.is_json() {
            responses.push(json::value(&response)?);
        } else {
            session.output.lines(&validated(&response, source))?;
        }
    }
    finish(session, responses, sources.len(), wrong)
}

/// One source gives one answer; several give an array of them.
fn finish(
    session: &Session,
    mut responses: Vec<serde_json::Value>,
    sources: usize,
    failed: bool,
) -> Result<ExitCode, Failure> {
    if session.output.is_json() && sources > 1 {
        session.output.json(&serde_json::Value::Array(responses))?;
    } else if let Some(response) = responses.pop() {
        session.output.json(&response)?;
    }
    if failed { Err(Failure::Reported) } else { Ok(ExitCode::SUCCESS) }
}

fn is_about_the_source(error: &ClientError) -> bool {
    matches!(
        error.code,
        Code::InvalidArgument | Code::Unimplemented | Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists
    )
}

fn applied(response: &ApplyFlowResponse, source: &Source, dry_run: bool) -> Vec<String> {
    let outcome = response.outcome().short_name().to_lowercase();
    let flow = response.flow.clone().unwrap_or_default();
    let how = if dry_run { " (nothing was stored)" } else { "" };
    let mut lines = vec![format!("{outcome} {} revision {}{how}", name(&flow), flow.revision)];
    lines.extend(response.warnings.iter().map(|warning| violation(warning, source)));
    lines
}

fn validated(response: &ValidateFlowResponse, source: &Source) -> Vec<String> {
    let mut lines: Vec<String> = response.violations.iter().map(|one| violation(one, source)).collect();
    if response.valid {
        lines.push(format!("{}: {}/{} is valid", source.name, safe(&response.namespace), safe(&response.flow_id)));
    }
    lines
}

/// `file:line:column: path: message`, as editors and compilers do.
fn violation(violation: &Violation, source: &Source) -> String {
    let place = source.place(violation.line, violation.column);
    let severity = match violation.severity() {
        Severity::Warning => paint(style::WARNING, "warning: "),
        _ => String::new(),
    };
    let path = if violation.path.is_empty() { String::new() } else { format!("{}: ", violation.path) };
    let suggestion = match violation.suggestion.as_str() {
        "" => String::new(),
        suggestion => format!(" (did you mean `{suggestion}`?)"),
    };
    format!("{place}: {severity}{}{}{}", safe(&path), safe(&violation.message), safe(&suggestion))
}

async fn list(session: &Session, command: List) -> Result<ExitCode, Failure> {
    let filter = in_namespace(command.namespace.as_deref()).and_text(command.filter.as_deref()).text();
    let response = pages::collect(command.limit, async |page_size, page_token| {
        let request = ListFlowsRequest { page_size, page_token, filter: filter.clone(), view: 0 };
        session.client.list_flows(request).await
    })
    .await?;
    session.output.print(&response, || {
        let rows = response.flows.iter().map(|flow| {
            let disabled = if flow.disabled { "disabled" } else { "" };
            [name(flow), flow.revision.to_string(), style::date_time(flow.created.as_ref()), disabled.to_owned()]
        });
        table(["FLOW", "REVISION", "CHANGED", ""], rows.collect())
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn revisions(session: &Session, command: Revisions) -> Result<ExitCode, Failure> {
    let response = pages::collect(command.limit, async |page_size, page_token| {
        let request = ListFlowRevisionsRequest {
            namespace: command.namespace.clone(),
            flow_id: command.flow.clone(),
            page_size,
            page_token,
            view: 0,
        };
        session.client.list_flow_revisions(request).await
    })
    .await?;
    session.output.print(&response, || {
        let rows = response.flows.iter().map(|flow| {
            let deleted = if flow.deleted { "deleted after this" } else { "" };
            [flow.revision.to_string(), style::date_time(flow.created.as_ref()), deleted.to_owned()]
        });
        table(["REVISION", "MADE", ""], rows.collect())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `a.b` is that namespace, `a.b.` everything below it.
pub(super) fn in_namespace(namespace: Option<&str>) -> Filter {
    let operator = if namespace.is_some_and(|namespace| namespace.ends_with('.')) { ":" } else { "=" };
    Filter::default().and("namespace", operator, namespace)
}

fn name(flow: &Flow) -> String {
    format!("{}/{}", safe(&flow.namespace), safe(&flow.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violations_read_like_those_of_a_compiler() {
        let source = Source { name: "f.yaml".into(), lines_before: 2, text: String::new() };
        let mut one = Violation {
            severity: Severity::Error.into(),
            path: "tasks[0].type".into(),
            line: 3,
            column: 5,
            message: "unknown type `Lgo`".into(),
            suggestion: "Log".into(),
            unsupported: false,
        };
        assert_eq!(violation(&one, &source), "f.yaml:5:5: tasks[0].type: unknown type `Lgo` (did you mean `Log`?)");
        one = Violation { severity: Severity::Warning.into(), message: "odd".into(), ..Violation::default() };
        assert_eq!(anstream::adapter::strip_str(&violation(&one, &source)).to_string(), "f.yaml: warning: odd");
    }

    #[test]
    fn a_namespace_with_a_dot_at_its_end_means_all_below() {
        assert_eq!(in_namespace(Some("a.b")).text(), r#"namespace = "a.b""#);
        assert_eq!(in_namespace(Some("a.b.")).text(), r#"namespace : "a.b.""#);
        assert_eq!(in_namespace(None).text(), "");
    }
}
