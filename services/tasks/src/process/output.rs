//! Lines of a stream, within bounds.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Bytes that are kept of one line. Lines with outputs are long at times.
const MAX_LINE: usize = 1 << 20;

const CHUNK: usize = 64 << 10;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// What is no UTF-8 is replaced, and so are zeros, which databases take nowhere in a text.
    pub(crate) text: String,
    /// Bytes that were too many.
    pub(crate) left_out: u64,
}

pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    left_out: u64,
    /// Something of the next line has come, be it nothing but its end.
    begun: bool,
    pub(super) ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(stream: R) -> Self {
        let reader = BufReader::with_capacity(CHUNK, stream);
        Self { reader, line: Vec::new(), left_out: 0, begun: false, ended: false }
    }

    /// The next line; `None` at the end. May be dropped while it waits: what has come is kept.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            // A pipe that cannot be read any more is one that has ended.
            let available = self.reader.fill_buf().await.unwrap_or_default();
            if available.is_empty() {
                self.ended = true;
                return self.begun.then(|| self.take());
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let piece = &available[..end.unwrap_or(available.len())];
            let kept = piece.len().min(MAX_LINE.saturating_sub(self.line.len()));
            self.line.extend_from_slice(&piece[..kept]);
            self.left_out += (piece.len() - kept) as u64;
            self.begun = true;
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Some(self.take());
            }
        }
    }

    fn take(&mut self) -> Line {
        self.begun = false;
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(&bytes)).replace('\0', "\u{fffd}");
        Line { text, left_out: std::mem::take(&mut self.left_out) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(bytes: &[u8]) -> Vec<Line> {
        let mut lines = Lines::new(bytes);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    #[tokio::test]
    async fn lines_are_cut_where_they_are_too_long_and_always_text() {
        let texts = |lines: Vec<Line>| lines.into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(texts(lines(b"a\r\n\nb\xff\0c").await), ["a", "", "b\u{fffd}\u{fffd}c"]);
        assert_eq!(texts(lines(b"").await), [""; 0]);
        let long = lines(&[vec![b'x'; MAX_LINE + 7], b"\ny".to_vec()].concat()).await;
        assert_eq!((long[0].text.len(), long[0].left_out), (MAX_LINE, 7));
        assert_eq!(long[1], Line { text: "y".to_owned(), left_out: 0 });
    }
}
