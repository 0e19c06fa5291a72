//! Finding out whether a database is there, and whether it is ours.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, EntityTrait};
use windhover_migrations::{Migrator, MigratorTrait};
use windhover_types::Tenant;

use crate::{
    Backend, Store, StoreOptions,
    entity::tenants,
    error::{Fault, Result, fault_of},
};

/// Why a server cannot start on a database: sentences for whoever has started it. Never holds the URL's password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(
        "the database URL must begin with postgres:// or sqlite: (it is set by windhover.database.url or WINDHOVER_DATABASE_URL)"
    )]
    Url,
    #[error("cannot reach the database at {place}: {reason}")]
    Unreachable { place: String, reason: String },
    #[error("the database at {place} refuses the login: {reason}")]
    Refused { place: String, reason: String },
    #[error("there is no database of that name at {place}: {reason}; create it first")]
    NoDatabase { place: String, reason: String },
    #[error(
        "the database at {place} holds tables of something else (for example `{table}`); Windhover needs a database of its own"
    )]
    NotOurs { place: String, table: String },
    #[error(
        "the database at {place} was last used by a newer version of Windhover (it knows the step `{step}`, this version does not); start that version or a later one"
    )]
    NewerSchema { place: String, step: String },
    #[error("the database at {place} cannot be used: {reason}")]
    Other { place: String, reason: String },
}

impl Store {
    /// Connects, and checks that the database is empty or ours, and not of a newer version. Changes nothing: see
    /// [`Store::migrate`].
    ///
    /// URLs: `postgres://user:password@host:port/database`, `sqlite:/path/to/file` (made when it is not there).
    pub async fn connect(url: &str, options: StoreOptions) -> std::result::Result<Self, ConnectError> {
        if !["postgres://", "postgresql://", "sqlite:"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(ConnectError::Url);
        }
        let place = place_of(url);
        let store = Self::open(url, options).await.map_err(|error| why(&place, &error))?;
        store.check_ownership(&place).await?;
        Ok(store)
    }

    async fn check_ownership(&self, place: &str) -> std::result::Result<(), ConnectError> {
        let tables = self.tables().await.map_err(|error| why(place, &error))?;
        if !tables.iter().any(|table| table == MIGRATIONS) {
            return match tables.into_iter().next() {
                Some(table) => Err(ConnectError::NotOurs { place: place.to_owned(), table }),
                None => Ok(()),
            };
        }
        for step in self.steps().await.map_err(|error| why(place, &error))? {
            if !windhover_migrations::is_ours(&step) {
                return Err(ConnectError::NotOurs { place: place.to_owned(), table: MIGRATIONS.to_owned() });
            }
            if !windhover_migrations::is_known(&step) {
                return Err(ConnectError::NewerSchema { place: place.to_owned(), step });
            }
        }
        Ok(())
    }

    /// Tables of the schema that is used, in alphabetical order.
    async fn tables(&self) -> Result<Vec<String>, DbErr> {
        let sql = match self.backend() {
            Backend::Postgres => "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1",
            Backend::Sqlite => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1"
            }
        };
        texts(self.read(), self.statement(sql, [])).await
    }

    async fn steps(&self) -> Result<Vec<String>, DbErr> {
        texts(self.read(), self.statement("SELECT version FROM seaql_migrations ORDER BY 1", [])).await
    }

    /// Brings the schema to this version and makes the tenant `main` if there is none. Safe to run from several
    /// processes at once: one of them does it, the others wait.
    pub async fn migrate(&self) -> Result<()> {
        let transaction = self.begin().await?;
        if self.backend() == Backend::Postgres {
            // Any number will do, as long as nothing else of ours uses it.
            let lock = self.statement("SELECT pg_advisory_xact_lock(7236271)", []);
            transaction.query_one_raw(lock).await?;
        }
        Migrator::up(&transaction, None).await?;
        if tenants::Entity::find().one(&transaction).await?.is_none() {
            crate::tenants::insert(&transaction, &Tenant::main(), self.database_now(&transaction).await?).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// SeaORM's table of the steps that were taken.
const MIGRATIONS: &str = "seaql_migrations";

async fn texts(db: &DatabaseConnection, statement: sea_orm::Statement) -> Result<Vec<String>, DbErr> {
    db.query_all_raw(statement).await?.iter().map(|row| row.try_get_by_index(0)).collect()
}

/// The URL without user, password and parameters.
fn place_of(url: &str) -> String {
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    let rest = rest.split('?').next().unwrap_or(rest).trim_start_matches("//");
    let rest = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    if scheme == "sqlite" { rest.to_owned() } else { format!("{scheme}://{rest}") }
}

fn why(place: &str, error: &DbErr) -> ConnectError {
    let place = place.to_owned();
    let code = sqlstate(error);
    let reason = innermost(error);
    match code.as_deref() {
        Some("3D000") => ConnectError::NoDatabase { place, reason },
        Some("28P01" | "28000") => ConnectError::Refused { place, reason },
        _ if fault_of(error) == Fault::Connection => ConnectError::Unreachable { place, reason },
        _ => ConnectError::Other { place, reason },
    }
}

fn sqlstate(error: &DbErr) -> Option<String> {
    let (DbErr::Conn(sea_orm::RuntimeErr::SqlxError(error))
    | DbErr::Exec(sea_orm::RuntimeErr::SqlxError(error))
    | DbErr::Query(sea_orm::RuntimeErr::SqlxError(error))) = error
    else {
        return None;
    };
    error.as_database_error()?.code().map(|code| code.into_owned())
}

/// What the database or the operating system said, without the layers in between.
fn innermost(error: &DbErr) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_database_tells_no_password() {
        assert_eq!(place_of("postgres://me:p%40ss@db:5432/w?sslmode=disable"), "postgres://db:5432/w");
        assert_eq!(place_of("sqlite:///var/lib/w.db?mode=rwc"), "/var/lib/w.db");
        assert_eq!(place_of("sqlite:w.db"), "w.db");
    }
}
