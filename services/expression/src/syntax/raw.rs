//! Raw sections: `{% raw %}…{% endraw %}` on one line (expression reference, section 1.2).

/// Marks the place of a raw section while the rest is parsed; from a plane that no text uses.
const MARK: char = '\u{10FFF0}';
const MARK_END: char = '\u{10FFF1}';

/// A text with its raw sections taken out.
#[derive(Debug, Default)]
pub(crate) struct RawSections {
    /// The complete sections with their tags, in order.
    sections: Vec<String>,
}

impl RawSections {
    /// Takes the sections out of a text; `None` if there are none.
    pub(crate) fn take(source: &str) -> Option<(String, Self)> {
        let matches = find(source);
        if matches.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(source.len());
        let mut sections = Vec::with_capacity(matches.len());
        let mut end = 0;
        for found in matches {
            text.push_str(&source[end..found.start]);
            text.push_str(&mark(sections.len()));
            sections.push(source[found.start..found.end].to_owned());
            end = found.end;
        }
        text.push_str(&source[end..]);
        Some((text, Self { sections }))
    }

    /// Puts the sections back, with their tags.
    pub(crate) fn restore(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(place) = rest.find(MARK) {
            out.push_str(&rest[..place]);
            let after = &rest[place + MARK.len_utf8()..];
            let section = after
                .find(MARK_END)
                .and_then(|end| Some((end, self.sections.get(after[..end].parse::<usize>().ok()?)?)));
            match section {
                Some((end, section)) => {
                    out.push_str(section);
                    rest = &after[end + MARK_END.len_utf8()..];
                }
                None => {
                    out.push(MARK);
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }
}

fn mark(index: usize) -> String {
    format!("{MARK}{index}{MARK_END}")
}

/// Removes raw tags and keeps what they enclose.
pub(crate) fn strip(text: String) -> String {
    if !text.contains("{%") || !text.contains("raw") {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for found in find(&text) {
        out.push_str(&text[end..found.start]);
        out.push_str(&text[found.content_start..found.content_end]);
        end = found.end;
    }
    out.push_str(&text[end..]);
    out
}

struct Section {
    start: usize,
    content_start: usize,
    content_end: usize,
    end: usize,
}

/// All sections from left to right, in linear time: ends and line breaks are found by pointers that only move forward.
fn find(text: &str) -> Vec<Section> {
    let mut found = Vec::new();
    if !text.contains("endraw") {
        return found;
    }
    let closes: Vec<(usize, usize)> =
        text.match_indices("{%").filter_map(|(place, _)| Some((place, tag(text, place, "endraw")?))).collect();
    let breaks: Vec<usize> =
        text.match_indices(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).map(|(place, _)| place).collect();
    let (mut close, mut line_break, mut position) = (0, 0, 0);
    for (start, _) in text.match_indices("{%") {
        if start < position {
            continue;
        }
        let Some(content_start) = tag(text, start, "raw") else { continue };
        while close < closes.len() && closes[close].0 < content_start {
            close += 1;
        }
        while line_break < breaks.len() && breaks[line_break] < content_start {
            line_break += 1;
        }
        let Some((content_end, end)) = closes.get(close).copied() else { break };
        if breaks.get(line_break).is_some_and(|place| *place < content_end) {
            continue;
        }
        found.push(Section { start, content_start, content_end, end });
        position = end;
    }
    found
}

/// Where a raw tag that starts here ends: dashes, blanks, the word, blanks, dashes, the delimiter.
fn tag(text: &str, start: usize, word: &str) -> Option<usize> {
    // tags are short; a bound on what is looked at keeps the search linear
    let rest = text.as_bytes().get(start + 2..)?;
    let limit = rest.len().min(64);
    let rest = &rest[..limit];
    let skip =
        |from: usize, wanted: fn(u8) -> bool| from + rest[from..].iter().take_while(|byte| wanted(**byte)).count();
    let place = skip(skip(0, is_dash), is_blank);
    if !rest[place..].starts_with(word.as_bytes()) {
        return None;
    }
    let place = skip(skip(place + word.len(), is_blank), is_dash);
    rest[place..].starts_with(b"%}").then_some(start + 2 + place + 2)
}

fn is_dash(byte: u8) -> bool {
    byte == b'-'
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C)
}
