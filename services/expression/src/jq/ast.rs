//! The parsed program.

use std::sync::Arc;

use super::value::Json;

#[derive(Debug)]
pub(super) enum Ast {
    Identity,
    RecurseAll,
    Literal(Json),
    /// A string with parts, each converted by the format.
    Interpolation(Option<Arc<str>>, Vec<Ast>),
    /// `@name` by itself.
    Format(Arc<str>),
    Index(Box<Ast>, Box<Ast>),
    Slice(Box<Ast>, Option<Box<Ast>>, Option<Box<Ast>>),
    Iterate(Box<Ast>),
    List(Option<Box<Ast>>),
    Object(Vec<(Ast, Ast)>),
    Negate(Box<Ast>),
    Pipe(Box<Ast>, Box<Ast>),
    Comma(Vec<Ast>),
    Binary(Op, Box<Ast>, Box<Ast>),
    And(Box<Ast>, Box<Ast>),
    Or(Box<Ast>, Box<Ast>),
    Alternative(Box<Ast>, Box<Ast>),
    /// `=`
    Assign(Box<Ast>, Box<Ast>),
    /// `|=`
    Update(Box<Ast>, Box<Ast>),
    /// `+=` and the like; `None` is `//=`.
    Modify(Option<Op>, Box<Ast>, Box<Ast>),
    If(Vec<(Ast, Ast)>, Option<Box<Ast>>),
    Try(Box<Ast>, Option<Box<Ast>>),
    Reduce(Box<Ast>, Pattern, Box<Ast>, Box<Ast>),
    Foreach(Box<Ast>, Pattern, Box<Ast>, Box<Ast>, Option<Box<Ast>>),
    Define(Arc<Definition>, Box<Ast>),
    Call(Arc<str>, Vec<Arc<Ast>>),
    Variable(Arc<str>),
    Bind(Box<Ast>, Pattern, Box<Ast>),
    Label(Arc<str>, Box<Ast>),
    Break(Arc<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug)]
pub(super) enum Pattern {
    Variable(Arc<str>),
    List(Vec<Pattern>),
    Object(Vec<FieldPattern>),
}

/// A key with what it binds; a key that is a variable binds itself too.
pub(super) type FieldPattern = (Option<Arc<str>>, Ast, Option<Pattern>);

#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: Arc<str>,
    /// Names of parameters; those with a dollar are values.
    pub(super) parameters: Vec<Arc<str>>,
    pub(super) body: Ast,
}
