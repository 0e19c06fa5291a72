//! `kv` and `secret` (expression reference, section 15.3).

use crate::error::{Fault, NOWHERE};
use crate::eval::{Args, Frame};
use crate::json;
use crate::services::{KvAnswer, KvRequest, SecretRequest};
use crate::value::Value;

type Answer = Result<Value, Fault>;

fn flow_namespace(frame: &Frame<'_, '_>) -> Result<String, Fault> {
    let flow = super::root(frame, "flow")?;
    Ok(super::field(frame, &flow, "namespace")?.unwrap_or_default())
}

pub(super) fn kv(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let Some(key) = args.get(0) else {
        return Err(Fault::engine("The 'kv' function expects an argument 'key'."));
    };
    let key = frame.session.printer().plain_text(key)?;
    let must_exist = match args.get(2) {
        None => true,
        Some(Value::Bool(must_exist)) => *must_exist,
        Some(_) => {
            return Err(Fault::host("java.lang.ClassCastException: the argument 'errorOnMissing' has to be a boolean"));
        }
    };
    if !is_kv_key(&key) {
        return Err(Fault::engine(
            "Key must start with an alphanumeric character (uppercase or lowercase) and can contain alphanumeric characters \
             (uppercase or lowercase), dots (.), underscores (_), and hyphens (-) only.",
        ));
    }
    let flow_namespace = flow_namespace(frame)?;
    let named = match args.get(1) {
        None => None,
        Some(namespace) => Some(frame.session.printer().plain_text(namespace)?),
    };
    let shown = named.clone().unwrap_or_else(|| flow_namespace.clone());
    let request = KvRequest {
        key: key.clone(),
        explicit: named.is_some(),
        namespaces: named.map_or_else(|| with_parents(&flow_namespace), |namespace| vec![namespace]),
        flow_namespace,
    };
    let missing = match frame.session.environment.services.kv(&request)? {
        KvAnswer::Found(value) => return Ok(with_durations(value)),
        KvAnswer::NoSuchNamespace => {
            return Err(Fault::engine(format!("Cannot access the KV store. The namespace '{shown}' does not exist.")));
        }
        KvAnswer::Absent => format!("The key '{key}' does not exist in the namespace '{shown}'."),
        KvAnswer::Expired => "The requested value has expired".to_owned(),
    };
    if must_exist { Err(Fault::Missing { message: missing, at: NOWHERE }) } else { Ok(Value::Null) }
}

/// Whether a text can be a key of a key-value store: letters, digits, dots, underscores and hyphens, the first of them a
/// letter or digit.
pub fn is_kv_key(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// `a.b.c`, `a.b`, `a`.
fn with_parents(namespace: &str) -> Vec<String> {
    let mut namespaces = vec![namespace.to_owned()];
    let mut rest = namespace;
    while let Some((parent, _)) = rest.rsplit_once('.') {
        namespaces.push(parent.to_owned());
        rest = parent;
    }
    namespaces
}

/// Text that is an ISO duration comes back as a duration.
fn with_durations(value: Value) -> Value {
    match &value {
        Value::Text(text) => crate::value::Span::parse(text).map_or(value, Value::Duration),
        _ => value,
    }
}

pub(super) fn secret(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let Some(key) = args.get(0) else {
        return Err(Fault::engine("The 'secret' function expects an argument 'key'."));
    };
    let key = frame.session.printer().plain_text(key)?;
    let text = |position: usize| match args.get(position) {
        None => Ok(None),
        Some(value) => frame.session.printer().plain_text(value).map(Some),
    };
    let (namespace, subkey) = (text(1)?, text(2)?);
    let request = SecretRequest { key: key.clone(), namespace, flow_namespace: flow_namespace(frame)? };
    let Some(secret) = frame.session.environment.services.secret(&request)? else {
        return Err(Fault::engine(format!("Cannot find secret for key '{key}'.")));
    };
    frame.session.meter.text(secret.len())?;
    match subkey.filter(|subkey| !subkey.is_empty()) {
        None => Ok(Value::text(secret)),
        Some(subkey) => part(frame, &key, &secret, &subkey),
    }
}

/// A field of a secret that is a JSON object, as text.
fn part(frame: &Frame<'_, '_>, key: &str, secret: &str, subkey: &str) -> Answer {
    let unreadable = || {
        Fault::engine(format!(
            "Failed to read secret sub-key '{subkey}' from secret '{key}'. Ensure the secret contains valid JSON value."
        ))
    };
    let value = json::parse_exactly(secret).map_err(|_| unreadable())?;
    if !value.is_map() {
        return Err(unreadable());
    }
    let Some(found) = frame.entry(&value, subkey)? else {
        return Err(Fault::engine(format!("Cannot find secret sub-key '{subkey}' in secret '{key}'.")));
    };
    let text = match &found {
        Value::Null => "null".to_owned(),
        found if found.is_map() || found.items().is_some() => frame.session.printer().json_text(found)?,
        found => frame.session.printer().plain_text(found)?,
    };
    frame.session.environment.services.mask(&text);
    Ok(Value::text(text))
}
