//! What expressions ask of the world outside of executions: key-value stores, files, and servers that they call.

use std::fmt;

use windhover_expression::{
    ExpressionError, FileAnswer, FileInfo, FileRef, HttpAnswer, HttpCall, Interrupt, KvAnswer, KvRequest,
};

/// A question of an expression.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// `kv`.
    KeyValue(KvRequest),
    /// `read`: the content.
    Content(FileRef),
    /// `fileSize` and its like.
    Info(FileRef),
    /// `http`.
    Http(HttpQuestion),
    /// `randomPort`: for this task run (empty: for what belongs to the flow), the n-th in one evaluation.
    FreePort { task_run: String, nth: u32 },
}

/// A request that `http` sends. All of it may be secret: only the method is shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HttpQuestion {
    /// In upper case.
    pub method: String,
    /// With its query.
    pub uri: String,
    /// All headers, in order.
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// JSON of the argument `options`; `null` without one.
    pub options: String,
}

impl fmt::Debug for HttpQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpQuestion").field("method", &self.method).finish_non_exhaustive()
    }
}

impl HttpQuestion {
    /// # Errors
    /// The options need something to be looked up first, or are no JSON.
    pub fn of(call: &HttpCall) -> Result<Self, Interrupt> {
        let options = call.options.to_json().map_err(|error| match error {
            ExpressionError::Needs(key) => Interrupt::Needs(key),
            other => Interrupt::Failed(other.to_string()),
        })?;
        Ok(Self {
            method: call.method.clone(),
            uri: call.uri.clone(),
            headers: call.headers.clone(),
            body: call.body.clone(),
            options: options.to_string(),
        })
    }

    fn to_parts(&self) -> Vec<String> {
        let mut parts = vec!["http".to_owned(), self.method.clone(), self.uri.clone(), self.options.clone()];
        parts.push(self.body.is_some().to_string());
        parts.push(self.body.clone().unwrap_or_default());
        parts.extend(self.headers.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
        parts
    }

    fn from_parts(parts: &[&str]) -> Option<Self> {
        let [method, uri, options, has_body, body, headers @ ..] = parts else { return None };
        Some(Self {
            method: (*method).to_owned(),
            uri: (*uri).to_owned(),
            headers: headers.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect(),
            body: (*has_body == "true").then(|| (*body).to_owned()),
            options: (*options).to_owned(),
        })
    }
}

/// Its answer; an error is a sentence for the user.
#[derive(Debug, Clone)]
pub enum Answer {
    KeyValue(Result<KvAnswer, String>),
    Content(Result<FileAnswer<String>, String>),
    Info(Result<FileAnswer<FileInfo>, String>),
    Http(Result<HttpAnswer, String>),
    FreePort(Result<u16, String>),
}

/// An answer of the kind that was asked for: each is `None` for one of another kind.
macro_rules! answers {
    ($($name:ident: $kind:ident -> $value:ty),+ $(,)?) => {
        impl Answer {
            $(pub fn $name(&self) -> Option<Result<$value, String>> {
                match self {
                    Self::$kind(found) => Some(found.clone()),
                    _ => None,
                }
            })+
        }
    };
}

answers! {
    key_value: KeyValue -> KvAnswer,
    content: Content -> FileAnswer<String>,
    info: Info -> FileAnswer<FileInfo>,
    http: Http -> HttpAnswer,
    free_port: FreePort -> u16,
}

impl Question {
    /// Whether somebody outside of the installation has to answer it, which may take long.
    pub fn calls_out(&self) -> bool {
        matches!(self, Self::Http(_))
    }

    /// The answer to it where nobody can give one.
    pub fn refused(&self, reason: impl Into<String>) -> Answer {
        let reason = reason.into();
        match self {
            Self::KeyValue(_) => Answer::KeyValue(Err(reason)),
            Self::Content(_) => Answer::Content(Err(reason)),
            Self::Info(_) => Answer::Info(Err(reason)),
            Self::Http(_) => Answer::Http(Err(reason)),
            Self::FreePort { .. } => Answer::FreePort(Err(reason)),
        }
    }

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
            Self::Http(question) => question.to_parts(),
            Self::FreePort { task_run, nth } => vec!["port".to_owned(), task_run.clone(), nth.to_string()],
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
            ["http", call @ ..] => HttpQuestion::from_parts(call).map(Self::Http),
            ["port", task_run, nth] => Some(Self::FreePort { task_run: owned(task_run), nth: nth.parse().ok()? }),
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
            Question::Http(HttpQuestion {
                method: "POST".to_owned(),
                uri: "https://x/?q=hunter2".to_owned(),
                headers: vec![("A".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())],
                body: Some(String::new()),
                options: "{}".to_owned(),
            }),
            Question::FreePort { task_run: String::new(), nth: 2 },
        ] {
            assert!(!format!("{question:?}").contains("hunter2"));
            let parts = question.to_parts();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            assert_eq!(Question::from_parts(&parts), Some(question));
        }
    }
}
