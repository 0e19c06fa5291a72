//! The grammar of jq.

use std::sync::Arc;

use super::ast::{Ast, Definition, Op, Pattern};
use super::lexer::{Part, Token, tokenize};
use super::value::{Fields, Json};
use crate::value::{Value, from_json_number_text};

type Result<T> = std::result::Result<T, String>;

/// How deep programs may be nested.
const MAX_DEPTH: u32 = 60;
const MAX_LENGTH: usize = 64 << 10;

const KEYWORDS: [&str; 17] = [
    "def", "if", "then", "elif", "else", "end", "as", "reduce", "foreach", "try", "catch", "label", "import", "include", "and", "or",
    "__loc__",
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

struct Parser {
    tokens: Vec<Token>,
    position: usize,
    depth: u32,
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

fn boxed(ast: Ast) -> Box<Ast> {
    Box::new(ast)
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.position)
    }

    fn unexpected<T>(&self) -> Result<T> {
        match self.peek() {
            Some(token) => Err(format!("syntax error at {token:?}")),
            None => Err("unexpected end of the program".to_owned()),
        }
    }

    fn skip(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(found)) if *found == symbol);
        self.position += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.skip(symbol) { Ok(()) } else { self.unexpected() }
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Name(found)) if found == name);
        self.position += usize::from(found);
        found
    }

    fn expect_name(&mut self, name: &str) -> Result<()> {
        if self.skip_name(name) { Ok(()) } else { self.unexpected() }
    }

    fn name(&mut self) -> Result<Arc<str>> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = Arc::from(name.as_str());
                self.position += 1;
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    fn variable(&mut self) -> Result<Arc<str>> {
        match self.peek() {
            Some(Token::Variable(name)) => {
                let name = Arc::from(name.as_str());
                self.position += 1;
                Ok(name)
            }
            _ => self.unexpected(),
        }
    }

    fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err("the program is nested too deeply".to_owned());
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }

    fn pipe(&mut self) -> Result<Ast> {
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

    fn comma(&mut self) -> Result<Ast> {
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

    fn climb(&mut self, least: u32) -> Result<Ast> {
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

    fn postfix(&mut self) -> Result<Ast> {
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
    fn subscript(&mut self, term: Ast) -> Result<Ast> {
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

    fn term(&mut self) -> Result<Ast> {
        self.nested(Self::simple_term)
    }

    fn simple_term(&mut self) -> Result<Ast> {
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

    fn named(&mut self, name: &str) -> Result<Ast> {
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
    fn postfix_without_catch(&mut self) -> Result<Ast> {
        self.nested(Self::postfix)
    }

    /// The source of `reduce` and `foreach`, up to `as`.
    fn source(&mut self) -> Result<Ast> {
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

    fn conditional(&mut self) -> Result<Ast> {
        let mut branches = Vec::new();
        loop {
            let condition = self.pipe()?;
            self.expect_name("then")?;
            branches.push((condition, self.pipe()?));
            if self.skip_name("elif") {
                continue;
            }
            self.expect_name("else")?;
            let otherwise = self.pipe()?;
            self.expect_name("end")?;
            return Ok(Ast::If(branches, Some(boxed(otherwise))));
        }
    }

    fn call(&mut self, name: &str) -> Result<Ast> {
        match name {
            "true" => return Ok(Ast::Literal(Json::Bool(true))),
            "false" => return Ok(Ast::Literal(Json::Bool(false))),
            "null" => return Ok(Ast::Literal(Json::Null)),
            _ => {}
        }
        let mut arguments = Vec::new();
        if self.skip("(") {
            loop {
                arguments.push(Arc::new(self.pipe()?));
                if self.skip(")") {
                    break;
                }
                self.expect(";")?;
            }
        }
        Ok(Ast::Call(Arc::from(name), arguments))
    }

    fn interpolation(&mut self, format: Option<Arc<str>>, parts: Vec<Part>) -> Result<Ast> {
        let mut out = Vec::new();
        let mut plain = true;
        for part in parts {
            match part {
                Part::Text(text) => out.push(Ast::Literal(Json::text(text))),
                Part::Tokens(tokens) => {
                    plain = false;
                    let mut inner = Parser { tokens, position: 0, depth: self.depth };
                    let ast = inner.nested(Self::pipe)?;
                    if inner.position < inner.tokens.len() {
                        return inner.unexpected();
                    }
                    // marked by a pipe from the identity, so that texts and values can be told apart
                    out.push(Ast::Pipe(boxed(Ast::Identity), boxed(ast)));
                }
            }
        }
        match out.pop() {
            Some(only) if plain && out.is_empty() => Ok(only),
            Some(last) => {
                out.push(last);
                Ok(Ast::Interpolation(format, out))
            }
            None => Ok(Ast::Literal(Json::text(""))),
        }
    }

    fn object(&mut self) -> Result<Ast> {
        let mut entries = Vec::new();
        if self.skip("}") {
            return Ok(Ast::Literal(Json::object(Fields::default()).map_err(|_| "too deep".to_owned())?));
        }
        loop {
            entries.push(self.entry()?);
            if self.skip("}") {
                return Ok(Ast::Object(entries));
            }
            self.expect(",")?;
        }
    }

    fn entry(&mut self) -> Result<(Ast, Ast)> {
        let Some(token) = self.peek().cloned() else { return self.unexpected() };
        let field = |name: &str| Ast::Index(boxed(Ast::Identity), boxed(Ast::Literal(Json::text(name))));
        let (key, implied) = match token {
            Token::Variable(name) => {
                self.position += 1;
                return Ok((Ast::Literal(Json::text(&name)), Ast::Variable(Arc::from(name))));
            }
            Token::Name(name) => {
                self.position += 1;
                (Ast::Literal(Json::text(&name)), Some(field(&name)))
            }
            Token::Number(_) => (self.term()?, None),
            Token::Text(_) | Token::Format(_) => {
                let before = self.position;
                let key = self.term()?;
                let after = self.position;
                self.position = before;
                let again = self.term()?;
                self.position = after;
                (key, Some(Ast::Index(boxed(Ast::Identity), boxed(again))))
            }
            Token::Symbol("(") => {
                self.position += 1;
                let key = self.pipe()?;
                self.expect(")")?;
                (key, None)
            }
            _ => return self.unexpected(),
        };
        if self.skip(":") {
            return Ok((key, self.object_value()?));
        }
        match implied {
            Some(value) => Ok((key, value)),
            None => self.unexpected(),
        }
    }

    /// Terms joined by pipes, without commas.
    fn object_value(&mut self) -> Result<Ast> {
        self.nested(|parser| {
            let left = parser.climb(1)?;
            if parser.skip("|") { Ok(Ast::Pipe(boxed(left), boxed(parser.object_value()?))) } else { Ok(left) }
        })
    }

    fn pattern(&mut self) -> Result<Pattern> {
        self.nested(|parser| {
            if parser.skip("[") {
                let mut items = Vec::new();
                loop {
                    items.push(parser.pattern()?);
                    if parser.skip("]") {
                        return Ok(Pattern::List(items));
                    }
                    parser.expect(",")?;
                }
            }
            if parser.skip("{") {
                return parser.object_pattern();
            }
            Ok(Pattern::Variable(parser.variable()?))
        })
    }

    fn object_pattern(&mut self) -> Result<Pattern> {
        let mut entries = Vec::new();
        loop {
            let Some(token) = self.peek().cloned() else { return self.unexpected() };
            let (bound, key) = match token {
                Token::Variable(name) => {
                    self.position += 1;
                    (Some(Arc::from(name.as_str())), Ast::Literal(Json::text(name)))
                }
                Token::Name(name) => {
                    self.position += 1;
                    (None, Ast::Literal(Json::text(name)))
                }
                Token::Text(_) => (None, self.term()?),
                Token::Symbol("(") => {
                    self.position += 1;
                    let key = self.pipe()?;
                    self.expect(")")?;
                    (None, key)
                }
                _ => return self.unexpected(),
            };
            let inner = if self.skip(":") { Some(self.pattern()?) } else { None };
            if inner.is_none() && bound.is_none() {
                return self.unexpected();
            }
            entries.push((bound, key, inner));
            if self.skip("}") {
                return Ok(Pattern::Object(entries));
            }
            self.expect(",")?;
        }
    }

    /// A definition behind `def`.
    fn definition(&mut self) -> Result<Definition> {
        let name = self.name()?;
        let mut parameters = Vec::new();
        if self.skip("(") {
            loop {
                match self.peek().cloned() {
                    Some(Token::Variable(name)) => parameters.push(Arc::from(format!("${name}"))),
                    Some(Token::Name(name)) => parameters.push(Arc::from(name)),
                    _ => return self.unexpected(),
                }
                self.position += 1;
                if self.skip(")") {
                    break;
                }
                self.expect(";")?;
            }
        }
        self.expect(":")?;
        let body = self.pipe()?;
        self.expect(";")?;
        Ok(Definition { name, parameters, body })
    }
}

fn number(text: &str) -> Result<Ast> {
    let value = match from_json_number_text(text) {
        Some(Value::BigInt(_)) | None => text.parse().ok().map(Value::Double),
        value => value,
    };
    value.map(|value| Ast::Literal(Json::Number(value))).ok_or_else(|| format!("invalid number {text}"))
}
