//! A shell around the engine for tests: keeps "stored rows", hands out jobs, fires timers, delivers what executions tell each
//! other, and checks after every commit what must always hold.
#![allow(dead_code)]

mod check;
mod cipher;
mod inline;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};
use windhover_engine::{
    Answer, ChildState, Effect, Env, Event, Execution, Fact, FactValue, Facts, FoundFlow, Job, JobResult, LogLine,
    Moment, NewExecution, Opened, Question, Run, SlotAnswer, Slots, Step, StepOutput, TaskRun, Timer, Whole,
    new_execution, open_timers, step,
};
use windhover_expression::{FileAnswer, FileRef, KvAnswer, Value as Rendered};
use windhover_flow::Flow;
use windhover_types::{Cipher, Id, JsonMap, Label, Secret, State, Tenant, Timestamp};

pub(crate) use cipher::TestCipher;
pub(crate) use inline::TestTasks;

pub(crate) const NAMESPACE: &str = "company.team";

/// An execution as a store would hold it.
pub(crate) struct Stored {
    pub(crate) execution: Execution,
    pub(crate) task_runs: BTreeMap<u32, TaskRun>,
}

pub(crate) struct Shell {
    pub(crate) env: Env,
    pub(crate) now: Timestamp,
    pub(crate) flows: HashMap<String, Arc<Flow>>,
    pub(crate) stored: HashMap<Id, Stored>,
    live: HashMap<Id, Run>,
    /// Told and not yet applied.
    pub(crate) events: VecDeque<(Id, Event)>,
    /// Jobs that are out.
    pub(crate) jobs: Vec<(Id, Job)>,
    pub(crate) cancelled: Vec<(Id, u32)>,
    pub(crate) timers: Vec<(Id, Timer, Timestamp)>,
    pub(crate) logs: Vec<(Id, LogLine)>,
    pub(crate) states: Vec<(Id, Option<State>, State)>,
    pub(crate) created: Vec<Id>,
    pub(crate) secrets: HashMap<String, String>,
    /// Of every namespace.
    pub(crate) key_values: HashMap<String, String>,
    /// Files of the internal storage by their URIs.
    pub(crate) files: HashMap<String, String>,
    /// Of flows that limit their executions.
    pub(crate) slots: HashMap<String, Slots>,
    /// Facts that were asked for, in order.
    pub(crate) asked: Vec<Fact>,
    /// Seals and opens values of type SECRET, or why nothing can.
    pub(crate) cipher: Result<Arc<dyn Cipher>, String>,
    /// What must be seen in nothing that is kept, logged or sent.
    pub(crate) hidden: Option<&'static str>,
    started: std::collections::HashSet<(Id, u32)>,
    made: u32,
    /// Names of the events that were applied.
    pub(crate) applied: std::collections::BTreeSet<&'static str>,
}

impl Shell {
    pub(crate) fn new(flows: &[&str]) -> Self {
        let mut shell = Self {
            env: Env::new(Arc::new(TestTasks)),
            now: Timestamp::from_millis(1_700_000_000_000),
            flows: HashMap::new(),
            stored: HashMap::new(),
            live: HashMap::new(),
            events: VecDeque::new(),
            jobs: Vec::new(),
            cancelled: Vec::new(),
            timers: Vec::new(),
            logs: Vec::new(),
            states: Vec::new(),
            created: Vec::new(),
            secrets: HashMap::new(),
            key_values: HashMap::new(),
            files: HashMap::new(),
            slots: HashMap::new(),
            asked: Vec::new(),
            cipher: Ok(Arc::new(TestCipher)),
            hidden: None,
            started: std::collections::HashSet::new(),
            made: 0,
            applied: Default::default(),
        };
        for source in flows {
            shell.deploy(source);
        }
        shell
    }

    pub(crate) fn deploy(&mut self, source: &str) -> Arc<Flow> {
        let flow = match windhover_flow::compile(source) {
            Ok(flow) => Arc::new(flow),
            Err(violations) => panic!("{violations:#?}\n{source}"),
        };
        self.flows.insert(flow.id.clone(), Arc::clone(&flow));
        flow
    }

    /// Creates an execution and lets it go on until it waits.
    pub(crate) fn start(&mut self, flow_id: &str, inputs: Value) -> Id {
        let new = self.new_execution(flow_id, inputs);
        self.start_new(new)
    }

