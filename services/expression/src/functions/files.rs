//! Files (expression reference, section 15.3): which file a path means, and whether the run may read it.

use crate::error::Fault;
use crate::eval::{Args, Frame};
use crate::filters::slugify;
use crate::services::{FileAnswer, FileInfo, FileRef};
use crate::value::Value;

type Answer = Result<Value, Fault>;

const STORAGE: &str = "kestra://";
const NAMESPACE_FILE: &str = "nsfile://";
const LOCAL: &str = "file://";

pub(super) fn read(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let file = resolve(frame, args, "read", true)?;
    match frame.session.environment.services.read(&file)? {
        FileAnswer::Found(text) => {
            frame.session.meter.text(text.len())?;
            Ok(Value::text(text))
        }
        FileAnswer::Absent => Err(absent(frame, &file)),
        FileAnswer::NoSuchVersion => Err(no_such_version(&file)),
    }
}

fn info(frame: &Frame<'_, '_>, file: &FileRef, function: &str) -> Result<FileAnswer<FileInfo>, Fault> {
    Ok(frame.session.environment.services.file_info(file, function)?)
}

fn existing(frame: &Frame<'_, '_>, args: &Args, function: &str) -> Result<FileInfo, Fault> {
    let file = resolve(frame, args, function, false)?;
    match info(frame, &file, function)? {
        FileAnswer::Found(info) => Ok(info),
        FileAnswer::Absent | FileAnswer::NoSuchVersion => Err(absent(frame, &file)),
    }
}

pub(super) fn file_size(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    existing(frame, args, "fileSize").map(|info| Value::Long(i64::try_from(info.size).unwrap_or(i64::MAX)))
}

pub(super) fn is_file_empty(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    existing(frame, args, "isFileEmpty").map(|info| Value::Bool(info.size == 0))
}

pub(super) fn file_exists(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let file = resolve(frame, args, "fileExists", false)?;
    Ok(Value::Bool(matches!(info(frame, &file, "fileExists")?, FileAnswer::Found(_))))
}

pub(super) fn file_uri(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let file = resolve(frame, args, "fileURI", true)?;
    let (namespace, path, version) = match &file {
        FileRef::Storage { uri, .. } | FileRef::Local { uri } => return Ok(Value::text(uri)),
        FileRef::Namespace { namespace, path, version } => (namespace, path, version),
    };
    match info(frame, &file, "fileURI")? {
        FileAnswer::Found(info) => Ok(Value::text(info.uri)),
        FileAnswer::Absent if version.is_none() => {
            Ok(Value::text(format!("{STORAGE}/{}/_files/{path}", namespace.replace('.', "/"))))
        }
        FileAnswer::Absent | FileAnswer::NoSuchVersion => Err(no_such_version(&file)),
    }
}

fn describe(file: &FileRef) -> &str {
    match file {
        FileRef::Storage { uri, .. } | FileRef::Local { uri } => uri,
        FileRef::Namespace { path, .. } => path,
    }
}

fn absent(frame: &Frame<'_, '_>, file: &FileRef) -> Fault {
    let namespace = match file {
        FileRef::Namespace { namespace, .. } => namespace.clone(),
        _ => flow_field(frame, "namespace").unwrap_or_default(),
    };
    Fault::engine(format!("File '{}' was not found in namespace '{namespace}'.", describe(file)))
}

fn no_such_version(file: &FileRef) -> Fault {
    match file {
        FileRef::Namespace { namespace, path, version: Some(version) } => {
            Fault::engine(format!("Version {version} of file '{path}' was not found in namespace '{namespace}'."))
        }
        other => Fault::engine(format!("File '{}' was not found.", describe(other))),
    }
}

fn flow_field(frame: &Frame<'_, '_>, name: &str) -> Result<String, Fault> {
    let flow = super::root(frame, "flow")?;
    Ok(super::field(frame, &flow, name)?.unwrap_or_default())
}

