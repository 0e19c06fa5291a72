//! Functions that repeat terms or stop early, without recursion.

use super::ast::Ast;
use super::eval::{Emit, Env, Interpreter, Stop, error};
use super::paths::{EmitPlace, Place};
use super::value::Json;

pub(super) fn limited<'p>(
    jq: &Interpreter<'_, '_>,
    term: &'p Ast,
    count: i64,
    env: &Env<'p>,
    input: Json,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    stop_after(jq, count, emit, |emit| jq.eval(term, env, input, emit))
}

pub(super) fn limited_places<'p>(
    jq: &Interpreter<'_, '_>,
    term: &'p Ast,
    count: i64,
    env: &Env<'p>,
    place: Place,
    emit: EmitPlace<'_>,
) -> Result<(), Stop> {
    stop_after(jq, count, emit, |emit| jq.places(term, env, place, emit))
}

/// Hands on the first `count` of what `produce` emits, and stops it after them.
fn stop_after<T>(
    jq: &Interpreter<'_, '_>,
    count: i64,
    emit: &mut dyn FnMut(T) -> Result<(), Stop>,
    produce: impl FnOnce(&mut dyn FnMut(T) -> Result<(), Stop>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut left = count;
    if left <= 0 {
        return Ok(());
    }
    let label = jq.fresh_label();
    let outcome = produce(&mut |item| {
        left -= 1;
        emit(item)?;
        if left == 0 { Err(Stop::Break(label)) } else { Ok(()) }
    });
    match outcome {
        Err(Stop::Break(found)) if found == label => Ok(()),
        other => other,
    }
}

/// The input, then all that the step makes of it, and so on, without recursion.
pub(super) fn recurse<'p>(
    jq: &Interpreter<'_, '_>,
    step: &'p Ast,
    env: &Env<'p>,
    input: Json,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    let mut pending = vec![input];
    while let Some(value) = pending.pop() {
        jq.session.meter.steps(1)?;
        emit(value.clone())?;
        pending.extend(jq.all(step, env, value)?.into_iter().rev());
    }
    Ok(())
}

pub(super) fn until<'p>(
    jq: &Interpreter<'_, '_>,
    condition: &'p Ast,
    step: &'p Ast,
    env: &Env<'p>,
    input: Json,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    let mut pending = vec![input];
    while let Some(value) = pending.pop() {
        jq.session.meter.steps(1)?;
        if jq.all(condition, env, value.clone())?.first().is_some_and(Json::is_true) {
            emit(value)?;
        } else {
            pending.extend(jq.all(step, env, value)?.into_iter().rev());
        }
    }
    Ok(())
}

pub(super) fn repeated<'p>(
    jq: &Interpreter<'_, '_>,
    condition: &'p Ast,
    step: &'p Ast,
    env: &Env<'p>,
    input: Json,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    let mut pending = vec![input];
    while let Some(value) = pending.pop() {
        jq.session.meter.steps(1)?;
        if jq.all(condition, env, value.clone())?.first().is_some_and(Json::is_true) {
            emit(value.clone())?;
            pending.extend(jq.all(step, env, value)?.into_iter().rev());
        }
    }
    Ok(())
}

pub(super) fn range(
    jq: &Interpreter<'_, '_>,
    start: &Json,
    end: &Json,
    step: &Json,
    emit: Emit<'_>,
) -> Result<(), Stop> {
    let (Some(from), Some(to), Some(by)) = (start.number(), end.number(), step.number()) else {
        return error("Range bounds must be numeric");
    };
    let mut current = from;
    while by != 0.0 && if by > 0.0 { current < to } else { current > to } {
        jq.session.meter.steps(1)?;
        emit(Json::computed(current))?;
        current += by;
    }
    Ok(())
}
