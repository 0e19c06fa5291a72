//! SecretService: written here, never read here.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use windhover_executor::now;
use windhover_proto::{
    reasons,
    v1::{self as proto, secret_service_server::SecretService},
};
use windhover_store::StoredSecret;
use windhover_types::{Error, ErrorKind, Secret, Tenant};

use super::{Shared, answer, open};
use crate::{
    auth::Caller,
    convert,
    error::{Result, invalid},
    page::{Binding, page_size},
};

const MAX_NAME: usize = 256;
const MAX_VALUE: usize = 64 * 1024;
const MAX_NAMESPACE: usize = 150;

pub(crate) struct SecretApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl SecretService for SecretApi {
    async fn put_secret(
        &self,
        request: Request<proto::PutSecretRequest>,
    ) -> Result<Response<proto::PutSecretResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.put(&caller, request).await)
    }

    async fn list_secrets(
        &self,
        request: Request<proto::ListSecretsRequest>,
    ) -> Result<Response<proto::ListSecretsResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list(&caller.tenant, request).await)
    }

    async fn delete_secret(
        &self,
        request: Request<proto::DeleteSecretRequest>,
    ) -> Result<Response<proto::DeleteSecretResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.delete(&caller, request).await)
    }
}

impl SecretApi {
    async fn put(&self, caller: &Caller, request: proto::PutSecretRequest) -> Result<proto::PutSecretResponse> {
        let proto::PutSecretRequest { namespace, name, value } = request;
        let value = Secret::new(value);
        check_place(&namespace, &name)?;
        if value.expose().is_empty() || value.expose().len() > MAX_VALUE {
            return Err(invalid("value", format!("1 to {MAX_VALUE} bytes")));
        }
        let name = name.to_uppercase();
        let ciphertext = self.0.vault.encrypt(&caller.tenant, &namespace, &name, &value).await?;
        let version = self.0.store.put_secret(&caller.tenant, &namespace, &name, &ciphertext, now()).await?;
        self.0.audit(caller, "SecretService.PutSecret", format!("secrets/{namespace}/{name}")).await;
        // What is stored now, unless somebody was faster.
        let found = self.0.store.list_secrets(&caller.tenant, &namespace, false).await?;
        let stored = found.into_iter().find(|secret| secret.name.eq_ignore_ascii_case(&name));
        let secret = stored.map_or_else(|| proto::Secret { namespace, name, version, ..Default::default() }, shown);
        Ok(proto::PutSecretResponse { secret: Some(secret) })
    }

    async fn list(&self, tenant: &Tenant, request: proto::ListSecretsRequest) -> Result<proto::ListSecretsResponse> {
        check_namespace(&request.namespace)?;
        let size = page_size(request.page_size)? as usize;
        let binding = Binding::new(&["secrets", tenant.as_str(), &request.namespace]);
        let after = self.0.begin(&binding, &request.page_token)?;
        let after = after.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let all = self.0.store.list_secrets(tenant, &request.namespace, true).await?;
        let mut secrets: Vec<_> = all.into_iter().map(shown).collect();
        secrets.sort_by(|a, b| a.name.cmp(&b.name));
        secrets.retain(|secret| after.as_ref().is_none_or(|after| secret.name > *after));
        let more = secrets.len() > size;
        secrets.truncate(size);
        let next = secrets.last().filter(|_| more).map(|secret| secret.name.clone().into_bytes());
        Ok(proto::ListSecretsResponse { secrets, next_page_token: self.0.next_token(&binding, next) })
    }

    async fn delete(
        &self,
        caller: &Caller,
        request: proto::DeleteSecretRequest,
    ) -> Result<proto::DeleteSecretResponse> {
        let proto::DeleteSecretRequest { namespace, name } = request;
        check_place(&namespace, &name)?;
        if !self.0.store.delete_secret(&caller.tenant, &namespace, &name).await? {
            let place =
                if namespace.is_empty() { "the tenant".to_owned() } else { format!("the namespace {namespace}") };
            let message = format!("there is no secret {name} in {place}");
            return Err(Error::new(ErrorKind::NotFound, reasons::SECRET_NOT_FOUND, message)
                .with("namespace", namespace)
                .with("name", name));
        }
        self.0
            .audit(caller, "SecretService.DeleteSecret", format!("secrets/{namespace}/{}", name.to_uppercase()))
            .await;
        Ok(proto::DeleteSecretResponse {})
    }
}

fn check_place(namespace: &str, name: &str) -> Result<()> {
    check_namespace(namespace)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(allowed) {
        return Err(invalid("name", format!("1 to {MAX_NAME} characters of A-Z, a-z, 0-9, `_`, `-`, `.`")));
    }
    Ok(())
}

pub(super) fn check_namespace(namespace: &str) -> Result<()> {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    };
    if namespace.is_empty() || (namespace.len() <= MAX_NAMESPACE && namespace.split('.').all(part)) {
        return Ok(());
    }
    Err(invalid(
        "namespace",
        format!(
            "parts of a-z, 0-9, `_`, `-` with dots between, at most {MAX_NAMESPACE} characters; empty for the whole tenant"
        ),
    ))
}

fn shown(secret: StoredSecret) -> proto::Secret {
    let updated = convert::time(secret.updated_at);
    proto::Secret {
        namespace: secret.namespace,
        name: secret.name.to_uppercase(),
        version: secret.version,
        created: (secret.version == 1).then_some(updated),
        updated: Some(updated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_namespaces_of_a_wrong_form_are_refused() {
        for (namespace, name) in [("", "A"), ("company.team", "db_password"), ("io.kestra.tests-1", "a.b-c")] {
            assert!(check_place(namespace, name).is_ok(), "{namespace} {name}");
        }
        let long = "a".repeat(257);
        for (namespace, name, field) in [
            ("", "", "name"),
            ("", "a b", "name"),
            ("", long.as_str(), "name"),
            ("a..b", "A", "namespace"),
            (".a", "A", "namespace"),
            ("A", "A", "namespace"),
        ] {
            assert_eq!(check_place(namespace, name).unwrap_err().fields[0].field, field);
        }
    }
}
