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
    let uri = match place(files, tenant, file).await? {
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
        FileAnswer::Found(uri) => match files.find(tenant, &uri).await.map_err(|error| error.to_string())? {
            Some(entry) => FileAnswer::Found(FileInfo { size: entry.size, uri: uri.to_string() }),
            None => FileAnswer::Absent,
        },
        FileAnswer::Absent => FileAnswer::Absent,
        FileAnswer::NoSuchVersion => FileAnswer::NoSuchVersion,
    })
}

/// Where the file lies.
async fn place(files: &Files, tenant: &Tenant, file: &FileRef) -> Result<FileAnswer<FileUri>, String> {
    match file {
        FileRef::Storage { uri, .. } => uri.parse().map(FileAnswer::Found).map_err(|error| format!("{error}")),
        FileRef::Namespace { namespace, path, version } => {
            // A path that leads out of the namespace names nothing.
            FileUri::namespace(namespace).below(path).map_err(|error| error.to_string())?;
            let file = files.namespace_file(tenant, namespace, path).await.map_err(|error| error.to_string())?;
            let Some(file) = file else { return Ok(FileAnswer::Absent) };
            let found = match version {
                None => file.newest(),
                Some(wanted) => file.version(*wanted),
            };
            Ok(match found {
                Some(found) => FileAnswer::Found(found.entry.uri.clone()),
                None => FileAnswer::NoSuchVersion,
            })
        }
        FileRef::Local { uri } => Err(format!("The path '{uri}' is not allowed: this server opens no local files")),
    }
}
