//! `formData`: url-encoded, or parts.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use windhover_flow::text_of;
use windhover_outbound::Url;
use windhover_types::JsonMap;

/// A form as it is sent.
pub(super) struct Form {
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

/// Texts that name files of internal storage or of namespaces, which a form of parts sends by content.
pub(super) fn stored_files(data: &JsonMap) -> Vec<&str> {
    data.values().filter_map(content_of).filter(|text| is_stored(text)).collect()
}

fn content_of(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Object(map) if map.contains_key("name") => map.get("content")?.as_str(),
        _ => None,
    }
}

fn is_stored(text: &str) -> bool {
    text.starts_with("kestra://") || is_of_namespace(text)
}

/// `nsfile:///path` or `nsfile://namespace/path`.
pub(super) fn is_of_namespace(text: &str) -> bool {
    text.starts_with("nsfile://")
}

/// `files`: the contents of those that the form names.
pub(super) fn encode(data: &JsonMap, multipart: bool, files: &BTreeMap<String, Bytes>) -> Result<Form, String> {
    if !multipart {
        return Ok(Form {
            content_type: "application/x-www-form-urlencoded".to_owned(),
            body: url_encoded(data).into_bytes(),
        });
    }
    let parts = data.iter().map(|(name, value)| part(name, value, files)).collect::<Result<Vec<_>, _>>()?;
    let boundary = boundary(&parts);
    let mut body = Vec::new();
    for Part { name, file, content } in &parts {
        let name = quoted(name);
        let disposition = match file {
            Some(file) => format!(
                "Content-Disposition: form-data; name=\"{name}\"; filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n",
                quoted(file)
            ),
            None => format!("Content-Disposition: form-data; name=\"{name}\"\r\n"),
        };
        body.extend_from_slice(format!("--{boundary}\r\n{disposition}\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(Form { content_type: format!("multipart/form-data; boundary={boundary}"), body })
}

struct Part<'a> {
    name: &'a str,
    /// The name of a file.
    file: Option<String>,
    content: Bytes,
}

fn part<'a>(name: &'a str, value: &Value, files: &BTreeMap<String, Bytes>) -> Result<Part<'a>, String> {
    let stored =
        |uri: &str| files.get(uri).cloned().ok_or_else(|| format!("formData.{name}: stored files cannot be sent here"));
    let text = |value: &Value| Bytes::from(text_of(value));
    let content = |value: &Value| match value.as_str().filter(|text| is_stored(text)) {
        Some(uri) => stored(uri),
        None => Ok(text(value)),
    };
    let (file, content) = match value {
        Value::String(uri) if is_stored(uri) => (Some(name.to_owned()), stored(uri)?),
        Value::Object(map) => match (map.get("name"), map.get("content")) {
            (Some(file), Some(value)) => (Some(text_of(file)), content(value)?),
            _ => (None, Bytes::from(value.to_string())),
        },
        other => (None, text(other)),
    };
    Ok(Part { name, file, content })
}

/// A boundary that does not occur in the parts: found by trying, so that no randomness is needed.
fn boundary(parts: &[Part<'_>]) -> String {
    let mut boundary = "windhover-form".to_owned();
    let occurs = |boundary: &str| {
        let bytes = boundary.as_bytes();
        parts.iter().any(|part| {
            part.name.contains(boundary)
                || part.file.as_deref().is_some_and(|file| file.contains(boundary))
                || part.content.windows(bytes.len()).any(|window| window == bytes)
        })
    };
    while occurs(&boundary) {
        boundary.push_str("-x");
    }
    boundary
}

fn url_encoded(data: &JsonMap) -> String {
    let mut url = match Url::parse("http://form/") {
        Ok(url) => url,
        // A constant that parses.
        Err(_) => return String::new(),
    };
    append_query(&mut url, data);
    url.query().unwrap_or_default().to_owned()
}

/// Adds to the query; a list repeats its name, null is left out.
pub(super) fn append_query(url: &mut Url, data: &JsonMap) {
    if data.is_empty() {
        return;
    }
    let mut query = url.query_pairs_mut();
    for (name, value) in data {
        match value {
            Value::Null => {}
            Value::Array(items) => {
                for item in items {
                    query.append_pair(name, &text_of(item));
                }
            }
            other => {
                query.append_pair(name, &text_of(other));
            }
        }
    }
}

/// Inside of a quoted parameter (HTML living standard, multipart/form-data).
fn quoted(text: &str) -> String {
    text.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> JsonMap {
        match value {
            Value::Object(map) => map,
            _ => JsonMap::new(),
        }
    }

    #[test]
    fn a_form_is_url_encoded_with_lists_repeated() {
        let form = encode(&map(json!({"a b": "ä&=", "n": 1, "l": ["x", 2], "none": null})), false, &BTreeMap::new())
            .expect("a form");
        assert_eq!(String::from_utf8_lossy(&form.body), "a+b=%C3%A4%26%3D&n=1&l=x&l=2");
    }

    #[test]
    fn parts_have_names_and_files_their_own() {
        let data = json!({"text": "one -windhover-form", "map": {"a": 1},
            "file": {"name": "a\"b.txt", "content": "two"}, "stored": "kestra:///a/b"});
        let files = BTreeMap::from([("kestra:///a/b".to_owned(), Bytes::from_static(b"\xff\x00"))]);
        let form = encode(&map(data.clone()), true, &files).expect("a form");
        assert_eq!(form.content_type, "multipart/form-data; boundary=windhover-form-x");
        let expected = "--B\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\none -windhover-form\r\n\
            --B\r\nContent-Disposition: form-data; name=\"map\"\r\n\r\n{\"a\":1}\r\n\
            --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b.txt\"\r\nContent-Type: application/octet-stream\r\n\r\ntwo\r\n\
            --B\r\nContent-Disposition: form-data; name=\"stored\"; filename=\"stored\"\r\nContent-Type: application/octet-stream\r\n\r\nFILE\r\n--B--\r\n";
        let expected = expected.replace("--B", "--windhover-form-x").replace("FILE", "\u{1}");
        let body: Vec<u8> = form.body.iter().copied().filter(|byte| *byte != 0).collect();
        let body: Vec<u8> = body.into_iter().map(|byte| if byte == 0xff { 1 } else { byte }).collect();
        assert_eq!(String::from_utf8_lossy(&body), expected);
        let map = map(data);
        assert_eq!(stored_files(&map), ["kestra:///a/b"]);
        let refused = encode(&map, true, &BTreeMap::new());
        assert!(refused.is_err_and(|error| error.starts_with("formData.stored: ")));
    }
}
