//! When and what: configuration, which segments are due, one run of a tenant, and the loop around it. The only floor that joins a
//! backend with the ledger of its place.
