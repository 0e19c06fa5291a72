//! Opens the database, and says what to do when that fails.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use tokio::net::TcpStream;
use windhover_store::{ConnectError, LargeOutputs, Store, StoreOptions};

use super::mode::Mode;
use crate::settings::Settings;

/// How long a Postgres may take to answer a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// The URL that is set, or the file of `local`.
pub(super) fn url(mode: Mode, settings: &Settings, data_dir: &Path) -> Result<String> {
    match (settings.text("windhover.database.url"), mode) {
        (Some(url), _) => Ok(url),
        (None, Mode::Local) => Ok(format!("sqlite:{}", data_dir.join("windhover.db").display())),
        (None, _) => bail!(
            "no database is set: WINDHOVER_DATABASE_URL=postgres://user:password@host/database (or windhover.database.url in --config)"
        ),
    }
}

/// Connects and brings the schema to this version.
///
/// # Errors
/// One sentence: what is wrong, and what to do about it.
pub(super) async fn open(url: &str, settings: &Settings, large_outputs: LargeOutputs) -> Result<Store> {
    let options = StoreOptions {
        max_connections: settings.number("windhover.database.max-connections")?.unwrap_or(16),
        large_outputs: Some(large_outputs),
        ..StoreOptions::default()
    };
    if let Some(address) = address(url) {
        answers(&address).await?;
    }
    let store = Store::connect(url, options).await.map_err(|error| explained(&error, url))?;
    store.migrate().await.context("the tables cannot be made or changed")?;
    Ok(store)
}

fn explained(error: &ConnectError, url: &str) -> anyhow::Error {
    let hint = match error {
        // They say themselves what to do.
        ConnectError::Url
        | ConnectError::NoDatabase { .. }
        | ConnectError::NotOurs { .. }
        | ConnectError::NewerSchema { .. } => return anyhow!("{error}"),
        ConnectError::Refused { .. } => "check user and password in WINDHOVER_DATABASE_URL",
        ConnectError::Unreachable { .. } | ConnectError::Other { .. } if url.starts_with("sqlite:") => {
            "WINDHOVER_DATABASE_URL or --data-dir must lead to a file of Windhover or to a folder in which one can be made"
        }
        ConnectError::Unreachable { .. } | ConnectError::Other { .. } => {
            "check that it is a Postgres and that WINDHOVER_DATABASE_URL is right"
        }
    };
    anyhow!("{error}; {hint}")
}

/// The pool of connections tries again and again until its time is up and then only knows that it is; this knows at
/// once whether anybody is there.
async fn answers(address: &str) -> Result<()> {
    let hint = "check that Postgres is running there and that WINDHOVER_DATABASE_URL is right";
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(anyhow!("cannot reach the database at {address}: {error}; {hint}")),
        Err(_) => Err(anyhow!("cannot reach the database at {address}: no answer within {PATIENCE:?}; {hint}")),
    }
}

/// `host:port` of a URL of Postgres; `None` for sockets in the file system and for what only the driver understands.
fn address(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let elsewhere =
        parameters.split('&').any(|one| ["host=", "hostaddr=", "port="].iter().any(|key| one.starts_with(key)));
    if !scheme.starts_with("postgres") || elsewhere {
        return None;
    }
    let authority = rest.split('/').next().unwrap_or(rest);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() || host.starts_with(':') || host.contains([',', '%']) {
        return None;
    }
    let has_port = host.rsplit_once(':').is_some_and(|(before, _)| !before.starts_with('[') || before.ends_with(']'));
    Some(if has_port { host.to_owned() } else { format!("{host}:5432") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_url_is_found_wherever_it_stands() {
        for (url, expected) in [
            ("postgres://me:p%40ss@db:5433/w?sslmode=disable", Some("db:5433")),
            ("postgresql://db/w", Some("db:5432")),
            ("postgres://me@[::1]/w", Some("[::1]:5432")),
            ("postgres://me@[::1]:7/w", Some("[::1]:7")),
            ("postgres:///w?host=/run/postgresql", None),
            ("postgres://me@%2Frun%2Fpostgresql/w", None),
            ("postgres://me@db/w?host=other", None),
            ("sqlite:/data/windhover.db", None),
        ] {
            assert_eq!(address(url).as_deref(), expected, "{url}");
        }
    }
}
