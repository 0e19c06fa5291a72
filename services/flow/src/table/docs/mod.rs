//! What people should know of the types of the table: a sentence for each type and property, defaults, outputs, an
//! example. Apart from the table, so that it stays readable; a test holds the two together.

mod basics;
mod conditions;
mod data;
mod flow;
mod http;
mod notifications;
mod scripts;
mod triggers;

use std::{collections::HashMap, sync::LazyLock};

use super::{Role, TaskType, lookup};

/// What is said of one type.
#[derive(Debug)]
pub struct TypeDoc {
    /// The type's canonical name.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// Name (of a property inside of another one: its path with dots), default (empty: none, or what the sentence
    /// says) and a sentence. What is said in [`PropertyDoc`]s of all types need not be said again.
    pub properties: &'static [PropertyDoc],
    /// Name, kind and a sentence.
    pub outputs: &'static [(&'static str, &'static str, &'static str)],
    /// YAML of one task, trigger or condition, without the dash before it.
    pub example: &'static str,
}

/// Name or path, default, sentence.
pub type PropertyDoc = (&'static str, &'static str, &'static str);

static BY_NAME: LazyLock<HashMap<&'static str, &'static TypeDoc>> = LazyLock::new(|| {
    let all = [
        basics::DOCS,
        flow::DOCS,
        data::DOCS,
        http::DOCS,
        notifications::DOCS,
        scripts::DOCS,
        triggers::DOCS,
        conditions::DOCS,
    ];
    all.into_iter().flatten().map(|doc| (doc.name, doc)).collect()
});

/// What is said of a type, by its name or alias.
pub fn doc_of(name: &str) -> Option<&'static TypeDoc> {
    BY_NAME.get(lookup(name)?.name).copied()
}

/// Default and sentence of a property of a type; of one inside of another by its path with dots.
pub fn property_doc(of: &TaskType, path: &str) -> Option<(&'static str, &'static str)> {
    let own = BY_NAME.get(of.name).map(|doc| doc.properties).unwrap_or_default();
    let common = match of.family.role() {
        Role::Task => TASK,
        Role::Trigger => TRIGGER,
        Role::Condition | Role::Part => &[],
    };
    let http = if path.starts_with("options.") { http::OPTIONS } else { &[] };
    own.iter().chain(common).chain(http).chain(EVERY).find(|entry| entry.0 == path).map(|entry| (entry.1, entry.2))
}

/// Of every type.
const EVERY: &[PropertyDoc] = &[
    ("type", "", "The type."),
    ("version", "", "Version of the plugin; accepted and ignored."),
    ("description", "", "For people."),
    ("namespace", "{{ flow.namespace }}", "The namespace; the flow's own when it is not given."),
    ("workerGroup.key", "", "Name of the worker group."),
    (
        "workerGroup.fallback",
        "WAIT",
        "What a task does when no worker of the group lives: wait for one, fail, or be cancelled.",
    ),
];

/// Of every task, and of many.
const TASK: &[PropertyDoc] = &[
    ("id", "", "Names the task; unique in the flow. Expressions find its outputs by it."),
    ("retry", "", "Whether and when an attempt that failed is tried again: constant, exponential or random delays."),
    ("timeout", "", "How long one attempt may take; it fails then."),
    ("disabled", "false", "The task is left out as if it were not there."),
    ("runIf", "true", "The task is SKIPPED when this renders to `false`, `0`, `-0` or nothing."),
    ("allowFailure", "false", "A failure becomes a warning, and the flow goes on."),
    ("allowWarning", "false", "A warning becomes a success."),
    ("logLevel", "TRACE", "Lines of the task below this level are not kept."),
    ("logToFile", "false", "Keeps the lines in a file; only `false` is possible."),
    ("workerGroup", "", "The pool of workers that runs the task."),
    ("taskCache", "", "Keeps the outputs for later executions; refused so far."),
    ("assets", "", "Of Kestra's Enterprise Edition; refused."),
    ("tasks", "", "The tasks."),
    ("errors", "", "Tasks that run when one of `tasks` has failed."),
    ("finally", "", "Tasks that run at the end, whatever happened."),
    ("errorOnMissing", "false", "What is not there is a failure."),
];

