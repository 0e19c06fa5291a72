//! Runs the conformance cases of the expression language (expression reference, section 19).
//!
//! The folder is taken from `WINDHOVER_CONFORMANCE_DIR`; where there is none, a line says so and nothing is checked.

mod case;
mod context;
mod world;

use std::path::{Path, PathBuf};

use case::Case;

/// Cases that may fail because what they need is not implemented; one that passes has to leave this list.
const NOT_YET: &[(&str, &[&str])] = &[];

fn folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("WINDHOVER_CONFORMANCE_DIR") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
    };
    let folder = folder.join("expressions");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("no conformance cases in {}: nothing is checked", folder.display());
    None
}

fn check(file: &str) {
    let Some(folder) = folder() else { return };
    let cases = case::load(&folder.join(format!("{file}.yaml")));
    let allowed = NOT_YET.iter().find(|(name, _)| *name == file).map_or(&[][..], |(_, cases)| cases);
    let mut problems = Vec::new();
    for case in &cases {
        let allowed = allowed.contains(&case.name.as_str());
        match (run(case), allowed) {
            (Err(problem), false) => problems.push(format!("{}: {problem}", case.name)),
            (Ok(()), true) => {
                problems.push(format!("{}: passes and has to leave the list of what is not implemented", case.name))
            }
            _ => {}
        }
    }
    println!("{file}: {} of {} cases as wanted", cases.len() - problems.len(), cases.len());
    assert!(problems.is_empty(), "{} of {} cases in {file}:\n{}", problems.len(), cases.len(), problems.join("\n"));
}

fn run(case: &Case) -> Result<(), String> {
    case.verify(&case.evaluate())
}

macro_rules! conformance {
    ($($test:ident: $file:literal,)*) => {
        $(
            #[test]
            fn $test() {
                check($file);
            }
        )*

        #[test]
        fn every_file_of_cases_is_run() {
            let Some(folder) = folder() else { return };
            let known = [$($file),*];
            for entry in std::fs::read_dir(folder).expect("the folder can be read") {
                let path = entry.expect("the folder can be read").path();
                if path.extension().is_some_and(|extension| extension == "yaml") {
                    let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
                    assert!(known.contains(&name.as_str()), "{name} is not run");
                }
            }
        }
    };
}

conformance! {
    access_paths_agree_with_the_cases: "access",
    coalescing_agrees_with_the_cases: "coalescing",
    variables_of_a_run_agree_with_the_cases: "context",
    delimiters_agree_with_the_cases: "delimiters",
    filters_of_later_releases_agree_with_the_cases: "filters-1x",
    collection_filters_agree_with_the_cases: "filters-collection",
    data_filters_agree_with_the_cases: "filters-data",
    date_filters_agree_with_the_cases: "filters-date",
    encoding_filters_agree_with_the_cases: "filters-encoding",
    jq_agrees_with_the_cases: "filters-jq",
    number_filters_agree_with_the_cases: "filters-number",
    string_filters_agree_with_the_cases: "filters-string",
    functions_of_later_releases_agree_with_the_cases: "functions-1x",
    functions_of_a_run_agree_with_the_cases: "functions-context",
    functions_agree_with_the_cases: "functions",
    literals_agree_with_the_cases: "literals",
    arithmetic_agrees_with_the_cases: "operators-arithmetic",
    logic_agrees_with_the_cases: "operators-logic",
    rendering_agrees_with_the_cases: "rendering",
    tags_agree_with_the_cases: "tags",
    tests_agree_with_the_cases: "tests",
}
