//! The flows of the conformance folder: good ones compile or are refused only by what is not built; bad ones are
//! refused.

use std::path::{Path, PathBuf};

use windhover_flow::validate;
use windhover_types::{Severity, Violation};

/// The folder with the flows; nothing when it is not there, which is said.
fn folder() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let folder = std::env::var_os("WINDHOVER_CONFORMANCE_DIR").map_or(default, PathBuf::from).join("flows");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no flows at {}", folder.display());
    None
}

fn sources(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| (file.display().to_string(), std::fs::read_to_string(file).unwrap())).collect()
}

/// Refused on purpose: their cases say so.
fn is_invalid(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    let known = [
        "inputs-depends-on-unknown.yaml",
        "plugin-defaults-unknown-property.yaml",
        "preconditions-invalid-filter-values.yaml",
        "preconditions-invalid-window.yaml",
        "retry-behavior-invalid-exponential.yaml",
        "schedule-invalid-six-fields.yaml",
        "schedule-missing-cron.yaml",
        "webhook-invalid-multiple-condition.yaml",
        "simpleInvalidFlow.yaml",
    ];
    known.contains(&file) || file.starts_with("1x-invalid-")
}

fn describe(violations: &[Violation]) -> String {
    let line = |v: &Violation| format!("  {}:{} {} {:?} {}", v.line, v.column, v.path, v.severity, v.message);
    violations.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_good_flow_compiles_or_is_refused_only_by_what_is_not_built() {
    let Some(folder) = folder() else { return };
    let (mut compiled, mut unsupported, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for part in ["valids", "own", "seeds", "adapted", "notifications", "tests", "webserver"] {
        for (name, source) in sources(&folder.join(part)).into_iter().filter(|(name, _)| !is_invalid(name)) {
            let validation = validate(&source);
            if validation.flow.is_some() {
                compiled.push(name);
            } else if validation.is_only_unsupported() {
                unsupported.push(name);
            } else {
                wrong.push(format!("{name}\n{}", describe(&validation.violations)));
            }
        }
    }
    println!("{} flows compile, {} are not supported yet", compiled.len(), unsupported.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compiled.len() >= 90, "only {} flows compile; unsupported: {unsupported:#?}", compiled.len());
}

#[test]
fn every_bad_flow_is_refused_for_its_mistake_or_for_what_is_not_built() {
    let Some(folder) = folder() else { return };
    for part in ["invalids", "own", "adapted", "webserver"] {
        for (name, source) in sources(&folder.join(part)) {
            if part != "invalids" && !is_invalid(&name) {
                continue;
            }
            let validation = validate(&source);
            let errors = validation.violations.iter().filter(|v| v.severity == Severity::Error).count();
            assert!(validation.flow.is_none() && errors > 0, "{name} was accepted");
        }
    }
}

/// Flow and what a deployment must say of it, as the conformance cases have it.
const MESSAGES: &[(&str, &[&str])] = &[
    ("invalids/invalid.yaml", &["id: must match", "namespace: must match", "id: must not be null"]),
    ("invalids/duplicate-inputs.yaml", &["Duplicate input with name [first_input]"]),
    ("invalids/duplicate-parallel.yaml", &["Duplicate task id with name [t3]"]),
    ("invalids/empty.yaml", &["tasks: must not be empty"]),
    ("invalids/inputs.yaml", &["type: must not be null"]),
    ("invalids/inputs-bad-validator-syntax.yaml", &["invalid pattern [\\]"]),
    ("invalids/invalid-property.yaml", &["\"invalid\""]),
    ("invalids/recursive-flow.yaml", &["Recursive call to flow [io.kestra.tests.recursive-flow]"]),
    ("invalids/system-labels.yaml", &["offending label: system.label=system_key", "offending label: system.id=id"]),
    ("adapted/inputs-depends-on-unknown.yaml", &["'a' depends on a non-existent input 'missing'"]),
    ("adapted/plugin-defaults-unknown-property.yaml", &["No property 'not' exists in plugin"]),
    ("adapted/retry-behavior-invalid-exponential.yaml", &["'interval' must be less than 'maxInterval' but is PT3S"]),
    ("adapted/webhook-invalid-multiple-condition.yaml", &["invalid webhook: conditions of type MultipleCondition"]),
    ("adapted/schedule-invalid-six-fields.yaml", &["invalid cron expression '* * * * * *'", "withSeconds"]),
    ("adapted/schedule-missing-cron.yaml", &["cron: must not be null"]),
    ("adapted/preconditions-invalid-filter-values.yaml", &["`value` cannot be null for type EQUAL_TO"]),
    ("adapted/preconditions-invalid-window.yaml", &["Time window of type `SLIDING_WINDOW` cannot have a deadline."]),
    ("own/1x-invalid-prefill.yaml", &["`prefill` and `defaults`"]),
    ("own/1x-invalid-finally-id.yaml", &["Duplicate task id with name [same]"]),
    ("own/1x-invalid-preconditions-id.yaml", &["preconditions with id [same]"]),
    ("own/1x-invalid-webhook-content-type.yaml", &["expected one of application/json, text/plain"]),
    ("own/1x-invalid-check-behavior.yaml", &["expected one of BLOCK_EXECUTION"]),
    ("webserver/simpleInvalidFlow.yaml", &["badProperties"]),
];

#[test]
fn refused_flows_are_told_why() {
    let Some(folder) = folder() else { return };
    for (name, messages) in MESSAGES {
        let validation = validate(&std::fs::read_to_string(folder.join(name)).unwrap());
        for message in *messages {
            // Not counted when it only says that something is not built.
            let said = |v: &&Violation| v.severity == Severity::Error && !v.unsupported && v.message.contains(message);
            let found = validation.violations.iter().find(said);
            assert!(found.is_some_and(|v| v.line > 0), "{name}: {message}\n{}", describe(&validation.violations));
        }
    }
}
