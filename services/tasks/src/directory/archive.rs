//! A folder as one file: a tar archive with paths relative to the folder.

use std::{fs::File, io, path::Path};

/// Writes everything below `folder`; links as links.
pub(super) fn pack(folder: &Path, archive: &Path) -> io::Result<()> {
    let mut builder = tar::Builder::new(File::create(archive)?);
    builder.follow_symlinks(false);
    builder.append_dir_all(".", folder)?;
    builder.into_inner()?.sync_all()
}

/// Writes what an archive holds below `folder`. Entries that lead out of it are left out.
pub(super) fn unpack(archive: &Path, folder: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(File::open(archive)?);
    archive.set_preserve_permissions(true);
    archive.set_overwrite(true);
    archive.unpack(folder)
}
