//! Validated names: a [`SegmentId`] and a [`TenantId`] are safe in a path, a column alias and a log field.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id, in bytes.
pub const MAX_ID_LENGTH: usize = 128;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id: use 1 to 128 characters of a-z, 0-9, `_` and `-`, starting with a letter or digit")]
pub struct InvalidId {
    /// What was written.
    pub text: String,
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_id(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId { text: text.to_owned() }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id_type! {
    /// The id of a segment: `[a-z0-9][a-z0-9_-]{0,127}`, unique in its tenant.
    ///
    /// ```
    /// use segmenta::model::id::SegmentId;
    /// assert!("high-value".parse::<SegmentId>().is_ok());
    /// assert!("../etc".parse::<SegmentId>().is_err());
    /// ```
    SegmentId
}

id_type! {
    /// The id of a tenant, of the same form as a segment's.
    TenantId
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match text.as_bytes() {
        [] => false,
        [first, rest @ ..] => {
            plain(*first) && rest.len() < MAX_ID_LENGTH && rest.iter().all(|&byte| plain(byte) || byte == b'_' || byte == b'-')
        }
    }
}