/// Of every trigger.
const TRIGGER: &[PropertyDoc] = &[
    ("id", "", "Names the trigger; unique among the triggers of the flow."),
    ("conditions", "", "All of these must hold, or nothing is started."),
    ("disabled", "false", "The trigger rests."),
    ("labels", "", "Labels that the executions get besides those of the flow."),
    ("stopAfter", "", "States: once an execution of the trigger ends in one of them, the trigger is disabled."),
    ("logLevel", "TRACE", "Lines of evaluations below this level are not kept."),
    ("logToFile", "false", "Keeps lines of evaluations in a file; only `false` is possible."),
    ("workerGroup", "", "The pool of workers that evaluates the trigger, where workers do."),
    ("allowConcurrent", "false", "A date need not wait until the execution of the one before has ended."),
    ("failOnTriggerError", "false", "An evaluation that fails makes a failed execution."),
    ("assets", "", "Of Kestra's Enterprise Edition; refused."),
    ("inputs", "", "Inputs of the executions, by their ids."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Kind, PropertySpec, types};

    #[test]
    fn everything_that_is_said_is_about_a_type_and_a_property_of_the_table() {
        fn has(specs: &[PropertySpec], path: &str) -> bool {
            let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else { return false };
            match (rest, spec.kind) {
                (None, _) => true,
                (Some(rest), Kind::Object(inner)) => has(inner, rest),
                // What is inside of it the table does not know.
                (Some(_), _) => true,
            }
        }
        let mut unknown = Vec::new();
        for doc in BY_NAME.values() {
            let entry = lookup(doc.name).unwrap_or_else(|| panic!("there is no type {}", doc.name));
            assert_eq!(entry.name, doc.name, "the canonical name is to be used");
            // A type that is not built has no properties yet.
            for (path, ..) in doc.properties.iter().filter(|_| entry.is_built()) {
                if !has(entry.properties, path) && !has(entry.common(), path) {
                    unknown.push(format!("{}.{path}", doc.name));
                }
            }
        }
        assert!(unknown.is_empty(), "no such property: {unknown:#?}");
    }

    #[test]
    fn every_type_and_every_property_is_described() {
        let mut missing = Vec::new();
        for entry in types().filter(|entry| entry.is_built() && entry.family != crate::table::Family::Generated) {
            match doc_of(entry.name) {
                Some(doc) => {
                    assert!(doc.doc.ends_with('.') && !doc.example.is_empty(), "{}", entry.name);
                }
                None => missing.push(entry.name.to_owned()),
            }
            for spec in entry.properties.iter().chain(entry.common()) {
                if property_doc(entry, spec.name).is_none() {
                    missing.push(format!("{}.{}", entry.name, spec.name));
                }
            }
        }
        assert!(missing.is_empty(), "without a description: {missing:#?}");
    }

    #[test]
    fn every_example_is_good() {
        let mut wrong = Vec::new();
        for entry in types().filter(|entry| entry.is_built()) {
            let Some(doc) = doc_of(entry.name) else { continue };
            let item = |indent: usize| {
                let spaces = " ".repeat(indent);
                let lines: Vec<_> = doc.example.trim_end().lines().collect();
                lines.join(&format!("\n{spaces}  "))
            };
            let log = "tasks:\n  - id: hello\n    type: io.kestra.plugin.core.log.Log\n    message: hello\n";
            let flow = match entry.family.role() {
                Role::Task => format!("tasks:\n  - {}\n", item(2)),
                Role::Trigger => format!("{log}triggers:\n  - {}\n", item(2)),
                Role::Condition => format!(
                    "{log}triggers:\n  - id: t\n    type: io.kestra.plugin.core.trigger.Flow\n    conditions:\n      - {}\n",
                    item(6)
                ),
                // Shown in the task that has it.
                Role::Part => format!("tasks:\n  - {}\n", item(2)),
            };
            let source = format!("id: example\nnamespace: company.team\n{flow}");
            let validation = crate::validate(&source);
            // Of what is deprecated the reader warns.
            let errors = validation.violations.iter().filter(|why| why.severity == windhover_types::Severity::Error);
            wrong.extend(errors.map(|why| format!("{}: {}: {}", entry.name, why.path, why.message)));
            let names = std::iter::once(&entry.name).chain(entry.aliases);
            assert!(names.into_iter().any(|name| source.contains(name)), "{} is not in its example", entry.name);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
