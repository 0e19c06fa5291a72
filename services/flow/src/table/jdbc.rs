//! Queries of databases.

use super::{Family, Kind, PropertySpec, TaskType};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

const FETCH_TYPES: &[&str] = &["STORE", "FETCH", "FETCH_ONE", "NONE"];
const SSL_MODES: &[&str] = &["DISABLE", "ALLOW", "PREFER", "REQUIRE", "VERIFY_CA", "VERIFY_FULL"];

/// Of both tasks over a database.
const JDBC: [PropertySpec; 17] = [
    new("url", Kind::Text).required(),
    new("username", Kind::Text),
    new("password", Kind::Text),
    new("sql", Kind::Text).required(),
    new("parameters", Kind::Map),
    new("fetchType", Kind::Choice(FETCH_TYPES)),
    new("fetchSize", Kind::Int),
    new("timeZoneId", Kind::Text),
    new("ssl", Kind::Bool),
    new("sslMode", Kind::Choice(SSL_MODES)),
    new("sslRootCert", Kind::Text),
    new("sslCert", Kind::Text),
    new("sslKey", Kind::Text),
    new("sslKeyPassword", Kind::Text),
    // Older ways to say `fetchType`.
    new("fetch", Kind::Bool),
    new("fetchOne", Kind::Bool),
    new("store", Kind::Bool),
];

const fn of_jdbc<const N: usize>(own: &[PropertySpec]) -> [PropertySpec; N] {
    let mut all = [JDBC[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < JDBC.len() { JDBC[at] } else { own[at - JDBC.len()] };
        at += 1;
    }
    all
}

const QUERY: &[PropertySpec] =
    &of_jdbc::<19>(&[new("afterSQL", Kind::Text), new("autoCommit", Kind::Bool).only("true")]);
const QUERIES: &[PropertySpec] = &of_jdbc::<18>(&[new("transaction", Kind::Bool)]);

const fn task(name: &'static str, properties: &'static [PropertySpec]) -> TaskType {
    TaskType { name, aliases: &[], family: Family::Runnable, inline: false, properties }
}

pub(super) const TYPES: &[TaskType] =
    &[task("io.kestra.plugin.jdbc.postgresql.Queries", QUERIES), task("io.kestra.plugin.jdbc.postgresql.Query", QUERY)];
