//! `reduce`, `foreach` and the patterns that bind variables.

use std::sync::Arc;

use super::ast::{Ast, FieldPattern, Pattern};
use super::eval::{Binding, Emit, Env, Interpreter, Stop, extend};
use super::ops;
use super::value::Json;

impl Interpreter<'_, '_> {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn reduce<'p>(
        &self,
        source: &'p Ast,
        pattern: &'p Pattern,
        start: &'p Ast,
        update: &'p Ast,
        env: &Env<'p>,
        input: Json,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        self.eval(start, env, input.clone(), &mut |start| {
            let mut state = Some(start);
            self.eval(source, env, input.clone(), &mut |value| {
                self.bind(pattern, &value, env, &input, &mut |env| {
                    let mut last = None;
                    let current = state.take().unwrap_or(Json::Null);
                    self.eval(update, env, current, &mut |value| {
                        last = Some(value);
                        Ok(())
                    })?;
                    state = last;
                    Ok(())
                })
            })?;
            emit(state.unwrap_or(Json::Null))
        })
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn foreach<'p>(
        &self,
        source: &'p Ast,
        pattern: &'p Pattern,
        start: &'p Ast,
        update: &'p Ast,
        extract: Option<&'p Ast>,
        env: &Env<'p>,
        input: Json,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        self.eval(start, env, input.clone(), &mut |start| {
            let mut state = start;
            self.eval(source, env, input.clone(), &mut |value| {
                self.bind(pattern, &value, env, &input, &mut |env| {
                    let current = state.clone();
                    self.eval(update, env, current, &mut |value| {
                        state = value.clone();
                        match extract {
                            Some(extract) => self.eval(extract, env, value, emit),
                            None => emit(value),
                        }
                    })
                })
            })
        })
    }

    /// Binds the variables of a pattern to the parts of a value.
    pub(super) fn bind<'p>(
        &self,
        pattern: &'p Pattern,
        value: &Json,
        env: &Env<'p>,
        input: &Json,
        body: &mut dyn FnMut(&Env<'p>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.deeper(|| match pattern {
            Pattern::Variable(name) => body(&extend(env, Binding::Variable(Arc::clone(name), value.clone()))),
            Pattern::List(items) => self.bind_list(items, 0, value, env, input, body),
            Pattern::Object(entries) => self.bind_object(entries, value, env, input, body),
        })
    }

    fn bind_list<'p>(
        &self,
        items: &'p [Pattern],
        index: i64,
        value: &Json,
        env: &Env<'p>,
        input: &Json,
        body: &mut dyn FnMut(&Env<'p>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let Some((first, rest)) = items.split_first() else { return body(env) };
        let part = ops::index(value, &Json::whole(index))?;
        self.bind(first, &part, env, input, &mut |env| self.bind_list(rest, index + 1, value, env, input, body))
    }

    fn bind_object<'p>(
        &self,
        entries: &'p [FieldPattern],
        value: &Json,
        env: &Env<'p>,
        input: &Json,
        body: &mut dyn FnMut(&Env<'p>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let Some(((bound, key, pattern), rest)) = entries.split_first() else { return body(env) };
        self.eval(key, env, input.clone(), &mut |key| {
            let part = ops::index(value, &key)?;
            let env = match bound {
                Some(name) => extend(env, Binding::Variable(Arc::clone(name), part.clone())),
                None => env.clone(),
            };
            match pattern {
                Some(pattern) => {
                    self.bind(pattern, &part, &env, input, &mut |env| self.bind_object(rest, value, env, input, body))
                }
                None => self.bind_object(rest, value, &env, input, body),
            }
        })
    }
}
