//! The master key: from the settings, from a file, or made once and kept in the data folder.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use windhover_storage::{CryptoError, Keyring, MasterKey};
use windhover_store::Store;
use windhover_types::Secret;

use crate::settings::Settings;

const FILE: &str = "master.key";

/// Where the master key comes from.
pub(super) enum Source {
    Given(MasterKey),
    /// There is none yet: one is made and kept in this file.
    Make(PathBuf),
}

/// Finds the master key; makes nothing.
pub(super) fn find(settings: &Settings, data_dir: &Path) -> Result<Source> {
    if let Some(key) = settings.text("windhover.master-key") {
        return MasterKey::parse(&Secret::new(key)).map(Source::Given).context("the setting windhover.master-key");
    }
    let own = data_dir.join(FILE);
    let file = match settings.text("windhover.master-key-file") {
        Some(file) => PathBuf::from(file),
        None if !own.exists() => return Ok(Source::Make(own)),
        None => own,
    };
    read(&file).map(Source::Given)
}

fn read(file: &Path) -> Result<MasterKey> {
    let text =
        fs::read_to_string(file).with_context(|| format!("the master key cannot be read from {}", file.display()))?;
    MasterKey::parse(&Secret::new(text.trim())).with_context(|| format!("the master key in {}", file.display()))
}

/// The keys of this installation. Another master key than it began with is told at once, not when a secret is needed.
pub(super) async fn keyring(source: Source, store: &Store) -> Result<Keyring> {
    match source {
        Source::Given(key) => {
            let keyring = Keyring::new(key);
            let Some(error) = difference(&keyring, store).await? else { return Ok(keyring) };
            Err(anyhow!(
                "the master key is not the one that this installation was started with ({error}); set that one with WINDHOVER_MASTER_KEY or WINDHOVER_MASTER_KEY_FILE"
            ))
        }
        Source::Make(file) => {
            let Some(made) = make(&file)? else {
                // Another process that was started at the same moment has made it.
                return Box::pin(keyring(Source::Given(read(&file)?), store)).await;
            };
            let keyring = Keyring::new(made);
            if difference(&keyring, store).await?.is_some() {
                // Of no use to anybody, and it would look like the one that is missing.
                fs::remove_file(&file).with_context(|| format!("{} cannot be removed", file.display()))?;
                bail!(
                    "this installation has a master key, but there is none at {}; set it with WINDHOVER_MASTER_KEY or WINDHOVER_MASTER_KEY_FILE",
                    file.display()
                );
            }
            tracing::warn!(
                file = %file.display(),
                "a master key was made; stored secrets cannot be read without it: keep a copy, or set windhover.master-key"
            );
            Ok(keyring)
        }
    }
}

/// Why the key is not the one that the installation began with; the first one that it sees is.
async fn difference(keyring: &Keyring, store: &Store) -> Result<Option<CryptoError>> {
    let kept = store.key_check(&keyring.key_check().context("the master key cannot be used")?).await?;
    Ok(keyring.verify_check(&kept).err())
}

/// The file is there, whole, before anything is encrypted with the key. `None`: there is one already.
fn make(file: &Path) -> Result<Option<MasterKey>> {
    let key = MasterKey::generate().context("a master key cannot be made")?;
    let draft = file.with_extension(format!("{}.draft", std::process::id()));
    let write = || -> std::io::Result<bool> {
        let mut opened = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        opened.write_all(key.to_base64().expose().as_bytes())?;
        opened.sync_all()?;
        match fs::hard_link(&draft, file) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
            linked => linked.map(|()| true),
        }
    };
    let written = write();
    // A draft is of no use to anybody, whatever became of it.
    let _ = fs::remove_file(&draft);
    let made = written.with_context(|| format!("the master key cannot be written to {}", file.display()))?;
    Ok(made.then_some(key))
}
