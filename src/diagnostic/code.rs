//! [`Code`]: every kind of finding, with a name that stays the same.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Severity;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $severity:ident;)+) => {
        /// Every kind of finding, with a stable name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, in the order in which the stages find them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name that is shown, and that stays the same from version to version.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// How bad such a finding is.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)+
                }
            }
        }
    };
}

codes! {
    /// The text is not well-formed JSON, TOML or YAML.
    Syntax = "syntax", Error;
    /// A construct of YAML that definitions do not use: merge keys, tags, several documents, keys that are no text.
    UnsupportedYaml = "unsupported-yaml", Error;
    /// An object names a key twice.
    DuplicateKey = "duplicate-key", Error;
    /// Nested deeper than a reader goes, or than the limit allows.
    TooDeep = "too-deep", Error;

    /// An object has a key that means nothing there.
    UnknownKey = "unknown-key", Error;
    /// An object lacks a key.
    MissingKey = "missing-key", Error;
    /// Two keys that exclude each other.
    ConflictingKeys = "conflicting-keys", Error;
    /// A list where a text is asked, and the like.
    WrongKind = "wrong-kind", Error;
    /// A word that is none of the words that may stand there.
    UnknownWord = "unknown-word", Error;
    /// A number out of its range, or one that no number of data can equal.
    InvalidNumber = "invalid-number", Error;
    /// An id with characters that no id has, or too long.
    InvalidId = "invalid-id", Error;
    /// A name that is empty or too long.
    InvalidName = "invalid-name", Error;
    /// A text that is no length of time.
    InvalidDuration = "invalid-duration", Error;
    /// A text that is no date.
    InvalidDate = "invalid-date", Error;
    /// A text that is no path to a property.
    InvalidPath = "invalid-path", Error;
    /// A text that is no cron expression.
    InvalidSchedule = "invalid-schedule", Error;
    /// A text that names no type of events.
    InvalidEventType = "invalid-event-type", Error;

    /// A dynamic segment without a rule, or a static one with a rule.
    RuleMismatch = "rule-mismatch", Error;
    /// A group, or a list of choices, with nothing in it.
    EmptyGroup = "empty-group", Error;
    /// An operand that can match nothing or everything: `in []`, `contains ""`.
    EmptyOperand = "empty-operand", Error;
    /// A step of a sequence that may stand only at its end.
    MisplacedStep = "misplaced-step", Error;
    /// More asked of a list of conditions than it has.
    CountOutOfRange = "count-out-of-range", Error;
    /// More leaves, longer lists or longer texts than the limits allow.
    TooLarge = "too-large", Error;
    /// A property that no column has.
    UnknownProperty = "unknown-property", Error;
    /// A property that cannot be used so: a struct as a whole, a path into a number, the sum of texts.
    UnsuitableProperty = "unsuitable-property", Error;
    /// A table that the definition needs and the tenant has not.
    MissingTable = "missing-table", Error;
    /// A role of a column that the definition needs and the table has not mapped.
    MissingRole = "missing-role", Error;
    /// A leaf on users in a segment of products, or the reverse, or a reference across them.
    WrongSubject = "wrong-subject", Error;
    /// An operator that does not suit the type of the value.
    WrongOperator = "wrong-operator", Error;
    /// A value type that does not suit what is compared.
    WrongValueType = "wrong-value-type", Error;
    /// A value that cannot be read as the type it is compared as.
    WrongLiteral = "wrong-literal", Error;
    /// An operator lacks its value.
    MissingOperand = "missing-operand", Error;
    /// An operator has a value that it does not take.
    UnexpectedOperand = "unexpected-operand", Error;
    /// A measure that needs a comparison and has none.
    MissingComparison = "missing-comparison", Error;
    /// A regular expression that does not parse, or that engines would read differently.
    InvalidPattern = "invalid-pattern", Error;
    /// A window or a range that holds nothing.
    EmptyRange = "empty-range", Error;
    /// Two definitions with one id.
    DuplicateId = "duplicate-id", Error;
    /// Two definitions with one name.
    DuplicateName = "duplicate-name", Error;
    /// A reference to a segment that does not exist.
    UnknownSegment = "unknown-segment", Error;
    /// A reference to an archived segment.
    ArchivedReference = "archived-reference", Error;
    /// Segments that refer to each other in a circle.
    ReferenceCycle = "reference-cycle", Error;
    /// A reference to a segment that has errors of its own.
    BrokenReference = "broken-reference", Error;

    /// A metric that holds for nobody, under a negation, where it would hold for everybody.
    NegatedMetric = "negated-metric", Error;
    /// What one form of definitions says and the other cannot say as exactly.
    Untranslatable = "untranslatable", Error;

    /// A metric that no source provides: it holds for nobody.
    MetricWithoutSource = "metric-without-source", Warning;
    /// More rules than a person keeps in mind.
    ManyRules = "many-rules", Warning;
    /// Alternatives of which there is one.
    SingleAlternative = "single-alternative", Warning;
    /// A condition that holds for nobody, or conditions that exclude each other.
    NeverHolds = "never-holds", Warning;
    /// A condition that holds for everybody.
    AlwaysHolds = "always-holds", Warning;
    /// A condition that stands twice in one group.
    RepeatedCondition = "repeated-condition", Warning;
    /// A group of one condition, which says no more than the condition.
    IdleGroup = "idle-group", Warning;
    /// Two segments that mean the same.
    DuplicateSegment = "duplicate-segment", Warning;
    /// Two segments that differ in one of several conditions.
    SimilarSegment = "similar-segment", Warning;
    /// A type of events that no event of the data has.
    UnseenEventType = "unseen-event-type", Warning;
    /// A property that no row of the data has a value at.
    UnseenProperty = "unseen-property", Warning;
    /// A window that begins before the events do.
    LongWindow = "long-window", Warning;
    /// `ignore_case` where no text is compared.
    IdleIgnoreCase = "idle-ignore-case", Warning;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_in_kebab_case() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
    }
}
