//! Values that must not be seen.

use std::{fmt, sync::Arc};

use zeroize::Zeroize;

/// A secret value: its `Debug` shows nothing, its memory is overwritten when it goes, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(******)")
    }
}

/// Takes the secrets that a task has seen out of whatever it says (flow model 1.x reference 4.5: `******`).
#[derive(Clone, Default, Debug)]
pub struct Masker {
    secrets: Arc<Vec<Secret>>,
}

impl Masker {
    const MASK: &'static str = "******";

    /// Masks these values, their lines, and their base64 forms given as further values. Longest first, so that a
    /// value inside another leaves no rest.
    pub fn new(values: impl IntoIterator<Item = Secret>) -> Self {
        let mut secrets: Vec<Secret> = values.into_iter().filter(|value| !value.expose().trim().is_empty()).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        secrets.dedup();
        Self { secrets: Arc::new(secrets) }
    }

    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    pub fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.iter() {
            if text.contains(secret.expose()) {
                text = text.replace(secret.expose(), Self::MASK);
            }
        }
        text
    }
}
