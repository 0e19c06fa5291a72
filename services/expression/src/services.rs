//! What an expression asks the world for. The library itself does no I/O, reads no clock and has no randomness: a caller implements what
//! it can offer, and everything else fails with a clear message.

use std::cell::Cell;

use chrono::{DateTime, Utc};

use crate::error::Interrupt;
use crate::value::{Value, Zone};

/// A question to the key-value store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KvRequest {
    /// The key; its syntax has been checked.
    pub key: String,
    /// The namespaces to look in; the first that has the key wins. Only one if the template names it.
    pub namespaces: Vec<String>,
    /// Whether the template names the namespace, so that access to it has to be checked.
    pub explicit: bool,
    /// The namespace of the flow, empty if unknown.
    pub flow_namespace: String,
}

/// The answer of the key-value store.
#[derive(Debug, Clone)]
pub enum KvAnswer {
    /// The value with its own type.
    Found(Value),
    /// No namespace has the key.
    Absent,
    /// The key is there but has expired.
    Expired,
    /// The named namespace has neither flows nor keys and is not the flow's or one of its parents.
    NoSuchNamespace,
}

/// A question for a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRequest {
    /// The name as the template spells it; it is looked up in upper case.
    pub key: String,
    /// The namespace that the template names, to be checked for access.
    pub namespace: Option<String>,
    /// The namespace of the flow, empty if unknown.
    pub flow_namespace: String,
}

/// A file that a template may read; access within internal storage has been checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FileRef {
    /// A file in internal storage.
    Storage {
        /// The complete URI, `kestra:///…`.
        uri: String,
        /// The namespace that has to be allowed for the flow's, if the file is not of this execution or its parent.
        foreign_namespace: Option<String>,
    },
    /// A namespace file.
    Namespace {
        /// The namespace that it belongs to, to be checked for access if it is not the flow's.
        namespace: String,
        /// The path without a leading slash.
        path: String,
        /// The version, from 1; the latest if absent.
        version: Option<u64>,
    },
    /// A file of the server, below the paths that its configuration allows, to be checked.
    Local {
        /// The complete URI, `file:///…`.
        uri: String,
    },
}

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// The size in bytes; 0 for a directory.
    pub size: u64,
    /// Where it lies, which of a namespace file is that of the version that was looked at.
    pub uri: String,
}

/// The answer about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAnswer<T> {
    /// It exists.
    Found(T),
    /// There is no such file.
    Absent,
    /// There is such a file but not in this version.
    NoSuchVersion,
}

/// A request that `http` sends.
#[derive(Debug, Clone)]
pub struct HttpCall {
    /// The method in upper case.
    pub method: String,
    /// The address with its query.
    pub uri: String,
    /// All headers, `Accept` and `Content-Type` included.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<String>,
    /// The argument `options`: as the `options` of the http request task. Null if absent.
    pub options: Value,
}

/// The response that `http` got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The media type, empty if there is none.
    pub content_type: String,
    /// The body as text.
    pub body: String,
}

/// What the functions of the language need from the world. Each may answer [`Interrupt::Needs`] to have a fact loaded first.
///
/// Evaluation may be repeated, so answers must not change while one template is being evaluated.
pub trait Services {
    /// For `kv`.
    fn kv(&self, _request: &KvRequest) -> Result<KvAnswer, Interrupt> {
        Err(unavailable("kv"))
    }

    /// For `secret`: the text of a secret, `None` if there is none.
    fn secret(&self, _request: &SecretRequest) -> Result<Option<String>, Interrupt> {
        Err(unavailable("secret"))
    }

    /// Called with every part of a secret that a template took out of it, so that it can be masked in logs.
    fn mask(&self, _text: &str) {}

    /// Encrypts a value of an input or output of type SECRET for the tenant.
    fn seal(&self, _value: &str) -> Result<String, Interrupt> {
        Err(Interrupt::failed("values of type SECRET cannot be encrypted here"))
    }

    /// The plain text of what [`Services::seal`] gave; `None` for a text that it did not.
    fn open(&self, _sealed: &str) -> Result<Option<String>, Interrupt> {
        Err(Interrupt::failed("values of type SECRET cannot be decrypted here"))
    }

    /// For `read`: the content as text.
    fn read(&self, _file: &FileRef) -> Result<FileAnswer<String>, Interrupt> {
        Err(unavailable("read"))
    }

    /// For `fileSize`, `fileExists`, `isFileEmpty` and `fileURI`, whose name is given.
    fn file_info(&self, _file: &FileRef, function: &str) -> Result<FileAnswer<FileInfo>, Interrupt> {
        Err(unavailable(function))
    }

    /// For `http`. A failed connection is [`Interrupt::Failed`] with the cause.
    fn http(&self, _call: &HttpCall) -> Result<HttpAnswer, Interrupt> {
        Err(unavailable("http"))
    }

    /// For `errorLogs`: the entries of level ERROR, oldest first; at most 25 are used.
    fn error_logs(&self) -> Result<Vec<Value>, Interrupt> {
        Err(Interrupt::failed("The 'errorLogs' function can only be used in the Worker as it needs to access the logs"))
    }

    /// For `now`, `uuid` and `ksuid`: the current time, the same for the whole evaluation.
    fn now(&self) -> Result<DateTime<Utc>, Interrupt> {
        Err(unavailable("now"))
    }

    /// For `uuid`, `id`, `ksuid`, `nanoId`, `randomInt` and `encrypt`: the next number of a random sequence. See [`SeededRandom`].
    fn random(&self) -> Result<u64, Interrupt> {
        Err(Interrupt::failed("Random values are not available here"))
    }

    /// For `randomPort`: a TCP port that is free on this machine.
    fn random_port(&self) -> Result<u16, Interrupt> {
        Err(unavailable("randomPort"))
    }

    /// The server's time zone.
    fn timezone(&self) -> Zone {
        Zone::default()
    }
}

fn unavailable(function: &str) -> Interrupt {
    Interrupt::Failed(format!("The '{function}' function is not available here"))
}

/// No services: every function that asks the world fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoServices;

impl Services for NoServices {}

/// A random sequence (SplitMix64) from a seed that the caller gives; the same seed gives the same sequence.
#[derive(Debug, Clone)]
pub struct SeededRandom {
    state: Cell<u64>,
}

impl SeededRandom {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: Cell::new(seed) }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state.set(state);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
