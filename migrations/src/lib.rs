//! The schema of the store: one text for Postgres and SQLite, in numbered steps.
//!
//! Always true: a step that has been released never changes; what is new is a new step. Names of steps tell their
//! order, and a server refuses a database that knows steps which the server does not (see [`is_known`]).

mod dialect;
mod m0001_foundation;
mod m0002_views;
mod m0003_cluster;
mod m0004_language;
mod m0005_namespaces;
mod m0006_windows;
mod m0007_job_lines;
mod m0008_upkeep;
mod m0009_large_outputs;

use sea_orm_migration::prelude::*;

pub use sea_orm_migration::MigratorTrait;

/// All steps, oldest first.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_foundation::Migration),
            Box::new(m0002_views::Migration),
            Box::new(m0003_cluster::Migration),
            Box::new(m0004_language::Migration),
            Box::new(m0005_namespaces::Migration),
            Box::new(m0006_windows::Migration),
            Box::new(m0007_job_lines::Migration),
            Box::new(m0008_upkeep::Migration),
            Box::new(m0009_large_outputs::Migration),
        ]
    }
}

/// Whether this version knows the step; one that it does not know was made by a newer version (or by something else).
pub fn is_known(name: &str) -> bool {
    Migrator::migrations().iter().any(|step| step.name() == name)
}

/// Whether a step of this name is one of ours, of whatever version.
pub fn is_ours(name: &str) -> bool {
    let number = name.strip_prefix('m').and_then(|rest| rest.split_once('_'));
    number.is_some_and(|(number, _)| number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit()))
}
