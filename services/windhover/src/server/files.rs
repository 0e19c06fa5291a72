//! Internal storage: a folder, or a bucket.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use windhover_storage::{Files, S3Config};
use windhover_types::Secret;

use crate::settings::Settings;

/// Internal storage, and whether every process of the installation reaches the same.
///
/// # Errors
/// One sentence: what is wrong with the settings, or with the folder.
pub(super) fn open(settings: &Settings, data_dir: &Path, in_cluster: bool) -> Result<(Files, bool)> {
    let bucket = "windhover.storage.bucket";
    match (settings.text("kestra.storage.type").as_deref(), settings.text(bucket)) {
        (_, Some(bucket)) => Ok((s3(own(settings, bucket))?, true)),
        (Some("s3"), None) => Ok((s3(of_s3(settings)?)?, true)),
        (Some("minio"), None) => Ok((s3(of_minio(settings)?)?, true)),
        (None | Some("local"), None) => folder(settings, data_dir, in_cluster),
        (Some(other), None) => bail!(
            "the setting `kestra.storage.type` is local, s3 or minio here, not `{other}`; or set windhover.storage.folder or {bucket}"
        ),
    }
}

fn folder(settings: &Settings, data_dir: &Path, in_cluster: bool) -> Result<(Files, bool)> {
    let set = ["windhover.storage.folder", "kestra.storage.local.base-path"];
    let folder = set.iter().find_map(|key| settings.text(key)).map(PathBuf::from);
    let shared = !in_cluster || folder.is_some();
    if !shared {
        tracing::warn!(
            "internal storage is a folder of this process alone: large outputs stay in the database; for files that \
             other processes can read, set windhover.storage.folder to a folder that all of them have, or \
             windhover.storage.bucket"
        );
    }
    let folder = folder.unwrap_or_else(|| data_dir.join("storage"));
    let why = || format!("the folder of internal storage {} cannot be used", folder.display());
    fs::create_dir_all(&folder).with_context(why)?;
    Ok((Files::local(&folder).with_context(why)?, shared))
}

fn s3(config: S3Config) -> Result<Files> {
    Files::s3(config).context("the bucket of internal storage cannot be used")
}

fn own(settings: &Settings, bucket: String) -> S3Config {
    let text = |key: &str| settings.text(&format!("windhover.storage.{key}"));
    S3Config {
        bucket,
        prefix: text("prefix").unwrap_or_default(),
        endpoint: text("endpoint"),
        region: text("region"),
        access_key_id: text("key-id"),
        secret_access_key: text("secret-key").map(Secret::new),
    }
}

fn of_s3(settings: &Settings) -> Result<S3Config> {
    let text = |key: &str| settings.text(&format!("kestra.storage.s3.{key}"));
    Ok(S3Config {
        bucket: text("bucket").context("kestra.storage.type is s3, and kestra.storage.s3.bucket is missing")?,
        prefix: String::new(),
        endpoint: text("endpoint"),
        region: text("region"),
        access_key_id: text("access-key"),
        secret_access_key: text("secret-key").map(Secret::new),
    })
}

/// Kestra's way to say where a MinIO is: host, port, and whether it speaks TLS.
fn of_minio(settings: &Settings) -> Result<S3Config> {
    let text = |key: &str| settings.text(&format!("kestra.storage.minio.{key}"));
    let host =
        text("endpoint").context("kestra.storage.type is minio, and kestra.storage.minio.endpoint is missing")?;
    let scheme = if settings.switch("kestra.storage.minio.secure")?.unwrap_or(false) { "https" } else { "http" };
    let endpoint = if host.contains("://") { host } else { format!("{scheme}://{host}") };
    let endpoint = match settings.number::<u16>("kestra.storage.minio.port")? {
        Some(port) => format!("{endpoint}:{port}"),
        None => endpoint,
    };
    Ok(S3Config {
        bucket: text("bucket").context("kestra.storage.type is minio, and kestra.storage.minio.bucket is missing")?,
        prefix: String::new(),
        endpoint: Some(endpoint),
        region: None,
        access_key_id: text("access-key"),
        secret_access_key: text("secret-key").map(Secret::new),
    })
}
