//! Reading the first document of a YAML text.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::scalar::resolve;
use crate::eval::Session;
use crate::value::Value;

const MAX_DEPTH: usize = 100;
/// Longer texts are refused.
const MAX_LENGTH: usize = 8 << 20;

/// A collection that is being read.
enum Open {
    List(Vec<Value>),
    /// Entries, and a key that waits for its value.
    Map(Vec<(Value, Value)>, Option<Value>),
}

/// The first document as a value. Keys are texts; aliases are not resolved, `*x` is the text `x`.
pub(crate) fn parse(session: &Session<'_>, text: &str) -> Result<Value, String> {
    if text.len() > MAX_LENGTH {
        return Err(format!("the text is longer than {MAX_LENGTH} bytes"));
    }
    session.meter.elements(text.len() / 2).map_err(|fault| fault.summary())?;
    let mut reader = Reader { text, stack: Vec::new(), result: None, positions: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        reader.event(event, span)?;
    }
    reader.result.ok_or_else(|| "No content to map due to end-of-input".to_owned())
}

struct Reader<'a> {
    text: &'a str,
    stack: Vec<Open>,
    result: Option<Value>,
    /// Byte positions of characters, found when the first alias needs them.
    positions: Option<Vec<usize>>,
}

impl Reader<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, _, None) => {
                let value = if self.expects_key() { Value::text(&*text) } else { resolve(&text)? };
                self.add(value);
            }
            Event::Scalar(text, _, _, Some(tag)) if tag.suffix != "str" && tag.handle.starts_with("tag:yaml.org") => {
                let value = resolve(&text)?;
                self.add(value);
            }
            Event::Scalar(text, ..) => self.add(Value::text(&*text)),
            Event::Alias(_) => {
                let name = self.alias(span.start.index());
                self.add(Value::text(name));
            }
            Event::SequenceStart(..) => self.open(Open::List(Vec::new()))?,
            Event::MappingStart(..) => self.open(Open::Map(Vec::new(), None))?,
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => {}
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open::Map(_, None)))
    }

    /// The name of the alias that stands at this character.
    fn alias(&mut self, index: usize) -> String {
        let positions =
            self.positions.get_or_insert_with(|| self.text.char_indices().map(|(place, _)| place).collect());
        let rest = positions.get(index).and_then(|place| self.text.get(*place..)).unwrap_or_default();
        let rest = rest.strip_prefix('*').unwrap_or(rest);
        rest.chars().take_while(|c| !c.is_whitespace() && !matches!(c, ',' | '[' | ']' | '{' | '}')).collect()
    }

    fn open(&mut self, open: Open) -> Result<(), String> {
        if self.stack.len() >= MAX_DEPTH {
            return Err("the value is nested too deeply".to_owned());
        }
        if self.expects_key() {
            return Err("collections cannot be keys".to_owned());
        }
        self.stack.push(open);
        Ok(())
    }

    fn close(&mut self) {
        let value = match self.stack.pop() {
            Some(Open::List(items)) => Value::list(items),
            Some(Open::Map(entries, _)) => Value::Map(entries.into_iter().collect()),
            None => return,
        };
        self.add(value);
    }

    fn add(&mut self, value: Value) {
        match self.stack.last_mut() {
            None => {
                self.result.get_or_insert(value);
            }
            Some(Open::List(items)) => items.push(value),
            Some(Open::Map(entries, key)) => match key.take() {
                None => *key = Some(value),
                Some(key) => entries.push((key, value)),
            },
        }
    }
}
