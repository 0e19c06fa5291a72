//! Expressions by precedence climbing (expression reference, section 3).

use std::sync::Arc;

use super::SyntaxError;
use super::ast::{Arguments, BinaryOp, CallUse, Expr, FilterUse, Segment, TestUse, UnaryOp};
use super::token::{Positioned, Token};
use crate::error::Offset;
use crate::value::Value;
use crate::{filters, functions, predicates};

/// How deep expressions may be nested, so that neither parsing nor evaluating nor freeing them exhausts the stack.
const MAX_HEIGHT: u32 = 120;

pub(super) type Result<T> = std::result::Result<T, SyntaxError>;

pub(super) struct Parser {
    pub(super) tokens: Vec<Positioned>,
    pub(super) position: usize,
    depth: u32,
}

/// An expression and how deep it is nested.
pub(super) struct Tall {
    pub(super) expr: Expr,
    height: u32,
}

impl Tall {
    fn leaf(expr: Expr) -> Self {
        Self { expr, height: 1 }
    }
}

enum Operator {
    Binary(BinaryOp),
    Concat,
    Filter,
    Test { negated: bool },
}

fn binary(operator: &str) -> Option<(u32, Operator)> {
    use BinaryOp as B;
    Some(match operator {
        "or" => (10, Operator::Binary(B::Or)),
        "and" => (15, Operator::Binary(B::And)),
        "is" => (20, Operator::Test { negated: false }),
        "is not" => (20, Operator::Test { negated: true }),
        "contains" => (20, Operator::Binary(B::Contains)),
        "==" | "equals" => (30, Operator::Binary(B::Equal)),
        "!=" => (30, Operator::Binary(B::NotEqual)),
        "<" => (30, Operator::Binary(B::Less)),
        ">" => (30, Operator::Binary(B::Greater)),
        "<=" => (30, Operator::Binary(B::LessOrEqual)),
        ">=" => (30, Operator::Binary(B::GreaterOrEqual)),
        "+" => (40, Operator::Binary(B::Add)),
        "-" => (40, Operator::Binary(B::Subtract)),
        "*" => (60, Operator::Binary(B::Multiply)),
        "/" => (60, Operator::Binary(B::Divide)),
        "%" => (60, Operator::Binary(B::Remainder)),
        "|" => (100, Operator::Filter),
        "~" => (110, Operator::Concat),
        ".." => (120, Operator::Binary(B::Range)),
        "??" => (120, Operator::Binary(B::Coalesce)),
        "???" => (120, Operator::Binary(B::CoalesceUndefined)),
        "isIn" => (120, Operator::Binary(B::IsIn)),
        _ => return None,
    })
}

fn unary(operator: &str) -> Option<UnaryOp> {
    Some(match operator {
        "not" => UnaryOp::Not,
        "+" => UnaryOp::Plus,
        "-" => UnaryOp::Minus,
        _ => return None,
    })
}

const UNARY_PRECEDENCE: u32 = 500;

impl Parser {
    pub(super) fn new(tokens: Vec<Positioned>) -> Self {
        Self { tokens, position: 0, depth: 0 }
    }

    pub(super) fn current(&self) -> &Token {
        self.tokens.get(self.position).map_or(&Token::End, |token| &token.token)
    }

    fn following(&self) -> &Token {
        self.tokens.get(self.position + 1).map_or(&Token::End, |token| &token.token)
    }

    pub(super) fn at(&self) -> Offset {
        self.tokens.get(self.position).or(self.tokens.last()).map_or(0, |token| token.at)
    }

    pub(super) fn advance(&mut self) {
        self.position += 1;
    }

    pub(super) fn is(&self, c: char) -> bool {
        *self.current() == Token::Punctuation(c)
    }

    pub(super) fn skip(&mut self, c: char) -> bool {
        let found = self.is(c);
        if found {
            self.advance();
        }
        found
    }

    /// The error for a token of which another kind was expected.
    pub(super) fn expected<T>(&self, kind: &str) -> Result<T> {
        let token = self.current();
        let message = format!(
            "Unexpected token of value \"{}\" and type {}, expected token of type {kind}",
            token.value(),
            token.kind()
        );
        Err(SyntaxError::new(message, self.at()))
    }

    fn unexpected<T>(&self) -> Result<T> {
        let token = self.current();
        let message = format!("Unexpected token \"{}\" of value \"{}\"", token.kind(), token.value());
        Err(SyntaxError::new(message, self.at()))
    }

    pub(super) fn expect(&mut self, c: char) -> Result<()> {
        if self.skip(c) { Ok(()) } else { self.expected("PUNCTUATION") }
    }

    pub(super) fn expect_name(&mut self) -> Result<Arc<str>> {
        match self.current() {
            Token::Name(name) => {
                let name = Arc::clone(name);
                self.advance();
                Ok(name)
            }
            _ => self.expected("NAME"),
        }
    }

