//! `windhover execution pause|resume|restart|…`: what people do to executions.

use clap::{Args, Subcommand};
use windhover_client::v1::{
    ChangeExecutionStateRequest, ChangeTaskRunStateRequest, DeleteExecutionRequest, ForceRunExecutionRequest, Label,
    PauseExecutionRequest, ReplayExecutionRequest, RestartExecutionRequest, ResumeExecutionRequest,
    SetExecutionLabelsRequest, State, UnqueueExecutionRequest,
};

use super::{
    error::Failure,
    execution_text::heading,
    session::Session,
    style::safe,
    values::{self, Input},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Let it begin nothing new; what runs goes on to its end.
    Pause(Plain),
    /// Let it go on after a pause.
    Resume(Resume),
    /// Run what failed in it again.
    Restart(Restart),
    /// Make a new execution of it.
    Replay(Replay),
    /// Let it go on at once, whatever it waits for.
    ForceRun(Plain),
    /// Take it out of the queue of its flow: it runs at once, or ends.
    Unqueue(Unqueue),
    /// Decide how it ended, or how a task of it ended: then it goes on behind that.
    ChangeState(ChangeState),
    /// Set labels after it has ended.
    SetLabels(SetLabels),
    /// Take it away for good after it has ended.
    Delete(Delete),
}

#[derive(Args)]
pub(crate) struct Plain {
    /// Id of the execution.
    execution: String,
    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
pub(crate) struct Once {
    /// Makes it safe to run the same command again: the second time does nothing.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    request_id: String,
}

#[derive(Args)]
pub(crate) struct Resume {
    /// Id of the execution.
    execution: String,
    /// A value for an input that the pause asks for: `ID=TEXT`, `ID=@FILE` (its content), or `@FILE.json` (an object).
    #[arg(long, short, value_name = "ID=VALUE", value_parser = Input::parse)]
    input: Vec<Input>,
    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
pub(crate) struct Restart {
    /// Id of the execution.
    execution: String,
    /// Do so in a new execution of this revision of its flow.
    #[arg(long)]
    revision: Option<u32>,
    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
pub(crate) struct Replay {
    /// Id of the execution.
    execution: String,
    /// Id of the task run to begin with; from the beginning when not given.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    task_run: String,
    /// Which revision to run; the same when not given.
    #[arg(long)]
    revision: Option<u32>,
    /// A value for an input, others are kept: `ID=TEXT`, `ID=@FILE` (its content), or `@FILE.json` (an object).
    #[arg(long, short, value_name = "ID=VALUE", value_parser = Input::parse)]
    input: Vec<Input>,
    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
pub(crate) struct Delete {
    /// Id of the execution.
    execution: String,
    /// Keep its log lines.
    #[arg(long)]
    keep_logs: bool,
    /// Keep its metrics.
    #[arg(long)]
    keep_metrics: bool,
}

#[derive(Args)]
pub(crate) struct Unqueue {
    /// Id of the execution.
    execution: String,
    /// What becomes of it: RUNNING, CANCELLED or FAILED.
    #[arg(long, short, value_parser = values::state, default_value = "RUNNING")]
    state: State,
    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
pub(crate) struct ChangeState {
    /// Id of the execution.
    execution: String,
    /// How it shall have ended, e.g. SUCCESS.
    #[arg(value_parser = values::state)]
    state: State,
    /// Id of a task run: change its state instead.
    #[arg(long, value_name = "ID")]
    task_run: Option<String>,
    #[command(flatten)]
    once: Once,
}

#[derive(Args)]
pub(crate) struct SetLabels {
    /// Id of the execution.
    execution: String,
    /// Labels; of equal keys these win.
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = values::label)]
    label: Vec<Label>,
    #[command(flatten)]
    once: Once,
}

/// Calls, and prints the execution that comes back.
macro_rules! show {
    ($session:expr, $method:ident($request:expr)) => {{
        let response = $session.client.$method($request).await?;
        $session.output.print(&response, || response.execution.iter().map(heading).collect())
    }};
}

pub(super) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Pause(Plain { execution, once: Once { request_id } }) => {
            show!(session, pause_execution(PauseExecutionRequest { execution_id: execution, request_id }))
        }
        Command::Resume(Resume { execution, input, once: Once { request_id } }) => {
            let inputs = input.into_iter().flat_map(Input::into_values).collect();
            show!(session, resume_execution(ResumeExecutionRequest { execution_id: execution, inputs, request_id }))
        }
        Command::Restart(Restart { execution, revision, once: Once { request_id } }) => {
            let request = RestartExecutionRequest { execution_id: execution, revision, request_id };
            show!(session, restart_execution(request))
        }
        Command::Replay(Replay { execution, task_run, revision, input, once: Once { request_id } }) => {
            let request = ReplayExecutionRequest {
                execution_id: execution,
                task_run_id: task_run,
                revision,
                inputs: input.into_iter().flat_map(Input::into_values).collect(),
                request_id,
            };
            show!(session, replay_execution(request))
        }
        Command::Delete(Delete { execution, keep_logs, keep_metrics }) => {
            let request = DeleteExecutionRequest {
                execution_id: execution.clone(),
                keep_logs,
                keep_metrics,
                request_id: String::new(),
            };
            let response = session.client.delete_execution(request).await?;
            session.output.print(&response, || vec![format!("deleted {}", safe(&execution))])
        }
        Command::ForceRun(Plain { execution, once: Once { request_id } }) => {
            show!(session, force_run_execution(ForceRunExecutionRequest { execution_id: execution, request_id }))
        }
        Command::Unqueue(Unqueue { execution, state, once: Once { request_id } }) => {
            let request = UnqueueExecutionRequest { execution_id: execution, state: state.into(), request_id };
            show!(session, unqueue_execution(request))
        }
        Command::ChangeState(ChangeState { execution, state, task_run, once: Once { request_id } }) => match task_run {
            None => {
                let request = ChangeExecutionStateRequest { execution_id: execution, state: state.into(), request_id };
                show!(session, change_execution_state(request))
            }
            Some(task_run_id) => {
                let request =
                    ChangeTaskRunStateRequest { execution_id: execution, task_run_id, state: state.into(), request_id };
                show!(session, change_task_run_state(request))
            }
        },
        Command::SetLabels(SetLabels { execution, label: labels, once: Once { request_id } }) => {
            show!(
                session,
                set_execution_labels(SetExecutionLabelsRequest { execution_id: execution, labels, request_id })
            )
        }
    }
}
