//! Names of files in internal storage (flow model reference 8.6).

use std::{fmt, str::FromStr};

use windhover_expression::slugify;
use windhover_types::Id;

const SCHEME: &str = "kestra://";
/// Where outputs lie that are too large for a row of the store. No namespace begins like this.
const OUTPUTS: &str = "/_outputs";
/// Of one file name on the usual file systems.
const MAX_SEGMENT: usize = 255;

/// A file of a tenant's internal storage: `kestra:///a/b/c`. Holds no `..`, no empty and no control characters; the
/// tenant is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileUri(String);

/// Why a text is no URI of internal storage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("'{0}' is not a URI of internal storage: it must start with kestra:///")]
    Scheme(String),
    #[error("'{0}' is not allowed: a path must not contain '..'")]
    Parent(String),
    #[error("'{0}' names no file")]
    Empty(String),
    #[error("'{0}' is not allowed: what lies there belongs to the server")]
    Reserved(String),
    #[error("the name of a file is at most {MAX_SEGMENT} bytes long and holds no control characters")]
    Segment,
}

impl FromStr for FileUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let uri = Self::parse(text)?;
        if uri.is_of_outputs() { Err(UriError::Reserved(text.to_owned())) } else { Ok(uri) }
    }
}

impl fmt::Display for FileUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0)
    }
}

impl FileUri {
    fn parse(text: &str) -> Result<Self, UriError> {
        let path = text.strip_prefix(SCHEME).filter(|path| path.starts_with('/'));
        let Some(path) = path else { return Err(UriError::Scheme(text.to_owned())) };
        Self::from_segments(path.split('/')).map_err(|error| match error {
            UriError::Parent(_) => UriError::Parent(text.to_owned()),
            UriError::Empty(_) => UriError::Empty(text.to_owned()),
            other => other,
        })
    }

