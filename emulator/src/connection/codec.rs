//! The NATS client protocol as a node reads it: one operation at a time out of a byte slice.
//!
//! No sockets, no copies, no state: [`next`] looks at the front of what was read and says which
//! operation stands there and how long it is, or that it is incomplete. The grammar is that of the NATS
//! client protocol; what brokers really send was checked in the recorded connections.

/// Longest control line that is accepted. Brokers limit theirs to 4 KiB by default, but an `INFO` with
/// the addresses of a large cluster is longer (observed library behaviour: no limit on `INFO`).
pub const MAX_CONTROL_LINE: usize = 64 * 1024;

/// Largest payload that a broker can be configured to pass on (64 MiB, `max_payload` in nats-server).
pub const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

/// One operation of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a> {
    /// A message: `MSG`, or `HMSG` without its headers, which no Choria request has.
    Message {
        /// Number of the subscription it belongs to.
        sid: u64,
        /// The subject it was published to.
        subject: &'a [u8],
        /// The payload.
        payload: &'a [u8],
    },
    /// The broker asks for a `PONG`.
    Ping,
    /// Answer to our `PING`.
    Pong,
    /// `+OK`, only in verbose mode.
    Ok,
    /// Facts about the broker: JSON.
    Info(&'a [u8]),
    /// An error: the text between the quotes.
    Err(&'a [u8]),
}

/// What stands at the front of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// A whole operation and how many bytes it takes.
    Op(Op<'a>, usize),
    /// Not all of it is there: the operation has at least this many bytes.
    Incomplete(usize),
}

/// Why a byte sequence is no NATS protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The line begins with no known operation.
    #[error("unknown protocol operation {0:?}")]
    UnknownOperation(String),
    /// The arguments of a message are not `subject sid [reply] [headers] size`.
    #[error("malformed message arguments {0:?}")]
    MalformedArguments(String),
    /// The line is longer than [`MAX_CONTROL_LINE`].
    #[error("control line longer than {MAX_CONTROL_LINE} bytes")]
    LineTooLong,
    /// The payload is larger than [`MAX_PAYLOAD`].
    #[error("payload of {0} bytes is larger than {MAX_PAYLOAD}")]
    PayloadTooLarge(usize),
    /// The payload is not followed by CR LF.
    #[error("payload without its line end")]
    MissingLineEnd,
}

/// The operation at the front of `buffer`.
///
/// # Errors
/// When the bytes can be no operation; the connection is then beyond repair.
pub fn next(buffer: &[u8]) -> Result<Step<'_>, CodecError> {
    let Some(newline) = find_newline(buffer) else {
        if buffer.len() > MAX_CONTROL_LINE {
            return Err(CodecError::LineTooLong);
        }
        refuse_early(buffer)?;
        return Ok(Step::Incomplete(buffer.len() + 1));
    };
    if newline > MAX_CONTROL_LINE {
        return Err(CodecError::LineTooLong);
    }
    let line = buffer[..newline].strip_suffix(b"\r").unwrap_or(&buffer[..newline]);
    let (name, arguments) = split_name(line);
    let op = match Name::of(name) {
        Some(Name::Msg) => return message(buffer, newline + 1, arguments, false),
        Some(Name::Hmsg) => return message(buffer, newline + 1, arguments, true),
        Some(Name::Ping) => Op::Ping,
        Some(Name::Pong) => Op::Pong,
        Some(Name::Ok) => Op::Ok,
        Some(Name::Info) => Op::Info(arguments),
        Some(Name::Err) => Op::Err(unquoted(arguments)),
        None => return Err(CodecError::UnknownOperation(excerpt(line))),
    };
    Ok(Step::Op(op, newline + 1))
}

#[derive(Clone, Copy)]
enum Name {
    Msg,
    Hmsg,
    Ping,
    Pong,
    Ok,
    Info,
    Err,
}

impl Name {
    const ALL: [(&'static [u8], Self); 7] = [
        (b"MSG", Self::Msg),
        (b"HMSG", Self::Hmsg),
        (b"PING", Self::Ping),
        (b"PONG", Self::Pong),
        (b"+OK", Self::Ok),
        (b"INFO", Self::Info),
        (b"-ERR", Self::Err),
    ];

    fn of(name: &[u8]) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, operation)| *operation)
    }

    fn begins(prefix: &[u8]) -> bool {
        Self::ALL.iter().any(|(known, _)| {
            known.get(..prefix.len()).is_some_and(|k| k.eq_ignore_ascii_case(prefix))
        })
    }
}

/// Garbage is refused before a line end comes, which it may never do.
fn refuse_early(buffer: &[u8]) -> Result<(), CodecError> {
    let (name, _) = split_name(buffer);
    let name = name.strip_suffix(b"\r").unwrap_or(name);
    let complete = name.len() < buffer.len();
    let fine = if complete { Name::of(name).is_some() } else { Name::begins(name) };
    if fine { Ok(()) } else { Err(CodecError::UnknownOperation(excerpt(buffer))) }
}

fn find_newline(buffer: &[u8]) -> Option<usize> {
    // Control lines are short: a plain scan of their bytes is as fast as anything.
    buffer.iter().take(MAX_CONTROL_LINE + 2).position(|byte| *byte == b'\n')
}

fn split_name(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii())
}

fn unquoted(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"'").and_then(|t| t.strip_suffix(b"'")).unwrap_or(text)
}

