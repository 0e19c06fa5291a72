//! `storage.Split`, which ForEachItem uses as well.

use std::collections::BTreeMap;

use async_trait::async_trait;
use regex::Regex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use windhover_storage::FileUri;

use super::io_failed;
use crate::{Task, TaskContext, TaskError, TaskOutcome};

/// More parts at once would keep as many files open.
const MAX_PARTITIONS: usize = 1_000;

pub(crate) struct Split;

/// How lines are dealt to parts; the first that is given counts.
#[derive(Debug, Clone)]
pub(crate) enum Cut {
    /// A new part once the present one has so many bytes.
    Bytes(u64),
    /// So many parts in turn; empty ones are left out.
    Partitions(usize),
    /// So many lines to a part.
    Rows(usize),
    /// A part for each text that the first group catches; lines that do not match are left out.
    Groups(Regex),
}

impl Cut {
    /// From rendered properties (flow model reference 5.5).
    ///
    /// # Errors
    /// None is given, or one makes no sense.
    pub(crate) fn parse(
        bytes: Option<&str>,
        partitions: Option<i64>,
        rows: Option<i64>,
        pattern: Option<&str>,
    ) -> Result<Self, TaskError> {
        let count = |name: &str, value: i64| {
            usize::try_from(value)
                .ok()
                .filter(|value| *value > 0)
                .ok_or_else(|| TaskError::failed(format!("{name}: must be greater than 0")))
        };
        if let Some(text) = bytes {
            let size = size(text).ok_or_else(|| TaskError::failed(format!("bytes: '{text}' is no size like 10MB")))?;
            return Ok(Self::Bytes(size));
        }
        if let Some(partitions) = partitions {
            let partitions = count("partitions", partitions)?;
            if partitions > MAX_PARTITIONS {
                return Err(TaskError::failed(format!("partitions: at most {MAX_PARTITIONS}")));
            }
            return Ok(Self::Partitions(partitions));
        }
        if let Some(rows) = rows {
            return Ok(Self::Rows(count("rows", rows)?));
        }
        match pattern {
            Some(pattern) => match Regex::new(pattern) {
                Ok(regex) if regex.captures_len() > 1 => Ok(Self::Groups(regex)),
                Ok(_) => Err(TaskError::failed("regexPattern: must have a group in parentheses")),
                Err(_) => Err(TaskError::failed("regexPattern: this is no regular expression")),
            },
            None => {
                Err(TaskError::failed("one of bytes, partitions, rows and regexPattern must be given to split a file"))
            }
        }
    }
}

/// `10MB`, `2 KiB`, `500`: bytes, by powers of 1,024 whatever the unit is called.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok().filter(|number| *number > 0)?;
    let factor = match text[digits..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[async_trait]
impl Task for Split {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let from = context.file("from").await?;
        let (bytes, partitions, rows, pattern, separator) = context
            .render(|properties, environment| {
                Ok((
                    properties.text("bytes", environment)?,
                    properties.int("partitions", environment)?,
                    properties.int("rows", environment)?,
                    properties.text("regexPattern", environment)?,
                    properties.text("separator", environment)?,
                ))
            })
            .await?;
        let cut = Cut::parse(bytes.as_deref(), partitions, rows, pattern.as_deref())?;
        let uris = split(context, &from, &cut, separator.as_deref().unwrap_or("\n")).await?;
        let uris: Vec<Value> = uris.iter().map(|uri| Value::String(uri.to_string())).collect();
        Ok(TaskOutcome::success(Some(json!({ "uris": uris }))))
    }
}

/// Deals the lines of a file to new files of the task run; answers them in order. `separator` ends each line of a part.
pub(crate) async fn split(
    context: &TaskContext,
    from: &FileUri,
    cut: &Cut,
    separator: &str,
) -> Result<Vec<FileUri>, TaskError> {
    let mut reader = context.open(from).await?;
    let mut parts = Parts::default();
    let suffix = from.extension().unwrap_or(".tmp");
    let mut line = Vec::new();
    let mut number = 0_usize;
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).await.map_err(io_failed)? == 0 {
            break;
        }
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        let part = match cut {
            Cut::Partitions(count) => PartKey::Number(number % count),
            Cut::Rows(rows) => PartKey::Number(number / rows),
            Cut::Bytes(limit) => PartKey::Number(parts.for_bytes(*limit)),
            Cut::Groups(regex) => {
                let text = String::from_utf8_lossy(&line);
                match regex.captures(&text).and_then(|found| found.get(1)) {
                    Some(group) => PartKey::Text(group.as_str().to_owned()),
                    None => continue,
                }
            }
        };
        // Of these only one part is open at a time.
        if matches!(cut, Cut::Rows(_) | Cut::Bytes(_)) {
            parts.close_others(&part).await?;
        }
        parts.write(context, part, suffix, &line, separator).await?;
        number += 1;
    }
    parts.finish().await
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PartKey {
    Number(usize),
    Text(String),
}

#[derive(Default)]
struct Parts {
    open: BTreeMap<PartKey, Box<dyn tokio::io::AsyncWrite + Send + Unpin>>,
    uris: Vec<(PartKey, FileUri)>,
    /// Bytes of the part that was written last, and its number.
    last: (usize, u64),
}

impl Parts {
    /// The part that the next line belongs to.
    fn for_bytes(&mut self, limit: u64) -> usize {
        if self.last.1 >= limit {
            self.last = (self.last.0 + 1, 0);
        }
        self.last.0
    }

    async fn write(
        &mut self,
        context: &TaskContext,
        part: PartKey,
        suffix: &str,
        line: &[u8],
        separator: &str,
    ) -> Result<(), TaskError> {
        if !self.open.contains_key(&part) {
            if self.open.len() >= MAX_PARTITIONS {
                return Err(TaskError::failed(format!("a file is split into at most {MAX_PARTITIONS} parts at once")));
            }
            let uri = context.new_file(suffix)?;
            let writer = context.services.files.writer(&context.tenant, &uri);
            self.open.insert(part.clone(), Box::new(writer));
            self.uris.push((part.clone(), uri));
        }
        let Some(writer) = self.open.get_mut(&part) else { return Ok(()) };
        writer.write_all(line).await.map_err(io_failed)?;
        writer.write_all(separator.as_bytes()).await.map_err(io_failed)?;
        self.last.1 += (line.len() + separator.len()) as u64;
        Ok(())
    }

    async fn close_others(&mut self, part: &PartKey) -> Result<(), TaskError> {
        let others: Vec<PartKey> = self.open.keys().filter(|open| *open != part).cloned().collect();
        for other in others {
            if let Some(mut writer) = self.open.remove(&other) {
                writer.shutdown().await.map_err(io_failed)?;
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Vec<FileUri>, TaskError> {
        for writer in self.open.values_mut() {
            writer.shutdown().await.map_err(io_failed)?;
        }
        // Parts come in the order in which their first lines came; those of a round in the order of their numbers.
        Ok(self.uris.into_iter().map(|(_, uri)| uri).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        assert_eq!(size("10MB"), Some(10 << 20));
        assert_eq!(size(" 2 KiB "), Some(2_048));
        assert_eq!(size("500"), Some(500));
        assert_eq!(size("0"), None);
        assert_eq!(size("MB"), None);
        assert_eq!(size("1TBX"), None);
    }
}
