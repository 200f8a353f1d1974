//! A straight line through measured points by plain least squares, and how sure it is.
//!
//! Intervals are those of ordinary regression: errors are taken as independent, of one size and bell
//! shaped. Costs of networks are not quite so; what the intervals are for is to tell a law that is known
//! well from one that is guessed, not to decide at the third digit.

/// Confidence of all intervals.
pub const CONFIDENCE: f64 = 0.95;

/// With fewer points there is no line; what is above them are degrees of freedom.
const LEAST_POINTS: usize = 2;

/// Student's t, two-sided, 95 %, for 1 to 30 degrees of freedom.
const STUDENT_T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];
/// The limit of the table: that of the normal distribution.
const NORMAL: f64 = 1.960;

/// `y = intercept + slope * x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// The value at 0.
    pub intercept: f64,
    /// The change from one x to the next.
    pub slope: f64,
    spread: Option<Spread>,
}

/// What intervals are made of; two points leave nothing to learn it from.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    points: f64,
    mean_x: f64,
    /// Sum of the squared distances of x from its mean.
    sum_xx: f64,
    /// Standard deviation of a point around the line.
    deviation: f64,
    student_t: f64,
}

impl Line {
    /// The line through `points` (x, y) with the least squares of vertical distances; `None` with fewer
    /// than two different x.
    #[must_use]
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < LEAST_POINTS {
            return None;
        }
        let count = points.len() as f64;
        let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
        let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
        let sum_xx: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        let sum_xy: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
        if sum_xx <= 0.0 {
            return None;
        }
        let slope = sum_xy / sum_xx;
        let intercept = mean_y - slope * mean_x;
        let freedom = points.len() - LEAST_POINTS;
        let spread = (freedom > 0).then(|| {
            let rest = |(x, y): &(f64, f64)| (y - intercept - slope * x).powi(2);
            let squares: f64 = points.iter().map(rest).sum();
            let deviation = (squares / freedom as f64).sqrt();
            Spread { points: count, mean_x, sum_xx, deviation, student_t: student_t(freedom) }
        });
        Some(Self { intercept, slope, spread })
    }

    /// The value of the line at `x`.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }

    /// How far from the slope the true one may be; `None` where two points leave it open.
    #[must_use]
    pub fn slope_within(&self) -> Option<f64> {
        let spread = self.spread?;
        Some(spread.student_t * spread.deviation / spread.sum_xx.sqrt())
    }

    /// How far from the line a further point at `x` may be; `None` where two points leave it open.
    #[must_use]
    pub fn point_within(&self, x: f64) -> Option<f64> {
        let Spread { points, mean_x, sum_xx, deviation, student_t } = self.spread?;
        let distance = (x - mean_x).powi(2) / sum_xx;
        Some(student_t * deviation * (1.0 + 1.0 / points + distance).sqrt())
    }
}

