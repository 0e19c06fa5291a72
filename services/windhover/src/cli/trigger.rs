//! `windhover trigger …`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use windhover_client::v1::{
    Backfill, CreateBackfillRequest, DeleteBackfillRequest, GetTriggerRequest, Label, ListTriggerDatesRequest,
    ListTriggersRequest, PauseBackfillRequest, ResumeBackfillRequest, SetTriggerDisabledRequest, Trigger,
    UnlockTriggerRequest,
};

use super::{
    error::Failure,
    flow::in_namespace,
    output::table,
    pages,
    session::Session,
    style::{self, BOLD, DIM, paint, safe},
    values::{self, Input},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List triggers with their next dates.
    List(List),
    /// Print a trigger as it is now.
    Get(Name),
    /// Let a schedule act again.
    Enable(Name),
    /// Let a schedule rest.
    Disable(Name),
    /// Let a schedule go on although its last execution has not ended.
    Unlock(Name),
    /// List the next dates of a schedule.
    Dates(Dates),
    /// Run a schedule for dates of the past.
    #[command(subcommand)]
    Backfill(BackfillCommand),
}

#[derive(Subcommand)]
pub(crate) enum BackfillCommand {
    /// Start an execution for each date between two times, one after another.
    Create(CreateBackfill),
    /// Let it rest.
    Pause(Name),
    /// Let it go on.
    Resume(Name),
    /// End it before it is through.
    Delete(Name),
}

