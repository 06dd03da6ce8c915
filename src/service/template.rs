//! One leaf of a definition: text with `{{…}}`, parsed once at load and checked as far as that is possible without
//! parameters. It refuses whatever could recurse, reach outside the parameters or grow without bound.

use handlebars::Template;
use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use regex::Regex;
use serde_json::Value;

use super::helpers::{self, Helper};
use crate::domain::params::ParamSpec;

/// Longest leaf, in bytes.
pub const MAX_LEAF: usize = 4096;
/// Deepest nesting of blocks and subexpressions.
pub const MAX_NESTING: usize = 8;
/// The variable that holds every undeclared parameter of a Service that accepts any.
pub const EXTRA: &str = "extra";

/// A leaf, ready to be rendered.
#[derive(Debug, Clone)]
pub enum Leaf {
    /// Stays as written.
    Constant(Value),
    /// Exactly one expression: keeps the type of its value.
    Single(Expr),
    /// Text with expressions in it.
    Text(Vec<Piece>),
}

/// A part of a text.
#[derive(Debug, Clone)]
pub enum Piece {
    Literal(String),
    Value(Expr),
    /// `{{#if}}`, or `{{#unless}}` when `negated`.
    If {
        condition: Expr,
        negated: bool,
        then: Vec<Piece>,
        otherwise: Vec<Piece>,
    },
}

/// What stands between braces.
#[derive(Debug, Clone)]
pub enum Expr {
    /// A declared parameter and its default.
    Param {
        name: String,
        default: Value,
    },
    /// Every undeclared parameter, as an object.
    Extra,
    Literal(Value),
    Call(Box<Call>),
}

/// A helper with its arguments.
#[derive(Debug, Clone)]
pub struct Call {
    pub helper: &'static Helper,
    pub args: Vec<Expr>,
    pub options: Vec<(String, Expr)>,
    /// The pattern of `regex_capture`.
    pub regex: Option<Regex>,
}

/// The names that a template may use.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    pub params: &'a [ParamSpec],
    pub accepts_any: bool,
}

impl Leaf {
    /// Parses and checks one leaf; the error is the reason, in words.
    pub fn compile(source: &str, names: Names<'_>) -> Result<Self, String> {
        if source.len() > MAX_LEAF {
            return Err(format!("longer than {MAX_LEAF} bytes"));
        }
        if !source.contains("{{") {
            return Ok(Self::Constant(Value::String(source.to_owned())));
        }
        scan(source)?;
        // The parser's own message quotes the template over many lines; its reason alone is enough beside a leaf's name.
        let template = Template::compile(source).map_err(|error| format!("not a template: {}", error.reason()))?;
        match template.elements.as_slice() {
            [TemplateElement::Expression(expression)] => Ok(Self::Single(names.expression(expression)?)),
            elements => Ok(Self::Text(names.pieces(elements)?)),
        }
    }

    /// The parameters that it is made of, each once, as they come.
    pub fn params(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut visit = |name: &str, _| {
            if !found.iter().any(|known| known == name) {
                found.push(name.to_owned());
            }
        };
        match self {
            Self::Constant(_) => {}
            Self::Single(expr) => expr.visit_params(true, &mut visit),
            Self::Text(pieces) => pieces.iter().for_each(|piece| piece.visit_params(&mut visit)),
        }
        found
    }
}

impl Piece {
    fn visit_params(&self, visit: &mut dyn FnMut(&str, bool)) {
        match self {
            Self::Literal(_) => {}
            Self::Value(expr) => expr.visit_params(true, visit),
            Self::If { condition, then, otherwise, .. } => {
                condition.visit_params(true, visit);
                then.iter().chain(otherwise).for_each(|piece| piece.visit_params(visit));
            }
        }
    }
}

