//! Files of internal storage as expressions and tasks read them (expression reference 15.3, flow model reference 8.5, 8.6).

use windhover_expression::{FileAnswer, FileInfo, FileRef};
use windhover_storage::{FileUri, Files, FilesError};
use windhover_types::Tenant;

/// Larger files are not read into an expression.
const MAX_TEXT: u64 = 16 << 20;

/// The content of a file, for `read`.
///
/// # Errors
/// A sentence for the user.
pub async fn read(files: &Files, tenant: &Tenant, file: &FileRef) -> Result<FileAnswer<String>, String> {
    let (uri, _) = match place(files, tenant, file).await? {
        FileAnswer::Found(found) => found,
        FileAnswer::Absent => return Ok(FileAnswer::Absent),
        FileAnswer::NoSuchVersion => return Ok(FileAnswer::NoSuchVersion),
    };
    match files.read(tenant, &uri, MAX_TEXT).await {
        Ok(content) => String::from_utf8(content.into())
            .map(FileAnswer::Found)
            .map_err(|_| format!("The file '{uri}' is not a text in UTF-8")),
        Err(FilesError::NotFound(_)) => Ok(FileAnswer::Absent),
        Err(error) => Err(error.to_string()),
    }
}

/// What is known of a file, for `fileSize` and its like.
///
/// # Errors
/// A sentence for the user.
pub async fn info(files: &Files, tenant: &Tenant, file: &FileRef) -> Result<FileAnswer<FileInfo>, String> {
    Ok(match place(files, tenant, file).await? {
        FileAnswer::Found((uri, version)) => match files.find(tenant, &uri).await.map_err(|error| error.to_string())? {
            Some(entry) => FileAnswer::Found(FileInfo { size: entry.size, version }),
            None => FileAnswer::Absent,
        },
        FileAnswer::Absent => FileAnswer::Absent,
        FileAnswer::NoSuchVersion => FileAnswer::NoSuchVersion,
    })
}

/// Where the file lies, and its version.
async fn place(files: &Files, tenant: &Tenant, file: &FileRef) -> Result<FileAnswer<(FileUri, u64)>, String> {
    match file {
        FileRef::Storage { uri, .. } => {
            uri.parse().map(|uri| FileAnswer::Found((uri, 1))).map_err(|error| format!("{error}"))
        }
        FileRef::Namespace { namespace, path, version } => {
            let plain = FileUri::namespace(namespace).below(path).map_err(|error| error.to_string())?;
            let newest = newest_version(files, tenant, &plain).await.map_err(|error| error.to_string())?;
            Ok(match (newest, version) {
                (None, _) => FileAnswer::Absent,
                (Some(newest), None) => FileAnswer::Found((versioned(&plain, newest)?, newest)),
                (Some(newest), Some(wanted)) if (1..=newest).contains(wanted) => {
                    FileAnswer::Found((versioned(&plain, *wanted)?, *wanted))
                }
                (Some(_), Some(_)) => FileAnswer::NoSuchVersion,
            })
        }
        FileRef::Local { uri } => Err(format!("The path '{uri}' is not allowed: this server opens no local files")),
    }
}

/// The first version lies under the plain name, the n-th with `.v<n>` behind it (flow model 1.x reference 8).
fn versioned(plain: &FileUri, version: u64) -> Result<FileUri, String> {
    let text = if version > 1 { format!("{plain}.v{version}") } else { plain.to_string() };
    text.parse().map_err(|error| format!("{error}"))
}

/// The highest version of a namespace file; `None`: there is no such file.
async fn newest_version(files: &Files, tenant: &Tenant, plain: &FileUri) -> Result<Option<u64>, FilesError> {
    let mut newest = None;
    // Versions have no gaps: whoever writes one looks for the last.
    for version in 1.. {
        let Ok(uri) = versioned(plain, version) else { break };
        if files.find(tenant, &uri).await?.is_none() {
            break;
        }
        newest = Some(version);
    }
    Ok(newest)
}