    pub(crate) fn new_execution(&mut self, flow_id: &str, inputs: Value) -> NewExecution {
        self.made += 1;
        let flow = &self.flows[flow_id];
        let id = Id::derived(self.now, &[b"test", &self.made.to_be_bytes()]);
        let Value::Object(inputs) = inputs else { panic!("inputs are a map") };
        NewExecution {
            id,
            namespace: flow.namespace.clone(),
            flow_id: flow.id.clone(),
            flow_revision: 1,
            labels: vec![windhover_types::correlation_id(id)],
            inputs: Arc::new(inputs),
            variables: None,
            trigger: None,
            parent: None,
            schedule_time: None,
            trace_parent: None,
            marks: Default::default(),
            original_id: None,
            fail: None,
            task_runs: Vec::new(),
        }
    }

    pub(crate) fn start_new(&mut self, new: NewExecution) -> Id {
        let id = new.id;
        self.create(new);
        self.settle();
        id
    }

    /// Gives a new execution a reason to fail.
    pub(crate) fn fail_new(&mut self, id: Id, reason: &str) {
        let stored = self.stored.get_mut(&id).expect("a stored execution");
        let error = windhover_engine::ExecutionError { message: reason.to_owned(), task_run_id: None };
        stored.execution.error = Some(error);
        self.live.remove(&id);
    }

    /// Creates an execution that has not been stepped.
    pub(crate) fn begin(&mut self, new: NewExecution) {
        self.create(new);
    }

    fn create(&mut self, new: NewExecution) {
        let id = new.id;
        if self.stored.contains_key(&id) {
            return;
        }
        let execution = new_execution(&Tenant::main(), &new, self.now);
        self.stored.insert(id, Stored { execution: execution.clone(), task_runs: BTreeMap::new() });
        self.live.insert(id, Run::new(execution).with_task_runs(new.task_runs));
        self.created.push(id);
        self.events.push_back((id, Event::Advance));
    }

    /// Applies what has been told until nothing is left.
    pub(crate) fn settle(&mut self) {
        while let Some((id, event)) = self.events.pop_front() {
            self.apply(id, event);
        }
    }

    pub(crate) fn send(&mut self, id: Id, event: Event) {
        self.events.push_back((id, event));
        self.settle();
    }

    /// One event, with the facts that it needs, committed and checked.
    pub(crate) fn apply(&mut self, id: Id, event: Event) -> StepOutput {
        self.applied.insert(event_name(&event));
        if !self.live.contains_key(&id) {
            self.load(id);
        }
        let mut run = self.live.remove(&id).expect("a live run");
        let flow = Arc::clone(&self.flows[&run.execution.flow_id]);
        let moment = Moment { now: self.now, seed: 7 };
        let mut facts = Facts::new();
        for _ in 0..50 {
            let before = (run.execution.clone(), run.task_runs().filter(|r| r.is_open()).cloned().collect::<Vec<_>>());
            match step(&flow, &mut run, event.clone(), &facts, moment, &self.env) {
                Step::Done(output) => {
                    if let Event::TimerFired { timer } = &event {
                        self.timers.retain(|(owner, known, _)| (*owner, known) != (id, timer));
                    }
                    self.commit(&flow, id, &run, &output, is_by_hand(&event));
                    check::run(&flow, &run);
                    self.live.insert(id, run);
                    return output;
                }
                Step::Needs(needed) => {
                    let after =
                        (run.execution.clone(), run.task_runs().filter(|r| r.is_open()).cloned().collect::<Vec<_>>());
                    assert_eq!(before, after, "a step that needs facts changes nothing");
                    assert!(!needed.is_empty());
                    for fact in needed {
                        assert!(!facts.contains_key(&fact), "{fact:?} is asked for again");
                        let value = self.look_up(id, &fact);
                        self.asked.push(fact.clone());
                        facts.insert(fact, value);
                    }
                }
            }
        }
        panic!("facts are asked for without end");
    }

    /// Sends what has to be refused.
    pub(crate) fn refused(&mut self, id: Id, event: Event) -> windhover_engine::Refusal {
        let before = self.execution(id).clone();
        let output = self.apply(id, event);
        assert!(output.is_empty(), "what is refused changes nothing: {output:?}");
        assert_eq!(before, *self.execution(id));
        output.refused.expect("it is refused")
    }

