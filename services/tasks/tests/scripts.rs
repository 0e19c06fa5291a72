//! Scripts as processes of the worker.

mod support;

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use support::{Ran, Try};
use windhover_engine::MetricKind;
use windhover_storage::FileUri;
use windhover_tasks::process::ProcessLimits;
use windhover_testkit::wait_until;
use windhover_types::{Level, State, Tenant};

const COMMANDS: &str = "io.kestra.plugin.scripts.shell.Commands";
const SCRIPT: &str = "io.kestra.plugin.scripts.shell.Script";

fn processes() -> Try {
    Try::with_processes(ProcessLimits::default())
}

fn process_runner(mut properties: Value) -> Value {
    properties["taskRunner"] = json!({"type": "io.kestra.plugin.core.runner.Process"});
    properties
}

async fn shell(attempt: &Try, commands: &[&str]) -> Ran {
    attempt.run(COMMANDS, process_runner(json!({ "commands": commands }))).await
}

async fn content(attempt: &Try, uri: &Value) -> String {
    let uri: FileUri = uri.as_str().expect("a text").parse().expect("a URI");
    let bytes = attempt.files().read(&Tenant::main(), &uri, 1 << 20).await.expect("a file");
    String::from_utf8(bytes.to_vec()).expect("a text")
}

/// Whether a process runs; one that has ended and was not looked at by anybody yet does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}

async fn until_gone(pids: &[String]) {
    wait_until("the processes to be gone", Duration::from_secs(20), || async {
        pids.iter().all(|pid| !runs(pid)).then_some(())
    })
    .await
    .expect("all of them end");
}

/// The numbers that [`FAMILY`] has said.
fn pids_of<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let said = lines.filter_map(|line| line.split_once(' '));
    said.filter(|(name, _)| ["main", "one", "two", "three"].contains(name)).map(|(_, pid)| pid.to_owned()).collect()
}

/// A script whose children leave its group and its session; each says its number and its place.
const FAMILY: &str = "
    setsid sh -c 'echo \"one $$\"; sleep 1000 & echo \"two $!\"; touch one; wait' &
    (setsid sh -c 'trap \"\" TERM HUP INT; echo \"three $$\"; touch three; while :; do sleep 1; done' &)
    echo \"main $$\"
    echo \"at $PWD $HOME\"
";

#[tokio::test]
async fn a_worker_without_the_right_runs_nothing_and_names_the_setting() {
    let ran = shell(&Try::default(), &["touch /tmp/never"]).await;
    assert!(ran.error().contains("windhover.worker.processes.enabled"), "{}", ran.error());
}

#[tokio::test]
async fn what_a_script_says_becomes_outputs_metrics_and_lines() {
    let mut attempt = processes();
    attempt.world.secrets.lock().insert("TOKEN".to_owned(), "hunter2-hunter2".to_owned());
    attempt.variables = support::variables(json!({"inputs": {"name": "you"}}));
    let ran = shell(
        &attempt,
        &[
            "echo 'hello {{ inputs.name }}'; echo oops >&2; printf 'no end'",
            "echo; echo '{{ secret(\"TOKEN\") }} is here'",
            r#"echo '::{"outputs":{"rows":42,"l":[1]}}::'"#,
            r#"echo '::{"outputs":{"rows":43}}::'"#,
            r#"echo '::{"metrics":[{"name":"n","type":"counter","value":2,"tags":{"t":"a"}}]}::' >&2"#,
            r#"echo '::{"metrics":[{"name":"n","type":"counter","value":3,"tags":{"t":"a"}}],"logs":[{"level":"DEBUG","message":"quiet"}]}::'"#,
            "echo '::{broken}::'; echo ' ::{\"outputs\":{}}::'",
        ],
    )
    .await;
    assert_eq!(ran.outputs(), json!({"vars": {"rows": 43, "l": [1]}, "exitCode": 0, "outputFiles": {}}));
    let outcome = ran.outcome.as_ref().expect("an outcome");
    // Lines on the error stream change no state.
    assert_eq!(outcome.state, State::Success);
    let metrics: Vec<_> =
        outcome.metrics.iter().map(|metric| (metric.name.as_str(), metric.kind, metric.value)).collect();
    assert_eq!(metrics, [("n", MetricKind::Counter, 5.0)]);
    let has = |level: Level, text: &str| ran.logs.contains(&(level, text.to_owned()));
    assert!(has(Level::Info, "hello you") && has(Level::Error, "oops") && has(Level::Info, "no end"), "{:?}", ran.logs);
    assert!(has(Level::Info, "****** is here") && has(Level::Debug, "quiet"), "{:?}", ran.logs);
    assert!(has(Level::Warn, "Invalid outputs '::{broken}::'"), "{:?}", ran.logs);
    assert!(has(Level::Info, " ::{\"outputs\":{}}::") && !ran.said("rows"), "{:?}", ran.logs);
}

