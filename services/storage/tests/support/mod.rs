//! An S3 server in this process: it checks signatures, and keeps its buckets in a folder.

use std::{error::Error, net::Ipv4Addr, path::Path};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use windhover_storage::S3Config;
use windhover_types::Secret;

const KEY_ID: &str = "storage-tests";
const KEY: &str = "open-sesame";

/// A server with one empty bucket. It ends when this is dropped.
pub(crate) struct S3 {
    address: String,
    folder: TempDir,
    server: JoinHandle<()>,
}

impl S3 {
    pub(crate) async fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("bucket"))?;
        let files = FileSystem::new(folder.path()).map_err(|error| format!("{error:?}"))?;
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY_ID, KEY));
        let service = service.build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that goes away is no fault of the server.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Ok(Self { address, folder, server })
    }

    /// How to enter the bucket.
    pub(crate) fn config(&self, prefix: &str) -> S3Config {
        S3Config {
            bucket: "bucket".to_owned(),
            prefix: prefix.to_owned(),
            endpoint: Some(self.address.clone()),
            region: None,
            access_key_id: Some(KEY_ID.to_owned()),
            secret_access_key: Some(Secret::new(KEY.to_owned())),
        }
    }

    /// What is in the bucket: folders and files at its top.
    pub(crate) fn top(&self) -> Result<Vec<String>, Box<dyn Error>> {
        names(&self.folder.path().join("bucket"))
    }
}

fn names(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.abort();
    }
}
