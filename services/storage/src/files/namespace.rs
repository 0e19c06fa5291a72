//! Files of namespaces and their versions (flow model 1.x reference 8).
//!
//! The first version of `a/b.sql` lies under that name, the n-th under `a/b.sql.v<n>`. A file whose own name ends like
//! that has `.v1` behind it from the first version on, so that every name means one version of one file. Versions that
//! were purged leave gaps; the newest that is left counts.

use windhover_types::Tenant;

use super::{FileEntry, FileUri, Files, FilesError, UriError};

/// A file of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceFile {
    /// Below the namespace's directory, without a leading slash.
    pub path: String,
    /// Those that are kept, the oldest first; at least one.
    pub versions: Vec<FileVersion>,
}

/// A version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileVersion {
    /// From 1.
    pub number: u64,
    pub entry: FileEntry,
}

impl NamespaceFile {
    /// What the file is now.
    pub fn newest(&self) -> Option<&FileVersion> {
        self.versions.last()
    }

    pub fn version(&self, number: u64) -> Option<&FileVersion> {
        self.versions.iter().find(|version| version.number == number)
    }
}

impl Files {
    /// All files of a namespace, by path.
    pub async fn namespace_files(&self, tenant: &Tenant, namespace: &str) -> Result<Vec<NamespaceFile>, FilesError> {
        let root = FileUri::namespace(namespace);
        let entries = self.list(tenant, &root).await?;
        Ok(grouped(&root, entries))
    }

    /// One file of a namespace; `None`: there is none of that path.
    pub async fn namespace_file(
        &self,
        tenant: &Tenant,
        namespace: &str,
        path: &str,
    ) -> Result<Option<NamespaceFile>, FilesError> {
        let root = FileUri::namespace(namespace);
        let Ok(plain) = root.below(path) else { return Ok(None) };
        let folder = match plain.path().rsplit_once('/').and_then(|(folder, _)| folder.strip_prefix(root.path())) {
            None | Some("") => root.clone(),
            Some(folder) => root.below(folder).unwrap_or_else(|_| root.clone()),
        };
        let wanted = plain.relative_to(&root).unwrap_or_default();
        let files = grouped(&root, self.children(tenant, &folder).await?);
        Ok(files.into_iter().find(|file| file.path == wanted))
    }

    /// Where the next version of a file of a namespace is to be written. Two that write at once may get the same place:
    /// the later one counts.
    pub async fn next_version(&self, tenant: &Tenant, namespace: &str, path: &str) -> Result<FileUri, VersionError> {
        let plain = FileUri::namespace(namespace).below(path)?;
        let file = self.namespace_file(tenant, namespace, path).await?;
        let number = file.and_then(|file| file.newest().map(|newest| newest.number)).unwrap_or_default() + 1;
        if number == 1 && split(plain.name()).is_none() {
            return Ok(plain);
        }
        Ok(format!("{plain}.v{number}").parse()?)
    }

    /// Deletes a file of a namespace with all its versions; whether there was one.
    pub async fn delete_namespace_file(
        &self,
        tenant: &Tenant,
        namespace: &str,
        path: &str,
    ) -> Result<bool, FilesError> {
        let Some(file) = self.namespace_file(tenant, namespace, path).await? else { return Ok(false) };
        // The oldest first: until the last one is gone the file is what it was.
        for version in &file.versions {
            self.delete(tenant, &version.entry.uri).await?;
        }
        Ok(true)
    }
}

/// Why there is no place for a version.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    #[error(transparent)]
    Uri(#[from] UriError),
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// Entries below the directory of a namespace, as files.
fn grouped(root: &FileUri, entries: Vec<FileEntry>) -> Vec<NamespaceFile> {
    let mut files = std::collections::BTreeMap::<String, Vec<FileVersion>>::new();
    for entry in entries {
        let Some(stored) = entry.uri.relative_to(root) else { continue };
        let (path, number) = meaning(stored);
        files.entry(path.to_owned()).or_default().push(FileVersion { number, entry });
    }
    let file = |(path, mut versions): (String, Vec<FileVersion>)| {
        versions.sort_by_key(|version| version.number);
        NamespaceFile { path, versions }
    };
    files.into_iter().map(file).collect()
}

/// The file and the version that a stored name means.
fn meaning(stored: &str) -> (&str, u64) {
    match split(stored) {
        Some((path, number)) if number > 1 || split(path).is_some() => (path, number),
        _ => (stored, 1),
    }
}

/// A name that ends with `.v<n>`, taken apart.
fn split(name: &str) -> Option<(&str, u64)> {
    let (path, number) = name.rsplit_once(".v")?;
    let is_number = !number.is_empty() && !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    if path.is_empty() || path.ends_with('/') || !is_number {
        return None;
    }
    Some((path, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stored_name_means_one_version_of_one_file() {
        for (stored, path, number) in [
            ("a/b.sql", "a/b.sql", 1),
            ("a/b.sql.v2", "a/b.sql", 2),
            ("a/b.sql.v12", "a/b.sql", 12),
            ("a/b.v1", "a/b.v1", 1),
            ("a/b.v2.v1", "a/b.v2", 1),
            ("a/b.v2.v3", "a/b.v2", 3),
            ("a/b.v02", "a/b.v02", 1),
            ("a/.v2", "a/.v2", 1),
            ("b.v", "b.v", 1),
            ("b.vx", "b.vx", 1),
        ] {
            assert_eq!(meaning(stored), (path, number), "{stored}");
        }
    }
}
