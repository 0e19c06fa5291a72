//! Scripts, and what runs them; queries of databases.

use super::{PropertyDoc, TypeDoc};
use crate::table::core;

const COMMANDS: PropertyDoc = ("commands", "", "Commands, one after another.");
const SCRIPT: PropertyDoc = ("script", "", "The script: as many lines as it needs.");
const QUIET: PropertyDoc = ("quiet", "true", "JBang says nothing of its own.");
const EXTENSION: PropertyDoc = ("extension", ".java", "What the name of the script's file ends with.");

/// Of all of them.
const COMMON: [PropertyDoc; 20] = [
    ("taskRunner", "", "What runs the commands: a process of the worker."),
    ("containerImage", "", "Image for container runners; accepted and ignored by processes."),
    ("beforeCommands", "", "Commands that run before, in the same shell."),
    ("env", "", "Variables of the environment."),
    ("interpreter", "", "What is started with the commands as its last argument, such as `[/bin/sh, -c]`."),
    ("failFast", "true", "Ends with the first command that fails."),
    ("namespaceFiles", "", "Files of namespaces that are put into the folder."),
    ("namespaceFiles.enabled", "true", "Whether they are."),
    ("namespaceFiles.include", "", "Only files of these patterns."),
    ("namespaceFiles.exclude", "", "Without files of these patterns."),
    ("namespaceFiles.namespaces", "", "Of which namespaces; the flow's own when it is not given."),
    ("namespaceFiles.ifExists", "OVERWRITE", "What happens to a file that is there already."),
    ("namespaceFiles.folderPerNamespace", "false", "Each namespace's files in a folder of its name."),
    ("inputFiles", "", "Files that are written first: content, or URI of a file, by name."),
    ("outputFiles", "", "Patterns of files that are kept."),
    ("targetOS", "AUTO", "System of the machine that runs it."),
    ("runner", "", "Older form of `taskRunner`; only PROCESS is possible."),
    ("docker", "", "About containers; accepted and ignored by processes."),
    ("outputDirectory", "false", "Older form of `outputFiles`: all files of the folder `{{ outputDir }}` are kept."),
    ("warningOnStdErr", "", "Accepted; without effect."),
];

const OUTPUTS: &[(&str, &str, &str)] = &[
    ("exitCode", "number", "What the last command ended with."),
    ("vars", "map", "What lines such as `::{\"outputs\": {\"rows\": 3}}::` said."),
    ("outputFiles", "map", "URIs of the files that were kept, by name."),
];

