//! Names of files inside a folder.

use std::path::{Component, Path, PathBuf};

use crate::TaskError;

/// The path of `name` below `folder`; the folders above it are made. No part of it may be a link, so that nothing is
/// written through one that a task has left.
///
/// # Errors
/// The name leads out of the folder, or names nothing.
pub(super) fn inside(folder: &Path, name: &str) -> Result<PathBuf, TaskError> {
    let refused = || TaskError::failed(format!("the file name '{name}' leads out of the working directory"));
    let mut place = folder.to_owned();
    let mut parts = Path::new(name.trim_start_matches('/')).components().peekable();
    while let Some(part) = parts.next() {
        match part {
            Component::Normal(part) => place.push(part),
            Component::CurDir => continue,
            _ => return Err(refused()),
        }
        match std::fs::symlink_metadata(&place) {
            Ok(found) if found.is_symlink() => return Err(refused()),
            Ok(_) => {}
            Err(_) if parts.peek().is_some() => std::fs::create_dir(&place)
                .map_err(|error| TaskError::failed(format!("the folder of '{name}' cannot be made: {error}")))?,
            Err(_) => {}
        }
    }
    if place == folder {
        return Err(TaskError::failed(format!("'{name}' names no file")));
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        assert_eq!(inside(folder.path(), "a/./b.txt")?, folder.path().join("a/b.txt"));
        assert_eq!(inside(folder.path(), "/c")?, folder.path().join("c"));
        std::os::unix::fs::symlink("/tmp", folder.path().join("link"))?;
        for name in ["../x", "a/../../x", "link/x", "link", "", "."] {
            assert!(inside(folder.path(), name).is_err(), "{name}");
        }
        Ok(())
    }
}
