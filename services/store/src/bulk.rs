//! Statements over many rows.
//!
//! Every statement is `WITH u (…) AS (rows) …`. On Postgres the rows are one array per column (`unnest`), so that one
//! text, one plan and one round trip serve any number of rows: 500 executions with two task runs and a line each cost
//! three round trips in place of eighteen (multi-row `VALUES` in powers of two), and no statement has 12,000 parameters
//! to be named and parsed. On SQLite, where a round trip is a function call, the rows are `VALUES` in chunks whose
//! sizes are powers of two, so that texts repeat.
//!
//! The driver's arrays hold no NULLs: on Postgres an empty text, empty bytes and [`NO_INT`] stand for it. No nullable
//! column has these as a value.

use std::sync::OnceLock;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value, sea_query::ArrayType};
use windhover_types::{Id, Tenant, Timestamp};

use Kind::*;

const NO_INT: i64 = i64::MIN;
/// Rows of one statement on Postgres: bounds a message, far above what a batch has.
const MAX_ROWS: usize = 4_096;
/// Sizes of chunks on SQLite: 2^0 … 2^7. The widest table then needs 3,200 of SQLite's 32,766 parameters.
const SIZES: usize = 8;

/// Type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bytes,
    NullBytes,
    Text,
    NullText,
    Int,
    NullInt,
    Bool,
    Real,
}

impl Kind {
    fn array(self) -> (&'static str, ArrayType) {
        match self {
            Bytes | NullBytes => ("bytea", ArrayType::Bytes),
            Text | NullText => ("text", ArrayType::String),
            Int | NullInt => ("int8", ArrayType::BigInt),
            Bool => ("bool", ArrayType::Bool),
            Real => ("float8", ArrayType::Double),
        }
    }

    /// How a column of the arrays is read.
    fn expression(self, name: &str) -> String {
        match self {
            NullBytes => format!("NULLIF({name}, ''::bytea)"),
            NullText => format!("NULLIF({name}, '')"),
            NullInt => format!("NULLIF({name}, {NO_INT})"),
            _ => name.to_owned(),
        }
    }

    fn null_stand_in(self) -> Value {
        match self {
            NullBytes => Value::Bytes(Some(Vec::new())),
            NullText => Value::String(Some(String::new())),
            _ => Value::BigInt(Some(NO_INT)),
        }
    }
}

/// A statement over rows of these columns. `{columns}` in it is the list of their names, `{now}` the database's clock,
/// `{found}` the columns of what it reads.
pub(crate) struct Bulk {
    columns: &'static [(&'static str, Kind)],
    statement: &'static str,
    found: fn() -> String,
    texts: [OnceLock<String>; SIZES + 1],
}

impl Bulk {
    pub(crate) const fn new(columns: &'static [(&'static str, Kind)], statement: &'static str) -> Self {
        Self::reading(columns, String::new, statement)
    }

    /// One that answers rows.
    pub(crate) const fn reading(
        columns: &'static [(&'static str, Kind)],
        found: fn() -> String,
        statement: &'static str,
    ) -> Self {
        Self { columns, statement, found, texts: [const { OnceLock::new() }; SIZES + 1] }
    }

    pub(crate) fn rows(&'static self, capacity: usize) -> Rows {
        Rows { bulk: self, columns: self.columns.iter().map(|_| Vec::with_capacity(capacity)).collect() }
    }

    fn text(&self, source: String, now: &str) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        let statement = self.statement.replace("{columns}", &names).replace("{now}", now);
        let statement = statement.replace("{found}", &(self.found)());
        format!("WITH u ({names}) AS ({source}) {statement}")
    }

    fn postgres_text(&self) -> &str {
        self.texts[SIZES].get_or_init(|| {
            let list = |f: &dyn Fn(usize, &str, Kind) -> String| {
                let parts: Vec<String> =
                    self.columns.iter().enumerate().map(|(at, (name, kind))| f(at, name, *kind)).collect();
                parts.join(", ")
            };
            let source = format!(
                "SELECT {} FROM unnest({}) AS s ({})",
                list(&|_, name, kind| kind.expression(name)),
                list(&|at, _, kind| format!("${}::{}[]", at + 1, kind.array().0)),
                list(&|_, name, _| name.to_owned()),
            );
            self.text(source, crate::Backend::Postgres.now())
        })
    }

    fn sqlite_text(&self, power: usize) -> &str {
        self.texts[power].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns.len()].join(", "));
            self.text(format!("VALUES {}", vec![row; 1 << power].join(", ")), crate::Backend::Sqlite.now())
        })
    }
}