fn message<'a>(
    buffer: &'a [u8],
    start: usize,
    arguments: &'a [u8],
    headers: bool,
) -> Result<Step<'a>, CodecError> {
    let malformed = || CodecError::MalformedArguments(excerpt(arguments));
    let mut fields = [&arguments[..0]; 5];
    let mut count = 0;
    for field in arguments.split(|b| matches!(b, b' ' | b'\t')).filter(|f| !f.is_empty()) {
        *fields.get_mut(count).ok_or_else(malformed)? = field;
        count += 1;
    }
    let sizes = if headers { 2 } else { 1 };
    if count != 2 + sizes && count != 3 + sizes {
        return Err(malformed());
    }
    let sid = number(fields[1]).ok_or_else(malformed)?;
    let size = number(fields[count - 1]).ok_or_else(malformed)? as usize;
    let header_size =
        if headers { number(fields[count - 2]).ok_or_else(malformed)? as usize } else { 0 };
    if size > MAX_PAYLOAD {
        return Err(CodecError::PayloadTooLarge(size));
    }
    if header_size > size {
        return Err(malformed());
    }
    let end = start + size;
    if buffer.len() < end + 2 {
        return Ok(Step::Incomplete(end + 2));
    }
    if &buffer[end..end + 2] != b"\r\n" {
        return Err(CodecError::MissingLineEnd);
    }
    let payload = &buffer[start + header_size..end];
    Ok(Step::Op(Op::Message { sid, subject: fields[0], payload }, end + 2))
}

/// A decimal number of at most 18 digits, which no size or subscription number exceeds.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(input: &[u8], expected: Result<Step<'_>, CodecError>) {
        assert_eq!(next(input), expected, "{:?}", String::from_utf8_lossy(input));
    }

    #[test]
    fn operations_are_read_as_brokers_write_them() {
        check(b"PING\r\n", Ok(Step::Op(Op::Ping, 6)));
        check(b"ping\r\nPONG\r\n", Ok(Step::Op(Op::Ping, 6)));
        check(b"PONG\r\nINFO {}\r\n", Ok(Step::Op(Op::Pong, 6)));
        check(b"+OK\r\n", Ok(Step::Op(Op::Ok, 5)));
        check(b"INFO {\"a\":1} \r\n", Ok(Step::Op(Op::Info(b"{\"a\":1}"), 15)));
        check(b"-ERR 'Stale Connection'\r\n", Ok(Step::Op(Op::Err(b"Stale Connection"), 25)));
        let payload = |sid, subject, payload| Op::Message { sid, subject, payload };
        check(b"MSG a.b 7 3\r\nxyz\r\n", Ok(Step::Op(payload(7, b"a.b", b"xyz"), 18)));
        check(b"MSG a.b  7  r.1 0\r\n\r\n", Ok(Step::Op(payload(7, b"a.b", b""), 21)));
        let with_headers = b"HMSG a 1 12 15\r\nNATS/1.0\r\n\r\nxyz\r\n";
        check(with_headers, Ok(Step::Op(payload(1, b"a", b"xyz"), with_headers.len())));
    }

    #[test]
    fn an_incomplete_operation_says_how_much_is_missing_at_least() {
        check(b"", Ok(Step::Incomplete(1)));
        check(b"MS", Ok(Step::Incomplete(3)));
        check(b"INFO {\"a\"", Ok(Step::Incomplete(10)));
        check(b"MSG a 1 3\r\nxy", Ok(Step::Incomplete(16)));
        check(b"PING\r", Ok(Step::Incomplete(6)));
    }

    #[test]
    fn what_is_no_protocol_is_refused() {
        let unknown = |text: &str| Err(CodecError::UnknownOperation(text.to_owned()));
        check(b"HTTP/1.1 400 Bad Request\r\n", unknown("HTTP/1.1 400 Bad Request"));
        check(b"GARBAGE", unknown("GARBAGE"));
        check(b"\r\n", unknown(""));
        let malformed = |text: &str| Err(CodecError::MalformedArguments(text.to_owned()));
        check(b"MSG a 3\r\nxyz\r\n", malformed("a 3"));
        check(b"MSG a x 3\r\nxyz\r\n", malformed("a x 3"));
        check(b"MSG a 1 -3\r\nxyz\r\n", malformed("a 1 -3"));
        check(b"MSG a 1 b c d e f\r\n", malformed("a 1 b c d e f"));
        check(b"HMSG a 1 5 3\r\nxyz\r\n", malformed("a 1 5 3"));
        check(b"MSG a 1 99999999999\r\n", Err(CodecError::PayloadTooLarge(99_999_999_999)));
        check(b"MSG a 1 3\r\nxyzzy\r\n", Err(CodecError::MissingLineEnd));
        let long = [b"INFO ".as_slice(), &vec![b'x'; MAX_CONTROL_LINE]].concat();
        check(&long, Err(CodecError::LineTooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_progress_is_made(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            match next(&bytes) {
                Ok(Step::Op(_, used)) => prop_assert!(used > 0 && used <= bytes.len()),
                Ok(Step::Incomplete(need)) => prop_assert!(need > bytes.len()),
                Err(_) => {}
            }
        }

        #[test]
        fn a_message_is_read_back_whole_however_it_is_cut(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            sid in 0_u64..1_000_000,
            cut in 0_usize..120,
        ) {
            let mut wire = format!("MSG a.b.c {sid} {}\r\n", payload.len()).into_bytes();
            wire.extend_from_slice(&payload);
            wire.extend_from_slice(b"\r\n");
            if cut < wire.len() {
                let Ok(Step::Incomplete(need)) = next(&wire[..cut]) else {
                    return Err(TestCaseError::fail("a part was taken for the whole"));
                };
                prop_assert!(need > cut && need <= wire.len());
            }
            let read = Op::Message { sid, subject: b"a.b.c", payload: &payload };
            prop_assert_eq!(next(&wire), Ok(Step::Op(read, wire.len())));
        }
    }
}
