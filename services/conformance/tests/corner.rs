//! The index of the corner cases: every number is accounted for, and by something that exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Deserialize;
use windhover_conformance::{
    binary::workspace,
    case::Placeholders,
    expected::Expected,
    suite::{Folder, corner_cases, corner_folder},
};

/// How many corner cases section 10 of the reference lists.
const NUMBERS: u16 = 250;

/// What shows a corner case. At least one of the first three, or the reason why it is for later.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Covered {
    /// Names of shared conformance cases.
    shared: Vec<String>,
    /// Names of cases in this folder.
    corner: Vec<String>,
    /// Tests in Rust: `path/below/services.rs: name`.
    tests: Vec<String>,
    /// Why nothing shows it in this version.
    later: Option<String>,
    /// Where we differ from the text on purpose, and why.
    note: Option<String>,
}

fn index() -> BTreeMap<u16, Covered> {
    let text = std::fs::read_to_string(corner_folder().join("index.yaml")).unwrap();
    serde_yaml::from_str(&text).unwrap()
}

#[test]
fn every_corner_case_is_in_the_index_with_what_shows_it() {
    let index = index();
    assert_eq!(index.keys().copied().collect::<Vec<_>>(), (1..=NUMBERS).collect::<Vec<_>>());
    for (number, covered) in &index {
        let shown = covered.shared.len() + covered.corner.len() + covered.tests.len();
        assert!((shown > 0) != covered.later.is_some(), "{number}: shown or for later, and not both");
        assert!(covered.note.as_ref().is_none_or(|note| !note.is_empty()), "{number}");
    }
}

#[test]
fn the_index_and_the_cases_say_the_same_of_each_other() {
    let mut said: BTreeMap<u16, BTreeSet<String>> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for source in corner_cases(None).unwrap() {
        let case = source.fill(&Placeholders { receiver_url: "http://127.0.0.1:1".into() }).unwrap();
        assert!(case.name.starts_with("corner-"), "{}", case.name);
        assert!(names.insert(case.name.clone()), "{} stands there twice", case.name);
        assert!(!case.covers.is_empty(), "{} covers nothing", case.name);
        for number in case.covers {
            said.entry(number).or_default().insert(case.name.clone());
        }
    }
    for (number, covered) in index() {
        let listed: BTreeSet<String> = covered.corner.into_iter().collect();
        assert_eq!(listed, said.remove(&number).unwrap_or_default(), "corner case {number}");
    }
    assert!(said.is_empty(), "cases about numbers that do not exist: {said:?}");
}

#[test]
fn tests_and_shared_cases_of_the_index_exist() {
    let services = workspace().join("services");
    let expected = Expected::of_this_version().unwrap();
    let shared = Folder::find().map(|folder| folder.cases(None).unwrap());
    for (number, covered) in index() {
        for test in covered.tests {
            let (path, name) = test.split_once(": ").unwrap_or_else(|| panic!("{number}: `{test}` is no `path: name`"));
            assert!(holds(&services.join(path), name), "{number}: there is no test {name} in {path}");
        }
        for name in covered.shared {
            assert!(!expected.known_failures.contains_key(&name), "{number}: {name} does not pass");
            if let Some(shared) = &shared {
                assert!(shared.iter().any(|case| case.name == name), "{number}: there is no shared case {name}");
            }
        }
    }
}

fn holds(path: &Path, name: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {name}(")))
}
