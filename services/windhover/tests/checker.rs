//! The checker of the fault runs finds what is planted in the database of a real run, and nothing in one that is well.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use support::{Database as Place, Server};
use windhover_faults::{Database, Findings, Kind, Ledger, check, workload::Workload};
use windhover_testkit::{Answer, Receiver, wait_until};

/// What a small run on SQLite has left, with the server gone.
struct Run {
    folder: tempfile::TempDir,
    ledger: Ledger,
    _receiver: Receiver,
}

const DATABASE: &str = "windhover.db";

impl Run {
    async fn make() -> Result<Self> {
        let receiver = Receiver::start().await?;
        receiver.answer("/broken", Answer { status: 500, ..Answer::default() });
        let folder = tempfile::tempdir()?;
        let mut server = Server::new(Place::Sqlite, folder.path())?;
        server.start().await?;
        let client = server.client().await?;
        let workload = Workload::prepare(vec![client], "main", &receiver.url()).await?;
        let creators = workload.start(40.0);
        let enough = || async { (workload.acknowledged() >= 120).then_some(()) };
        wait_until("executions to be acknowledged", Duration::from_secs(120), enough).await?;
        let database = Database::connect(&url(&folder.path().join(DATABASE))).await?;
        let ticked = || async {
            let ticks = database.number("SELECT COUNT(*) FROM executions WHERE flow_id = 'ticker'").await;
            ticks.is_ok_and(|ticks| ticks >= 3).then_some(())
        };
        wait_until("the schedule to act", Duration::from_secs(60), ticked).await?;
        workload.stop(creators).await?;
        let rested = || async { database.unsettled().await.is_ok_and(|open| open == 0).then_some(()) };
        wait_until("the server to come to rest", Duration::from_secs(120), rested).await?;
        let ledger = workload.ledger().await?;
        drop(database);
        ensure!(server.terminate().await? == Some(0), "{}", server.log());
        Ok(Self { folder, ledger, _receiver: receiver })
    }

    /// A copy of its data folder.
    fn copy(&self) -> Result<(tempfile::TempDir, PathBuf)> {
        let copy = tempfile::tempdir()?;
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.is_file() {
                fs::copy(&path, copy.path().join(path.file_name().context("a name")?))?;
            }
        }
        let database = copy.path().join(DATABASE);
        Ok((copy, database))
    }

    /// What is found after `sql` was done to a copy.
    async fn with(&self, sql: &str, ledger: &Ledger) -> Result<Findings> {
        let (_folder, path) = self.copy()?;
        let database = Database::connect(&url(&path)).await?;
        if !sql.is_empty() {
            database.execute(sql).await?;
        }
        Ok(check::check(&database, None, ledger).await?.0)
    }
}

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// One that began and ended in one commit.
const QUICK: &str = "(SELECT id FROM executions WHERE flow_id = 'quick' ORDER BY id LIMIT 1)";
const CHILD: &str = "(SELECT id FROM executions WHERE flow_id = 'child' ORDER BY id LIMIT 1)";
const ALERT: &str = "(SELECT id FROM executions WHERE flow_id = 'listener' ORDER BY id LIMIT 1)";
const TICK: &str = "(SELECT id FROM executions WHERE flow_id = 'ticker' ORDER BY id LIMIT 1)";

fn twice(table: &str, of: &str, change: &str) -> String {
    format!(
        "CREATE TABLE planted AS SELECT * FROM {table} WHERE {of}; UPDATE planted SET {change}; \
         INSERT INTO {table} SELECT * FROM planted; DROP TABLE planted"
    )
}

