//! FileService: files of namespaces, inputs and outputs of executions.

use std::sync::Arc;

use futures::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use windhover_executor::new_id;
use windhover_proto::{
    reasons,
    v1::{self as proto, file_service_server::FileService, upload_file_request::Part},
};
use windhover_storage::{FileEntry, FileUri, Files, FilesError, UriError, VersionError};
use windhover_types::{Error, ErrorKind, Tenant};

use super::{Shared, answer, key_value::check_namespace, open};
use crate::{
    auth::{Caller, Role},
    convert,
    error::{Result, invalid, status},
    request,
};

/// Pieces of an answer.
const CHUNK: usize = 1 << 20;
/// Pieces that wait for a slow reader.
const AHEAD: usize = 4;
const MAX_LISTED: usize = 10_000;

pub(crate) struct FileApi(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl FileService for FileApi {
    type DownloadFileStream = ReceiverStream<Result<proto::DownloadFileResponse, Status>>;

    async fn upload_file(
        &self,
        request: Request<Streaming<proto::UploadFileRequest>>,
    ) -> Result<Response<proto::UploadFileResponse>, Status> {
        let caller = request::caller(&request)?;
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|message| message.part);
        let place = self.place(&caller, first).map_err(status)?;
        answer(self.upload(&caller.tenant, place, &mut parts).await)
    }

    async fn download_file(
        &self,
        request: Request<proto::DownloadFileRequest>,
    ) -> Result<Response<Self::DownloadFileStream>, Status> {
        let (caller, request) = open(request)?;
        let stream = self.download(&caller.tenant, &request.uri).await;
        stream.map(Response::new).map_err(status)
    }

    async fn list_files(
        &self,
        request: Request<proto::ListFilesRequest>,
    ) -> Result<Response<proto::ListFilesResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.list(&caller.tenant, request).await)
    }

    async fn delete_file(
        &self,
        request: Request<proto::DeleteFileRequest>,
    ) -> Result<Response<proto::DeleteFileResponse>, Status> {
        let (caller, request) = open(request)?;
        answer(self.delete(&caller.tenant, request).await)
    }
}

/// Where an upload goes.
enum Place {
    Input(FileUri),
    /// A new version of it.
    Namespace(proto::NamespaceFile),
}

impl FileApi {
    fn files(&self) -> Result<&Files> {
        let missing =
            || Error::new(ErrorKind::Unavailable, reasons::UNAVAILABLE, "this gateway has no internal storage");
        self.0.files.as_ref().ok_or_else(missing)
    }

    /// # Errors
    /// No place comes first, it has a wrong form, or the caller may not write there.
    fn place(&self, caller: &Caller, first: Option<Part>) -> Result<Place> {
        match first {
            Some(Part::NamespaceFile(file)) => {
                caller.require(Role::Editor)?;
                namespace_file("namespace_file", &file)?;
                Ok(Place::Namespace(file))
            }
            Some(Part::InputFile(file)) => {
                let name = file.name.rsplit('/').next().unwrap_or_default();
                if name.is_empty() || name == ".." {
                    return Err(invalid("input_file.name", "is required and names a file"));
                }
                let uri =
                    FileUri::upload(new_id()).below(name).map_err(|error| wrong_uri("input_file.name", &error))?;
                Ok(Place::Input(uri))
            }
            _ => Err(invalid("part", "the first message says where the file belongs: namespace_file or input_file")),
        }
    }

    async fn upload(
        &self,
        tenant: &Tenant,
        place: Place,
        parts: &mut Streaming<proto::UploadFileRequest>,
    ) -> Result<proto::UploadFileResponse> {
        let files = self.files()?;
        let (uri, path) = match place {
            Place::Input(uri) => (uri, String::new()),
            Place::Namespace(file) => {
                let uri = files.next_version(tenant, &file.namespace, &file.path).await;
                let uri = uri.map_err(|error| match error {
                    VersionError::Uri(error) => wrong_uri("namespace_file.path", &error),
                    VersionError::Files(error) => failed(error),
                })?;
                (uri, file.path.trim_start_matches('/').to_owned())
            }
        };
        let mut writer = files.writer(tenant, &uri);
        let unavailable =
            |error: std::io::Error| Error::new(ErrorKind::Unavailable, reasons::UNAVAILABLE, error.to_string());
        loop {
            let message = parts.message().await.map_err(|status| broken_off(&status))?;
            match message.map(|message| message.part) {
                Some(Some(Part::Chunk(chunk))) => writer.write_all(&chunk).await.map_err(unavailable)?,
                Some(_) => return Err(invalid("part", "only chunks follow the first message")),
                None => break,
            }
        }
        writer.shutdown().await.map_err(unavailable)?;
        let entry = files.find(tenant, &uri).await.map_err(failed)?;
        let file = entry.map(|entry| shown(&entry, path));
        Ok(proto::UploadFileResponse { file })
    }

