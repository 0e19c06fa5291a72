//! The `windhover` binary that the cases run against: built with the same profile as this program.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, Result, anyhow, bail};

/// Where the build puts things: found from the path of this program, `TARGET/PROFILE/deps/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub target: PathBuf,
    /// Name of the folder of the profile.
    profile: String,
}

impl Layout {
    pub fn of_this_program() -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        Self::of(&program).ok_or_else(|| anyhow!("{} is not in a target folder of cargo", program.display()))
    }

    fn of(program: &Path) -> Option<Self> {
        let deps = program.parent().filter(|folder| folder.ends_with("deps"))?;
        let profile = deps.parent()?;
        Some(Self { target: profile.parent()?.to_owned(), profile: profile.file_name()?.to_str()?.to_owned() })
    }

    /// Name of cargo's profile: `dev` builds into `debug`.
    fn profile_name(&self) -> &str {
        if self.profile == "debug" { "dev" } else { &self.profile }
    }

    fn binary(&self) -> PathBuf {
        self.target.join(&self.profile).join(format!("windhover{}", std::env::consts::EXE_SUFFIX))
    }
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Builds the binary, once per process, and gives its path. Quick when it is up to date.
pub fn windhover() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}"))).clone().map_err(|error| anyhow!(error))
}

fn build() -> Result<PathBuf> {
    let layout = Layout::of_this_program()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    command
        .args(["build", "--package", "windhover", "--bin", "windhover", "--profile", layout.profile_name()])
        .arg("--target-dir")
        .arg(&layout.target)
        .current_dir(workspace());
    // What cargo sets for this program's run says nothing about the build of another package.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR") {
            command.env_remove(name);
        }
    }
    let status = command.status().context("running cargo")?;
    if !status.success() {
        bail!("cargo build --package windhover failed: {status}");
    }
    let binary = layout.binary();
    if !binary.is_file() {
        bail!("cargo built no {}", binary.display());
    }
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_folder_is_found_from_the_program() {
        let layout = Layout::of(Path::new("/t/debug/deps/cases-1a2b")).unwrap();
        assert_eq!((layout.target.as_path(), layout.profile_name()), (Path::new("/t"), "dev"));
        assert_eq!(layout.binary(), Path::new("/t/debug").join(format!("windhover{}", std::env::consts::EXE_SUFFIX)));
        let release = Layout::of(Path::new("/t/x86_64-unknown-linux-gnu/release/deps/cases")).unwrap();
        assert_eq!(release.profile_name(), "release");
        assert_eq!(Layout::of(Path::new("/usr/bin/cases")), None);
    }
}
