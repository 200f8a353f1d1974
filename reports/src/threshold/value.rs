//! Values of thresholds: exact fractions, so that 49,999 of 50,000 is never 100 %.

use std::cmp::Ordering;

use super::{Operator, Unit};
use crate::format;

/// A number that is not negative, as a fraction of whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fraction {
    pub(super) over: u128,
    pub(super) under: u128,
}

/// A value that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Found {
    /// Counted: compared exactly.
    Exact(Fraction),
    /// Measured or averaged.
    Measured(f64),
}

impl Fraction {
    pub(super) fn whole(n: u64) -> Self {
        Self { over: u128::from(n), under: 1 }
    }

    pub(super) fn share(part: u64, whole: u64) -> Option<Self> {
        (whole > 0).then(|| Self { over: u128::from(part), under: u128::from(whole) })
    }

    pub(super) fn as_f64(self) -> f64 {
        self.over as f64 / self.under as f64
    }

    fn compare(self, other: Self) -> Ordering {
        match (self.over.checked_mul(other.under), other.over.checked_mul(self.under)) {
            (Some(mine), Some(theirs)) => mine.cmp(&theirs),
            // Beyond 128 bits one of them is astronomic: floats tell them apart.
            _ => self.as_f64().total_cmp(&other.as_f64()),
        }
    }
}

impl Found {
    pub(super) fn as_f64(self) -> f64 {
        match self {
            Self::Exact(fraction) => fraction.as_f64(),
            Self::Measured(value) => value,
        }
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a.compare(b),
            (a, b) => a.as_f64().total_cmp(&b.as_f64()),
        }
    }

    pub(super) fn meets(self, operator: Operator, bound: Fraction) -> bool {
        let order = self.compare(Self::Exact(bound));
        match operator {
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
        }
    }

    /// The value for a person.
    pub(super) fn show(self, unit: Unit) -> String {
        match (unit, self) {
            (Unit::Ratio, Self::Exact(Fraction { over, under })) => {
                match (u64::try_from(over), u64::try_from(under)) {
                    (Ok(part), Ok(whole)) => format::share(part, whole),
                    _ => format::fraction(self.as_f64()),
                }
            }
            (Unit::Ratio, Self::Measured(value)) => format::fraction(value),
            (Unit::Us, value) => format::micros(value.as_f64()),
            (Unit::S, value) => format::micros(value.as_f64() * 1e6),
            (Unit::Bytes, value) => format::bytes(value.as_f64()),
            (Unit::PerSecond, value) => format::per_second(value.as_f64()),
            (Unit::Count, Self::Exact(Fraction { over, under: 1 })) => {
                u64::try_from(over).map_or_else(|_| over.to_string(), format::count)
            }
            (Unit::Count, value) => format::three_digits(value.as_f64()),
        }
    }
}
