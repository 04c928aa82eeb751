//! The floors of segmenta that read text, and those parts of others that do, without the engine below them, and what must hold of any text.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "the floors are used in part")]

// The properties name the floors by the name of the package, here and in its tests.
extern crate self as segmenta;

#[path = "../../src/check/mod.rs"]
pub mod check;
#[path = "../../src/clock.rs"]
pub mod clock;
#[path = "../../src/diagnostic/mod.rs"]
pub mod diagnostic;
#[path = "../../src/ir/mod.rs"]
pub mod ir;
#[path = "../../src/model/mod.rs"]
pub mod model;
#[path = "../../src/syntax/mod.rs"]
pub mod syntax;

/// What a configuration says of a server.
#[path = "../../src/clickhouse"]
pub mod clickhouse {
    mod codes;
    mod error;
    mod settings;

    pub use error::Error;
    pub use settings::{Secret, Settings};
}

/// What a configuration says of tables.
#[path = "../../src/backend"]
pub mod backend {
    mod role;
    pub mod tables;

    pub use role::TableRole;
}

/// The log of the store, and what a configuration says of where that is.
#[path = "../../src/store"]
pub mod store {
    mod error;
    mod holder;
    mod record;

    pub use error::LedgerError;
    pub use record::{DefinitionNote, DefinitionRecord, Figures, LeaseScope, RunKind, SegmentState, TenantState};

    pub mod clickhouse {
        mod layout;

        pub use layout::{Layout, Replication};
    }

    pub mod object {
        mod layout;
        mod record;
        mod state;

        pub use state::rewritten_commit;
    }
}

/// The configuration.
#[path = "../../src/refresh"]
pub mod refresh {
    pub mod config;
}

pub mod properties;