    fn look_up(&self, id: Id, fact: &Fact) -> FactValue {
        match fact {
            Fact::Flow { flow_id, .. } => {
                let found = self.flows.get(flow_id);
                FactValue::Flow(found.map(|flow| FoundFlow { revision: 1, flow: Ok(Arc::clone(flow)) }))
            }
            Fact::Outputs { task_id } => {
                let runs = self.stored[&id].task_runs.values();
                let wanted = |run: &&TaskRun| {
                    run.state.current().is_terminal() && task_id.as_ref().is_none_or(|task_id| run.task_id == *task_id)
                };
                FactValue::Outputs(runs.filter(wanted).cloned().collect())
            }
            Fact::Child { execution } => {
                let child = self.stored.get(execution).map(|stored| ChildState::of(&stored.execution));
                FactValue::Child(child.map(Box::new))
            }
            Fact::Whole { execution } => {
                let whole = self.stored.get(execution).map(|stored| Whole {
                    execution: stored.execution.clone(),
                    task_runs: stored.task_runs.values().cloned().collect(),
                });
                FactValue::Whole(whole.map(Box::new))
            }
            Fact::Cipher => FactValue::Cipher(self.cipher.clone()),
            Fact::Secret { key, .. } => {
                let found = self.secrets.get(key).map(Secret::new);
                FactValue::Secret(found.ok_or_else(|| format!("Cannot find secret for key '{key}'.")))
            }
            Fact::World(Question::KeyValue(request)) => {
                let entry = self.key_values.get(&request.key).cloned();
                let answer = entry.map_or(KvAnswer::Absent, |value| KvAnswer::Found(Rendered::text(value)));
                FactValue::World(Answer::KeyValue(Ok(answer)))
            }
            Fact::World(Question::Content(FileRef::Storage { uri, .. })) => {
                let found = self.files.get(uri).cloned().map_or(FileAnswer::Absent, FileAnswer::Found);
                FactValue::World(Answer::Content(Ok(found)))
            }
            Fact::World(Question::Content(_)) => FactValue::World(Answer::Content(Ok(FileAnswer::Absent))),
            Fact::World(Question::Info(_)) => FactValue::World(Answer::Info(Ok(FileAnswer::Absent))),
            Fact::World(calls) => FactValue::World(calls.refused("nobody can be called here")),
        }
    }

    /// What is in memory of an execution goes, as when its process dies.
    pub(crate) fn crash(&mut self, id: Id) {
        self.live.remove(&id);
    }

    pub(crate) fn load(&mut self, id: Id) {
        let stored = &self.stored[&id];
        let open: Vec<TaskRun> = stored.task_runs.values().filter(|run| run.is_open()).cloned().collect();
        let next_seq = stored.task_runs.keys().next_back().map_or(0, |seq| seq + 1);
        let run = Run::from_stored(stored.execution.clone(), open, next_seq);
        self.live.insert(id, run);
    }

    fn commit(&mut self, flow: &Flow, id: Id, run: &Run, output: &StepOutput, by_hand: bool) {
        let stored = self.stored.get_mut(&id).expect("a stored execution");
        check::commit(flow, stored, run, output, by_hand);
        if output.execution_changed {
            stored.execution = run.execution.clone();
        }
        for removed in &output.removed_task_runs {
            stored.task_runs.remove(&removed.seq);
        }
        for changed in &output.changed_task_runs {
            let task_run = run.task_run(*changed).expect("a changed task run is there");
            stored.task_runs.insert(task_run.seq, task_run.clone());
        }
        check::stored(flow, stored, run);
        if let Some(hidden) = self.hidden {
            check::hides(hidden, run, output);
        }
        if output.more {
            self.events.push_back((id, Event::Advance));
        }
        for effect in output.effects.clone() {
            self.act(id, effect);
        }
        let due = open_timers(flow, run, &self.env);
        for (_, timer, at) in self.timers.iter().filter(|(owner, _, _)| *owner == id) {
            let derived =
                due.iter().find(|(known, _)| known == timer).unwrap_or_else(|| panic!("{timer:?} was left behind"));
            assert!(derived.1.is_none_or(|derived| derived == *at), "{timer:?}");
        }
    }

    fn flow_of(&self, id: Id) -> String {
        self.execution(id).flow_id.clone()
    }

