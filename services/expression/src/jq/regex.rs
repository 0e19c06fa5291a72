//! `match`, `test` and what is built on them.

use std::sync::Arc;

use super::eval::{Stop, error};
use super::strings;
use super::value::{Fields, Json};
use crate::eval::Session;
use crate::filters::pattern::{self, Match};

/// A list of match objects, or whether there is a match.
pub(super) fn matches(
    session: &Session<'_>,
    input: &Json,
    regex: &Json,
    flags: &Json,
    test: bool,
) -> Result<Json, Stop> {
    let Json::Text(text) = input else {
        return error(format!("{} cannot be matched, as it is not a string", strings::describe(input)));
    };
    let Json::Text(regex) = regex else {
        return error(format!("{} cannot be matched, as it is not a string", strings::describe(regex)));
    };
    let flags = match flags {
        Json::Null => "",
        Json::Text(flags) => flags,
        other => return error(format!("{} is not a string", strings::describe(other))),
    };
    let (mut all, mut skip_empty, mut inline) = (false, false, String::new());
    for flag in flags.chars() {
        match flag {
            'g' => all = true,
            'n' => skip_empty = true,
            'i' => inline.push('i'),
            'x' => inline.push('x'),
            's' => inline.push('s'),
            'p' => inline.push_str("sm"),
            'l' => {}
            other => return error(format!("{flags} is not a valid modifier string: {other}")),
        }
    }
    let pattern = if inline.is_empty() { regex.to_string() } else { format!("(?{inline}:{regex})") };
    let (found, names) = pattern::search(session, text, &pattern, all)?;
    let found: Vec<&Match> = found.iter().filter(|found| !skip_empty || found.whole().0 != found.whole().1).collect();
    if test {
        return Ok(Json::Bool(!found.is_empty()));
    }
    let positions = Positions::new(text);
    let objects = found.into_iter().map(|found| described(session, text, found, &names, &positions));
    Json::list(objects.collect::<Result<_, _>>()?)
}

/// Positions in characters, which is what match objects tell.
struct Positions<'t> {
    text: &'t str,
    /// How many characters stand before each 256th byte.
    before: Vec<usize>,
}

impl<'t> Positions<'t> {
    fn new(text: &'t str) -> Self {
        let mut count = 0;
        let before = text.as_bytes().chunks(256).map(|chunk| {
            let here = count;
            count += chunk.iter().filter(|byte| (**byte as i8) >= -0x40).count();
            here
        });
        Self { text, before: before.collect() }
    }

    fn of(&self, byte: usize) -> i64 {
        let chunk = byte / 256;
        let start = chunk * 256;
        let rest = self.text.as_bytes().get(start..byte).unwrap_or_default();
        let known = self.before.get(chunk).copied().unwrap_or_else(|| self.text.chars().count());
        (known + rest.iter().filter(|byte| (**byte as i8) >= -0x40).count()) as i64
    }
}

fn described(
    session: &Session<'_>,
    text: &str,
    found: &Match,
    names: &[Option<String>],
    positions: &Positions<'_>,
) -> Result<Json, Stop> {
    session.meter.elements(8 * found.groups.len())?;
    let mut fields = group(text, Some(found.whole()), positions);
    let mut captures = Vec::new();
    for (index, range) in found.groups.iter().enumerate().skip(1) {
        let mut capture = group(text, *range, positions);
        let name = names.get(index).and_then(Option::as_ref);
        capture.insert(Arc::from("name"), name.map_or(Json::Null, Json::text));
        captures.push(Json::object(capture)?);
    }
    fields.insert(Arc::from("captures"), Json::list(captures)?);
    Json::object(fields)
}

fn group(text: &str, range: Option<(usize, usize)>, positions: &Positions<'_>) -> Fields {
    let (offset, length, string) = match range {
        Some((start, end)) => {
            let offset = positions.of(start);
            (offset, positions.of(end) - offset, Json::text(&text[start..end]))
        }
        None => (-1, 0, Json::Null),
    };
    Fields::from_iter([
        (Arc::from("offset"), Json::whole(offset)),
        (Arc::from("length"), Json::whole(length)),
        (Arc::from("string"), string),
    ])
}
