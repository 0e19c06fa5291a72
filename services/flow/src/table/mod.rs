//! The table of types: tasks, triggers and conditions by name and alias, with their properties. Everything that has
//! to know a type (checks, compilation, workers, schemas) reads it here; a new type is a new entry.

mod conditions;
mod docs;
mod flow;
mod http;
mod jdbc;
mod notifications;
mod scripts;
mod storage;
mod tasks;
mod triggers;
mod unbuilt;
mod upkeep;

use std::{collections::HashMap, sync::LazyLock};

pub use docs::{PropertyDoc, TypeDoc, doc_of, property_doc};
pub use flow::{
    CHECK, CONCURRENCY, CONDITION_COMMON, FLOW, INPUT_COMMON, LISTENER, OUTPUT, PLUGIN_DEFAULT, RETRY, SLA,
    TASK_COMMON, TRIGGER_COMMON, WORKER_GROUP, input_properties,
};

pub use tasks::DAG_TASK;
pub(crate) use tasks::{DIRECTORY, ITEMS_TYPE, MERGE_TYPE, SPLIT_TYPE};
pub use triggers::{FILTER, FILTER_PRECONDITION, FLOW_PRECONDITION, HTTP_TRIGGER, PRECONDITIONS, TIME_WINDOW};

/// A type that flows can name.
#[derive(Debug)]
pub struct TaskType {
    /// The canonical name.
    pub name: &'static str,
    /// Older names that mean the same (flow model 1.x reference 1.7, notifications reference 1.1).
    pub aliases: &'static [&'static str],
    pub family: Family,
    /// Whether the executor can do it without a worker: it only computes.
    pub inline: bool,
    /// Its own properties, without those of every task, trigger or condition.
    pub properties: &'static [PropertySpec],
}

/// Where a type may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    Task,
    Trigger,
    Condition,
    /// A task runner, a log exporter and the like: parts of tasks.
    Part,
}

/// What reads and runs a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Runnable,
    /// Changes its execution: always runs in the executor, never again when it fails.
    Updating,
    Sequential,
    AllowFailure,
    Parallel,
    If,
    Switch,
    ForEach,
    EachSequential,
    EachParallel,
    Dag,
    LoopUntil,
    Pause,
    WorkingDirectory,
    ForEachItem,
    /// The tasks of a stored template; there are none of these here.
    Template,
    /// A task that flows do not name: part of another one.
    Generated,
    Subflow,
    FlowTrigger,
    Webhook,
    Schedule,
    ScheduleOnDates,
    /// Asks a server again and again.
    HttpTrigger,
    ExecutionStatus,
    ExecutionNamespace,
    ExecutionFlow,
    ExecutionLabels,
    Or,
    Not,
    Expression,
    DateTimeBetween,
    TimeBetween,
    DayWeek,
    DayWeekInMonth,
    Weekend,
    PublicHoliday,
    ExecutionOutputs,
    HasRetryAttempt,
    ListeningFlow,
    ListeningNamespace,
    Multiple,
    /// Runs the processes of script tasks.
    Runner,
    /// Known, and not built yet: refused as unsupported.
    Unbuilt(Role),
}

impl Family {
    pub const fn role(self) -> Role {
        match self {
            Family::Runnable
            | Family::Updating
            | Family::Sequential
            | Family::AllowFailure
            | Family::Parallel
            | Family::If
            | Family::Switch
            | Family::ForEach
            | Family::EachSequential
            | Family::EachParallel
            | Family::Dag
            | Family::LoopUntil
            | Family::Pause
            | Family::WorkingDirectory
            | Family::ForEachItem
            | Family::Template
            | Family::Generated
            | Family::Subflow => Role::Task,
            Family::FlowTrigger
            | Family::Webhook
            | Family::Schedule
            | Family::ScheduleOnDates
            | Family::HttpTrigger => Role::Trigger,
            Family::ExecutionStatus
            | Family::ExecutionNamespace
            | Family::ExecutionFlow
            | Family::ExecutionLabels
            | Family::Or
            | Family::Not
            | Family::Expression
            | Family::DateTimeBetween
            | Family::TimeBetween
            | Family::DayWeek
            | Family::DayWeekInMonth
            | Family::Weekend
            | Family::PublicHoliday
            | Family::ExecutionOutputs
            | Family::HasRetryAttempt
            | Family::ListeningFlow
            | Family::ListeningNamespace
            | Family::Multiple => Role::Condition,
            Family::Runner => Role::Part,
            Family::Unbuilt(role) => role,
        }
    }
}