/// The properties of all scripts after these.
const fn with<const N: usize>(own: &[PropertyDoc]) -> [PropertyDoc; N] {
    let mut all = [COMMON[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < own.len() { own[at] } else { COMMON[at - own.len()] };
        at += 1;
    }
    all
}

const OF_COMMANDS: &[PropertyDoc] = &with::<21>(&[COMMANDS]);
const OF_SCRIPT: &[PropertyDoc] = &with::<21>(&[SCRIPT]);
const OF_JBANG_COMMANDS: &[PropertyDoc] = &with::<22>(&[COMMANDS, QUIET]);
const OF_JBANG_SCRIPT: &[PropertyDoc] = &with::<23>(&[SCRIPT, QUIET, EXTENSION]);

macro_rules! commands {
    ($name:literal, $doc:literal, $properties:expr, $command:literal) => {
        TypeDoc {
            name: concat!("io.kestra.plugin.scripts.", $name),
            doc: $doc,
            properties: $properties,
            outputs: OUTPUTS,
            example: concat!(
                "id: run\ntype: io.kestra.plugin.scripts.",
                $name,
                "\ntaskRunner:\n  type: io.kestra.plugin.core.runner.Process\ncommands:\n  - ",
                $command,
                "\n"
            ),
        }
    };
}

macro_rules! script {
    ($name:literal, $doc:literal, $properties:expr, $line:literal) => {
        TypeDoc {
            name: concat!("io.kestra.plugin.scripts.", $name),
            doc: $doc,
            properties: $properties,
            outputs: OUTPUTS,
            example: concat!(
                "id: run\ntype: io.kestra.plugin.scripts.",
                $name,
                "\ntaskRunner:\n  type: io.kestra.plugin.core.runner.Process\nscript: |\n  ",
                $line,
                "\n"
            ),
        }
    };
}

pub(super) const DOCS: &[TypeDoc] = &[
    commands!("shell.Commands", "Runs commands of the shell.", OF_COMMANDS, "ls -l"),
    script!("shell.Script", "Runs a script of the shell.", OF_SCRIPT, "echo \"hello from $(hostname)\""),
    commands!("python.Commands", "Runs Python by commands.", OF_COMMANDS, "python main.py"),
    script!("python.Script", "Runs a Python script.", OF_SCRIPT, "print('hello')"),
    commands!("node.Commands", "Runs Node.js by commands.", OF_COMMANDS, "node main.js"),
    script!("node.Script", "Runs a script of Node.js.", OF_SCRIPT, "console.log('hello')"),
    commands!("ruby.Commands", "Runs Ruby by commands.", OF_COMMANDS, "ruby main.rb"),
    script!("ruby.Script", "Runs a Ruby script.", OF_SCRIPT, "puts 'hello'"),
    commands!("r.Commands", "Runs R by commands.", OF_COMMANDS, "Rscript main.R"),
    script!("r.Script", "Runs an R script.", OF_SCRIPT, "print('hello')"),
    commands!("julia.Commands", "Runs Julia by commands.", OF_COMMANDS, "julia main.jl"),
    script!("julia.Script", "Runs a Julia script.", OF_SCRIPT, "println(\"hello\")"),
    commands!("powershell.Commands", "Runs PowerShell by commands.", OF_COMMANDS, "Get-ChildItem"),
    script!("powershell.Script", "Runs a PowerShell script.", OF_SCRIPT, "Write-Output 'hello'"),
    commands!("jbang.Commands", "Runs Java through JBang by commands.", OF_JBANG_COMMANDS, "jbang main.java"),
    script!(
        "jbang.Script",
        "Runs a Java script through JBang.",
        OF_JBANG_SCRIPT,
        "class hello { public static void main(String[] a) { System.out.println(\"hello\"); } }"
    ),
    TypeDoc {
        name: core!("runner.Process"),
        doc: "Runs the commands of a script as processes of the worker.",
        properties: &[],
        outputs: &[],
        example: "id: run
type: io.kestra.plugin.scripts.shell.Commands
taskRunner:
  type: io.kestra.plugin.core.runner.Process
commands:
  - ls -l
",
    },
    TypeDoc {
        name: "io.kestra.plugin.jdbc.postgresql.Query",
        doc: "Runs one SQL statement on PostgreSQL.",
        properties: QUERY,
        outputs: &[
            ("uri", "uri", "With STORE: a file, a row each (ION)."),
            ("rows", "list", "With FETCH: the rows."),
            ("row", "map", "With FETCH_ONE: the first row."),
            ("size", "number", "How many rows there were."),
        ],
        example: "id: orders
type: io.kestra.plugin.jdbc.postgresql.Query
url: jdbc:postgresql://db:5432/shop
username: reader
password: \"{{ secret('DB_PASSWORD') }}\"
sql: SELECT count(*) AS orders FROM orders
fetchType: FETCH_ONE
",
    },
    TypeDoc {
        name: "io.kestra.plugin.jdbc.postgresql.Queries",
        doc: "Runs SQL statements on PostgreSQL, one after another.",
        properties: QUERIES,
        outputs: &[("outputs", "list", "What each statement gave: `uri`, `rows` or `row`, and `size`.")],
        example: "id: clean
type: io.kestra.plugin.jdbc.postgresql.Queries
url: jdbc:postgresql://db:5432/shop
sql: |
  DELETE FROM orders WHERE done;
  SELECT count(*) AS left FROM orders;
fetchType: FETCH
",
    },
];

/// Of both tasks over a database.
const JDBC: [PropertyDoc; 17] = [
    ("url", "", "The database: `jdbc:postgresql://HOST:PORT/DATABASE`."),
    ("username", "", "Who logs in."),
    ("password", "", "With which password; best a `secret()`."),
    ("sql", "", "What to run; `:name` stands for a parameter."),
    ("parameters", "", "Values of the parameters, by name."),
    ("fetchType", "NONE", "What becomes of the rows: a file, all of them, the first one, nothing."),
    ("fetchSize", "10000", "Rows that are fetched at a time."),
    ("timeZoneId", "", "Time zone of times without one."),
    ("ssl", "false", "Over TLS."),
    ("sslMode", "", "How certificates are checked."),
    ("sslRootCert", "", "Certificates that the server's is checked with (PEM)."),
    ("sslCert", "", "The client's certificate (PEM)."),
    ("sslKey", "", "The client's key (PEM); best a `secret()`."),
    ("sslKeyPassword", "", "Password of the key, if it is encrypted (PKCS#8); best a `secret()`."),
    ("fetch", "false", "Older form of `fetchType: FETCH`."),
    ("fetchOne", "false", "Older form of `fetchType: FETCH_ONE`."),
    ("store", "false", "Older form of `fetchType: STORE`."),
];

const QUERY: &[PropertyDoc] = &of_jdbc::<19>(&[
    ("afterSQL", "", "A statement that runs in the same transaction, when the rows have been read."),
    ("autoCommit", "true", "Each statement for itself; only `true` is possible."),
]);
const QUERIES: &[PropertyDoc] = &of_jdbc::<18>(&[("transaction", "true", "All statements, or none.")]);

/// The properties of both with these.
const fn of_jdbc<const N: usize>(own: &[PropertyDoc]) -> [PropertyDoc; N] {
    let mut all = [JDBC[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < JDBC.len() { JDBC[at] } else { own[at - JDBC.len()] };
        at += 1;
    }
    all
}
