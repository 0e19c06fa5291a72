//! What expressions ask of key-value stores and files, where the executor renders them.

use async_trait::async_trait;
use windhover_engine::{Answer, Question};
use windhover_executor::WorldSource;
use windhover_storage::Files;
use windhover_store::Store;
use windhover_tasks::{files, kv};
use windhover_types::Tenant;

use super::key_values::StoredKeyValues;

pub(super) struct StoredWorld {
    key_values: StoredKeyValues,
    files: Files,
}

impl StoredWorld {
    pub(super) fn new(store: Store, files: Files) -> Self {
        Self { key_values: StoredKeyValues(store), files }
    }
}

#[async_trait]
impl WorldSource for StoredWorld {
    async fn answer(&self, tenant: &Tenant, question: &Question) -> Answer {
        match question {
            Question::KeyValue(request) => Answer::KeyValue(kv::look_up(&self.key_values, tenant, request).await),
            Question::Content(file) => Answer::Content(files::read(&self.files, tenant, file).await),
            Question::Info(file) => Answer::Info(files::info(&self.files, tenant, file).await),
        }
    }
}
