//! Printing results.

use std::io::{self, Write};

use prost::{Message, Name};

use super::{Format, error::Failure, json, style};

/// Prints results in the format that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(super) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints an answer of the API: as JSON, or as these lines.
    pub(super) fn print<M: Message + Name>(
        self,
        message: &M,
        lines: impl FnOnce() -> Vec<String>,
    ) -> Result<(), Failure> {
        if self.is_json() {
            return self.json(&json::value(message)?);
        }
        self.lines(&lines())
    }

    /// Prints a JSON document.
    pub(super) fn json(self, document: &serde_json::Value) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from)?;
        writeln!(out)?;
        Ok(out.flush()?)
    }

    pub(super) fn lines(self, lines: &[String]) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        for line in lines {
            writeln!(out, "{line}")?;
        }
        Ok(out.flush()?)
    }
}

/// A JSON array that is printed item by item, one a line: one document, however long it takes.
pub(super) struct JsonArray {
    items: usize,
}

impl JsonArray {
    pub(super) fn new() -> Self {
        Self { items: 0 }
    }

    pub(super) fn item<M: Message + Name>(&mut self, message: &M) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(if self.items == 0 { b"[\n" } else { b",\n" })?;
        self.items += 1;
        serde_json::to_writer(&mut out, &json::value(message)?).map_err(io::Error::from)?;
        Ok(out.flush()?)
    }

    pub(super) fn end(self) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(if self.items == 0 { b"[]\n" } else { b"\n]\n" })?;
        Ok(out.flush()?)
    }
}

/// Rows below their headings, as wide as needed.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: Vec<[String; N]>) -> Vec<String> {
    let mut widths = headings.map(width);
    for row in &rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let line = |cells: &[String; N]| {
        let mut line = String::new();
        for (cell, widest) in cells.iter().zip(widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', widest - width(cell) + 2));
        }
        line.trim_end().to_owned()
    };
    let heading = style::paint(style::DIM, &line(&headings.map(str::to_owned)));
    std::iter::once(heading).chain(rows.iter().map(line)).collect()
}

/// Characters that are seen: colours take no room.
fn width(cell: &str) -> usize {
    anstream::adapter::strip_str(cell).to_string().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_without_its_colours() {
        let rows = vec![[style::paint(style::GOOD, "SUCCESS"), "a".to_owned()], ["x".to_owned(), "➛".to_owned()]];
        let lines: Vec<String> =
            table(["STATE", "FLOW"], rows).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert_eq!(lines, ["STATE    FLOW", "SUCCESS  a", "x        ➛"]);
    }
}
