//! [`LedgerError`]: why a ledger could not do it.

use crate::model::id::{SegmentId, TenantId};

/// Why the ledger could not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// Someone else holds the lease.
    #[error("{what} is held by {holder} since {since}")]
    Held {
        /// What is held: `the scheduler of this store`, `tenant \`demo\``.
        what: String,
        /// Who holds it.
        holder: String,
        /// Since when, RFC 3339.
        since: String,
    },
    /// A newer lease was taken; nothing of this transaction is visible.
    #[error("the write lease {number} of tenant `{tenant}` was taken over; nothing of this run was committed")]
    Fenced {
        /// The tenant.
        tenant: TenantId,
        /// The lease that was lost.
        number: u64,
    },
    /// The store was written by a newer version.
    #[error("the store at `{location}` has format {found}, and this version reads up to {supported}")]
    NewerFormat {
        /// The store.
        location: String,
        /// Its format.
        found: u32,
        /// The newest format that is understood.
        supported: u32,
    },
    /// A file of the store is not what it should be.
    #[error("`{path}` in the store is damaged: {problem}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// No store can be at this place.
    #[error("the store cannot be at `{location}`")]
    Location {
        /// The path or URL.
        location: String,
        /// The cause below.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store cannot be read or written.
    #[error("cannot {operation} `{path}` in the store")]
    Io {
        /// `read`, `write`, `list`, `delete`.
        operation: &'static str,
        /// The file.
        path: String,
        /// The cause below.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tables of the store are not there.
    #[error("the ClickHouse database `{database}` has no store of segmenta: `segmenta clickhouse init` makes one")]
    Uninitialised {
        /// Which database.
        database: String,
        /// The cause below.
        #[source]
        source: Box<crate::clickhouse::Error>,
    },
    /// The server that keeps the store does not do it.
    #[error("cannot {operation} in ClickHouse")]
    Server {
        /// What was being done: `read the members`, `write the changes`.
        operation: &'static str,
        /// The cause below.
        #[source]
        source: Box<crate::clickhouse::Error>,
    },
    /// There is no such segment in the store.
    #[error("the store has no segment `{segment}` of tenant `{tenant}`")]
    UnknownSegment {
        /// The tenant.
        tenant: TenantId,
        /// The segment.
        segment: SegmentId,
    },
}

impl LedgerError {
    /// What a reader can do about it; a sentence of its own.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Held { .. } => Some("Try again later; `refresh` and `delete` wait for as long as `--wait` says.".to_owned()),
            Self::NewerFormat { .. } => Some("Use a newer version of segmenta.".to_owned()),
            Self::Uninitialised { .. } => {
                Some("Run `segmenta clickhouse init`, or look at `database` in `[clickhouse]`.".to_owned())
            }
            Self::Server { source, .. } => source.help(),
            Self::Fenced { .. } | Self::Corrupt { .. } | Self::Location { .. } | Self::Io { .. } | Self::UnknownSegment { .. } => {
                None
            }
        }
    }
}
