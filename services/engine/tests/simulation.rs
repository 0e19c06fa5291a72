//! Random flows under random orders of events, with doubled and late events, lost workers, crashes and kills.
//!
//! After every step the invariants of `support::check` hold; in the end everything has ended, and, where the order of events cannot
//! matter, as it ends without any trouble. All kinds of tasks and all events take part. A failing seed is printed; `WINDHOVER_SIMULATION_SEED` runs that one alone,
//! `WINDHOVER_SIMULATION_SEEDS` sets how many are run.

// The bounds of the test come from the environment; what it tests reads nothing of the kind.
#![allow(clippy::disallowed_methods)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::json;
use support::{Shell, TestCipher, ended, started};
use windhover_engine::{Event, From, Job, Repeat, TaskRun, repeat};
use windhover_flow::TaskKind;
use windhover_types::{Id, Label, State};

const DEFAULT_SEEDS: u64 = 800;

#[test]
fn random_flows_end_as_they_should_whatever_happens_on_the_way() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("WINDHOVER_SIMULATION_SEED") {
        return simulate(seed, &mut Coverage::default());
    }
    let mut coverage = Coverage::default();
    let seeds = number("WINDHOVER_SIMULATION_SEEDS").unwrap_or(DEFAULT_SEEDS);
    for seed in 0..seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| simulate(seed, &mut coverage))) {
            eprintln!("the simulation fails; run it again with WINDHOVER_SIMULATION_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
    if seeds >= DEFAULT_SEEDS {
        coverage.assert_complete();
    }
}

/// What has taken part. A new kind of task or event does not compile before it has a name here.
#[derive(Default)]
struct Coverage {
    kinds: BTreeSet<&'static str>,
    events: BTreeSet<&'static str>,
    updating: BTreeSet<&'static str>,
}

impl Coverage {
    const KINDS: [&str; 16] = [
        "AllowFailure",
        "Dag",
        "EachParallel",
        "ForEach",
        "ForEachItem",
        "If",
        "Items",
        "LoopUntil",
        "Parallel",
        "Pause",
        "Runnable",
        "Sequential",
        "Subflow",
        "Switch",
        "Template",
        "WorkingDirectory",
    ];
    const EVENTS: [&str; 17] = [
        "Advance",
        "ChangeState",
        "ChangeTaskRunState",
        "ForceRun",
        "JobEnded",
        "JobLost",
        "JobStarted",
        "Kill",
        "Pause",
        "Restart",
        "Resume",
        "SetLabels",
        "Slot",
        "SubflowEnded",
        "SubflowReplaced",
        "TimerFired",
        "Unqueue",
    ];
    const UPDATING: [&str; 4] = ["Exit", "Labels", "SetVariables", "UnsetVariables"];

    fn assert_complete(&self) {
        assert_eq!(self.kinds, Self::KINDS.into());
        assert_eq!(self.events, Self::EVENTS.into());
        assert_eq!(self.updating, Self::UPDATING.into());
    }

    fn add(&mut self, shell: &Shell) {
        self.events.extend(&shell.applied);
        for place in shell.flows.values().flat_map(|flow| flow.index.values()) {
            self.kinds.insert(kind_name(&place.task.kind));
            let last = place.task.type_name.rsplit('.').next().unwrap_or_default();
            self.updating.extend(Self::UPDATING.iter().filter(|name| **name == last));
        }
    }
}

fn kind_name(kind: &TaskKind) -> &'static str {
    match kind {
        TaskKind::Sequential(_) => "Sequential",
        TaskKind::AllowFailure(_) => "AllowFailure",
        TaskKind::Parallel { .. } => "Parallel",
        TaskKind::If { .. } => "If",
        TaskKind::Switch { .. } => "Switch",
        TaskKind::ForEach { .. } => "ForEach",
        TaskKind::EachParallel { .. } => "EachParallel",
        TaskKind::Dag { .. } => "Dag",
        TaskKind::LoopUntil(_) => "LoopUntil",
        TaskKind::WorkingDirectory(_) => "WorkingDirectory",
        TaskKind::ForEachItem(_) => "ForEachItem",
        TaskKind::Items(_) => "Items",
        TaskKind::Pause(_) => "Pause",
        TaskKind::Template(_) => "Template",
        TaskKind::Subflow(_) => "Subflow",
        TaskKind::Runnable(_) => "Runnable",
    }
}