    fn act(&mut self, id: Id, effect: Effect) {
        match effect {
            Effect::StartJob(job) => {
                assert!(self.started.insert((job.task_run, job.dispatch)), "{job:?} is dispatched twice");
                self.jobs.push((id, job));
            }
            Effect::EndJob { task_run, dispatch } => {
                self.jobs.retain(|(_, job)| (job.task_run, job.dispatch) != (task_run, dispatch));
            }
            Effect::CancelJob { task_run, dispatch } => self.cancelled.push((task_run, dispatch)),
            Effect::SetTimer { timer, at } => {
                self.timers.retain(|(owner, known, _)| (*owner, known) != (id, &timer));
                self.timers.push((id, timer, at));
            }
            Effect::ClearTimer { timer } => self.timers.retain(|(owner, known, _)| (*owner, known) != (id, &timer)),
            Effect::CreateExecution(new) => self.create(*new),
            Effect::NotifyParent { execution, event } => self.events.push_back((execution, event)),
            Effect::KillChild { execution } => self.events.push_back((execution, Event::Kill)),
            Effect::TakeSlot { limit, behavior } => {
                if let Some(answer) =
                    self.slots.entry(self.flow_of(id)).or_default().take(id, self.now, limit, behavior)
                {
                    self.events.push_back((id, Event::Slot { answer }));
                }
            }
            Effect::GiveSlotBack => {
                let key = self.flow_of(id);
                let limit = self.flows[&key].concurrency.map(|concurrency| concurrency.limit);
                for granted in self.slots.entry(key).or_default().give_back(id, limit) {
                    self.events.push_back((granted, Event::Slot { answer: SlotAnswer::Granted }));
                }
            }
            Effect::RestartChild { execution } => {
                self.events.push_back((execution, Event::Restart { by_parent: true }));
            }
            Effect::Log(line) => self.logs.push((id, line)),
            Effect::Metric(_) | Effect::TaskRunEnded { .. } => {}
            Effect::ExecutionState { from, to } => self.states.push((id, from, to)),
        }
    }

    /// Fires the earliest timer; the clock goes there.
    pub(crate) fn fire_next(&mut self) -> bool {
        let next = self.timers.iter().enumerate().min_by_key(|(_, (_, _, at))| *at).map(|(index, _)| index);
        let Some(index) = next else { return false };
        let (id, timer, at) = self.timers.remove(index);
        self.now = self.now.max(at);
        self.send(id, Event::TimerFired { timer });
        true
    }

    /// Resumes a paused execution, unless its first Pause is over by itself.
    pub(crate) fn resume_next(&mut self) -> bool {
        let by_itself = |run: &TaskRun| matches!(run.opened.as_deref(), Some(Opened::Pause { until: Some(_), .. }));
        let next = self.created.iter().copied().find(|id| {
            let first = self.task_runs(*id).find(|run| run.state.current() == State::Paused);
            let paused = self.state(*id) == State::Paused || first.is_some();
            paused && !first.is_some_and(by_itself)
        });
        let Some(id) = next else { return false };
        self.events.push_back((id, Event::Resume { inputs: JsonMap::new(), by: None, undeclared: false }));
        true
    }

    pub(crate) fn job(&self, task_id: &str) -> (Id, Job) {
        let found = self.jobs.iter().find(|(_, job)| job.task_id == task_id);
        found.unwrap_or_else(|| panic!("no job of {task_id} is out: {:?}", self.jobs)).clone()
    }

    /// Reports the end of the only job of a task.
    pub(crate) fn report(&mut self, task_id: &str, state: State) {
        let (id, job) = self.job(task_id);
        self.send(id, ended(&job, state, self.now));
    }

    /// Lets jobs end and timers fire until nothing is left to wait for.
    pub(crate) fn run_to_end(&mut self, mut result: impl FnMut(&Job) -> State) {
        for _ in 0..100_000 {
            self.settle();
            self.now = self.now.plus(std::time::Duration::from_millis(10));
            if let Some((id, job)) = self.jobs.first().cloned() {
                let event = ended(&job, result(&job), self.now);
                self.send(id, event);
            } else if !self.fire_next() {
                return;
            }
        }
        panic!("it does not end");
    }

    pub(crate) fn execution(&self, id: Id) -> &Execution {
        &self.stored[&id].execution
    }

    pub(crate) fn state(&self, id: Id) -> State {
        self.execution(id).current()
    }

