//! Evaluation: each value that a term produces is handed on at once.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use super::ast::{Ast, Definition};
use super::value::{Fields, Json};
use super::{formats, native, ops, strings};
use crate::error::Fault;
use crate::eval::Session;

/// Why an evaluation stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// `error`, which `try` and `?` catch.
    Error(Json),
    /// `break` to the label with this number.
    Break(u64),
    /// A limit, which nothing catches.
    Fault(Fault),
    /// Something that does not exist; found late, but as final as if the program did not compile.
    Invalid(String),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// An error with a message, which programs can catch.
pub(super) fn error<T>(message: impl AsRef<str>) -> Result<T, Stop> {
    Err(Stop::Error(Json::text(message)))
}

/// Takes the values of a term.
pub(super) type Emit<'e> = &'e mut dyn FnMut(Json) -> Result<(), Stop>;

/// What names mean, innermost first.
pub(super) enum Binding<'p> {
    Variable(Arc<str>, Json),
    Label(Arc<str>, u64),
    /// A function with the environment of its definition, which does not have it itself.
    Function(&'p Definition),
    /// An argument that is a term of the caller.
    Closure(Arc<str>, &'p Ast, Env<'p>),
}

pub(super) struct Scope<'p> {
    pub(super) binding: Binding<'p>,
    pub(super) outer: Env<'p>,
}

pub(super) type Env<'p> = Option<Rc<Scope<'p>>>;

pub(super) fn extend<'p>(env: &Env<'p>, binding: Binding<'p>) -> Env<'p> {
    Some(Rc::new(Scope { binding, outer: env.clone() }))
}

/// What a call means.
pub(super) enum Callee<'p> {
    Function(&'p Definition, Env<'p>),
    Closure(&'p Ast, Env<'p>),
    Native,
}

pub(super) struct Interpreter<'a, 's> {
    pub(super) session: &'s Session<'a>,
    labels: Cell<u64>,
}

impl<'a, 's> Interpreter<'a, 's> {
    pub(super) fn new(session: &'s Session<'a>) -> Self {
        Self { session, labels: Cell::new(0) }
    }

    pub(super) fn fresh_label(&self) -> u64 {
        self.labels.set(self.labels.get() + 1);
        self.labels.get()
    }

    /// Runs a part one level deeper.
    pub(super) fn deeper<T>(&self, part: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
        let mut result = Err(Stop::Invalid(String::new()));
        self.session.nested(|| {
            result = part();
            Ok(())
        })?;
        result
    }

