//! The matchers of the cases: maps match as subsets, `$…` keys stand for a rule in place of a value.

use serde_json::{Map, Value};

use crate::{
    findings::{Findings, short, shorten},
    json_path, time,
};

/// Reads files of the internal storage.
pub trait Files: Sync {
    /// Content of the file at this URI. The error says what is missing to read it.
    fn content(&self, uri: &str) -> Result<Vec<u8>, Unreadable>;
}

/// Why a file cannot be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// There is no such file: what was expected is not there.
    Absent(String),
    /// The server offers no way to look.
    NotOffered(String),
}

/// How maps are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keys {
    Subset,
    Exact,
}

/// Compares what was seen (`None`: the key is missing) with what is expected.
pub fn compare(expected: &Value, seen: Option<&Value>, at: &str, files: &dyn Files) -> Findings {
    let mut findings = Findings::default();
    Comparison { files, keys: Keys::Subset }.value(expected, seen, at, &mut findings);
    findings
}

/// Gives each expected item a seen one of its own. Returns the first expected item for which there is none.
pub fn assign(expected: usize, seen: usize, fits: impl Fn(usize, usize) -> bool) -> Result<(), usize> {
    let mut taken_by: Vec<Option<usize>> = vec![None; seen];
    for item in 0..expected {
        let mut tried = vec![false; seen];
        if !place(item, seen, &fits, &mut taken_by, &mut tried) {
            return Err(item);
        }
    }
    Ok(())
}

/// Finds a place for the item, moving others to places that suit them as well.
fn place(
    item: usize,
    seen: usize,
    fits: &impl Fn(usize, usize) -> bool,
    taken_by: &mut [Option<usize>],
    tried: &mut [bool],
) -> bool {
    for candidate in 0..seen {
        if tried[candidate] || !fits(item, candidate) {
            continue;
        }
        tried[candidate] = true;
        let free = match taken_by[candidate] {
            None => true,
            Some(other) => place(other, seen, fits, taken_by, tried),
        };
        if free {
            taken_by[candidate] = Some(item);
            return true;
        }
    }
    false
}

#[derive(Clone, Copy)]
struct Comparison<'a> {
    files: &'a dyn Files,
    keys: Keys,
}

