//! From the parser's events to the tree, within the limits.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{Content, Entry, Limits, Node, Position, Problem, Scalar};

/// Reads one document. A node comes with every problem that does not make it unreadable (duplicate keys); without a
/// node there is at least one problem.
pub(crate) fn parse(source: &str, limits: &Limits) -> (Option<Node>, Vec<Problem>) {
    let mut builder = Builder {
        limits,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        nodes: 0,
        text: 0,
        problems: Vec::new(),
    };
    match builder.run(source) {
        Ok(()) => (builder.root, builder.problems),
        Err(problem) => {
            builder.problems.push(problem);
            (None, builder.problems)
        }
    }
}

struct Builder<'l> {
    limits: &'l Limits,
    stack: Vec<Frame>,
    /// Complete nodes only: an alias inside its own anchor is a cycle.
    anchors: HashMap<usize, (Node, Cost)>,
    root: Option<Node>,
    nodes: usize,
    text: usize,
    problems: Vec<Problem>,
}

/// What a subtree adds to the counts.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    text: usize,
}

/// A list or map that is not complete.
struct Frame {
    at: Position,
    anchor: usize,
    /// Counts of the builder when it began.
    before: Cost,
    content: Open,
}

enum Open {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, keys: HashSet<String>, pending: Option<(String, Position)> },
}

