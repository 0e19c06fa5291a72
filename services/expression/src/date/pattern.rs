//! Java's `DateTimeFormatter` patterns and the named formats (expression reference, section 13.2).

use super::Problem;

/// Longer patterns are refused.
const MAX_LENGTH: usize = 500;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Literal(String),
    /// A pattern letter and how often it stands there.
    Field(char, usize),
    OptionalStart,
    OptionalEnd,
    /// A point and up to nine digits; written only if the fraction is not zero.
    Fraction,
    /// A point and the fraction in groups of three digits; written only if it is not zero.
    GroupedFraction,
    /// Seconds of the ISO forms.
    IsoSeconds,
    /// `Z` or `+01:00`.
    Offset,
    /// The region in brackets, if the zone has one.
    Region,
    /// Year, week and day of the week calendar of ISO.
    IsoWeekDate,
    /// Day, month and year of RFC 1123, in English whatever the locale.
    Rfc1123,
}

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pattern {
    pub(super) items: Vec<Item>,
    /// The date is shown in UTC, whatever zone it is in.
    pub(super) utc: bool,
    pub(super) style: Option<Style>,
}

/// A localised style.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Full,
    Long,
    Medium,
    Short,
}

impl Pattern {
    /// The pattern of a named format, or the text as a pattern.
    pub(crate) fn new(text: &str) -> Result<Self, Problem> {
        if text.len() > MAX_LENGTH {
            return Err("The date pattern is too long".to_owned());
        }
        if let Some(style) = style(text) {
            return Ok(Self { items: Vec::new(), utc: false, style: Some(style) });
        }
        let items = match named(text) {
            Some(Named::Items(items)) => items,
            Some(Named::Pattern(pattern)) => items(pattern)?,
            None => items(text)?,
        };
        Ok(Self { items, utc: text == "iso_instant", style: None })
    }

    /// The pattern of a style in English.
    pub(super) fn styled(pattern: &str) -> Result<Self, Problem> {
        Ok(Self { items: items(pattern)?, utc: false, style: None })
    }
}

fn style(text: &str) -> Option<Style> {
    Some(match text {
        "full" => Style::Full,
        "long" => Style::Long,
        "medium" => Style::Medium,
        "short" => Style::Short,
        _ => return None,
    })
}

enum Named {
    Pattern(&'static str),
    Items(Vec<Item>),
}

fn named(name: &str) -> Option<Named> {
    let date = || vec![Item::Field('u', 4), literal("-"), Item::Field('M', 2), literal("-"), Item::Field('d', 2)];
    let time = || vec![Item::Field('H', 2), literal(":"), Item::Field('m', 2), Item::IsoSeconds, Item::Fraction];
    let join = |parts: Vec<Vec<Item>>| Named::Items(parts.concat());
    let offset = || vec![Item::Offset];
    Some(match name {
        "iso" => Named::Pattern("yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"),
        "iso_milli" => Named::Pattern("yyyy-MM-dd'T'HH:mm:ss.SSSXXX"),
        "iso_sec" => Named::Pattern("yyyy-MM-dd'T'HH:mm:ssXXX"),
        "sql" => Named::Pattern("yyyy-MM-dd HH:mm:ss.SSSSSS"),
        "sql_milli" => Named::Pattern("yyyy-MM-dd HH:mm:ss.SSS"),
        "sql_sec" | "sql_seq" => Named::Pattern("yyyy-MM-dd HH:mm:ss"),
        "iso_date_time" | "iso_zoned_date_time" => {
            join(vec![date(), vec![literal("T")], time(), offset(), vec![Item::Region]])
        }
        "iso_offset_date_time" => join(vec![date(), vec![literal("T")], time(), offset()]),
        "iso_local_date_time" => join(vec![date(), vec![literal("T")], time()]),
        "iso_date" | "iso_offset_date" => join(vec![date(), offset()]),
        "iso_local_date" => join(vec![date()]),
        "iso_time" | "iso_offset_time" => join(vec![time(), offset()]),
        "iso_local_time" => join(vec![time()]),
        "iso_instant" => {
            let clock =
                vec![Item::Field('H', 2), literal(":"), Item::Field('m', 2), Item::IsoSeconds, Item::GroupedFraction];
            join(vec![date(), vec![literal("T")], clock, offset()])
        }
        "iso_ordinal_date" => join(vec![vec![Item::Field('u', 4), literal("-"), Item::Field('D', 3)], offset()]),
        "iso_week_date" => join(vec![vec![Item::IsoWeekDate], offset()]),
        "rfc_1123_date_time" => Named::Items(vec![Item::Rfc1123]),
        _ => return None,
    })
}

fn literal(text: &str) -> Item {
    Item::Literal(text.to_owned())
}

/// The items of a pattern.
fn items(pattern: &str) -> Result<Vec<Item>, Problem> {
    let mut items = Vec::new();
    let mut chars = pattern.chars().peekable();
    let mut open = 0u32;
    while let Some(c) = chars.next() {
        match c {
            '\'' => items.push(Item::Literal(quoted(&mut chars, pattern)?)),
            '[' => {
                open += 1;
                items.push(Item::OptionalStart);
            }
            ']' => {
                open = open
                    .checked_sub(1)
                    .ok_or_else(|| "Pattern invalid as it contains ] without previous [".to_owned())?;
                items.push(Item::OptionalEnd);
            }
            '{' | '}' | '#' => return Err(format!("Pattern includes reserved character: '{c}'")),
            c if c.is_ascii_alphabetic() => {
                let mut count = 1;
                while chars.next_if_eq(&c).is_some() {
                    count += 1;
                }
                check(c, count)?;
                items.push(Item::Field(c, count));
            }
            c => items.push(Item::Literal(c.to_string())),
        }
    }
    items.extend(std::iter::repeat_n(Item::OptionalEnd, open as usize));
    Ok(items)
}

/// Quoted text; two quotes stand for one.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, pattern: &str) -> Result<String, Problem> {
    let mut text = String::new();
    loop {
        match chars.next() {
            Some('\'') if chars.next_if_eq(&'\'').is_some() => text.push('\''),
            Some('\'') => return Ok(if text.is_empty() { "'".to_owned() } else { text }),
            Some(c) => text.push(c),
            None => return Err(format!("Pattern ends with an incomplete string literal: {pattern}")),
        }
    }
}

fn check(letter: char, count: usize) -> Result<(), Problem> {
    let most = match letter {
        'u' | 'y' | 'Y' | 'A' | 'n' | 'N' => 19,
        'G' | 'M' | 'L' | 'E' | 'e' | 'c' | 'Q' | 'q' | 'x' | 'X' | 'Z' => 5,
        'D' => 3,
        'd' | 'h' | 'H' | 'k' | 'K' | 'm' | 's' | 'w' => 2,
        'W' | 'a' => 1,
        'S' => 9,
        'V' => {
            return if count == 2 { Ok(()) } else { Err(format!("Pattern letter count must be 2: {letter}")) };
        }
        'z' => 4,
        'B' => 5,
        'O' => {
            return if matches!(count, 1 | 4) {
                Ok(())
            } else {
                Err(format!("Pattern letter count must be 1 or 4: {letter}"))
            };
        }
        _ => return Err(format!("Unknown pattern letter: {letter}")),
    };
    if count > most || (letter == 'c' && count == 2) {
        return Err(format!("Too many pattern letters: {letter}"));
    }
    Ok(())
}
