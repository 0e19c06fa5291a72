//! The grammar of jq.

use std::sync::Arc;

use super::ast::{Ast, Definition, Op};
use super::lexer::{Token, tokenize};
use super::value::Json;
use crate::value::{Value, from_json_number_text};

pub(super) type Result<T> = std::result::Result<T, String>;

/// How deep programs may be nested.
const MAX_DEPTH: u32 = 60;
const MAX_LENGTH: usize = 64 << 10;

const KEYWORDS: [&str; 17] = [
    "def", "if", "then", "elif", "else", "end", "as", "reduce", "foreach", "try", "catch", "label", "import",
    "include", "and", "or", "__loc__",
];

pub(super) fn parse(program: &str) -> Result<Ast> {
    if program.len() > MAX_LENGTH {
        return Err("the program is too long".to_owned());
    }
    let mut parser = Parser { tokens: tokenize(program)?, position: 0, depth: 0 };
    if parser.tokens.is_empty() {
        return Ok(Ast::Identity);
    }
    let ast = parser.pipe()?;
    if parser.position < parser.tokens.len() { parser.unexpected() } else { Ok(ast) }
}

/// Definitions without a main program, for what is built in.
pub(super) fn parse_definitions(program: &str) -> Result<Vec<Arc<Definition>>> {
    let mut parser = Parser { tokens: tokenize(program)?, position: 0, depth: 0 };
    let mut definitions = Vec::new();
    while parser.skip_name("def") {
        definitions.push(Arc::new(parser.definition()?));
    }
    if parser.position < parser.tokens.len() { parser.unexpected() } else { Ok(definitions) }
}

pub(super) struct Parser {
    pub(super) tokens: Vec<Token>,
    pub(super) position: usize,
    pub(super) depth: u32,
}

enum Binary {
    Op(Op),
    And,
    Or,
    Alternative,
    Assign,
    Update,
    Modify(Option<Op>),
}

/// Precedence and whether the operator is right associative.
fn binary(token: &Token) -> Option<(u32, bool, Binary)> {
    Some(match token {
        Token::Symbol(symbol) => match *symbol {
            "//" => (1, true, Binary::Alternative),
            "=" => (2, false, Binary::Assign),
            "|=" => (2, false, Binary::Update),
            "+=" => (2, false, Binary::Modify(Some(Op::Add))),
            "-=" => (2, false, Binary::Modify(Some(Op::Subtract))),
            "*=" => (2, false, Binary::Modify(Some(Op::Multiply))),
            "/=" => (2, false, Binary::Modify(Some(Op::Divide))),
            "%=" => (2, false, Binary::Modify(Some(Op::Remainder))),
            "//=" => (2, false, Binary::Modify(None)),
            "==" => (5, false, Binary::Op(Op::Equal)),
            "!=" => (5, false, Binary::Op(Op::NotEqual)),
            "<" => (5, false, Binary::Op(Op::Less)),
            "<=" => (5, false, Binary::Op(Op::LessOrEqual)),
            ">" => (5, false, Binary::Op(Op::Greater)),
            ">=" => (5, false, Binary::Op(Op::GreaterOrEqual)),
            "+" => (6, false, Binary::Op(Op::Add)),
            "-" => (6, false, Binary::Op(Op::Subtract)),
            "*" => (7, false, Binary::Op(Op::Multiply)),
            "/" => (7, false, Binary::Op(Op::Divide)),
            "%" => (7, false, Binary::Op(Op::Remainder)),
            _ => return None,
        },
        Token::Name(name) if name == "or" => (3, false, Binary::Or),
        Token::Name(name) if name == "and" => (4, false, Binary::And),
        _ => return None,
    })
}

pub(super) fn boxed(ast: Ast) -> Box<Ast> {
    Box::new(ast)
}

