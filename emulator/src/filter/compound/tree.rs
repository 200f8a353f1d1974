//! The tree of an expression.

use regex::Regex;

use crate::filter::Needle;
use crate::filter::fact::{CompiledFact, parse_fact};
use crate::filter::path::FactPath;
use crate::filter::regexp::Budget;

/// An expression.
#[derive(Debug)]
pub(super) enum Expr {
    Nil,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// `agents`
    Agents,
    /// `classes`
    Classes,
    /// A name that nothing is known by: nil.
    Undefined,
    List(Vec<Expr>),
    Unary(Unary, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// `matches` with a literal expression.
    MatchesLiteral(Box<Expr>, Regex),
    /// A chain of comparisons that must all hold.
    Order(Box<Expr>, Vec<(Binary, Expr)>),
    Conditional(Box<Expr>, Box<Expr>, Box<Expr>),
    /// With `optional`, what has no members ends the [`Expr::Chain`] around it.
    Member {
        base: Box<Expr>,
        property: Box<Expr>,
        optional: bool,
    },
    /// Members with a `?.` among them.
    Chain(Box<Expr>),
    Call(Function, Vec<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    Plus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    Coalesce,
}

/// What is called. Calls with a literal argument are prepared once for all nodes.
#[derive(Debug)]
pub(super) enum Function {
    With,
    WithLiteral(With),
    Fact,
    FactLiteral(FactPath),
    Include,
    Semver,
    Len,
    /// A data plugin, or nothing: an error when it is run.
    Data(String),
}

/// What `with()` asks for.
#[derive(Debug)]
pub(super) enum With {
    Fact(CompiledFact),
    Name { class: Needle, agent: Needle },
}

impl With {
    pub(super) fn new(query: &str, budget: &mut Budget) -> Self {
        match parse_fact(query) {
            Ok(filter) => Self::Fact(CompiledFact::new(filter, budget)),
            Err(_) => Self::Name {
                class: Needle::class(query.to_owned(), budget),
                agent: Needle::new(query.to_owned(), false, budget),
            },
        }
    }
}

impl Binary {
    /// Whether `not` may stand before it.
    pub(super) fn is_test(self) -> bool {
        matches!(
            self,
            Self::In | Self::Matches | Self::Contains | Self::StartsWith | Self::EndsWith
        )
    }

    pub(super) fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

impl Function {
    /// The call of a name. `None`: a function of the language that is not understood.
    pub(super) fn call(name: String, arguments: Vec<Expr>, budget: &mut Budget) -> Option<Expr> {
        let function = match (name.as_str(), arguments.as_slice()) {
            ("with", [Expr::Text(query)]) => Self::WithLiteral(With::new(query, budget)),
            ("with", _) => Self::With,
            ("fact", [Expr::Text(path)]) => Self::FactLiteral(FactPath::parse(path)),
            ("fact", _) => Self::Fact,
            ("include", _) => Self::Include,
            ("semver", _) => Self::Semver,
            ("len", _) => Self::Len,
            ("agents" | "classes" | "facts", _) => return None,
            (name, _) if NOT_UNDERSTOOD.contains(&name) => return None,
            _ => Self::Data(name),
        };
        Some(Expr::Call(function, arguments))
    }
}

/// The language's own functions that are not understood.
const NOT_UNDERSTOOD: &[&str] = &[
    "abs",
    "all",
    "any",
    "bitand",
    "bitnand",
    "bitnot",
    "bitor",
    "bitshl",
    "bitshr",
    "bitushr",
    "bitxor",
    "ceil",
    "concat",
    "count",
    "date",
    "duration",
    "filter",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "first",
    "flatten",
    "float",
    "floor",
    "fromBase64",
    "fromJSON",
    "fromPairs",
    "get",
    "groupBy",
    "hasPrefix",
    "hasSuffix",
    "indexOf",
    "int",
    "join",
    "keys",
    "last",
    "lastIndexOf",
    "lower",
    "map",
    "max",
    "mean",
    "median",
    "min",
    "none",
    "now",
    "one",
    "reduce",
    "repeat",
    "replace",
    "reverse",
    "round",
    "sort",
    "sortBy",
    "split",
    "splitAfter",
    "string",
    "sum",
    "take",
    "timezone",
    "toBase64",
    "toJSON",
    "toPairs",
    "trim",
    "trimPrefix",
    "trimSuffix",
    "type",
    "uniq",
    "upper",
    "values",
];

impl Expr {
    /// A name that is not called. `None`: one that is not understood.
    pub(super) fn variable(name: &str) -> Option<Self> {
        Some(match name {
            "agents" => Self::Agents,
            "classes" => Self::Classes,
            // Bytes in the real server: looking into them is an error or gives numbers.
            "facts" | "$env" | "with" | "fact" | "include" | "semver" | "len" => return None,
            name if NOT_UNDERSTOOD.contains(&name) => return None,
            _ => Self::Undefined,
        })
    }
}