#[tokio::test]
async fn a_failed_script_keeps_what_it_has_published() {
    let attempt = processes();
    let mut properties = process_runner(json!({
        "commands": ["echo x > made.txt", "echo '::{\"outputs\":{\"a\":1}}::'", "(exit 3)", "echo never"],
        "outputFiles": ["*.txt"],
    }));
    let ran = attempt.run(COMMANDS, properties.clone()).await;
    assert_eq!(ran.error(), "Command failed with exit code 3");
    let outputs = ran.outputs();
    assert_eq!((&outputs["exitCode"], &outputs["vars"]), (&json!(3), &json!({"a": 1})));
    assert_eq!(content(&attempt, &outputs["outputFiles"]["made.txt"]).await, "x\n");
    assert!(!ran.said("never"));
    // Without `set -e` the last command decides.
    properties["failFast"] = json!(false);
    let ran = attempt.run(COMMANDS, properties).await;
    assert!(ran.said("never") && ran.error().is_empty());
    // A process that a signal has ended.
    assert_eq!(shell(&attempt, &["kill -9 $$"]).await.error(), "Command failed with exit code 137");
    // Nothing to run.
    let missing = process_runner(json!({"commands": ["x"], "interpreter": ["no-such-program"]}));
    assert!(attempt.run(COMMANDS, missing).await.error().contains("'no-such-program' cannot be run"));
}

#[tokio::test]
async fn files_go_in_and_come_out() {
    let mut attempt = processes();
    let stored = FileUri::task_run("company.team", "hello", support::id(1), "other", support::id(9)).below("data.csv");
    let stored = stored.expect("a URI");
    attempt.files().put(&Tenant::main(), &stored, "from the storage").await.expect("stored");
    let namespace = FileUri::namespace("company.team").below("lib/tool.sh").expect("a URI");
    attempt.files().put(&Tenant::main(), &namespace, "echo tool").await.expect("stored");
    attempt.variables = support::variables(json!({"inputs": {"file": stored.to_string()}}));
    let ran = attempt
        .run(
            SCRIPT,
            process_runner(json!({
                "inputFiles": {"n.sh": "nsfile:///lib/tool.sh", "in/a.txt": "{{ inputs.file }}", "b.txt": "dir {{ workingDir }}", "c.txt": null},
                "namespaceFiles": {"enabled": true},
                "outputDirectory": true,
                "outputFiles": ["out/**", "single.txt"],
                "env": {"NAME": "{{ 'value' | upper }}"},
                "beforeCommands": ["mkdir out"],
                "script": "sh lib/tool.sh\ncmp n.sh lib/tool.sh\ncat in/a.txt > out/a\ncp '{{ inputs.file }}' out/b\n\
                    test \"dir $PWD\" = \"$(cat b.txt)\" && test ! -e c.txt && test \"$WORKING_DIR\" = '{{ workingDir }}'\n\
                    echo $NAME > {{ outputFiles['single.txt'] }}\necho d > $OUTPUT_DIR/d\nmkdir {{ outputDir }}/e\necho f > {{ outputDir }}/e/f",
            })),
        )
        .await;
    assert!(ran.error().is_empty() && ran.said("tool"), "{} {:?}", ran.error(), ran.logs);
    let metrics = &ran.outcome.as_ref().expect("an outcome").metrics;
    assert!(metrics.iter().any(|metric| metric.name == "namespacefiles.count" && metric.value == 1.0), "{metrics:?}");
    let files = &ran.outputs()["outputFiles"];
    let names: Vec<&String> = files.as_object().expect("a map").keys().collect();
    assert_eq!(names, ["d", "e/f", "out/a", "out/b", "single.txt"]);
    for (name, text) in [
        ("out/a", "from the storage"),
        ("out/b", "from the storage"),
        ("single.txt", "VALUE\n"),
        ("d", "d\n"),
        ("e/f", "f\n"),
    ] {
        assert_eq!(content(&attempt, &files[name]).await, text, "{name}");
    }
}

