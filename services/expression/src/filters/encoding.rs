//! Encodings and digests (expression reference, section 12.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Digest;

use super::text_input;
use crate::error::Fault;
use crate::eval::{Args, Session};
use crate::value::Value;

type Answer = Result<Value, Fault>;

pub(super) fn base64_encode(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let text = session.printer().plain_text(&input)?;
    session.meter.text(text.len() * 4 / 3 + 4)?;
    Ok(Value::text(STANDARD.encode(text)))
}

pub(super) fn base64_decode(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(text) = input.as_text() else {
        return Err(Fault::engine(format!("This filter applies to String. Actual type was: {}", input.class_name())));
    };
    session.meter.text(text.len())?;
    match crate::functions::decode_base64(text) {
        Some(bytes) => Ok(Value::text(String::from_utf8_lossy(&bytes))),
        None => Err(Fault::engine("Please provide a correctly Base64 encoded string for the 'base64decode' filter.")),
    }
}

fn digest(session: &Session<'_>, input: &Value, digest: fn(&[u8]) -> Vec<u8>) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let Some(text) = input.as_text() else {
        return Err(Fault::engine(format!("Need a string to hash. Actual type was: {}", input.class_name())));
    };
    session.meter.text(text.len())?;
    Ok(Value::text(digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

pub(super) fn md5(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    digest(session, &input, |bytes| md5::Md5::digest(bytes).to_vec())
}

pub(super) fn sha1(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    digest(session, &input, |bytes| sha1::Sha1::digest(bytes).to_vec())
}

pub(super) fn sha256(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    digest(session, &input, |bytes| <sha2::Sha256 as sha2::Digest>::digest(bytes).to_vec())
}

pub(super) fn sha512(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    digest(session, &input, |bytes| <sha2::Sha512 as sha2::Digest>::digest(bytes).to_vec())
}

/// Form encoding in UTF-8.
pub(crate) fn form_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

pub(super) fn url_encode(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let text = text_input(&input, "urlencode")?;
    session.meter.text(text.len().saturating_mul(3))?;
    Ok(Value::text(form_encode(&text)))
}

pub(super) fn url_decode(session: &Session<'_>, input: Value, _: &Args) -> Answer {
    if input.is_null() {
        return Ok(Value::Null);
    }
    let text = text_input(&input, "urldecode")?;
    session.meter.text(text.len())?;
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits =
                    [bytes.next(), bytes.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
                let [Some(high), Some(low)] = digits else {
                    return Err(Fault::host(
                        "java.lang.IllegalArgumentException: URLDecoder: Illegal hex characters in escape (%) pattern",
                    ));
                };
                out.push((high * 16 + low) as u8);
            }
            other => out.push(other),
        }
    }
    Ok(Value::text(String::from_utf8_lossy(&out)))
}
