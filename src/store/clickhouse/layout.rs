//! Where the tables of a store in ClickHouse are, as a configuration says it. Plain data.

/// How tables are kept on the servers of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Replication {
    /// Each server has tables of its own.
    #[default]
    None,
    /// Servers keep copies of each other's tables, at the paths that the server's own defaults give.
    Replicated,
}

/// Where the tables are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The database. It must exist.
    pub database: String,
    /// The cluster on all of whose servers the statements are done; on the one that is asked when absent.
    pub cluster: Option<String>,
    /// How the tables are kept.
    pub replication: Replication,
}