fn simulate(seed: u64, coverage: &mut Coverage) {
    let (mut shell, id, mut random) = compare(seed, coverage);
    afterwards(&mut shell, id, &mut random);
    coverage.add(&shell);
    for id in shell.created.clone() {
        assert!(shell.execution(id).is_ended(), "{id} has not ended: {:?}", shell.summary(id));
    }
    assert!(shell.slots.values().all(windhover_engine::Slots::is_empty), "{:?}", shell.slots);
}

/// A flow runs as it should in peace and in war; answers the peaceful run.
fn compare(seed: u64, coverage: &mut Coverage) -> (Shell, Id, StdRng) {
    let mut random = StdRng::seed_from_u64(seed);
    let kill = random.random_bool(0.15);
    let mut generator = Generator {
        random: StdRng::seed_from_u64(seed),
        next: 0,
        jobs: true,
        ordered: true,
        subflows: true,
        beside: 0,
        any_end: kill,
    };
    let source = generator.flow("f");
    generator.subflows = false;
    let child = generator.flow("child");
    if std::env::var("WINDHOVER_SIMULATION_SEED").is_ok() {
        println!("{source}\n---\n{child}");
    }
    // After the end: restarted as often, as long as it fails.
    let restarts = if kill { 0 } else { random.random_range(0..3) };
    let (calm, expected) = calm_run(&source, &child, restarts);
    let (wild, id) = wild_run(&source, &child, kill, restarts, &mut random);
    coverage.add(&wild);
    assert_eq!(wild.created.len(), wild.stored.len());
    for created in &wild.created {
        assert!(wild.execution(*created).is_ended(), "{created} has not ended");
        assert!(wild.task_runs(*created).all(|run| !run.is_open()), "{created} is not settled");
    }
    assert!(wild.jobs.is_empty(), "{:?}", wild.jobs);
    assert!(wild.slots.values().all(windhover_engine::Slots::is_empty), "{:?}", wild.slots);
    if kill {
        assert!(wild.state(id).is_terminal());
        return (calm, expected, random);
    }
    if restarts > 0 && !generator.ordered {
        // What a fast failure had left beside it depends on the order, and so does what runs again.
        return (calm, expected, random);
    }
    assert_eq!(wild.state(id), calm.state(expected), "{:?}\n{:?}", wild.summary(id), calm.summary(expected));
    assert_eq!(wild.execution(id).outputs, calm.execution(expected).outputs);
    if generator.ordered {
        assert_eq!(outline(&wild, id), outline(&calm, expected));
    }
    (calm, expected, random)
}

/// Task runs with states, failed and successful attempts, and outputs. Ids of children, which tell when they were made, become numbers.
fn outline(shell: &Shell, id: Id) -> Vec<String> {
    let of = |run: &TaskRun| {
        let counted = run.attempts.iter().filter(|attempt| attempt.state.current() != State::Resubmitted).count();
        let outputs = run.outputs.as_ref().map(|outputs| outputs.to_string());
        let text = format!("{} {:?} {} {counted} {outputs:?}", run.task_id, run.value_path, run.state.current());
        let text = without_times(&text);
        let numbered = |text: String, (number, id): (usize, &Id)| text.replace(&id.to_string(), &format!("<{number}>"));
        shell.created.iter().enumerate().fold(text, numbered)
    };
    shell.task_runs(id).map(of).collect()
}

/// When a Pause was resumed is told by its outputs, and by whatever reads them.
fn without_times(text: &str) -> String {
    let mut parts = text.split("2023-11-14T");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "<time>" + part.split_once('Z').map_or("", |(_, rest)| rest))
}

/// How the job of a task run ends depends on nothing but the task, its place and the number of the try.
fn result(shell: &Shell, execution: Id, job: &Job) -> State {
    let Some(run) = shell.task_runs(execution).find(|run| run.id == job.task_run) else { return State::Success };
    let tries = run.attempts.iter().filter(|attempt| attempt.state.current() == State::Failed).count();
    let mut hasher = DefaultHasher::new();
    (&run.task_id, &run.value_path, run.iteration, tries).hash(&mut hasher);
    match hasher.finish() % 10 {
        0 | 1 => State::Failed,
        2 => State::Warning,
        _ => State::Success,
    }
}

