//! What a template reads and calls, found without evaluating it, so that facts can be loaded beforehand.

use std::collections::BTreeSet;

use crate::functions::Reach;
use crate::syntax::ast::{Arguments, Body, Expr, FilterUse, Node, Segment, Tree};
use crate::value::Value;

/// Which entries of a map of tasks (`outputs`, `tasks`) a template reads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Reads {
    /// None.
    #[default]
    None,
    /// These task ids and no others.
    Some(BTreeSet<String>),
    /// Any: the map is used as a whole or with a computed subscript.
    All,
}

impl Reads {
    fn add(&mut self, id: &str) {
        match self {
            Self::None => *self = Self::Some(BTreeSet::from([id.to_owned()])),
            Self::Some(ids) => {
                ids.insert(id.to_owned());
            }
            Self::All => {}
        }
    }
}

/// What a template can touch when it is evaluated: an upper bound over all branches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Analysis {
    /// The names that are read as root variables. Variables that the template sets itself and loop variables are among them, as a name
    /// may mean either.
    pub roots: BTreeSet<String>,
    /// The task ids that are read below `outputs`.
    pub outputs: Reads,
    /// The task ids that are read below `tasks`.
    pub tasks: Reads,
    /// The functions that are called, known or not.
    pub functions: BTreeSet<String>,
    /// Whether a function does I/O or waits: `secret`, `kv`, `read` and the other file functions, `http`, `errorLogs`, `randomPort`.
    pub asks_world: bool,
    /// Whether the result depends on the clock or on random numbers.
    pub asks_chance: bool,
    /// Whether any variable may be read (`render`, `renderOnce`, `printContext`, `fetchContext`). With `render` any function may be called.
    pub reads_anything: bool,
    /// Whether it renders texts that are only known at run time.
    pub renders: bool,
}

impl Analysis {
    /// Whether the result depends on nothing but the variables in [`Self::roots`].
    pub fn is_pure(&self) -> bool {
        !self.asks_world && !self.asks_chance && !self.reads_anything
    }

    /// Whether anything may be read, so that what is listed is no bound.
    pub fn is_dynamic(&self) -> bool {
        self.reads_anything
    }

    pub(crate) fn of(tree: Option<&Tree>) -> Self {
        let mut analysis = Self::default();
        let Some(tree) = tree else { return analysis };
        analysis.body(&tree.body);
        for (_, body) in &tree.blocks {
            analysis.body(body);
        }
        for called in &tree.macros {
            for default in called.parameters.iter().filter_map(|(_, default)| default.as_ref()) {
                analysis.expr(default);
            }
            analysis.body(&called.body);
        }
        if analysis.reads_anything {
            analysis.outputs = Reads::All;
            analysis.tasks = Reads::All;
        }
        analysis
    }

    fn body(&mut self, body: &Body) {
        for node in body {
            match node {
                Node::Text(_) | Node::Block(_) => {}
                Node::Print(expr, _) | Node::Set { value: expr, .. } => self.expr(expr),
                Node::If { branches, otherwise, .. } => {
                    for (condition, body) in branches {
                        self.expr(condition);
                        self.body(body);
                    }
                    otherwise.iter().for_each(|body| self.body(body));
                }
                Node::For { items, body, otherwise, .. } => {
                    self.expr(items);
                    self.body(body);
                    otherwise.iter().for_each(|body| self.body(body));
                }
                Node::Filter { filters, body, .. } => {
                    filters.iter().for_each(|filter| self.filter(filter));
                    self.body(body);
                }
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Constant(_) => {}
            Expr::Name(name, _) => self.name(name, None),
            Expr::Path(base, segments) => self.path(base, segments),
            Expr::List(parts) | Expr::Interpolation(parts) | Expr::Concat(parts) => {
                parts.iter().for_each(|part| self.expr(part));
            }
            Expr::Map(entries) => {
                for (key, value) in entries {
                    self.expr(key);
                    self.expr(value);
                }
            }
            Expr::Unary(_, operand, _) => self.expr(operand),
            Expr::Binary(_, operands, _) => {
                self.expr(&operands.0);
                self.expr(&operands.1);
            }
            Expr::Ternary(parts, _) => {
                self.expr(&parts.0);
                self.expr(&parts.1);
                self.expr(&parts.2);
            }
            Expr::Filter(filter) => {
                self.expr(&filter.0);
                self.filter(&filter.1);
            }
            Expr::Test(test) => self.expr(&test.subject),
            Expr::Call(call) => {
                self.arguments(&call.arguments);
                self.functions.insert(call.name.to_string());
                if let Some(spec) = call.spec {
                    self.reach(spec.reach);
                    self.implied(spec.name);
                }
            }
        }
    }

    fn filter(&mut self, filter: &FilterUse) {
        self.arguments(&filter.arguments);
    }

    fn arguments(&mut self, arguments: &Arguments) {
        arguments.positional.iter().for_each(|argument| self.expr(argument));
        arguments.named.iter().for_each(|(_, argument)| self.expr(argument));
    }

    fn reach(&mut self, reach: Reach) {
        match reach {
            Reach::Pure => {}
            Reach::Chance => self.asks_chance = true,
            Reach::World => self.asks_world = true,
            Reach::Variables => self.reads_anything = true,
            Reach::Render => {
                self.renders = true;
                self.reads_anything = true;
                self.asks_world = true;
                self.asks_chance = true;
            }
        }
    }

    /// Variables that a function reads by itself.
    fn implied(&mut self, function: &str) {
        let roots: &[&str] = match function {
            "kv" | "secret" => &["flow"],
            "read" | "fileSize" | "fileExists" | "isFileEmpty" | "fileURI" => &["flow", "execution", "trigger"],
            "currentEachOutput" => &["parents", "taskrun"],
            "tasksWithState" => &["tasks"],
            _ => &[],
        };
        roots.iter().for_each(|root| self.name(root, None));
    }

    fn path(&mut self, base: &Expr, segments: &[Segment]) {
        for segment in segments {
            match segment {
                Segment::Attribute { .. } => {}
                Segment::Call { arguments, .. } => arguments.iter().for_each(|argument| self.expr(argument)),
                Segment::Index(index, _) => self.expr(index),
            }
        }
        let Expr::Name(name, _) = base else { return self.expr(base) };
        let first = match segments.first() {
            Some(Segment::Attribute { name, .. }) => Some(&**name),
            Some(Segment::Index(Expr::Constant(Value::Text(key)), _)) => Some(&**key),
            _ => None,
        };
        self.name(name, first);
    }

    /// A root variable, with the key below it if that is fixed.
    fn name(&mut self, name: &str, key: Option<&str>) {
        if !self.roots.contains(name) {
            self.roots.insert(name.to_owned());
        }
        let reads = match name {
            "outputs" => &mut self.outputs,
            "tasks" => &mut self.tasks,
            _ => return,
        };
        match key {
            Some(key) => reads.add(key),
            None => *reads = Reads::All,
        }
    }
}
