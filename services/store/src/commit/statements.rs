//! The statements of a batch. Each says which rows it takes; counts are compared by whoever runs them.

use crate::bulk::{Bulk, Kind::*};

pub(super) static INSERT_EXECUTIONS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("id", Bytes),
        ("shard", Int),
        ("namespace", Text),
        ("flow_id", Text),
        ("flow_revision", Int),
        ("state", Text),
        ("open", Bool),
        ("created_at", Int),
        ("started_at", NullInt),
        ("ended_at", NullInt),
        ("labels", Text),
        ("inputs", Text),
        ("outputs", NullText),
        ("variables", NullText),
        ("origin", Text),
        ("trigger_id", NullText),
        ("cause", NullBytes),
        ("parent", NullBytes),
        ("history", Text),
        ("progress", Text),
        ("format", Int),
        ("version", Int),
    ],
    "INSERT INTO executions ({columns}) SELECT {columns} FROM u WHERE true ON CONFLICT DO NOTHING",
);

pub(super) static UPDATE_EXECUTIONS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("id", Bytes),
        ("flow_revision", Int),
        ("state", Text),
        ("open", Bool),
        ("started_at", NullInt),
        ("ended_at", NullInt),
        ("labels", Text),
        ("outputs", NullText),
        ("variables", NullText),
        ("history", Text),
        ("progress", Text),
        ("format", Int),
        ("version", Int),
    ],
    "UPDATE executions SET flow_revision = u.flow_revision, state = u.state, open = u.open, started_at = u.started_at, ended_at = u.ended_at, \
     labels = u.labels, outputs = u.outputs, variables = u.variables, history = u.history, progress = u.progress, \
     format = u.format, version = u.version, parked = NULL \
     FROM u WHERE executions.tenant = u.tenant AND executions.id = u.id AND executions.version = u.version - 1",
);

pub(super) static PARK_EXECUTIONS: Bulk = Bulk::new(
    &[("tenant", Text), ("id", Bytes), ("parked", Text)],
    "UPDATE executions SET parked = u.parked, open = false FROM u WHERE executions.tenant = u.tenant AND executions.id = u.id",
);

pub(super) static INSERT_TASK_RUNS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("execution", Bytes),
        ("seq", Int),
        ("id", Bytes),
        ("task_id", Text),
        ("parent_id", NullBytes),
        ("place", NullText),
        ("state", Text),
        ("open", Bool),
        ("started_at", Int),
        ("ended_at", NullInt),
        ("history", Text),
        ("attempts", Text),
        ("outputs", NullText),
        ("frame", NullText),
        ("opened", NullText),
        ("dispatch", Int),
        ("child_execution", NullBytes),
        ("format", Int),
        ("version", Int),
    ],
    "INSERT INTO task_runs ({columns}) SELECT {columns} FROM u WHERE true ON CONFLICT DO NOTHING",
);

pub(super) static UPDATE_TASK_RUNS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("execution", Bytes),
        ("seq", Int),
        ("id", Bytes),
        ("state", Text),
        ("open", Bool),
        ("ended_at", NullInt),
        ("history", Text),
        ("attempts", Text),
        ("outputs", NullText),
        ("frame", NullText),
        ("opened", NullText),
        ("dispatch", Int),
        ("child_execution", NullBytes),
        ("format", Int),
        ("version", Int),
    ],
    "UPDATE task_runs SET state = u.state, open = u.open, ended_at = u.ended_at, history = u.history, \
     attempts = u.attempts, outputs = u.outputs, frame = u.frame, opened = u.opened, dispatch = u.dispatch, \
     child_execution = u.child_execution, format = u.format, version = u.version \
     FROM u WHERE task_runs.tenant = u.tenant AND task_runs.execution = u.execution AND task_runs.seq = u.seq \
     AND task_runs.id = u.id AND task_runs.version = u.version - 1",
);

pub(super) static DELETE_TASK_RUNS: Bulk = Bulk::new(
    &[("tenant", Text), ("execution", Bytes), ("seq", Int)],
    "DELETE FROM task_runs WHERE (tenant, execution, seq) IN (SELECT {columns} FROM u)",
);

pub(super) static INSERT_LOGS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("execution", Bytes),
        ("position", Int),
        ("at", Int),
        ("level", Int),
        ("namespace", Text),
        ("flow_id", Text),
        ("task_id", NullText),
        ("task_run", NullBytes),
        ("attempt", NullInt),
        ("message", Text),
    ],
    "INSERT INTO logs ({columns}) SELECT {columns} FROM u WHERE true ON CONFLICT DO NOTHING",
);

