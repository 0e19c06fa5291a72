//! Data formats and encryption (expression reference, section 15.2).

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit};
use aes_gcm::aes::Aes192;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, Nonce};
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha2::{Digest, Sha256};

use crate::error::Fault;
use crate::eval::{Args, Frame};
use crate::value::Value;
use crate::{ion, json, yaml};

type Answer = Result<Value, Fault>;

const NONCE: usize = 12;

/// Java's decoder does not insist on padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    LENIENT.decode(text).ok()
}

/// The text argument of a parsing function; `None` for an explicit null.
fn source(args: &Args, function: &str, argument: &str) -> Result<Option<std::sync::Arc<str>>, Fault> {
    match args.given(0) {
        None => Err(Fault::engine(format!("The '{function}' function expects an argument '{argument}'."))),
        Some(Value::Null) => Ok(None),
        Some(value) => match value.as_text() {
            Some(text) => Ok(Some(std::sync::Arc::clone(text))),
            None => Err(Fault::engine(format!(
                "The '{function}' function expects an argument '{argument}' with type string."
            ))),
        },
    }
}

pub(super) fn from_json(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let Some(text) = source(args, "fromJson", "json")? else { return Ok(Value::Null) };
    frame.session.meter.elements(text.len() / 4)?;
    json::parse_first(&text).map_err(|error| Fault::engine(format!("Invalid json: {error}")))
}

pub(super) fn from_yaml(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let Some(text) = source(args, "yaml", "yaml")? else {
        return Err(Fault::engine("The 'yaml' function expects an argument 'yaml' with type string."));
    };
    yaml::parse(frame.session, &text).map_err(|error| Fault::engine(format!("Invalid yaml: {error}")))
}

pub(super) fn from_ion(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let Some(text) = source(args, "fromIon", "ion")? else { return Ok(Value::Null) };
    let all = match args.get(1) {
        None => false,
        Some(Value::Bool(all)) => *all,
        Some(_) => {
            return Err(Fault::engine(
                "The 'fromIon' function expects an optional argument 'allRows' with type boolean.",
            ));
        }
    };
    frame.session.meter.elements(text.len() / 2)?;
    let mut values = ion::parse(&text, all).map_err(|error| Fault::engine(format!("Invalid ion: {error}")))?;
    Ok(if all { Value::list(values) } else { values.pop().unwrap_or(Value::Null) })
}

/// One of the three key sizes.
enum Cipher {
    Short(Box<Aes128Gcm>),
    Middle(Box<AesGcm<Aes192, U12>>),
    Long(Box<Aes256Gcm>),
}

impl Cipher {
    fn new(key: &str) -> Result<Self, Fault> {
        let invalid = || Fault::engine("The encryption key has to be 16, 24 or 32 bytes in base64");
        let key = decode_base64(key).ok_or_else(invalid)?;
        Ok(match key.len() {
            16 => Self::Short(Box::new(Aes128Gcm::new_from_slice(&key).map_err(|_| invalid())?)),
            24 => Self::Middle(Box::new(AesGcm::new_from_slice(&key).map_err(|_| invalid())?)),
            32 => Self::Long(Box::new(Aes256Gcm::new_from_slice(&key).map_err(|_| invalid())?)),
            _ => return Err(invalid()),
        })
    }

    fn seal(&self, nonce: &[u8; NONCE], text: &[u8]) -> Option<Vec<u8>> {
        let nonce: &Nonce<U12> = nonce.into();
        match self {
            Self::Short(cipher) => cipher.encrypt(nonce, text),
            Self::Middle(cipher) => cipher.encrypt(nonce, text),
            Self::Long(cipher) => cipher.encrypt(nonce, text),
        }
        .ok()
    }

    fn open(&self, nonce: &[u8; NONCE], text: &[u8]) -> Option<Vec<u8>> {
        let nonce: &Nonce<U12> = nonce.into();
        match self {
            Self::Short(cipher) => cipher.decrypt(nonce, text),
            Self::Middle(cipher) => cipher.decrypt(nonce, text),
            Self::Long(cipher) => cipher.decrypt(nonce, text),
        }
        .ok()
    }
}

/// Key and text of `encrypt` and `decrypt`.
fn key_and_text(frame: &Frame<'_, '_>, args: &Args, function: &str, second: &str) -> Result<(String, String), Fault> {
    let (Some(key), Some(text)) = (args.given(0), args.given(1)) else {
        return Err(Fault::engine(format!("The '{function}' function expects two arguments 'key' and '{second}'.")));
    };
    Ok((frame.session.printer().plain_text(key)?, frame.session.printer().plain_text(text)?))
}

pub(super) fn encrypt(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let (key, text) = key_and_text(frame, args, "encrypt", "plaintext")?;
    if text.is_empty() {
        return Ok(args.given(1).cloned().unwrap_or(Value::Null));
    }
    frame.session.meter.text(text.len() * 2)?;
    let cipher = Cipher::new(&key)?;
    // the text takes part, so that two texts never share a nonce even if a sequence of random numbers is repeated
    let mut digest = Sha256::new();
    for _ in 0..2 {
        digest.update(frame.session.environment.services.random()?.to_be_bytes());
    }
    digest.update(key.as_bytes());
    digest.update(text.as_bytes());
    let digest = digest.finalize();
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&digest[..NONCE]);
    let sealed = cipher.seal(&nonce, text.as_bytes()).ok_or_else(|| Fault::engine("The text cannot be encrypted"))?;
    Ok(Value::text(STANDARD.encode([nonce.as_slice(), &sealed].concat())))
}

pub(super) fn decrypt(frame: &mut Frame<'_, '_>, args: &Args) -> Answer {
    let (key, text) = key_and_text(frame, args, "decrypt", "encrypted")?;
    if text.is_empty() {
        return Ok(args.given(1).cloned().unwrap_or(Value::Null));
    }
    frame.session.meter.text(text.len())?;
    let cipher = Cipher::new(&key)?;
    let failed = || Fault::engine("The text cannot be decrypted: wrong key or damaged text");
    let bytes = decode_base64(&text).ok_or_else(failed)?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE>().ok_or_else(failed)?;
    let opened = cipher.open(nonce, sealed).ok_or_else(failed)?;
    String::from_utf8(opened).map(Value::text).map_err(|_| failed())
}
