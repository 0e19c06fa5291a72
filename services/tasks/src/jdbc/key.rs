//! Keys that are protected by a password.

use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, SecretDocument, pkcs5};
use windhover_types::Secret;

use crate::TaskError;

const BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END: &str = "-----END ENCRYPTED PRIVATE KEY-----";
/// In keys of OpenSSL's own older form.
const OLD: &str = "Proc-Type: 4,ENCRYPTED";

/// How much work a key may ask for before it can be read: rounds of a hash, and bytes of memory.
const MAX_ROUNDS: u32 = 10_000_000;
const MAX_MEMORY: u64 = 256 << 20;

/// The key as TLS takes it: opened with the password if it is encrypted (PKCS#8 with PBES2, RFC 5958 and 8018); any
/// other stays as it is, whether there is a password or not.
///
/// # Errors
/// It is encrypted, and there is no password, a wrong one, or it is in a form that is not known here. Tells nothing of
/// the key.
pub(super) async fn opened(pem: String, password: Option<Secret>) -> Result<String, TaskError> {
    let Some(start) = pem.find(BEGIN) else {
        return match pem.contains(OLD) {
            true => Err(unknown()),
            false => Ok(pem),
        };
    };
    let end = pem[start..].find(END).ok_or_else(unknown)? + start + END.len();
    let missing = || TaskError::failed("sslKeyPassword: must be given, since sslKey is encrypted");
    let password = password.ok_or_else(missing)?;
    // It costs time on purpose.
    let work = tokio::task::spawn_blocking(move || decrypted(&pem[start..end], &password));
    work.await.map_err(|error| TaskError::failed(format!("sslKey: {error}")))?
}

fn decrypted(pem: &str, password: &Secret) -> Result<String, TaskError> {
    let (_, document) = SecretDocument::from_pem(pem).map_err(|_| unknown())?;
    let key = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| unknown())?;
    let kdf = &key.encryption_algorithm.pbes2().ok_or_else(unknown)?.kdf;
    let too_slow = kdf.pbkdf2().is_some_and(|pbkdf2| pbkdf2.iteration_count > MAX_ROUNDS);
    let too_large = kdf.scrypt().is_some_and(|scrypt| {
        let work = scrypt.cost_parameter.checked_mul(128 * u64::from(scrypt.block_size));
        work.and_then(|bytes| bytes.checked_mul(scrypt.parallelization.into())).is_none_or(|all| all > MAX_MEMORY)
    });
    if too_slow || too_large {
        return Err(TaskError::failed("sslKey: to open it costs more than is allowed here"));
    }
    let plain = key.decrypt(password.expose()).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::UnsupportedAlgorithm { .. }) => unknown(),
        _ => TaskError::failed("sslKeyPassword: it does not open sslKey"),
    })?;
    let pem = plain.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|_| unknown())?;
    Ok(pem.as_str().to_owned())
}

