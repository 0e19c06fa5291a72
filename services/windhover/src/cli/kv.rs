//! `windhover kv …`

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use serde_json::Value;
use windhover_client::{
    ClientError,
    v1::{DeleteEntryRequest, GetEntryRequest, KeyValueEntry, ListEntriesRequest, PutEntryRequest},
};

use super::{
    error::Failure,
    output::table,
    pages,
    session::Session,
    style::{self, safe},
    values,
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the value of an entry.
    Get(Entry),
    /// Set an entry, new or not.
    Set(Set),
    /// List the entries of a namespace, without values.
    List(List),
    /// Take an entry away.
    Delete(Entry),
}

#[derive(Args)]
pub(crate) struct Entry {
    /// Namespace of the entry.
    namespace: String,
    /// Its key.
    key: String,
}

#[derive(Args)]
pub(crate) struct Set {
    #[command(flatten)]
    entry: Entry,
    /// The value, a text.
    value: String,
    /// The value is a JSON text, and kept as what it says.
    #[arg(long)]
    json: bool,
    /// How long it is good, e.g. `30d`; for ever when not given.
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    ttl: Option<Duration>,
    /// What it is for.
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
}

#[derive(Args)]
pub(crate) struct List {
    /// Namespace of the entries.
    namespace: String,
    /// Only keys that begin with it.
    #[arg(long, default_value = "", hide_default_value = true)]
    prefix: String,
    /// At most so many; 0 = all.
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Get(Entry { namespace, key }) => {
            let request = GetEntryRequest { namespace, key };
            let response = answered(session.client.key_value_service().get_entry(request).await)?;
            session.output.print(&response, || response.entry.iter().map(value).collect())?;
        }
        Command::Set(Set { entry: Entry { namespace, key }, value, json, ttl, description }) => {
            let value = if json {
                serde_json::from_str(&value).map_err(|error| Failure::Here(format!("the value is no JSON: {error}")))?
            } else {
                Value::String(value)
            };
            let request = PutEntryRequest {
                namespace,
                key,
                value: Some(windhover_client::json(&value)),
                ttl: ttl.and_then(|ttl| ttl.try_into().ok()),
                description,
            };
            let response = answered(session.client.key_value_service().put_entry(request).await)?;
            session.output.print(&response, || {
                let set = |entry: &KeyValueEntry| format!("set {} to version {}", safe(&entry.key), entry.version);
                response.entry.iter().map(set).collect()
            })?;
        }
        Command::List(List { namespace, prefix, limit }) => {
            let response = pages::collect(limit, async |page_size, page_token| {
                let (namespace, prefix) = (namespace.clone(), prefix.clone());
                let request = ListEntriesRequest { namespace, prefix, page_size, page_token };
                answered(session.client.key_value_service().list_entries(request).await)
            })
            .await?;
            session.output.print(&response, || rows(&response.entries))?;
        }
        Command::Delete(Entry { namespace, key }) => {
            let request = DeleteEntryRequest { namespace, key: key.clone() };
            let response = answered(session.client.key_value_service().delete_entry(request).await)?;
            session.output.print(&response, || vec![format!("deleted {}", safe(&key))])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn answered<T>(response: Result<tonic::Response<T>, tonic::Status>) -> Result<T, ClientError> {
    Ok(response?.into_inner())
}

/// A text as it is, everything else as JSON.
fn value(entry: &KeyValueEntry) -> String {
    let text = entry.value.as_ref().map(|json| json.text.as_str()).unwrap_or_default();
    match serde_json::from_str(text) {
        Ok(Value::String(text)) => safe(&text).into_owned(),
        _ => safe(text).into_owned(),
    }
}

fn rows(entries: &[KeyValueEntry]) -> Vec<String> {
    let rows = entries.iter().map(|entry| {
        [
            safe(&entry.key).into_owned(),
            safe(&entry.kind).into_owned(),
            entry.version.to_string(),
            style::date_time(entry.updated.as_ref()),
            style::date_time(entry.expires.as_ref()),
            safe(entry.description.lines().next().unwrap_or_default()).into_owned(),
        ]
    });
    table(["KEY", "KIND", "VERSION", "UPDATED", "EXPIRES", ""], rows.collect())
}

#[cfg(test)]
mod tests {
    use windhover_client::v1::Json;

    use super::*;

    #[test]
    fn texts_are_printed_as_they_are_and_the_rest_as_json() {
        let entry = |text: &str| KeyValueEntry { value: Some(Json { text: text.into() }), ..KeyValueEntry::default() };
        assert_eq!(value(&entry(r#""a \"b\"""#)), r#"a "b""#);
        assert_eq!(value(&entry(r#"{"a":[1]}"#)), r#"{"a":[1]}"#);
        assert_eq!(value(&KeyValueEntry::default()), "");
    }
}
