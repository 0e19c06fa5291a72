//! What expressions ask of key-value stores, files and servers, where the executor, a gateway or a scheduler renders
//! them.

use std::time::Duration;

use async_trait::async_trait;
use windhover_engine::{Answer, Question};
use windhover_executor::WorldSource;
use windhover_outbound::Client;
use windhover_storage::Files;
use windhover_store::Store;
use windhover_tasks::{files, http, kv};
use windhover_types::Tenant;

use super::key_values::StoredKeyValues;

/// How long a server that an expression calls may take: an execution, or a caller of the API, waits for it.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct StoredWorld {
    key_values: StoredKeyValues,
    files: Files,
    http: Client,
}

impl StoredWorld {
    pub(super) fn new(store: Store, files: Files, http: Client) -> Self {
        Self { key_values: StoredKeyValues(store), files, http }
    }
}

#[async_trait]
impl WorldSource for StoredWorld {
    async fn answer(&self, tenant: &Tenant, question: &Question) -> Answer {
        match question {
            Question::KeyValue(request) => Answer::KeyValue(kv::look_up(&self.key_values, tenant, request).await),
            Question::Content(file) => Answer::Content(files::read(&self.files, tenant, file).await),
            Question::Info(file) => Answer::Info(files::info(&self.files, tenant, file).await),
            Question::Http(question) => Answer::Http(http::send(&self.http, question, CALL_TIMEOUT).await),
            Question::FreePort { .. } => Answer::FreePort(http::free_port()),
        }
    }
}
