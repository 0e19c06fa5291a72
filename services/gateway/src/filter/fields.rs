//! Fields that lists can be filtered by; filters over them, and what they hold for.

use chrono::DateTime;
use windhover_types::{Id, Level, State, Timestamp};

use super::{Expr, FilterError, Op, Test, parser::parse};

/// What values a field takes, and so which operators it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `=`, `!=`.
    Text,
    /// `:` (contains).
    Search,
    /// `=`, `!=`, and `namespace:"a.b."` for everything below.
    Namespace,
    /// `=`, `!=`.
    State,
    /// `=`, `!=`, `<` …
    Level,
    /// `=`, `<` …; RFC 3339.
    Time,
    /// `=`, `!=` true or false.
    Bool,
    /// `=`, `!=`; 22 characters.
    Id,
    /// `labels.KEY`: `=`, `!=`.
    Label,
}

/// A field of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

pub(crate) const EXECUTIONS: &[Field] = &[
    field("state", Kind::State),
    field("namespace", Kind::Namespace),
    field("flow", Kind::Text),
    field("labels", Kind::Label),
    field("created", Kind::Time),
    field("started", Kind::Time),
    field("ended", Kind::Time),
    field("trigger.id", Kind::Text),
    field("parent", Kind::Id),
];

pub(crate) const FLOWS: &[Field] = &[
    field("namespace", Kind::Namespace),
    field("flow", Kind::Text),
    field("labels", Kind::Label),
    field("disabled", Kind::Bool),
];

pub(crate) const TRIGGERS: &[Field] = &[
    field("namespace", Kind::Namespace),
    field("flow", Kind::Text),
    field("trigger", Kind::Text),
    field("type", Kind::Text),
    field("disabled", Kind::Bool),
    field("locked", Kind::Bool),
    field("backfill", Kind::Bool),
];

pub(crate) const TASK_RUNS: &[Field] =
    &[field("state", Kind::State), field("task", Kind::Text), field("parent", Kind::Id), field("value", Kind::Text)];

pub(crate) const LOGS: &[Field] = &[
    field("task", Kind::Text),
    field("task_run", Kind::Id),
    field("level", Kind::Level),
    field("time", Kind::Time),
    field("text", Kind::Search),
];

/// A value of the kind that its field has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    /// What is below this namespace, not itself.
    Below(String),
    Contains(String),
    State(State),
    Level(Level),
    Time(Timestamp),
    Bool(bool),
    Id(Id),
}

/// A comparison whose field is known and whose value is of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) field: &'static str,
    /// The label's key.
    pub(crate) key: Option<String>,
    pub(crate) op: Op,
    pub(crate) value: Value,
}

/// A filter over known fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Check(Check),
}

impl Filter {
    /// Parses a filter over these fields; one that holds for everything when there is nothing in it.
    pub(crate) fn parse(text: &str, fields: &'static [Field]) -> Result<Self, FilterError> {
        parse(text)?.map_or_else(|| Ok(Filter::All(Vec::new())), |expr| typed(&expr, fields))
    }

    /// Whether it asks nothing.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Filter::All(all) if all.is_empty())
    }

    /// Whether it holds for this record. What a record does not have is equal to nothing, and neither less nor more.
    pub(crate) fn holds(&self, record: &dyn Record) -> bool {
        match self {
            Filter::All(all) => all.iter().all(|part| part.holds(record)),
            Filter::Any(any) => any.iter().any(|part| part.holds(record)),
            Filter::Not(inner) => !inner.holds(record),
            Filter::Check(check) => check.holds(&record.have(check.field, check.key.as_deref())),
        }
    }

    /// Comparisons that must all hold, whatever else must.
    pub(crate) fn required(&self) -> Vec<&Check> {
        match self {
            Filter::All(all) => all.iter().flat_map(Self::required).collect(),
            Filter::Check(check) => vec![check],
            Filter::Any(_) | Filter::Not(_) => Vec::new(),
        }
    }
}

/// Something that filters are evaluated on.
pub(crate) trait Record {
    /// What it has in a field (of a label: of this key).
    fn have(&self, field: &str, key: Option<&str>) -> Have<'_>;
}

/// What a record has in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Have<'a> {
    Nothing,
    Text(&'a str),
    State(State),
    Level(Level),
    Time(Timestamp),
    Bool(bool),
    Id(Id),
}

