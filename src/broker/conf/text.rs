//! The settings that stand at the top of a text of nats-server's configuration language, found without reading
//! their values: what a user gives as text is the server's to judge.
//!
//! Rules are those of the server's own reader (`conf/lex.go` of 2.14). Where a text breaks them the rest of it is not
//! looked at: the server does not start on it, and says why. What a file says that the text includes is not known.

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

/// The settings at the top of a text, in its order.
pub(crate) fn settings(text: &str) -> Vec<Setting> {
    let mut reader = Reader { rest: text.chars().peekable(), line: 1, top: Vec::new() };
    // Of a text that breaks off, what came before.
    let _ = reader.map(0);
    reader.top
}

struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    top: Vec<Setting>,
}

/// `None`: the text ends there, or breaks the rules.
type Passed = Option<()>;

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        self.line += usize::from(next == '\n');
        Some(next)
    }

    /// Takes what comes as long as it is like that.
    fn take(&mut self, like: impl Fn(char) -> bool) -> String {
        let mut taken = String::new();
        while let Some(next) = self.rest.peek().copied().filter(|next| like(*next)) {
            taken.push(next);
            self.next();
        }
        taken
    }

    /// Keys and values up to the end of their map. At the top it may stand in braces or not.
    fn map(&mut self, depth: usize) -> Passed {
        let is_top = depth == 0;
        loop {
            self.take(|c| c.is_whitespace() || ",;".contains(c) || (is_top && "{}".contains(c)));
            let line = self.line;
            match *self.rest.peek()? {
                '}' => return self.next().map(drop),
                '#' => self.rest_of_line(),
                _ => {
                    let Some(key) = self.key()? else { continue };
                    if is_top {
                        self.top.push(Setting { key, line });
                    }
                    self.value(depth)?;
                }
            }
        }
    }

    /// A key and what parts it from its value. `Some(None)`: it was something else.
    fn key(&mut self) -> Option<Option<String>> {
        let quote = self.rest.next_if(|next| "\"'".contains(*next));
        let key = match quote {
            Some(quote) => {
                let key = self.take(|c| c != quote);
                self.next()?;
                key
            }
            None => self.take(|c| !c.is_whitespace() && !":=".contains(c)),
        };
        if quote.is_none() && key.starts_with("//") {
            self.rest_of_line();
            return Some(None);
        }
        let spaced = !self.take(char::is_whitespace).is_empty();
        if quote.is_none() && spaced && key.eq_ignore_ascii_case("include") {
            match self.rest.peek()? {
                '\'' | '"' => self.value(0)?,
                _ => {
                    self.take(|c| !c.is_whitespace() && !";}'".contains(c));
                }
            }
            return Some(None);
        }
        if quote.is_none() && key.is_empty() {
            return None;
        }
        let _ = self.rest.next_if(|next| ":=".contains(*next));
        self.take(char::is_whitespace);
        Some(Some(key))
    }

    fn value(&mut self, depth: usize) -> Passed {
        match *self.rest.peek()? {
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
            '"' | '\'' => self.quoted(),
            _ => {
                // In which a comment begins no more.
                self.take(|c| !c.is_whitespace() && !",;]}".contains(c));
                Some(())
            }
        }
    }

    fn list(&mut self, depth: usize) -> Passed {
        loop {
            self.take(|c| c.is_whitespace() || c == ',');
            match *self.rest.peek()? {
                ']' => return self.next().map(drop),
                '}' | ';' => return None,
                '#' => self.rest_of_line(),
                '/' => {
                    let word = self.take(|c| !c.is_whitespace() && !",]".contains(c));
                    if word.starts_with("//") {
                        self.rest_of_line();
                    }
                }
                _ => self.value(depth)?,
            }
        }
    }

    fn rest_of_line(&mut self) {
        self.take(|c| !"\n\r".contains(c));
    }

    /// Text in parentheses, of which the closing one has a line of its own.
    fn block(&mut self) -> Passed {
        let mut before = None;
        loop {
            let next = self.next()?;
            let ends = self.rest.peek().is_none_or(|next| *next == '\n');
            if next == ')' && before == Some('\n') && ends {
                return Some(());
            }
            before = Some(next);
        }
    }

    fn quoted(&mut self) -> Passed {
        let quote = self.next()?;
        loop {
            match self.next()? {
                '\\' if quote == '"' => drop(self.next()?),
                next if next == quote => return Some(()),
                _ => {}
            }
        }
    }
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
            ("remotes = [\n {url: nats://a:1, // }]\n}] port: 1", &[("remotes", 1), ("port", 3)]),
            ("text: (\nport: 1 )\n)\nport: 2", &[("text", 1), ("port", 4)]),
            ("include ./own.conf\nINCLUDE 'a b.conf'\nport: 1", &[("port", 3)]),
            ("include a,b.conf\nport: 1", &[("port", 2)]),
            ("# x\rport: 1", &[("port", 1)]),
            ("say: \"a \\\" b\\n\"\nport: 1", &[("say", 1), ("port", 2)]),
            ("port: ${X}", &[("port", 1)]),
            // Broken: what comes before is known.
            ("debug: true\n= x\nport: 1", &[("debug", 1)]),
            ("debug: true\nmap: {\nport: 1", &[("debug", 1), ("map", 2)]),
        ] {
            let found = settings(text);
            let found: Vec<_> = found.iter().map(|s| (s.key.as_str(), s.line)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
