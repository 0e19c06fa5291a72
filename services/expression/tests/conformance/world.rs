//! The surroundings of a case: key-value store, secrets, files, logs and an HTTP server, all in memory.

use std::collections::HashMap;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde_json::json;
use serde_yaml::Value as Yaml;
use windhover_expression::{
    FileAnswer, FileInfo, FileRef, HttpAnswer, HttpCall, Interrupt, KvAnswer, KvRequest, SecretRequest, SeededRandom,
    Services, Value, Zone,
};

use crate::context::{scalar_text, value};

pub(crate) struct World {
    env: Yaml,
    random: SeededRandom,
}

impl World {
    pub(crate) fn new(env: Option<&Yaml>) -> Self {
        Self { env: env.cloned().unwrap_or(Yaml::Null), random: SeededRandom::new(7) }
    }

    /// The versions of a file, oldest first.
    fn versions(&self, path: &str) -> Option<Vec<String>> {
        let content = self.env.get("files")?.get(path)?;
        Some(match content {
            Yaml::Sequence(versions) => versions.iter().filter_map(scalar_text).collect(),
            content => vec![scalar_text(content)?],
        })
    }

    fn find(&self, file: &FileRef) -> FileAnswer<(String, u64)> {
        let (path, wanted) = match file {
            FileRef::Storage { uri, .. } | FileRef::Local { uri } => {
                (uri.trim_start_matches("kestra://").to_owned(), None)
            }
            FileRef::Namespace { namespace, path, version } => {
                (format!("/{}/_files/{path}", namespace.replace('.', "/")), *version)
            }
        };
        let Some(versions) = self.versions(&path) else { return FileAnswer::Absent };
        let version = wanted.unwrap_or(versions.len() as u64);
        match usize::try_from(version).ok().and_then(|version| versions.get(version.checked_sub(1)?)) {
            Some(content) => FileAnswer::Found((content.clone(), version)),
            None => FileAnswer::NoSuchVersion,
        }
    }
}

impl Services for World {
    fn kv(&self, request: &KvRequest) -> Result<KvAnswer, Interrupt> {
        let namespaces = self.env.get("kv");
        for namespace in &request.namespaces {
            let Some(found) = namespaces.and_then(|kv| kv.get(namespace)?.get(&request.key)) else { continue };
            let expired = found.get("$expired").is_some();
            return Ok(if expired { KvAnswer::Expired } else { KvAnswer::Found(value(found)) });
        }
        let related = request.namespaces.iter().any(|namespace| {
            let parent = format!("{}.", namespace);
            request.flow_namespace == *namespace || request.flow_namespace.starts_with(&parent)
        });
        let known = request.namespaces.iter().any(|namespace| namespaces.is_some_and(|kv| kv.get(namespace).is_some()));
        Ok(if request.explicit && !related && !known { KvAnswer::NoSuchNamespace } else { KvAnswer::Absent })
    }

    fn secret(&self, request: &SecretRequest) -> Result<Option<String>, Interrupt> {
        let secrets = self.env.get("secrets");
        Ok(secrets.and_then(|secrets| secrets.get(request.key.to_uppercase())).and_then(scalar_text))
    }

    fn read(&self, file: &FileRef) -> Result<FileAnswer<String>, Interrupt> {
        Ok(match self.find(file) {
            FileAnswer::Found((content, _)) => FileAnswer::Found(content),
            FileAnswer::Absent => FileAnswer::Absent,
            FileAnswer::NoSuchVersion => FileAnswer::NoSuchVersion,
        })
    }

    fn file_info(&self, file: &FileRef, _function: &str) -> Result<FileAnswer<FileInfo>, Interrupt> {
        Ok(match self.find(file) {
            FileAnswer::Found((content, version)) => {
                let uri = match file {
                    FileRef::Storage { uri, .. } | FileRef::Local { uri } => uri.clone(),
                    FileRef::Namespace { namespace, path, .. } => {
                        let suffix = if version > 1 { format!(".v{version}") } else { String::new() };
                        format!("kestra:///{}/_files/{path}{suffix}", namespace.replace('.', "/"))
                    }
                };
                FileAnswer::Found(FileInfo { size: content.len() as u64, uri })
            }
            FileAnswer::Absent => FileAnswer::Absent,
            FileAnswer::NoSuchVersion => FileAnswer::NoSuchVersion,
        })
    }

    fn http(&self, call: &HttpCall) -> Result<HttpAnswer, Interrupt> {
        let path = call.uri.trim_start_matches("__HTTP__");
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let answer = |status: u16, content_type: &str, body: String| {
            Ok(HttpAnswer { status, reason: "reason".to_owned(), content_type: content_type.to_owned(), body })
        };
        let routes = self.env.get("http");
        let Some(route) = routes.and_then(|routes| routes.get(format!("{} {path}", call.method))) else {
            return answer(404, "", String::new());
        };
        if route.get("echo").and_then(Yaml::as_bool) == Some(true) {
            let headers: HashMap<_, _> =
                call.headers.iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
            let echo = json!({"method": call.method, "query": query, "body": call.body, "headers": headers});
            return answer(200, "application/json", echo.to_string());
        }
        let status = route.get("status").and_then(Yaml::as_u64).unwrap_or(200);
        let content_type = route.get("type").and_then(Yaml::as_str).unwrap_or("application/json");
        let body = route.get("body").and_then(scalar_text).unwrap_or_default();
        answer(u16::try_from(status).expect("a status"), content_type, body)
    }

    fn error_logs(&self) -> Result<Vec<Value>, Interrupt> {
        if self.env.get("worker").and_then(Yaml::as_bool) == Some(false) {
            return Err(Interrupt::failed(
                "The 'errorLogs' function can only be used in the Worker as it needs to access the logs",
            ));
        }
        let entries = self.env.get("errorLogs").and_then(Yaml::as_sequence);
        let errors =
            entries.into_iter().flatten().filter(|entry| entry.get("level").and_then(Yaml::as_str) == Some("ERROR"));
        Ok(errors.map(value).collect())
    }

    fn now(&self) -> Result<DateTime<Utc>, Interrupt> {
        Ok(DateTime::from_timestamp(1_717_243_200, 123_456_789).expect("a time"))
    }

    fn random(&self) -> Result<u64, Interrupt> {
        Ok(self.random.next())
    }

    fn random_port(&self) -> Result<u16, Interrupt> {
        Ok(40_000)
    }

    fn timezone(&self) -> Zone {
        let name = self.env.get("timezone").and_then(Yaml::as_str).unwrap_or("UTC");
        Zone::from_str(name).expect("a zone")
    }
}
