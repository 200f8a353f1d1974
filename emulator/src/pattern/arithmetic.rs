//! Integer arithmetic over a node's index, compiled to a short program for a stack machine, so that
//! evaluating it for a node recurses and allocates nothing.

use super::Fault;

/// Most steps of one placeholder, parentheses included; a person writes fewer than ten.
const STEPS_MAX: usize = 64;
const ADVICE_OPERAND: &str = "write index, group or a number, as in {index % 4:02}";
const ADVICE_GROUP: &str = "write {group} alone: it takes no arithmetic and no width";
const ADVICE_DIVISOR: &str = "divide by a number, as in {index / 10}";
const ADVICE_LONG: &str = "use at most 64 numbers, operators and parentheses";
const ADVICE_PARENTHESIS: &str = "close it with )";

/// A compiled expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Arithmetic {
    /// In reverse Polish order: well-formed, at most [`STEPS_MAX`].
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Index,
    Number(i64),
    Add,
    Subtract,
    Multiply,
    /// The divisor is never 0.
    Divide(i64),
    /// The divisor is never 0.
    Remainder(i64),
}

impl Arithmetic {
    /// Reads one expression; stops before the first character that does not belong to it.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Fault> {
        let mut parser = Parser { cursor, steps: Vec::new(), parentheses: 0 };
        parser.sum()?;
        Ok(Self { steps: parser.steps })
    }

    /// The value for a node; overflow wraps.
    pub(super) fn evaluate(&self, index: u64) -> i64 {
        let mut stack = [0_i64; STEPS_MAX];
        let mut depth = 0;
        for step in &self.steps {
            if let Step::Add | Step::Subtract | Step::Multiply = step {
                depth -= 1;
                let (left, right) = (stack[depth - 1], stack[depth]);
                stack[depth - 1] = match step {
                    Step::Add => left.wrapping_add(right),
                    Step::Subtract => left.wrapping_sub(right),
                    _ => left.wrapping_mul(right),
                };
            } else if let Step::Divide(divisor) = *step {
                stack[depth - 1] = stack[depth - 1].wrapping_div_euclid(divisor);
            } else if let Step::Remainder(divisor) = *step {
                stack[depth - 1] = stack[depth - 1].wrapping_rem_euclid(divisor);
            } else {
                stack[depth] = match *step {
                    Step::Number(number) => number,
                    _ => i64::try_from(index).unwrap_or(i64::MAX),
                };
                depth += 1;
            }
        }
        stack[0]
    }
}

/// Recursive descent: `sum` of `product`s of `operand`s; only parentheses recurse.
struct Parser<'c, 't> {
    cursor: &'c mut Cursor<'t>,
    steps: Vec<Step>,
    parentheses: usize,
}

impl Parser<'_, '_> {
    fn sum(&mut self) -> Result<(), Fault> {
        self.product()?;
        loop {
            self.cursor.skip_spaces();
            let step = match self.cursor.peek() {
                Some('+') => Step::Add,
                Some('-') => Step::Subtract,
                _ => return Ok(()),
            };
            self.cursor.next();
            self.product()?;
            self.push(step)?;
        }
    }

    fn product(&mut self) -> Result<(), Fault> {
        self.operand()?;
        loop {
            self.cursor.skip_spaces();
            let operator = match self.cursor.peek() {
                Some(operator @ ('*' | '/' | '%')) => operator,
                _ => return Ok(()),
            };
            self.cursor.next();
            let step = match operator {
                '*' => {
                    self.operand()?;
                    Step::Multiply
                }
                '/' => Step::Divide(self.divisor()?),
                _ => Step::Remainder(self.divisor()?),
            };
            self.push(step)?;
        }
    }

    fn operand(&mut self) -> Result<(), Fault> {
        self.cursor.skip_spaces();
        let offset = self.cursor.offset();
        if self.cursor.eat('(') {
            return self.parenthesis();
        }
        if self.cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
            let number = self.number()?;
            return self.push(Step::Number(number));
        }
        match self.cursor.word() {
            "index" => self.push(Step::Index),
            "group" => Err(fault(offset, "group is a text", ADVICE_GROUP)),
            "" => Err(fault(offset, "index, group or a number is missing", ADVICE_OPERAND)),
            name => Err(fault(offset, format!("unknown name {name:?}"), ADVICE_OPERAND)),
        }
    }

    fn parenthesis(&mut self) -> Result<(), Fault> {
        self.parentheses += 1;
        self.bounded()?;
        self.sum()?;
        self.cursor.skip_spaces();
        if self.cursor.eat(')') {
            return Ok(());
        }
        Err(fault(self.cursor.offset(), "the parenthesis is not closed", ADVICE_PARENTHESIS))
    }

    fn number(&mut self) -> Result<i64, Fault> {
        let offset = self.cursor.offset();
        let digits = self.cursor.digits();
        digits.parse().map_err(|_| fault(offset, "the number is too large", ADVICE_OPERAND))
    }

    fn divisor(&mut self) -> Result<i64, Fault> {
        self.cursor.skip_spaces();
        let offset = self.cursor.offset();
        let is_number = self.cursor.peek().is_some_and(|c| c.is_ascii_digit());
        let divisor = if is_number { self.number()? } else { 0 };
        if divisor == 0 {
            let problem = "the divisor is not a number other than 0";
            return Err(fault(offset, problem, ADVICE_DIVISOR));
        }
        Ok(divisor)
    }

    fn push(&mut self, step: Step) -> Result<(), Fault> {
        self.steps.push(step);
        self.bounded()
    }

    fn bounded(&self) -> Result<(), Fault> {
        if self.steps.len() + self.parentheses <= STEPS_MAX {
            return Ok(());
        }
        Err(fault(self.cursor.offset(), "the arithmetic is too long", ADVICE_LONG))
    }
}

fn fault(offset: usize, problem: impl Into<String>, advice: &'static str) -> Fault {
    Fault { offset, problem: problem.into(), advice }
}

/// A place in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    offset: usize,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, offset: 0 }
    }

    /// Byte offset of the next character.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.offset += next.len_utf8();
        Some(next)
    }

    /// Passes `wanted`, if it is next.
    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.offset += wanted.len_utf8();
        }
        found
    }

    /// Passes `group}`, if it is next, spaces allowed.
    pub(super) fn eat_group(&mut self) -> bool {
        let mut ahead = *self;
        ahead.skip_spaces();
        let found = ahead.word() == "group" && {
            ahead.skip_spaces();
            ahead.eat('}')
        };
        if found {
            *self = ahead;
        }
        found
    }

    pub(super) fn skip_spaces(&mut self) {
        while self.eat(' ') {}
    }

    /// Passes and gives the digits that are next; may be empty.
    pub(super) fn digits(&mut self) -> &'t str {
        self.run(|c| c.is_ascii_digit())
    }

    /// Passes and gives the letters, digits and `_` that are next; may be empty.
    fn word(&mut self) -> &'t str {
        self.run(|c| c.is_alphanumeric() || c == '_')
    }

    fn run(&mut self, belongs: impl Fn(char) -> bool) -> &'t str {
        let rest = self.rest();
        let end = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.offset += end;
        &rest[..end]
    }

    fn rest(&self) -> &'t str {
        &self.text[self.offset..]
    }
}
