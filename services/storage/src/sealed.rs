//! The form of everything that is sealed.
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | version of the form: 1 |
//! | 4 | number of the key, big endian: for values the tenant's data key, for data keys a mark of the master key |
//! | 12 | nonce, random |
//! | rest | AES-256-GCM of the value with its 16 bytes of authentication |
//!
//! Version and key are authenticated too. A nonce is drawn for each value: with random nonces a key is good for 2^32
//! values, far above what a tenant's secrets come to. Values of executions may be more; theirs is another form, with a
//! key of its own for each value:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | version of the form: 2 |
//! | 4 | number of the tenant's data key, big endian |
//! | 16 | salt, random |
//! | 12 | nonce, random |
//! | rest | AES-256-GCM as above, under SHA-256 of a fixed text, the data key and the salt |

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, OsRng, Payload, rand_core::RngCore},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::CryptoError;

const VERSION: u8 = 1;
const VERSION_OF_MANY: u8 = 2;
const SALT: usize = 16;
const HEADER: usize = 5;
const NONCE: usize = 12;
const TAG: usize = 16;

/// 256 bits that overwrite themselves.
pub(crate) type Key = Zeroizing<[u8; 32]>;

pub(crate) fn random_key() -> Result<Key, CryptoError> {
    let mut key = Zeroizing::new([0; 32]);
    OsRng.try_fill_bytes(&mut *key).map_err(|_| CryptoError::Failed)?;
    Ok(key)
}

/// Seals `value`; it opens only with the same `context`.
pub(crate) fn seal(key: &Key, key_id: u32, context: &[&[u8]], value: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut header = vec![VERSION];
    header.extend(key_id.to_be_bytes());
    seal_after(header, key, context, value)
}

/// The same in the form for values of which a key may seal any number.
pub(crate) fn seal_one_of_many(
    key: &Key,
    key_id: u32,
    context: &[&[u8]],
    value: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let mut salt = [0; SALT];
    OsRng.try_fill_bytes(&mut salt).map_err(|_| CryptoError::Failed)?;
    let mut header = vec![VERSION_OF_MANY];
    header.extend(key_id.to_be_bytes());
    header.extend(salt);
    seal_after(header, &key_of_one(key, &salt), context, value)
}

/// All parts have fixed lengths, so that no two pairs of key and salt are the same bytes.
fn key_of_one(key: &Key, salt: &[u8]) -> Key {
    let digest = Sha256::new_with_prefix(b"windhover key of one value").chain_update(**key).chain_update(salt);
    Zeroizing::new(digest.finalize().into())
}

fn seal_after(mut sealed: Vec<u8>, key: &Key, context: &[&[u8]], value: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let mut nonce = [0; NONCE];
    OsRng.try_fill_bytes(&mut nonce).map_err(|_| CryptoError::Failed)?;
    sealed.reserve(NONCE + value.len() + TAG);
    let aad = authenticated(&sealed, context);
    let cipher = Aes256Gcm::new((&**key).into());
    let text = cipher.encrypt((&nonce).into(), Payload { msg: value, aad: &aad }).map_err(|_| CryptoError::Failed)?;
    sealed.extend(nonce);
    sealed.extend(text);
    Ok(sealed)
}

/// The number of the key that something was sealed with.
pub(crate) fn key_id(sealed: &[u8]) -> Result<u32, CryptoError> {
    match sealed {
        [VERSION, a, b, c, d, rest @ ..] if rest.len() >= NONCE + TAG => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        [VERSION_OF_MANY, a, b, c, d, rest @ ..] if rest.len() >= SALT + NONCE + TAG => {
            Ok(u32::from_be_bytes([*a, *b, *c, *d]))
        }
        _ => Err(CryptoError::UnknownFormat),
    }
}

pub(crate) fn open(key: &Key, context: &[&[u8]], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    key_id(sealed)?;
    let own;
    let (header, key) = match sealed[0] {
        VERSION_OF_MANY => {
            let header = &sealed[..HEADER + SALT];
            own = key_of_one(key, &header[HEADER..]);
            (header, &own)
        }
        _ => (&sealed[..HEADER], key),
    };
    let (nonce, text) = sealed[header.len()..].split_first_chunk::<NONCE>().ok_or(CryptoError::UnknownFormat)?;
    let aad = authenticated(header, context);
    let cipher = Aes256Gcm::new((&**key).into());
    let value = cipher.decrypt(nonce.into(), Payload { msg: text, aad: &aad });
    value.map(Zeroizing::new).map_err(|_| CryptoError::Tampered)
}

/// Header and parts, each with its length, so that ("ab", "c") and ("a", "bc") are two places.
fn authenticated(header: &[u8], context: &[&[u8]]) -> Vec<u8> {
    let mut aad = header.to_vec();
    for part in context {
        aad.extend((part.len() as u64).to_be_bytes());
        aad.extend(*part);
    }
    aad
}