fn student_t(freedom: usize) -> f64 {
    match STUDENT_T.get(freedom.saturating_sub(1)) {
        Some(t) => *t,
        None => {
            // The first terms of its expansion in 1 / freedom: wrong by less than 0.001 from 31 on.
            let (z, freedom) = (NORMAL, freedom as f64);
            let first = (z.powi(3) + z) / (4.0 * freedom);
            let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom.powi(2));
            z + first + second
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::{RngAlgorithm, TestRng};

    use super::*;

    #[test]
    fn a_textbook_line_has_its_figures() {
        // x 1..5: y = 2.2 + 0.6 x, residual sum of squares 2.4, so s = sqrt(0.8), t(3) = 3.182.
        let points = [(1.0, 2.0), (2.0, 4.0), (3.0, 5.0), (4.0, 4.0), (5.0, 5.0)];
        let line = Line::through(&points).expect("a line");
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-3, "{a} {b}");
        close(line.intercept, 2.2);
        close(line.slope, 0.6);
        close(line.slope_within().expect("an interval"), 3.182 * 0.8_f64.sqrt() / 10_f64.sqrt());
        let width = 3.182 * (0.8 * (1.0 + 0.2 + 9.0 / 10.0_f64)).sqrt();
        close(line.point_within(6.0).expect("an interval"), width);
    }

    #[test]
    fn two_points_make_a_line_without_intervals_and_one_makes_none() {
        let line = Line::through(&[(1.0, 1.0), (2.0, 3.0)]).expect("a line");
        assert_eq!((line.intercept, line.slope), (-1.0, 2.0));
        assert_eq!((line.slope_within(), line.point_within(9.0)), (None, None));
        assert_eq!(Line::through(&[(1.0, 1.0)]), None);
        assert_eq!(Line::through(&[(1.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Line::through(&[]), None);
    }

    #[test]
    fn the_table_goes_over_into_its_limit_without_a_step() {
        let mut before = f64::INFINITY;
        for freedom in 1..200 {
            let t = student_t(freedom);
            assert!(t < before && t > NORMAL, "{freedom}: {t}");
            before = t;
        }
        // Published values: t(40) = 2.021, t(60) = 2.000, t(120) = 1.980.
        for (freedom, published) in [(40, 2.021), (60, 2.000), (120, 1.980)] {
            assert!((student_t(freedom) - published).abs() < 0.001, "{freedom}");
        }
    }

    /// A bell-shaped number of variance 1 from twelve even ones: the central limit is near enough.
    fn bell(dice: &mut TestRng) -> f64 {
        (0..12).map(|_| f64::from(dice.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0
    }

    #[test]
    fn the_interval_holds_a_further_point_nineteen_times_in_twenty() {
        let mut dice = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let sizes = [1.0, 2.0, 5.0, 10.0, 20.0];
        let trials = 4000_u32;
        let (mut slopes, mut points) = (0_u32, 0_u32);
        for _ in 0..trials {
            let at = |x: f64, dice: &mut TestRng| 3.0 + 18.0 * x + 2.0 * bell(dice);
            let measured: Vec<_> = sizes.iter().map(|x| (*x, at(*x, &mut dice))).collect();
            let line = Line::through(&measured).expect("a line");
            let further = at(50.0, &mut dice);
            let slope_error = (line.slope - 18.0).abs();
            let point_error = (line.at(50.0) - further).abs();
            slopes += u32::from(slope_error <= line.slope_within().expect("an interval"));
            points += u32::from(point_error <= line.point_within(50.0).expect("an interval"));
        }
        for covered in [slopes, points] {
            let share = f64::from(covered) / f64::from(trials);
            assert!((share - CONFIDENCE).abs() < 0.015, "{share}");
        }
    }

    proptest! {
        #[test]
        fn coefficients_of_an_exact_law_are_found_again(
            intercept in -1e3..1e3_f64, slope in -1e3..1e3_f64,
            sizes in prop::collection::btree_set(1_u32..100_000, 3..12),
        ) {
            let points: Vec<_> =
                sizes.iter().map(|x| (f64::from(*x), intercept + slope * f64::from(*x))).collect();
            let line = Line::through(&points).expect("a line");
            let scale = intercept.abs() + slope.abs() * 1e5 + 1.0;
            prop_assert!((line.slope - slope).abs() < 1e-9 * scale, "{line:?}");
            prop_assert!((line.at(0.0) - intercept).abs() < 1e-6 * scale, "{line:?}");
            let within = line.point_within(50_000.0).expect("an interval");
            prop_assert!(within < 1e-6 * scale, "{within}");
        }

        #[test]
        fn the_order_of_the_points_does_not_matter(
            mut points in prop::collection::vec((0.0..1e5_f64, 0.0..1e5_f64), 3..10),
        ) {
            let forth = Line::through(&points);
            points.reverse();
            match (forth, Line::through(&points)) {
                (Some(a), Some(b)) => {
                    let scale = 1.0 + a.slope.abs();
                    prop_assert!((a.slope - b.slope).abs() < 1e-6 * scale);
                }
                (a, b) => prop_assert_eq!(a.is_none(), b.is_none()),
            }
        }
    }
}