impl Builder<'_> {
    fn run(&mut self, source: &str) -> Result<(), Problem> {
        if source.len() > self.limits.max_bytes {
            return Err(problem(
                first(),
                format!("the source has {} bytes, at most {} are allowed", source.len(), self.limits.max_bytes),
            ));
        }
        let mut documents = 0;
        let mut parser = Parser::new_from_str(source.strip_prefix('\u{feff}').unwrap_or(source));
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| scan_problem(&error))?;
            let at = position(&span);
            match event {
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(problem(at, "a source holds one document; a second one begins here".to_owned()));
                    }
                }
                Event::Alias(anchor) => self.alias(anchor, at)?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.count(Cost { nodes: 1, text: text.len() }, at)?;
                    let before = Cost { nodes: self.nodes - 1, text: self.text - text.len() };
                    let plain = style == ScalarStyle::Plain && !tag.is_some_and(|tag| is_text_tag(&tag));
                    let node = Node { at, content: Content::Scalar(Scalar { text: text.into_owned(), plain }) };
                    self.complete(node, anchor, before)?;
                }
                Event::SequenceStart(anchor, _) => self.open(at, anchor, Open::List(Vec::new()))?,
                Event::MappingStart(anchor, _) => {
                    self.open(at, anchor, Open::Map { entries: Vec::new(), keys: HashSet::new(), pending: None })?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
            }
        }
        if self.root.is_none() {
            return Err(problem(first(), "the source is empty".to_owned()));
        }
        Ok(())
    }

    fn open(&mut self, at: Position, anchor: usize, content: Open) -> Result<(), Problem> {
        if self.stack.len() >= self.limits.max_depth {
            return Err(problem(at, format!("lists and maps are nested deeper than {} levels", self.limits.max_depth)));
        }
        self.key_is_expected_to_be_text(at)?;
        let before = Cost { nodes: self.nodes, text: self.text };
        self.count(Cost { nodes: 1, text: 0 }, at)?;
        self.stack.push(Frame { at, anchor, before, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let content = match frame.content {
            Open::List(items) => Content::List(items),
            Open::Map { entries, .. } => Content::Map(entries),
        };
        self.complete(Node { at: frame.at, content }, frame.anchor, frame.before)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Problem> {
        let Some((_, cost)) = self.anchors.get(&anchor) else {
            return Err(problem(at, "an alias refers to the node that it stands in".to_owned()));
        };
        let cost = *cost;
        // Counted before anything is copied: a bomb is refused while it is small.
        let before = Cost { nodes: self.nodes, text: self.text };
        self.count(cost, at)?;
        let Some((node, _)) = self.anchors.get(&anchor) else { return Ok(()) };
        let node = Node { at, content: node.content.clone() };
        if matches!(node.content, Content::List(_) | Content::Map(_)) {
            if self.stack.len() + depth(&node) > self.limits.max_depth {
                return Err(problem(
                    at,
                    format!("lists and maps are nested deeper than {} levels", self.limits.max_depth),
                ));
            }
            self.key_is_expected_to_be_text(at)?;
        }
        self.complete(node, 0, before)
    }

    /// Hands a complete node to its parent.
    fn complete(&mut self, node: Node, anchor: usize, before: Cost) -> Result<(), Problem> {
        if anchor != 0 {
            let cost = Cost { nodes: self.nodes - before.nodes, text: self.text - before.text };
            // The copy that is kept for the aliases counts as well.
            self.count(cost, node.at)?;
            self.anchors.insert(anchor, (node.clone(), cost));
        }
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Open::List(items)) => items.push(node),
            Some(Open::Map { entries, keys, pending }) => match pending.take() {
                None => {
                    let Content::Scalar(scalar) = node.content else { return Err(key_problem(node.at)) };
                    *pending = Some((scalar.text, node.at));
                }
                Some((key, key_at)) => {
                    if keys.insert(key.clone()) {
                        entries.push(Entry { key, key_at, value: node });
                    } else {
                        let path = self.path(&key);
                        self.problems.push(Problem { at: key_at, path, message: format!("Duplicate field '{key}'") });
                    }
                }
            },
        }
        Ok(())
    }

    fn count(&mut self, cost: Cost, at: Position) -> Result<(), Problem> {
        self.nodes = self.nodes.saturating_add(cost.nodes);
        self.text = self.text.saturating_add(cost.text);
        if self.nodes > self.limits.max_nodes || self.text > self.limits.max_text {
            let message = format!(
                "the source holds more than {} values or {} bytes of text, aliases included",
                self.limits.max_nodes, self.limits.max_text
            );
            return Err(problem(at, message));
        }
        Ok(())
    }

    fn key_is_expected_to_be_text(&self, at: Position) -> Result<(), Problem> {
        match self.stack.last().map(|frame| &frame.content) {
            Some(Open::Map { pending: None, .. }) => Err(key_problem(at)),
            _ => Ok(()),
        }
    }

    /// Path of a key of the map that is being read.
    fn path(&self, key: &str) -> String {
        let mut path = String::new();
        let inner = self.stack.len().saturating_sub(1);
        for frame in self.stack.iter().take(inner) {
            match &frame.content {
                Open::List(items) => path.push_str(&format!("[{}]", items.len())),
                Open::Map { pending, .. } => {
                    if let Some((key, _)) = pending {
                        join(&mut path, key);
                    }
                }
            }
        }
        join(&mut path, key);
        path
    }
}

fn join(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

/// Levels of lists and maps of a node.
fn depth(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(_) => 0,
        Content::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Content::Map(entries) => 1 + entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
    }
}

fn is_text_tag(tag: &Tag) -> bool {
    tag.suffix == "str" || tag.handle.is_empty() && tag.suffix == "!" || tag.handle == "!" && tag.suffix.is_empty()
}

fn first() -> Position {
    Position { line: 1, column: 1 }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn position(span: &Span) -> Position {
    Position { line: number(span.start.line()), column: number(span.start.col()).saturating_add(1) }
}

fn problem(at: Position, message: String) -> Problem {
    Problem { at, path: String::new(), message: format!("Illegal flow source: {message}") }
}

fn key_problem(at: Position) -> Problem {
    problem(at, "a key must be a text; a text that begins with `{{` must stand in quotes".to_owned())
}

fn scan_problem(error: &ScanError) -> Problem {
    let marker = error.marker();
    let at = Position { line: number(marker.line()).max(1), column: number(marker.col()).saturating_add(1) };
    problem(at, error.info().to_owned())
}
