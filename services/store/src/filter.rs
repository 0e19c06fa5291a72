//! What lists can be narrowed by.

use sea_orm::{ColumnTrait, Condition, IntoSimpleExpr};
use windhover_types::Timestamp;

/// Which namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceFilter {
    /// This one alone.
    Exact(String),
    /// Those below it, not itself.
    Below(String),
    /// Itself and those below it.
    Within(String),
}

/// From (included) until (excluded); an absent end is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeRange {
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Any of the namespaces; none given: all.
pub(crate) fn namespaces(column: impl ColumnTrait, filters: &[NamespaceFilter]) -> Option<Condition> {
    let below = |parent: &str| {
        // '/' follows '.', and namespaces compare by their bytes.
        Condition::all().add(column.gte(format!("{parent}."))).add(column.lt(format!("{parent}/")))
    };
    let any = filters.iter().fold(Condition::any(), |any, filter| match filter {
        NamespaceFilter::Exact(name) => any.add(column.eq(name)),
        NamespaceFilter::Below(parent) => any.add(below(parent)),
        NamespaceFilter::Within(parent) => any.add(column.eq(parent)).add(below(parent)),
    });
    (!filters.is_empty()).then_some(any)
}

pub(crate) fn time(column: impl ColumnTrait, range: TimeRange) -> Condition {
    Condition::all()
        .add_option(range.from.map(|from| column.gte(from.as_micros())))
        .add_option(range.until.map(|until| column.lt(until.as_micros())))
}

/// Any of the values; none given: all.
pub(crate) fn any_of<V: Into<sea_orm::Value>>(
    column: impl ColumnTrait,
    values: impl IntoIterator<Item = V>,
) -> Option<Condition> {
    let values: Vec<V> = values.into_iter().collect();
    (!values.is_empty()).then(|| Condition::all().add(column.is_in(values)))
}

/// The text somewhere in the column, whatever its case (in SQLite: the case of ASCII letters).
pub(crate) fn contains_text(column: impl IntoSimpleExpr, text: &str) -> Condition {
    use sea_orm::sea_query::{ExprTrait, Func, LikeExpr};
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for letter in text.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    Condition::all().add(Func::lower(column.into_simple_expr()).like(LikeExpr::new(pattern).escape('\\')))
}
