//! `windhover admin instance|shard|queue …`

use clap::{Args, Subcommand};
use windhover_client::admin::v1::{
    DrainInstanceRequest, Instance, InstanceState, InstanceType, ListInstancesRequest, ListQueuesRequest,
    ListShardsRequest, MoveShardRequest, Queue, Shard,
};

use super::{
    error::Failure,
    output::table,
    pages,
    session::Session,
    style::{self, paint, safe},
};

#[derive(Subcommand)]
pub(crate) enum InstanceCommand {
    /// List the services of the installation, newest first.
    List(ListInstances),
    /// Take work away from an executor before it is stopped.
    Drain(Drain),
}

#[derive(Subcommand)]
pub(crate) enum ShardCommand {
    /// List the shards: who owns them, and how much there is in them.
    List(ListShards),
    /// Assign a shard to an executor.
    Move(Move),
}

#[derive(Subcommand)]
pub(crate) enum QueueCommand {
    /// List the jobs that wait and run, by worker group and tenant.
    List(ListQueues),
}

#[derive(Args)]
pub(crate) struct ListInstances {
    /// Also those that have ended.
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub(crate) struct Drain {
    /// Id of the instance.
    instance: String,
    /// Give it work again instead.
    #[arg(long)]
    cancel: bool,
}

#[derive(Args)]
pub(crate) struct ListShards {
    /// Only those of this instance.
    #[arg(long, value_name = "INSTANCE", default_value = "", hide_default_value = true)]
    owner: String,
}

#[derive(Args)]
pub(crate) struct Move {
    /// Number of the shard.
    shard: u32,
    /// Id of the instance that shall own it; when not given, the executors share it among themselves again.
    #[arg(default_value = "", hide_default_value = true)]
    instance: String,
}

#[derive(Args)]
pub(crate) struct ListQueues {
    /// Only those of this tenant's jobs.
    #[arg(long, value_name = "TENANT", default_value = "", hide_default_value = true)]
    of: String,
}

pub(super) async fn instance(session: &Session, command: InstanceCommand) -> Result<(), Failure> {
    match command {
        InstanceCommand::List(ListInstances { all: include_ended }) => {
            let response = pages::collect(0, async |page_size, page_token| {
                session.client.list_instances(ListInstancesRequest { page_size, page_token, include_ended }).await
            })
            .await?;
            session.output.print(&response, || instances(&response.instances))
        }
        InstanceCommand::Drain(Drain { instance, cancel }) => {
            let response =
                session.client.drain_instance(DrainInstanceRequest { instance_id: instance, cancel }).await?;
            session.output.print(&response, || instances(response.instance.as_slice()))
        }
    }
}

pub(super) async fn shard(session: &Session, command: ShardCommand) -> Result<(), Failure> {
    match command {
        ShardCommand::List(ListShards { owner }) => {
            let response = pages::collect(0, async |page_size, page_token| {
                let owner_id = owner.clone();
                session.client.list_shards(ListShardsRequest { page_size, page_token, owner_id }).await
            })
            .await?;
            session.output.print(&response, || shards(&response.shards))
        }
        ShardCommand::Move(Move { shard, instance }) => {
            let response = session.client.move_shard(MoveShardRequest { shard, instance_id: instance }).await?;
            session.output.print(&response, || shards(response.shard.as_slice()))
        }
    }
}

pub(super) async fn queue(session: &Session, command: QueueCommand) -> Result<(), Failure> {
    let QueueCommand::List(ListQueues { of }) = command;
    let response = pages::collect(0, async |page_size, page_token| {
        let tenant_id = of.clone();
        session.client.list_queues(ListQueuesRequest { page_size, page_token, tenant_id }).await
    })
    .await?;
    if response.queue_away {
        super::error::say(&[paint(style::WARNING, "the queue cannot be asked at the moment")]);
    }
    session.output.print(&response, || queues(&response.queues))
}

fn instances(instances: &[Instance]) -> Vec<String> {
    let rows = instances.iter().map(|instance| {
        [
            safe(&instance.id).into_owned(),
            type_name(instance.r#type()).to_owned(),
            state(instance),
            safe(&instance.host).into_owned(),
            safe(&instance.version).into_owned(),
            style::date_time(instance.started.as_ref()),
            style::date_time(instance.last_heartbeat.as_ref()),
            does(instance),
        ]
    });
    table(["INSTANCE", "TYPE", "STATE", "HOST", "VERSION", "STARTED", "LAST HEARD OF", ""], rows.collect())
}

fn type_name(of: InstanceType) -> &'static str {
    match of {
        InstanceType::Unspecified => "unknown",
        InstanceType::Gateway => "gateway",
        InstanceType::Executor => "executor",
        InstanceType::Worker => "worker",
        InstanceType::Scheduler => "scheduler",
    }
}

fn state(instance: &Instance) -> String {
    let state = instance.state();
    let style = match state {
        InstanceState::Running if instance.draining => return paint(style::WARNING, "DRAINING"),
        InstanceState::Running => style::GOOD,
        InstanceState::Created => style::BUSY,
        InstanceState::Error | InstanceState::Disconnected => style::ERROR,
        InstanceState::Unspecified => return "UNKNOWN".to_owned(),
        _ => style::WARNING,
    };
    paint(style, state.short_name())
}

/// What it has, or takes.
fn does(instance: &Instance) -> String {
    match instance.r#type() {
        InstanceType::Executor => count(u64::from(instance.shards), "shard"),
        InstanceType::Worker => {
            let groups: Vec<_> = instance.worker_groups.iter().map(|name| group(name)).collect();
            let slots = count(u64::from(instance.slots), "slot");
            if groups.is_empty() { slots } else { format!("{slots}, group {}", groups.join(", ")) }
        }
        _ => String::new(),
    }
}

