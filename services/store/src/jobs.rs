//! Jobs that somebody holds or should hold, and the groups of workers that may.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use windhover_types::{Tenant, Timestamp};

use crate::{
    JobKey, JobRow, Store,
    bulk::{
        Bulk,
        Kind::{Bytes, Int, NullText, Text},
        boolean, free_text, id, int, tenant, text, text_or_null, time,
    },
    entity::{jobs, worker_group_permissions, worker_groups},
    error::Result,
    rows::{number, parse_id},
};

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
        ("deadline", Int),
    ],
    "UPDATE jobs SET deadline = u.deadline, worker = COALESCE(u.worker, jobs.worker) FROM u \
     WHERE jobs.tenant = u.tenant AND jobs.execution = u.execution AND jobs.task_run = u.task_run \
     AND jobs.dispatch = u.dispatch AND jobs.deadline < u.deadline",
);

impl Store {
    /// All jobs of these shards that somebody holds or should hold, in order of their deadlines.
    pub async fn jobs(&self, shards: &[u16]) -> Result<Vec<JobRow>> {
        self.find_jobs(shards, None, None).await
    }

    /// Jobs of these shards whose deadline has passed, earliest first.
    pub async fn expired_jobs(&self, shards: &[u16], now: Timestamp, limit: u64) -> Result<Vec<JobRow>> {
        self.find_jobs(shards, Some(now), Some(limit)).await
    }

    async fn find_jobs(&self, shards: &[u16], until: Option<Timestamp>, limit: Option<u64>) -> Result<Vec<JobRow>> {
        let mut query = jobs::Entity::find()
            .filter(jobs::Column::Shard.is_in(shards.iter().map(|shard| *shard as i16)))
            .order_by_asc(jobs::Column::Deadline)
            .limit(limit);
        if let Some(until) = until {
            query = query.filter(jobs::Column::Deadline.lte(until.as_micros()));
        }
        query.all(self.read()).await?.into_iter().map(job).collect()
    }

    /// Jobs that this worker was last known to hold.
    pub async fn jobs_of_worker(&self, worker: &str) -> Result<Vec<JobRow>> {
        let query = jobs::Entity::find().filter(jobs::Column::Worker.eq(free_text(worker)));
        query.order_by_asc(jobs::Column::Deadline).all(self.read()).await?.into_iter().map(job).collect()
    }

    /// Their holders were heard of: moves the deadlines of these jobs to `deadline`, if that is later. Jobs that are
    /// gone stay gone; tells how many were moved. Needs no fence: a later deadline makes nothing happen.
    pub async fn renew_jobs(&self, renewals: &[JobRenewal], deadline: Timestamp) -> Result<u64> {
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
                time(deadline),
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
