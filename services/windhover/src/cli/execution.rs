//! `windhover execution …`

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use windhover_client::v1::{
    CreateExecutionRequest, CreateExecutionResponse, GetExecutionRequest, KillExecutionRequest, Label,
    ListExecutionsRequest, State, WaitExecutionResponse,
};

use super::{
    action,
    error::{ENDED_BADLY, Failure, NOT_IN_TIME},
    execution_text::{details, heading, rows, summary},
    flow::in_namespace,
    follow, pages,
    session::Session,
    style,
    values::{self, Input},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a flow.
    Create(Create),
    /// Print an execution as it is now.
    Get(Get),
    /// List executions, newest first.
    List(List),
    /// Show states and log lines as they come, until it has ended.
    Follow(Get),
    /// Stop an execution and what it started.
    Kill(Get),
    /// Wait until it has ended, or is in a state.
    Wait(Wait),
    #[command(flatten)]
    Action(action::Command),
}

#[derive(Args)]
pub(crate) struct Create {
    /// Namespace of the flow.
    namespace: String,
    /// Id of the flow.
    flow: String,
    /// A value for an input: `ID=TEXT`, `ID=@FILE` (its content), or `@FILE.json` (an object of inputs).
    #[arg(long, short, value_name = "ID=VALUE", value_parser = Input::parse)]
    input: Vec<Input>,
    /// A label for the execution.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = values::label)]
    label: Vec<Label>,
    /// Which revision to run; the newest when not given.
    #[arg(long)]
    revision: Option<u32>,
    /// Not before this time, e.g. `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    schedule: Option<prost_types::Timestamp>,
    /// Makes it safe to run the same command again: the second time starts nothing.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    request_id: String,
    /// Show states and log lines as they come, until it has ended.
    #[arg(long, conflicts_with = "wait")]
    follow: bool,
    /// Wait until it has ended, and print what came of it.
    #[arg(long)]
    wait: bool,
    /// With --wait: how long, e.g. `90s`, `5m`. For ever when not given.
    #[arg(long, value_name = "DURATION", value_parser = values::duration, requires = "wait")]
    timeout: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct Get {
    /// Id of the execution.
    execution: String,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only this namespace; with a dot at its end, all below.
    #[arg(long, short)]
    namespace: Option<String>,
    /// Only this flow.
    #[arg(long, short)]
    flow: Option<String>,
    /// Only this state; may be given several times.
    #[arg(long, short, value_parser = values::state)]
    state: Vec<State>,
    /// A filter over state, namespace, flow, labels.KEY, created, started, ended, trigger.id and parent.
    #[arg(long)]
    filter: Option<String>,
    /// At most so many; 0 = all.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Args)]
pub(crate) struct Wait {
    /// Id of the execution.
    execution: String,
    /// Wait for this state instead of the end; may be given several times.
    #[arg(long, short, value_parser = values::state)]
    state: Vec<State>,
    /// How long, e.g. `90s`, `5m`. For ever when not given.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    timeout: Option<Duration>,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Create(command) => create(session, command).await,
        Command::Get(command) => {
            let request = GetExecutionRequest { execution_id: command.execution, view: 0 };
            let response = session.client.get_execution(request).await?;
            session.output.print(&response, || response.execution.as_ref().map(details).unwrap_or_default())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::List(command) => list(session, command).await,
        Command::Follow(command) => follow::follow(session, &command.execution, None).await,
        Command::Kill(command) => {
            let request = KillExecutionRequest { execution_id: command.execution, request_id: String::new() };
            let response = session.client.kill_execution(request).await?;
            session.output.print(&response, || response.execution.iter().map(heading).collect())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Wait(command) => wait(session, &command.execution, &command.state, command.timeout).await,
        Command::Action(command) => action::run(session, command).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn create(session: &Session, command: Create) -> Result<ExitCode, Failure> {
    let request = CreateExecutionRequest {
        namespace: command.namespace,
        flow_id: command.flow,
        revision: command.revision,
        inputs: command.input.into_iter().flat_map(Input::into_values).collect(),
        labels: command.label,
        schedule_time: command.schedule,
        request_id: command.request_id,
    };
    let execution = session.client.create_execution(request).await?;
    let id = execution.id.clone();
    if command.wait {
        return wait(session, &id, &[], command.timeout).await;
    }
    let response = CreateExecutionResponse { execution: Some(execution) };
    if command.follow {
        return follow::follow(session, &id, Some(&response)).await;
    }
    session.output.print(&response, || response.execution.iter().map(heading).collect())?;
    Ok(ExitCode::SUCCESS)
}

async fn list(session: &Session, command: List) -> Result<ExitCode, Failure> {
    let states: Vec<&str> = command.state.iter().map(|state| state.short_name()).collect();
    let filter = in_namespace(command.namespace.as_deref())
        .and("flow", "=", command.flow.as_deref())
        .and_any("state", &states)
        .and_text(command.filter.as_deref())
        .text();
    let response = pages::collect(command.limit, async |page_size, page_token| {
        let request = ListExecutionsRequest { page_size, page_token, filter: filter.clone(), view: 0 };
        session.client.list_executions(request).await
    })
    .await?;
    session.output.print(&response, || rows(&response.executions))?;
    Ok(ExitCode::SUCCESS)
}

async fn wait(
    session: &Session,
    execution_id: &str,
    states: &[State],
    timeout: Option<Duration>,
) -> Result<ExitCode, Failure> {
    let response = session.client.wait_for(execution_id, states, timeout).await?;
    session.output.print(&response, || response.execution.as_ref().map(summary).unwrap_or_default())?;
    let code = exit_code(&response, states);
    if code == NOT_IN_TIME {
        super::error::say(&[style::paint(style::WARNING, "the execution did not get there in time")]);
    }
    Ok(code.into())
}

/// Whether what was waited for came.
fn exit_code(response: &WaitExecutionResponse, states: &[State]) -> u8 {
    let state = response.execution.as_ref().map_or(State::Unspecified, |execution| execution.current_state());
    match (response.reached, state.is_final()) {
        (true, _) if !states.is_empty() => 0,
        (_, true) if states.is_empty() && ended_well(state) => 0,
        (_, true) => ENDED_BADLY,
        (_, false) => NOT_IN_TIME,
    }
}

pub(super) fn ended_well(state: State) -> bool {
    matches!(state, State::Success | State::Warning)
}

#[cfg(test)]
mod tests {
    use windhover_client::v1::{Execution, StateHistory};

    use super::*;

    #[test]
    fn only_what_was_waited_for_exits_with_zero() {
        let response = |state: State, reached| WaitExecutionResponse {
            execution: Some(Execution {
                state: Some(StateHistory { current: state.into(), history: Vec::new() }),
                ..Execution::default()
            }),
            reached,
        };
        assert_eq!(exit_code(&response(State::Success, true), &[]), 0);
        assert_eq!(exit_code(&response(State::Warning, true), &[]), 0);
        assert_eq!(exit_code(&response(State::Failed, true), &[]), ENDED_BADLY);
        assert_eq!(exit_code(&response(State::Running, false), &[]), NOT_IN_TIME);
        assert_eq!(exit_code(&response(State::Failed, true), &[State::Failed]), 0);
        assert_eq!(exit_code(&response(State::Success, false), &[State::Paused]), ENDED_BADLY);
        assert_eq!(exit_code(&response(State::Unspecified, false), &[]), NOT_IN_TIME);
    }
}
