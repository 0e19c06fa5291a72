//! Values that must not be seen.

use std::{fmt, sync::Arc};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use zeroize::Zeroize;

/// Shorter lines of a secret of several lines are not masked for themselves: they are `{` and the like.
const MIN_MASKED_LINE: usize = 8;

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

    /// As it may appear in a text: itself, trimmed, its lines, inside a JSON text, in base64.
    pub fn forms(&self) -> Vec<Secret> {
        let value = self.expose();
        let mut forms = vec![value.to_owned(), value.trim().to_owned()];
        if value.lines().count() > 1 {
            let lines = value.lines().map(str::trim).filter(|line| line.chars().count() >= MIN_MASKED_LINE);
            forms.extend(lines.map(str::to_owned));
        }
        let json = serde_json::Value::from(value).to_string();
        forms.push(json[1..json.len() - 1].to_owned());
        for text in [value, value.trim()] {
            forms.push(STANDARD.encode(text));
            forms.push(STANDARD_NO_PAD.encode(text));
            forms.push(URL_SAFE.encode(text));
            forms.push(URL_SAFE_NO_PAD.encode(text));
        }
        forms.sort();
        forms.dedup();
        forms.into_iter().map(Secret).collect()
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

    /// Masks these values in every form that they take ([`Secret::forms`]).
    pub fn of_all_forms<'a>(values: impl IntoIterator<Item = &'a Secret>) -> Self {
        Self::new(values.into_iter().flat_map(Secret::forms))
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
