//! `Debug` of the messages that carry secrets.

use std::fmt;

use crate::{admin::v1::CreateTokenResponse, v1::PutSecretRequest};

const HIDDEN: &str = "******";

impl fmt::Debug for PutSecretRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutSecretRequest")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("value", &HIDDEN)
            .finish()
    }
}

impl fmt::Debug for CreateTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateTokenResponse").field("token", &self.token).field("token_text", &HIDDEN).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_a_secret() {
        let request = PutSecretRequest { namespace: "a.b".into(), name: "KEY".into(), value: "hunter2".into() };
        let response = CreateTokenResponse { token: None, token_text: "hunter2".into() };
        let text = format!("{request:?} {response:#?}");
        assert!(text.contains("a.b") && !text.contains("hunter2"), "{text}");
    }
}
