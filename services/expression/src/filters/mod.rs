//! Filters (expression reference, section 12): one table, a module for each family.

mod collection;
mod data;
mod date;
pub(crate) mod encoding;
mod number;
pub(crate) mod pattern;
mod text;

use std::sync::Arc;

use crate::error::Fault;
use crate::eval::{Args, Session};
use crate::value::Value;

type Run = fn(&Session<'_>, Value, &Args) -> Result<Value, Fault>;

#[derive(Debug)]
pub(crate) struct FilterSpec {
    pub(crate) name: &'static str,
    /// The arguments in positional order. A filter without any ignores what it is given.
    pub(crate) arguments: &'static [&'static str],
    /// An undefined input counts as null instead of failing.
    pub(crate) rescues: bool,
    pub(crate) run: Run,
}

const fn filter(name: &'static str, arguments: &'static [&'static str], run: Run) -> FilterSpec {
    FilterSpec { name, arguments, rescues: false, run }
}

const DATE: &[&str] = &["format", "timeZone", "existingFormat", "locale"];
const DATE_ADD: &[&str] = &["amount", "unit", "format", "timeZone", "existingFormat", "locale"];
const TIMESTAMP: &[&str] = &["timeZone", "existingFormat"];
const SEPARATOR: &[&str] = &["separator"];

static FILTERS: &[FilterSpec] = &[
    filter("abbreviate", &["length"], text::abbreviate),
    filter("abs", &[], number::abs),
    filter("base64decode", &[], encoding::base64_decode),
    filter("base64encode", &[], encoding::base64_encode),
    filter("capitalize", &[], text::capitalize),
    filter("chunk", &["size"], collection::chunk),
    filter("className", &[], number::class_name),
    filter("date", DATE, date::date),
    filter("dateAdd", DATE_ADD, date::date_add),
    FilterSpec { name: "default", arguments: &["default"], rescues: true, run: collection::default },
    filter("distinct", &[], collection::distinct),
    filter("endsWith", &["value"], text::ends_with),
    filter("escapeChar", &["type"], text::escape_char),
    filter("first", &[], collection::first),
    filter("flatten", &[], collection::flatten),
    filter("indent", &["amount", "prefix"], text::indent),
    filter("join", SEPARATOR, collection::join),
    filter("jq", &["expression"], data::jq),
    filter("json", &[], data::to_json),
    filter("keys", &[], collection::keys),
    filter("last", &[], collection::last),
    filter("length", &[], collection::length),
    filter("lower", &[], text::lower),
    filter("md5", &[], encoding::md5),
    filter("merge", &["items"], collection::merge),
    filter("nindent", &["amount", "prefix"], text::nindent),
    filter("nl2br", &[], text::nl2br),
    filter("number", &["type"], number::number),
    filter("numberFormat", &["format"], number::number_format),
    filter("replace", &["replace_pairs", "regexp"], text::replace),
    filter("reverse", &[], collection::reverse),
    filter("rsort", &[], collection::rsort),
    filter("sha1", &[], encoding::sha1),
    filter("sha256", &[], encoding::sha256),
    filter("sha512", &[], encoding::sha512),
    filter("slice", &["fromIndex", "toIndex"], collection::slice),
    filter("slugify", &[], text::slugify_filter),
    filter("sort", &[], collection::sort),
    filter("split", &["delimiter", "limit"], text::split),
    filter("startsWith", &["value"], text::starts_with),
    filter("string", &[], text::string),
    filter("substringAfter", SEPARATOR, text::substring_after),
    filter("substringAfterLast", SEPARATOR, text::substring_after_last),
    filter("substringBefore", SEPARATOR, text::substring_before),
    filter("substringBeforeLast", SEPARATOR, text::substring_before_last),
    filter("timestamp", TIMESTAMP, date::timestamp),
    filter("timestampMicro", TIMESTAMP, date::timestamp_micro),
    filter("timestampMilli", TIMESTAMP, date::timestamp_milli),
    filter("timestampNano", TIMESTAMP, date::timestamp_nano),
    filter("title", &[], text::title),
    filter("toIon", &[], data::to_ion),
    filter("toJson", &[], data::to_json),
    filter("trim", &[], text::trim),
    filter("upper", &[], text::upper),
    filter("urldecode", &[], encoding::url_decode),
    filter("urlencode", &[], encoding::url_encode),
    filter("values", &[], collection::values),
    filter("yaml", &[], data::to_yaml),
];

pub(crate) fn find(name: &str) -> Option<&'static FilterSpec> {
    FILTERS.iter().find(|spec| spec.name == name)
}

pub(crate) use date::format_instant;
pub use text::slugify;

/// The text of an input that has to be one.
fn text_input(input: &Value, filter: &str) -> Result<Arc<str>, Fault> {
    input.as_text().cloned().ok_or_else(|| {
        Fault::host(format!(
            "java.lang.ClassCastException: the '{filter}' filter needs a text, not {}",
            input.class_name()
        ))
    })
}

/// The text of an argument that has to be one.
fn text_argument(args: &Args, position: usize, filter: &str) -> Result<Option<Arc<str>>, Fault> {
    match args.get(position) {
        None => Ok(None),
        Some(value) => match value.as_text() {
            Some(text) => Ok(Some(Arc::clone(text))),
            None => Err(Fault::host(format!(
                "java.lang.ClassCastException: an argument of the '{filter}' filter has to be a text, not {}",
                value.class_name()
            ))),
        },
    }
}
