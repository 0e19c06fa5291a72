//! Texts and bytes.

use encoding_rs::{Encoding, UTF_8};
use http::{HeaderMap, header};

/// The charset of this name.
pub(super) fn charset(name: &str) -> Result<&'static Encoding, String> {
    Encoding::for_label(name.trim().as_bytes()).ok_or_else(|| format!("`{name}` is no charset"))
}

/// The charset of a body: what its content type says, else `default`.
pub(super) fn of(headers: &HeaderMap, default: &'static Encoding) -> &'static Encoding {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let named = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    named.and_then(|name| Encoding::for_label(name.as_bytes())).unwrap_or(default)
}

/// The body as text; an error when it is not text in this charset.
pub(super) fn decode(body: &[u8], charset: &'static Encoding) -> Result<String, String> {
    if charset == UTF_8 {
        return std::str::from_utf8(body)
            .map(|text| text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
            .map_err(|_| "the response body is not valid UTF-8; use the Download task for what is no text".to_owned());
    }
    let (text, broken) = charset.decode_with_bom_removal(body);
    if broken { Err(format!("the response body is not valid {}", charset.name())) } else { Ok(text.into_owned()) }
}