    /// A name that a tag gives to a variable.
    pub(super) fn expect_variable(&mut self) -> Result<Arc<str>> {
        let at = self.at();
        let name = self.expect_name()?;
        if constant(&name).is_some() {
            return Err(SyntaxError::new(format!("Can not assign a value to {name}"), at));
        }
        Ok(name)
    }

    /// A complete expression.
    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.parse(0).map(|tall| tall.expr)
    }

    /// Runs a nested part, at most `MAX_HEIGHT` deep.
    pub(super) fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_HEIGHT {
            return Err(SyntaxError::new("The expression is nested too deeply", self.at()));
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }

    fn grow(&self, expr: Expr, height: u32) -> Result<Tall> {
        if height >= MAX_HEIGHT {
            return Err(SyntaxError::new("The expression is nested too deeply", self.at()));
        }
        Ok(Tall { expr, height: height + 1 })
    }

    fn parse(&mut self, min_precedence: u32) -> Result<Tall> {
        self.nested(|parser| parser.climb(min_precedence))
    }

    fn climb(&mut self, min_precedence: u32) -> Result<Tall> {
        let mut left = self.operand()?;
        while let Token::Operator(symbol) = *self.current() {
            let Some((precedence, operator)) = binary(symbol).filter(|(precedence, _)| *precedence >= min_precedence)
            else {
                break;
            };
            let at = self.at();
            self.advance();
            left = self.join(left, operator, precedence, at)?;
        }
        if min_precedence == 0 { self.ternary(left) } else { Ok(left) }
    }

    fn join(&mut self, left: Tall, operator: Operator, precedence: u32, at: Offset) -> Result<Tall> {
        let height = left.height;
        match operator {
            Operator::Filter => {
                let (filter, inner) = self.filter_use()?;
                self.grow(Expr::Filter(Box::new((left.expr, filter))), height.max(inner))
            }
            Operator::Test { negated } => {
                let name = self.expect_name()?;
                if self.is('(') {
                    self.arguments()?;
                }
                let spec = predicates::find(&name);
                self.grow(Expr::Test(Box::new(TestUse { subject: left.expr, name, spec, negated, at })), height)
            }
            Operator::Concat => {
                let right = self.parse(precedence + 1)?;
                // a chain becomes one node, so that long ones need no depth
                if let Expr::Concat(mut parts) = left.expr {
                    parts.push(right.expr);
                    return Ok(Tall { expr: Expr::Concat(parts), height: height.max(right.height + 1) });
                }
                self.grow(Expr::Concat(vec![left.expr, right.expr]), height.max(right.height))
            }
            Operator::Binary(operator) => {
                let right = self.parse(precedence + 1)?;
                let height = height.max(right.height);
                self.grow(Expr::Binary(operator, Box::new((left.expr, right.expr)), at), height)
            }
        }
    }

    fn ternary(&mut self, condition: Tall) -> Result<Tall> {
        let at = self.at();
        if !self.skip('?') {
            return Ok(condition);
        }
        let yes = self.parse(0)?;
        self.expect(':')?;
        let no = self.parse(0)?;
        let height = condition.height.max(yes.height).max(no.height);
        self.grow(Expr::Ternary(Box::new((condition.expr, yes.expr, no.expr)), at), height)
    }

    fn operand(&mut self) -> Result<Tall> {
        match self.current() {
            Token::Operator(symbol) => {
                let Some(operator) = unary(symbol) else { return self.unexpected() };
                let at = self.at();
                self.advance();
                let operand = self.parse(UNARY_PRECEDENCE)?;
                self.grow(Expr::Unary(operator, Box::new(operand.expr), at), operand.height)
            }
            Token::Punctuation('(') => {
                self.advance();
                let inner = self.parse(0)?;
                self.expect(')')?;
                self.postfix(inner)
            }
            Token::Punctuation('[') => self.list(),
            Token::Punctuation('{') => self.map(),
            _ => {
                let simple = self.simple()?;
                self.postfix(simple)
            }
        }
    }

    fn simple(&mut self) -> Result<Tall> {
        let at = self.at();
        match self.current().clone() {
            Token::Name(name) => {
                self.advance();
                if let Some(value) = constant(&name) {
                    return Ok(Tall::leaf(Expr::Constant(value)));
                }
                if !self.is('(') {
                    return Ok(Tall::leaf(Expr::Name(name, at)));
                }
                let (arguments, height) = self.arguments()?;
                let spec = functions::find(&name);
                self.grow(Expr::Call(Box::new(CallUse { name, spec, arguments, at })), height)
            }
            Token::Long(digits) => self.whole_number(&digits),
            Token::Number(digits) if digits.contains('.') => {
                self.advance();
                let number = digits.parse().map_err(|_| SyntaxError::new(format!("Invalid number {digits}"), at))?;
                Ok(Tall::leaf(Expr::Constant(Value::Double(number))))
            }
            Token::Number(digits) => self.whole_number(&digits),
            Token::String(text) => {
                self.advance();
                Ok(Tall::leaf(Expr::Constant(Value::Text(text))))
            }
            Token::StringStart => self.interpolation(),
            _ => self.unexpected(),
        }
    }

    fn whole_number(&mut self, digits: &str) -> Result<Tall> {
        let number = digits
            .parse()
            .map_err(|_| SyntaxError::new(format!("The number {digits} does not fit 64 bits"), self.at()))?;
        self.advance();
        Ok(Tall::leaf(Expr::Constant(Value::Long(number))))
    }

    fn interpolation(&mut self) -> Result<Tall> {
        self.advance();
        let mut parts = Vec::new();
        let mut height = 1;
        loop {
            match self.current().clone() {
                Token::String(text) => {
                    self.advance();
                    parts.push(Expr::Constant(Value::Text(text)));
                }
                Token::InterpolationStart => {
                    self.advance();
                    let part = self.parse(0)?;
                    height = height.max(part.height);
                    parts.push(part.expr);
                    if *self.current() != Token::InterpolationEnd {
                        return self.expected("STRING_INTERPOLATION_END");
                    }
                    self.advance();
                }
                Token::StringEnd => {
                    self.advance();
                    break;
                }
                _ => return self.unexpected(),
            }
        }
        // a string that is one interpolation and nothing else is that value, not its text
        if parts.len() == 1
            && let Some(expr) = parts.pop()
        {
            return Ok(Tall { expr, height });
        }
        self.grow(Expr::Interpolation(parts), height)
    }

    fn list(&mut self) -> Result<Tall> {
        self.advance();
        let mut items = Vec::new();
        let mut height = 1;
        if !self.skip(']') {
            loop {
                let item = self.parse(0)?;
                height = height.max(item.height);
                items.push(item.expr);
                if self.skip(']') {
                    break;
                }
                self.expect(',')?;
            }
        }
        self.grow(Expr::List(items), height)
    }

    fn map(&mut self) -> Result<Tall> {
        self.advance();
        let mut entries = Vec::new();
        let mut height = 1;
        if !self.skip('}') {
            loop {
                let key = self.parse(0)?;
                self.expect(':')?;
                let value = self.parse(0)?;
                height = height.max(key.height).max(value.height);
                entries.push((key.expr, value.expr));
                if self.skip('}') {
                    break;
                }
                self.expect(',')?;
            }
        }
        self.grow(Expr::Map(entries), height)
    }

    fn postfix(&mut self, base: Tall) -> Result<Tall> {
        let mut segments = Vec::new();
        let mut height = base.height;
        loop {
            let at = self.at();
            if self.skip('.') {
                let name = self.expect_name()?;
                if self.is('(') {
                    let (arguments, inner) = self.arguments()?;
                    if !arguments.named.is_empty() {
                        return Err(SyntaxError::new("Can not use named arguments when calling a bean method", at));
                    }
                    height = height.max(inner);
                    segments.push(Segment::Call { name, arguments: arguments.positional, at });
                } else {
                    let key = Value::Text(Arc::clone(&name));
                    segments.push(Segment::Attribute { name, key, at });
                }
            } else if self.skip('[') {
                let index = self.parse(0)?;
                self.expect(']')?;
                height = height.max(index.height);
                segments.push(Segment::Index(index.expr, at));
            } else {
                break;
            }
        }
        if segments.is_empty() { Ok(base) } else { self.grow(Expr::Path(Box::new(base.expr), segments), height) }
    }

    /// A filter's name with its arguments, and how deep these are.
    pub(super) fn filter_use(&mut self) -> Result<(FilterUse, u32)> {
        let at = self.at();
        let name = self.expect_name()?;
        let (arguments, height) = if self.is('(') { self.arguments()? } else { (Arguments::default(), 0) };
        let spec = filters::find(&name);
        Ok((FilterUse { name, spec, arguments, at }, height))
    }

    fn arguments(&mut self) -> Result<(Arguments, u32)> {
        self.expect('(')?;
        let mut arguments = Arguments::default();
        let mut height = 1;
        if self.skip(')') {
            return Ok((arguments, height));
        }
        loop {
            let at = self.at();
            let name = match (self.current(), self.following()) {
                (Token::Name(name), Token::Punctuation('=')) => Some(Arc::clone(name)),
                _ => None,
            };
            if name.is_some() {
                self.advance();
                self.advance();
            }
            let value = self.parse(0)?;
            height = height.max(value.height);
            match name {
                Some(name) => arguments.named.push((name, value.expr)),
                None if arguments.named.is_empty() => arguments.positional.push(value.expr),
                None => {
                    return Err(SyntaxError::new(
                        "Positional arguments must be declared before any named arguments",
                        at,
                    ));
                }
            }
            if self.skip(')') {
                return Ok((arguments, height));
            }
            self.expect(',')?;
        }
    }
}

/// The value of a reserved word.
fn constant(name: &str) -> Option<Value> {
    Some(match name {
        "true" | "TRUE" => Value::Bool(true),
        "false" | "FALSE" => Value::Bool(false),
        "null" | "NULL" | "none" | "NONE" => Value::Null,
        _ => return None,
    })
}
