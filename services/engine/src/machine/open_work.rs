//! What an execution waits for, derived from its state: for an owner that has lost what it knew.

use windhover_flow::{Flow, TaskKind};
use windhover_types::{State, Timestamp};

use crate::{
    Env, Fact, Facts, Job, Moment, Run, Timer,
    context::{Context, Stop, directory_of, job_variables},
    retry,
};

/// The jobs that are out, as they would be sent now, in order of creation. A job whose templates can no longer be prepared is left
/// out; its loss is dealt with when it is told.
///
/// # Errors
/// Facts that have to be looked up first; call again with them (and take them into the run by a step).
pub fn open_jobs(flow: &Flow, run: &mut Run, facts: &Facts, moment: Moment, env: &Env) -> Result<Vec<Job>, Vec<Fact>> {
    run.task_runs.absorb(facts);
    let mut jobs = Vec::new();
    for task_run in run.task_runs().filter(|task_run| task_run.has_open_job()) {
        let Some(place) = flow.index.get(&task_run.task_id) else { continue };
        let TaskKind::Runnable(runnable) = &place.task.kind else { continue };
        let context = Context::new(flow, run, facts, moment, env).of_task(&place.task, task_run);
        match job_variables(&context, &place.task, runnable) {
            Ok(variables) => {
                let directory = directory_of(flow, run, task_run);
                jobs.push(Job::of(&place.task, task_run, variables, directory));
            }
            Err(Stop::Needs(facts)) => return Err(facts),
            Err(Stop::Failed(_)) => {}
        }
    }
    Ok(jobs)
}

/// The timers that are set, with their dates where the state tells them (those of a Sleep and a LoopUntil are only in their stored timers).
pub fn open_timers(flow: &Flow, run: &Run, env: &Env) -> Vec<(Timer, Option<Timestamp>)> {
    let execution = &run.execution;
    let mut timers = Vec::new();
    match execution.current() {
        State::Created => timers.extend(execution.schedule_time.map(|at| (Timer::Schedule, Some(at)))),
        State::Killing => timers.push((Timer::KillGrace, Some(execution.state.last().at.plus(env.limits.kill_grace)))),
        _ => {}
    }
    if !execution.current().is_terminal() {
        timers.extend(super::sla::durations(flow, execution).map(|(sla, at)| (Timer::Sla { sla }, Some(at))));
    }
    for task_run in run.task_runs() {
        match task_run.state.current() {
            State::Retrying => {
                let policy = super::attempt::retry_policy(flow, &task_run.task_id);
                let due = policy.and_then(|policy| retry::next_attempt(policy, &task_run.attempts, task_run.id));
                let attempt = task_run.attempts.len() as u32;
                timers.push((Timer::Retry { task_run: task_run.id, attempt }, due));
            }
            State::Paused => {
                if let Some((Some(at), _)) = super::pause::pause_of(task_run.opened.as_deref()) {
                    timers.push((Timer::Pause { task_run: task_run.id }, Some(at)));
                }
            }
            State::Running if super::repeat::waits_for_turn(flow, task_run) => {
                let iteration = task_run.frame.as_ref().map_or(0, |frame| frame.iteration);
                timers.push((Timer::Loop { task_run: task_run.id, iteration }, None));
            }
            State::Running if super::attempt::is_sleeping(flow, task_run) => {
                let attempt = task_run.attempts.len() as u32 - 1;
                timers.push((Timer::Sleep { task_run: task_run.id, attempt }, None));
            }
            _ => {}
        }
    }
    timers
}
