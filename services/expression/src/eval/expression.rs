//! Expressions.

use std::sync::Arc;

use super::nodes::truth;
use super::{Frame, members};
use crate::error::{Fault, NOWHERE, Offset};
use crate::syntax::ast::{BinaryOp, CallUse, Expr, FilterUse, Segment, TestUse, UnaryOp};
use crate::value::Value;

impl<'s> Frame<'s, '_> {
    pub(super) fn eval(&mut self, expression: &'s Expr) -> Result<Value, Fault> {
        match expression {
            Expr::Constant(value) => Ok(value.clone()),
            Expr::Name(name, at) => self.name(name, *at),
            Expr::Path(base, segments) => self.path(base, segments),
            other => self.deeper(|frame| frame.eval_nested(other)),
        }
    }

    fn eval_nested(&mut self, expression: &'s Expr) -> Result<Value, Fault> {
        match expression {
            Expr::Constant(value) => Ok(value.clone()),
            Expr::Name(name, at) => self.name(name, *at),
            Expr::Path(base, segments) => self.path(base, segments),
            Expr::List(items) => self.list(items),
            Expr::Map(entries) => self.map(entries),
            Expr::Interpolation(parts) | Expr::Concat(parts) => self.concat(parts),
            Expr::Unary(operator, operand, at) => self.unary(*operator, operand).map_err(|fault| fault.place(*at)),
            Expr::Binary(operator, operands, at) => {
                self.binary(*operator, &operands.0, &operands.1).map_err(|fault| fault.place(*at))
            }
            Expr::Ternary(parts, at) => self.ternary(parts, *at),
            Expr::Filter(filter) => {
                let (input, filter) = &**filter;
                self.apply_filter(filter, |frame| frame.eval(input)).map_err(|fault| fault.place(filter.at))
            }
            Expr::Test(test) => self.test(test).map_err(|fault| fault.place(test.at)),
            Expr::Call(call) => self.call(call).map_err(|fault| fault.place(call.at)),
        }
    }

    fn name(&self, name: &Arc<str>, at: Offset) -> Result<Value, Fault> {
        match self.variable(name) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Fault::Undefined { name: Arc::clone(name), at }),
            Err(fault) => Err(fault.place(at)),
        }
    }

    fn path(&mut self, base: &'s Expr, segments: &'s [Segment]) -> Result<Value, Fault> {
        let mut value = self.eval(base)?;
        let mut variable = match base {
            Expr::Name(name, _) => Some(name),
            _ => None,
        };
        for segment in segments {
            self.session.meter.steps(1)?;
            value = self.segment(&value, variable.take(), segment)?;
        }
        Ok(value)
    }

    fn segment(&mut self, value: &Value, variable: Option<&Arc<str>>, segment: &'s Segment) -> Result<Value, Fault> {
        let missing = |attribute: &Value, at: Offset| -> Result<Value, Fault> {
            let name = match variable {
                Some(name) if value.is_null() => Arc::clone(name),
                _ => Arc::from(self.session.printer().plain_text(attribute)?),
            };
            Err(Fault::Undefined { name, at })
        };
        match segment {
            Segment::Attribute { key, at, .. } => match members::attribute(self.session, value, key) {
                Ok(Some(found)) => Ok(found),
                Ok(None) => missing(key, *at),
                Err(fault) => Err(fault.place(*at)),
            },
            Segment::Index(index, at) => {
                let key = match index {
                    Expr::Constant(key) => key.clone(),
                    other => self.deeper(|frame| frame.eval(other))?,
                };
                match members::attribute(self.session, value, &key) {
                    Ok(Some(found)) => Ok(found),
                    Ok(None) => {
                        let name = match variable {
                            Some(name) if value.is_null() => Arc::clone(name),
                            _ => Arc::from(self.session.printer().plain_text(&key)?),
                        };
                        Err(Fault::Undefined { name, at: *at })
                    }
                    Err(fault) => Err(fault.place(*at)),
                }
            }
            Segment::Call { name, arguments, at } => {
                let mut given = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    given.push(self.deeper(|frame| frame.eval(argument))?);
                }
                match members::call(self.session, value, name, &given) {
                    Ok(Some(found)) => Ok(found),
                    Ok(None) => {
                        let name = variable.filter(|_| value.is_null()).unwrap_or(name);
                        Err(Fault::Undefined { name: Arc::clone(name), at: *at })
                    }
                    Err(fault) => Err(fault.place(*at)),
                }
            }
        }
    }

    fn list(&mut self, items: &'s [Expr]) -> Result<Value, Fault> {
        self.session.meter.elements(items.len())?;
        let items = items.iter().map(|item| self.eval(item)).collect::<Result<Vec<_>, _>>()?;
        Ok(Value::list(items))
    }

    fn map(&mut self, entries: &'s [(Expr, Expr)]) -> Result<Value, Fault> {
        self.session.meter.elements(entries.len())?;
        let mut evaluated = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            evaluated.push((self.eval(key)?, self.eval(value)?));
        }
        Ok(Value::Map(evaluated.into_iter().collect()))
    }

    fn concat(&mut self, parts: &'s [Expr]) -> Result<Value, Fault> {
        let mut text = String::new();
        for part in parts {
            let value = self.eval(part)?;
            self.session.printer().plain(&value, &mut text)?;
        }
        self.session.meter.text(text.len())?;
        Ok(Value::text(text))
    }

    fn unary(&mut self, operator: UnaryOp, operand: &'s Expr) -> Result<Value, Fault> {
        let value = self.eval(operand)?;
        match operator {
            UnaryOp::Not if value.is_null() => {
                Err(Fault::engine("null value given to not() and strict variables is set to true"))
            }
            UnaryOp::Not => Ok(Value::Bool(!truth(&value, "not()")?)),
            UnaryOp::Minus | UnaryOp::Plus => super::operators::signed(operator == UnaryOp::Minus, &value),
        }
    }

    fn binary(&mut self, operator: BinaryOp, left: &'s Expr, right: &'s Expr) -> Result<Value, Fault> {
        use super::operators;
        match operator {
            BinaryOp::And => {
                let result = self.operand(left, "and")? && self.operand(right, "and")?;
                Ok(Value::Bool(result))
            }
            BinaryOp::Or => {
                let result = self.operand(left, "or")? || self.operand(right, "or")?;
                Ok(Value::Bool(result))
            }
            BinaryOp::Coalesce => match self.eval(left) {
                Ok(value) if !value.is_null() => Ok(value),
                Ok(_) => self.eval(right),
                Err(fault) if fault.is_undefined() => self.eval(right),
                Err(fault) => Err(fault),
            },
            BinaryOp::CoalesceUndefined => match self.eval(left) {
                Err(fault) if fault.is_undefined() => self.eval(right),
                other => other,
            },
            BinaryOp::Contains => {
                let left = self.eval(left)?;
                if left.is_null() {
                    return Ok(Value::Bool(false));
                }
                let right = self.eval(right)?;
                operators::contains(self.session, &left, &right).map(Value::Bool)
            }
            BinaryOp::IsIn => {
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                operators::is_in(self.session, &left, &right).map(Value::Bool)
            }
            BinaryOp::Range => {
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                operators::range(self.session, &left, &right, None)
            }
            _ => self.computed(operator, left, right),
        }
    }

    fn operand(&mut self, operand: &'s Expr, operator: &str) -> Result<bool, Fault> {
        match self.eval(operand)? {
            Value::Null => Err(Fault::engine(format!(
                "null value used in {operator} operator and strict variables is set to true"
            ))),
            value => truth(&value, &format!("{operator} operator")),
        }
    }

    /// Arithmetic and comparison: whatever goes wrong in the operands comes out as a failure of the operator, which `??` does not catch.
    fn computed(&mut self, operator: BinaryOp, left: &'s Expr, right: &'s Expr) -> Result<Value, Fault> {
        let result = self.eval(left).and_then(|left| {
            let right = self.eval(right)?;
            super::operators::compute(self.session, operator, &left, &right)
        });
        result.map_err(|fault| {
            if fault.is_final() || matches!(&fault, Fault::Engine { at: NOWHERE, .. }) {
                return fault;
            }
            let failure = super::operators::failure(operator);
            Fault::engine(format!("{failure}: {}", fault.summary()))
        })
    }

    fn ternary(&mut self, parts: &'s (Expr, Expr, Expr), at: Offset) -> Result<Value, Fault> {
        let (condition, yes, no) = parts;
        let condition = match self.eval(condition)? {
            Value::Null => false,
            value => truth(&value, "ternary expression").map_err(|fault| fault.place(at))?,
        };
        self.eval(if condition { yes } else { no })
    }

    /// Looks the filter up, evaluates its arguments, and only then its input (expression reference, section 8).
    pub(super) fn apply_filter(
        &mut self,
        filter: &'s FilterUse,
        input: impl FnOnce(&mut Self) -> Result<Value, Fault>,
    ) -> Result<Value, Fault> {
        let Some(spec) = filter.spec else {
            return Err(Fault::engine(format!("Filter [{}] does not exist.", filter.name)));
        };
        let arguments = self.arguments(spec.arguments, false, &filter.arguments)?;
        let input = match input(self) {
            Err(fault) if spec.rescues && fault.is_undefined() => Value::Null,
            other => other?,
        };
        (spec.run)(self.session, input, &arguments)
    }

    fn test(&mut self, test: &'s TestUse) -> Result<Value, Fault> {
        let Some(spec) = test.spec else {
            return Err(Fault::engine(format!("Test [{}] does not exist.", test.name)));
        };
        let subject = match self.eval(&test.subject) {
            Err(fault) if spec.rescues && fault.is_undefined() => Value::Null,
            other => other?,
        };
        Ok(Value::Bool((spec.holds)(self.session, &subject)? != test.negated))
    }

    fn call(&mut self, call: &'s CallUse) -> Result<Value, Fault> {
        let spec = call.spec.filter(|spec| !(spec.renders && self.session.environment.recursive));
        if let Some(spec) = spec {
            let arguments = self.arguments(spec.arguments, spec.any_number, &call.arguments)?;
            return (spec.run)(self, &arguments);
        }
        match self.find_macro(&call.name) {
            Some(called) => self.call_macro(called, &call.arguments),
            None => Err(Fault::engine(format!("Function or Macro [{}] does not exist.", call.name))),
        }
    }
}
