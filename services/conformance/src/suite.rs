//! Runs all cases of a folder against one kind of server.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context, Result};
use futures::{StreamExt, future::BoxFuture, stream};

use crate::{
    binary::{Layout, workspace},
    case::{CaseSource, Config, Placeholders},
    report::{CaseResult, Report},
    runner::{self, Verdict},
    server::{Database, Server},
};

/// Cases that run at once. They mostly wait.
const AT_ONCE: usize = 12;

/// Why a case cannot be run against a server that is given: no fault of that server.
pub const OWN_SERVER: &str = "needs a server with settings of its own";

/// Makes an empty database for a server.
pub type NewDatabase = Arc<dyn Fn() -> BoxFuture<'static, Result<Database>> + Send + Sync>;

/// What the cases run against.
pub enum Target {
    /// A server of this address, with a platform administrator's token.
    Given { address: String, token: Option<String> },
    /// Servers that are started here, each on a database of its own.
    Started(NewDatabase),
}

/// Where the cases are.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// `WINDHOVER_CONFORMANCE_DIR`, or the folder beside the workspace. `None` when there are no cases in it.
    pub fn find() -> Option<Self> {
        let root = std::env::var_os("WINDHOVER_CONFORMANCE_DIR")
            .map_or_else(|| workspace().join("../shared/conformance"), PathBuf::from);
        root.join("cases").is_dir().then_some(Self { root })
    }

    /// All cases whose names match, by name. A file that is no case is an error, not a skip.
    pub fn cases(&self, only: Option<&str>) -> Result<Vec<CaseSource>> {
        let folder = self.root.join("cases");
        let only = only.map(fancy_regex::Regex::new).transpose().context("WINDHOVER_CONFORMANCE_ONLY")?;
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let wanted = only.as_ref().is_none_or(|only| only.is_match(name).unwrap_or(false));
            if path.extension().is_some_and(|extension| extension == "yaml") && wanted {
                paths.push(path);
            }
        }
        paths.sort();
        paths.iter().map(|path| CaseSource::read(path)).collect()
    }

    pub fn flows(&self) -> PathBuf {
        self.root.join("flows")
    }
}

/// The cases of this crate's own folder, whose names match; see `corner/README.md`.
pub fn corner_cases(only: Option<&str>) -> Result<Vec<CaseSource>> {
    let only = only.map(fancy_regex::Regex::new).transpose().context("WINDHOVER_CONFORMANCE_ONLY")?;
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(corner_folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") && !path.ends_with("index.yaml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        cases.extend(CaseSource::read_list(&path)?);
    }
    cases.retain(|case| only.as_ref().is_none_or(|only| only.is_match(&case.name).unwrap_or(false)));
    Ok(cases)
}

/// Where the corner cases and their index are.
pub fn corner_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corner")
}

/// `WINDHOVER_CONFORMANCE_ONLY`: a regular expression over the names of cases; empty means all.
pub fn only() -> Option<String> {
    std::env::var("WINDHOVER_CONFORMANCE_ONLY").ok().filter(|only| !only.is_empty())
}

/// Where reports and the servers' logs go.
pub fn output() -> Result<PathBuf> {
    Ok(Layout::of_this_program()?.target.join("conformance"))
}

/// Runs the cases, several at once, each in a tenant of its own. `flows`: where the files are that they name.
pub async fn run(suite: &str, flows: &Path, cases: &[CaseSource], target: &Target) -> Result<Report> {
    let log = output()?.join(format!("{suite}.log"));
    let mut server = match target {
        Target::Given { address, token } => Server::given(address, token.as_deref()).await?,
        Target::Started(database) => Server::start(&database().await?, &Config::default(), log).await?,
    };
    let results = stream::iter(cases.iter().map(|case| run_case(case, flows, &server, target, suite)));
    let mut results: Vec<CaseResult> = results.buffer_unordered(AT_ONCE).collect().await;
    results.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(obituary) = server.obituary() {
        // Without this line, the failures of all later cases would hide their common cause.
        let failed = Verdict::Failed(obituary);
        results.push(CaseResult { name: "(server)".into(), verdict: failed, took: Default::default() });
    }
    Ok(Report { suite: suite.to_owned(), results })
}

async fn run_case(case: &CaseSource, flows: &Path, server: &Server, target: &Target, suite: &str) -> CaseResult {
    let start = Instant::now();
    let verdict = match verdict(case, flows, server, target, suite).await {
        Ok(verdict) => verdict,
        Err(error) => Verdict::Failed(format!("{error:#}")),
    };
    CaseResult { name: case.name.clone(), verdict, took: start.elapsed() }
}

async fn verdict(source: &CaseSource, flows: &Path, server: &Server, target: &Target, suite: &str) -> Result<Verdict> {
    let case = source.fill(&Placeholders { receiver_url: String::new() })?;
    if case.config.is_empty() {
        return Ok(runner::run(source, flows, server).await);
    }
    // Settings of the server that only this case has: a server for it alone.
    match target {
        Target::Given { .. } => Ok(Verdict::Skipped(OWN_SERVER.into())),
        Target::Started(database) => {
            let log = output()?.join(format!("{suite}-{}.log", case.name));
            let own = Server::start(&database().await?, &case.config, log).await?;
            Ok(runner::run(source, flows, &own).await)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::is_source;

    #[test]
    fn every_case_of_the_folder_can_be_read_and_names_flows_that_are_there() {
        let Some(folder) = Folder::find() else {
            return crate::report::announce("conformance: cases: SKIPPED: there is no folder of cases");
        };
        let cases = folder.cases(None).unwrap();
        assert!(!cases.is_empty());
        for source in cases {
            let case = source.fill(&Placeholders { receiver_url: "http://127.0.0.1:1".into() }).unwrap();
            for flow in case.flows.iter().filter(|flow| !is_source(flow)) {
                assert!(folder.flows().join(flow).is_file(), "{}: {flow}", case.name);
            }
        }
    }

    #[test]
    fn only_the_cases_that_match_are_run() {
        let Some(folder) = Folder::find() else { return };
        let names = |only: &str| -> Vec<String> {
            folder.cases(Some(only)).unwrap().into_iter().map(|case| case.name).collect()
        };
        assert!(names("^seed-").iter().all(|name| name.starts_with("seed-")));
        assert!(names("^no-such-case$").is_empty());
        assert!(folder.cases(Some("(")).is_err());
    }
}
