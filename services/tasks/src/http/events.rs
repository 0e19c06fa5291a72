//! The lines of an event stream (HTML living standard, server-sent events).

/// An event whose data has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Lines of data with line feeds between them.
    pub(super) data: String,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) comment: Option<String>,
    /// Milliseconds after which the server wants to be asked again.
    pub(super) retry: Option<u64>,
}

/// Reads events out of bytes that come in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed behind it belongs to it.
    after_return: bool,
    begun: Event,
    has_data: bool,
    any_line: bool,
    found: Vec<Event>,
}

impl Events {
    pub(super) fn add(&mut self, piece: &[u8]) {
        for byte in piece {
            match byte {
                b'\n' if self.after_return => self.after_return = false,
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    self.end_line();
                }
                other => {
                    self.after_return = false;
                    self.line.push(*other);
                }
            }
        }
    }

    /// All events. One that the end of the stream has cut short counts as well: its data has come.
    pub(super) fn finish(mut self) -> Vec<Event> {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.dispatch();
        self.found
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = if self.any_line { &*line } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
        self.any_line = true;
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => self.begun.comment = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.begun.data.push('\n');
                }
                self.has_data = true;
                self.begun.data.push_str(value);
            }
            "event" => self.begun.name = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.begun.id = Some(value.to_owned()),
            "retry" => self.begun.retry = value.parse().ok().or(self.begun.retry),
            _ => {}
        }
    }

    /// What has no data is none: comments keep connections alive.
    fn dispatch(&mut self) {
        let event = std::mem::take(&mut self.begun);
        if std::mem::take(&mut self.has_data) {
            self.found.push(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, piece: usize) -> Vec<Event> {
        let mut events = Events::default();
        text.as_bytes().chunks(piece).for_each(|piece| events.add(piece));
        events.finish()
    }

    #[test]
    fn events_are_the_same_in_pieces_of_any_size_and_with_any_line_ends() {
        let lines = "\u{feff}: hello\nevent: add\nid: 7\nretry: 250\ndata: {\"a\":\ndata: 1}\nother: x\n\n: ping\n\ndata\n\ndata:  two\n";
        let expected = vec![
            Event {
                data: "{\"a\":\n1}".to_owned(),
                id: Some("7".to_owned()),
                name: Some("add".to_owned()),
                comment: Some("hello".to_owned()),
                retry: Some(250),
            },
            Event::default(),
            Event { data: " two".to_owned(), ..Event::default() },
        ];
        for end in ["\n", "\r\n", "\r"] {
            let text = lines.replace('\n', end);
            for piece in [1, 2, 3, 7, 1_000] {
                assert_eq!(read(&text, piece), expected, "{end:?} in pieces of {piece}");
            }
        }
        assert!(read(": only\n\n: comments\n\n", 4).is_empty());
    }
}