    async fn download(
        &self,
        tenant: &Tenant,
        uri: &str,
    ) -> Result<ReceiverStream<Result<proto::DownloadFileResponse, Status>>> {
        let uri: FileUri = uri.parse().map_err(|error| wrong_uri("uri", &error))?;
        let mut content = self.files()?.stream(tenant, &uri).await.map_err(failed)?;
        let (sender, receiver) = tokio::sync::mpsc::channel(AHEAD);
        tokio::spawn(async move {
            while let Some(piece) = content.next().await {
                let pieces: Vec<_> = match piece {
                    Ok(bytes) => bytes
                        .chunks(CHUNK)
                        .map(|chunk| Ok(proto::DownloadFileResponse { chunk: chunk.to_vec() }))
                        .collect(),
                    Err(error) => vec![Err(status(failed(error)))],
                };
                for piece in pieces {
                    // The reader may have gone.
                    if sender.send(piece).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(ReceiverStream::new(receiver))
    }

    async fn list(&self, tenant: &Tenant, request: proto::ListFilesRequest) -> Result<proto::ListFilesResponse> {
        check_namespace(&request.namespace)?;
        let root = FileUri::namespace(&request.namespace);
        let folder = match request.path.trim_matches('/') {
            "" => String::new(),
            path => {
                let below = root.below(path).map_err(|error| wrong_uri("path", &error))?;
                format!("{}/", below.relative_to(&root).unwrap_or_default())
            }
        };
        let files = self.files()?.namespace_files(tenant, &request.namespace).await.map_err(failed)?;
        let inside = files.into_iter().filter(|file| file.path.starts_with(&folder));
        let newest = inside.filter_map(|file| file.newest().map(|newest| shown(&newest.entry, file.path.clone())));
        let files = newest.take(MAX_LISTED).collect();
        Ok(proto::ListFilesResponse { files })
    }

    async fn delete(&self, tenant: &Tenant, request: proto::DeleteFileRequest) -> Result<proto::DeleteFileResponse> {
        let file = request.file.ok_or_else(|| invalid("file", "is required"))?;
        let uri = namespace_file("file", &file)?;
        let files = self.files()?;
        if !files.delete_namespace_file(tenant, &file.namespace, &file.path).await.map_err(failed)? {
            return Err(not_found(&uri));
        }
        Ok(proto::DeleteFileResponse {})
    }
}

fn namespace_file(field: &str, file: &proto::NamespaceFile) -> Result<FileUri> {
    check_namespace(&file.namespace)?;
    FileUri::namespace(&file.namespace).below(&file.path).map_err(|error| wrong_uri(&format!("{field}.path"), &error))
}

fn wrong_uri(field: &str, error: &UriError) -> Error {
    invalid(field, error.to_string())
}

fn not_found(uri: &FileUri) -> Error {
    Error::new(ErrorKind::NotFound, reasons::FILE_NOT_FOUND, format!("there is no file {uri}")).with("uri", uri)
}

fn failed(error: FilesError) -> Error {
    match error {
        FilesError::NotFound(uri) => not_found(&uri),
        other => Error::new(ErrorKind::Unavailable, reasons::UNAVAILABLE, other.to_string()),
    }
}

/// The sender went away or sent what cannot be read: nothing is stored.
fn broken_off(status: &Status) -> Error {
    Error::new(
        ErrorKind::InvalidArgument,
        reasons::INVALID_ARGUMENT,
        format!("the upload broke off: {}", status.message()),
    )
}

fn shown(entry: &FileEntry, path: String) -> proto::File {
    proto::File { uri: entry.uri.to_string(), path, size: entry.size, modified: Some(convert::time(entry.modified_at)) }
}