impl Comparison<'_> {
    fn value(self, expected: &Value, seen: Option<&Value>, at: &str, findings: &mut Findings) {
        if let Value::Object(map) = expected
            && map.keys().any(|key| is_rule(key))
        {
            return self.rules(map, seen, at, findings);
        }
        let Some(seen) = seen else {
            return findings.mismatch(at, format_args!("expected {}, it is missing", short(expected)));
        };
        match (expected, seen) {
            (Value::Object(expected), Value::Object(_)) => self.map(expected, seen, at, findings),
            (Value::Array(expected), Value::Array(seen)) => self.list(expected, seen, at, findings),
            _ if equal(expected, seen) => {}
            _ => findings.mismatch(at, format_args!("expected {}, saw {}", short(expected), short(seen))),
        }
    }

    fn map(self, expected: &Map<String, Value>, seen: &Value, at: &str, findings: &mut Findings) {
        for (key, expected) in expected {
            if !is_path(key) {
                self.value(expected, seen.get(key), &format!("{at}.{key}"), findings);
                continue;
            }
            match json_path::find(seen, key) {
                Err(error) => findings.mismatch(at, error),
                Ok(found) if json_path::is_plural(key) => {
                    let found = Value::Array(found.into_iter().cloned().collect());
                    self.value(expected, Some(&found), &format!("{at} {key}"), findings);
                }
                Ok(found) => self.value(expected, found.first().copied(), &format!("{at} {key}"), findings),
            }
        }
        if self.keys == Keys::Exact {
            let more: Vec<&String> =
                seen.as_object().into_iter().flat_map(Map::keys).filter(|key| !expected.contains_key(*key)).collect();
            if !more.is_empty() {
                findings.mismatch(at, format_args!("more keys than expected: {more:?}"));
            }
        }
    }

    fn list(self, expected: &[Value], seen: &[Value], at: &str, findings: &mut Findings) {
        if expected.len() != seen.len() {
            let (want, have) = (expected.len(), seen.len());
            let seen = short(&Value::Array(seen.to_vec()));
            return findings.mismatch(at, format_args!("expected a list of {want}, saw {have}: {seen}"));
        }
        for (index, (expected, seen)) in expected.iter().zip(seen).enumerate() {
            self.value(expected, Some(seen), &format!("{at}[{index}]"), findings);
        }
    }

    /// A map of rules: all of them hold.
    fn rules(self, rules: &Map<String, Value>, seen: Option<&Value>, at: &str, findings: &mut Findings) {
        for (rule, argument) in rules {
            self.rule(rule, argument, seen, at, findings);
        }
    }

    fn rule(self, rule: &str, argument: &Value, seen: Option<&Value>, at: &str, findings: &mut Findings) {
        let present = seen.filter(|value| !value.is_null());
        let told = || seen.map_or_else(|| "nothing (the key is missing)".to_owned(), short);
        match rule {
            "$absent" | "$exists" | "$null" => {
                let holds = match rule {
                    "$absent" => present.is_none(),
                    "$exists" => present.is_some(),
                    _ => seen.is_some_and(Value::is_null),
                };
                match argument.as_bool() {
                    None => findings.mismatch(at, format_args!("{rule} takes true or false")),
                    Some(wanted) if wanted != holds => {
                        findings.mismatch(at, format_args!("expected {rule}: {wanted}, saw {}", told()));
                    }
                    Some(_) => {}
                }
            }
            "$not" => {
                let inner = self.apart(argument, seen, at);
                if inner.is_empty() {
                    findings.mismatch(at, format_args!("expected anything but {}, saw {}", short(argument), told()));
                }
                inner.missing.into_iter().for_each(|what| findings.missing(what));
            }
            "$exact" => Self { keys: Keys::Exact, ..self }.value(argument, seen, at, findings),
            "$all" => match argument.as_array() {
                Some(all) => all.iter().for_each(|one| self.value(one, seen, at, findings)),
                None => findings.mismatch(at, "$all takes a list"),
            },
            "$unordered" | "$has" => self.items(rule, argument, seen, at, findings),
            "$json" => match present.and_then(Value::as_str).map(serde_json::from_str::<Value>) {
                Some(Ok(parsed)) => self.value(argument, Some(&parsed), &format!("{at} (as JSON)"), findings),
                _ => findings.mismatch(at, format_args!("expected a text that is JSON, saw {}", told())),
            },
            "$file_content" | "$file_lines" => self.file(rule, argument, present, at, findings),
            _ => match simple(rule, argument, present) {
                Err(error) => findings.mismatch(at, error),
                Ok(true) => {}
                Ok(false) => {
                    findings.mismatch(at, format_args!("expected {rule}: {}, saw {}", short(argument), told()));
                }
            },
        }
    }

    fn apart(self, expected: &Value, seen: Option<&Value>, at: &str) -> Findings {
        let mut findings = Findings::default();
        self.value(expected, seen, at, &mut findings);
        findings
    }

    /// `$unordered`: the same items in any order; `$has`: for each an item that fits.
    fn items(self, rule: &str, argument: &Value, seen: Option<&Value>, at: &str, findings: &mut Findings) {
        let Some(expected) = argument.as_array() else {
            return findings.mismatch(at, format_args!("{rule} takes a list"));
        };
        let Some(seen) = seen.and_then(Value::as_array) else {
            let told = seen.map_or_else(|| "nothing".to_owned(), short);
            return findings.mismatch(at, format_args!("expected a list, saw {told}"));
        };
        let told = short(&Value::Array(seen.clone()));
        if rule == "$has" {
            for item in expected {
                let tries: Vec<Findings> = seen.iter().map(|seen| self.apart(item, Some(seen), at)).collect();
                if tries.iter().any(Findings::is_empty) {
                    continue;
                }
                match tries.into_iter().find(|one| one.mismatches.is_empty()) {
                    Some(unknown) => findings.append(unknown),
                    None => findings.mismatch(at, format_args!("no item is {}: {told}", short(item))),
                }
            }
            return;
        }
        if expected.len() != seen.len() {
            let (want, have) = (expected.len(), seen.len());
            return findings.mismatch(at, format_args!("expected {want} items in any order, saw {have}: {told}"));
        }
        let fits = |item: usize, place: usize| {
            let found = self.apart(&expected[item], Some(&seen[place]), at);
            found.mismatches.is_empty()
        };
        if let Err(item) = assign(expected.len(), seen.len(), fits) {
            return findings.mismatch(at, format_args!("no item of its own is {}: {told}", short(&expected[item])));
        }
        // What could not be looked at counts only once everything else fits.
        for item in expected {
            for seen in seen {
                let found = self.apart(item, Some(seen), at);
                if found.mismatches.is_empty() {
                    findings.append(found);
                }
            }
        }
    }

    fn file(self, rule: &str, argument: &Value, seen: Option<&Value>, at: &str, findings: &mut Findings) {
        let Some(uri) = seen.and_then(Value::as_str) else {
            let told = seen.map_or_else(|| "nothing".to_owned(), short);
            return findings.mismatch(at, format_args!("expected the URI of a file, saw {told}"));
        };
        let content = match self.files.content(uri) {
            Ok(content) => content,
            Err(Unreadable::Absent(why)) => return findings.mismatch(at, why),
            Err(Unreadable::NotOffered(what)) => return findings.missing(what),
        };
        let text = String::from_utf8_lossy(&content);
        if rule == "$file_lines" {
            let lines = text.lines().count();
            if !equal(argument, &Value::from(lines)) {
                findings.mismatch(at, format_args!("expected a file of {argument} lines, saw {lines}"));
            }
            return;
        }
        let place = format!("{at} (content of {})", shorten(uri, 120));
        self.value(argument, Some(&Value::from(text.into_owned())), &place, findings);
    }
}

