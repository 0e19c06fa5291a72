//! `formData`: url-encoded, or parts.

use serde_json::Value;
use windhover_flow::text_of;
use windhover_outbound::Url;
use windhover_types::JsonMap;

/// A form as it is sent.
pub(super) struct Form {
    pub(super) content_type: String,
    pub(super) body: Vec<u8>,
}

/// `boundary` must not occur in the parts; the caller draws it.
pub(super) fn encode(data: &JsonMap, multipart: bool, boundary: &str) -> Result<Form, String> {
    if !multipart {
        return Ok(Form {
            content_type: "application/x-www-form-urlencoded".to_owned(),
            body: url_encoded(data).into_bytes(),
        });
    }
    let mut body = Vec::new();
    for (name, value) in data {
        let (file_name, content) = part(name, value)?;
        let name = quoted(name);
        let disposition = match file_name {
            Some(file) => format!(
                "Content-Disposition: form-data; name=\"{name}\"; filename=\"{}\"\r\nContent-Type: application/octet-stream\r\n",
                quoted(&file)
            ),
            None => format!("Content-Disposition: form-data; name=\"{name}\"\r\n"),
        };
        body.extend_from_slice(format!("--{boundary}\r\n{disposition}\r\n").as_bytes());
        body.extend_from_slice(content.as_bytes());
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok(Form { content_type: format!("multipart/form-data; boundary={boundary}"), body })
}

fn part(name: &str, value: &Value) -> Result<(Option<String>, String), String> {
    let stored = |text: &str| text.starts_with("kestra://") || text.starts_with("nsfile://");
    let refused = || format!("formData.{name}: files of the internal storage cannot be sent by this server");
    match value {
        Value::String(text) if stored(text) => Err(refused()),
        Value::Object(map) => match (map.get("name"), map.get("content")) {
            (Some(_), Some(Value::String(content))) if stored(content) => Err(refused()),
            (Some(file), Some(content)) => Ok((Some(text_of(file)), text_of(content))),
            _ => Ok((None, value.to_string())),
        },
        other => Ok((None, text_of(other))),
    }
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
        let form =
            encode(&map(json!({"a b": "ä&=", "n": 1, "l": ["x", 2], "none": null})), false, "B").expect("a form");
        assert_eq!(String::from_utf8_lossy(&form.body), "a+b=%C3%A4%26%3D&n=1&l=x&l=2");
    }

    #[test]
    fn parts_have_names_and_files_their_own() {
        let data = json!({"text": "one", "map": {"a": 1}, "file": {"name": "a\"b.txt", "content": "two"}});
        let form = encode(&map(data), true, "B").expect("a form");
        let expected = "--B\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\none\r\n\
            --B\r\nContent-Disposition: form-data; name=\"map\"\r\n\r\n{\"a\":1}\r\n\
            --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a%22b.txt\"\r\nContent-Type: application/octet-stream\r\n\r\ntwo\r\n--B--\r\n";
        assert_eq!(String::from_utf8_lossy(&form.body), expected);
        let refused = encode(&map(json!({"f": {"name": "x", "content": "kestra:///x"}})), true, "B");
        assert!(refused.is_err_and(|error| error.starts_with("formData.f: ")));
    }
}