    /// Empty segments and `.` are left out.
    fn from_segments<'a>(segments: impl Iterator<Item = &'a str>) -> Result<Self, UriError> {
        let mut path = String::new();
        for segment in segments.filter(|segment| !segment.is_empty() && *segment != ".") {
            if segment == ".." {
                return Err(UriError::Parent(segment.to_owned()));
            }
            if segment.len() > MAX_SEGMENT || segment.chars().any(char::is_control) {
                return Err(UriError::Segment);
            }
            path.push('/');
            path.push_str(segment);
        }
        if path.is_empty() { Err(UriError::Empty(String::new())) } else { Ok(Self(path)) }
    }

    /// The file of this path below the directory that this one names.
    ///
    /// # Errors
    /// The path leads out of it or names nothing.
    pub fn below(&self, path: &str) -> Result<Self, UriError> {
        let inner = Self::from_segments(path.split('/'))?;
        Ok(Self(format!("{}{}", self.0, inner.0)))
    }

    /// The path, with a leading slash.
    pub fn path(&self) -> &str {
        &self.0
    }

    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1)
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// What follows the last dot of the name, with the dot; `None` without one.
    pub fn extension(&self) -> Option<&str> {
        let name = self.name();
        name.rfind('.').filter(|at| *at > 0).map(|at| &name[at..])
    }

    /// The path below a directory, without a leading slash; `None` when it is not below it.
    pub fn relative_to(&self, directory: &FileUri) -> Option<&str> {
        self.0.strip_prefix(&directory.0)?.strip_prefix('/')
    }

    /// Directory of everything that an execution has stored.
    pub fn execution(namespace: &str, flow: &str, execution: Id) -> Self {
        let namespace = namespace.replace('.', "/");
        Self(format!("/{namespace}/{}/executions/{execution}", slugify(flow)))
    }

    /// Directory of a task run's files.
    pub fn task_run(namespace: &str, flow: &str, execution: Id, task: &str, task_run: Id) -> Self {
        let Self(execution) = Self::execution(namespace, flow, execution);
        Self(format!("{execution}/tasks/{}/{task_run}", slugify(task)))
    }

    /// Directory of a file that was given as an input.
    pub fn input(namespace: &str, flow: &str, execution: Id, input: &str) -> Self {
        let Self(execution) = Self::execution(namespace, flow, execution);
        Self(format!("{execution}/inputs/{}", input.replace('/', "-")))
    }

    /// Directory of a file that was sent before the execution that takes it is made. No namespace begins like this.
    pub fn upload(id: Id) -> Self {
        Self(format!("/_uploads/{id}"))
    }

    /// Directory of all files that were sent and not taken yet.
    pub fn uploads() -> Self {
        Self("/_uploads".to_owned())
    }

    /// Whether it lies where [`FileUri::upload`] says.
    pub fn is_upload(&self) -> bool {
        self.0.starts_with("/_uploads/")
    }

    /// Directory of the outputs of an execution that are too large for rows of the store. It is not among the files of
    /// the execution: a flow that deletes those keeps its outputs. No text that a user writes leads there.
    pub fn outputs(execution: Id) -> Self {
        Self(format!("{OUTPUTS}/{execution}"))
    }

    /// The file of such outputs, out of its own text.
    ///
    /// # Errors
    /// The text names no file of outputs.
    pub fn of_outputs(text: &str) -> Result<Self, UriError> {
        let uri = Self::parse(text)?;
        if uri.is_of_outputs() { Ok(uri) } else { Err(UriError::Empty(text.to_owned())) }
    }

    fn is_of_outputs(&self) -> bool {
        self.segments().next().is_some_and(|first| first == &OUTPUTS[1..])
    }

    /// Directory of a namespace's files.
    pub fn namespace(namespace: &str) -> Self {
        Self(format!("/{}/_files", namespace.replace('.', "/")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Result<FileUri, UriError> {
        text.parse()
    }

    #[test]
    fn only_paths_of_internal_storage_are_taken_and_none_leads_out() {
        assert_eq!(uri("kestra:///a/b").map(|uri| uri.to_string()), Ok("kestra:///a/b".to_owned()));
        assert_eq!(uri("kestra:///a//./b").map(|uri| uri.path().to_owned()), Ok("/a/b".to_owned()));
        assert!(matches!(uri("file:///etc/passwd"), Err(UriError::Scheme(_))));
        assert!(matches!(uri("kestra://host/a"), Err(UriError::Scheme(_))));
        assert!(matches!(uri("kestra:///a/../b"), Err(UriError::Parent(_))));
        assert!(matches!(uri("kestra:///"), Err(UriError::Empty(_))));
        assert_eq!(uri(&format!("kestra:///{}", "a".repeat(256))), Err(UriError::Segment));
        assert_eq!(uri("kestra:///a\0b"), Err(UriError::Segment));
    }

    #[test]
    fn outputs_of_executions_are_reached_by_the_server_alone() -> Result<(), UriError> {
        let id = Id::from_bytes([7; 16]);
        let file = FileUri::outputs(id).below("execution-1.json")?;
        assert_eq!(file.to_string(), format!("kestra:///_outputs/{id}/execution-1.json"));
        assert_eq!(FileUri::of_outputs(&file.to_string()), Ok(file.clone()));
        for text in [file.to_string(), file.to_string().replace("/_outputs/", "//./_outputs//")] {
            assert_eq!(uri(&text), Err(UriError::Reserved(text.clone())));
        }
        assert!(FileUri::of_outputs("kestra:///company/_outputs/x").is_err());
        assert!(FileUri::of_outputs("kestra:///_outputs/../company/x").is_err());
        assert!(uri("kestra:///company/_outputs/x").is_ok());
        Ok(())
    }

    #[test]
    fn places_follow_the_reference() -> Result<(), UriError> {
        let id = Id::from_bytes([7; 16]);
        let task = FileUri::task_run("company.team", "my_flow", id, "my_task", id);
        assert_eq!(task.path(), format!("/company/team/my-flow/executions/{id}/tasks/my-task/{id}"));
        let file = task.below("a/b.csv")?;
        assert_eq!(file.relative_to(&task), Some("a/b.csv"));
        assert_eq!((file.name(), file.extension()), ("b.csv", Some(".csv")));
        assert!(task.below("../x").is_err());
        assert_eq!(FileUri::namespace("a.b").to_string(), "kestra:///a/b/_files");
        Ok(())
    }
}