#[derive(Args)]
pub(crate) struct Name {
    /// Namespace of the flow.
    namespace: String,
    /// Id of the flow.
    flow: String,
    /// Id of the trigger.
    trigger: String,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only this namespace; with a dot at its end, all below.
    #[arg(long, short)]
    namespace: Option<String>,
    /// Only this flow.
    #[arg(long, short)]
    flow: Option<String>,
    /// A filter over namespace, flow, trigger, type, disabled, locked and backfill.
    #[arg(long)]
    filter: Option<String>,
    /// At most so many; 0 = all.
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

#[derive(Args)]
pub(crate) struct Dates {
    #[command(flatten)]
    name: Name,
    /// From this time on, e.g. `2026-01-31T12:00:00Z`; now when not given.
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    from: Option<prost_types::Timestamp>,
    /// How many.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    count: u32,
}

#[derive(Args)]
pub(crate) struct CreateBackfill {
    #[command(flatten)]
    name: Name,
    /// From this time on, itself included, e.g. `2026-01-31T12:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    start: prost_types::Timestamp,
    /// Up to this time, itself included; now when not given.
    #[arg(long, value_name = "TIME", value_parser = values::instant)]
    end: Option<prost_types::Timestamp>,
    /// A value for an input: `ID=TEXT`, `ID=@FILE` (its content), or `@FILE.json` (an object of inputs).
    #[arg(long, short, value_name = "ID=VALUE", value_parser = Input::parse)]
    input: Vec<Input>,
    /// A label for the executions.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = values::label)]
    label: Vec<Label>,
    /// Makes it safe to run the same command again: the second time starts nothing.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    request_id: String,
}

/// A request about the trigger of this name.
macro_rules! about {
    ($name:expr, $request:ident { $($more:tt)* }) => {
        $request {
            namespace: $name.namespace,
            flow_id: $name.flow,
            trigger_id: $name.trigger,
            $($more)*
        }
    };
}

/// Calls, and prints the trigger that comes back.
macro_rules! show {
    ($session:expr, $method:ident($request:expr), $lines:expr) => {{
        let response = $session.client.$method($request).await?;
        $session.output.print(&response, || response.trigger.as_ref().map($lines).unwrap_or_default())?;
    }};
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::List(command) => list(session, command).await?,
        Command::Get(name) => show!(session, get_trigger(about!(name, GetTriggerRequest {})), details),
        Command::Enable(name) => {
            let request = about!(name, SetTriggerDisabledRequest { disabled: false });
            show!(session, set_trigger_disabled(request), |trigger| vec![heading(trigger)]);
        }
        Command::Disable(name) => {
            let request = about!(name, SetTriggerDisabledRequest { disabled: true });
            show!(session, set_trigger_disabled(request), |trigger| vec![heading(trigger)]);
        }
        Command::Unlock(name) => {
            let request = about!(name, UnlockTriggerRequest { request_id: String::new() });
            show!(session, unlock_trigger(request), |trigger| vec![heading(trigger)]);
        }
        Command::Dates(Dates { name, from, count }) => {
            let request = about!(name, ListTriggerDatesRequest { from, count });
            let response = session.client.list_trigger_dates(request).await?;
            session
                .output
                .print(&response, || response.dates.iter().map(|date| style::date_time(Some(date))).collect())?;
        }
        Command::Backfill(command) => backfill(session, command).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(session: &Session, command: List) -> Result<(), Failure> {
    let filter = in_namespace(command.namespace.as_deref())
        .and("flow", "=", command.flow.as_deref())
        .and_text(command.filter.as_deref())
        .text();
    let response = pages::collect(command.limit, async |page_size, page_token| {
        session.client.list_triggers(ListTriggersRequest { page_size, page_token, filter: filter.clone() }).await
    })
    .await?;
    session.output.print(&response, || rows(&response.triggers))
}

async fn backfill(session: &Session, command: BackfillCommand) -> Result<(), Failure> {
    match command {
        BackfillCommand::Create(CreateBackfill { name, start, end, input, label, request_id }) => {
            let request = about!(
                name,
                CreateBackfillRequest {
                    start: Some(start),
                    end,
                    inputs: input.into_iter().flat_map(Input::into_values).collect(),
                    labels: label,
                    request_id,
                }
            );
            show!(session, create_backfill(request), details);
        }
        BackfillCommand::Pause(name) => {
            show!(session, pause_backfill(about!(name, PauseBackfillRequest {})), details);
        }
        BackfillCommand::Resume(name) => {
            show!(session, resume_backfill(about!(name, ResumeBackfillRequest {})), details);
        }
        BackfillCommand::Delete(name) => {
            let request = about!(name, DeleteBackfillRequest { request_id: String::new() });
            show!(session, delete_backfill(request), details);
        }
    }
    Ok(())
}

/// `company.team/hello daily enabled`
fn heading(trigger: &Trigger) -> String {
    format!("{} {} {}", flow(trigger), paint(BOLD, &safe(&trigger.id)), state(trigger))
}

fn flow(trigger: &Trigger) -> String {
    format!("{}/{}", safe(&trigger.namespace), safe(&trigger.flow_id))
}

/// What it does at the moment, in a word.
fn state(trigger: &Trigger) -> String {
    match &trigger.backfill {
        _ if trigger.disabled => paint(style::WARNING, "disabled"),
        Some(Backfill { paused: true, .. }) => paint(style::WARNING, "backfill paused"),
        Some(_) => paint(style::BUSY, "backfill"),
        None if !trigger.running_execution_id.is_empty() => paint(style::BUSY, "running"),
        None => paint(style::GOOD, "enabled"),
    }
}

/// The last part of a type's name.
fn short_type(trigger: &Trigger) -> String {
    safe(trigger.r#type.rsplit('.').next().unwrap_or_default()).into_owned()
}

fn rows(triggers: &[Trigger]) -> Vec<String> {
    let rows = triggers.iter().map(|trigger| {
        [
            flow(trigger),
            safe(&trigger.id).into_owned(),
            short_type(trigger),
            state(trigger),
            style::date_time(trigger.next_date.as_ref()),
            style::date_time(trigger.last_date.as_ref()),
            safe(trigger.message.lines().next().unwrap_or_default()).into_owned(),
        ]
    });
    table(["FLOW", "TRIGGER", "TYPE", "STATE", "NEXT", "LAST", ""], rows.collect())
}

/// Everything.
fn details(trigger: &Trigger) -> Vec<String> {
    let mut lines = vec![heading(trigger)];
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            lines.push(format!("  {} {value}", paint(DIM, &format!("{name}:"))));
        }
    };
    row("type", safe(&trigger.r#type).into_owned());
    row("revision", trigger.flow_revision.to_string());
    if trigger.disabled_in_flow {
        row("disabled by", "the source of the flow".to_owned());
    }
    row("next", style::date_time(trigger.next_date.as_ref()));
    row("last", style::date_time(trigger.last_date.as_ref()));
    row("waits for", safe(&trigger.running_execution_id).into_owned());
    row("last execution", safe(&trigger.last_execution_id).into_owned());
    row("message", safe(&trigger.message).into_owned());
    if let Some(backfill) = &trigger.backfill {
        let [start, end, current] =
            [&backfill.start, &backfill.end, &backfill.current].map(|at| style::date_time(at.as_ref()));
        row("backfill", format!("{start} to {end}{}", if backfill.paused { ", paused" } else { "" }));
        row("backfill at", current);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_shows_what_it_does_and_why_it_does_not() {
        let trigger = Trigger {
            namespace: "a.b".into(),
            flow_id: "f".into(),
            id: "daily".into(),
            r#type: "io.kestra.plugin.core.trigger.Schedule".into(),
            flow_revision: 3,
            message: "no\u{1b}[2J".into(),
            ..Trigger::default()
        };
        let plain = |text: &str| anstream::adapter::strip_str(text).to_string();
        let waiting = Trigger { running_execution_id: "e".into(), ..trigger.clone() };
        let resting = Trigger { disabled: true, disabled_in_flow: true, ..waiting.clone() };
        let paused = Trigger { backfill: Some(Backfill { paused: true, ..Backfill::default() }), ..trigger.clone() };
        for (trigger, state) in
            [(&trigger, "enabled"), (&waiting, "running"), (&resting, "disabled"), (&paused, "backfill paused")]
        {
            assert_eq!(plain(&heading(trigger)), format!("a.b/f daily {state}"));
        }
        let text = plain(&details(&resting).join("\n"));
        for part in ["revision: 3", "disabled by: the source of the flow", "waits for: e"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(rows(&[trigger])[1].contains("Schedule") && !text.contains('\u{1b}'));
    }
}