/// Rules about a single value. An error for a rule that does not exist or cannot be read.
fn simple(rule: &str, argument: &Value, seen: Option<&Value>) -> Result<bool, String> {
    let text_of = |argument: &Value| {
        argument.as_str().map(str::to_owned).ok_or_else(|| format!("{rule} takes a text, not {}", short(argument)))
    };
    match rule {
        "$regex" => {
            let pattern = text_of(argument)?;
            let regex = fancy_regex::Regex::new(&pattern).map_err(|error| format!("{rule} {pattern}: {error}"))?;
            match seen.and_then(Value::as_str) {
                Some(text) => regex.is_match(text).map_err(|error| format!("{rule} {pattern}: {error}")),
                None => Ok(false),
            }
        }
        "$contains" => {
            let part = text_of(argument)?;
            Ok(seen.and_then(Value::as_str).is_some_and(|text| text.contains(&part)))
        }
        "$min" | "$max" => {
            let limit = amount(argument).ok_or_else(|| format!("{rule} takes a number or a duration"))?;
            // A number is compared with a number and a duration with a duration.
            let seen = seen.filter(|seen| seen.is_string() == argument.is_string()).and_then(amount);
            Ok(seen.is_some_and(|seen| if rule == "$min" { seen >= limit } else { seen <= limit }))
        }
        "$instant" => {
            let text = text_of(argument)?;
            let wanted = time::instant(&text).ok_or_else(|| format!("{rule}: `{text}` is no instant"))?;
            Ok(seen.and_then(Value::as_str).and_then(time::instant) == Some(wanted))
        }
        _ => Err(format!("there is no matcher `{rule}`")),
    }
}

/// A number, or the seconds of a duration.
fn amount(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => time::seconds(text),
        _ => None,
    }
}

/// Equality in which numbers compare by value. Integers are compared as such: no digit gets lost.
fn equal(expected: &Value, seen: &Value) -> bool {
    match (expected, seen) {
        (Value::Number(a), Value::Number(b)) => match (whole(a), whole(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        _ => expected == seen,
    }
}

fn whole(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

/// A key that is a rule and not the name of a key or a path to one.
fn is_rule(key: &str) -> bool {
    key.starts_with('$') && !is_path(key)
}

fn is_path(key: &str) -> bool {
    key.starts_with("$.") || key.starts_with("$[")
}

#[cfg(test)]
mod tests;
