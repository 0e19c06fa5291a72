//! Texts as sequences of UTF-16 units, which is what lengths and positions count.

/// The number of UTF-16 units.
pub(crate) fn utf16_len(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

/// The units from one position up to another. A position inside a pair of surrogates leaves a replacement character.
pub(crate) fn utf16_slice(text: &str, from: usize, to: usize) -> String {
    if text.is_ascii() {
        return text.get(from..to).unwrap_or_default().to_owned();
    }
    let units: Vec<u16> = text.encode_utf16().collect();
    String::from_utf16_lossy(units.get(from..to).unwrap_or_default())
}

/// The unit at a position as a character.
pub(crate) fn utf16_at(text: &str, position: usize) -> Option<char> {
    let unit = text.encode_utf16().nth(position)?;
    Some(char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}'))
}
