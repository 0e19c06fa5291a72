//! The master key: from the settings, from a file, or made once and kept in the data folder.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use windhover_storage::MasterKey;
use windhover_types::Secret;

use crate::settings::Settings;

const FILE: &str = "master.key";

pub(super) fn master_key(settings: &Settings, data_dir: &Path) -> Result<MasterKey> {
    if let Some(key) = settings.text("windhover.master-key") {
        return MasterKey::parse(&Secret::new(key)).context("the setting windhover.master-key");
    }
    let file = match settings.text("windhover.master-key-file") {
        Some(file) => PathBuf::from(file),
        None => data_dir.join(FILE),
    };
    if file.exists() || file != data_dir.join(FILE) {
        let text = fs::read_to_string(&file).with_context(|| format!("the master key cannot be read from {}", file.display()))?;
        return MasterKey::parse(&Secret::new(text.trim())).with_context(|| format!("the master key in {}", file.display()));
    }
    let key = MasterKey::generate().context("a master key cannot be made")?;
    let mut opened = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .with_context(|| format!("the master key cannot be written to {}", file.display()))?;
    opened.write_all(key.to_base64().expose().as_bytes())?;
    opened.sync_all()?;
    tracing::warn!(
        file = %file.display(),
        "a master key was made; stored secrets cannot be read without it: keep a copy, or set windhover.master-key"
    );
    Ok(key)
}
