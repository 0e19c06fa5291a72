//! Script tasks and their runners (flow model reference 5.8 and 5.9, the same of 1.x 5.7).

use super::{DIRECTORY, Family, Kind, PropertySpec, TaskType, core};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

/// Of every script task.
const SCRIPT: [PropertySpec; 14] = [
    new("taskRunner", Kind::Part),
    new("containerImage", Kind::Text),
    new("beforeCommands", Kind::List),
    new("env", Kind::Map),
    new("interpreter", Kind::List),
    new("failFast", Kind::Bool),
    // namespaceFiles, inputFiles, outputFiles
    DIRECTORY[1],
    DIRECTORY[2],
    DIRECTORY[3],
    new("targetOS", Kind::Choice(&["LINUX", "WINDOWS", "AUTO"])),
    // Older ways to say the same; the last has no effect any more.
    new("runner", Kind::Choice(&["PROCESS", "DOCKER"])).except("DOCKER"),
    new("docker", Kind::Map),
    new("outputDirectory", Kind::Bool),
    new("warningOnStdErr", Kind::Bool),
];

const COMMANDS: PropertySpec = new("commands", Kind::List).required();
const TEXT: PropertySpec = new("script", Kind::Text).required();
const QUIET: PropertySpec = new("quiet", Kind::Bool);
const EXTENSION: PropertySpec = new("extension", Kind::Text);

/// The properties of scripts with `N - 14` more.
const fn with<const N: usize>(own: &[PropertySpec]) -> [PropertySpec; N] {
    let mut all = [COMMANDS; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < own.len() { own[at] } else { SCRIPT[at - own.len()] };
        at += 1;
    }
    all
}

const OF_COMMANDS: &[PropertySpec] = &with::<15>(&[COMMANDS]);
const OF_SCRIPT: &[PropertySpec] = &with::<15>(&[TEXT]);
const OF_JBANG_COMMANDS: &[PropertySpec] = &with::<16>(&[COMMANDS, QUIET]);
const OF_JBANG_SCRIPT: &[PropertySpec] = &with::<17>(&[TEXT, QUIET, EXTENSION]);

const fn task(name: &'static str, properties: &'static [PropertySpec]) -> TaskType {
    TaskType { name, aliases: &[], family: Family::Runnable, inline: false, properties }
}

macro_rules! script {
    ($name:literal, $properties:expr) => {
        task(concat!("io.kestra.plugin.scripts.", $name), $properties)
    };
}

pub(super) const TYPES: &[TaskType] = &[
    script!("jbang.Commands", OF_JBANG_COMMANDS),
    script!("jbang.Script", OF_JBANG_SCRIPT),
    script!("julia.Commands", OF_COMMANDS),
    script!("julia.Script", OF_SCRIPT),
    script!("node.Commands", OF_COMMANDS),
    script!("node.Script", OF_SCRIPT),
    script!("powershell.Commands", OF_COMMANDS),
    script!("powershell.Script", OF_SCRIPT),
    script!("python.Commands", OF_COMMANDS),
    script!("python.Script", OF_SCRIPT),
    script!("r.Commands", OF_COMMANDS),
    script!("r.Script", OF_SCRIPT),
    script!("ruby.Commands", OF_COMMANDS),
    script!("ruby.Script", OF_SCRIPT),
    script!("shell.Commands", OF_COMMANDS),
    script!("shell.Script", OF_SCRIPT),
];

/// What runs the process of a script.
pub(super) const RUNNERS: &[TaskType] =
    &[TaskType { name: core!("runner.Process"), aliases: &[], family: Family::Runner, inline: false, properties: &[] }];
