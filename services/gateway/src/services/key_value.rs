//! KeyValueService: small values of namespaces.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use windhover_expression::is_kv_key;
use windhover_proto::{
    reasons,
    v1::{self as proto, key_value_service_server::KeyValueService},
};
use windhover_store::{KvRow, NewKv};
use windhover_tasks::kv::inferred;
use windhover_types::{Error, ErrorKind, Tenant};

use super::{Shared, answer, open};
use crate::{
    convert,
    error::{Result, invalid},
    page::{Binding, page_size},
};

const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 1 << 20;

pub(crate) struct KeyValueApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl KeyValueService for KeyValueApi {
    async fn put_entry(
        &self,
        request: Request<proto::PutEntryRequest>,
    ) -> Result<Response<proto::PutEntryResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.put(&caller.tenant, request).await)
    }

    async fn get_entry(
        &self,
        request: Request<proto::GetEntryRequest>,
    ) -> Result<Response<proto::GetEntryResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.get(&caller.tenant, request).await)
    }

    async fn list_entries(
        &self,
        request: Request<proto::ListEntriesRequest>,
    ) -> Result<Response<proto::ListEntriesResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list(&caller.tenant, request).await)
    }

    async fn delete_entry(
        &self,
        request: Request<proto::DeleteEntryRequest>,
    ) -> Result<Response<proto::DeleteEntryResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.delete(&caller.tenant, request).await)
    }
}

impl KeyValueApi {
    async fn put(&self, tenant: &Tenant, request: proto::PutEntryRequest) -> Result<proto::PutEntryResponse> {
        let proto::PutEntryRequest { namespace, key, value, ttl, description } = request;
        check_place(&namespace, &key)?;
        let text = value.ok_or_else(|| invalid("value", "is required"))?.text;
        if text.len() > MAX_VALUE {
            return Err(invalid("value", format!("at most {MAX_VALUE} bytes")));
        }
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| invalid("value", format!("not a JSON text: {error}")))?;
        let expires_in = ttl.map(|ttl| convert::from_duration("ttl", ttl)).transpose()?;
        let new = NewKv {
            namespace: &namespace,
            key: &key,
            value: &value.to_string(),
            kind: inferred(&value).as_str(),
            description: Some(description.as_str()).filter(|text| !text.is_empty()),
            expires_in,
            overwrite: true,
        };
        self.0.store.put_kv(tenant, &new).await?;
        let row = self.0.store.get_kv(tenant, &namespace, &key).await?;
        Ok(proto::PutEntryResponse { entry: row.map(|row| shown(row, false)) })
    }

    async fn get(&self, tenant: &Tenant, request: proto::GetEntryRequest) -> Result<proto::GetEntryResponse> {
        let proto::GetEntryRequest { namespace, key } = request;
        check_place(&namespace, &key)?;
        let row = self.0.store.get_kv(tenant, &namespace, &key).await?.filter(|row| !row.expired);
        let row = row.ok_or_else(|| not_found(&namespace, &key))?;
        Ok(proto::GetEntryResponse { entry: Some(shown(row, true)) })
    }

    async fn list(&self, tenant: &Tenant, request: proto::ListEntriesRequest) -> Result<proto::ListEntriesResponse> {
        let proto::ListEntriesRequest { namespace, prefix, page_size: size, page_token } = request;
        check_namespace(&namespace)?;
        let size = page_size(size)?;
        let binding = Binding::new(&["entries", tenant.as_str(), &namespace, &prefix]);
        let after = self.0.begin(&binding, &page_token)?;
        let after = after.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let size = u64::from(size);
        let mut rows = self.0.store.list_kv(tenant, &namespace, &prefix, after.as_deref(), size + 1).await?;
        let more = rows.len() as u64 > size;
        rows.truncate(size as usize);
        let next = rows.last().filter(|_| more).map(|row| row.key.clone().into_bytes());
        let entries = rows.into_iter().map(|row| shown(row, false)).collect();
        Ok(proto::ListEntriesResponse { entries, next_page_token: self.0.next_token(&binding, next) })
    }

    async fn delete(&self, tenant: &Tenant, request: proto::DeleteEntryRequest) -> Result<proto::DeleteEntryResponse> {
        let proto::DeleteEntryRequest { namespace, key } = request;
        check_place(&namespace, &key)?;
        if !self.0.store.delete_kv(tenant, &namespace, &key).await? {
            return Err(not_found(&namespace, &key));
        }
        Ok(proto::DeleteEntryResponse {})
    }
}

fn not_found(namespace: &str, key: &str) -> Error {
    let message = format!("there is no entry {key} in the namespace {namespace}");
    Error::new(ErrorKind::NotFound, reasons::ENTRY_NOT_FOUND, message).with("namespace", namespace).with("key", key)
}

pub(super) fn check_namespace(namespace: &str) -> Result<()> {
    if namespace.is_empty() {
        return Err(invalid("namespace", "is required"));
    }
    super::secret::check_namespace(namespace)
}

fn check_place(namespace: &str, key: &str) -> Result<()> {
    check_namespace(namespace)?;
    if key.len() > MAX_KEY || !is_kv_key(key) {
        let form = "characters of A-Z, a-z, 0-9, `_`, `-`, `.`, the first a letter or digit";
        return Err(invalid("key", format!("1 to {MAX_KEY} {form}")));
    }
    Ok(())
}

fn shown(row: KvRow, with_value: bool) -> proto::KeyValueEntry {
    proto::KeyValueEntry {
        namespace: row.namespace,
        key: row.key,
        value: with_value.then_some(proto::Json { text: row.value }),
        kind: row.kind,
        description: row.description.unwrap_or_default(),
        version: row.version,
        created: Some(convert::time(row.created_at)),
        updated: Some(convert::time(row.updated_at)),
        expires: row.expires_at.map(convert::time),
    }
}