fn unknown() -> TaskError {
    TaskError::failed(
        "sslKey: it is encrypted in a way that is not known here; PKCS#8 with AES is (`openssl pkcs8 -topk8 -v2 aes-256-cbc`)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key made for this test alone, in the clear and with the password `hunter2`.
    const PLAIN: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxkwk6svmnVsF34Hij9JJX9fBq5CLuYlQaPuHVGRZFV6hRANC\
        AAT9S/WB68214RuZ1WD8ollQPYZocdn2kiqYVnUclt01jfVEUs/aFkGqlCnS3tEsLOULvHYi1G+JOvMYW27boSQ2";
    const PBKDF2: &str = "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhpEMVpOKql1gICCAAwDAYIKoZIhvcNAgkFADAdBglghkgBZQME\
        ASoEEIy8lFQRI2ECUu/OOJ+PnfUEgZDYyiaAaRI0HyxC+yGI+BqOZLOM+7sbXWXmsM8XzxnbaEkdCi/cDvYbr12uUrc3WKm7\
        4PSjFnSymGJMtxvdtvyTh1w/b0YBICX0P1IeowMa46qCSHDPsJkEoUukmTU7fkKAlv/R4IerNN3NO+a1Yb71DHkAO/G+8lVW\
        bBYfQVsXwZWKC/B0iq3CuITGtK13J3k=";
    const SCRYPT: &str = "MIHkME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAgUB5qcSxdyigICBAACAQgCAQEwHQYJYIZIAWUDBAEqBBCYm6gi\
        XeHNkkuOXLThvp+OBIGQBpBT1eJoa6qx5EqYFBESyTkitFEX+lKmpsgL7sDt6xEjAoOt3P6FecmwNMLC5aDlIUcwLXvXJ8A/\
        DW7jUfA3GkHHeX9KFTwf2C81L0obq4YdSFveRc1hBKBx9BtkQXMrrMjR5e0q5IuEV2MbnxGLbsX8Jiw8SJM49uS3TMpmTQM4\
        RB9k/3NvGV+bWX9uaFDF";
    /// With 20,000,000 rounds.
    const SLOW: &str = "MIHuMFkGCSqGSIb3DQEFDTBMMCsGCSqGSIb3DQEFDDAeBAi6d3sq1k6kxAIEATEtADAMBggqhkiG9w0CCQUAMB0GCWCGSAFl\
        AwQBAgQQJIHVimDqwekXzRgFFLg4cQSBkOH2cemI02PN0PcxLqUpyRRrerUFw6pLsLS6/TPElWWfNzu5pNqhFhZFD1gATOiK\
        GEtUyIbhxH+bAFUAGQ399vBaFJt30x/lEwaNS3K8q4EM1TrywQMGdi2s7MpBE2yVhz3Ke1MSIM/A2dyzKzbPm6mpOBiMRPH9\
        CCLtU0cC+KcFHIb4stdofwOzQioON2LhCg==";

    fn pem(label: &str, content: &str) -> String {
        let lines: Vec<&str> = content.as_bytes().chunks(64).flat_map(std::str::from_utf8).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
    }

    fn encrypted(content: &str) -> String {
        // As people paste them, with what stands around.
        format!("Bag Attributes\n  friendlyName: me\n{}\n", pem("ENCRYPTED PRIVATE KEY", content))
    }

    async fn open(pem: String, password: Option<&str>) -> Result<String, String> {
        opened(pem, password.map(Secret::new)).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn an_encrypted_key_is_opened_and_another_stays_as_it_is() {
        let plain = pem("PRIVATE KEY", PLAIN);
        for content in [PBKDF2, SCRYPT] {
            assert_eq!(open(encrypted(content), Some("hunter2")).await, Ok(plain.clone()));
        }
        for password in [None, Some("hunter2")] {
            assert_eq!(open(plain.clone(), password).await, Ok(plain.clone()));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_opened_says_why_and_nothing_of_the_key() {
        let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,C5D3\n\nX2G9\n-----END EC PRIVATE KEY-----\n";
        for (key, password, expected) in [
            (encrypted(PBKDF2), None, "sslKeyPassword: must be given"),
            (encrypted(PBKDF2), Some("hunter3"), "sslKeyPassword: it does not open"),
            (encrypted(SLOW), Some("hunter2"), "sslKey: to open it costs more"),
            (encrypted("MIHs"), Some("hunter2"), "sslKey: it is encrypted in a way"),
            (encrypted("!!!!"), Some("hunter2"), "sslKey: it is encrypted in a way"),
            (encrypted(PBKDF2).replace("-----END", "----"), Some("hunter2"), "sslKey: it is encrypted in a way"),
            (old.to_owned(), Some("hunter2"), "sslKey: it is encrypted in a way"),
        ] {
            let why = open(key, password).await.err().unwrap_or_default();
            assert!(why.starts_with(expected) && !why.contains("MIH"), "{expected}: {why}");
        }
    }
}
