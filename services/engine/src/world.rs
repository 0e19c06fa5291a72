//! What expressions ask of the world outside of executions: key-value stores and files.

use windhover_expression::{FileAnswer, FileInfo, FileRef, KvAnswer, KvRequest};

/// A question of an expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// `kv`.
    KeyValue(KvRequest),
    /// `read`: the content.
    Content(FileRef),
    /// `fileSize` and its like.
    Info(FileRef),
}

/// Its answer; an error is a sentence for the user.
#[derive(Debug, Clone)]
pub enum Answer {
    KeyValue(Result<KvAnswer, String>),
    Content(Result<FileAnswer<String>, String>),
    Info(Result<FileAnswer<FileInfo>, String>),
}

impl Question {
    /// Its parts as texts, from which it can be made again.
    pub(crate) fn to_parts(&self) -> Vec<String> {
        match self {
            Self::KeyValue(request) => {
                let explicit = request.explicit.to_string();
                let fixed = ["kv".to_owned(), request.key.clone(), explicit, request.flow_namespace.clone()];
                fixed.into_iter().chain(request.namespaces.iter().cloned()).collect()
            }
            Self::Content(file) => file_parts("content", file),
            Self::Info(file) => file_parts("info", file),
        }
    }

    pub(crate) fn from_parts(parts: &[&str]) -> Option<Self> {
        let owned = |text: &&str| (*text).to_owned();
        match parts {
            ["kv", key, explicit, flow_namespace, namespaces @ ..] => Some(Self::KeyValue(KvRequest {
                key: owned(key),
                namespaces: namespaces.iter().map(owned).collect(),
                explicit: *explicit == "true",
                flow_namespace: owned(flow_namespace),
            })),
            ["content", file @ ..] => file_of(file).map(Self::Content),
            ["info", file @ ..] => file_of(file).map(Self::Info),
            _ => None,
        }
    }
}

fn file_parts(question: &str, file: &FileRef) -> Vec<String> {
    let mut parts = vec![question.to_owned()];
    match file {
        FileRef::Storage { uri, foreign_namespace } => {
            parts.extend(["storage".to_owned(), uri.clone()]);
            parts.extend(foreign_namespace.clone());
        }
        FileRef::Namespace { namespace, path, version } => {
            parts.extend(["namespace".to_owned(), namespace.clone(), path.clone()]);
            parts.extend(version.map(|version| version.to_string()));
        }
        FileRef::Local { uri } => parts.extend(["local".to_owned(), uri.clone()]),
    }
    parts
}

fn file_of(parts: &[&str]) -> Option<FileRef> {
    let owned = |text: &&str| (*text).to_owned();
    Some(match parts {
        ["storage", uri, foreign @ ..] => {
            FileRef::Storage { uri: owned(uri), foreign_namespace: foreign.first().map(owned) }
        }
        ["namespace", namespace, path] => {
            FileRef::Namespace { namespace: owned(namespace), path: owned(path), version: None }
        }
        ["namespace", namespace, path, version] => {
            FileRef::Namespace { namespace: owned(namespace), path: owned(path), version: Some(version.parse().ok()?) }
        }
        ["local", uri] => FileRef::Local { uri: owned(uri) },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_made_again_from_its_parts() {
        let namespaces = vec!["a.b".to_owned(), "a".to_owned()];
        let kv = KvRequest { key: "k".to_owned(), namespaces, explicit: true, flow_namespace: "a.b".to_owned() };
        let uri = || "kestra:///a/b".to_owned();
        let path = |version| FileRef::Namespace { namespace: "a".to_owned(), path: "p/q".to_owned(), version };
        for question in [
            Question::KeyValue(kv),
            Question::Content(path(None)),
            Question::Content(path(Some(3))),
            Question::Info(FileRef::Storage { uri: uri(), foreign_namespace: None }),
            Question::Info(FileRef::Storage { uri: uri(), foreign_namespace: Some("x".to_owned()) }),
            Question::Content(FileRef::Local { uri: "file:///a".to_owned() }),
        ] {
            let parts = question.to_parts();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            assert_eq!(Question::from_parts(&parts), Some(question));
        }
    }
}
