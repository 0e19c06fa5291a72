//! The flows that are run, what each implies, and the clients that start them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use windhover_client::{Client, NewExecution};

use crate::{
    follower::follow,
    ledger::{Acknowledged, FlowRule, Followed, Ledger, ListenerRule, ScheduleRule, TaskRule},
};

pub const NAMESPACE: &str = "faults";
const ALERTS: &str = "alerts.faults";
/// Distance of the slots of the schedule.
const EVERY_SECONDS: u64 = 2;
/// One of so many executions is followed; nothing in common with the number of flows, so that all flows are.
const FOLLOWED: usize = 5;
/// How long a follower goes without any message; longer than any fault.
const PATIENCE: Duration = Duration::from_secs(90);

/// A flow with what it implies.
struct Flow {
    source: String,
    rule: FlowRule,
    /// Clients start it; the others are started by flows and triggers.
    called: bool,
}

fn task(task_id: &str, runs: usize) -> TaskRule {
    TaskRule { task_id: task_id.to_owned(), runs, state: "SUCCESS".to_owned(), tries: None, lines: None, child: None }
}

impl TaskRule {
    fn fails(mut self) -> Self {
        self.state = "FAILED".to_owned();
        self
    }

    fn tries(mut self, count: usize) -> Self {
        self.tries = Some(count);
        self
    }

    fn lines(mut self, count: usize) -> Self {
        self.lines = Some(count);
        self
    }

    fn starts(mut self, flow: &str) -> Self {
        self.child = Some(flow.to_owned());
        self
    }
}

fn flow(id: &str, states: &str, tasks: Vec<TaskRule>, body: &str) -> Flow {
    let states = states.split(' ').map(str::to_owned).collect();
    Flow {
        source: format!("id: {id}\nnamespace: {NAMESPACE}\n{body}"),
        rule: FlowRule { namespace: NAMESPACE.to_owned(), flow_id: id.to_owned(), states, tasks },
        called: true,
    }
}

/// `url`: a server whose `/ok` answers at once, `/slow` after a while and `/broken` with status 500.
fn flows(url: &str) -> Vec<Flow> {
    const ENDS_WELL: &str = "CREATED RUNNING SUCCESS";
    let call =
        |id: &str, path: &str| format!("{{id: {id}, type: io.kestra.plugin.core.http.Request, uri: {url}/{path}}}");
    // With a timeout it is a worker's.
    let say = |id: &str| {
        format!("{{id: {id}, type: io.kestra.plugin.core.log.Log, message: '{{{{ taskrun.id }}}}', timeout: PT1M}}")
    };
    let note = |id: &str| format!("{{id: {id}, type: io.kestra.plugin.core.log.Log, message: '{{{{ taskrun.id }}}}'}}");
    let mut flows = vec![
        flow(
            "quick",
            ENDS_WELL,
            vec![task("values", 1).tries(1), task("note", 1).tries(1).lines(1)],
            &format!(
                "tasks:\n  - {{id: values, type: io.kestra.plugin.core.output.OutputValues, values: {{a: 1}}}}\n  - {}\n",
                note("note")
            ),
        ),
        flow(
            "parallel",
            ENDS_WELL,
            vec![
                task("fork", 1),
                task("call", 1).tries(1),
                task("say", 1).tries(1).lines(1),
                task("note", 1).tries(1).lines(1),
                task("last", 1).tries(1).lines(1),
            ],
            &format!(
                "tasks:\n  - id: fork\n    type: io.kestra.plugin.core.flow.Parallel\n    tasks:\n      - {}\n      - {}\n      - {}\n  - {}\n",
                call("call", "ok"),
                say("say"),
                note("note"),
                say("last")
            ),
        ),
        flow(
            "loop",
            ENDS_WELL,
            vec![task("each", 1), task("say", 5).tries(1).lines(1), task("call", 5).tries(1)],
            &format!(
                "tasks:\n  - id: each\n    type: io.kestra.plugin.core.flow.ForEach\n    values: [1, 2, 3, 4, 5]\n    concurrencyLimit: 2\n    tasks:\n      - {}\n      - {}\n",
                say("say"),
                call("call", "ok")
            ),
        ),
        flow(
            "retries",
            "CREATED RUNNING RETRYING RUNNING RETRYING RUNNING FAILED",
            vec![task("break", 1).fails().tries(3), task("explain", 1).tries(1).lines(1)],
            &format!(
                "tasks:\n  - id: break\n    type: io.kestra.plugin.core.execution.Fail\n    retry: {{type: constant, interval: PT0.5S, maxAttempt: 3}}\nerrors:\n  - {}\n",
                note("explain")
            ),
        ),
        flow(
            "broken-calls",
            "CREATED RUNNING RETRYING RUNNING FAILED",
            vec![task("call", 1).fails().tries(2), task("explain", 1).tries(1).lines(1)],
            &format!(
                "tasks:\n  - id: call\n    type: io.kestra.plugin.core.http.Request\n    uri: {url}/broken\n    retry: {{type: constant, interval: PT0.5S, maxAttempt: 2}}\nerrors:\n  - {}\n",
                say("explain")
            ),
        ),
        flow(
            "parent",
            ENDS_WELL,
            vec![task("start", 1).starts("child"), task("note", 1).tries(1).lines(1)],
            &format!(
                "tasks:\n  - id: start\n    type: io.kestra.plugin.core.flow.Subflow\n    namespace: {NAMESPACE}\n    flowId: child\n    wait: true\n  - {}\n",
                note("note")
            ),
        ),
        flow(
            "slow",
            ENDS_WELL,
            vec![task("call", 1).tries(1), task("nap", 1), task("note", 1).tries(1).lines(1)],
            &format!(
                "tasks:\n  - {}\n  - {{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1S}}\n  - {}\n",
                call("call", "slow"),
                note("note")
            ),
        ),
        flow(
            "pauses",
            "CREATED RUNNING PAUSED RESTARTED RUNNING SUCCESS",
            vec![task("first", 1).tries(1).lines(1), task("pause", 1), task("last", 1).tries(1).lines(1)],
            &format!(
                "tasks:\n  - {}\n  - {{id: pause, type: io.kestra.plugin.core.flow.Pause, delay: PT1S}}\n  - {}\n",
                note("first"),
                say("last")
            ),
        ),
    ];
    let mut child = flow(
        "child",
        ENDS_WELL,
        vec![task("call", 1).tries(1), task("note", 1).tries(1).lines(1)],
        &format!("tasks:\n  - {}\n  - {}\n", call("call", "ok"), note("note")),
    );
    child.called = false;
    flows.push(child);
    flows.push(ticker(true));
    flows.push(listener());
    flows
}

