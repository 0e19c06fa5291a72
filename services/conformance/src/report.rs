//! What came out of a suite: lines for people, JSON for programs, and whether it is good enough.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{expected::Expected, findings::shorten, runner::Verdict, suite::OWN_SERVER};

/// A case that was run.
#[derive(Debug, Clone)]
pub struct CaseResult {
    pub name: String,
    pub verdict: Verdict,
    pub took: Duration,
}

/// All cases of a suite, by name.
#[derive(Debug, Clone)]
pub struct Report {
    pub suite: String,
    pub results: Vec<CaseResult>,
}

impl Report {
    /// Passed, failed, skipped.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&Verdict) -> bool| self.results.iter().filter(|one| wanted(&one.verdict)).count();
        (
            count(|verdict| matches!(verdict, Verdict::Passed)),
            count(|verdict| matches!(verdict, Verdict::Failed(_))),
            count(|verdict| matches!(verdict, Verdict::Skipped(_))),
        )
    }

    /// Everything that is not as the table says. `complete`: all cases were run, so that absent ones count.
    pub fn complaints(&self, expected: &Expected, complete: bool) -> Vec<String> {
        let mut complaints = Vec::new();
        for result in &self.results {
            let must_pass = expected.must_pass(&result.name);
            match &result.verdict {
                Verdict::Failed(why) if must_pass || !expected.known_failures.contains_key(&result.name) => {
                    // The rest stands in the report.
                    let first = why.lines().next().unwrap_or_default();
                    complaints.push(format!("{} failed: {}", result.name, shorten(first, 300)));
                }
                Verdict::Skipped(why) if must_pass && why != OWN_SERVER => {
                    complaints.push(format!("{} must pass and was skipped: {why}", result.name));
                }
                _ => {}
            }
        }
        if complete {
            let absent = expected.must_pass.iter().chain(expected.known_failures.keys());
            for name in absent.filter(|name| !self.results.iter().any(|result| result.name == **name)) {
                complaints.push(format!("{name} is in the table of expected results and there is no such case"));
            }
        }
        complaints
    }

    /// For people: what did not pass, the skips by reason, and the counts on the last line.
    pub fn text(&self, expected: &Expected) -> String {
        let mut text = format!("\nconformance: {}\n", self.suite);
        let mut skips: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for result in &self.results {
            match &result.verdict {
                Verdict::Passed => {
                    if expected.known_failures.contains_key(&result.name) {
                        text.push_str(&format!("passed, though known to fail: {}\n", result.name));
                    }
                }
                Verdict::Failed(why) => {
                    let known = expected.known_failures.get(&result.name).map(|reason| format!(" (known: {reason})"));
                    text.push_str(&format!("FAILED {}{}\n", result.name, known.unwrap_or_default()));
                    text.push_str(&indented(why));
                    text.push('\n');
                }
                Verdict::Skipped(why) => skips.entry(why).or_default().push(&result.name),
            }
        }
        let mut skips: Vec<_> = skips.into_iter().collect();
        skips.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
        for (why, names) in skips {
            text.push_str(&format!("skipped {}: {}: {}\n", names.len(), shorten(why, 300), names.join(", ")));
        }
        let (passed, failed, skipped) = self.counts();
        text.push_str(&format!("{passed} passed, {failed} failed, {skipped} skipped\n"));
        text
    }

    /// Writes `FOLDER/SUITE.json`.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let (passed, failed, skipped) = self.counts();
        let cases: Vec<_> = self
            .results
            .iter()
            .map(|result| {
                let (outcome, reason) = match &result.verdict {
                    Verdict::Passed => ("passed", None),
                    Verdict::Failed(why) => ("failed", Some(why)),
                    Verdict::Skipped(why) => ("skipped", Some(why)),
                };
                let seconds = (result.took.as_secs_f64() * 1_000.0).round() / 1_000.0;
                json!({ "name": result.name, "outcome": outcome, "reason": reason, "seconds": seconds })
            })
            .collect();
        let document = json!({
            "suite": self.suite, "passed": passed, "failed": failed, "skipped": skipped, "cases": cases,
        });
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        let path = folder.join(format!("{}.json", self.suite));
        std::fs::write(&path, format!("{document:#}\n")).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

/// Prints even while the test harness captures the output of tests that pass.
pub fn announce(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading any more; the report is in its file as well.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let result =
            |name: &str, verdict| CaseResult { name: name.into(), verdict, took: Duration::from_millis(1_500) };
        Report {
            suite: "s".into(),
            results: vec![
                result("a", Verdict::Passed),
                result("b", Verdict::Failed("expect[0] state: expected 1\nsaw 2".into())),
                result("c", Verdict::Skipped("UNSUPPORTED: Dag".into())),
                result("d", Verdict::Skipped("UNSUPPORTED: Dag".into())),
            ],
        }
    }

    fn table(must_pass: &[&str], known: &[&str]) -> Expected {
        Expected {
            must_pass: must_pass.iter().map(|name| (*name).to_owned()).collect(),
            known_failures: known.iter().map(|name| ((*name).to_owned(), "because".to_owned())).collect(),
        }
    }

    #[test]
    fn a_failure_is_a_complaint_unless_it_is_known() {
        assert_eq!(report().complaints(&table(&["a"], &[]), true).len(), 1);
        assert!(report().complaints(&table(&["a"], &["b"]), true).is_empty());
        assert_eq!(report().complaints(&table(&["b"], &["b"]), true).len(), 1);
    }

    #[test]
    fn what_must_pass_may_neither_be_skipped_nor_be_absent() {
        let complaints = report().complaints(&table(&["a", "c", "z"], &["b"]), true);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert_eq!(report().complaints(&table(&["z"], &["b"]), false).len(), 0);
    }

    #[test]
    fn the_text_ends_with_the_counts_and_groups_skips_by_reason() {
        let text = report().text(&table(&[], &["b"]));
        assert!(text.contains("skipped 2: UNSUPPORTED: Dag: c, d\n"), "{text}");
        assert!(text.contains("FAILED b (known: because)\n    expect[0] state: expected 1\n    saw 2\n"), "{text}");
        assert!(text.ends_with("\n1 passed, 1 failed, 2 skipped\n"), "{text}");
    }

    #[test]
    fn the_file_holds_every_case() {
        let folder = tempfile::tempdir().unwrap();
        let path = report().write(folder.path()).unwrap();
        let document: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(document["cases"][1]["outcome"], "failed");
        assert_eq!(document["cases"][2]["reason"], "UNSUPPORTED: Dag");
        assert_eq!(document["cases"][0], json!({"name": "a", "outcome": "passed", "reason": null, "seconds": 1.5}));
    }
}