/// The outputs say nothing of attempts, whose numbers lost workers change.
fn end_of(shell: &Shell, execution: Id, job: &Job) -> Event {
    let state = result(shell, execution, job);
    let Event::JobEnded { task_run, dispatch, mut result } = ended(job, state, shell.now) else {
        unreachable!("it is an end")
    };
    result.outputs = Some(json!({ "value": job.task_id, "splits": "kestra:///splits" }));
    Event::JobEnded { task_run, dispatch, result }
}

/// Of the child only so many run at once: its parents' tasks wait for each other's.
fn deployed(source: &str, child: &str) -> Shell {
    let mut shell = Shell::new(&[source]);
    shell.hidden = Some(KEY);
    shell.files.insert("kestra:///splits".to_owned(), "kestra:///p0\nkestra:///p1\nkestra:///p2\n".to_owned());
    shell.deploy(&format!("{child}concurrency: {{limit: 2}}\n"));
    shell
}

fn calm_run(source: &str, child: &str, restarts: u32) -> (Shell, Id) {
    let mut shell = deployed(source, child);
    let id = shell.start("f", given());
    go_on(&mut shell);
    for _ in 0..restarts {
        shell.send(id, Event::Restart { by_parent: false });
        go_on(&mut shell);
    }
    assert!(shell.state(id).is_terminal(), "a calm run ends: {:?}", shell.summary(id));
    (shell, id)
}

/// Lets jobs end, timers fire and pauses be resumed, one after the other, until nothing is left to wait for.
fn go_on(shell: &mut Shell) {
    for _ in 0..20_000 {
        shell.now = shell.now.plus(std::time::Duration::from_millis(1));
        if let Some((owner, job)) = shell.jobs.first().cloned() {
            let event = end_of(shell, owner, &job);
            shell.send(owner, event);
        } else if !shell.fire_next() && !shell.resume_next() {
            return;
        }
        shell.settle();
    }
    panic!("a calm run does not end: {:?}", shell.created.iter().map(|id| shell.summary(*id)).collect::<Vec<_>>());
}

/// Somebody repeats what has ended, or decides afterwards how a part of it ended; that ends too.
fn afterwards(shell: &mut Shell, id: Id, random: &mut StdRng) {
    let runs: Vec<TaskRun> = shell.task_runs(id).cloned().collect();
    let Some(chosen) = runs.choose(random).map(|run| run.id) else { return };
    let labels = vec![Label::new("looked", "at")];
    shell.send(id, Event::SetLabels { labels });
    if random.random_bool(0.3) {
        let state = *[State::Success, State::Failed, State::Warning].choose(random).expect("some");
        shell.send(id, Event::ChangeState { state });
    }
    let from = match random.random_range(0..5) {
        0 => From::Start,
        1 => From::Failed,
        2 | 3 => From::TaskRun(chosen),
        _ => {
            let state = *[State::Success, State::Failed, State::Warning].choose(random).expect("some");
            shell.apply(id, Event::ChangeTaskRunState { task_run: chosen, state });
            shell.settle();
            return go_on(shell);
        }
    };
    let repeated = repeat(Repeat {
        old: shell.execution(id),
        task_runs: &runs,
        from,
        id: Id::derived(shell.now, &[b"again"]),
        flow: &shell.flows["f"],
        revision: 1,
        inputs: None,
        at: shell.now,
    });
    if let Ok(new) = repeated {
        shell.start_new(new);
        go_on(shell);
    }
}