impl Check {
    fn holds(&self, have: &Have<'_>) -> bool {
        match (&self.value, have) {
            (Value::Text(text), Have::Text(have)) => self.compare(have, &text.as_str()),
            (Value::Below(parent), Have::Text(have)) => {
                have.strip_prefix(parent.as_str()).is_some_and(|rest| rest.starts_with('.'))
            }
            (Value::Contains(text), Have::Text(have)) => have.to_lowercase().contains(&text.to_lowercase()),
            (Value::State(state), Have::State(have)) => self.compare(have, state),
            (Value::Level(level), Have::Level(have)) => self.compare(have, level),
            (Value::Time(at), Have::Time(have)) => self.compare(have, at),
            (Value::Bool(bool), Have::Bool(have)) => self.compare(have, bool),
            (Value::Id(id), Have::Id(have)) => self.compare(have, id),
            _ => self.op == Op::NotEqual,
        }
    }

    fn compare<T: Ord>(&self, have: &T, value: &T) -> bool {
        match self.op {
            Op::Equal | Op::Has => have == value,
            Op::NotEqual => have != value,
            Op::Less => have < value,
            Op::LessOrEqual => have <= value,
            Op::Greater => have > value,
            Op::GreaterOrEqual => have >= value,
        }
    }
}

fn typed(expr: &Expr, fields: &'static [Field]) -> Result<Filter, FilterError> {
    let parts = |parts: &[Expr]| parts.iter().map(|part| typed(part, fields)).collect::<Result<Vec<_>, _>>();
    Ok(match expr {
        Expr::And(all) => Filter::All(parts(all)?),
        Expr::Or(any) => Filter::Any(parts(any)?),
        Expr::Not(inner) => Filter::Not(Box::new(typed(inner, fields)?)),
        Expr::Test(test) => {
            let (field, key) = find(test, fields)?;
            Filter::Check(Check { field: field.name, key, op: test.op, value: value(test, field.kind)? })
        }
    })
}

fn find(test: &Test, fields: &'static [Field]) -> Result<(&'static Field, Option<String>), FilterError> {
    if test.field[0] == "labels"
        && let Some(labels) = fields.iter().find(|field| field.kind == Kind::Label)
    {
        if test.field.len() == 1 {
            return Err(FilterError::new(test.field_at, "labels are compared one by one: `labels.KEY = VALUE`"));
        }
        return Ok((labels, Some(test.field[1..].join("."))));
    }
    let name = test.field.join(".");
    match fields.iter().find(|field| field.kind != Kind::Label && field.name == name) {
        Some(field) => Ok((field, None)),
        None => {
            let known: Vec<_> =
                fields.iter().map(|field| if field.kind == Kind::Label { "labels.KEY" } else { field.name }).collect();
            Err(FilterError::new(
                test.field_at,
                format!("unknown field `{name}`; this list knows {}", known.join(", ")),
            ))
        }
    }
}

fn value(test: &Test, kind: Kind) -> Result<Value, FilterError> {
    use Op::{Equal, Greater, GreaterOrEqual, Has, Less, LessOrEqual, NotEqual};
    let allowed: &[Op] = match kind {
        Kind::Text | Kind::State | Kind::Bool | Kind::Id | Kind::Label => &[Equal, NotEqual],
        Kind::Search => &[Has],
        Kind::Namespace => &[Equal, NotEqual, Has],
        Kind::Level => &[Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual],
        Kind::Time => &[Equal, Less, LessOrEqual, Greater, GreaterOrEqual],
    };
    if !allowed.contains(&test.op) {
        let ops: Vec<_> = allowed.iter().map(|op| op.as_str()).collect();
        let name = test.field.join(".");
        return Err(FilterError::new(
            test.field_at,
            format!("`{name}` cannot be compared with `{}`; it takes {}", test.op.as_str(), ops.join(" ")),
        ));
    }
    let wrong = |message: String| FilterError::new(test.value_at, message);
    let text = &test.value;
    match kind {
        Kind::Text | Kind::Label => Ok(Value::Text(text.clone())),
        Kind::Search => Ok(Value::Contains(text.clone())),
        Kind::Namespace if test.op == Has => match text.strip_suffix('.') {
            Some(parent) if !parent.is_empty() => Ok(Value::Below(parent.to_owned())),
            _ => Err(wrong("`namespace:` takes a namespace with a dot at its end, e.g. `namespace:\"company.team.\"`; for one namespace write `namespace = \"company.team\"`".into())),
        },
        Kind::Namespace => Ok(Value::Text(text.clone())),
        Kind::State => text.parse().map(Value::State).map_err(|_| wrong(format!("`{text}` is no state; states are {}", names(State::ALL)))),
        Kind::Level => text.parse().map(Value::Level).map_err(|_| wrong(format!("`{text}` is no level; levels are {}", names(Level::ALL)))),
        Kind::Time => DateTime::parse_from_rfc3339(text)
            .map(|at| Value::Time(Timestamp::from_utc(at.to_utc())))
            .map_err(|_| wrong(format!("`{text}` is no time; times are written as in RFC 3339, e.g. 2026-01-31T12:00:00Z"))),
        Kind::Bool => match text.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(wrong(format!("`{text}` is neither true nor false"))),
        },
        Kind::Id => text.parse().map(Value::Id).map_err(|error| wrong(format!("`{text}` is no id: {error}"))),
    }
}