/// Each kind of fault, as SQL.
fn plants() -> Vec<(Kind, String)> {
    let execution = |change: &str| format!("UPDATE executions SET {change} WHERE id = {QUICK}");
    let task_run = |change: &str| format!("UPDATE task_runs SET {change} WHERE execution = {QUICK} AND seq = 1");
    let busy = "(SELECT shard FROM feed GROUP BY shard HAVING COUNT(*) > 2 LIMIT 1)";
    let copy = |id: &str| twice("executions", &format!("id = {id}"), "id = randomblob(16)");
    let slot = "(SELECT id FROM executions WHERE flow_id = 'ticker' ORDER BY id LIMIT 1 OFFSET 1)";
    let plant = |kind: Kind, sql: &str| (kind, sql.to_owned());
    vec![
        (Kind::Lost, format!("DELETE FROM executions WHERE id = {QUICK}")),
        (Kind::Orphan, format!("DELETE FROM executions WHERE id = {QUICK}")),
        (Kind::NotEnded, execution("open = 1")),
        (Kind::NotEnded, execution("state = 'RUNNING', history = json_remove(history, '$[#-1]')")),
        (Kind::NotEnded, task_run("open = 1")),
        (Kind::Outcome, execution("state = 'FAILED', history = replace(history, 'SUCCESS', 'FAILED')")),
        (Kind::Outcome, task_run("task_id = 'other'")),
        (Kind::Outcome, execution("shard = shard + 1")),
        (Kind::History, execution("history = json_insert(history, '$[#]', json_extract(history, '$[#-1]'))")),
        (Kind::History, execution("state = 'WARNING'")),
        (Kind::History, task_run("history = json_set(history, '$[#-1].t', 7)")),
        (Kind::TaskRuns, format!("DELETE FROM task_runs WHERE execution = {QUICK} AND seq = 0")),
        (
            Kind::TaskRuns,
            twice("task_runs", &format!("execution = {QUICK} AND seq = 1"), "id = randomblob(16), seq = 2"),
        ),
        (Kind::Attempts, task_run("attempts = json_remove(attempts, '$[0].h[#-1]')")),
        (Kind::Attempts, task_run("attempts = json_insert(attempts, '$[#]', json_extract(attempts, '$[0]'))")),
        (Kind::Feed, format!("DELETE FROM feed WHERE shard = {busy} AND seq = 2")),
        (Kind::Feed, format!("DELETE FROM feed WHERE shard = {busy} AND seq = 1")),
        (Kind::Feed, format!("UPDATE shards SET last_seq = last_seq + 1 WHERE shard = {busy}")),
        (
            Kind::Feed,
            format!(
                "UPDATE feed SET entries = json_insert(entries, '$[0].s[#]', 'RUNNING') WHERE shard = {busy} AND seq = 1"
            ),
        ),
        (
            Kind::Feed,
            format!(
                "UPDATE feed SET entries = json_insert(entries, '$[#]', json_extract(entries, '$[0]')) WHERE shard = {busy} AND seq = 1"
            ),
        ),
        (Kind::Feed, task_run("version = version + 1")),
        (Kind::Cause, copy(CHILD)),
        (Kind::Cause, copy(ALERT)),
        (Kind::Cause, copy(TICK)),
        (Kind::Cause, format!("DELETE FROM executions WHERE id = {CHILD}")),
        (Kind::Cause, format!("DELETE FROM executions WHERE id = {ALERT}")),
        (Kind::Cause, format!("DELETE FROM executions WHERE id = {slot}")),
        (
            Kind::Leftover,
            format!("INSERT INTO timers (tenant, execution, timer, shard, at) VALUES ('main', {QUICK}, '{{}}', 0, 0)"),
        ),
        (
            Kind::Leftover,
            format!(
                "INSERT INTO jobs (tenant, execution, task_run, dispatch, shard, deadline, losses) \
                 VALUES ('main', {QUICK}, randomblob(16), 1, 0, 0, 0)"
            ),
        ),
        (
            Kind::Leftover,
            format!(
                "INSERT INTO inbox (tenant, id, shard, execution, message, format) \
                 VALUES ('main', randomblob(16), 0, {QUICK}, '{{}}', 1)"
            ),
        ),
        (Kind::Lines, format!("DELETE FROM logs WHERE execution = {QUICK}")),
        plant(
            Kind::Lines,
            "DELETE FROM logs WHERE position = 0 AND execution = \
             (SELECT execution FROM logs WHERE position = 1 LIMIT 1)",
        ),
        (Kind::Lines, twice("logs", &format!("execution = {QUICK} AND position = 0"), "position = 1")),
        plant(
            Kind::Request,
            "UPDATE request_ids SET result = (SELECT MAX(result) FROM request_ids) \
             WHERE result = (SELECT MIN(result) FROM request_ids)",
        ),
        (Kind::Parked, execution("parked = 'for a reason'")),
    ]
}

