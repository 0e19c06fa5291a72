//! What a webhook's trigger gets to see of a call (flow model 1.x reference 6.3).

use axum::body::{Body, to_bytes};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use windhover_types::JsonMap;

use super::HttpError;

/// `body`, `headers`, `parameters` of the trigger's variables.
///
/// # Errors
/// 413 above `limit` bytes; 415 for compressed bodies and forms with files; 422 for what is no UTF-8 text.
pub(crate) async fn trigger_variables(
    headers: &HeaderMap,
    query: Option<&str>,
    body: Body,
    limit: usize,
) -> Result<JsonMap, HttpError> {
    let text = text_of(headers, body, limit).await?;
    let mut variables = JsonMap::new();
    if !text.is_empty() {
        variables.insert("body".into(), parsed(text));
    }
    variables.insert("headers".into(), Value::Object(header_lists(headers)));
    variables.insert("parameters".into(), Value::Object(parameter_lists(query.unwrap_or_default())));
    Ok(variables)
}

async fn text_of(headers: &HeaderMap, body: Body, limit: usize) -> Result<String, HttpError> {
    let refuse = |message: &str| Err(HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    let named = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let encoding = named(header::CONTENT_ENCODING);
    if !encoding.is_empty() && encoding != "identity" {
        return refuse("body: compressed bodies (`content-encoding`) are not supported; send the body as it is");
    }
    if named(header::CONTENT_TYPE).starts_with("multipart/") {
        return refuse("body: multipart bodies are not supported; send JSON or text");
    }
    let too_large = || {
        let message = format!("body: larger than the limit of {limit} bytes");
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let bytes = to_bytes(body, limit).await.map_err(|error| {
        let error = error.into_inner();
        if error.downcast_ref::<http_body_util::LengthLimitError>().is_some() {
            return too_large();
        }
        HttpError::new(StatusCode::BAD_REQUEST, "body: the connection ended before the body did")
    })?;
    String::from_utf8(bytes.into()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        HttpError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("body: byte {at} is not UTF-8 text; webhooks take JSON or text"),
        )
    })
}

/// A JSON object or array, or else the text as it is.
fn parsed(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => value,
        _ => Value::String(text),
    }
}

fn header_lists(headers: &HeaderMap) -> JsonMap {
    let pairs =
        headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    lists(pairs)
}

fn parameter_lists(query: &str) -> JsonMap {
    lists(form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name, value.into_owned())))
}

/// Name to list of values, in order of appearance.
fn lists<N: AsRef<str>>(pairs: impl Iterator<Item = (N, String)>) -> JsonMap {
    let mut map = JsonMap::new();
    for (name, value) in pairs {
        let list = map.entry(name.as_ref()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(Value::String(value));
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn variables(
        headers: &[(&'static str, &str)],
        query: &str,
        body: impl Into<Body>,
    ) -> Result<Value, (u16, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let made = trigger_variables(&map, Some(query), body.into(), 100).await;
        made.map(Value::Object).map_err(|error| (error.status.as_u16(), error.message))
    }

    #[tokio::test]
    async fn objects_and_arrays_are_parsed_and_everything_else_stays_a_text() {
        for (body, expected) in [
            (r#"{"b":1,"a":[true]}"#, json!({"b": 1, "a": [true]})),
            (" [1, 2] ", json!([1, 2])),
            ("12", json!("12")),
            ("\"text\"", json!("\"text\"")),
            ("bla", json!("bla")),
            (r#"{\"a\":\"\"}"#, json!(r#"{\"a\":\"\"}"#)),
        ] {
            assert_eq!(variables(&[], "", body).await.unwrap()["body"], expected, "{body}");
        }
        let nested = "[".repeat(50) + &"]".repeat(50);
        assert!(variables(&[], "", nested).await.unwrap()["body"].is_array());
    }

    #[tokio::test]
    async fn headers_and_parameters_are_lists_and_a_missing_body_is_absent() {
        let got =
            variables(&[("x-a", "1"), ("x-a", "2")], "name=john&age=12&age=13&empty&sp=a+b%20c", "").await.unwrap();
        assert_eq!(
            got,
            json!({
                "headers": {"x-a": ["1", "2"]},
                "parameters": {"name": ["john"], "age": ["12", "13"], "empty": [""], "sp": ["a b c"]},
            })
        );
    }

    #[tokio::test]
    async fn bodies_of_a_wrong_kind_are_refused_with_a_reason() {
        for (headers, body, status, text) in [
            (vec![], vec![b'a', 0xff], 422, "byte 1 is not UTF-8"),
            (vec![], vec![b'a'; 101], 413, "limit of 100 bytes"),
            (vec![("content-length", "101")], vec![], 413, "limit of 100 bytes"),
            (vec![("content-encoding", "gzip")], vec![b'a'], 415, "compressed"),
            (vec![("content-type", "multipart/form-data; boundary=x")], vec![b'a'], 415, "multipart"),
        ] {
            let (code, message) = variables(&headers, "", body).await.unwrap_err();
            assert!(code == status && message.contains(text), "{code} {message}");
        }
    }
}
