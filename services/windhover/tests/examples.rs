//! The examples, run as the people who read them would.

mod support;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use support::{Database, Server};
use windhover_client::{
    Client, NewExecution,
    v1::{
        CreateBackfillRequest, Execution, GetExecutionRequest, ListExecutionsRequest, ResumeExecutionRequest, State,
        View,
    },
};
use windhover_testkit::{Answer, Receiver, wait_until};

const NAMESPACE: &str = "company.team";
const PATIENCE: Duration = Duration::from_secs(60);

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// A server with all examples, and a stand-in for whatever they call.
struct Examples {
    client: Client,
    receiver: Receiver,
    server: Server,
    applied: BTreeSet<String>,
    used: BTreeSet<String>,
    _folder: tempfile::TempDir,
}

impl Examples {
    async fn start() -> Result<Self> {
        let data = tempfile::tempdir()?;
        let mut server = Server::new(Database::Sqlite, data.path())?;
        server.start().await?;
        let client = server.client().await?;
        let receiver = Receiver::start().await?;
        let webhook = format!("{}/slack", receiver.url());
        for (name, value) in [("SLACK_WEBHOOK", webhook.as_str()), ("API_TOKEN", "open-sesame-7")] {
            client.put_secret("", name, value).await?;
        }
        let (applied, used) = Default::default();
        let mut all = Self { client, receiver, server, applied, used, _folder: data };
        for entry in std::fs::read_dir(folder())? {
            let path = entry?.path();
            for source in std::fs::read_to_string(&path)?.split("\n---\n") {
                let response = all.client.apply_flow(source).await.with_context(|| path.display().to_string())?;
                all.applied.insert(response.flow.unwrap_or_default().id);
            }
        }
        Ok(all)
    }

    /// Starts a flow and waits for its end.
    async fn run(&mut self, flow: &str, inputs: Value) -> Result<Execution> {
        let created = self.create(flow, inputs).await?;
        let ended = self.client.wait(&created.id, Some(PATIENCE)).await?;
        ensure!(ended.current_state().is_final(), "{flow} is {}", ended.current_state().short_name());
        Ok(ended)
    }

    async fn create(&mut self, flow: &str, inputs: Value) -> Result<Execution> {
        self.used.insert(flow.to_owned());
        let mut new = NewExecution::of(NAMESPACE, flow);
        for (id, value) in inputs.as_object().into_iter().flatten() {
            new = new.input(id, value.clone());
        }
        self.client.create_execution(new).await.with_context(|| format!("creating {flow}"))
    }

    /// It ended so, and its log says all of this.
    async fn check(&self, execution: &Execution, state: State, lines: &[&str]) -> Result<()> {
        let log: Vec<String> = self.client.logs(&execution.id).await?.into_iter().map(|line| line.message).collect();
        let saw = execution.current_state();
        ensure!(saw == state, "{} ended {}: {log:?}", execution.flow_id, saw.short_name());
        for line in lines {
            ensure!(log.iter().any(|said| said.contains(line)), "{}: no line `{line}`: {log:?}", execution.flow_id);
        }
        Ok(())
    }

    async fn runs_and_says(&mut self, flow: &str, inputs: Value, lines: &[&str]) -> Result<Execution> {
        let ended = self.run(flow, inputs).await?;
        self.check(&ended, State::Success, lines).await?;
        Ok(ended)
    }

    /// Executions of a flow that somebody else started, once so many have ended.
    async fn started(&mut self, flow: &str, count: usize) -> Result<Vec<Execution>> {
        self.used.insert(flow.to_owned());
        let (client, filter) = (&self.client, format!("flow = \"{flow}\""));
        wait_until(&format!("{count} executions of {flow}"), PATIENCE, || async {
            let request = ListExecutionsRequest {
                page_size: 100,
                filter: filter.clone(),
                view: View::Full.into(),
                ..ListExecutionsRequest::default()
            };
            let found = client.list_executions(request).await.ok()?.executions;
            let ended = found.iter().filter(|execution| execution.current_state().is_final()).count();
            (ended >= count).then_some(found)
        })
        .await
    }

