//! The command-line client: everything that it does goes through the gRPC API.
//!
//! Exit codes: 0 it worked; 1 it did not; 2 the command line is wrong (from clap); 3 the execution that was waited for
//! or followed did not end in SUCCESS or WARNING; 4 it did not end in the time given.

mod action;
mod admin;
mod cluster;
mod error;
mod execution;
mod execution_text;
mod file;
mod flow;
mod follow;
mod json;
mod kv;
mod log;
mod namespace;
mod output;
mod pages;
mod plugin;
mod secret;
mod session;
mod sources;
pub(crate) mod style;
mod trigger;
mod values;
mod worker_group;

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use error::Failure;
use session::Session;

// Whom to call, and how to print. For every client command, before or after it. (Not a doc comment: clap would take it,
// and that of the commands, for the description of the whole program.)
#[derive(Args, Clone)]
#[command(next_help_heading = "Client options")]
pub(crate) struct ClientArgs {
    /// Address of the server.
    #[arg(long, global = true, env = "WINDHOVER_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// Token to log in with; not needed for a server on this machine that asks for no login.
    #[arg(long, global = true, env = "WINDHOVER_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Tenant to act in, where the token may act in several.
    #[arg(long, global = true, env = "WINDHOVER_TENANT", value_name = "TENANT")]
    tenant: Option<String>,
    /// How to print: for people, or what the API returned as one JSON document.
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value_t = Format::Text)]
    output: Format,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// What the API returned, as one JSON document.
    Json,
}

// What the client can do.
#[derive(Subcommand)]
pub(crate) enum ClientCommand {
    /// Declare flows and look at them.
    #[command(subcommand)]
    Flow(flow::Command),
    /// Start flows, look at what they do, stop and repair them.
    #[command(subcommand)]
    Execution(execution::Command),
    /// Look at triggers, let them rest, run them for dates of the past.
    #[command(subcommand)]
    Trigger(trigger::Command),
    /// Print the log lines of an execution.
    Log(log::Command),
    /// Store files in namespaces and as inputs, and read files of executions.
    #[command(subcommand)]
    File(file::Command),
    /// Say what flows get from their namespaces: variables, defaults of plugins.
    #[command(subcommand)]
    Namespace(namespace::Command),
    /// Look up the types of tasks, triggers and conditions.
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Look at key-value stores of namespaces, and change them.
    #[command(subcommand)]
    Kv(kv::Command),
    /// Set secrets; their values are never shown.
    #[command(subcommand)]
    Secret(secret::Command),
    /// Look after tenants, tokens and the cluster.
    #[command(subcommand)]
    Admin(admin::Command),
    /// Say who the caller is and what they may do.
    Whoami,
}

/// Runs one command; errors go to standard error.
pub(crate) async fn run(args: ClientArgs, command: ClientCommand) -> ExitCode {
    match dispatch(&args, command).await {
        Ok(code) => code,
        Err(failure) => failure.report(&args.server),
    }
}

async fn dispatch(args: &ClientArgs, command: ClientCommand) -> Result<ExitCode, Failure> {
    let session = Session::open(args)?;
    match command {
        ClientCommand::Flow(command) => flow::run(&session, command).await,
        ClientCommand::Execution(command) => execution::run(&session, command).await,
        ClientCommand::Trigger(command) => trigger::run(&session, command).await,
        ClientCommand::Log(command) => log::run(&session, command).await,
        ClientCommand::File(command) => file::run(&session, command).await,
        ClientCommand::Namespace(command) => namespace::run(&session, command).await,
        ClientCommand::Plugin(command) => plugin::run(&session, command).await,
        ClientCommand::Kv(command) => kv::run(&session, command).await,
        ClientCommand::Secret(command) => secret::run(&session, command).await,
        ClientCommand::Admin(command) => admin::run(&session, command).await,
        ClientCommand::Whoami => admin::who_am_i(&session).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    /// The program.
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ClientArgs,
        #[command(subcommand)]
        command: ClientCommand,
    }

    #[test]
    fn the_command_line_has_no_contradictions() {
        Line::command().debug_assert();
        // What is flattened into the program must not describe it.
        assert_eq!(Line::command().get_about().map(ToString::to_string).as_deref(), Some("The program"));
    }

    #[test]
    fn client_options_stand_before_or_after_the_command() {
        for line in [
            ["windhover", "--server", "http://h:1", "-o", "json", "flow", "get", "a.b", "c"],
            ["windhover", "flow", "get", "a.b", "c", "--server", "http://h:1", "-o", "json"],
        ] {
            let line = Line::try_parse_from(line).map_err(|error| error.to_string()).unwrap();
            assert_eq!((line.args.server.as_str(), line.args.output), ("http://h:1", Format::Json));
            assert!(matches!(line.command, ClientCommand::Flow(_)));
        }
    }

    #[test]
    fn waiting_and_following_at_once_is_refused() {
        let line = ["windhover", "execution", "create", "a.b", "c", "--wait", "--follow"];
        assert!(Line::try_parse_from(line).is_err());
    }
}