/// A flow of the schedule; `active: false` ends it.
fn ticker(active: bool) -> Flow {
    let mut ticker = flow(
        "ticker",
        "CREATED RUNNING SUCCESS",
        vec![task("note", 1).tries(1).lines(1)],
        &format!(
            "tasks:\n  - {{id: note, type: io.kestra.plugin.core.log.Log, message: '{{{{ trigger.date }}}}'}}\ntriggers:\n  - id: often\n    type: io.kestra.plugin.core.trigger.Schedule\n    cron: '*/{EVERY_SECONDS} * * * * *'\n    withSeconds: true\n    recoverMissedSchedules: ALL\n    disabled: {}\n",
            !active
        ),
    );
    ticker.called = false;
    ticker
}

fn listener() -> Flow {
    let mut listener = flow("listener", "CREATED RUNNING SUCCESS", vec![task("note", 1).tries(1).lines(1)], "");
    listener.rule.namespace = ALERTS.to_owned();
    listener.called = false;
    listener.source = format!(
        "id: listener\nnamespace: {ALERTS}\ntasks:\n  - {{id: note, type: io.kestra.plugin.core.log.Log, message: '{{{{ trigger.executionId }}}}'}}\ntriggers:\n  - id: on-failure\n    type: io.kestra.plugin.core.trigger.Flow\n    conditions:\n      - {{type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED]}}\n      - {{type: io.kestra.plugin.core.condition.ExecutionNamespace, namespace: {NAMESPACE}}}\n"
    );
    listener
}

/// What is started, how fast, and what came back.
pub struct Workload {
    clients: Vec<Client>,
    ledger: Mutex<Ledger>,
    followers: tokio::sync::Mutex<JoinSet<Followed>>,
    stop: AtomicBool,
    /// Nothing more will happen.
    over: watch::Sender<bool>,
    next: AtomicUsize,
    called: Vec<String>,
    started: Instant,
}