pub(super) static INSERT_METRICS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("execution", Bytes),
        ("task_run", Bytes),
        ("namespace", Text),
        ("flow_id", Text),
        ("task_id", Text),
        ("name", Text),
        ("kind", Int),
        ("value", Real),
        ("tags", Text),
        ("at", Int),
    ],
    "INSERT INTO task_metrics ({columns}) SELECT {columns} FROM u",
);

pub(super) static DELETE_TIMERS: Bulk = Bulk::new(
    &[("tenant", Text), ("execution", Bytes), ("timer", Text)],
    "DELETE FROM timers WHERE (tenant, execution, timer) IN (SELECT {columns} FROM u)",
);

pub(super) static UPSERT_TIMERS: Bulk = Bulk::new(
    &[("tenant", Text), ("execution", Bytes), ("timer", Text), ("shard", Int), ("at", Int)],
    "INSERT INTO timers ({columns}) SELECT {columns} FROM u WHERE true \
     ON CONFLICT (tenant, execution, timer) DO UPDATE SET shard = excluded.shard, at = excluded.at",
);

pub(super) static DELETE_JOBS: Bulk = Bulk::new(
    &[("tenant", Text), ("execution", Bytes), ("task_run", Bytes), ("dispatch", Int)],
    "DELETE FROM jobs WHERE (tenant, execution, task_run, dispatch) IN (SELECT {columns} FROM u)",
);

pub(super) static UPSERT_JOBS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("execution", Bytes),
        ("task_run", Bytes),
        ("dispatch", Int),
        ("shard", Int),
        ("worker_group", NullText),
        ("deadline", Int),
        ("losses", Int),
        ("worker", NullText),
    ],
    "INSERT INTO jobs ({columns}) SELECT {columns} FROM u WHERE true \
     ON CONFLICT (tenant, execution, task_run, dispatch) DO UPDATE SET shard = excluded.shard, \
     worker_group = excluded.worker_group, deadline = excluded.deadline, losses = excluded.losses, \
     worker = excluded.worker",
);

pub(super) static NOTE_JOBS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("execution", Bytes),
        ("task_run", Bytes),
        ("dispatch", Int),
        ("worker", NullText),
        ("lines", Int),
    ],
    "UPDATE jobs SET worker = COALESCE(u.worker, jobs.worker), \
     lines = CASE WHEN u.lines > jobs.lines THEN u.lines ELSE jobs.lines END FROM u \
     WHERE jobs.tenant = u.tenant AND jobs.execution = u.execution AND jobs.task_run = u.task_run \
     AND jobs.dispatch = u.dispatch",
);

pub(super) static DELETE_INBOX: Bulk =
    Bulk::new(&[("tenant", Text), ("id", Bytes)], "DELETE FROM inbox WHERE (tenant, id) IN (SELECT {columns} FROM u)");

pub(super) static INSERT_INBOX: Bulk = Bulk::new(
    &[("tenant", Text), ("id", Bytes), ("shard", Int), ("execution", Bytes), ("message", Text), ("format", Int)],
    "INSERT INTO inbox ({columns}, sent_at) SELECT {columns}, {now} FROM u WHERE true ON CONFLICT DO NOTHING",
);

pub(super) static INSERT_FEED: Bulk = Bulk::new(
    &[("shard", Int), ("seq", Int), ("tenant", Text), ("at", Int), ("entries", Text), ("format", Int)],
    "INSERT INTO feed ({columns}) SELECT {columns} FROM u",
);

/// `first` is the first number of the batch: it must follow the last stored one.
pub(super) static ADVANCE_SHARDS: Bulk = Bulk::new(
    &[("shard", Int), ("first", Int), ("last", Int)],
    "UPDATE shards SET last_seq = u.last FROM u WHERE shards.shard = u.shard AND shards.last_seq = u.first - 1",
);

/// A row whose time has passed makes room.
pub(super) static INSERT_REQUEST_IDS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("method", Text),
        ("request_id", Text),
        ("content", Bytes),
        ("result", Text),
        ("expires_at", Int),
    ],
    "INSERT INTO request_ids AS r ({columns}) SELECT {columns} FROM u WHERE true \
     ON CONFLICT (tenant, method, request_id) DO UPDATE SET content = excluded.content, result = excluded.result, \
     expires_at = excluded.expires_at WHERE r.expires_at <= {now}",
);
