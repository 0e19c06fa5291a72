//! File names in `Content-Disposition` (RFC 6266).

/// The name that a server gives to what it sends, as one segment of a path: without folders, url-encoded. `filename*`
/// wins over `filename`. `None`: none that can be used.
pub(super) fn file_name(value: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(value);
    let parameters = parameters(&text);
    let named = |wanted: &str| {
        parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.clone())
    };
    let extended = named("filename*").and_then(|value| decoded(&value));
    let name = extended.or_else(|| named("filename"))?;
    // Servers must not choose folders.
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    if matches!(last, "" | "." | "..") {
        return None;
    }
    Some(form_encoded(last))
}

/// What follows the semicolons; inside of quotes a semicolon is part of the value.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(';') {
        rest = &rest[at + 1..];
        let Some(equals) = rest.find(['=', ';']) else { break };
        if rest[equals..].starts_with(';') {
            rest = &rest[equals..];
            continue;
        }
        let name = rest[..equals].trim().to_owned();
        let after = rest[equals + 1..].trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        found.push((name, value));
        rest = left;
    }
    found
}

/// The text up to the closing quote, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => match characters.next() {
                // Of a Windows path rather than an escape: only these two are escaped.
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => {}
            },
            other => value.push(other),
        }
    }
    (value, "")
}

/// `charset'language'percent-encoded` (RFC 8187).
fn decoded(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _, text) = (parts.next()?, parts.next()?, parts.next()?);
    let charset = encoding_rs::Encoding::for_label(charset.trim().as_bytes())?;
    let bytes: Vec<u8> = percent_decoded(text)?;
    let (decoded, broken) = charset.decode_without_bom_handling(&bytes);
    (!broken).then(|| decoded.into_owned())
}

fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let digits = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            decoded.push(*byte);
            at += 1;
        }
    }
    Some(decoded)
}

/// As HTML forms encode: letters, digits and `.-*_` stay, a blank becomes `+`.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => encoded.push(char::from(byte)),
            b' ' => encoded.push('+'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_every_form_and_lead_nowhere_else() {
        for (header, name) in [
            ("attachment; filename=orders.csv", Some("orders.csv")),
            ("attachment; filename=\"my orders;2.csv\"; size=3", Some("my+orders%3B2.csv")),
            ("attachment; FileName = \"a\\\"b.csv\"", Some("a%22b.csv")),
            ("attachment; filename=\"plain.csv\"; filename*=UTF-8''na%C3%AFve%20file.csv", Some("na%C3%AFve+file.csv")),
            ("attachment; filename*=iso-8859-1'en'%A3.txt", Some("%C2%A3.txt")),
            ("attachment; filename*=nonsense; filename=good.txt", Some("good.txt")),
            ("inline; filename=\"../../etc/passwd\"", Some("passwd")),
            ("inline; filename=\"C:\\temp\\report.pdf\"", Some("report.pdf")),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=\"\"", None),
            ("attachment; filename", None),
            ("attachment", None),
            ("attachment; filename=\"open", Some("open")),
        ] {
            assert_eq!(file_name(header.as_bytes()).as_deref(), name, "{header}");
        }
    }
}
