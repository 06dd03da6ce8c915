//! Renders leaves, and trees of leaves, with the parameters of one delivery. A value can fill its place and nothing else.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::helpers::{self, Args, MAX_OUTPUT, Reason, as_text, is_truthy};
use super::template::{Call, Expr, Leaf, Piece};
use super::{RenderEnv, RenderError};
use crate::domain::params::{Params, ServiceSpec};

/// A leaf, where it stands, and whether it stays when it comes out empty.
#[derive(Debug, Clone)]
pub struct Slot {
    pub path: String,
    pub keep: bool,
    pub leaf: Leaf,
}

/// A tree of leaves, in the order written.
#[derive(Debug, Clone)]
pub enum Node {
    Leaf(Slot),
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
}

/// What the leaves of one delivery are rendered with.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub spec: &'a ServiceSpec,
    pub params: &'a Params,
    pub env: &'a RenderEnv<'a>,
}

impl Slot {
    /// The leaf's value with its type; None if it is left out.
    pub fn value<'a>(&'a self, scope: &Scope<'a>) -> Result<Option<Cow<'a, Value>>, RenderError> {
        let value = match &self.leaf {
            Leaf::Constant(value) => return Ok(Some(Cow::Borrowed(value))),
            Leaf::Single(expr) => expr.value(scope).map_err(|reason| self.error(reason))?,
            Leaf::Text(pieces) => {
                let mut out = String::new();
                write(pieces, scope, &mut out, None).map_err(|reason| self.error(reason))?;
                Cow::Owned(Value::String(out))
            }
        };
        match (is_nothing(&value), self.keep) {
            (false, _) => Ok(Some(value)),
            (true, false) => Ok(None),
            (true, true) if value.is_null() => Ok(Some(Cow::Owned(Value::String(String::new())))),
            (true, true) => Ok(Some(value)),
        }
    }

    /// The leaf as text; empty if it is left out.
    pub fn text<'a>(&'a self, scope: &Scope<'a>) -> Result<Cow<'a, str>, RenderError> {
        Ok(match self.value(scope)? {
            None => Cow::Borrowed(""),
            Some(Cow::Borrowed(value)) => as_text(value),
            Some(Cow::Owned(Value::String(text))) => Cow::Owned(text),
            Some(Cow::Owned(value)) => Cow::Owned(as_text(&value).into_owned()),
        })
    }

    /// The parameters that it is made of, for people: `` `a` or `b` ``; empty if it is made of none.
    pub fn made_of(&self) -> String {
        let params: Vec<String> = self.leaf.params().iter().map(|name| format!("`{name}`")).collect();
        params.join(" or ")
    }

    /// An error that names this leaf.
    pub fn error(&self, reason: impl Into<Reason>) -> RenderError {
        RenderError::new(&self.path, reason)
    }
}

impl Node {
    /// The tree's value; None if nothing of it is left.
    pub fn value(&self, scope: &Scope<'_>) -> Result<Option<Value>, RenderError> {
        match self {
            Self::Leaf(slot) => Ok(slot.value(scope)?.map(Cow::into_owned)),
            Self::Object(fields) => {
                let mut full = Map::with_capacity(fields.len());
                for (key, node) in fields {
                    if let Some(value) = node.value(scope)? {
                        full.insert(key.clone(), value);
                    }
                }
                Ok((!full.is_empty() || fields.is_empty()).then_some(Value::Object(full)))
            }
            Self::Array(items) => {
                let mut full = Vec::with_capacity(items.len());
                for node in items {
                    full.extend(node.value(scope)?);
                }
                Ok((!full.is_empty() || items.is_empty()).then_some(Value::Array(full)))
            }
        }
    }

    /// Calls `visit` with every leaf.
    pub fn each_slot(&mut self, visit: &mut dyn FnMut(&mut Slot)) {
        match self {
            Self::Leaf(slot) => visit(slot),
            Self::Object(fields) => fields.iter_mut().for_each(|(_, node)| node.each_slot(visit)),
            Self::Array(items) => items.iter_mut().for_each(|node| node.each_slot(visit)),
        }
    }
}

impl Expr {
    /// The value of an expression.
    pub fn value<'a>(&'a self, scope: &Scope<'a>) -> Result<Cow<'a, Value>, Reason> {
        match self {
            Self::Literal(value) => Ok(Cow::Borrowed(value)),
            Self::Param { name, default } => {
                let given = scope.params.get(name).filter(|value| !value.is_null());
                Ok(Cow::Borrowed(given.unwrap_or(default)))
            }
            Self::Extra => Ok(Cow::Owned(Value::Object(scope.undeclared()))),
            Self::Call(call) => call.value(scope).map(Cow::Owned),
        }
    }
}

impl Call {
    fn value(&self, scope: &Scope<'_>) -> Result<Value, Reason> {
        let values = self.args.iter().map(|arg| arg.value(scope)).collect::<Result<Vec<_>, _>>()?;
        let mut options = Vec::with_capacity(self.options.len());
        for (name, value) in &self.options {
            options.push((name.as_str(), value.value(scope)?));
        }
        let args = Args { values: &values, options: &options, regex: self.regex.as_ref(), env: scope.env };
        helpers::run(self.helper, &args)
    }
}

impl Scope<'_> {
    fn undeclared(&self) -> Map<String, Value> {
        let extra = self.params.iter().filter(|(name, _)| self.spec.param(name).is_none());
        extra.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// What is done to a value before it is inserted.
pub type Encode = fn(&str) -> Result<String, Reason>;

/// Writes text; every inserted value passes through `encode`, if there is one.
pub fn write<'a>(
    pieces: &'a [Piece],
    scope: &Scope<'a>,
    out: &mut String,
    encode: Option<Encode>,
) -> Result<(), Reason> {
    for piece in pieces {
        match piece {
            Piece::Literal(text) => out.push_str(text),
            Piece::Value(expr) => {
                let value = expr.value(scope)?;
                let text = as_text(value.as_ref());
                match encode {
                    Some(encode) => out.push_str(&encode(&text)?),
                    None => out.push_str(&text),
                }
            }
            Piece::If { condition, negated, then, otherwise } => {
                let holds = is_truthy(condition.value(scope)?.as_ref()) != *negated;
                write(if holds { then } else { otherwise }, scope, out, encode)?;
            }
        }
        if out.len() > MAX_OUTPUT {
            return Err("too much text".into());
        }
    }
    Ok(())
}

/// Null, or text, a list or an object without anything in it.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
