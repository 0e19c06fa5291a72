//! Jobs that somebody holds or should hold, and the groups of workers that may.

use std::{collections::HashMap, time::Duration};

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use windhover_types::{Tenant, Timestamp};

use crate::{
    JobKey, JobRow, Store,
    bulk::{
        Bulk,
        Kind::{Bytes, Int, NullText, Text},
        boolean, free_text, id, int, tenant, text, text_or_null,
    },
    entity::{jobs, worker_group_permissions, worker_groups},
    error::Result,
    rows::{number, parse_id},
};

/// Jobs that one query asks for; bounds the length of its text.
const CHUNK: usize = 256;

/// A job whose holder was heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRenewal {
    pub key: JobKey,
    /// Who holds it; `None` leaves what is stored.
    pub worker: Option<String>,
}

/// A group of workers that has been heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerGroup {
    pub name: String,
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
}

/// Whether a tenant may use a group of workers; without one it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerGroupPermission {
    pub tenant: Tenant,
    pub group: String,
    pub allowed: bool,
    pub updated_at: Timestamp,
}

static RENEW_JOBS: Bulk = Bulk::new(
    &[
        ("tenant", Text),
        ("execution", Bytes),
        ("task_run", Bytes),
        ("dispatch", Int),
        ("worker", NullText),
        ("lease", Int),
    ],
    "UPDATE jobs SET deadline = {now} + u.lease, worker = COALESCE(u.worker, jobs.worker) FROM u \
     WHERE jobs.tenant = u.tenant AND jobs.execution = u.execution AND jobs.task_run = u.task_run \
     AND jobs.dispatch = u.dispatch AND jobs.deadline < {now} + u.lease",
);

impl Store {
    /// All jobs of these shards that somebody holds or should hold, in order of their deadlines.
    pub async fn jobs(&self, shards: &[u16]) -> Result<Vec<JobRow>> {
        let query = jobs::Entity::find()
            .filter(jobs::Column::Shard.is_in(shards.iter().map(|shard| *shard as i16)))
            .order_by_asc(jobs::Column::Deadline);
        query.all(self.read()).await?.into_iter().map(job).collect()
    }

    /// Those of these jobs whose deadline has passed, by the database's clock.
    pub async fn overdue_jobs(&self, keys: &[JobKey]) -> Result<Vec<JobRow>> {
        let mut overdue = Vec::new();
        for chunk in keys.chunks(CHUNK) {
            let rows: Vec<String> = (0..chunk.len())
                .map(|at| {
                    let [a, b, c, d] = [1, 2, 3, 4].map(|part| at * 4 + part);
                    format!("(tenant = ${a} AND execution = ${b} AND task_run = ${c} AND dispatch = ${d})")
                })
                .collect();
            let (columns, now) = (jobs::columns(), self.backend().now());
            let sql = format!("SELECT {columns} FROM jobs WHERE deadline <= {now} AND ({})", rows.join(" OR "));
            let values = chunk
                .iter()
                .flat_map(|key| [tenant(&key.tenant), id(key.execution), id(key.task_run), int(key.dispatch)]);
            let found = jobs::Entity::find().from_raw_sql(self.statement(&sql, values)).all(self.read()).await?;
            for row in found {
                overdue.push(job(row)?);
            }
        }
        Ok(overdue)
    }

    /// Jobs that this worker was last known to hold.
    pub async fn jobs_of_worker(&self, worker: &str) -> Result<Vec<JobRow>> {
        let query = jobs::Entity::find().filter(jobs::Column::Worker.eq(free_text(worker)));
        query.order_by_asc(jobs::Column::Deadline).all(self.read()).await?.into_iter().map(job).collect()
    }