/// What a follower can have been shown wrongly.
fn misled(ledger: &Ledger) -> Vec<Ledger> {
    let changes: &[fn(&mut windhover_faults::ledger::Followed)] = &[
        |seen| {
            seen.lines.pop();
        },
        |seen| seen.lines.push(0),
        |seen| seen.ends.clear(),
        |seen| seen.ends.push("SUCCESS".to_owned()),
        |seen| seen.executions.extend_from_within(..1),
        |seen| seen.executions.truncate(0),
        |seen| seen.executions.reverse(),
        |seen| {
            seen.task_runs.pop_first();
        },
        |seen| seen.task_runs.values_mut().take(1).for_each(|all| all.extend_from_within(..)),
        |seen| seen.gave_up = Some("nobody answered".to_owned()),
    ];
    let with = |change: &fn(&mut windhover_faults::ledger::Followed)| {
        let mut misled = ledger.clone();
        // One with several messages of everything.
        let longest = misled.followed.iter_mut().max_by_key(|seen| (seen.executions.len(), seen.lines.len()));
        longest.into_iter().for_each(change);
        misled
    };
    changes.iter().map(with).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_every_planted_fault_and_nothing_else() -> Result<()> {
    let run = Run::make().await?;
    let well = run.with("", &run.ledger).await?;
    ensure!(well.is_empty(), "nothing was planted:\n{well}");
    for (kind, sql) in plants() {
        let found = run.with(&sql, &run.ledger).await.with_context(|| sql.clone())?;
        ensure!(found.of(kind).count() > 0, "`{kind}` was planted with `{sql}`, found was:\n{found}");
    }
    for (number, ledger) in misled(&run.ledger).iter().enumerate() {
        let found = run.with("", ledger).await?;
        ensure!(found.of(Kind::Follower).count() > 0, "a follower was misled ({number}), found was:\n{found}");
    }
    let mut forgotten = run.ledger.clone();
    let second = forgotten.acknowledged[1].id.clone();
    forgotten.acknowledged[0].id = second;
    let found = run.with("", &forgotten).await?;
    ensure!(found.of(Kind::Request).count() > 0, "one execution answered two requests, found was:\n{found}");
    the_api_is_compared(&run).await
}

/// A server on data that differ from those that the checker has read.
async fn the_api_is_compared(run: &Run) -> Result<()> {
    let (original, path) = run.copy()?;
    let stored = Database::connect(&url(&path)).await?.read().await?;
    let (folder, path) = run.copy()?;
    let database = Database::connect(&url(&path)).await?;
    let changes = [
        format!("DELETE FROM logs WHERE execution = {QUICK}"),
        "DELETE FROM executions WHERE id = (SELECT MAX(id) FROM executions WHERE flow_id = 'quick')".to_owned(),
        "UPDATE executions SET history = json_insert(history, '$[#]', json('{\"s\":\"WARNING\",\"t\":7}')) \
         WHERE id = (SELECT MAX(id) FROM executions WHERE flow_id = 'loop')"
            .to_owned(),
    ];
    for change in &changes {
        database.execute(change).await?;
    }
    drop(database);
    let mut server = Server::new(Place::Sqlite, folder.path())?;
    server.start().await?;
    let found = check::api(&server.client().await?, &stored, &run.ledger).await?;
    // The lines; the execution itself and its place in the list; the history.
    ensure!(found.of(Kind::Api).count() == 4 && found.all().len() == 4, "{found}");
    server.kill()?;
    let mut server = Server::new(Place::Sqlite, original.path())?;
    server.start().await?;
    let found = check::api(&server.client().await?, &stored, &run.ledger).await?;
    ensure!(found.is_empty(), "nothing was planted:\n{found}");
    Ok(())
}
