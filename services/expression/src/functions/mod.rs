//! Functions (expression reference, section 15): one table, a module for each family.

mod context;
mod data;
mod engine;
mod files;
mod http;
mod random;
mod render;
mod store;

use crate::error::Fault;
use crate::eval::{Args, Frame};
use crate::value::Value;

pub use store::is_kv_key;

pub(crate) use data::decode_base64;

type Run = fn(&mut Frame<'_, '_>, &Args) -> Result<Value, Fault>;

/// What a function needs besides its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing: the same arguments give the same result.
    Pure,
    /// The clock or random numbers.
    Chance,
    /// I/O or a wait: secrets, keys and values, files, HTTP, logs.
    World,
    /// Any variable at all.
    Variables,
    /// `render`: whatever the rendered text needs.
    Render,
}

#[derive(Debug)]
pub(crate) struct FunctionSpec {
    pub(crate) name: &'static str,
    /// The arguments in positional order. A function without any ignores what it is given.
    pub(crate) arguments: &'static [&'static str],
    /// Whether any number of positional arguments is allowed.
    pub(crate) any_number: bool,
    pub(crate) reach: Reach,
    /// Whether the function is taken away by the recursive option.
    pub(crate) renders: bool,
    pub(crate) run: Run,
}

const fn function(name: &'static str, arguments: &'static [&'static str], reach: Reach, run: Run) -> FunctionSpec {
    FunctionSpec { name, arguments, any_number: false, reach, renders: matches!(reach, Reach::Render), run }
}

const fn any_number(name: &'static str, run: Run) -> FunctionSpec {
    FunctionSpec { name, arguments: &[], any_number: true, reach: Reach::Pure, renders: false, run }
}

const FILE: &[&str] = &["path", "namespace"];
const FILE_VERSION: &[&str] = &["path", "namespace", "version"];
const HTTP: &[&str] = &["uri", "method", "query", "body", "contentType", "headers", "options", "accept"];

static FUNCTIONS: &[FunctionSpec] = &[
    function("block", &["name"], Reach::Pure, engine::block),
    function("currentEachOutput", &["outputs"], Reach::Pure, context::current_each_output),
    function("decrypt", &["key", "encrypted"], Reach::Pure, data::decrypt),
    function("encrypt", &["key", "plaintext"], Reach::Chance, data::encrypt),
    function("errorLogs", &[], Reach::World, context::error_logs),
    function("fetchContext", &[], Reach::Variables, context::fetch_context),
    function("fileExists", FILE, Reach::World, files::file_exists),
    function("fileSize", FILE, Reach::World, files::file_size),
    function("fileURI", FILE_VERSION, Reach::World, files::file_uri),
    function("fromIon", &["ion", "allRows"], Reach::Pure, data::from_ion),
    function("fromJson", &["json"], Reach::Pure, data::from_json),
    function("http", HTTP, Reach::World, http::http),
    function("i18n", &["bundle", "key", "params"], Reach::Pure, engine::i18n),
    function("id", &[], Reach::Chance, random::id),
    function("isFileEmpty", FILE, Reach::World, files::is_file_empty),
    function("json", &["json"], Reach::Pure, data::from_json),
    function("ksuid", &[], Reach::Chance, random::ksuid),
    function("kv", &["key", "namespace", "errorOnMissing"], Reach::World, store::kv),
    any_number("max", engine::max),
    any_number("min", engine::min),
    function("nanoId", &["length", "alphabet"], Reach::Chance, random::nano_id),
    function("now", &["format", "timeZone", "existingFormat", "locale"], Reach::Chance, engine::now),
    function("parent", &[], Reach::Pure, engine::parent),
    function("printContext", &[], Reach::Variables, context::fetch_context),
    function("randomInt", &["lower", "upper"], Reach::Chance, random::random_int),
    function("randomPort", &[], Reach::World, random::random_port),
    function("range", &["start", "end", "increment"], Reach::Pure, engine::range),
    function("read", FILE_VERSION, Reach::World, files::read),
    function("render", &["toRender", "recursive"], Reach::Render, render::render),
    function("renderOnce", &["toRender"], Reach::Render, render::render_once),
    function("secret", &["key", "namespace", "subkey"], Reach::World, store::secret),
    function("tasksWithState", &["state"], Reach::Pure, context::tasks_with_state),
    function("uuid", &[], Reach::Chance, random::uuid),
    function("yaml", &["yaml"], Reach::Pure, data::from_yaml),
];

pub(crate) fn find(name: &str) -> Option<&'static FunctionSpec> {
    FUNCTIONS.iter().find(|spec| spec.name == name)
}

/// A variable that a function reads by itself.
fn root(frame: &Frame<'_, '_>, name: &str) -> Result<Value, Fault> {
    Ok(frame.session.root(&std::sync::Arc::from(name))?.unwrap_or(Value::Null))
}

/// A field of a map as text, `None` if it is absent or null.
fn field(frame: &Frame<'_, '_>, value: &Value, name: &str) -> Result<Option<String>, Fault> {
    match frame.entry(value, name)? {
        None | Some(Value::Null) => Ok(None),
        Some(found) => frame.session.printer().plain_text(&found).map(Some),
    }
}
