//! Page tokens and stream cursors: opaque to clients, signed, valid for a day, and bound to what was asked.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use windhover_proto::reasons;
use windhover_types::{Error, ErrorKind, Timestamp};

use crate::error::invalid;

/// Entries of a page when the request says nothing.
pub(crate) const DEFAULT_PAGE_SIZE: u32 = 50;
/// Entries of a page at most.
pub(crate) const MAX_PAGE_SIZE: u32 = 1_000;

const VERSION: u8 = 1;
const BINDING: usize = 16;
const MAC: usize = 16;
const VALID: Duration = Duration::from_secs(24 * 60 * 60);

/// The number of entries that a page shall have.
///
/// # Errors
/// INVALID_ARGUMENT above the limit.
pub(crate) fn page_size(asked: u32) -> Result<u32, Error> {
    match asked {
        0 => Ok(DEFAULT_PAGE_SIZE),
        1..=MAX_PAGE_SIZE => Ok(asked),
        _ => Err(invalid("page_size", format!("at most {MAX_PAGE_SIZE}; 0 means {DEFAULT_PAGE_SIZE}"))),
    }
}

/// Makes and checks tokens with one key, which all gateways of an installation derive from the master key.
#[derive(Clone)]
pub(crate) struct Tokens {
    key: Hmac<Sha256>,
}

/// What a token belongs to: a token of one list, tenant, filter or order is none for another.
pub(crate) struct Binding([u8; BINDING]);

impl Binding {
    pub(crate) fn new(parts: &[&str]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let mut binding = [0; BINDING];
        binding.copy_from_slice(&hasher.finalize()[..BINDING]);
        Self(binding)
    }
}

impl Tokens {
    pub(crate) fn new(key: &[u8]) -> Self {
        // A key of any length is a key of HMAC; hashing it first gives one that never fails.
        let key = Sha256::digest(key);
        Self { key: Hmac::<Sha256>::new_from_slice(&key).unwrap_or_else(|_| unreachable!("32 bytes are a key")) }
    }

    /// A token that stands for `position`.
    pub(crate) fn sign(&self, binding: &Binding, position: &[u8], now: Timestamp) -> String {
        let expires = now.plus(VALID).as_micros();
        let mut bytes = Vec::with_capacity(1 + 8 + BINDING + position.len() + MAC);
        bytes.push(VERSION);
        bytes.extend_from_slice(&expires.to_be_bytes());
        bytes.extend_from_slice(&binding.0);
        bytes.extend_from_slice(position);
        let mac = self.key.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position that a token stands for. `field` names where the token was given.
    ///
    /// # Errors
    /// INVALID_ARGUMENT `INVALID_PAGE_TOKEN` for what is no token of ours, a token of something else, an old one.
    pub(crate) fn open(&self, field: &str, binding: &Binding, token: &str, now: Timestamp) -> Result<Vec<u8>, Error> {
        let refuse = |why: &str| {
            Error::new(ErrorKind::InvalidArgument, reasons::INVALID_PAGE_TOKEN, format!("{field}: {why}"))
                .field(field, why)
        };
        let forged = || refuse("is not a token that this installation gave out");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| forged())?;
        if bytes.len() < 1 + 8 + BINDING + MAC || bytes[0] != VERSION {
            return Err(forged());
        }
        let (content, mac) = bytes.split_at(bytes.len() - MAC);
        if self.key.clone().chain_update(content).verify_truncated_left(mac).is_err() {
            return Err(forged());
        }
        let (expires, rest) = content[1..].split_at(8);
        let (bound, position) = rest.split_at(BINDING);
        if bound != binding.0 {
            return Err(refuse("belongs to a request with another filter, order or parent"));
        }
        let expires = expires.try_into().map(i64::from_be_bytes).unwrap_or_default();
        if now.as_micros() >= expires {
            return Err(refuse("is older than a day: begin with the first page again"));
        }
        Ok(position.to_vec())
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(******)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn reason(result: Result<Vec<u8>, Error>) -> String {
        result.map_or_else(|error| error.message, |position| String::from_utf8(position).unwrap())
    }

    #[test]
    fn a_token_opens_only_where_it_was_made_and_only_for_a_day() {
        let tokens = Tokens::new(b"key");
        let binding = Binding::new(&["executions", "main", "state=FAILED"]);
        let token = tokens.sign(&binding, b"here", NOW);
        let open =
            |tokens: &Tokens, binding: &Binding, token: &str, at| reason(tokens.open("page_token", binding, token, at));

        assert_eq!(open(&tokens, &binding, &token, NOW), "here");
        assert_eq!(open(&tokens, &binding, &token, NOW.plus(VALID - Duration::from_micros(1))), "here");
        assert!(open(&tokens, &binding, &token, NOW.plus(VALID)).contains("older than a day"));
        let other = Binding::new(&["executions", "mainstate=FAILED", ""]);
        assert!(open(&tokens, &other, &token, NOW).contains("another filter"));
        assert!(open(&Tokens::new(b"other"), &binding, &token, NOW).contains("is not a token"));
        for text in ["", "x", "????", &token[1..], &format!("{token}AAAA")] {
            assert!(open(&tokens, &binding, text, NOW).contains("is not a token"), "{text}");
        }
    }

    #[test]
    fn no_changed_character_of_a_token_goes_unnoticed() {
        let tokens = Tokens::new(b"key");
        let binding = Binding::new(&["flows"]);
        let token = tokens.sign(&binding, b"position", NOW);
        for at in 0..token.len() - 1 {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(tokens.open("page_token", &binding, &changed, NOW).is_err(), "{at}");
        }
    }

    #[test]
    fn page_sizes_have_a_default_and_a_limit() {
        assert_eq!(page_size(0), Ok(50));
        assert_eq!(page_size(7), Ok(7));
        assert_eq!(page_size(1_000), Ok(1_000));
        assert!(page_size(1_001).is_err());
    }
}