/// Rows on their way into a statement, by column.
pub(crate) struct Rows {
    bulk: &'static Bulk,
    columns: Vec<Vec<Value>>,
}

impl Rows {
    /// Values in the order of the statement's columns.
    pub(crate) fn push<const N: usize>(&mut self, values: [Value; N]) {
        debug_assert_eq!(N, self.columns.len(), "a row has as many values as its statement has columns");
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(value);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// Runs the statement over all rows; tells how many rows of the table it touched. Without rows it does nothing.
    pub(crate) async fn run(mut self, db: &impl ConnectionTrait) -> Result<u64, DbErr> {
        let mut touched = 0;
        while self.len() > 0 {
            let statement = self.take(db);
            touched += db.execute_raw(statement).await?.rows_affected();
        }
        Ok(touched)
    }

    /// Runs a statement that reads; answers what it finds. Its order and limits hold for the rows that share a text:
    /// 4,096, on SQLite at most 128. Without rows it finds nothing.
    pub(crate) async fn query(mut self, db: &impl ConnectionTrait) -> Result<Vec<QueryResult>, DbErr> {
        let mut found = Vec::new();
        while self.len() > 0 {
            let statement = self.take(db);
            found.extend(db.query_all_raw(statement).await?);
        }
        Ok(found)
    }

    fn take(&mut self, db: &impl ConnectionTrait) -> Statement {
        match db.get_database_backend() {
            DbBackend::Postgres => self.take_postgres(),
            _ => self.take_sqlite(),
        }
    }

    fn take_postgres(&mut self) -> Statement {
        let count = self.len().min(MAX_ROWS);
        let kinds = self.bulk.columns.iter().map(|(_, kind)| *kind);
        let arrays = self.columns.iter_mut().zip(kinds).map(|(column, kind)| {
            let rest = column.split_off(count);
            let mut values = std::mem::replace(column, rest);
            if matches!(kind, NullBytes | NullText | NullInt) {
                values.iter_mut().filter(|value| is_null(value)).for_each(|value| *value = kind.null_stand_in());
            }
            Value::Array(kind.array().1, Some(Box::new(values)))
        });
        Statement::from_sql_and_values(DbBackend::Postgres, self.bulk.postgres_text(), arrays)
    }

    fn take_sqlite(&mut self) -> Statement {
        let power = (self.len().ilog2() as usize).min(SIZES - 1);
        let mut taken: Vec<_> = self
            .columns
            .iter_mut()
            .map(|column| {
                let rest = column.split_off(1 << power);
                std::mem::replace(column, rest).into_iter()
            })
            .collect();
        let mut values = Vec::with_capacity(taken.len() << power);
        for _ in 0..1 << power {
            values.extend(taken.iter_mut().filter_map(Iterator::next));
        }
        Statement::from_sql_and_values(DbBackend::Sqlite, self.bulk.sqlite_text(power), values)
    }
}

fn is_null(value: &Value) -> bool {
    matches!(value, Value::Bytes(None) | Value::String(None) | Value::BigInt(None))
}

pub(crate) fn id(id: Id) -> Value {
    Value::Bytes(Some(id.as_bytes().to_vec()))
}

pub(crate) fn id_or_null(id: Option<Id>) -> Value {
    Value::Bytes(id.map(|id| id.as_bytes().to_vec()))
}

pub(crate) fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(Some(bytes.to_vec()))
}

pub(crate) fn tenant(tenant: &Tenant) -> Value {
    Value::String(Some(tenant.as_str().to_owned()))
}

pub(crate) fn text(text: impl Into<String>) -> Value {
    Value::String(Some(text.into()))
}

pub(crate) fn text_or_null(text: Option<String>) -> Value {
    Value::String(text.filter(|text| !text.is_empty()))
}

pub(crate) fn int(int: impl Into<i64>) -> Value {
    Value::BigInt(Some(int.into()))
}

pub(crate) fn time_or_null(at: Option<Timestamp>) -> Value {
    Value::BigInt(at.map(Timestamp::as_micros))
}

pub(crate) fn int_or_null(int: Option<i64>) -> Value {
    Value::BigInt(int)
}

pub(crate) fn time(at: Timestamp) -> Value {
    Value::BigInt(Some(at.as_micros()))
}

pub(crate) fn boolean(value: bool) -> Value {
    Value::Bool(Some(value))
}

/// Free text as both databases can hold it: Postgres has no NUL in texts, so it becomes U+FFFD on both. Whatever has
/// to come back unchanged is stored as JSON, which escapes it.
pub(crate) fn free_text(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}
