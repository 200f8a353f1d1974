//! From the text of an expression to its tokens (expr-lang 1.17, `parser/lexer`).

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Integer(i64),
    Float(f64),
    Text(String),
    Name(String),
    /// An operator, a bracket, or a word that is an operator.
    Sign(&'static str),
    End,
}

/// Signs, a longer one before its beginning.
const SIGNS: [&str; 35] = [
    "||", "&&", "!=", "==", "**", "<=", ">=", "?.", "??", "..", "::", "|", "!", "=", "*", "<", ">",
    "?", ".", ":", ",", ";", "%", "+", "-", "^", "/", "(", ")", "[", "]", "{", "}", "#", "&",
];

/// Words that are operators.
const WORDS: [&str; 11] = [
    "not",
    "in",
    "or",
    "and",
    "matches",
    "contains",
    "startsWith",
    "endsWith",
    "let",
    "if",
    "else",
];

/// The tokens of an expression, with [`Token::End`] behind them. `None`: not an expression.
pub(super) fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else {
            tokens.push(Token::End);
            return Some(tokens);
        };
        let second = rest[first.len_utf8()..].chars().next();
        if let Some(after) = comment(rest)? {
            rest = after;
            continue;
        }
        let (token, after) = match first {
            '\'' | '"' => quoted(rest, first)?,
            '`' => raw(rest)?,
            '0'..='9' => number(rest)?,
            '.' if second.is_some_and(|c| c.is_ascii_digit()) => number(rest)?,
            c if is_word(c) => word(rest),
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign))?;
                (Token::Sign(sign), &rest[sign.len()..])
            }
        };
        tokens.push(token);
        rest = after;
    }
}

/// What follows a comment; `None` inside when there is none here.
fn comment(text: &str) -> Option<Option<&str>> {
    if let Some(body) = text.strip_prefix("//") {
        return Some(Some(body.find('\n').map_or("", |end| &body[end..])));
    }
    match text.strip_prefix("/*") {
        Some(body) => Some(Some(&body[body.find("*/")? + 2..])),
        None => Some(None),
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c == '$' || c.is_alphabetic() || c.is_numeric()
}

fn word(text: &str) -> (Token, &str) {
    let (word, after) = text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()));
    let token = match WORDS.into_iter().find(|operator| *operator == word) {
        Some(operator) => Token::Sign(operator),
        None => Token::Name(word.to_owned()),
    };
    (token, after)
}

fn raw(text: &str) -> Option<(Token, &str)> {
    let mut value = String::new();
    let mut rest = &text[1..];
    loop {
        let end = rest.find('`')?;
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        // Two are one that does not end the text.
        match rest.strip_prefix('`') {
            Some(after) => {
                value.push('`');
                rest = after;
            }
            None => return Some((Token::Text(value), rest)),
        }
    }
}

fn quoted(text: &str, quote: char) -> Option<(Token, &str)> {
    let mut value = String::new();
    let mut chars = text[1..].chars();
    loop {
        match chars.next()? {
            c if c == quote => return Some((Token::Text(value), chars.as_str())),
            '\n' => return None,
            '\r' => value.push('\n'),
            '\\' => value.push(escaped(&mut chars, quote)?),
            c => value.push(c),
        }
    }
}

/// Behind a backslash. Of quotes only the one that ends the text may stand there.
fn escaped(chars: &mut std::str::Chars<'_>, quote: char) -> Option<char> {
    let (digits, radix, first) = match chars.next()? {
        'a' => return Some('\u{7}'),
        'b' => return Some('\u{8}'),
        'f' => return Some('\u{c}'),
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'v' => return Some('\u{b}'),
        c if c == '\\' || c == quote => return Some(c),
        'x' => (2, 16, None),
        'u' if chars.as_str().starts_with('{') => {
            let (code, after) = chars.as_str()[1..].split_once('}')?;
            *chars = after.chars();
            return (1..=6).contains(&code.len()).then(|| character(code, 16))?;
        }
        'u' => (4, 16, None),
        'U' => (8, 16, None),
        c @ '0'..='3' => (2, 8, Some(c)),
        _ => return None,
    };
    let code: String = first.into_iter().chain(chars.by_ref().take(digits)).collect();
    let complete = code.len() == digits + usize::from(first.is_some());
    complete.then(|| character(&code, radix))?
}

/// The character with this code; a surrogate is none, and shown as such.
fn character(code: &str, radix: u32) -> Option<char> {
    let digits_only = code.chars().all(|c| c.is_digit(radix));
    let code = digits_only.then(|| u32::from_str_radix(code, radix).ok())??;
    (code <= u32::from(char::MAX))
        .then(|| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn number(text: &str) -> Option<(Token, &str)> {
    let bytes = text.as_bytes();
    let run = |from: usize, belongs: fn(u8) -> bool| {
        from + bytes[from..].iter().take_while(|b| belongs(**b) || **b == b'_').count()
    };
    let prefix = text.get(..2).unwrap_or_default().to_ascii_lowercase();
    let radix = match prefix.as_str() {
        "0x" => 16,
        "0o" => 8,
        "0b" => 2,
        _ => 10,
    };
    if radix != 10 {
        let end = run(2, |b| b.is_ascii_hexdigit());
        let digits = text[2..end].replace('_', "");
        let value = i64::from_str_radix(&digits, radix).ok().filter(|_| !digits.starts_with('-'));
        return ended(Token::Integer(value?), &text[end..]);
    }
    let mut end = run(0, |b| b.is_ascii_digit());
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1) != Some(&b'.') {
        end = run(end + 1, |b| b.is_ascii_digit());
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        end = run(end + 1 + sign, |b| b.is_ascii_digit());
    }
    let digits = text[..end].replace('_', "");
    let token = if digits.contains(['.', 'e', 'E']) {
        Token::Float(digits.parse().ok().filter(|float: &f64| float.is_finite())?)
    } else {
        Token::Integer(digits.parse().ok()?)
    };
    ended(token, &text[end..])
}

/// A number, unless a letter or digit touches it.
fn ended(token: Token, after: &str) -> Option<(Token, &str)> {
    (!after.starts_with(is_word)).then_some((token, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_the_real_lexer_reads_them() {
        for (text, value) in [
            (r#""a\"b'c""#, Some("a\"b'c")),
            (r"'a\'b'", Some("a'b")),
            // Behind a backslash of quotes only the own one.
            (r#"'a\"b'"#, None),
            (r#""a\'b""#, None),
            (r"'a\`b'", None),
            (r"'a\?b'", None),
            (r"'\x41\u0042\U00000043\104'", Some("ABCD")),
            (r"'\X41'", None),
            (r"'\u{41}\u{1F600}'", Some("A\u{1f600}")),
            (r"'\u{}'", None),
            (r"'\u{0000041}'", None),
            (r"'\u{110000}'", None),
            (r"'\ud800'", Some("\u{fffd}")),
            (r"'\u{d800}'", Some("\u{fffd}")),
            (r"'\401'", None),
            ("'a\rb'", Some("a\nb")),
            ("'a\nb'", None),
            ("'a", None),
        ] {
            let expected = value.map(|value| vec![Token::Text(value.to_owned()), Token::End]);
            assert_eq!(tokens(text), expected, "{text}");
        }
    }
}