fn wild_run(source: &str, child: &str, kill: bool, mut restarts: u32, random: &mut StdRng) -> (Shell, Id) {
    let mut shell = deployed(source, child);
    shell.env.limits.inline_per_step = *[1, 2, 7, 500].choose(random).expect("not empty");
    let mut new = shell.new_execution("f", given());
    if random.random_bool(0.2) {
        new.schedule_time = Some(shell.now.plus(std::time::Duration::from_secs(1)));
    }
    let id = new.id;
    // Created, and not yet stepped.
    shell.begin(new);
    let mut told: Vec<(Id, Event)> = Vec::new();
    let mut losses = 0;
    let mut begun: BTreeMap<(Id, u32), ()> = BTreeMap::new();
    for _ in 0..100_000 {
        shell.now = shell.now.plus(std::time::Duration::from_millis(random.random_range(0..50)));
        let quiet = shell.events.is_empty() && shell.jobs.is_empty();
        if quiet && !shell.fire_next() && !shell.resume_next() && shell.events.is_empty() && shell.jobs.is_empty() {
            if restarts == 0 {
                return (shell, id);
            }
            restarts -= 1;
            shell.events.push_back((id, Event::Restart { by_parent: false }));
        }
        match random.random_range(0..100) {
            0..45 => {
                // Something that has been told, in any order between executions and often within one.
                if let Some(index) = pick(shell.events.len(), random) {
                    let (owner, event) = shell.events.remove(index).expect("it is there");
                    // A wish is told apart from its double by its request, before it comes here.
                    if !matches!(event, Event::Restart { .. }) {
                        told.push((owner, event.clone()));
                    }
                    shell.apply(owner, event);
                }
            }
            45..60 => {
                if let Some(index) = pick(shell.jobs.len(), random) {
                    let (owner, job) = shell.jobs[index].clone();
                    let event = end_of(&shell, owner, &job);
                    shell.events.push_back((owner, event));
                }
            }
            60..70 => {
                if let Some(index) = pick(shell.jobs.len(), random) {
                    let (owner, job) = shell.jobs[index].clone();
                    begun.insert((job.task_run, job.dispatch), ());
                    let event = started(&job, shell.now);
                    shell.events.push_back((owner, event));
                }
            }
            70..75 if losses < 20 => {
                if let Some(index) = pick(shell.jobs.len(), random) {
                    losses += 1;
                    let (owner, job) = shell.jobs[index].clone();
                    shell.events.push_back((owner, Event::JobLost { task_run: job.task_run, dispatch: job.dispatch }));
                }
            }
            75..82 => {
                // Doubled, or long out of date.
                if let Some((owner, event)) = told.choose(random).cloned() {
                    shell.apply(owner, event);
                }
            }
            82..88 => {
                if let Some(owner) = shell.created.choose(random).copied() {
                    shell.crash(owner);
                    shell.events.push_back((owner, Event::Advance));
                }
            }
            88..93 => {
                if let Some(index) = pick(shell.timers.len(), random) {
                    let (owner, timer, at) = shell.timers.remove(index);
                    shell.now = shell.now.max(at);
                    shell.events.push_back((owner, Event::TimerFired { timer }));
                }
            }
            95 | 96 => {
                // Whoever waits for a slot, for its date or for the next try need not; one that is paused has to be resumed.
                if let Some(owner) = shell.created.choose(random).copied() {
                    let waits = matches!(shell.state(owner), State::Queued | State::Created | State::Retrying);
                    let paused = shell.task_runs(owner).any(|run| run.state.current() == State::Paused);
                    if waits && !paused {
                        let queued = shell.state(owner) == State::Queued;
                        let unqueue = queued && random.random_bool(0.5);
                        let wish = if unqueue { Event::Unqueue { state: State::Running } } else { Event::ForceRun };
                        shell.apply(owner, wish);
                    }
                }
            }
            93 | 94 if !kill => {
                // Everybody may be paused and resumed; a Pause that is over by itself is left alone.
                if let Some(owner) = shell.created.choose(random).copied() {
                    shell.events.push_back((owner, Event::Pause));
                }
                shell.resume_next();
            }
            93 if kill => {
                if let Some(owner) = shell.created.choose(random).copied() {
                    shell.events.push_back((owner, Event::Kill));
                }
            }
            _ => {}
        }
    }
    panic!("it does not end: {:?} {:?} {:?}", shell.summary(id), shell.jobs, shell.timers);
}

fn pick(length: usize, random: &mut StdRng) -> Option<usize> {
    (length > 0).then(|| random.random_range(0..length))
}

/// The value of the input of type SECRET that every flow has; no commit may hold it, and no line.
const KEY: &str = "tr0ub4dor-and-3";

fn given() -> serde_json::Value {
    json!({ "key": TestCipher::value(KEY) })
}

/// Writes random flows.
struct Generator {
    random: StdRng,
    next: u32,
    jobs: bool,
    /// Nothing in the flow runs side by side.
    ordered: bool,
    subflows: bool,
    /// How many flowables whose children run side by side are around.
    beside: u32,
    /// How it ends may depend on how long it takes: nothing is compared.
    any_end: bool,
}

