//! Ids: 16 bytes with the time in front inside, 22 characters of base62 outside.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::Timestamp;

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TEXT_LENGTH: usize = 22;

/// Id of an execution, a task run or whatever else is numbered: 16 bytes in UUIDv7 layout (48 bits of milliseconds
/// first), so that ids sort by creation. Its text is 22 characters of base62 and sorts the same way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id([u8; 16]);

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is {TEXT_LENGTH} characters of 0-9, A-Z, a-z")]
pub struct IdError;

impl Id {
    /// An id for something made at `at`, with ten bytes of `entropy` drawn by the caller.
    pub fn new(at: Timestamp, entropy: [u8; 10]) -> Self {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&at.as_millis().max(0).to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&entropy);
        bytes[6] = (bytes[6] & 0x0f) | 0x70;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Self(bytes)
    }

    /// The id of what `cause` makes: the same parts always give the same id, whoever computes it and however often.
    /// `at` is the stored time of the cause, never the present time.
    pub fn derived(at: Timestamp, parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            // The length keeps ("ab", "c") and ("a", "bc") apart.
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let digest = hasher.finalize();
        let mut entropy = [0; 10];
        entropy.copy_from_slice(&digest[..10]);
        Self::new(at, entropy)
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The time in the id, to the millisecond.
    pub fn time(&self) -> Timestamp {
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&self.0[..6]);
        Timestamp::from_millis(i64::from_be_bytes(millis))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = u128::from_be_bytes(self.0);
        let mut text = [b'0'; TEXT_LENGTH];
        for digit in text.iter_mut().rev() {
            *digit = ALPHABET[(value % 62) as usize];
            value /= 62;
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() != TEXT_LENGTH {
            return Err(IdError);
        }
        let mut value: u128 = 0;
        for byte in text.bytes() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'A'..=b'Z' => byte - b'A' + 10,
                b'a'..=b'z' => byte - b'a' + 36,
                _ => return Err(IdError),
            };
            value = value.checked_mul(62).and_then(|v| v.checked_add(u128::from(digit))).ok_or(IdError)?;
        }
        Ok(Self(value.to_be_bytes()))
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// FNV-1a over the parts, each ended by a zero byte: cheap, and the same in every process and version.
pub(crate) fn fnv1a(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_of_an_id_agree() {
        let id = Id::derived(Timestamp::from_millis(1_700_000_000_000), &[b"a", b"b"]);
        let text = id.to_string();
        assert_eq!(text.len(), 22);
        assert_eq!(text.parse::<Id>(), Ok(id));
        assert_eq!(id.time(), Timestamp::from_millis(1_700_000_000_000));
    }

    #[test]
    fn ids_sort_by_time_in_both_forms() {
        let early = Id::new(Timestamp::from_millis(1_000), [0xff; 10]);
        let late = Id::new(Timestamp::from_millis(1_001), [0; 10]);
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn parts_of_a_derived_id_do_not_run_together() {
        let at = Timestamp::from_millis(0);
        assert_ne!(Id::derived(at, &[b"ab", b"c"]), Id::derived(at, &[b"a", b"bc"]));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "short", "zzzzzzzzzzzzzzzzzzzzzz", "0000000000000000000_00"] {
            assert_eq!(text.parse::<Id>(), Err(IdError), "{text}");
        }
    }
}
