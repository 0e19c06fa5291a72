//! Texts, prints and tags (expression reference, section 10).

use std::sync::Arc;

use super::SyntaxError;
use super::ast::{Body, Macro, Node, Tree};
use super::expression::{Parser, Result};
use super::lexer::tokenize;
use super::token::Token;
use crate::error::Offset;

/// How deep tags may be nested.
const MAX_TAG_DEPTH: u32 = 40;

/// Parses a template, without its raw sections.
pub(crate) fn parse(source: &str) -> Result<Tree> {
    let mut parser = TagParser {
        parser: Parser::new(tokenize(source)?),
        macros: Vec::new(),
        blocks: Vec::new(),
        filters: 0,
        depth: 0,
    };
    let body = parser.body(&[])?;
    Ok(Tree { body, macros: parser.macros, blocks: parser.blocks })
}

struct TagParser {
    parser: Parser,
    macros: Vec<Macro>,
    blocks: Vec<(Arc<str>, Body)>,
    /// How many filter tags are open; macros and blocks inside them do not count.
    filters: u32,
    depth: u32,
}

impl TagParser {
    /// Nodes up to a tag with one of these names, whose name is then the current token; up to the end if there are none.
    fn body(&mut self, ends: &[&str]) -> Result<Body> {
        if self.depth >= MAX_TAG_DEPTH {
            return Err(SyntaxError::new("Tags are nested too deeply", self.parser.at()));
        }
        self.depth += 1;
        let body = self.nodes(ends);
        self.depth -= 1;
        body
    }

    fn nodes(&mut self, ends: &[&str]) -> Result<Body> {
        let mut body = Vec::new();
        loop {
            let at = self.parser.at();
            match self.parser.current().clone() {
                Token::Text(text) => {
                    self.parser.advance();
                    body.push(Node::Text(text));
                }
                Token::PrintOpen => {
                    self.parser.advance();
                    let expression = self.parser.expression()?;
                    self.close(&Token::PrintClose)?;
                    body.push(Node::Print(expression, at));
                }
                Token::TagOpen => {
                    self.parser.advance();
                    let Token::Name(name) = self.parser.current().clone() else {
                        return Err(SyntaxError::new("A block must start with a tag name.", at));
                    };
                    if ends.contains(&&*name) {
                        return Ok(body);
                    }
                    self.parser.advance();
                    body.extend(self.tag(&name, at)?);
                }
                Token::End => {
                    return match ends.last() {
                        Some(end) => Err(SyntaxError::new(
                            format!("Unexpected end of template. Pebble was looking for the \"{end}\" tag"),
                            at,
                        )),
                        None => Ok(body),
                    };
                }
                _ => return self.parser.expected("TEXT"),
            }
        }
    }

    fn close(&mut self, token: &Token) -> Result<()> {
        if self.parser.current() == token {
            self.parser.advance();
            Ok(())
        } else {
            self.parser.expected(token.kind())
        }
    }

    fn tag(&mut self, name: &str, at: Offset) -> Result<Option<Node>> {
        match name {
            "if" => self.conditional(at).map(Some),
            "for" => self.repeated(at).map(Some),
            "set" => self.assignment(at).map(Some),
            "macro" => self.macro_definition(at).map(|()| None),
            "block" => self.block(),
            "filter" => self.filtered(at).map(Some),
            _ => Err(SyntaxError::new(format!("Unexpected tag name \"{name}\""), at)),
        }
    }

    /// The name of the tag that ends a body.
    fn end_name(&mut self) -> Result<Arc<str>> {
        self.parser.expect_name()
    }

    fn conditional(&mut self, at: Offset) -> Result<Node> {
        let mut branches = Vec::new();
        let mut otherwise = None;
        let mut condition = self.parser.expression()?;
        self.close(&Token::TagClose)?;
        loop {
            let body = self.body(&["elseif", "else", "endif"])?;
            branches.push((condition, body));
            match &*self.end_name()? {
                "elseif" => {
                    condition = self.parser.expression()?;
                    self.close(&Token::TagClose)?;
                }
                "else" => {
                    self.close(&Token::TagClose)?;
                    otherwise = Some(self.body(&["endif"])?);
                    self.end_name()?;
                    break;
                }
                _ => break,
            }
        }
        self.close(&Token::TagClose)?;
        Ok(Node::If { branches, otherwise, at })
    }

    fn repeated(&mut self, at: Offset) -> Result<Node> {
        let name = self.parser.expect_variable()?;
        if !matches!(self.parser.current(), Token::Name(word) if &**word == "in") {
            return self.parser.expected("NAME");
        }
        self.parser.advance();
        let items = self.parser.expression()?;
        self.close(&Token::TagClose)?;
        let body = self.body(&["else", "endfor"])?;
        let mut otherwise = None;
        if &*self.end_name()? == "else" {
            self.close(&Token::TagClose)?;
            otherwise = Some(self.body(&["endfor"])?);
            self.end_name()?;
        }
        self.close(&Token::TagClose)?;
        Ok(Node::For { name, items, body, otherwise, at })
    }

    fn assignment(&mut self, at: Offset) -> Result<Node> {
        let name = self.parser.expect_variable()?;
        self.parser.expect('=')?;
        let value = self.parser.expression()?;
        self.close(&Token::TagClose)?;
        Ok(Node::Set { name, value, at })
    }

    fn macro_definition(&mut self, at: Offset) -> Result<()> {
        let name = self.parser.expect_name()?;
        let mut parameters = Vec::new();
        self.parser.expect('(')?;
        if !self.parser.skip(')') {
            loop {
                let parameter = self.parser.expect_variable()?;
                let default = if self.parser.skip('=') { Some(self.parser.expression()?) } else { None };
                parameters.push((parameter, default));
                if self.parser.skip(')') {
                    break;
                }
                self.parser.expect(',')?;
            }
        }
        self.close(&Token::TagClose)?;
        let body = self.body(&["endmacro"])?;
        self.end_name()?;
        self.close(&Token::TagClose)?;
        if self.filters > 0 {
            return Ok(());
        }
        if self.macros.iter().any(|known| known.name == name) {
            return Err(SyntaxError::new(format!("More than one macro can not share the same name: {name}"), at));
        }
        self.macros.push(Macro { name, parameters, body });
        Ok(())
    }

    fn block(&mut self) -> Result<Option<Node>> {
        let name = match self.parser.current().clone() {
            Token::Name(name) | Token::String(name) => name,
            _ => return self.parser.expected("NAME"),
        };
        self.parser.advance();
        self.close(&Token::TagClose)?;
        let body = self.body(&["endblock"])?;
        self.end_name()?;
        if matches!(self.parser.current(), Token::Name(end) | Token::String(end) if *end == name) {
            self.parser.advance();
        }
        self.close(&Token::TagClose)?;
        if self.filters > 0 {
            return Ok(None);
        }
        match self.blocks.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = body,
            None => self.blocks.push((Arc::clone(&name), body)),
        }
        Ok(Some(Node::Block(name)))
    }

    fn filtered(&mut self, at: Offset) -> Result<Node> {
        let mut filters = vec![self.parser.filter_use()?.0];
        while *self.parser.current() == Token::Operator("|") {
            self.parser.advance();
            filters.push(self.parser.filter_use()?.0);
        }
        self.close(&Token::TagClose)?;
        self.filters += 1;
        let body = self.body(&["endfilter"]);
        self.filters -= 1;
        let body = body?;
        self.end_name()?;
        self.close(&Token::TagClose)?;
        Ok(Node::Filter { filters, body, at })
    }
}