fn count(number: u64, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

/// A worker group as people call it; the one without a name is that of jobs that name none.
fn group(name: &str) -> String {
    if name.is_empty() { "(none)".to_owned() } else { safe(name).into_owned() }
}

fn shards(shards: &[Shard]) -> Vec<String> {
    let rows = shards.iter().map(|shard| {
        let number = |number: u64| if shard.cut { format!("≥ {number}") } else { number.to_string() };
        let late = |number: u64| if number == 0 { String::new() } else { paint(style::WARNING, &number.to_string()) };
        let owner = match (shard.owner_id.as_str(), shard.owner_host.as_str()) {
            ("", _) => paint(style::ERROR, "nobody"),
            (id, host) => format!("{} {}", safe(id), safe(host)),
        };
        [
            shard.number.to_string(),
            owner,
            safe(&shard.wanted_id).into_owned(),
            number(shard.open_executions),
            number(shard.inbox),
            number(shard.jobs),
            late(shard.overdue_jobs),
            late(shard.overdue_timers),
            style::date_time(shard.last_change.as_ref()),
        ]
    });
    let headings = ["SHARD", "OWNER", "WANTED", "OPEN", "INBOX", "JOBS", "LATE JOBS", "LATE TIMERS", "LAST CHANGE"];
    table(headings, rows.collect())
}

fn queues(queues: &[Queue]) -> Vec<String> {
    let rows = queues.iter().map(|queue| {
        let workers = if queue.workers == 0 { paint(style::ERROR, "none") } else { queue.workers.to_string() };
        [
            group(&queue.worker_group),
            safe(&queue.tenant_id).into_owned(),
            queue.jobs.to_string(),
            queue.queued.to_string(),
            queue.running.to_string(),
            queue.overdue.to_string(),
            workers,
        ]
    });
    table(["GROUP", "TENANT", "JOBS", "QUEUED", "RUNNING", "LATE", "WORKERS"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lines: &[String]) -> String {
        anstream::adapter::strip_str(&lines.join("\n")).to_string()
    }

    #[test]
    fn what_nobody_owns_or_serves_is_plain_to_see() {
        let text = plain(&shards(&[Shard { number: 7, open_executions: 3, cut: true, ..Shard::default() }]));
        assert!(text.contains("nobody") && text.contains("≥ 3"), "{text}");
        let text = plain(&queues(&[Queue { tenant_id: "main".into(), jobs: 2, ..Queue::default() }]));
        assert!(text.ends_with("(none)  main    2     0       0        0     none"), "{text}");
    }

    #[test]
    fn instances_tell_what_they_are_and_have() {
        let executor = Instance {
            r#type: InstanceType::Executor.into(),
            state: InstanceState::Running.into(),
            shards: 1,
            draining: true,
            ..Instance::default()
        };
        let worker = Instance {
            r#type: InstanceType::Worker.into(),
            state: InstanceState::Running.into(),
            slots: 8,
            worker_groups: vec![String::new(), "gpu".into()],
            ..Instance::default()
        };
        let text = plain(&instances(&[executor, worker]));
        for part in ["executor", "DRAINING", "1 shard", "RUNNING", "8 slots, group (none), gpu"] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
