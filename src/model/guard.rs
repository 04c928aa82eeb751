//! [`MaxChange`]: how much of a segment one run may change.

use std::fmt;
use std::str::FromStr;

use bigdecimal::BigDecimal;

use super::decimal::Decimal;

/// How many members may enter and leave in one run, seen from those before it.
///
/// ```
/// use segmenta::model::guard::MaxChange;
/// let half: MaxChange = "50%".parse().unwrap();
/// assert!(half.allows(10, 5) && !half.allows(10, 6));
/// assert_eq!(half.to_string(), "50%");
/// assert!("none".parse::<MaxChange>().unwrap().allows(1, 1_000));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaxChange {
    /// Any number.
    Unlimited,
    /// At most so many of a hundred members.
    Percent(Decimal),
}

/// Why a text is no greatest change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no part of the members: write it like `50%`, or `none` for no limit")]
pub struct InvalidMaxChange {
    /// What was written.
    pub text: String,
}

impl MaxChange {
    /// Whether so many entries and exits are few enough for so many members before them. A segment without members may change freely.
    #[must_use]
    pub fn allows(&self, members: u64, changes: u64) -> bool {
        match self {
            Self::Unlimited => true,
            Self::Percent(percent) => {
                members == 0 || BigDecimal::from(changes) * 100 <= percent.as_big() * BigDecimal::from(members)
            }
        }
    }

    /// Why so many changes are held: one line.
    #[must_use]
    pub fn objection(&self, members: u64, entered: u64, left: u64) -> String {
        format!("{entered} would enter and {left} leave, of {members} members before, more than `max_change` = {self}")
    }
}

impl FromStr for MaxChange {
    type Err = InvalidMaxChange;

    fn from_str(text: &str) -> Result<Self, InvalidMaxChange> {
        if text.trim() == "none" {
            return Ok(Self::Unlimited);
        }
        let percent = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse::<Decimal>().ok());
        let percent = percent.filter(|percent| !percent.is_negative());
        percent.map(Self::Percent).ok_or_else(|| InvalidMaxChange { text: text.to_owned() })
    }
}

impl fmt::Display for MaxChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("none"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_a_percentage_or_none() {
        for (text, shown) in [("50%", "50%"), (" 12.5 % ", "12.5%"), ("0%", "0%"), ("250%", "250%"), ("none", "none")] {
            assert_eq!(text.parse::<MaxChange>().unwrap().to_string(), shown);
        }
        for wrong in ["", "50", "0.5", "-1%", "%", "half", "50 percent"] {
            assert!(wrong.parse::<MaxChange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_edge_is_allowed_exactly() {
        let third: MaxChange = "33.3%".parse().unwrap();
        assert!(third.allows(1_000, 333) && !third.allows(1_000, 334));
        let nobody: MaxChange = "0%".parse().unwrap();
        assert!(nobody.allows(7, 0) && !nobody.allows(7, 1) && nobody.allows(0, 9));
        assert!(!nobody.allows(u64::MAX, u64::MAX));
    }
}