#[tokio::test]
async fn a_process_sees_what_it_was_given_and_no_more() {
    let attempt = processes();
    let ran = attempt.run(COMMANDS, process_runner(json!({"commands": ["env"], "env": {"MINE": "a=b"}}))).await;
    let mut names: Vec<&str> = ran
        .logs
        .iter()
        .filter(|(level, _)| *level == Level::Info)
        .filter_map(|(_, line)| line.split('=').next())
        .collect();
    names.retain(|name| !["LANG", "LC_ALL", "LC_CTYPE", "TZ", "PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    // One variable of the worker was handed on by name.
    assert_eq!(names, ["CARGO_PKG_NAME", "HOME", "MINE", "PATH", "TMPDIR", "WORKING_DIR"]);
    assert!(ran.said("MINE=a=b"));
    let home = ran.logs.iter().find_map(|(_, line)| line.strip_prefix("HOME=")).expect("a home");
    assert_ne!(Some(home.to_owned()), std::env::var("HOME").ok());
    assert!(!Path::new(home).exists(), "its home goes with it");
}

#[tokio::test]
async fn a_dropped_attempt_leaves_no_process_and_no_folder() {
    let (log, running) = processes().start(SCRIPT, process_runner(json!({"script": format!("{FAMILY}\nsleep 1000")})));
    let mut lines: Vec<String> = Vec::new();
    wait_until("all of the family", Duration::from_secs(20), || {
        lines.extend(log.take().into_iter().map(|line| line.message));
        let there = ["one", "two", "three", "main", "at"];
        let all = there.iter().all(|name| lines.iter().any(|line| line.starts_with(name)));
        async move { all.then_some(()) }
    })
    .await
    .expect("they start");
    let pids = pids_of(lines.iter().map(String::as_str));
    assert!(pids.len() == 4 && pids.iter().all(|pid| runs(pid)), "{lines:?}");
    running.abort();
    until_gone(&pids).await;
    let at = lines.iter().find(|line| line.starts_with("at")).expect("the place");
    for folder in at.split_whitespace().skip(1) {
        wait_until("the folder to be gone", Duration::from_secs(20), || async {
            (!Path::new(folder).exists()).then_some(())
        })
        .await
        .expect("it goes");
    }
}

#[tokio::test]
async fn children_in_the_background_end_with_their_script() {
    let ran = processes()
        .run(
            SCRIPT,
            process_runner(
                json!({"script": format!("{FAMILY}\nuntil test -e one -a -e three; do sleep 0.05; done; exit 0")}),
            ),
        )
        .await;
    let pids = pids_of(ran.logs.iter().map(|(_, line)| line.as_str()));
    assert!(ran.error().is_empty() && pids.len() == 4, "{:?}", ran.logs);
    // Everything is gone when the attempt ends, not some time later.
    assert!(pids.iter().all(|pid| !runs(pid)), "{:?}", ran.logs);
}

#[tokio::test]
async fn limits_kill_a_script_and_say_which() {
    let within = |limits| Try::with_processes(ProcessLimits { memory: 128 << 20, ..limits });
    let usual = ProcessLimits::default();
    // One process is stopped by the kernel, at the moment when it asks for too much.
    let alone = shell(&within(usual), &["x=$(head -c 300000000 /dev/zero | tr '\\0' x); echo got it"]).await;
    assert!(!alone.error().is_empty() && !alone.said("got it"), "{:?}", alone.logs);
    // Several together are looked at.
    let many = "for i in 1 2 3 4 5; do (dd if=/dev/zero bs=40M count=1 | sleep 1000) & done; wait";
    let many = shell(&within(usual), &[many]).await;
    assert!(many.error().contains("windhover.worker.processes.max-memory"), "{}", many.error());
    let forks = within(ProcessLimits { processes: 8, ..usual });
    let forks = shell(&forks, &["for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; wait"]).await;
    assert!(forks.error().contains("windhover.worker.processes.max-processes"), "{}", forks.error());
    let long = within(ProcessLimits { duration: Duration::from_secs(3), ..usual });
    let long = shell(&long, &["echo '::{\"outputs\":{\"a\":1}}::'; sleep 1000"]).await;
    assert!(long.error().contains("windhover.worker.processes.max-duration"), "{}", long.error());
    assert_eq!(long.outputs()["vars"], json!({"a": 1}));
}

#[tokio::test]
async fn output_beyond_the_limit_is_left_out_and_outputs_still_count() {
    let attempt = Try::with_processes(ProcessLimits { output_lines: 100, output_bytes: 10_000, ..Default::default() });
    let ran = shell(&attempt, &["seq 1 100000; echo '::{\"outputs\":{\"end\":true}}::'"]).await;
    assert_eq!(ran.outputs()["vars"], json!({"end": true}));
    assert!(ran.said("99900 more lines"), "{:?}", ran.logs.last());
    assert_eq!(ran.logs.iter().filter(|(level, _)| *level == Level::Info).count(), 100);
}

#[tokio::test]
async fn a_script_that_means_a_container_is_told_where_it_runs() {
    let attempt = processes();
    let ran = attempt.run(SCRIPT, json!({"script": "true", "containerImage": "ubuntu"})).await;
    let warned = ran.logs.iter().any(|(level, line)| *level == Level::Warn && line.contains("'ubuntu'"));
    assert!(warned && ran.error().is_empty(), "{:?}", ran.logs);
    let ran = attempt.run(SCRIPT, json!({"script": "true"})).await;
    assert!(ran.logs.iter().any(|(level, line)| *level == Level::Info && line.contains("not in a container")));
    let ran = attempt.run(SCRIPT, process_runner(json!({"script": "true"}))).await;
    assert!(!ran.said("container"));
}

#[tokio::test]
async fn a_script_of_a_language_finds_what_lies_beside_it() {
    let attempt = processes();
    let properties = process_runner(json!({
        "inputFiles": {"helper.js": "module.exports = 'helped';"},
        "script": "console.log(require('./helper.js'), '{{ 1 + 1 }}');",
        "outputFiles": ["*.js"],
    }));
    let ran = attempt.run("io.kestra.plugin.scripts.node.Script", properties).await;
    if ran.said("not found") {
        eprintln!("skipped: node is not installed");
        return;
    }
    assert!(ran.said("helped 2"), "{} {:?}", ran.error(), ran.logs);
    let outputs = ran.outputs();
    assert_eq!(
        outputs["outputFiles"].as_object().map(|files| files.keys().collect::<Vec<_>>()),
        Some(vec![&"helper.js".to_owned()])
    );
}
