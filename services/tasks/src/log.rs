//! The log of one attempt.

use parking_lot::Mutex;
use windhover_engine::LogLine;
use windhover_types::{Id, Level, Masker, Secret, Timestamp};

/// Characters of one line; longer messages become several (flow model 1.x reference 4.5).
const MAX_LINE: usize = 15_360;

/// Collects the lines of an attempt and takes out the secrets that it has seen. Shared between the task, which
/// writes, and the worker, which sends.
#[derive(Debug)]
pub struct TaskLog {
    task_id: String,
    task_run_id: Id,
    attempt: u32,
    minimum: Level,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<LogLine>,
    secrets: Vec<Secret>,
    masker: Masker,
}

impl TaskLog {
    /// `minimum`: the task's `logLevel`; lines below it are not kept.
    pub fn new(task_id: &str, task_run_id: Id, attempt: u32, minimum: Option<Level>) -> Self {
        let minimum = minimum.unwrap_or(Level::Trace);
        Self { task_id: task_id.to_owned(), task_run_id, attempt, minimum, state: Mutex::default() }
    }

    pub fn write(&self, at: Timestamp, level: Level, message: &str) {
        if level < self.minimum {
            return;
        }
        let mut state = self.state.lock();
        let masked = state.masker.mask(message);
        for message in split(&masked) {
            state.lines.push(LogLine {
                at,
                level,
                message: message.to_owned(),
                task_id: Some(self.task_id.clone()),
                task_run_id: Some(self.task_run_id),
                attempt: Some(self.attempt),
            });
        }
    }

    /// From now on this value is masked, and what it looks like in base64.
    pub fn add_secret(&self, value: &str) {
        let mut state = self.state.lock();
        let known = |forms: &[Secret]| forms.iter().any(|secret| secret.expose() == value);
        if value.trim().is_empty() || known(&state.secrets) {
            return;
        }
        state.secrets.extend(Secret::new(value).forms());
        state.masker = Masker::new(state.secrets.iter().cloned());
    }

    pub fn mask(&self, text: &str) -> String {
        let masker = self.state.lock().masker.clone();
        masker.mask(text)
    }

    /// Takes the lines that are there.
    pub fn take(&self) -> Vec<LogLine> {
        std::mem::take(&mut self.state.lock().lines)
    }
}

/// Parts of at most [`MAX_LINE`] characters; an empty message is one empty part.
fn split(message: &str) -> Vec<&str> {
    if message.len() <= MAX_LINE {
        return vec![message];
    }
    let mut parts = Vec::new();
    let mut rest = message;
    while let Some((end, _)) = rest.char_indices().nth(MAX_LINE) {
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(minimum: Option<Level>) -> TaskLog {
        TaskLog::new("task", Id::default(), 0, minimum)
    }

    fn messages(log: &TaskLog) -> Vec<String> {
        log.take().into_iter().map(|line| line.message).collect()
    }

    #[test]
    fn secrets_are_masked_in_every_form_that_they_take() {
        let log = log(None);
        log.add_secret("p4ss\"word\nsecond-line-of-it\n}");
        for text in [
            "p4ss\"word\nsecond-line-of-it\n}",
            "p4ss\\\"word\\nsecond-line-of-it\\n}",
            "second-line-of-it",
            "cDRzcyJ3b3JkCnNlY29uZC1saW5lLW9mLWl0Cn0=",
        ] {
            assert_eq!(log.mask(&format!("a {text} b")), "a ****** b", "{text}");
        }
        assert_eq!(log.mask("}"), "}", "a short line of a secret tells nothing");
    }

    #[test]
    fn long_messages_are_split_between_characters() {
        let log = log(None);
        log.write(Timestamp::default(), Level::Info, &"ä".repeat(MAX_LINE * 2 + 1));
        let lengths: Vec<usize> = messages(&log).iter().map(|line| line.chars().count()).collect();
        assert_eq!(lengths, [MAX_LINE, MAX_LINE, 1]);
        log.write(Timestamp::default(), Level::Info, "");
        assert_eq!(messages(&log), [""]);
    }

    #[test]
    fn lines_below_the_tasks_level_are_not_kept() {
        let log = log(Some(Level::Warn));
        log.write(Timestamp::default(), Level::Info, "no");
        log.write(Timestamp::default(), Level::Warn, "yes");
        assert_eq!(messages(&log), ["yes"]);
    }
}