    /// Their holders were heard of: moves the deadlines of these jobs to so long from now, by the database's clock, if
    /// that is later. Jobs that are gone stay gone; tells how many were moved. Needs no fence: a later deadline makes
    /// nothing happen.
    pub async fn renew_jobs(&self, renewals: &[JobRenewal], lease: Duration) -> Result<u64> {
        let lease = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX);
        let mut sorted: Vec<&JobRenewal> = renewals.iter().collect();
        let order = |key: &JobKey| (key.tenant.clone(), key.execution, key.task_run, key.dispatch);
        sorted.sort_by_cached_key(|renewal| order(&renewal.key));
        sorted.dedup_by(|a, b| a.key == b.key);
        let mut rows = RENEW_JOBS.rows(sorted.len());
        for JobRenewal { key, worker } in sorted {
            rows.push([
                tenant(&key.tenant),
                id(key.execution),
                id(key.task_run),
                int(key.dispatch),
                text_or_null(worker.as_deref().map(free_text)),
                int(lease),
            ]);
        }
        Ok(rows.run(self.write()).await?)
    }

    /// A worker of this group was heard of.
    pub async fn see_worker_group(&self, name: &str) -> Result<()> {
        let now = self.backend().now();
        let sql = format!(
            "INSERT INTO worker_groups (name, first_seen_at, last_seen_at) VALUES ($1, {now}, {now}) \
             ON CONFLICT (name) DO UPDATE SET last_seen_at = excluded.last_seen_at"
        );
        self.write().execute_raw(self.statement(&sql, [text(free_text(name))])).await?;
        Ok(())
    }

    /// Groups of which a worker was ever heard of, by name.
    pub async fn worker_groups(&self) -> Result<Vec<WorkerGroup>> {
        let rows = worker_groups::Entity::find().order_by_asc(worker_groups::Column::Name).all(self.read()).await?;
        let group = |row: worker_groups::Model| WorkerGroup {
            name: row.name,
            first_seen_at: Timestamp::from_micros(row.first_seen_at),
            last_seen_at: Timestamp::from_micros(row.last_seen_at),
        };
        Ok(rows.into_iter().map(group).collect())
    }

    /// Whether the tenant may use the group; `None`: as by default, which is yes.
    pub async fn set_worker_group_permission(&self, of: &Tenant, group: &str, allowed: Option<bool>) -> Result<()> {
        let Some(allowed) = allowed else {
            let key = (of.as_str().to_owned(), free_text(group));
            worker_group_permissions::Entity::delete_by_id(key).exec(self.write()).await?;
            return Ok(());
        };
        let sql = format!(
            "INSERT INTO worker_group_permissions (tenant, worker_group, allowed, updated_at) VALUES ($1, $2, $3, {}) \
             ON CONFLICT (tenant, worker_group) DO UPDATE SET allowed = excluded.allowed, updated_at = excluded.updated_at",
            self.backend().now()
        );
        let values = [tenant(of), text(free_text(group)), boolean(allowed)];
        self.write().execute_raw(self.statement(&sql, values)).await?;
        Ok(())
    }

    /// What was said about a tenant and groups, by group.
    pub async fn worker_group_permissions(&self, tenant: &Tenant) -> Result<Vec<WorkerGroupPermission>> {
        let of = worker_group_permissions::Column::Tenant.eq(tenant.as_str());
        self.permissions(Some(of)).await
    }

    /// Groups that tenants may not use, of all tenants: few, to be kept in memory.
    pub async fn denied_worker_groups(&self) -> Result<HashMap<Tenant, Vec<String>>> {
        use sea_orm::sea_query::{Expr, ExprTrait};
        let denied = Expr::col(worker_group_permissions::Column::Allowed).not();
        let mut by_tenant: HashMap<Tenant, Vec<String>> = HashMap::new();
        for permission in self.permissions(Some(denied)).await? {
            by_tenant.entry(permission.tenant).or_default().push(permission.group);
        }
        Ok(by_tenant)
    }

    async fn permissions(&self, which: Option<sea_orm::sea_query::Expr>) -> Result<Vec<WorkerGroupPermission>> {
        let mut query = worker_group_permissions::Entity::find()
            .order_by_asc(worker_group_permissions::Column::Tenant)
            .order_by_asc(worker_group_permissions::Column::WorkerGroup);
        if let Some(which) = which {
            query = query.filter(which);
        }
        let permission = |row: worker_group_permissions::Model| WorkerGroupPermission {
            tenant: Tenant::trusted(&row.tenant),
            group: row.worker_group,
            allowed: row.allowed,
            updated_at: Timestamp::from_micros(row.updated_at),
        };
        Ok(query.all(self.read()).await?.into_iter().map(permission).collect())
    }
}

fn job(row: jobs::Model) -> Result<JobRow> {
    Ok(JobRow {
        shard: number("job", row.shard)?,
        tenant: Tenant::trusted(&row.tenant),
        execution: parse_id("job", &row.execution)?,
        task_run: parse_id("job", &row.task_run)?,
        dispatch: number("job", row.dispatch)?,
        worker_group: row.worker_group,
        deadline: Timestamp::from_micros(row.deadline),
        losses: number("job", row.losses)?,
        worker: row.worker,
    })
}
