//! The parsed template. Built once, never changed, shared by all evaluations.

use std::sync::Arc;

use crate::error::Offset;
use crate::filters::FilterSpec;
use crate::functions::FunctionSpec;
use crate::predicates::PredicateSpec;
use crate::value::Value;

/// A sequence of texts, expressions and tags.
pub(crate) type Body = Vec<Node>;

#[derive(Debug)]
pub(crate) enum Node {
    Text(Arc<str>),
    Print(Expr, Offset),
    If {
        branches: Vec<(Expr, Body)>,
        otherwise: Option<Body>,
        at: Offset,
    },
    For {
        name: Arc<str>,
        items: Expr,
        body: Body,
        otherwise: Option<Body>,
        at: Offset,
    },
    Set {
        name: Arc<str>,
        value: Expr,
        at: Offset,
    },
    /// The name of a block, whose body stands in [`Tree::blocks`].
    Block(Arc<str>),
    Filter {
        filters: Vec<FilterUse>,
        body: Body,
        at: Offset,
    },
}

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) body: Body,
    pub(crate) macros: Vec<Macro>,
    pub(crate) blocks: Vec<(Arc<str>, Body)>,
}

#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) name: Arc<str>,
    pub(crate) parameters: Vec<(Arc<str>, Option<Expr>)>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Expr {
    Constant(Value),
    Name(Arc<str>, Offset),
    Path(Box<Expr>, Vec<Segment>),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    /// A double-quoted string with interpolations.
    Interpolation(Vec<Expr>),
    Concat(Vec<Expr>),
    Unary(UnaryOp, Box<Expr>, Offset),
    Binary(BinaryOp, Box<(Expr, Expr)>, Offset),
    Ternary(Box<(Expr, Expr, Expr)>, Offset),
    Filter(Box<(Expr, FilterUse)>),
    Test(Box<TestUse>),
    Call(Box<CallUse>),
}

#[derive(Debug)]
pub(crate) enum Segment {
    Attribute { name: Arc<str>, key: Value, at: Offset },
    Call { name: Arc<str>, arguments: Vec<Expr>, at: Offset },
    Index(Expr, Offset),
}

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) positional: Vec<Expr>,
    pub(crate) named: Vec<(Arc<str>, Expr)>,
}

#[derive(Debug)]
pub(crate) struct FilterUse {
    pub(crate) name: Arc<str>,
    /// `None` for an unknown filter, which fails only when it is reached.
    pub(crate) spec: Option<&'static FilterSpec>,
    pub(crate) arguments: Arguments,
    pub(crate) at: Offset,
}

#[derive(Debug)]
pub(crate) struct TestUse {
    pub(crate) subject: Expr,
    pub(crate) name: Arc<str>,
    pub(crate) spec: Option<&'static PredicateSpec>,
    pub(crate) negated: bool,
    pub(crate) at: Offset,
}

#[derive(Debug)]
pub(crate) struct CallUse {
    pub(crate) name: Arc<str>,
    /// `None` for a macro or an unknown function.
    pub(crate) spec: Option<&'static FunctionSpec>,
    pub(crate) arguments: Arguments,
    pub(crate) at: Offset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnaryOp {
    Not,
    Plus,
    Minus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Or,
    And,
    Contains,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Range,
    Coalesce,
    CoalesceUndefined,
    IsIn,
}
