//! The parts that tables play for a tenant.

use std::fmt;

use crate::model::condition::Subject;

/// A table's role for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableRole {
    /// The users.
    Users,
    /// The events.
    Events,
    /// The products.
    Products,
}

impl TableRole {
    /// The table of subjects.
    #[must_use]
    pub fn of(subject: Subject) -> Self {
        match subject {
            Subject::User => Self::Users,
            Subject::Product => Self::Products,
        }
    }

    /// The word in configuration and messages.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Events => "events",
            Self::Products => "products",
        }
    }
}

impl fmt::Display for TableRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}