impl Generator {
    fn flow(&mut self, id: &str) -> String {
        let mut text = format!("id: {id}\nnamespace: {}\ninputs: [{{id: key, type: SECRET}}]\n", support::NAMESPACE);
        if self.chance(0.2) {
            // What runs side by side anywhere in it could fail in another order.
            self.beside += 1;
            text += &format!("retry: {}\n", self.retry());
            self.beside -= 1;
        }
        text += "tasks:\n";
        let count = self.random.random_range(1..5);
        self.list(&mut text, 1, 3, count);
        self.handlers(&mut text, 0, 2);
        if self.chance(0.2) {
            text += "afterExecution:\n";
            self.list(&mut text, 1, 1, 2);
        }
        if self.chance(0.2) {
            text += "listeners:\n  - conditions: [{type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED]}]\n    tasks:\n";
            self.list(&mut text, 3, 1, 1);
        }
        let mut promises = Vec::new();
        if self.chance(0.2) {
            promises.push(
                "{id: s, type: EXECUTION_ASSERTION, assert: \"{{ outputs.t1.value is not defined }}\", behavior: NONE, labels: {broken: s}}"
                    .to_owned(),
            );
        }
        if self.any_end && self.chance(0.3) {
            let behavior = ["FAIL", "CANCEL", "NONE"].choose(&mut self.random).expect("some");
            promises.push(format!(
                "{{id: m, type: MAX_DURATION, duration: PT2S, behavior: {behavior}, labels: {{late: m}}}}"
            ));
        }
        if !promises.is_empty() {
            text += &format!("sla: [{}]\n", promises.join(", "));
        }
        if self.chance(0.3) {
            text += "outputs:\n  - {id: o, type: STRING, value: \"{{ outputs.nothing.value ?? 'none' }}\"}\n";
            text += "  - {id: s, type: SECRET, value: \"{{ inputs.key }}\"}\n";
        }
        text
    }

    fn chance(&mut self, of: f64) -> bool {
        self.random.random_bool(of)
    }

    fn retry(&mut self) -> String {
        let attempts = self.random.random_range(1..4);
        // As another execution only where nothing runs beside it: it ends everything at once.
        match self.random.random_range(if self.beside == 0 { 0..4 } else { 0..3 }) {
            0 => format!("{{type: constant, interval: PT1S, maxAttempts: {attempts}}}"),
            3 => format!("{{type: constant, interval: PT1S, maxAttempts: {attempts}, behavior: CREATE_NEW_EXECUTION}}"),
            1 => format!("{{type: exponential, interval: PT1S, maxInterval: PT5S, maxAttempts: {attempts}}}"),
            _ => format!(
                "{{type: random, minInterval: PT1S, maxInterval: PT3S, maxAttempts: {attempts}, warningOnRetry: true}}"
            ),
        }
    }

    fn list(&mut self, text: &mut String, indent: usize, depth: u32, count: u32) {
        for _ in 0..count {
            self.task(text, indent, depth);
        }
    }

    fn handlers(&mut self, text: &mut String, indent: usize, depth: u32) {
        for name in ["errors", "finally"] {
            if self.chance(0.2) {
                *text += &format!("{}{name}:\n", "  ".repeat(indent));
                let count = self.random.random_range(1..3);
                self.list(text, indent + 1, depth, count);
            }
        }
    }

    fn task(&mut self, text: &mut String, indent: usize, depth: u32) {
        self.next += 1;
        let id = format!("t{}", self.next);
        let pad = "  ".repeat(indent);
        let mut lines: Vec<String> = Vec::new();
        if self.chance(0.1) {
            lines.push("allowFailure: true".to_owned());
        }
        if self.chance(0.1) {
            lines.push("allowWarning: true".to_owned());
        }
        if self.chance(0.08) {
            let condition = ["\"false\"", "\"{{ missing }}\"", "\"{{ outputs is defined }}\""]
                .choose(&mut self.random)
                .expect("some");
            lines.push(format!("runIf: {condition}"));
        }
        let flowable = depth > 0 && self.chance(0.45);
        if self.chance(if flowable { 0.1 } else { 0.2 }) {
            let retry = self.retry();
            lines.push(format!("retry: {retry}"));
        }
        let kind = if flowable { self.flowable_lines(&id, &mut lines) } else { self.leaf_lines(&mut lines) };
        *text += &format!("{pad}- id: {id}\n{pad}  type: io.kestra.plugin.core.{kind}\n");
        for line in lines {
            *text += &format!("{pad}  {line}\n");
        }
        if !flowable {
            return;
        }
        let inner = indent + 1;
        let beside = matches!(kind, "flow.Parallel" | "flow.ForEach" | "flow.EachParallel" | "flow.Dag");
        self.beside += u32::from(beside);
        let lists: &[&str] = match kind {
            "flow.ForEachItem" => &[],
            "flow.If" => &["then", "else"],
            "flow.Template" => &[],
            "flow.Switch" => &["cases", "defaults"],
            _ => &["tasks"],
        };
        for list in lists {
            *text += &format!("{pad}  {list}:\n");
            if *list == "cases" {
                // One of them is taken in a loop, and where the value is that of no case the defaults are.
                for case in ["v1", "v2"] {
                    *text += &format!("{pad}    {case}:\n");
                    self.list(text, inner + 2, depth - 1, 1);
                }
                continue;
            }
            let count = self.random.random_range(1..4);
            if kind == "flow.WorkingDirectory" {
                for _ in 0..count {
                    self.next += 1;
                    let allow = self.chance(0.3);
                    *text += &format!(
                        "{pad}    - {{id: t{}, type: io.kestra.plugin.core.log.Log, message: job, allowFailure: {allow}}}\n",
                        self.next
                    );
                }
            } else if kind == "flow.Dag" {
                self.nodes(text, inner, depth - 1, count);
            } else {
                self.list(text, inner + 1, depth - 1, count);
            }
        }
        self.handlers(text, inner, depth - 1);
        self.beside -= u32::from(beside);
    }

