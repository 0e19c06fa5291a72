//! Terms as paths into their input, and the updates that use them.

use std::sync::Arc;

use super::ast::Ast;
use super::eval::{Binding, Callee, Emit, Env, Interpreter, Stop, error, extend};
use super::value::Json;
use super::{native, ops, strings};

/// A place: the keys that lead to it, and the value that is there.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) keys: Vec<Json>,
    pub(super) value: Json,
}

impl Place {
    fn step(&self, key: &Json) -> Result<Self, Stop> {
        let value = match &self.value {
            Json::Null => Json::Null,
            value => ops::index(value, key)?,
        };
        let mut keys = self.keys.clone();
        keys.push(key.clone());
        Ok(Self { keys, value })
    }
}

pub(super) type EmitPlace<'e> = &'e mut dyn FnMut(Place) -> Result<(), Stop>;

impl Interpreter<'_, '_> {
    pub(super) fn places<'p>(
        &self,
        ast: &'p Ast,
        env: &Env<'p>,
        place: Place,
        emit: EmitPlace<'_>,
    ) -> Result<(), Stop> {
        self.session.meter.elements(place.keys.len() + 1)?;
        self.deeper(|| self.places_nested(ast, env, place, emit))
    }

    fn places_nested<'p>(&self, ast: &'p Ast, env: &Env<'p>, place: Place, emit: EmitPlace<'_>) -> Result<(), Stop> {
        match ast {
            Ast::Identity => emit(place),
            Ast::Pipe(left, right) => self.places(left, env, place, &mut |place| self.places(right, env, place, emit)),
            Ast::Comma(parts) => parts.iter().try_for_each(|part| self.places(part, env, place.clone(), emit)),
            Ast::Index(term, key) => self.places(term, env, place.clone(), &mut |found| {
                self.eval(key, env, place.value.clone(), &mut |key| emit(found.step(&key)?))
            }),
            Ast::Slice(term, from, to) => self.places(term, env, place.clone(), &mut |found| {
                self.optional(to.as_deref(), env, &place.value, &mut |to| {
                    self.optional(from.as_deref(), env, &place.value, &mut |from| {
                        let key = ops::range_key(&from, &to)?;
                        let value = ops::slice(self.session, &found.value, &from, &to)?;
                        let mut keys = found.keys.clone();
                        keys.push(key);
                        emit(Place { keys, value })
                    })
                })
            }),
            Ast::Iterate(term) => self.places(term, env, place, &mut |found| {
                ops::keys(&found.value)?.iter().try_for_each(|key| emit(found.step(key)?))
            }),
            Ast::RecurseAll => self.recursed(place, emit),
            Ast::If(branches, otherwise) => {
                for (condition, body) in branches {
                    let values = self.all(condition, env, place.value.clone())?;
                    if values.iter().any(Json::is_true) {
                        return self.places(body, env, place, emit);
                    }
                }
                match otherwise {
                    Some(otherwise) => self.places(otherwise, env, place, emit),
                    None => emit(place),
                }
            }
            Ast::Alternative(left, right) => {
                let mut found = Vec::new();
                let outcome = self.places(left, env, place.clone(), &mut |place| {
                    if place.value.is_true() {
                        found.push(place);
                    }
                    Ok(())
                });
                match outcome {
                    Err(stop) if !matches!(stop, Stop::Error(_)) => return Err(stop),
                    _ => {}
                }
                if found.is_empty() {
                    self.places(right, env, place, emit)
                } else {
                    found.into_iter().try_for_each(emit)
                }
            }
            Ast::Try(body, handler) => self.attempt(
                |emit| self.places(body, env, place.clone(), emit),
                |failure, emit| match handler {
                    Some(handler) => self.places(handler, env, Place { keys: Vec::new(), value: failure }, emit),
                    None => Ok(()),
                },
                emit,
            ),
            Ast::Define(definition, body) => {
                self.places(body, &extend(env, Binding::Function(definition)), place, emit)
            }
            Ast::Bind(source, pattern, body) => self.eval(source, env, place.value.clone(), &mut |value| {
                self.bind(pattern, &value, env, &place.value, &mut |env| self.places(body, env, place.clone(), emit))
            }),
            Ast::Label(name, body) => {
                let label = self.fresh_label();
                match self.places(body, &extend(env, Binding::Label(Arc::clone(name), label)), place, emit) {
                    Err(Stop::Break(found)) if found == label => Ok(()),
                    other => other,
                }
            }
            Ast::Break(name) => Err(Stop::Break(self.label(name, env)?)),
            Ast::Reduce(source, pattern, start, update) => self.places(start, env, place.clone(), &mut |start| {
                let mut state = Some(start);
                self.eval(source, env, place.value.clone(), &mut |value| {
                    self.bind(pattern, &value, env, &place.value, &mut |env| {
                        let Some(current) = state.take() else { return Ok(()) };
                        self.places(update, env, current, &mut |place| {
                            state = Some(place);
                            Ok(())
                        })
                    })
                })?;
                state.take().map_or(Ok(()), &mut *emit)
            }),
            Ast::Call(name, arguments) => match self.callee(name, arguments.len(), env)? {
                Callee::Closure(ast, env) => self.places(ast, &env, place, emit),
                Callee::Native => native::places(self, name, arguments, env, place, emit),
                Callee::Function(definition, own) => {
                    self.with_arguments(definition, arguments, own, env, &place.value, &mut |env| {
                        self.places(&definition.body, env, place.clone(), emit)
                    })
                }
            },
            // values that lead nowhere are fine as long as nobody wants their place
            Ast::Literal(Json::Null) => emit(Place { keys: place.keys, value: Json::Null }),
            _ => error(format!("Invalid path expression with result {}", strings::describe(&place.value))),
        }
    }

    pub(super) fn recursed(&self, place: Place, emit: EmitPlace<'_>) -> Result<(), Stop> {
        self.session.meter.elements(place.keys.len() + 1)?;
        emit(place.clone())?;
        if matches!(place.value, Json::List(_) | Json::Object(_)) {
            for key in ops::keys(&place.value)? {
                let inner = place.step(&key)?;
                self.deeper(|| self.recursed(inner, emit))?;
            }
        }
        Ok(())
    }

    /// The paths that a term takes in a value.
    pub(super) fn paths<'p>(&self, ast: &'p Ast, env: &Env<'p>, value: &Json) -> Result<Vec<Vec<Json>>, Stop> {
        let mut paths = Vec::new();
        self.places(ast, env, Place { keys: Vec::new(), value: value.clone() }, &mut |place| {
            paths.push(place.keys);
            Ok(())
        })?;
        Ok(paths)
    }

    /// `=`, `|=`, `+=` and the like.
    pub(super) fn update<'p>(&self, ast: &'p Ast, env: &Env<'p>, input: Json, emit: Emit<'_>) -> Result<(), Stop> {
        match ast {
            Ast::Assign(target, value) => self.eval(value, env, input.clone(), &mut |value| {
                let mut result = input.clone();
                for path in self.paths(target, env, &input)? {
                    result = ops::set_path(self.session, &result, &path, value.clone())?;
                }
                emit(result)
            }),
            Ast::Update(target, update) => emit(self.changed(target, env, &input, &mut |old| {
                let mut first = None;
                let label = self.fresh_label();
                match self.eval(update, env, old, &mut |value| {
                    first = Some(value);
                    Err(Stop::Break(label))
                }) {
                    Err(Stop::Break(found)) if found == label => Ok(first),
                    Err(stop) => Err(stop),
                    Ok(()) => Ok(None),
                }
            })?),
            Ast::Modify(op, target, value) => self.eval(value, env, input.clone(), &mut |value| {
                emit(self.changed(target, env, &input, &mut |old| match op {
                    Some(op) => ops::compute(self.session, *op, &old, &value).map(Some),
                    None => Ok(Some(if old.is_true() { old } else { value.clone() })),
                })?)
            }),
            _ => Err(Stop::Invalid("no update".to_owned())),
        }
    }

    /// Changes the value at every path; where there is no new one, the old one is deleted.
    pub(super) fn changed<'p>(
        &self,
        target: &'p Ast,
        env: &Env<'p>,
        input: &Json,
        change: &mut dyn FnMut(Json) -> Result<Option<Json>, Stop>,
    ) -> Result<Json, Stop> {
        let mut result = input.clone();
        let mut deleted = Vec::new();
        for path in self.paths(target, env, input)? {
            match change(ops::get_path(&result, &path)?)? {
                Some(value) => result = ops::set_path(self.session, &result, &path, value)?,
                None => deleted.push(path),
            }
        }
        ops::delete_paths(self.session, &result, deleted)
    }
}
