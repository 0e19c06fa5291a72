//! `windhover log …`

use std::process::ExitCode;

use clap::Args;
use windhover_client::v1::{ListLogsRequest, LogLevel, LogLine};

use super::{
    error::Failure,
    execution_text::indent,
    pages,
    session::Session,
    style::{self, DIM, paint, safe},
    values::Filter,
};

#[derive(Args)]
pub(crate) struct Command {
    /// Id of the execution.
    execution: String,
    /// Only lines at least as important: TRACE, DEBUG, INFO, WARN, ERROR.
    #[arg(long, value_parser = level)]
    level: Option<LogLevel>,
    /// Only lines of this task.
    #[arg(long)]
    task: Option<String>,
    /// A filter over task, task_run, level, time and text.
    #[arg(long)]
    filter: Option<String>,
    /// At most so many; 0 = all.
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

fn level(text: &str) -> Result<LogLevel, String> {
    match LogLevel::from_short_name(text) {
        Some(level) if level != LogLevel::Unspecified => Ok(level),
        _ => Err("is no level; levels are TRACE, DEBUG, INFO, WARN, ERROR".to_owned()),
    }
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    let least = command.level.map(|level| format!("level >= {}", level.short_name()));
    let filter = Filter::default()
        .and_text(least.as_deref())
        .and("task", "=", command.task.as_deref())
        .and_text(command.filter.as_deref())
        .text();
    let response = pages::collect(command.limit, async |page_size, page_token| {
        let request =
            ListLogsRequest { execution_id: command.execution.clone(), page_size, page_token, filter: filter.clone() };
        session.client.list_logs(request).await
    })
    .await?;
    session.output.print(&response, || response.lines.iter().map(text).collect())?;
    Ok(ExitCode::SUCCESS)
}

/// With the date: logs are read long afterwards.
fn text(line: &LogLine) -> String {
    let task = if line.task_id.is_empty() { String::new() } else { format!("[{}] ", safe(&line.task_id)) };
    let time = paint(DIM, &style::instant(line.time.as_ref()));
    format!("{time} {} {task}{}", style::level(line.level()), indent(&safe(&line.message), 31))
}
