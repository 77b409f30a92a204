//! What two rows of figures say about each other: pure.

use serde::Serialize;

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Better {
    Higher,
    Lower,
}

/// What may be said.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// In every round.
    ABetter,
    /// In every round.
    BBetter,
    /// The rounds do not agree, or there is only one.
    NoDifferenceShown,
}

/// One figure of both servers over all rounds.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Comparison {
    pub(super) metric: String,
    better: Better,
    a_median: f64,
    b_median: f64,
    /// A over B, round by round: median, least, greatest.
    ratio_median: f64,
    ratio_min: f64,
    ratio_max: f64,
    verdict: Verdict,
}

impl Comparison {
    /// `None` if there is nothing to divide.
    pub(super) fn new(metric: String, better: Better, a: &[f64], b: &[f64]) -> Option<Self> {
        let ratios: Vec<f64> = a.iter().zip(b).map(|(a, b)| a / b).collect();
        if ratios.is_empty() || !ratios.iter().all(|ratio| ratio.is_finite()) {
            return None;
        }
        let ratio_min = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let ratio_max = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let a_is_more = ratio_min > 1.0;
        let verdict = if ratios.len() < 2 || (ratio_min <= 1.0 && ratio_max >= 1.0) {
            Verdict::NoDifferenceShown
        } else if a_is_more == (better == Better::Higher) {
            Verdict::ABetter
        } else {
            Verdict::BBetter
        };
        Some(Self {
            metric,
            better,
            a_median: median(a),
            b_median: median(b),
            ratio_median: median(&ratios),
            ratio_min,
            ratio_max,
            verdict,
        })
    }
}

/// Of an even number, the mean of the middle two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

/// For people.
pub(super) fn table(comparisons: &[Comparison]) -> String {
    let head = format!("{:<20}{:>12}{:>12}{:>9}{:>18}", "median", "A", "B", "A/B", "spread of A/B");
    let rows = comparisons.iter().map(|row| {
        let verdict = match row.verdict {
            Verdict::ABetter => "A is better",
            Verdict::BBetter => "B is better",
            Verdict::NoDifferenceShown => "no difference shown",
        };
        let spread = format!("{:.3}..{:.3}", row.ratio_min, row.ratio_max);
        format!(
            "{:<20}{:>12.2}{:>12.2}{:>9.3}{spread:>18}  {verdict}",
            row.metric, row.a_median, row.b_median, row.ratio_median
        )
    });
    std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(better: Better, a: &[f64], b: &[f64]) -> Option<Verdict> {
        Comparison::new("x".into(), better, a, b).map(|comparison| comparison.verdict)
    }

    #[test]
    fn a_win_needs_every_round() {
        use Better::{Higher, Lower};
        let cases = [
            (Higher, [20.0, 22.0], [10.0, 11.0], Some(Verdict::ABetter)),
            (Higher, [10.0, 11.0], [20.0, 22.0], Some(Verdict::BBetter)),
            (Lower, [20.0, 22.0], [10.0, 11.0], Some(Verdict::BBetter)),
            (Lower, [10.0, 11.0], [20.0, 22.0], Some(Verdict::ABetter)),
            (Higher, [20.0, 10.0], [10.0, 11.0], Some(Verdict::NoDifferenceShown)),
            (Higher, [20.0, 11.0], [10.0, 11.0], Some(Verdict::NoDifferenceShown)),
            (Higher, [20.0, 11.0], [10.0, 0.0], None),
        ];
        for (better, a, b, expected) in cases {
            assert_eq!(verdict(better, &a, &b), expected, "{better:?} {a:?} {b:?}");
        }
    }

    #[test]
    fn one_round_shows_nothing() {
        assert_eq!(verdict(Better::Higher, &[20.0], &[10.0]), Some(Verdict::NoDifferenceShown));
        assert_eq!(verdict(Better::Higher, &[], &[]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let comparison =
            Comparison::new("x".into(), Better::Higher, &[2.0, 40.0, 6.0], &[1.0, 10.0, 2.0])
                .unwrap();
        let found = (comparison.ratio_min, comparison.ratio_median, comparison.ratio_max);
        assert_eq!(found, (2.0, 3.0, 4.0));
        assert_eq!((comparison.a_median, comparison.b_median), (6.0, 2.0));
    }

    #[test]
    fn the_median_of_an_even_number_is_between() {
        for (values, expected) in
            [(vec![1.0], 1.0), (vec![3.0, 1.0], 2.0), (vec![9.0, 1.0, 2.0], 2.0)]
        {
            assert!((median(&values) - expected).abs() < 1e-12);
        }
    }
}
