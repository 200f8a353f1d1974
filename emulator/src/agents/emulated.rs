//! The agents `emulated0` .. of the Go tool of the same name (protocol document 4.7, recorded in
//! `captures/predecessor.jsonl`): `generate` answers with as many digits as asked.

use super::inputs::{self, Field};
use super::rpc::{self, Asked, Failure};
use super::{ANSWER_BYTES_MAX, Answer};

/// The actions that have an answer.
pub(super) const ACTIONS: [&str; 2] = ["generate", "exit_emulator"];

/// Whether `agent` is one of these agents.
pub(super) fn is_agent(agent: &str) -> bool {
    agent.strip_prefix("emulated").is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

pub(super) fn ask(asked: Asked<'_>) -> Result<Answer, Failure> {
    match asked.action {
        "generate" => {
            let mut size = 0;
            let mut fields = [("size", Field::Integer(&mut size))];
            inputs::read(asked.data, "emulator", "GenerateRequest", &mut fields)
                .map_err(|problem| Failure::bad_inputs(asked, &problem))?;
            // A negative size is an empty message.
            match usize::try_from(size.max(0)) {
                Ok(size) if size <= ANSWER_BYTES_MAX => Ok(Answer::Digits(size)),
                _ => Ok(Answer::TooLarge),
            }
        }
        // A departure: the predecessor's process exits, without a reply. A load tester must not be
        // ended by a request.
        "exit_emulator" => Err(Failure::aborted("exit_emulator is not obeyed by this emulator")),
        _ => Err(Failure::unknown_action(asked.agent, asked.action)),
    }
}

/// The reply to `generate`.
pub(super) fn generated(action: &str, size: usize) -> String {
    const DIGITS: &str = "0123456789";
    let mut data = String::with_capacity(size + 16);
    data.push_str(r#"{"message":""#);
    for _ in 0..size / DIGITS.len() {
        data.push_str(DIGITS);
    }
    data.extend(DIGITS.chars().take(size % DIGITS.len()));
    data.push_str(r#""}"#);
    rpc::reply(action, 0, "OK", &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_known_by_their_number() {
        for (agent, is) in [
            ("emulated0", true),
            ("emulated12", true),
            ("emulated", false),
            ("emulated-1", false),
            ("emulated0x", false),
            ("rpcutil", false),
        ] {
            assert_eq!(is_agent(agent), is, "{agent}");
        }
    }

    #[test]
    fn sizes_are_bounded_by_what_could_be_published() {
        for (data, expected) in [
            (r#"{"size":25}"#, Some(25)),
            (r#"{"SIZE":3}"#, Some(3)),
            (r#"{"size":null}"#, Some(0)),
            (r#"{"size":-1}"#, Some(0)),
            ("{}", Some(0)),
            (r#"{"size":9000000000000000000}"#, None),
        ] {
            let size = match ask(Asked::of("emulated0", "generate", data)) {
                Ok(Answer::Digits(size)) => Some(size),
                Ok(Answer::TooLarge) => None,
                other => panic!("{data}: {other:?}"),
            };
            assert_eq!(size, expected, "{data}");
        }
        assert!(generated("generate", 12).contains(r#"{"message":"012345678901"}"#));
    }
}