/// A property of a type.
#[derive(Debug, Clone, Copy)]
pub struct PropertySpec {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub kind: Kind,
    pub required: bool,
    pub support: Support,
}

/// What a property takes. Where a scalar may be a template it is checked only when it is a literal.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A scalar, taken as text as it was written; a template.
    Text,
    /// A scalar that is never a template.
    Literal,
    Bool,
    Int,
    Duration,
    Level,
    Choice(&'static [&'static str]),
    /// A map of anything, or a text that renders to one.
    Map,
    /// A list of anything, or a text that renders to one.
    List,
    /// Anything.
    Any,
    /// A map with these keys, or a text that renders to one.
    Object(&'static [PropertySpec]),
    /// A map with a `type` of [`Role::Part`] and that type's properties.
    Part,
    /// Lists of tasks, conditions, inputs and the like: read by what knows them.
    Nested,
}

/// How much of a property is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    Built,
    /// Refused as unsupported.
    Unbuilt,
    /// Refused as unsupported unless it is this literal, which changes nothing.
    Only(&'static str),
    /// Refused as unsupported when it is this literal.
    Except(&'static str),
}

impl PropertySpec {
    pub const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, aliases: &[], kind, required: false, support: Support::Built }
    }

    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    #[must_use]
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    #[must_use]
    pub const fn unbuilt(mut self) -> Self {
        self.support = Support::Unbuilt;
        self
    }

    #[must_use]
    pub const fn only(mut self, literal: &'static str) -> Self {
        self.support = Support::Only(literal);
        self
    }

    #[must_use]
    pub const fn except(mut self, literal: &'static str) -> Self {
        self.support = Support::Except(literal);
        self
    }

    pub fn is_named(&self, name: &str) -> bool {
        self.name == name || self.aliases.contains(&name)
    }
}

impl TaskType {
    /// The properties that every type of its role has.
    pub fn common(&self) -> &'static [PropertySpec] {
        match self.family.role() {
            Role::Task => TASK_COMMON,
            Role::Trigger => TRIGGER_COMMON,
            Role::Condition | Role::Part => CONDITION_COMMON,
        }
    }

    /// Its own property of this name or alias, or the common one.
    pub fn property(&self, name: &str) -> Option<&'static PropertySpec> {
        self.properties.iter().chain(self.common()).find(|spec| spec.is_named(name))
    }

    pub fn is_built(&self) -> bool {
        !matches!(self.family, Family::Unbuilt(_))
    }
}

/// Every known type.
pub fn types() -> impl Iterator<Item = &'static TaskType> {
    [
        tasks::TYPES,
        storage::TYPES,
        jdbc::TYPES,
        scripts::TYPES,
        scripts::RUNNERS,
        upkeep::TYPES,
        triggers::TYPES,
        conditions::TYPES,
        notifications::BUILT,
        notifications::UNBUILT,
        notifications::TRIGGERS,
        unbuilt::TASKS,
        unbuilt::PARTS,
    ]
    .into_iter()
    .flatten()
}

static BY_NAME: LazyLock<HashMap<String, &'static TaskType>> = LazyLock::new(|| {
    let names = |entry: &'static TaskType| std::iter::once(entry.name).chain(entry.aliases.iter().copied());
    types().flat_map(|entry| names(entry).map(move |name| (name.to_ascii_lowercase(), entry))).collect()
});

/// The type of this name or alias, in any letter case.
pub fn lookup(name: &str) -> Option<&'static TaskType> {
    BY_NAME.get(&name.to_ascii_lowercase()).copied()
}

/// The known canonical name of this role that looks most like `name`, if one does.
pub(crate) fn nearest_type(name: &str, role: Role) -> Option<&'static str> {
    // What was meant usually ends alike: compare the class first, so that a wrong package is forgiven.
    let class = |name: &str| name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let wanted = class(name);
    let candidates = || types().filter(|entry| entry.family.role() == role);
    candidates()
        .find(|entry| class(entry.name) == wanted)
        .map(|entry| entry.name)
        .or_else(|| nearest(name, candidates().map(|entry| entry.name)))
}

