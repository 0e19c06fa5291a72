//! The folder in which a process keeps what is its own.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::settings::Settings;

/// The folder that is set, else one below the user's; made when it is not there.
pub(super) fn find(settings: &Settings) -> Result<PathBuf> {
    let below_home = || Some(PathBuf::from(env::var_os("HOME")?).join(".local/share"));
    let folder = match settings.text("windhover.data-dir") {
        Some(folder) => PathBuf::from(folder),
        None => match env::var_os("XDG_DATA_HOME").map(PathBuf::from).or_else(below_home) {
            Some(base) => base.join("windhover"),
            None => bail!("there is no home folder for the data: set windhover.data-dir or --data-dir"),
        },
    };
    fs::create_dir_all(&folder).with_context(|| format!("the data folder {} cannot be made", folder.display()))?;
    Ok(folder)
}
