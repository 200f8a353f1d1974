//! Numbers as a person reads them: the one home of rounding and units.
//!
//! A share is never rounded up: 49,999 of 50,000 is not "100%".

use std::time::Duration;

/// A count with thousands separators: `50,000`.
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun in the right number: `1 wave`, `2,000 nodes`.
#[must_use]
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A duration with three significant digits: `850 us`, `41.2 ms`, `1.02 s`, `2m03s`.
#[must_use]
pub fn duration(d: Duration) -> String {
    micros(d.as_secs_f64() * 1e6)
}

/// Microseconds as a duration, see [`duration`].
#[must_use]
pub fn micros(us: f64) -> String {
    if us < 999.5 {
        format!("{} us", three_digits(us))
    } else if us < 999_500.0 {
        format!("{} ms", three_digits(us / 1e3))
    } else if us < 119.5e6 {
        format!("{} s", three_digits(us / 1e6))
    } else {
        let seconds = (us / 1e6).round() as u64;
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        if minutes < 120 {
            format!("{minutes}m{seconds:02}s")
        } else {
            format!("{}h{:02}m", minutes / 60, minutes % 60)
        }
    }
}

/// Bytes in binary units: `512 B`, `1.3 KiB`, `135 MiB`.
#[must_use]
pub fn bytes(n: f64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1023.5 {
        return format!("{} B", three_digits(n));
    }
    let mut value = n / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{} {unit}", three_digits(value))
}

/// A rate per second: `500/s`.
#[must_use]
pub fn per_second(rate: f64) -> String {
    format!("{}/s", three_digits(rate))
}

/// `part` of `whole` as a percentage, cut off after four decimals: `100%` means all of them.
#[must_use]
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let millionths = u128::from(part) * 1_000_000 / u128::from(whole);
    let (percent, rest) = (millionths / 10_000, millionths % 10_000);
    let text = format!("{percent}.{rest:04}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A fraction as a percentage, see [`share`].
#[must_use]
pub fn fraction(value: f64) -> String {
    // Twelve digits keep every share of fewer than 10^12 nodes apart from the whole.
    share((value * 1e12).round() as u64, 1_000_000_000_000)
}

/// Three significant digits, no exponent, no trailing zeros: `41.2`, `8.01`, `1250`.
#[must_use]
pub fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
