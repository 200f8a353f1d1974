//! The settings that stand at the top of a text of nats-server's configuration language, found without judging
//! their values: what a user gives as text is the server's to judge.
//!
//! Rules are those of the server's own reader (`conf/lex.go` and `conf/parse.go` of 2.14). Where a text breaks them the
//! rest of it is not looked at: the server does not start on it, and says why. What a file says that the text includes
//! is not known.

use std::iter::Peekable;
use std::str::Chars;

/// A setting of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// As it is spelled there.
    pub(crate) key: String,
    /// From 1.
    pub(crate) line: usize,
}

/// Deeper than any setting of the server's is.
const DEEPEST: usize = 64;

/// What the server's reader takes for the end of a text, also where it goes on behind it.
const END: char = '\0';

/// The settings at the top of a text, in its order.
pub(crate) fn settings(text: &str) -> Vec<Setting> {
    let rest = text.chars().peekable();
    let mut reader = Reader { rest, line: 1, keys: Vec::new(), top: Vec::new() };
    // Of a text that breaks off, what came before.
    let _ = reader.top();
    reader.top
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    /// Keys that wait for their values. One of a map that ends before it has any stays: the map has its name then.
    keys: Vec<Setting>,
    top: Vec<Setting>,
}

/// `None`: the text breaks the rules.
type Passed = Option<()>;

/// What comes between a value and what follows it.
struct Parting {
    /// Means nothing.
    skipped: &'static str,
    /// After which the next key or value may come.
    parts: &'static str,
    /// Which ends the whole.
    closes: char,
}

const AT_TOP: Parting = Parting { skipped: " \t/", parts: "\n\r;,\0", closes: '}' };
const AFTER_BRACE: Parting = Parting { skipped: " \t/\n\r", parts: ";,", closes: '}' };
const IN_MAP: Parting = Parting { skipped: " \t", parts: "\n\r;,/", closes: '}' };
const IN_LIST: Parting = Parting { skipped: " \t", parts: "\n\r,/", closes: ']' };