impl Names<'_> {
    fn pieces(self, elements: &[TemplateElement]) -> Result<Vec<Piece>, String> {
        elements.iter().map(|element| self.piece(element)).collect()
    }

    fn piece(self, element: &TemplateElement) -> Result<Piece, String> {
        match element {
            TemplateElement::RawString(text) => Ok(Piece::Literal(text.clone())),
            TemplateElement::Expression(expression) => Ok(Piece::Value(self.expression(expression)?)),
            TemplateElement::HelperBlock(block) => self.block(block),
            _ => Err("only text, {{expressions}}, {{#if}} and {{#unless}} are allowed".into()),
        }
    }

    fn block(self, block: &HelperTemplate) -> Result<Piece, String> {
        let name = block.name.as_name().unwrap_or_default();
        let negated = match name {
            "if" => false,
            "unless" => true,
            _ => return Err(format!("unknown block helper `{name}`")),
        };
        let [condition] = block.params.as_slice() else {
            return Err(format!("`{name}` takes one condition"));
        };
        if !block.hash.is_empty() || block.block_param.is_some() {
            return Err(format!("`{name}` takes one condition and nothing else"));
        }
        let part = |template: &Option<Template>| match template {
            Some(template) => self.pieces(&template.elements),
            None => Ok(Vec::new()),
        };
        Ok(Piece::If {
            condition: self.argument(condition)?,
            negated,
            then: part(&block.template)?,
            otherwise: part(&block.inverse)?,
        })
    }

    /// `{{name}}`, `{{helper …}}` or `{{(helper …)}}`.
    fn expression(self, expression: &HelperTemplate) -> Result<Expr, String> {
        match &expression.name {
            Parameter::Literal(_) | Parameter::Subexpression(_) => self.argument(&expression.name),
            name => {
                let name = name.as_name().unwrap_or_default();
                let bare = expression.params.is_empty() && expression.hash.is_empty();
                if bare && helpers::find(name).is_none() { self.path(name) } else { self.call(name, expression) }
            }
        }
    }

    fn argument(self, parameter: &Parameter) -> Result<Expr, String> {
        match parameter {
            Parameter::Literal(value) => Ok(Expr::Literal(value.clone())),
            Parameter::Name(name) => self.path(name),
            Parameter::Path(_) => self.path(parameter.as_name().unwrap_or_default()),
            Parameter::Subexpression(inner) => match inner.as_element() {
                TemplateElement::Expression(call) => match &call.name {
                    Parameter::Name(_) | Parameter::Path(_) => self.call(call.name.as_name().unwrap_or_default(), call),
                    _ => Err("a subexpression begins with the name of a helper".into()),
                },
                _ => Err("not an expression".into()),
            },
            _ => Err("not an expression".into()),
        }
    }

    fn path(self, name: &str) -> Result<Expr, String> {
        if self.accepts_any && name == EXTRA {
            return Ok(Expr::Extra);
        }
        match self.params.iter().find(|spec| spec.name == name) {
            Some(spec) => {
                Ok(Expr::Param { name: name.to_owned(), default: spec.default.clone().unwrap_or(Value::Null) })
            }
            None => Err(format!("`{name}` is not a declared parameter")),
        }
    }

    fn call(self, name: &str, call: &HelperTemplate) -> Result<Expr, String> {
        let helper = helpers::find(name).ok_or_else(|| format!("unknown helper `{name}`"))?;
        let args = call.params.iter().map(|arg| self.argument(arg)).collect::<Result<Vec<_>, _>>()?;
        let mut options = Vec::new();
        for (option, value) in &call.hash {
            if !helper.options.contains(&option.as_str()) {
                return Err(format!("helper `{name}` has no option `{option}`"));
            }
            options.push((option.clone(), self.argument(value)?));
        }
        if args.len() < helper.min || helper.max.is_some_and(|max| args.len() > max) {
            return Err(format!("helper `{name}` takes {}, not {}", helper.arity(), args.len()));
        }
        let mut call = Call { helper, args, options, regex: None };
        (helper.check)(&mut call).map_err(|reason| format!("helper `{name}`: {reason}"))?;
        Ok(Expr::Call(Box::new(call)))
    }
}

impl Expr {
    /// Calls `visit` with every parameter in here, and whether its text can reach the result of the expression unchanged.
    pub fn visit_params(&self, raw: bool, visit: &mut dyn FnMut(&str, bool)) {
        match self {
            Self::Param { name, .. } => visit(name, raw),
            Self::Extra => visit(EXTRA, raw),
            Self::Literal(_) => {}
            Self::Call(call) => {
                for (index, arg) in call.args.iter().enumerate() {
                    arg.visit_params(raw && !call.helper.tames(index), visit);
                }
                call.options.iter().for_each(|(_, value)| value.visit_params(raw, visit));
            }
        }
    }
}

/// Looks at the text before the recursive parser does, and refuses what that parser must not see.
fn scan(source: &str) -> Result<(), String> {
    let mut blocks = 0_usize;
    let mut rest = source;
    while let Some(at) = rest.find("{{") {
        if rest[..at].ends_with('\\') {
            return Err("a backslash before `{{` is not allowed".into());
        }
        rest = &rest[at + 2..];
        let head = rest.trim_start_matches(['~', ' ', '\t', '\r', '\n']);
        let word = head.trim_start_matches('#').trim_start();
        match head.chars().next() {
            Some('{' | '&') => return Err("unescaped output `{{{` or `{{&` is not allowed".into()),
            Some('>') => return Err("partials `{{>` are not allowed".into()),
            Some('*') => return Err("decorators `{{*` are not allowed".into()),
            Some('!') => return Err("comments in a template are not allowed: use TOML's".into()),
            Some('#') if word.starts_with('>') => return Err("partials `{{#>` are not allowed".into()),
            Some('#') if word.starts_with('*') => return Err("decorators `{{#*` are not allowed".into()),
            Some('#') => blocks += 1,
            Some('/') => blocks = blocks.saturating_sub(1),
            Some('^') => return Err("`{{^` is not allowed: use `{{else}}`".into()),
            // `else if` nests as deep as a block of its own; it is counted and not given back.
            _ if is_else_if(head) => blocks += 1,
            _ => {}
        }
        let (inside, deepest) = scan_tag(rest)?;
        if blocks + deepest > MAX_NESTING {
            return Err(format!("nested deeper than {MAX_NESTING}"));
        }
        rest = &rest[inside + 2..];
    }
    Ok(())
}

fn is_else_if(head: &str) -> bool {
    let after = head.strip_prefix("else").filter(|after| after.starts_with(char::is_whitespace));
    after.is_some_and(|after| !after.trim_start().starts_with(['}', '~']))
}

/// The length of a tag's inside, and how deep its parentheses go.
fn scan_tag(text: &str) -> Result<(usize, usize), String> {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if let Some(open) = quote {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if c == open => quote = None,
                _ => {}
            }
            continue;
        }
        match c {
            '"' | '\'' => quote = Some(c),
            '(' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            ')' => depth = depth.saturating_sub(1),
            '@' => return Err("private paths `@…` are not allowed".into()),
            '[' | '{' => return Err("lists, objects and `[…]` paths cannot be written in a template".into()),
            '}' if text[at..].starts_with("}}") => return Ok((at, deepest)),
            _ => {}
        }
    }
    Err("`{{` without `}}`".into())
}
