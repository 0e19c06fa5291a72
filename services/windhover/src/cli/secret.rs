//! `windhover secret …`

use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use windhover_client::v1::{DeleteSecretRequest, ListSecretsRequest, Secret};

use super::{
    error::{Failure, say},
    output::table,
    pages,
    session::Session,
    style::{self, paint, safe},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Set a secret; its value is read from standard input.
    Put(Put),
    /// List the secrets that a namespace sees, without their values.
    List(List),
    /// Take a secret away.
    Delete(Delete),
}

#[derive(Args)]
pub(crate) struct Put {
    /// Name of the secret; upper and lower case are the same.
    name: String,
    /// Namespace for which it is set, and all below; the whole tenant when not given.
    #[arg(long, short, default_value = "", hide_default_value = true)]
    namespace: String,
    /// Read the value from this file instead.
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    value_file: Option<PathBuf>,
    /// The value itself. Others on this machine can see it while the command runs, and it stays in the shell's history.
    #[arg(long)]
    value: Option<String>,
}

#[derive(Args)]
pub(crate) struct List {
    /// Namespace that sees them; those of the whole tenant when not given.
    #[arg(long, short, default_value = "", hide_default_value = true)]
    namespace: String,
    /// At most so many; 0 = all.
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

#[derive(Args)]
pub(crate) struct Delete {
    /// Name of the secret; upper and lower case are the same.
    name: String,
    /// Namespace for which it was set; the whole tenant when not given.
    #[arg(long, short, default_value = "", hide_default_value = true)]
    namespace: String,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Put(command) => {
            let value = value(&command)?;
            let response = session.client.put_secret(command.namespace, command.name, value).await?;
            session.output.print(&response, || {
                let secret = response.secret.clone().unwrap_or_default();
                vec![format!("set {} for {}, version {}", safe(&secret.name), scope(&secret), secret.version)]
            })?;
        }
        Command::List(command) => {
            let response = pages::collect(command.limit, async |page_size, page_token| {
                let request = ListSecretsRequest { namespace: command.namespace.clone(), page_size, page_token };
                session.client.list_secrets(request).await
            })
            .await?;
            session.output.print(&response, || {
                let rows = response.secrets.iter().map(|secret| {
                    let updated = style::date_time(secret.updated.as_ref());
                    [safe(&secret.name).into_owned(), scope(secret), secret.version.to_string(), updated]
                });
                table(["NAME", "SET FOR", "VERSION", "CHANGED"], rows.collect())
            })?;
        }
        Command::Delete(command) => {
            let request = DeleteSecretRequest { namespace: command.namespace, name: command.name };
            let response = session.client.delete_secret(request.clone()).await?;
            session.output.print(&response, || vec![format!("deleted {}", request.name)])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn scope(secret: &Secret) -> String {
    if secret.namespace.is_empty() { "the whole tenant".to_owned() } else { safe(&secret.namespace).into_owned() }
}

/// The value, from where it is; one line feed at the end of a file or of standard input is not part of it.
fn value(command: &Put) -> Result<String, Failure> {
    if let Some(value) = &command.value {
        say(&[format!(
            "{} a value on the command line can be seen by others and stays in the history; standard input and \
             --value-file cannot",
            paint(style::WARNING, "warning:")
        )]);
        return Ok(value.clone());
    }
    let text = match &command.value_file {
        Some(file) => fs::read_to_string(file)
            .map_err(|error| Failure::Here(format!("cannot read {}: {error}", file.display())))?,
        None => {
            if io::stdin().is_terminal() {
                say(&["type the value, then Enter and Ctrl-D (it can be seen while you type)".to_owned()]);
            }
            let mut text = String::new();
            io::stdin()
                .read_to_string(&mut text)
                .map_err(|error| Failure::Here(format!("cannot read standard input: {error}")))?;
            text
        }
    };
    Ok(without_last_line_feed(text))
}

fn without_last_line_feed(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_line_feed_is_not_part_of_a_value() {
        let values = ["v", "v\n", "v\r\n", "a\nb\n\n"].map(|text| without_last_line_feed(text.to_owned()));
        assert_eq!(values, ["v", "v", "v", "a\nb\n"]);
    }
}
