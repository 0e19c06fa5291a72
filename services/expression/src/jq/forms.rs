//! The larger forms of the grammar: conditionals, calls, strings, objects, patterns, definitions.

use std::sync::Arc;

use super::ast::{Ast, Definition, Pattern};
use super::lexer::{Part, Token};
use super::parser::{Parser, Result, boxed};
use super::value::{Fields, Json};

impl Parser {
    pub(super) fn conditional(&mut self) -> Result<Ast> {
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

    pub(super) fn call(&mut self, name: &str) -> Result<Ast> {
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

    pub(super) fn interpolation(&mut self, format: Option<Arc<str>>, parts: Vec<Part>) -> Result<Ast> {
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

    pub(super) fn object(&mut self) -> Result<Ast> {
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

    pub(super) fn entry(&mut self) -> Result<(Ast, Ast)> {
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
    pub(super) fn object_value(&mut self) -> Result<Ast> {
        self.nested(|parser| {
            let left = parser.climb(1)?;
            if parser.skip("|") { Ok(Ast::Pipe(boxed(left), boxed(parser.object_value()?))) } else { Ok(left) }
        })
    }

    pub(super) fn pattern(&mut self) -> Result<Pattern> {
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

    pub(super) fn object_pattern(&mut self) -> Result<Pattern> {
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
    pub(super) fn definition(&mut self) -> Result<Definition> {
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
