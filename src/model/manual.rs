//! What people decide about members by hand: an [`Override`] puts a subject into a segment, or keeps it out, whatever the rule says.

use serde::{Deserialize, Serialize};

/// What is decided about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is a member while it is in the universe.
    Add,
    /// It is no member.
    Remove,
}

impl Verdict {
    /// The word in the tables.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
        }
    }
}

/// How a decision was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// For subjects one by one.
    Manual,
    /// For all subjects of a file.
    Import,
}

impl Origin {
    /// The word in the tables.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Import => "import",
        }
    }
}

/// A decision about a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Override {
    /// What was decided.
    pub verdict: Verdict,
    /// How.
    pub origin: Origin,
}

impl Override {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self { verdict: Verdict::Add, origin: Origin::Manual },
        Self { verdict: Verdict::Add, origin: Origin::Import },
        Self { verdict: Verdict::Remove, origin: Origin::Manual },
        Self { verdict: Verdict::Remove, origin: Origin::Import },
    ];
}
