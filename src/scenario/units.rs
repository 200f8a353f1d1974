//! Values with units as a scenario writes them: durations, rates, shares, counts and addresses.
//!
//! Bare numbers are refused where a unit is meant: seconds are never guessed. Every value knows its
//! JSON Schema, so that an editor refuses what the parser refuses.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A duration with its unit: `500ms`, `30s`, `1m30s`. Whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Reads a duration such as `1m30s`.
    ///
    /// # Errors
    /// Says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if trimmed.starts_with('-') {
            return Err(format!("`{trimmed}` is a negative duration\nwrite one such as `5s`"));
        }
        if trimmed.parse::<f64>().is_ok() {
            return Err(format!(
                "`{trimmed}` has no unit\nwrite `{trimmed}s` for seconds or `{trimmed}ms` for milliseconds"
            ));
        }
        let duration = humantime::parse_duration(trimmed)
            .map_err(|error| format!("`{trimmed}` is no duration ({error})\n{SPAN_ADVICE}"))?;
        if duration.subsec_nanos() % 1000 != 0 {
            return Err(format!(
                "`{trimmed}` is finer than a microsecond\nwrite whole microseconds"
            ));
        }
        Ok(Self(duration))
    }
}

const SPAN_ADVICE: &str = "write a number with a unit, such as `500ms`, `30s` or `1m30s`";

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// A rate with its unit: `5000/s`, `30/m`, `2/h`. Above zero.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate {
    /// Events in a second.
    pub per_s: f64,
}

impl Rate {
    /// Reads a rate such as `5000/s`.
    ///
    /// # Errors
    /// Says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if let Ok(number) = trimmed.parse::<f64>() {
            return Err(if number < 0.0 {
                format!("`{trimmed}` is a negative rate\n{RATE_ADVICE}")
            } else {
                format!("`{trimmed}` has no unit\nwrite `{trimmed}/s` for a rate per second")
            });
        }
        let wrong = || format!("`{trimmed}` is no rate\n{RATE_ADVICE}");
        let (number, unit) = trimmed.split_once('/').ok_or_else(wrong)?;
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        if number < 0.0 {
            return Err(format!("`{trimmed}` is a negative rate\n{RATE_ADVICE}"));
        }
        if number == 0.0 || !number.is_finite() {
            return Err(format!(
                "`{trimmed}` never starts anything\nwrite a rate above zero, or leave it out for no pacing"
            ));
        }
        Ok(Self { per_s: number / seconds })
    }
}

const RATE_ADVICE: &str = "write a number per second, minute or hour, such as `5000/s` or `30/m`";

/// A share in percent: `1%`, `99.9%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent {
    /// From 0 to 1.
    pub share: f64,
}

impl Percent {
    /// Reads a percentage such as `2.5%`.
    ///
    /// # Errors
    /// Says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let Some(number) = trimmed.strip_suffix('%') else {
            return Err(match trimmed.parse::<f64>() {
                Ok(number) if (0.0..=100.0).contains(&number) => {
                    format!("`{trimmed}` has no unit\nwrite `{trimmed}%` for a percentage")
                }
                _ => format!("`{trimmed}` is no percentage\n{PERCENT_ADVICE}"),
            });
        };
        match number.trim().parse::<f64>() {
            Ok(number) if (0.0..=100.0).contains(&number) => Ok(Self { share: number / 100.0 }),
            _ => Err(format!("`{trimmed}` is not between 0% and 100%\n{PERCENT_ADVICE}")),
        }
    }
}

const PERCENT_ADVICE: &str = "write a percentage between `0%` and `100%`";

/// An IPv4 address of one host, by which others reach it: `10.0.0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostAddress(pub Ipv4Addr);

impl HostAddress {
    /// Reads an address such as `10.0.0.5`.
    ///
    /// # Errors
    /// Says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        match trimmed.parse::<Ipv4Addr>() {
            Err(_) => Err(format!("`{trimmed}` is no IPv4 address\n{ADDRESS_ADVICE}")),
            // Nodes are told where to connect, and there is nowhere.
            Ok(address) if address.is_unspecified() => {
                Err(format!("`{trimmed}` is every address of a host and none\n{ADDRESS_ADVICE}"))
            }
            Ok(address) if address.is_multicast() || address.is_broadcast() => {
                Err(format!("`{trimmed}` is the address of many hosts\n{ADDRESS_ADVICE}"))
            }
            Ok(address) => Ok(Self(address)),
        }
    }
}

const ADDRESS_ADVICE: &str =
    "write the address by which other hosts reach this one, such as `10.0.0.5`";

/// A whole number, 0 or above, written out: `50000`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u64);

impl Count {
    fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        if let Ok(number) = trimmed.parse() {
            return Ok(Self(number));
        }
        if trimmed.parse::<f64>().is_ok_and(|number| number < 0.0) {
            return Err(format!("`{trimmed}` is negative\nwrite a whole number of 0 or more"));
        }
        Err(format!("`{trimmed}` is no whole number\nwrite it out in digits, such as `50000`"))
    }

    /// The number, or the largest 32-bit one.
    #[must_use]
    pub fn saturating_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

/// Reads any scalar as its text and hands it to `parse`.
struct Scalar<T> {
    expecting: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }
}