impl Reader<'_> {
    fn peek(&mut self) -> char {
        self.rest.peek().copied().unwrap_or(END)
    }

    fn next(&mut self) -> char {
        let next = self.rest.next().unwrap_or(END);
        self.line += usize::from(next == '\n');
        next
    }

    fn passed(&mut self) -> Passed {
        self.next();
        Some(())
    }

    /// Takes what comes as long as it is like that.
    fn take(&mut self, like: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while self.rest.peek().is_some_and(|next| like(*next)) {
            taken.push(self.next());
        }
        taken
    }

    fn spaces(&mut self) {
        self.take(char::is_whitespace);
    }

    /// Settings, which may stand in braces or not.
    fn top(&mut self) -> Passed {
        let mut braces = 0_usize;
        loop {
            self.spaces();
            let mut is_closed = false;
            match self.peek() {
                END => return Some(()),
                '{' => {
                    self.next();
                    braces += 1;
                }
                '}' if braces > 0 => {
                    self.next();
                    is_closed = true;
                }
                '#' => self.comment(),
                '/' => self.is_comment().then_some(())?,
                _ => {
                    if self.key(false)? {
                        self.value(0)?;
                        self.top.extend(self.keys.pop());
                    }
                    is_closed = self.ends(&AT_TOP)?;
                }
            }
            while is_closed && braces > 0 {
                braces -= 1;
                is_closed = braces > 0 && self.ends(&AFTER_BRACE)?;
            }
        }
    }

    /// The rest of a map.
    fn map(&mut self, depth: usize) -> Passed {
        loop {
            self.spaces();
            let next = self.peek();
            match next {
                ']' => return None,
                '}' => return self.passed(),
                '#' => self.comment(),
                '/' if self.is_comment() => {}
                _ => {
                    // A single slash is left out, and whatever comes behind it begins the key.
                    if self.key(next == '/')? {
                        self.spaces();
                        match self.peek() {
                            ',' => return None,
                            '}' => return self.passed(),
                            _ => self.value(depth)?,
                        }
                        self.keys.pop();
                    }
                    if self.ends(&IN_MAP)? {
                        return Some(());
                    }
                }
            }
        }
    }

    /// The rest of a list.
    fn list(&mut self, depth: usize) -> Passed {
        loop {
            self.spaces();
            match self.peek() {
                ',' => return None,
                ']' => return self.passed(),
                '#' => self.comment(),
                '/' => self.is_comment().then_some(())?,
                _ => {
                    self.value(depth)?;
                    if self.ends(&IN_LIST)? {
                        return Some(());
                    }
                }
            }
        }
    }

    /// What follows a value, and whether it closes that in which the value stands.
    fn ends(&mut self, parting: &Parting) -> Option<bool> {
        loop {
            let next = self.next();
            if next == '#' || next == '/' && self.peek() == '/' {
                self.comment();
                return Some(false);
            }
            if next == parting.closes || parting.parts.contains(next) {
                return Some(next == parting.closes);
            }
            if !parting.skipped.contains(next) {
                return None;
            }
        }
    }

    /// Passes a slash, and the comment if it begins one.
    fn is_comment(&mut self) -> bool {
        self.next();
        let is_comment = self.peek() == '/';
        if is_comment {
            self.comment();
        }
        is_comment
    }

    fn comment(&mut self) {
        self.take(|c| !"\n\r\0".contains(c));
    }

    /// A key and what parts it from its value; `false`: a file that is included. A plain one has no quotes around it.
    fn key(&mut self, is_plain: bool) -> Option<bool> {
        let line = self.line;
        let quote = self.rest.next_if(|next| !is_plain && "\"'".contains(*next));
        let key = match quote {
            Some(quote) => {
                let key = self.take(|c| c != quote && c != END);
                (self.next() == quote).then_some(key)?
            }
            None if !is_plain && ":=".contains(self.peek()) => return None,
            None => {
                let first = self.next();
                format!("{first}{}", self.take(|c| !c.is_whitespace() && !":=\0".contains(c)))
            }
        };
        let is_spaced = self.peek().is_whitespace();
        if quote.is_none() && is_spaced && key.eq_ignore_ascii_case("include") {
            return self.file().map(|()| false);
        }
        self.keys.push(Setting { key, line });
        self.spaces();
        let is_told = self.rest.next_if(|next| ":=".contains(*next)).is_some();
        // The server lets a text end with a brace too many.
        (is_told || self.peek() != END).then_some(true)
    }

    /// The name of a file that is included.
    fn file(&mut self) -> Passed {
        self.take(is_blank);
        match self.peek() {
            quote @ ('"' | '\'') => self.quoted(quote),
            c if "[{(-\\\n\r".contains(c) || c.is_ascii_digit() => None,
            _ => {
                self.take(|c| !is_blank(c) && !"\n\r;}'\0".contains(c));
                self.rest.next_if_eq(&'\'');
                Some(())
            }
        }
    }

    fn value(&mut self, depth: usize) -> Passed {
        self.take(is_blank);
        match self.peek() {
            '{' | '[' if depth >= DEEPEST => None,
            '{' => {
                self.next();
                self.map(depth + 1)
            }
            '[' => {
                self.next();
                self.list(depth + 1)
            }
            '(' => self.block(),
            '\'' => self.quoted('\''),
            '"' => self.escaped(),
            '-' => {
                self.next();
                self.negative()
            }
            '.' | '\n' | '\r' => None,
            c if c.is_ascii_digit() => self.number(),
            _ => self.word(),
        }
    }

    /// Text in parentheses, of which the closing one has a line of its own.
    fn block(&mut self) -> Passed {
        let mut before = END;
        loop {
            let next = self.next();
            match next {
                END => return None,
                ')' if before == '\n' && "\n\0".contains(self.peek()) => return Some(()),
                _ => before = next,
            }
        }
    }

    /// Text in quotes within which nothing has a meaning.
    fn quoted(&mut self, quote: char) -> Passed {
        self.next();
        self.take(|c| c != quote && c != END);
        (self.next() == quote).then_some(())
    }

    fn escaped(&mut self) -> Passed {
        self.next();
        loop {
            match self.next() {
                END => return None,
                '\\' => self.escape()?,
                '"' => return Some(()),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Passed {
        let is_hex = |c: char| c.is_ascii_hexdigit();
        let is_known = match self.next() {
            'x' => is_hex(self.next()) && is_hex(self.next()),
            next => "tnr\"\\".contains(next),
        };
        is_known.then_some(())
    }

    /// Text without quotes. No comment begins in it.
    fn word(&mut self) -> Passed {
        loop {
            match self.peek() {
                c if is_blank(c) || "\n\r;,]}\0".contains(c) => return Some(()),
                '\'' => return self.passed(),
                '\\' => {
                    self.next();
                    self.escape()?;
                }
                _ => {
                    self.next();
                }
            }
        }
    }

    /// What begins with a digit, and may turn out to be a date, an address or a word.
    fn number(&mut self) -> Passed {
        let digits = self.digits();
        match self.peek() {
            '-' if digits == 4 => self.date(),
            '-' => None,
            '.' => self.fraction(),
            c if is_suffix(c) => self.sized(),
            c if ends_number(c) => Some(()),
            _ => {
                // Whatever it is: a bracket as well.
                self.next();
                self.word()
            }
        }
    }

    /// A number behind its sign. It never is a word: what comes behind it comes behind the value.
    fn negative(&mut self) -> Passed {
        if self.digits() == 0 {
            return None;
        }
        match self.peek() {
            '.' => self.fraction(),
            c if is_suffix(c) => self.sized(),
            _ => Some(()),
        }
    }

    fn digits(&mut self) -> usize {
        self.take(|c| c.is_ascii_digit()).len()
    }

    /// What follows a number from its point on; with a second one it is an address.
    fn fraction(&mut self) -> Passed {
        self.next();
        if self.digits() == 0 {
            return None;
        }
        if self.peek() == '.' {
            self.take(|c| c.is_ascii_digit() || ".:-".contains(c));
        }
        Some(())
    }

    /// A number from its suffix on, as in `64MiB`; with more than that it is a word.
    fn sized(&mut self) -> Passed {
        self.next();
        self.take(|c| "bBiI".contains(c));
        let next = self.peek();
        if ends_number(next) || next.is_ascii_digit() { Some(()) } else { self.word() }
    }

    /// What follows the year of an instant.
    fn date(&mut self) -> Passed {
        let mut form = "-00-00T00:00:00Z".chars();
        let fits =
            |form, next: char| if form == '0' { next.is_ascii_digit() } else { form == next };
        form.all(|form| fits(form, self.next())).then_some(())
    }
}

/// What parts words within a line, in any case.
fn is_blank(c: char) -> bool {
    " \t".contains(c)
}

fn is_suffix(c: char) -> bool {
    "kmgtpe".contains(c.to_ascii_lowercase())
}

/// Behind which a number is one. A list's bracket is not among it.
fn ends_number(c: char) -> bool {
    is_blank(c) || "\n\r;,}\0".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_as_the_server_finds_them_and_nothing_within_them() {
        for (text, expected) in [
            ("", &[][..]),
            ("Port: 4222\nmax_conn=7", &[("Port", 1), ("max_conn", 2)]),
            ("debug true; trace: off, logtime on", &[("debug", 1), ("trace", 1), ("logtime", 1)]),
            ("# port: 1\n// host: a\nHTTP: 1 # net: b", &[("HTTP", 3)]),
            ("\"Port\": 1\n'net': a", &[("Port", 1), ("net", 2)]),
            ("{ port: 1\n host: b }", &[("port", 1), ("host", 2)]),
            (
                "accounts {\n  port { users = [{user: \"}\", password: ']'}] }\n  # }\n}\nNet: a",
                &[("accounts", 1), ("Net", 5)],
            ),
            // Nothing within a word is a comment.
            (
                "a: nats://x#y\nlist: [nats://a, b] // ]\nport: 1",
                &[("a", 1), ("list", 2), ("port", 3)],
            ),
            (
                "cluster {\n  // }\n  routes [\n nats-route://a:1\n ]\n}\nnet b",
                &[("cluster", 1), ("net", 7)],
            ),
            ("remotes = [\n {url: nats://a:1, // }]\n}] , port: 1", &[("remotes", 1), ("port", 3)]),
            ("text: (\nport: 1 )\n)\nport: 2", &[("text", 1), ("port", 4)]),
            ("include ./own.conf\nINCLUDE 'a b.conf'\nport: 1", &[("port", 3)]),
            ("include a,b.conf\nport: 1", &[("port", 2)]),
            ("# x\rport: 1", &[("port", 1)]),
            ("say: \"a \\\" b\\n\"\nport: 1", &[("say", 1), ("port", 2)]),
            ("port: ${X}", &[("port", 1)]),
            // Broken: what comes before is known.
            ("debug: true\n= x\nport: 1", &[("debug", 1)]),
            ("debug: true\nmap: {\nport: 1", &[("debug", 1)]),
        ] {
            let found = settings(text);
            let found: Vec<_> = found.iter().map(|s| (s.key.as_str(), s.line)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
