//! Fuzzy membership: weighted rules whose degrees combine to a score.

use serde::Serialize;

use super::condition::Condition;
use super::decimal::{Decimal, nano_units};

/// The `scoring` of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scoring {
    /// How the degrees of the rules become one score.
    pub combination: Combination,
    /// Members are the subjects whose score is at least this, in [0, 1]; absent = 0.3.
    pub threshold: Option<Decimal>,
    /// At least one.
    pub rules: Vec<ScoringRule>,
}

/// How the degrees of the rules become one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Combination {
    /// The least degree.
    All,
    /// The greatest degree.
    Any,
    /// The mean of the degrees by weight.
    #[default]
    Weighted,
}

impl Combination {
    /// The word in a definition.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
            Self::Weighted => "weighted",
        }
    }
}

/// One rule of a scoring.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScoringRule {
    /// What is graded.
    pub condition: Condition,
    /// How much it counts, at least 0; absent = 1.
    pub weight: Option<Decimal>,
    /// The author's remark.
    pub description: Option<String>,
}

/// How well a subject fits: from 0 to 1, in billionths. Members are told by it, people are shown it in thousandths.
///
/// ```
/// use segmenta::model::scoring::{Confidence, Score};
/// let score = Score::nearest(0.4135);
/// assert_eq!(score.shown(), 0.414); // half to even, of the decimal value
/// assert_eq!(score.confidence(), Confidence::Medium);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(u32);

/// Billionths of the greatest score.
const BILLIONTHS: u32 = 1_000_000_000;

/// Billionths of a thousandth.
const PER_THOUSANDTH: u32 = 1_000_000;

impl Score {
    /// The score nearest to a value, ties to even; 0 below 0 and for NaN, 1 above 1.
    #[must_use]
    pub fn nearest(value: f64) -> Self {
        let billionths = nano_units(value.clamp(0.0, 1.0)).unwrap_or_default();
        Self(u32::try_from(billionths).unwrap_or_default().min(BILLIONTHS))
    }

    /// The score of so many billionths; `None` outside [0, 1].
    #[must_use]
    pub fn of_billionths(billionths: i64) -> Option<Self> {
        u32::try_from(billionths).ok().filter(|billionths| *billionths <= BILLIONTHS).map(Self)
    }

    /// The least score that reaches a threshold: any at all when that is not above 0, `None` when it is above 1.
    #[must_use]
    pub fn least_reaching(threshold: &Decimal) -> Option<Self> {
        if threshold.is_negative() {
            return Some(Self(0));
        }
        let (floor, exact) = threshold.scaled_floor(9);
        u32::try_from(floor).ok()?.checked_add(u32::from(!exact)).filter(|billionths| *billionths <= BILLIONTHS).map(Self)
    }

    /// In billionths.
    #[must_use]
    pub fn billionths(self) -> u32 {
        self.0
    }

    /// As it is shown, in thousandths: half to even.
    #[must_use]
    pub fn thousandths(self) -> u32 {
        let (floor, rest) = (self.0 / PER_THOUSANDTH, self.0 % PER_THOUSANDTH);
        let up = rest > PER_THOUSANDTH / 2 || (rest == PER_THOUSANDTH / 2 && floor % 2 == 1);
        floor + u32::from(up)
    }

    /// As it is shown, the double nearest to it.
    #[must_use]
    pub fn shown(self) -> f64 {
        f64::from(self.thousandths()) / 1_000.0
    }

    /// What the shown score says in words.
    #[must_use]
    pub fn confidence(self) -> Confidence {
        match self.thousandths() {
            800.. => Confidence::VeryHigh,
            600.. => Confidence::High,
            400.. => Confidence::Medium,
            200.. => Confidence::Low,
            _ => Confidence::VeryLow,
        }
    }
}

/// How sure a score makes: by steps of a fifth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    /// Below 0.2.
    VeryLow,
    /// From 0.2 on.
    Low,
    /// From 0.4 on.
    Medium,
    /// From 0.6 on.
    High,
    /// From 0.8 on.
    VeryHigh,
}

impl Confidence {
    /// As it stands in tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::VeryLow => "Very Low",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
            Self::VeryHigh => "Very High",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_shown_half_to_even_of_their_decimal_value() {
        for (value, shown) in [
            (0.4135, 0.414),
            (0.4125, 0.412),
            (0.4145, 0.414),
            (0.0005, 0.0),
            (0.0015, 0.002),
            (0.9995, 1.0),
            (0.79949, 0.799),
            (0.7995, 0.8),
            (1.0, 1.0),
            (0.0, 0.0),
        ] {
            assert_eq!(Score::nearest(value).shown().to_string(), shown.to_string(), "{value}");
        }
    }

    #[test]
    fn confidence_is_that_of_the_shown_score() {
        for (value, label) in [
            (0.8, "Very High"),
            (0.7995, "Very High"),
            (0.799499, "High"),
            (0.6, "High"),
            (0.5, "Medium"),
            (0.4, "Medium"),
            (0.3994, "Low"),
            (0.2, "Low"),
            (0.1, "Very Low"),
            (0.0, "Very Low"),
        ] {
            assert_eq!(Score::nearest(value).confidence().label(), label, "{value}");
        }
    }

    #[test]
    fn noise_of_doubles_is_rounded_away() {
        assert_eq!(Score::nearest(0.1 + 0.2), Score::nearest(0.3));
        assert_eq!(Score::nearest(0.7 * 0.75 + 0.3), Score(825_000_000));
        assert_eq!(Score::nearest(1.0 / 3.0), Score(333_333_333));
        assert_eq!((Score::nearest(f64::NAN), Score::nearest(-1.0), Score::nearest(7.0)), (Score(0), Score(0), Score(BILLIONTHS)));
    }

    #[test]
    fn thresholds_compare_as_decimals() {
        let least = |text: &str| Score::least_reaching(&text.parse().unwrap());
        assert_eq!(least("0.35"), Some(Score(350_000_000)));
        assert_eq!(least("0.3333333333"), Some(Score(333_333_334)));
        assert_eq!(least("0.3333333330"), Some(Score(333_333_333)));
        assert_eq!((least("0"), least("1"), least("1.0000000001")), (Some(Score(0)), Some(Score(BILLIONTHS)), None));
    }
}