/// The file that the arguments mean.
fn resolve(frame: &Frame<'_, '_>, args: &Args, function: &str, with_version: bool) -> Result<FileRef, Fault> {
    let Some(path) = args.given(0) else {
        return Err(Fault::engine(format!(
            "The '{function}' function expects an argument 'path' that is a path to a namespace file or an internal storage URI."
        )));
    };
    let text = match path {
        Value::Text(text) | Value::Markup(text) | Value::Uri(text) => text.to_string(),
        other => {
            return Err(Fault::engine(format!(
                "Unable to read the file {}",
                frame.session.printer().plain_text(other)?
            )));
        }
    };
    let argument = match args.get(1) {
        None => None,
        Some(value) => Some(frame.session.printer().plain_text(value)?),
    };
    let version = if with_version { version(frame, args.get(2))? } else { None };
    if text.starts_with(STORAGE) {
        return if function == "fileURI" {
            Ok(FileRef::Storage { uri: text, foreign_namespace: None })
        } else {
            storage_file(frame, text)
        };
    }
    if text.starts_with(LOCAL) {
        return Ok(FileRef::Local { uri: text });
    }
    if let Some(rest) = text.strip_prefix(NAMESPACE_FILE) {
        let (namespace, path) = rest.split_once('/').unwrap_or((rest, ""));
        if namespace.is_empty() {
            return namespace_file(frame, argument, path, version);
        }
        if argument.is_some() {
            return Err(Fault::engine(
                "You cannot set a namespace both as the function argument and inside the URI, please only use one of them.",
            ));
        }
        return namespace_file(frame, Some(namespace.to_owned()), path, version);
    }
    if has_scheme(&text) {
        return Err(Fault::engine(format!("Cannot process the URI {text}: scheme not supported.")));
    }
    namespace_file(frame, argument, &text, version)
}

fn has_scheme(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

fn version(frame: &Frame<'_, '_>, value: Option<&Value>) -> Result<Option<u64>, Fault> {
    let Some(value) = value else { return Ok(None) };
    let text = frame.session.printer().plain_text(value)?;
    match text.parse() {
        Ok(version) => Ok(Some(version)),
        Err(_) => Err(Fault::engine(format!("The version '{text}' is not a whole number"))),
    }
}

fn namespace_file(
    frame: &Frame<'_, '_>,
    namespace: Option<String>,
    path: &str,
    version: Option<u64>,
) -> Result<FileRef, Fault> {
    if path.contains("../") || path == ".." {
        return Err(Fault::engine("Path must not contain '../'"));
    }
    let namespace = match namespace {
        Some(namespace) => namespace,
        None => flow_field(frame, "namespace")?,
    };
    Ok(FileRef::Namespace { namespace, path: path.strip_prefix('/').unwrap_or(path).to_owned(), version })
}

/// Files of this execution, of its parent and of the namespace may be read; others only if they are outputs of an execution.
fn storage_file(frame: &Frame<'_, '_>, uri: String) -> Result<FileRef, Fault> {
    let path = uri.strip_prefix(STORAGE).unwrap_or(&uri);
    if path.contains("../") || path.ends_with("/..") {
        return Err(Fault::engine("Path must not contain '../'"));
    }
    let execution = super::root(frame, "execution")?;
    let trigger = super::root(frame, "trigger")?;
    let own = execution_prefix(
        Some(flow_field(frame, "namespace")?),
        Some(flow_field(frame, "id")?),
        super::field(frame, &execution, "id")?,
    );
    let parent = execution_prefix(
        super::field(frame, &trigger, "namespace")?,
        super::field(frame, &trigger, "flowId")?,
        super::field(frame, &trigger, "executionId")?,
    );
    let namespace_files = format!("/{}/_files/", flow_field(frame, "namespace")?.replace('.', "/"));
    if [own, parent, Some(namespace_files)].into_iter().flatten().any(|prefix| path.starts_with(&prefix)) {
        return Ok(FileRef::Storage { uri, foreign_namespace: None });
    }
    match output_namespace(path) {
        Some(foreign_namespace) => Ok(FileRef::Storage { uri, foreign_namespace: Some(foreign_namespace) }),
        None => Err(Fault::engine(format!("Unable to read the file '{uri}' as it is not an execution file"))),
    }
}

fn execution_prefix(namespace: Option<String>, flow: Option<String>, execution: Option<String>) -> Option<String> {
    let (namespace, flow, execution) = (namespace?, flow?, execution?);
    if namespace.is_empty() || flow.is_empty() || execution.is_empty() {
        return None;
    }
    Some(format!("/{}/{}/executions/{execution}/", namespace.replace('.', "/"), slugify(&flow)))
}

/// The namespace of `/…/<flow>/executions/<id>/tasks/<task>/…`.
fn output_namespace(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let place = parts.iter().position(|part| *part == "executions").filter(|place| *place >= 2)?;
    let fits = parts.get(place + 2) == Some(&"tasks") && parts.len() > place + 4;
    fits.then(|| parts[..place - 1].join("."))
}