/// Reads a number that is written as one: in quotes it is text.
struct Digits;

impl Visitor<'_> for Digits {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Count, E> {
        Ok(Count(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Count, E> {
        Count::parse(&number.to_string()).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Count, E> {
        // With its point or exponent, so that it is seen why it is none.
        Count::parse(&format!("{number:?}")).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Count, E> {
        let Count(number) = Count::parse(text).map_err(E::custom)?;
        Err(E::custom(format!("`{text}` in quotes is text\nwrite `{number}` without quotes")))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Digits)
    }
}

/// What an editor accepts as a unit type.
macro_rules! shown {
    ($type:ident, $schema:tt) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// One unit type: how it is read (as the text of any scalar) and what an editor accepts.
macro_rules! unit {
    ($type:ident, $parse:expr, $expecting:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Scalar { expecting: $expecting, parse: $parse })
            }
        }

        shown!($type, $schema);
    };
}

unit!(Span, Span::parse, "a duration with a unit such as `30s`", {
    "type": "string",
    "description": "A duration with a unit: 500ms, 30s, 1m30s",
    "pattern": r"^\s*([0-9]+\s*[a-zA-Z]+\s*)+$"
});
unit!(Rate, Rate::parse, "a rate such as `5000/s`", {
    "type": "string",
    "description": "A rate: 5000/s, 30/m, 2/h",
    "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*/\s*[smh]\s*$"
});
unit!(Percent, Percent::parse, "a percentage such as `1%`", {
    "type": "string",
    "description": "A percentage between 0% and 100%",
    "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*%$"
});
unit!(HostAddress, HostAddress::parse, "an address such as `10.0.0.5`", {
    "type": "string",
    "description": "An IPv4 address of this host: 10.0.0.5",
    "format": "ipv4"
});
shown!(Count, {
    "type": "integer",
    "description": "A whole number, 0 or above",
    "minimum": 0
});

#[cfg(test)]
mod tests {
    use super::*;

    fn advice<T>(result: Result<T, String>) -> String {
        result.err().expect("must be refused")
    }

    #[test]
    fn durations_carry_units() {
        for (text, micros) in
            [("500ms", 500_000), ("30s", 30_000_000), ("1m30s", 90_000_000), ("0s", 0), ("7us", 7)]
        {
            assert_eq!(Span::parse(text), Ok(Span(Duration::from_micros(micros))), "{text}");
        }
        for (text, says) in [
            ("5", "`5s` for seconds"),
            ("0", "has no unit"),
            ("-5s", "negative"),
            ("5 parsecs", "such as `500ms`"),
            ("", "such as `500ms`"),
            ("1ns", "finer than a microsecond"),
        ] {
            let told = advice(Span::parse(text));
            assert!(told.contains(says), "{text}: {told}");
        }
    }

    #[test]
    fn rates_carry_units_and_are_above_zero() {
        for (text, per_s) in [("5000/s", 5000.0), ("30/m", 0.5), ("1.5/s", 1.5), ("3600/h", 1.0)] {
            assert_eq!(Rate::parse(text), Ok(Rate { per_s }), "{text}");
        }
        for (text, says) in [
            ("5000", "`5000/s`"),
            ("-5000", "negative"),
            ("-5/s", "negative"),
            ("0/s", "above zero"),
            ("5/d", "such as `5000/s`"),
            ("fast", "such as `5000/s`"),
            ("inf/s", "above zero"),
        ] {
            let told = advice(Rate::parse(text));
            assert!(told.contains(says), "{text}: {told}");
        }
    }

    #[test]
    fn percentages_stay_between_0_and_100() {
        for (text, share) in [("0%", 0.0), ("2%", 0.02), ("99.9%", 0.999), ("100%", 1.0)] {
            assert!((Percent::parse(text).expect(text).share - share).abs() < 1e-12, "{text}");
        }
        for (text, says) in [
            ("2", "`2%`"),
            ("-1%", "not between"),
            ("101%", "not between"),
            ("NaN%", "not between"),
            ("some", "between `0%`"),
        ] {
            let told = advice(Percent::parse(text));
            assert!(told.contains(says), "{text}: {told}");
        }
    }

    #[test]
    fn addresses_are_those_of_one_host() {
        for text in ["10.0.0.5", "127.0.0.1"] {
            let address = HostAddress::parse(text).expect(text);
            assert_eq!(address.0.to_string(), text);
        }
        for (text, says) in [
            ("0.0.0.0", "every address"),
            ("224.0.0.1", "many hosts"),
            ("255.255.255.255", "many hosts"),
            ("10.0.0.5:4222", "no IPv4 address"),
            ("fd00::2", "no IPv4 address"),
            ("broker1", "no IPv4 address"),
        ] {
            let told = advice(HostAddress::parse(text));
            assert!(told.contains(says) && told.contains("such as `10.0.0.5`"), "{text}: {told}");
        }
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        assert_eq!(Count::parse("50000"), Ok(Count(50_000)));
        for (text, says) in [("-1", "negative"), ("1.5", "whole number"), ("50k", "in digits")] {
            let told = advice(Count::parse(text));
            assert!(told.contains(says), "{text}: {told}");
        }
    }
}
