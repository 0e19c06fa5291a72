//! All cases, the shared ones and those of this crate, on every kind of server.
//!
//! `WINDHOVER_CONFORMANCE_DIR` says where the cases are (default: `../shared/conformance` beside the workspace),
//! `WINDHOVER_CONFORMANCE_ONLY` runs only those whose names match, and `WINDHOVER_CONFORMANCE_SERVER` with
//! `WINDHOVER_TOKEN` runs them against a server that is there already.

use std::{fmt, sync::Arc};

use anyhow::{Result, anyhow};
use futures::FutureExt;
use tokio::sync::Mutex;
use windhover_conformance::{
    expected::Expected,
    report::announce,
    server::Database,
    suite::{self, Folder, NewDatabase, Target},
};
use windhover_testkit::{Postgres, Redis};

/// One suite after the other: together they would only take each other's time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases_pass_on_sqlite() -> Result<(), Failure> {
    if let Some(reason) = not_here() {
        return skip("sqlite", &reason);
    }
    let database: NewDatabase = Arc::new(|| async { Ok(Database::Sqlite) }.boxed());
    run("sqlite", &Target::Started(database)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases_pass_on_postgres() -> Result<(), Failure> {
    if let Some(reason) = not_here() {
        return skip("postgres", &reason);
    }
    let fresh = || async { Ok(Database::Postgres(Postgres::shared().await?.fresh_database().await?)) };
    let database: NewDatabase = Arc::new(move || fresh().boxed());
    run("postgres", &Target::Started(database)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases_pass_on_a_cluster_of_processes() -> Result<(), Failure> {
    if let Some(reason) = not_here() {
        return skip("cluster", &reason);
    }
    let redis = Arc::new(Redis::start().await?);
    let fresh = |redis: Arc<Redis>| async move {
        let database = Postgres::shared().await?.fresh_database().await?;
        Ok(Database::Cluster { database, redis: redis.url() })
    };
    let database: NewDatabase = Arc::new(move || fresh(Arc::clone(&redis)).boxed());
    run("cluster", &Target::Started(database)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cases_pass_on_the_given_server() -> Result<(), Failure> {
    match std::env::var("WINDHOVER_CONFORMANCE_SERVER") {
        Ok(address) => {
            let token = std::env::var("WINDHOVER_TOKEN").ok().filter(|token| !token.is_empty());
            run("given", &Target::Given { address, token }).await
        }
        Err(_) => skip("given", "WINDHOVER_CONFORMANCE_SERVER names no server"),
    }
}

/// What the test harness prints of a failed suite: the text as it is, for people.
struct Failure(anyhow::Error);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

/// Why no server is started.
fn not_here() -> Option<String> {
    std::env::var_os("WINDHOVER_CONFORMANCE_SERVER").map(|_| "WINDHOVER_CONFORMANCE_SERVER names a server".to_owned())
}

fn skip(suite: &str, reason: &str) -> Result<(), Failure> {
    announce(&format!("conformance: {suite}: SKIPPED: {reason}"));
    Ok(())
}

async fn run(suite: &str, target: &Target) -> Result<(), Failure> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let only = suite::only();
    // The cases of this crate run in any case; they write out their flows.
    let mut cases = suite::corner_cases(only.as_deref())?;
    let folder = Folder::find();
    match &folder {
        Some(folder) => cases.extend(folder.cases(only.as_deref())?),
        None => skip(suite, "there is no folder of shared cases; WINDHOVER_CONFORMANCE_DIR says where it is")?,
    }
    let flows = folder.as_ref().map(Folder::flows).unwrap_or_default();
    let expected = Expected::of_this_version()?;
    let report = suite::run(suite, &flows, &cases, target).await?;
    let path = report.write(&suite::output()?)?;
    announce(&format!("\nreport: {}{}", path.display(), report.text(&expected)));
    let complaints = report.complaints(&expected, only.is_none() && folder.is_some());
    if !complaints.is_empty() {
        let (count, what) = (complaints.len(), complaints.join("\n"));
        return Err(anyhow!("{count} results are not as they must be:\n{what}").into());
    }
    Ok(())
}