impl Workload {
    /// Stores the flows. `clients`: one for each gateway, in the tenant that is used.
    ///
    /// # Errors
    /// The server refuses a flow.
    pub async fn prepare(clients: Vec<Client>, tenant: &str, url: &str) -> Result<Arc<Self>> {
        let first = clients.first().context("a gateway")?;
        let mut ledger = Ledger { tenant: tenant.to_owned(), ..Ledger::default() };
        let mut called = Vec::new();
        for flow in flows(url) {
            let name = flow.rule.flow_id.clone();
            first.apply_flow(flow.source).await.with_context(|| format!("the flow {name}"))?;
            if flow.called {
                called.push(name);
            }
            ledger.flows.push(flow.rule);
        }
        ledger.listeners.push(ListenerRule {
            namespace: ALERTS.to_owned(),
            flow_id: "listener".to_owned(),
            trigger_id: "on-failure".to_owned(),
            upstream: NAMESPACE.to_owned(),
            states: vec!["FAILED".to_owned()],
        });
        Ok(Arc::new(Self {
            clients,
            ledger: Mutex::new(ledger),
            followers: tokio::sync::Mutex::default(),
            stop: AtomicBool::new(false),
            over: watch::Sender::new(false),
            next: AtomicUsize::new(0),
            called,
            started: Instant::now(),
        }))
    }

    pub fn acknowledged(&self) -> usize {
        self.ledger.lock().acknowledged.len()
    }

    /// Starts `per_second` executions each second, whatever happens to the cluster, until [`Workload::stop`]; what could
    /// not be started in time is made up for.
    pub fn start(self: &Arc<Self>, per_second: f64) -> JoinSet<()> {
        const CREATORS: usize = 16;
        let mut creators = JoinSet::new();
        for _ in 0..CREATORS {
            let workload = Arc::clone(self);
            creators.spawn(async move {
                let mut ticks = interval(Duration::from_secs_f64(CREATORS as f64 / per_second));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while !workload.stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    workload.create().await;
                }
            });
        }
        creators
    }

    /// Creates the next execution: asks again under the same request id, on the next gateway, until it is acknowledged.
    async fn create(&self) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let flow = &self.called[number % self.called.len()];
        let request_id = format!("faults-{number}");
        for client in self.clients.iter().cycle().skip(number % self.clients.len()) {
            let new = NewExecution::of(NAMESPACE, flow).request_id(&request_id);
            match client.create_execution(new).await {
                Ok(created) => {
                    let id = created.id.clone();
                    self.ledger.lock().acknowledged.push(Acknowledged {
                        id: created.id,
                        namespace: NAMESPACE.to_owned(),
                        flow_id: flow.clone(),
                        request_id,
                    });
                    if number.is_multiple_of(FOLLOWED) {
                        let mut clients = self.clients.clone();
                        clients.rotate_left(number / FOLLOWED % self.clients.len());
                        let over = self.over.subscribe();
                        let following = async move { follow(&clients, id, PATIENCE, over).await };
                        self.followers.lock().await.spawn(following);
                    }
                    return;
                }
                Err(error) if error.is_transient() => sleep(Duration::from_millis(50)).await,
                Err(error) => {
                    // Found by the checker: nothing that is valid may be refused.
                    self.ledger.lock().refused.push(format!("{flow}: {error}"));
                    return;
                }
            }
        }
    }

    /// Ends the load: no more creates, and the schedule rests.
    ///
    /// # Errors
    /// The schedule cannot be ended.
    pub async fn stop(&self, mut creators: JoinSet<()>) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = creators.join_next().await {
            ended.context("a creator broke")?;
        }
        let client = self.clients.first().context("a gateway")?;
        client.apply_flow(ticker(false).source).await.context("ending the schedule")?;
        // Slots go on until the schedulers have seen the new revision; half of those that were due is a careful guess of
        // what must be there, the checker counts gaps exactly.
        let at_least = self.started.elapsed().as_secs() / EVERY_SECONDS / 2;
        self.ledger.lock().schedules.push(ScheduleRule {
            namespace: NAMESPACE.to_owned(),
            flow_id: "ticker".to_owned(),
            trigger_id: "often".to_owned(),
            every_seconds: EVERY_SECONDS,
            at_least: usize::try_from(at_least)?,
        });
        Ok(())
    }

    /// Waits for the followers and gives what is known. Whoever follows what has not ended yet gives up.
    ///
    /// # Errors
    /// A follower broke.
    pub async fn ledger(&self) -> Result<Ledger> {
        const LAST_MESSAGES: Duration = Duration::from_secs(10);
        let mut followers = self.followers.lock().await;
        let _ = tokio::time::timeout(LAST_MESSAGES, async {
            while let Some(followed) = followers.join_next().await {
                self.ledger.lock().followed.extend(followed);
            }
        })
        .await;
        self.over.send_replace(true);
        while let Some(followed) = followers.join_next().await {
            let followed = followed.context("a follower broke")?;
            self.ledger.lock().followed.push(followed);
        }
        Ok(self.ledger.lock().clone())
    }
}