    pub(crate) fn history(&self, id: Id) -> Vec<State> {
        self.execution(id).state.entries().iter().map(|entry| entry.state).collect()
    }

    pub(crate) fn task_runs(&self, id: Id) -> impl Iterator<Item = &TaskRun> {
        self.stored[&id].task_runs.values()
    }

    /// The only task run of a task.
    pub(crate) fn task_run(&self, id: Id, task_id: &str) -> &TaskRun {
        let found: Vec<&TaskRun> = self.task_runs(id).filter(|run| run.task_id == task_id).collect();
        assert_eq!(found.len(), 1, "task runs of {task_id}");
        found[0]
    }

    pub(crate) fn task_state(&self, id: Id, task_id: &str) -> State {
        self.task_run(id, task_id).state.current()
    }

    pub(crate) fn task_history(&self, id: Id, task_id: &str) -> Vec<State> {
        self.task_run(id, task_id).state.entries().iter().map(|entry| entry.state).collect()
    }

    /// `task[value/value] STATE` of every task run, in order of creation.
    pub(crate) fn summary(&self, id: Id) -> Vec<String> {
        let one = |run: &TaskRun| {
            let path =
                if run.value_path.is_empty() { String::new() } else { format!("[{}]", run.value_path.join("/")) };
            format!("{}{path} {}", run.task_id, run.state.current())
        };
        self.task_runs(id).map(one).collect()
    }

    pub(crate) fn outputs(&self, id: Id, task_id: &str) -> Value {
        self.task_run(id, task_id).outputs.as_ref().map_or(Value::Null, |outputs| (**outputs).clone())
    }

    pub(crate) fn messages(&self, id: Id) -> Vec<String> {
        self.logs
            .iter()
            .filter(|(of, _)| *of == id)
            .map(|(_, line)| format!("{} {}", line.level, line.message))
            .collect()
    }

    /// The execution that another one caused.
    pub(crate) fn child(&self, flow_id: &str) -> Id {
        let found = self.created.iter().rev().find(|id| self.stored[*id].execution.flow_id == flow_id);
        *found.unwrap_or_else(|| panic!("no execution of {flow_id}"))
    }
}

fn event_name(event: &Event) -> &'static str {
    match event {
        Event::Advance => "Advance",
        Event::JobStarted { .. } => "JobStarted",
        Event::JobEnded { .. } => "JobEnded",
        Event::JobLost { .. } => "JobLost",
        Event::SubflowEnded { .. } => "SubflowEnded",
        Event::TimerFired { .. } => "TimerFired",
        Event::Kill => "Kill",
        Event::Pause => "Pause",
        Event::Resume { .. } => "Resume",
        Event::Restart { .. } => "Restart",
        Event::ChangeTaskRunState { .. } => "ChangeTaskRunState",
        Event::ChangeState { .. } => "ChangeState",
        Event::ForceRun => "ForceRun",
        Event::Unqueue { .. } => "Unqueue",
        Event::SetLabels { .. } => "SetLabels",
        Event::Slot { .. } => "Slot",
        Event::SubflowReplaced { .. } => "SubflowReplaced",
    }
}

/// Moves what has ended.
fn is_by_hand(event: &Event) -> bool {
    matches!(
        event,
        Event::Restart { .. } | Event::ChangeTaskRunState { .. } | Event::ChangeState { .. } | Event::SetLabels { .. }
    )
}

pub(crate) fn ended(job: &Job, state: State, at: Timestamp) -> Event {
    let error = (state == State::Failed).then(|| "the task failed".to_owned());
    let result = JobResult {
        started_at: at,
        ended_at: at,
        worker: Some("w1".to_owned()),
        state,
        outputs: Some(json!({ "attempt": job.attempt })),
        error,
        directory_outputs: None,
        logs: Vec::new(),
        metrics: Vec::new(),
    };
    Event::JobEnded { task_run: job.task_run, dispatch: job.dispatch, result: Box::new(result) }
}

pub(crate) fn started(job: &Job, at: Timestamp) -> Event {
    Event::JobStarted { task_run: job.task_run, dispatch: job.dispatch, worker: "w1".to_owned(), at }
}

pub(crate) fn labels(execution: &Execution) -> JsonMap {
    execution.labels.iter().map(|Label { key, value }| (key.clone(), Value::String(value.clone()))).collect()
}
