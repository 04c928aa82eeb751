//! Numbers of errors, as ClickHouse lists them in `src/Common/ErrorCodes.cpp`.

pub(super) const TOO_MANY_SIMULTANEOUS_QUERIES: u32 = 202;
pub(super) const TIMEOUT_EXCEEDED: u32 = 159;
pub(super) const MEMORY_LIMIT_EXCEEDED: u32 = 241;
pub(super) const QUERY_WAS_CANCELLED: u32 = 394;
/// Wrong password; required password; no such user.
pub(super) const CREDENTIALS: [u32; 4] = [516, 193, 194, 192];
/// No such column, identifier, table, database; not enough rights.
pub(super) const ABSENT: [u32; 6] = [16, 36, 47, 60, 81, 497];
/// The connection between servers broke, a replica or the coordinator is not there for a moment, merges lag behind.
pub(super) const TRANSIENT: [u32; 14] = [
    TOO_MANY_SIMULTANEOUS_QUERIES,
    209, // SOCKET_TIMEOUT
    210, // NETWORK_ERROR
    212, // NO_ZOOKEEPER
    225, // NO_ZOOKEEPER
    242, // TABLE_IS_READ_ONLY
    252, // TOO_MANY_PARTS
    279, // ALL_CONNECTION_TRIES_FAILED
    285, // TOO_FEW_LIVE_REPLICAS
    286, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    319, // UNKNOWN_STATUS_OF_INSERT
    439, // CANNOT_SCHEDULE_TASK
    745, // SERVER_OVERLOADED
    999, // KEEPER_EXCEPTION
];
/// Those of them that are told before anything is done.
pub(super) const NOT_STARTED: [u32; 4] = [TOO_MANY_SIMULTANEOUS_QUERIES, 439, 745, 252];