    /// Tasks of a Dag: each may wait for those before it.
    fn nodes(&mut self, text: &mut String, indent: usize, depth: u32, count: u32) {
        let pad = "  ".repeat(indent);
        let mut before: Vec<String> = Vec::new();
        for _ in 0..count {
            let depends_on: Vec<String> = before.iter().filter(|_| self.random.random_bool(0.5)).cloned().collect();
            *text += &format!("{pad}  - dependsOn: {depends_on:?}\n{pad}    task:\n");
            before.push(format!("t{}", self.next + 1));
            let mut task = String::new();
            self.task(&mut task, indent + 2, depth);
            // A task of its own instead of an element of a list.
            *text += &task.replacen("- id:", "  id:", 1);
        }
    }

    fn flowable_lines(&mut self, id: &str, lines: &mut Vec<String>) -> &'static str {
        match self.random.random_range(0..17) {
            0 | 1 => "flow.Sequential",
            2 => "flow.AllowFailure",
            3 => {
                self.ordered = false;
                if self.chance(0.5) {
                    lines.push(format!("concurrent: {}", self.random.random_range(0..3)));
                }
                "flow.Parallel"
            }
            4 => {
                lines.push(format!("condition: \"{}\"", self.chance(0.5)));
                "flow.If"
            }
            5 => {
                lines.push("value: \"{{ taskrun.value ?? 'none' }}\"".to_owned());
                "flow.Switch"
            }
            6 => {
                self.ordered = false;
                if self.chance(0.5) {
                    lines.push(format!("concurrent: {}", self.random.random_range(0..3)));
                }
                "flow.Dag"
            }
            7 => {
                self.ordered = false;
                lines.push("value: [v0, v1, v2]".to_owned());
                lines.push(format!("concurrent: {}", self.random.random_range(0..4)));
                "flow.EachParallel"
            }
            8 => {
                lines.push("value: [v0, v1]".to_owned());
                "flow.EachSequential"
            }
            9 | 10 => {
                let (turns, most) = (self.random.random_range(1..4), self.random.random_range(1..4));
                lines.push(format!("condition: \"{{{{ outputs.{id}.iterationCount >= {turns} }}}}\""));
                lines.push(format!("checkFrequency: {{interval: PT1S, maxIterations: {most}}}"));
                lines.push(format!("failOnMaxReached: {}", self.chance(0.3)));
                "flow.LoopUntil"
            }
            11 => {
                self.pause_lines(lines);
                "flow.Pause"
            }
            12 => "flow.WorkingDirectory",
            // None is kept: it fails, and its handlers run.
            16 => {
                lines.push("namespace: company.team".to_owned());
                lines.push("templateId: nobody".to_owned());
                "flow.Template"
            }
            13 if self.subflows => {
                self.ordered = false;
                lines.push("items: kestra:///file".to_owned());
                lines.push("namespace: company.team".to_owned());
                lines.push("flowId: child".to_owned());
                lines.push(format!("wait: {}", self.chance(0.7)));
                lines.push(format!("transmitFailed: {}", self.chance(0.7)));
                lines.push("inputs: {key: \"{{ inputs.key }}\"}".to_owned());
                "flow.ForEachItem"
            }
            _ => {
                let limit = self.random.random_range(0..3);
                if limit != 1 {
                    self.ordered = false;
                }
                lines.push(format!("concurrencyLimit: {limit}"));
                let count = self.random.random_range(0..4);
                let values: Vec<String> = (0..count).map(|value| format!("v{value}")).collect();
                lines.push(format!("values: {values:?}"));
                "flow.ForEach"
            }
        }
    }

    fn pause_lines(&mut self, lines: &mut Vec<String>) {
        match self.random.random_range(0..4) {
            0 => lines.push("timeout: PT3S".to_owned()),
            1 => {
                // What ends everything at once may do so only where nothing runs beside it.
                let behaviors: &[&str] =
                    if self.beside == 0 { &["RESUME", "WARN", "FAIL", "CANCEL"] } else { &["RESUME", "WARN", "FAIL"] };
                let behavior = behaviors.choose(&mut self.random).expect("some");
                lines.push("pauseDuration: PT2S".to_owned());
                lines.push(format!("behavior: {behavior}"));
            }
            _ => {}
        }
        if self.chance(0.3) {
            let task = format!("t{}p", self.next);
            lines.push(format!("onPause: {{id: {task}, type: io.kestra.plugin.core.log.Log, message: hello}}"));
        }
    }

    fn leaf_lines(&mut self, lines: &mut Vec<String>) -> &'static str {
        let earlier = self.random.random_range(0..=self.next);
        match self.random.random_range(0..15) {
            0..4 if self.jobs => {
                lines.push("timeout: PT1H".to_owned());
                // What runs side by side must not be read: whether it is there depends on the order.
                let read =
                    if self.ordered { format!("{{{{ outputs.t{earlier} ?? tasks ?? 1 }}}}") } else { "job".to_owned() };
                lines.push(format!("message: \"{read}{{{{ inputs.key }}}}\""));
                "log.Log"
            }
            0..7 => {
                // Its own outputs are kept as they are: of sealed values, which are open to it, it must not make some.
                let known = format!("(outputs.t{earlier} ?? 'none') | toJson | replace({{'{KEY}': 'key'}})");
                let read = if self.ordered { format!("{{{{ {known} }}}}") } else { "text".to_owned() };
                lines.push(format!("format: \"{read} {{{{ taskrun.value ?? '' }}}}\""));
                "debug.Return"
            }
            7 => {
                lines.push("duration: PT2S".to_owned());
                "flow.Sleep"
            }
            8 | 9 => {
                if self.chance(0.5) {
                    lines.push("condition: \"{{ taskrun.attemptsCount < 1 }}\"".to_owned());
                }
                lines.push("errorMessage: \"not with {{ inputs.key }}\"".to_owned());
                "execution.Fail"
            }
            10 if self.beside == 0 && self.chance(0.2) => {
                let state = ["SUCCESS", "WARNING", "FAILED", "CANCELLED"].choose(&mut self.random).expect("some");
                lines.push(format!("state: {state}"));
                "execution.Exit"
            }
            10 if self.subflows => {
                lines.push("namespace: company.team".to_owned());
                lines.push(format!("flowId: {}", if self.chance(0.9) { "child" } else { "nobody" }));
                lines.push(format!("wait: {}", self.chance(0.7)));
                lines.push("inputs: {key: \"{{ inputs.key }}\"}".to_owned());
                if self.chance(0.4) {
                    let read = ["{{ flow.id }}", "{{ inputs.key | length }}", "{{ outputs.nothing.value }}"];
                    lines.push(format!("outputs: {{read: \"{}\"}}", read.choose(&mut self.random).expect("some")));
                }
                "flow.Subflow"
            }
            11 => {
                lines.push(format!("labels: {{by: t{}}}", self.next));
                "execution.Labels"
            }
            12 => {
                lines.push(format!("variables: {{v{}: \"{{{{ taskrun.value ?? 'set' }}}}\"}}", earlier % 3));
                "execution.SetVariables"
            }
            13 => {
                lines.push(format!("variables: [v{}]", earlier % 3));
                lines.push("ignoreMissing: true".to_owned());
                "execution.UnsetVariables"
            }
            _ => {
                // Who sets variables beside it decides what they are.
                let read = if self.ordered { "{{ vars.v0 ?? 'no' }}{{ vars.v1 ?? 'no' }}" } else { "hello" };
                lines.push(format!("format: \"{read}\""));
                "debug.Return"
            }
        }
    }
}
