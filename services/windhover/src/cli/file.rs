//! `windhover file …`

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use windhover_client::{
    ClientError,
    v1::{
        DeleteFileRequest, DownloadFileRequest, InputFile, ListFilesRequest, NamespaceFile, UploadFileRequest,
        upload_file_request::Part,
    },
};

use super::{
    error::Failure,
    output::table,
    session::Session,
    style::{self, safe},
};

/// Bytes of one message.
const PIECE: usize = 512 * 1024;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Store a file in a namespace, or as an input of executions.
    Upload(Upload),
    /// Read a file by its URI.
    Download(Download),
    /// List the files of a namespace.
    List(List),
    /// Take a file away from its namespace.
    Delete(Place),
}

#[derive(Args)]
pub(crate) struct Upload {
    /// The file.
    file: PathBuf,
    /// Namespace to store it in; without one it becomes an input: its URI is printed, to be given as an input's value.
    #[arg(requires = "path")]
    namespace: Option<String>,
    /// Path in the namespace.
    path: Option<String>,
}

#[derive(Args)]
pub(crate) struct Download {
    /// `kestra:///…`, as outputs and lists show it.
    uri: String,
    /// Where to write it; to the standard output when not given.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct List {
    /// Namespace of the files.
    namespace: String,
    /// Only files below this path.
    #[arg(default_value = "", hide_default_value = true)]
    path: String,
}

#[derive(Args)]
pub(crate) struct Place {
    /// Namespace of the file.
    namespace: String,
    /// Its path there.
    path: String,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<ExitCode, Failure> {
    let mut files = session.client.file_service();
    match command {
        Command::Upload(Upload { file, namespace, path }) => {
            let first = match (namespace, path) {
                (Some(namespace), Some(path)) => Part::NamespaceFile(NamespaceFile { namespace, path }),
                _ => Part::InputFile(InputFile { name: name(&file)? }),
            };
            let opened = File::open(&file).map_err(|error| cannot("read", &file, &error))?;
            let response = files.upload_file(pieces(first, opened, file)).await.map_err(ClientError::from)?;
            let response = response.into_inner();
            session
                .output
                .print(&response, || response.file.iter().map(|file| safe(&file.uri).into_owned()).collect())?;
        }
        Command::Download(Download { uri, to }) => {
            let response = files.download_file(DownloadFileRequest { uri }).await.map_err(ClientError::from)?;
            let mut stream = response.into_inner();
            // Made once something has come, so that a wrong URI leaves nothing behind.
            let mut next = stream.message().await.map_err(ClientError::from)?;
            let mut out: Box<dyn Write> = match &to {
                Some(path) => Box::new(File::create(path).map_err(|error| cannot("write", path, &error))?),
                None => Box::new(io::stdout().lock()),
            };
            while let Some(piece) = next {
                out.write_all(&piece.chunk)?;
                next = stream.message().await.map_err(ClientError::from)?;
            }
            out.flush()?;
        }
        Command::List(List { namespace, path }) => {
            let response = files.list_files(ListFilesRequest { namespace, path }).await.map_err(ClientError::from)?;
            let response = response.into_inner();
            session.output.print(&response, || {
                let rows = response.files.iter().map(|file| {
                    let [path, uri] = [&file.path, &file.uri].map(|text| safe(text).into_owned());
                    [path, file.size.to_string(), style::date_time(file.modified.as_ref()), uri]
                });
                table(["PATH", "BYTES", "MODIFIED", "URI"], rows.collect())
            })?;
        }
        Command::Delete(Place { namespace, path }) => {
            let file = Some(NamespaceFile { namespace, path: path.clone() });
            let response = files.delete_file(DeleteFileRequest { file }).await.map_err(ClientError::from)?;
            session.output.print(&response.into_inner(), || vec![format!("deleted {}", safe(&path))])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What it is, then its content piece by piece. A file that cannot be read to its end ends the program: half of it must
/// not be stored as if it were all.
fn pieces(
    first: Part,
    mut file: File,
    path: PathBuf,
) -> impl futures::Stream<Item = UploadFileRequest> + Send + 'static {
    let message = |part| UploadFileRequest { part: Some(part) };
    let rest = std::iter::from_fn(move || {
        let mut piece = Vec::with_capacity(PIECE);
        match Read::by_ref(&mut file).take(PIECE as u64).read_to_end(&mut piece) {
            Ok(0) => None,
            Ok(_) => Some(message(Part::Chunk(piece))),
            Err(error) => {
                super::error::say(&[format!("cannot read {}: {error}", path.display())]);
                std::process::exit(1)
            }
        }
    });
    futures::stream::iter(std::iter::once(message(first)).chain(rest))
}

fn name(file: &Path) -> Result<String, Failure> {
    let name = file.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| Failure::Here(format!("{} has no name that can be sent", file.display())))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Here(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn a_file_is_sent_in_pieces_behind_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.txt");
        std::fs::write(&path, vec![7; PIECE + 1]).unwrap();
        let first = Part::InputFile(InputFile { name: name(&path).unwrap() });
        let sent: Vec<Part> =
            pieces(first, File::open(&path).unwrap(), path).map(|message| message.part.unwrap()).collect().await;
        let sizes: Vec<usize> =
            sent.iter().map(|part| if let Part::Chunk(piece) = part { piece.len() } else { 0 }).collect();
        assert_eq!(sizes, [0, PIECE, 1]);
        assert!(matches!(&sent[0], Part::InputFile(file) if file.name == "in.txt"));
        assert!(name(Path::new("/")).is_err());
    }
}
