//! Scored segments: rules with weights, and the score from which on a subject is a member.

use bigdecimal::BigDecimal;

use super::scope::Scope;
use super::{CheckedScoring, CheckedScoringRule};
use crate::diagnostic::{Code, Finding};
use crate::model::decimal::Decimal;
use crate::model::path::DocPath;
use crate::model::scoring::{Scoring, ScoringRule};

/// The power of ten of the greatest weight, and less than 0 of the least one besides 0: what lies between neither vanishes nor
/// overflows in a sum of doubles.
const GREATEST_EXPONENT: i64 = 100;

impl Scope<'_> {
    /// The scoring whose object stands at `path`.
    pub(super) fn scoring(&mut self, scoring: &Scoring, path: &DocPath) -> Option<CheckedScoring> {
        let place = path.key("rules");
        let threshold = self.threshold(scoring.threshold.as_ref(), &path.key("threshold"));
        self.some_rules(scoring.rules.len(), &place)?;
        let checked: Vec<_> =
            scoring.rules.iter().enumerate().map(|(index, rule)| self.scoring_rule(rule, place.index(index))).collect();
        let rules = checked.into_iter().collect::<Option<Vec<_>>>()?;
        if rules.iter().all(|rule| rule.weight.is_zero()) {
            let finding = Finding::new(Code::InvalidNumber, "every rule of the scoring has the weight 0")
                .with_help("At least one rule must count; a rule without `weight` has the weight 1.");
            self.report(&place, finding);
            return None;
        }
        Some(CheckedScoring { path: path.clone(), combination: scoring.combination, threshold: threshold?, rules })
    }

    fn some_rules(&mut self, rules: usize, place: &DocPath) -> Option<()> {
        if rules > 0 {
            return Some(());
        }
        let finding = Finding::new(Code::EmptyGroup, "a scoring has no rules").with_help("Add a rule with a `condition`.");
        self.report(place, finding);
        None
    }

    fn threshold(&mut self, threshold: Option<&Decimal>, place: &DocPath) -> Option<Decimal> {
        let threshold = threshold.cloned().unwrap_or_else(default_threshold);
        if !threshold.is_negative() && threshold <= Decimal::from(1u64) {
            return Some(threshold);
        }
        self.report(place, Finding::new(Code::InvalidNumber, format!("a threshold is from 0 to 1, not {threshold}")));
        None
    }

    fn scoring_rule(&mut self, rule: &ScoringRule, path: DocPath) -> Option<CheckedScoringRule> {
        let weight = self.weight(rule.weight.as_ref(), &path.key("weight"));
        let condition = self.condition(&rule.condition, &path.key("condition"), 2);
        Some(CheckedScoringRule { path, condition: condition?, weight: weight?, description: rule.description.clone() })
    }

    fn weight(&mut self, weight: Option<&Decimal>, place: &DocPath) -> Option<Decimal> {
        let Some(weight) = weight else { return Some(Decimal::from(1u64)) };
        let bounds = power_of_ten(-GREATEST_EXPONENT)..=power_of_ten(GREATEST_EXPONENT);
        if weight.is_zero() || bounds.contains(weight) {
            return Some(weight.clone());
        }
        let message = if weight.is_negative() { "a weight is not negative" } else { "a weight above 0 is from 1e-100 to 1e100" };
        self.report(place, Finding::new(Code::InvalidNumber, message));
        None
    }
}

fn power_of_ten(exponent: i64) -> Decimal {
    Decimal::from(BigDecimal::new(1.into(), -exponent))
}

/// The threshold of a scoring that does not say it: 0.3.
fn default_threshold() -> Decimal {
    Decimal::from(BigDecimal::new(3.into(), 1))
}
