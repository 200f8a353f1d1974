//! From the tokens of an expression to its tree (expr-lang 1.17, `parser`).

use super::lexer::{Token, tokens};
use crate::filter::regexp::Budget;

use super::tree::{Binary, Expr, Function, Unary};

/// Longest expression.
const LENGTH_MAX: usize = 16 << 10;
/// Most nodes of a tree, and so its greatest depth.
const NODES_MAX: usize = 400;
/// Deepest nesting of brackets and prefixes.
const NESTING_MAX: usize = 50;

/// Binding strength of `not`, of a sign before a number, and of the comparisons.
const NOT: u8 = 50;
const SIGN: u8 = 90;
const COMPARISON: u8 = 20;

/// Reads an expression. `None`: it is no expression, or one that is not understood or too large.
pub(super) fn parse(text: &str, budget: &mut Budget) -> Option<Expr> {
    if text.len() > LENGTH_MAX {
        return None;
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, nodes: 0, nesting: 0, budget };
    let expr = parser.expression(0)?;
    parser.eat(";");
    (*parser.peek() == Token::End).then_some(expr)
}

struct Parser<'b> {
    tokens: Vec<Token>,
    at: usize,
    nodes: usize,
    nesting: usize,
    budget: &'b mut Budget,
}

/// The operator that a sign is, how strongly it binds, and whether it groups from the right.
fn binary(sign: &str) -> Option<(Binary, u8, bool)> {
    Some(match sign {
        "or" | "||" => (Binary::Or, 10, false),
        "and" | "&&" => (Binary::And, 15, false),
        "==" => (Binary::Equal, COMPARISON, false),
        "!=" => (Binary::NotEqual, COMPARISON, false),
        "<" => (Binary::Less, COMPARISON, false),
        "<=" => (Binary::LessOrEqual, COMPARISON, false),
        ">" => (Binary::Greater, COMPARISON, false),
        ">=" => (Binary::GreaterOrEqual, COMPARISON, false),
        "in" => (Binary::In, COMPARISON, false),
        "matches" => (Binary::Matches, COMPARISON, false),
        "contains" => (Binary::Contains, COMPARISON, false),
        "startsWith" => (Binary::StartsWith, COMPARISON, false),
        "endsWith" => (Binary::EndsWith, COMPARISON, false),
        "+" => (Binary::Add, 30, false),
        "-" => (Binary::Subtract, 30, false),
        "*" => (Binary::Multiply, 60, false),
        "/" => (Binary::Divide, 60, false),
        "%" => (Binary::Remainder, 60, false),
        "**" | "^" => (Binary::Power, 100, true),
        "??" => (Binary::Coalesce, 200, false),
        _ => return None,
    })
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(next) if *next == sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Option<()> {
        self.eat(sign).then_some(())
    }

    fn node(&mut self, expr: Expr) -> Option<Expr> {
        self.nodes += 1;
        (self.nodes <= NODES_MAX).then_some(expr)
    }

    /// Everything that binds at least as strongly as `strength`.
    fn expression(&mut self, strength: u8) -> Option<Expr> {
        self.nesting += 1;
        let expr = if self.nesting > NESTING_MAX { None } else { self.operations(strength) };
        self.nesting -= 1;
        expr
    }

    fn operations(&mut self, strength: u8) -> Option<Expr> {
        let mut left = self.prefixed()?;
        let mut coalesced = false;
        while let Token::Sign(sign) = *self.peek() {
            let negated = sign == "not";
            let operator = match self.tokens.get(self.at + usize::from(negated))? {
                Token::Sign(sign) => binary(sign),
                _ => None,
            };
            let Some((operator, binds, from_right)) = operator else {
                if negated {
                    return None;
                }
                break;
            };
            if negated && !operator.is_test() {
                return None;
            }
            if binds < strength {
                break;
            }
            if coalesced && operator != Binary::Coalesce {
                return None;
            }
            coalesced = operator == Binary::Coalesce;
            self.at += 1 + usize::from(negated);
            left = if operator.is_order() {
                self.comparisons(left, operator)?
            } else {
                let right =
                    self.expression(if from_right { binds } else { binds.checked_add(1)? })?;
                self.binary(operator, left, right)?
            };
            if negated {
                left = self.node(Expr::Unary(Unary::Not, Box::new(left)))?;
            }
        }
        if strength == 0 { self.conditional(left) } else { Some(left) }
    }

    fn binary(&mut self, operator: Binary, left: Expr, right: Expr) -> Option<Expr> {
        let regex = match (operator, &right) {
            (Binary::Matches, Expr::Text(text)) => Some(self.budget.compile(text, false)?),
            _ => None,
        };
        let (left, right) = (Box::new(left), Box::new(right));
        self.node(match regex {
            Some(regex) => Expr::MatchesLiteral(left, regex),
            None => Expr::Binary(operator, left, right),
        })
    }

    /// `1 < x < 3` means `1 < x && x < 3`.
    fn comparisons(&mut self, first: Expr, operator: Binary) -> Option<Expr> {
        let mut links = Vec::new();
        let mut operator = operator;
        loop {
            links.push((operator, self.expression(COMPARISON + 1)?));
            match *self.peek() {
                Token::Sign(sign) => match binary(sign) {
                    Some((next, ..)) if next.is_order() => operator = next,
                    _ => break,
                },
                _ => break,
            }
            self.at += 1;
        }
        self.nodes += links.len();
        self.node(Expr::Order(Box::new(first), links))
    }

    fn conditional(&mut self, condition: Expr) -> Option<Expr> {
        let mut expr = condition;
        while self.eat("?") {
            let yes = self.expression(0)?;
            self.expect(":")?;
            let no = self.expression(0)?;
            expr = self.node(Expr::Conditional(Box::new(expr), Box::new(yes), Box::new(no)))?;
        }
        Some(expr)
    }

    fn prefixed(&mut self) -> Option<Expr> {
        let (operator, strength) = match *self.peek() {
            Token::Sign("not" | "!") => (Unary::Not, NOT),
            Token::Sign("-") => (Unary::Minus, SIGN),
            Token::Sign("+") => (Unary::Plus, SIGN),
            _ => return self.primary(),
        };
        self.at += 1;
        let operand = self.expression(strength)?;
        let expr = self.node(Expr::Unary(operator, Box::new(operand)))?;
        self.postfix(expr)
    }

    fn primary(&mut self) -> Option<Expr> {
        let expr = match self.next() {
            // No postfix stands behind these.
            Token::Integer(value) => return self.node(Expr::Integer(value)),
            Token::Float(value) => return self.node(Expr::Float(value)),
            Token::Name(name) => match name.as_str() {
                "true" => return self.node(Expr::Bool(true)),
                "false" => return self.node(Expr::Bool(false)),
                "nil" => return self.node(Expr::Nil),
                _ if self.eat("(") => {
                    let arguments = self.list(")")?;
                    let call = Function::call(name, arguments, self.budget)?;
                    self.node(call)
                }
                _ => self.node(Expr::variable(&name)?),
            }?,
            Token::Text(text) => self.node(Expr::Text(text))?,
            Token::Sign("(") => {
                let expr = self.expression(0)?;
                self.expect(")")?;
                expr
            }
            Token::Sign("[") => {
                let items = self.list("]")?;
                self.node(Expr::List(items))?
            }
            _ => return None,
        };
        self.postfix(expr)
    }

    /// Expressions with commas between them, up to a closing bracket; a last comma may stand.
    fn list(&mut self, close: &str) -> Option<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.eat(close) {
            if !items.is_empty() {
                self.expect(",")?;
                if self.eat(close) {
                    break;
                }
            }
            items.push(self.expression(0)?);
        }
        Some(items)
    }

    /// Members and indexes.
    fn postfix(&mut self, expr: Expr) -> Option<Expr> {
        let mut expr = expr;
        let mut chained = false;
        loop {
            let optional = matches!(self.peek(), Token::Sign("?."));
            let property = if optional || matches!(self.peek(), Token::Sign(".")) {
                self.at += 1;
                // Brackets around a chain do not end it.
                if let Expr::Chain(members) = expr {
                    (expr, chained) = (*members, true);
                }
                if optional && self.eat("[") { self.index()? } else { self.name()? }
            } else if self.eat("[") {
                // As the real parser has it, an index ends a chain.
                if std::mem::take(&mut chained) {
                    expr = self.node(Expr::Chain(Box::new(expr)))?;
                }
                self.index()?
            } else {
                return if chained { self.node(Expr::Chain(Box::new(expr))) } else { Some(expr) };
            };
            chained |= optional;
            expr = self.node(Expr::Member {
                base: Box::new(expr),
                property: Box::new(property),
                optional,
            })?;
        }
    }

    fn index(&mut self) -> Option<Expr> {
        let index = self.expression(0)?;
        self.expect("]")?;
        Some(index)
    }

    fn name(&mut self) -> Option<Expr> {
        let name = match self.next() {
            Token::Name(name) => name,
            Token::Sign(sign) if sign.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                sign.to_owned()
            }
            _ => return None,
        };
        // Methods are not understood.
        (!matches!(self.peek(), Token::Sign("("))).then_some(())?;
        self.node(Expr::Text(name))
    }
}