    pub(super) fn eval<'p>(&self, ast: &'p Ast, env: &Env<'p>, input: Json, emit: Emit<'_>) -> Result<(), Stop> {
        match ast {
            Ast::Identity => emit(input),
            Ast::Literal(value) => emit(value.clone()),
            Ast::Variable(name) => emit(self.variable(name, env)?),
            other => self.deeper(|| self.eval_nested(other, env, input, emit)),
        }
    }

    fn eval_nested<'p>(&self, ast: &'p Ast, env: &Env<'p>, input: Json, emit: Emit<'_>) -> Result<(), Stop> {
        match ast {
            Ast::Identity => emit(input),
            Ast::Literal(value) => emit(value.clone()),
            Ast::Variable(name) => emit(self.variable(name, env)?),
            Ast::Pipe(left, right) => self.eval(left, env, input, &mut |value| self.eval(right, env, value, emit)),
            Ast::Comma(parts) => parts.iter().try_for_each(|part| self.eval(part, env, input.clone(), emit)),
            Ast::Index(term, key) => self.index(term, key, env, input, emit),
            Ast::Slice(term, from, to) => self.slice(term, [from.as_deref(), to.as_deref()], env, input, emit),
            Ast::Iterate(term) => self.eval(term, env, input, &mut |value| {
                for item in ops::children(&value)? {
                    self.session.meter.steps(1)?;
                    emit(item)?;
                }
                Ok(())
            }),
            Ast::RecurseAll => self.recurse_all(input, emit),
            Ast::List(inner) => emit(self.collected(inner.as_deref(), env, input)?),
            Ast::Object(entries) => self.object(entries, env, &input, Fields::default(), emit),
            Ast::Interpolation(format, parts) => {
                self.interpolation(format.as_deref(), parts, env, &input, String::new(), emit)
            }
            Ast::Format(name) => emit(formats::apply(self.session, name, &input)?),
            Ast::Negate(term) => self.eval(term, env, input, &mut |value| match value.number() {
                Some(number) if value.integer().is_none() => emit(Json::computed(-number)),
                Some(_) => emit(ops::subtract(self.session, &Json::whole(0), &value)?),
                None => error(format!("{} cannot be negated", strings::describe(&value))),
            }),
            Ast::Binary(op, left, right) => self.eval(right, env, input.clone(), &mut |right| {
                self.eval(left, env, input.clone(), &mut |left| emit(ops::compute(self.session, *op, &left, &right)?))
            }),
            Ast::And(left, right) => self.logic(left, right, env, input, false, emit),
            Ast::Or(left, right) => self.logic(left, right, env, input, true, emit),
            Ast::Alternative(left, right) => self.alternative(left, right, env, input, emit),
            Ast::Assign(..) | Ast::Update(..) | Ast::Modify(..) => self.update(ast, env, input, emit),
            Ast::If(branches, otherwise) => self.conditional(branches, otherwise.as_deref(), env, input, emit),
            Ast::Try(body, handler) => self.attempt(
                |emit| self.eval(body, env, input.clone(), emit),
                |failure, emit| match handler {
                    Some(handler) => self.eval(handler, env, failure, emit),
                    None => Ok(()),
                },
                emit,
            ),
            Ast::Reduce(source, pattern, start, update) => {
                self.reduce(source, pattern, start, update, env, input, emit)
            }
            Ast::Foreach(source, pattern, start, update, extract) => {
                self.foreach(source, pattern, start, update, extract.as_deref(), env, input, emit)
            }
            Ast::Define(definition, body) => self.eval(body, &extend(env, Binding::Function(definition)), input, emit),
            Ast::Bind(source, pattern, body) => self.eval(source, env, input.clone(), &mut |value| {
                self.bind(pattern, &value, env, &input, &mut |env| self.eval(body, env, input.clone(), emit))
            }),
            Ast::Label(name, body) => {
                let label = self.fresh_label();
                match self.eval(body, &extend(env, Binding::Label(Arc::clone(name), label)), input, emit) {
                    Err(Stop::Break(found)) if found == label => Ok(()),
                    other => other,
                }
            }
            Ast::Break(name) => Err(Stop::Break(self.label(name, env)?)),
            Ast::Call(name, arguments) => self.call(name, arguments, env, input, emit),
        }
    }

    fn variable(&self, name: &str, env: &Env<'_>) -> Result<Json, Stop> {
        let mut scope = env.as_ref();
        while let Some(current) = scope {
            self.session.meter.steps(1)?;
            if let Binding::Variable(known, value) = &current.binding
                && **known == *name
            {
                return Ok(value.clone());
            }
            scope = current.outer.as_ref();
        }
        Err(Stop::Invalid(format!("${name} is not defined")))
    }

    pub(super) fn label(&self, name: &str, env: &Env<'_>) -> Result<u64, Stop> {
        let mut scope = env.as_ref();
        while let Some(current) = scope {
            if let Binding::Label(known, label) = &current.binding
                && **known == *name
            {
                return Ok(*label);
            }
            scope = current.outer.as_ref();
        }
        Err(Stop::Invalid(format!("$*label-{name} is not defined")))
    }

    /// Looks a function up; definitions see themselves.
    pub(super) fn callee<'p>(&self, name: &str, count: usize, env: &Env<'p>) -> Result<Callee<'p>, Stop> {
        let mut scope = env.as_ref();
        while let Some(current) = scope {
            self.session.meter.steps(1)?;
            match &current.binding {
                Binding::Function(definition) if *definition.name == *name && definition.parameters.len() == count => {
                    return Ok(Callee::Function(definition, Some(Rc::clone(current))));
                }
                Binding::Closure(known, ast, env) if **known == *name && count == 0 => {
                    return Ok(Callee::Closure(ast, env.clone()));
                }
                _ => {}
            }
            scope = current.outer.as_ref();
        }
        if native::exists(name, count) {
            Ok(Callee::Native)
        } else {
            Err(Stop::Invalid(format!("{name}/{count} is not defined")))
        }
    }

    fn call<'p>(
        &self,
        name: &'p str,
        arguments: &'p [Arc<Ast>],
        env: &Env<'p>,
        input: Json,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        match self.callee(name, arguments.len(), env)? {
            Callee::Closure(ast, env) => self.eval(ast, &env, input, emit),
            Callee::Native => native::call(self, name, arguments, env, input, emit),
            Callee::Function(definition, own) => {
                self.with_arguments(definition, arguments, own, env, &input, &mut |env| {
                    self.eval(&definition.body, env, input.clone(), emit)
                })
            }
        }
    }

    /// The environment of a call: arguments are terms of the caller; those with a dollar are their values, one call for each.
    pub(super) fn with_arguments<'p>(
        &self,
        definition: &'p Definition,
        arguments: &'p [Arc<Ast>],
        own: Env<'p>,
        caller: &Env<'p>,
        input: &Json,
        body: &mut dyn FnMut(&Env<'p>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.argument(&definition.parameters, arguments, own, caller, input, body)
    }

    fn argument<'p>(
        &self,
        parameters: &'p [Arc<str>],
        arguments: &'p [Arc<Ast>],
        own: Env<'p>,
        caller: &Env<'p>,
        input: &Json,
        body: &mut dyn FnMut(&Env<'p>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let (Some((parameter, parameters)), Some((argument, arguments))) =
            (parameters.split_first(), arguments.split_first())
        else {
            return body(&own);
        };
        match parameter.strip_prefix('$') {
            None => {
                let own = extend(&own, Binding::Closure(Arc::clone(parameter), argument, caller.clone()));
                self.argument(parameters, arguments, own, caller, input, body)
            }
            Some(name) => self.eval(argument, caller, input.clone(), &mut |value| {
                let name: Arc<str> = Arc::from(name);
                let own = extend(&own, Binding::Variable(Arc::clone(&name), value));
                self.argument(parameters, arguments, own, caller, input, body)
            }),
        }
    }

    fn index<'p>(&self, term: &'p Ast, key: &'p Ast, env: &Env<'p>, input: Json, emit: Emit<'_>) -> Result<(), Stop> {
        self.eval(term, env, input.clone(), &mut |value| {
            self.eval(key, env, input.clone(), &mut |key| emit(ops::index(&value, &key)?))
        })
    }

    fn slice<'p>(
        &self,
        term: &'p Ast,
        ends: [Option<&'p Ast>; 2],
        env: &Env<'p>,
        input: Json,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        self.eval(term, env, input.clone(), &mut |value| {
            self.optional(ends[1], env, &input, &mut |to| {
                self.optional(ends[0], env, &input, &mut |from| emit(ops::slice(self.session, &value, &from, &to)?))
            })
        })
    }

    /// The values of a term, or null if there is none.
    pub(super) fn optional<'p>(
        &self,
        term: Option<&'p Ast>,
        env: &Env<'p>,
        input: &Json,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        match term {
            Some(term) => self.eval(term, env, input.clone(), emit),
            None => emit(Json::Null),
        }
    }

    fn recurse_all(&self, value: Json, emit: Emit<'_>) -> Result<(), Stop> {
        self.session.meter.steps(1)?;
        emit(value.clone())?;
        match &value {
            Json::List(_) | Json::Object(_) => {
                for item in ops::children(&value)? {
                    self.deeper(|| self.recurse_all(item, emit))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// All values of a term as a list.
    pub(super) fn all<'p>(&self, term: &'p Ast, env: &Env<'p>, input: Json) -> Result<Vec<Json>, Stop> {
        let mut items = Vec::new();
        self.eval(term, env, input, &mut |value| {
            self.session.meter.elements(1)?;
            items.push(value);
            Ok(())
        })?;
        Ok(items)
    }

    fn collected<'p>(&self, inner: Option<&'p Ast>, env: &Env<'p>, input: Json) -> Result<Json, Stop> {
        match inner {
            Some(inner) => Json::list(self.all(inner, env, input)?),
            None => Json::list(Vec::new()),
        }
    }

    fn object<'p>(
        &self,
        entries: &'p [(Ast, Ast)],
        env: &Env<'p>,
        input: &Json,
        built: Fields,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        let Some(((key, value), rest)) = entries.split_first() else { return emit(Json::object(built)?) };
        self.eval(key, env, input.clone(), &mut |key| {
            let Json::Text(key) = key else {
                return error(format!("Object keys must be strings, not {}", strings::describe(&key)));
            };
            self.eval(value, env, input.clone(), &mut |value| {
                self.session.meter.elements(built.len() + 1)?;
                let mut built = built.clone();
                built.insert(Arc::clone(&key), value);
                self.object(rest, env, input, built, emit)
            })
        })
    }

    fn interpolation<'p>(
        &self,
        format: Option<&str>,
        parts: &'p [Ast],
        env: &Env<'p>,
        input: &Json,
        built: String,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        let Some((part, rest)) = parts.split_first() else {
            self.session.meter.text(built.len())?;
            return emit(Json::text(built));
        };
        if let Ast::Literal(Json::Text(text)) = part {
            return self.interpolation(format, rest, env, input, built + text, emit);
        }
        self.eval(part, env, input.clone(), &mut |value| {
            let text = match format {
                Some(format) => formats::text(self.session, format, &value)?,
                None => strings::to_text(self.session, &value)?,
            };
            self.session.meter.text(built.len() + text.len())?;
            self.interpolation(format, rest, env, input, format!("{built}{text}"), emit)
        })
    }

    /// `and` stops at false, `or` at true.
    fn logic<'p>(
        &self,
        left: &'p Ast,
        right: &'p Ast,
        env: &Env<'p>,
        input: Json,
        stop: bool,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        self.eval(left, env, input.clone(), &mut |value| {
            if value.is_true() == stop {
                return emit(Json::Bool(stop));
            }
            self.eval(right, env, input.clone(), &mut |value| emit(Json::Bool(value.is_true())))
        })
    }

    fn alternative<'p>(
        &self,
        left: &'p Ast,
        right: &'p Ast,
        env: &Env<'p>,
        input: Json,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        let mut any = false;
        let mut later = None;
        let outcome = self.eval(left, env, input.clone(), &mut |value| {
            if !value.is_true() {
                return Ok(());
            }
            any = true;
            // errors of what follows are not errors of the left side
            emit(value).map_err(|stop| {
                later = Some(stop);
                Stop::Break(0)
            })
        });
        match (outcome, later) {
            (Err(Stop::Break(0)), Some(stop)) => Err(stop),
            (Ok(()) | Err(Stop::Error(_)), _) if any => Ok(()),
            (Ok(()) | Err(Stop::Error(_)), _) => self.eval(right, env, input, emit),
            (other, _) => other,
        }
    }

    pub(super) fn conditional<'p>(
        &self,
        branches: &'p [(Ast, Ast)],
        otherwise: Option<&'p Ast>,
        env: &Env<'p>,
        input: Json,
        emit: Emit<'_>,
    ) -> Result<(), Stop> {
        let Some(((condition, body), rest)) = branches.split_first() else {
            return match otherwise {
                Some(otherwise) => self.eval(otherwise, env, input, emit),
                None => emit(input),
            };
        };
        self.eval(condition, env, input.clone(), &mut |value| {
            if value.is_true() {
                self.eval(body, env, input.clone(), emit)
            } else {
                self.conditional(rest, otherwise, env, input.clone(), emit)
            }
        })
    }

    /// Runs a body; its errors, but not those of what follows, go to the handler.
    pub(super) fn attempt<T>(
        &self,
        body: impl FnOnce(&mut dyn FnMut(T) -> Result<(), Stop>) -> Result<(), Stop>,
        handler: impl FnOnce(Json, &mut dyn FnMut(T) -> Result<(), Stop>) -> Result<(), Stop>,
        emit: &mut dyn FnMut(T) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut later = None;
        let outcome = body(&mut |value| {
            emit(value).map_err(|stop| {
                later = Some(stop);
                Stop::Break(0)
            })
        });
        match (outcome, later) {
            (Err(Stop::Break(0)), Some(stop)) => Err(stop),
            (Err(Stop::Error(failure)), _) => handler(failure, emit),
            (other, _) => other,
        }
    }
}