fn names<T: std::fmt::Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Run;

    impl Record for Run {
        fn have(&self, field: &str, key: Option<&str>) -> Have<'_> {
            match (field, key) {
                ("state", _) => Have::State(State::Failed),
                ("namespace", _) => Have::Text("company.team"),
                ("flow", _) => Have::Text("etl"),
                ("labels", Some("team.a")) => Have::Text("ops"),
                ("created", _) => Have::Time(Timestamp::from_millis(1_000)),
                ("parent", _) => Have::Id(Id::default()),
                _ => Have::Nothing,
            }
        }
    }

    #[test]
    fn filters_hold_for_what_they_say() {
        for (text, expected) in [
            ("", true),
            ("state=FAILED", true),
            ("state=KILLED OR flow=etl", true),
            ("state=KILLED AND flow=etl", false),
            ("NOT (state=KILLED OR flow=other)", true),
            ("namespace=company", false),
            (r#"namespace:"company.""#, true),
            (r#"namespace:"company.team.""#, false),
            (r#"namespace:"comp.""#, false),
            ("labels.team.a=ops", true),
            ("labels.team.a!=ops", false),
            ("labels.other!=ops", true),
            ("labels.other=ops", false),
            ("created >= 1970-01-01T00:00:01Z AND created < 1970-01-01T01:00:02+01:00", true),
            ("created > 1970-01-01T00:00:01Z", false),
            ("parent=0000000000000000000000", true),
            // What is not there yet is neither before nor after anything.
            ("ended < 2100-01-01T00:00:00Z", false),
            ("NOT ended < 2100-01-01T00:00:00Z", true),
            ("trigger.id != x", true),
        ] {
            let filter = Filter::parse(text, EXECUTIONS).unwrap();
            assert_eq!(filter.holds(&Run), expected, "{text}");
        }
    }

    #[test]
    fn unknown_fields_operators_and_values_are_refused_where_they_stand() {
        for (text, expected) in [
            ("State=FAILED", "1: unknown field `State`; this list knows state, namespace, flow, labels.KEY"),
            ("flow=a AND level=WARN", "12: unknown field `level`"),
            ("state=GONE", "7: `GONE` is no state; states are CREATED"),
            ("labels=a", "1: labels are compared one by one"),
            ("labels.a:b", "1: `labels.a` cannot be compared with `:`; it takes = !="),
            ("state>FAILED", "1: `state` cannot be compared with `>`"),
            ("created=yesterday", "9: `yesterday` is no time"),
            ("namespace:a", "11: `namespace:` takes a namespace with a dot at its end"),
            ("parent=abc", "8: `abc` is no id"),
            ("(state=FAILED", "1: `(` without `)`"),
        ] {
            let error = Filter::parse(text, EXECUTIONS).unwrap_err();
            let shown = format!("{}: {}", error.at, error.message);
            assert!(shown.starts_with(expected), "{text}: {shown}");
        }
        assert!(Filter::parse("disabled=maybe", FLOWS).unwrap_err().message.contains("neither true nor false"));
        assert!(Filter::parse("level>=WARN AND text:boom", LOGS).is_ok());
        assert!(Filter::parse("value=a OR parent=0000000000000000000000", TASK_RUNS).is_ok());
        assert!(Filter::parse("labels.a=b", LOGS).is_err());
    }

    #[test]
    fn only_what_must_hold_is_required() {
        let filter = Filter::parse("level>=WARN AND (task=a OR task=b) AND NOT text:x", LOGS).unwrap();
        assert_eq!(filter.required().iter().map(|check| check.field).collect::<Vec<_>>(), ["level"]);
    }
}