    fn answer(&self, path: &str, status: u16, body: &str) -> String {
        self.receiver.answer(path, Answer { status, body: body.to_owned(), ..Answer::default() });
        format!("{}{path}", self.receiver.url())
    }
}

fn outputs(execution: &Execution) -> Value {
    execution.outputs.as_ref().and_then(|outputs| serde_json::from_str(&outputs.text).ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_does_what_it_says() -> Result<()> {
    let mut all = Examples::start().await?;
    plain_flows(&mut all).await?;
    flows_that_call(&mut all).await?;
    flows_that_wait(&mut all).await?;
    flows_that_are_started(&mut all).await?;
    // Those of the demo have tests of their own kind: `make demo`.
    all.used.extend(["failing-report".to_owned(), "failureAlertToSlack".to_owned()]);
    ensure!(all.used == all.applied, "not run: {:?}", all.applied.difference(&all.used).collect::<Vec<_>>());
    Ok(())
}

async fn plain_flows(all: &mut Examples) -> Result<()> {
    all.runs_and_says("hello-world", json!({}), &["Hello from hello-world, execution"]).await?;
    let inputs = json!({"customer": "ann@example.com", "amount": "120"});
    let ended = all.runs_and_says("inputs-and-outputs", inputs, &[]).await?;
    ensure!(outputs(&ended) == json!({"total": 120.0, "text": "ann@example.com: 120 EUR"}), "{}", outputs(&ended));
    ensure!(all.run("inputs-and-outputs", json!({"customer": "ann", "amount": "0"})).await.is_err(), "it was accepted");
    all.runs_and_says("parallel-and-dag", json!({}), &["800 orders of 120 customers; 40 articles"]).await?;
    all.runs_and_says("for-each", json!({}), &["north: 5 rows", "west: 4 rows"]).await?;
    all.runs_and_says("subflow", json!({}), &["Four chairs are 320"]).await?;
    let unknown = all.run("price", json!({"article": "sofa"})).await?;
    all.check(&unknown, State::Failed, &["There is no price for sofa"]).await?;
    all.runs_and_says("key-value", json!({}), &["Last time: never"]).await?;
    all.runs_and_says("key-value", json!({}), &["Last time: 0"]).await?;
    all.runs_and_says("files", json!({}), &["Two cities, 22 bytes"]).await?;
    all.runs_and_says("shell-script", json!({}), &["hello from", "3 lines: ONE\nTWO\nTHREE"]).await?;
    all.runs_and_says("conditions", json!({}), &["Only dev", "At once"]).await?;
    let prod = json!({"environment": "prod", "rows": "5000"});
    all.runs_and_says("conditions", prod, &["This is the real thing", "In batches", "Told everybody"]).await?;
    all.runs_and_says("batches", json!({}), &["3 batches: "]).await?;
    all.started("batch", 3).await?;
    Ok(())
}

async fn flows_that_call(all: &mut Examples) -> Result<()> {
    let url = all.answer("/status", 500, "down");
    let failed = all.run("retries-and-errors", json!({"url": url})).await?;
    all.check(&failed, State::Failed, &["response code '500'", "Closing the connection"]).await?;
    ensure!(all.receiver.received_on("/status").len() == 3, "{} calls", all.receiver.received_on("/status").len());
    let url = all.answer("/status", 200, "up");
    let warned = all.run("retries-and-errors", json!({"url": url})).await?;
    all.check(&warned, State::Warning, &["Closing the connection"]).await?;

    let url = all.answer("/health", 200, "{\"status\": \"fine\"}");
    all.runs_and_says("health-check", json!({"url": url}), &["fine"]).await?;
    let url = all.answer("/health", 503, "");
    all.runs_and_says("health-check", json!({"url": url}), &[]).await?;
    let told = all.receiver.received_on("/slack");
    ensure!(told.len() == 1 && told[0].text().contains("/health answered 503"), "{told:?}");

    let url = all.answer("/me", 200, "ann");
    let ended = all.runs_and_says("secret", json!({"url": url}), &["The token is **"]).await?;
    let sent = all.receiver.received_on("/me");
    ensure!(sent[0].header("authorization") == Some("Bearer open-sesame-7"), "{sent:?}");
    let log = all.client.logs(&ended.id).await?;
    ensure!(!log.iter().any(|line| line.message.contains("open-sesame")), "{log:?}");

    let url = all.answer("/job", 200, "{\"status\": \"running\"}");
    let created = all.create("loop-until", json!({"url": url})).await?;
    let asked = || async { (all.receiver.received_on("/job").len() >= 2).then_some(()) };
    wait_until("two questions", PATIENCE, asked).await?;
    all.answer("/job", 200, "{\"status\": \"done\"}");
    let ended = all.client.wait(&created.id, Some(PATIENCE)).await?;
    all.check(&ended, State::Success, &["Done after asking"]).await
}

async fn flows_that_wait(all: &mut Examples) -> Result<()> {
    for (approved, line) in [("true", "Sending 1,250 letters: Looks good"), ("false", "Nothing is sent")] {
        let created = all.create("approval", json!({})).await?;
        all.client.wait_for(&created.id, &[State::Paused], Some(PATIENCE)).await?;
        let inputs = [("approved", approved), ("comment", "Looks good")];
        let inputs = inputs.map(|(id, text)| (id.to_owned(), windhover_client::json(&Value::from(text))));
        let resume = ResumeExecutionRequest {
            execution_id: created.id.clone(),
            inputs: inputs.into(),
            ..ResumeExecutionRequest::default()
        };
        all.client.resume_execution(resume).await?;
        let ended = all.client.wait(&created.id, Some(PATIENCE)).await?;
        all.check(&ended, State::Success, &[line]).await?;
    }

    let first = all.create("concurrency", json!({})).await?;
    let second = all.create("concurrency", json!({})).await?;
    let (first, second) =
        (all.client.wait(&first.id, Some(PATIENCE)).await?, all.client.wait(&second.id, Some(PATIENCE)).await?);
    let history: Vec<State> =
        second.state.iter().flat_map(|state| &state.history).map(|change| change.state()).collect();
    ensure!(history.contains(&State::Queued), "{history:?}");
    ensure!(first.current_state() == State::Success && second.current_state() == State::Success, "{history:?}");
    Ok(())
}

async fn flows_that_are_started(all: &mut Examples) -> Result<()> {
    let extract = all.runs_and_says("extract", json!({}), &[]).await?;
    let loaded = all.started("flow-trigger", 1).await?;
    let line = format!("Loading 1250 rows of execution {}", extract.id);
    all.check(&loaded[0], State::Success, &[&line]).await?;

    for (paid, status) in [(false, 204), (true, 200)] {
        let body = json!({"order": 17, "paid": paid}).to_string();
        let path = format!("/api/v1/executions/webhook/{NAMESPACE}/webhook/a-long-random-key");
        let said = support::http_post(all.server.port, &path, &[("x-shop", "corner shop")], &body).await?;
        ensure!(said == status, "the webhook answered {said} instead of {status}");
    }
    let ordered = all.started("webhook", 1).await?;
    ensure!(ordered.len() == 1, "{} executions", ordered.len());
    all.check(&ordered[0], State::Success, &["Order 17 from corner shop"]).await?;

    // New Year's day is a holiday, and the third is a Saturday.
    let at = |text: &str| chrono::DateTime::parse_from_rfc3339(text).map(|at| std::time::SystemTime::from(at).into());
    let backfill = CreateBackfillRequest {
        namespace: NAMESPACE.to_owned(),
        flow_id: "schedule".to_owned(),
        trigger_id: "weekdays".to_owned(),
        start: Some(at("2026-01-01T00:00:00Z")?),
        end: Some(at("2026-01-05T12:00:00Z")?),
        ..CreateBackfillRequest::default()
    };
    all.client.create_backfill(backfill).await?;
    let mut reports = all.started("schedule", 2).await?;
    reports.sort_by(|a, b| a.id.cmp(&b.id));
    let friday =
        all.client.get_execution(GetExecutionRequest { execution_id: reports[0].id.clone(), view: View::Full.into() });
    let friday = friday.await?.execution.context("an execution")?;
    all.check(&friday, State::Success, &["Report of 2026-01-02, the next one on 2026-01-05"]).await
}