/// The known name that was probably meant, whatever it is a type of.
pub fn probably_meant(name: &str) -> Option<&'static str> {
    let roles = [Role::Task, Role::Trigger, Role::Condition, Role::Part];
    let same_end = |meant: &&str| meant.rsplit('.').next() == name.rsplit('.').next();
    let mut found = roles.into_iter().filter_map(|role| nearest_type(name, role));
    let first = found.next();
    first.filter(same_end).or_else(|| found.find(same_end)).or(first)
}

/// The candidate with the smallest edit distance, if it is small in relation to the length.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 128;
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    candidates
        .map(|candidate| (distance(&lower, &candidate.to_ascii_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len().min(name.len()) / 4))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

/// Names of Kestra's packages.
macro_rules! core {
    ($name:literal) => {
        concat!("io.kestra.plugin.core.", $name)
    };
}
macro_rules! old_task {
    ($name:literal) => {
        concat!("io.kestra.core.tasks.", $name)
    };
}
macro_rules! old_condition {
    ($name:literal) => {
        concat!("io.kestra.core.models.conditions.types.", $name)
    };
}
macro_rules! old_trigger {
    ($name:literal) => {
        concat!("io.kestra.core.models.triggers.types.", $name)
    };
}
/// Properties of whatever makes HTTP calls: its own that come before those of the call, and its own after them.
macro_rules! call_properties {
    ($($before:expr),+; $($own:expr),+) => {
        call_properties![@all [$($before,)+] $($own),+]
    };
    ($($own:expr),+) => {
        call_properties![@all [] $($own),+]
    };
    (@all [$($before:expr,)*] $($own:expr),+) => {
        &[
            $($before,)*
            http::URI,
            http::METHOD,
            http::PARAMS,
            http::HEADERS,
            http::BODY,
            http::FORM_DATA,
            http::CONTENT_TYPE,
            http::OPTIONS,
            $($own,)+
            http::SSL_OPTIONS,
        ]
    };
}
pub(crate) use {call_properties, core, old_condition, old_task, old_trigger};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_and_alias_means_one_type() {
        let mut seen = HashMap::new();
        for entry in types() {
            for name in std::iter::once(&entry.name).chain(entry.aliases) {
                let before = seen.insert(name.to_ascii_lowercase(), entry.name);
                assert_eq!(before, None, "{name}");
            }
        }
    }

    #[test]
    fn types_are_found_by_alias_and_in_any_letter_case() {
        let name = |name: &str| lookup(name).map(|entry| entry.name);
        assert_eq!(name("IO.KESTRA.PLUGIN.CORE.LOG.LOG"), Some("io.kestra.plugin.core.log.Log"));
        assert_eq!(name("io.kestra.core.tasks.flows.Flow"), Some("io.kestra.plugin.core.flow.Subflow"));
        assert_eq!(name("io.kestra.core.tasks.flows.Worker"), Some("io.kestra.plugin.core.flow.WorkingDirectory"));
        assert_eq!(name("io.kestra.plugin.core.flow.WaitFor"), Some("io.kestra.plugin.core.flow.LoopUntil"));
        assert_eq!(
            name("io.kestra.core.models.conditions.types.VariableCondition"),
            Some("io.kestra.plugin.core.condition.Expression")
        );
        assert_eq!(
            name("io.kestra.plugin.core.condition.ExecutionStatusCondition"),
            Some("io.kestra.plugin.core.condition.ExecutionStatus")
        );
        assert_eq!(
            name("io.kestra.plugin.notifications.google.GoogleChatExecution"),
            Some("io.kestra.plugin.googleworkspace.chat.GoogleChatExecution")
        );
        assert_eq!(name("io.kestra.core.tasks.executions.Count"), None, "the alias is Counts");
        assert_eq!(name("io.kestra.core.tasks.executions.Counts"), Some("io.kestra.plugin.core.execution.Count"));
        assert_eq!(name("io.kestra.plugin.fs.http.Trigger"), Some("io.kestra.plugin.core.http.Trigger"));
        assert_eq!(name("io.kestra.plugin.core.flows.Switch"), None);
    }

    #[test]
    fn what_was_probably_meant_is_the_nearest_name() {
        assert_eq!(nearest_type("io.kestra.plugin.core.log.Logg", Role::Task), Some("io.kestra.plugin.core.log.Log"));
        assert_eq!(nearest_type("io.kestra.core.flows.Switch", Role::Task), Some("io.kestra.plugin.core.flow.Switch"));
        assert_eq!(nearest_type("com.example.Unheard", Role::Task), None);
    }
}