impl Parser {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position)
    }

    pub(super) fn unexpected<T>(&self) -> Result<T> {
        match self.peek() {
            Some(token) => Err(format!("syntax error at {token:?}")),
            None => Err("unexpected end of the program".to_owned()),
        }
    }

    pub(super) fn skip(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.skip(symbol) { Ok(()) } else { self.unexpected() }
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(found)) if found == name);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect_name(&mut self, name: &str) -> Result<()> {
        if self.skip_name(name) { Ok(()) } else { self.unexpected() }
    }

    pub(super) fn name(&mut self) -> Result<Arc<str>> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = Arc::from(name.as_str());
                self.position += 1;
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    pub(super) fn variable(&mut self) -> Result<Arc<str>> {
        match self.peek() {
            Some(Token::Variable(name)) => {
                let name = Arc::from(name.as_str());
                self.position += 1;
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    pub(super) fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err("the program is nested too deeply".to_owned());
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }

    pub(super) fn pipe(&mut self) -> Result<Ast> {
        self.nested(|parser| {
            if parser.skip_name("def") {
                let definition = parser.definition()?;
                return Ok(Ast::Define(Arc::new(definition), boxed(parser.pipe()?)));
            }
            let left = parser.comma()?;
            if parser.skip_name("as") {
                let pattern = parser.pattern()?;
                parser.expect("|")?;
                return Ok(Ast::Bind(boxed(left), pattern, boxed(parser.pipe()?)));
            }
            if let Ast::Label(name, _) = left {
                parser.expect("|")?;
                return Ok(Ast::Label(name, boxed(parser.pipe()?)));
            }
            if parser.skip("|") { Ok(Ast::Pipe(boxed(left), boxed(parser.pipe()?))) } else { Ok(left) }
        })
    }

    pub(super) fn comma(&mut self) -> Result<Ast> {
        let first = self.climb(1)?;
        let mut parts = vec![first];
        while self.skip(",") {
            parts.push(self.climb(1)?);
        }
        match parts.pop() {
            Some(only) if parts.is_empty() => Ok(only),
            Some(last) => {
                parts.push(last);
                Ok(Ast::Comma(parts))
            }
            None => self.unexpected(),
        }
    }

    pub(super) fn climb(&mut self, least: u32) -> Result<Ast> {
        self.nested(|parser| {
            let mut left = parser.postfix()?;
            let mut chain = 0;
            while let Some((precedence, right_associative, operator)) = parser.peek().and_then(binary) {
                if precedence < least {
                    break;
                }
                chain += 1;
                if chain > MAX_DEPTH {
                    return Err("the program has too many operators in a row".to_owned());
                }
                parser.position += 1;
                let right = parser.climb(if right_associative { precedence } else { precedence + 1 })?;
                let (left_box, right) = (boxed(left), boxed(right));
                left = match operator {
                    Binary::Op(op) => Ast::Binary(op, left_box, right),
                    Binary::And => Ast::And(left_box, right),
                    Binary::Or => Ast::Or(left_box, right),
                    Binary::Alternative => Ast::Alternative(left_box, right),
                    Binary::Assign => Ast::Assign(left_box, right),
                    Binary::Update => Ast::Update(left_box, right),
                    Binary::Modify(op) => Ast::Modify(op, left_box, right),
                };
            }
            Ok(left)
        })
    }

    pub(super) fn postfix(&mut self) -> Result<Ast> {
        let mut term = self.term()?;
        let mut chain = 0;
        loop {
            chain += 1;
            if chain > MAX_DEPTH {
                return Err("the path is too long".to_owned());
            }
            term = match self.peek().cloned() {
                Some(Token::Field(name)) => {
                    self.position += 1;
                    Ast::Index(boxed(term), boxed(Ast::Literal(Json::text(name))))
                }
                Some(Token::Symbol(".")) if matches!(self.tokens.get(self.position + 1), Some(Token::Text(_))) => {
                    self.position += 1;
                    let key = self.term()?;
                    Ast::Index(boxed(term), boxed(key))
                }
                Some(Token::Symbol(".")) if matches!(self.tokens.get(self.position + 1), Some(Token::Symbol("["))) => {
                    self.position += 2;
                    self.subscript(term)?
                }
                Some(Token::Symbol("[")) => {
                    self.position += 1;
                    self.subscript(term)?
                }
                Some(Token::Symbol("?")) => {
                    self.position += 1;
                    Ast::Try(boxed(term), None)
                }
                Some(Token::Name(name)) if name == "as" => {
                    self.position += 1;
                    let pattern = self.pattern()?;
                    self.expect("|")?;
                    let body = self.pipe()?;
                    return Ok(Ast::Bind(boxed(term), pattern, boxed(body)));
                }
                _ => return Ok(term),
            };
        }
    }

    /// What follows an opening bracket behind a term.
    pub(super) fn subscript(&mut self, term: Ast) -> Result<Ast> {
        if self.skip("]") {
            return Ok(Ast::Iterate(boxed(term)));
        }
        if self.skip(":") {
            let to = self.pipe()?;
            self.expect("]")?;
            return Ok(Ast::Slice(boxed(term), None, Some(boxed(to))));
        }
        let from = self.pipe()?;
        if self.skip(":") {
            if self.skip("]") {
                return Ok(Ast::Slice(boxed(term), Some(boxed(from)), None));
            }
            let to = self.pipe()?;
            self.expect("]")?;
            return Ok(Ast::Slice(boxed(term), Some(boxed(from)), Some(boxed(to))));
        }
        self.expect("]")?;
        Ok(Ast::Index(boxed(term), boxed(from)))
    }

    pub(super) fn term(&mut self) -> Result<Ast> {
        self.nested(Self::simple_term)
    }

    pub(super) fn simple_term(&mut self) -> Result<Ast> {
        let Some(token) = self.peek().cloned() else { return self.unexpected() };
        self.position += 1;
        match token {
            Token::Number(text) => number(&text),
            Token::Text(parts) => self.interpolation(None, parts),
            Token::Format(name) => match self.peek().cloned() {
                Some(Token::Text(parts)) => {
                    self.position += 1;
                    self.interpolation(Some(Arc::from(name)), parts)
                }
                _ => Ok(Ast::Format(Arc::from(name))),
            },
            Token::Field(name) => Ok(Ast::Index(boxed(Ast::Identity), boxed(Ast::Literal(Json::text(name))))),
            Token::Variable(name) => Ok(Ast::Variable(Arc::from(name))),
            Token::Symbol("..") => Ok(Ast::RecurseAll),
            Token::Symbol(".") => match self.peek() {
                Some(Token::Text(_)) => {
                    let key = self.term()?;
                    Ok(Ast::Index(boxed(Ast::Identity), boxed(key)))
                }
                _ => Ok(Ast::Identity),
            },
            Token::Symbol("(") => {
                let inner = self.pipe()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Symbol("[") => {
                if self.skip("]") {
                    return Ok(Ast::List(None));
                }
                let inner = self.pipe()?;
                self.expect("]")?;
                Ok(Ast::List(Some(boxed(inner))))
            }
            Token::Symbol("{") => self.object(),
            Token::Symbol("-") => Ok(Ast::Negate(boxed(self.postfix()?))),
            Token::Name(name) => self.named(&name),
            Token::Symbol(_) => {
                self.position -= 1;
                self.unexpected()
            }
        }
    }

    pub(super) fn named(&mut self, name: &str) -> Result<Ast> {
        match name {
            "if" => self.conditional(),
            "try" => {
                let body = self.postfix_without_catch()?;
                let handler = if self.skip_name("catch") { Some(boxed(self.postfix_without_catch()?)) } else { None };
                Ok(Ast::Try(boxed(body), handler))
            }
            "reduce" => {
                let source = self.source()?;
                let pattern = self.pattern()?;
                self.expect("(")?;
                let start = self.pipe()?;
                self.expect(";")?;
                let update = self.pipe()?;
                self.expect(")")?;
                Ok(Ast::Reduce(boxed(source), pattern, boxed(start), boxed(update)))
            }
            "foreach" => {
                let source = self.source()?;
                let pattern = self.pattern()?;
                self.expect("(")?;
                let start = self.pipe()?;
                self.expect(";")?;
                let update = self.pipe()?;
                let extract = if self.skip(";") { Some(boxed(self.pipe()?)) } else { None };
                self.expect(")")?;
                Ok(Ast::Foreach(boxed(source), pattern, boxed(start), boxed(update), extract))
            }
            "label" => Ok(Ast::Label(self.variable()?, boxed(Ast::Identity))),
            "def" => {
                let definition = self.definition()?;
                Ok(Ast::Define(Arc::new(definition), boxed(self.pipe()?)))
            }
            "break" if matches!(self.peek(), Some(Token::Variable(_))) => Ok(Ast::Break(self.variable()?)),
            name if KEYWORDS.contains(&name) => {
                self.position -= 1;
                self.unexpected()
            }
            name => self.call(name),
        }
    }

    /// The body of `try` and `catch`: a term with its suffixes.
    pub(super) fn postfix_without_catch(&mut self) -> Result<Ast> {
        self.nested(Self::postfix)
    }

    /// The source of `reduce` and `foreach`, up to `as`.
    pub(super) fn source(&mut self) -> Result<Ast> {
        let mut term = self.term()?;
        let mut chain = 0;
        loop {
            chain += 1;
            if chain > MAX_DEPTH {
                return Err("the path is too long".to_owned());
            }
            if self.skip_name("as") {
                return Ok(term);
            }
            term = match self.peek().cloned() {
                Some(Token::Field(name)) => {
                    self.position += 1;
                    Ast::Index(boxed(term), boxed(Ast::Literal(Json::text(name))))
                }
                Some(Token::Symbol("[")) => {
                    self.position += 1;
                    self.subscript(term)?
                }
                Some(Token::Symbol("?")) => {
                    self.position += 1;
                    Ast::Try(boxed(term), None)
                }
                _ => return self.unexpected(),
            };
        }
    }
}

fn number(text: &str) -> Result<Ast> {
    let value = match from_json_number_text(text) {
        Some(Value::BigInt(_)) | None => text.parse().ok().map(Value::Double),
        value => value,
    };
    value.map(|value| Ast::Literal(Json::Number(value))).ok_or_else(|| format!("invalid number {text}"))
}
