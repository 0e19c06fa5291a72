//! Seals values so that tests can tell them apart from plain ones, and keeps nothing secret.

use serde_json::Value;
use windhover_types::{Cipher, Secret, open_all, sealed_value};

const MARK: &str = "sealed:";

#[derive(Debug)]
pub(crate) struct TestCipher;

impl TestCipher {
    /// The object that stands for this value.
    pub(crate) fn value(plain: &str) -> Value {
        sealed_value(TestCipher.seal(&Secret::new(plain)).expect("it seals everything"))
    }

    /// A document with everything opened.
    pub(crate) fn opened(mut value: Value) -> Value {
        open_all(&mut value, &mut |text: &str| TestCipher.open(text)).expect("it was sealed here");
        value
    }
}

impl Cipher for TestCipher {
    fn seal(&self, value: &Secret) -> Result<String, String> {
        let hex = value.expose().bytes().map(|byte| format!("{byte:02x}"));
        Ok(MARK.to_owned() + &hex.collect::<String>())
    }

    fn open(&self, sealed: &str) -> Result<Option<Secret>, String> {
        let Some(hex) = sealed.strip_prefix(MARK) else { return Ok(None) };
        let pairs = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
        let bytes = pairs.collect::<Result<Vec<u8>, _>>().map_err(|_| "the encrypted value was changed".to_owned())?;
        Ok(Some(Secret::new(String::from_utf8_lossy(&bytes))))
    }
}
