//! Names a meaning: segments with equal fingerprints have equal members on the same data.

use serde_json::Value as Json;

use super::logical::LogicalSegment;

/// BLAKE3, in hex, of what a segment means: its subject and its rule in normal form. Its name, remarks and refresh play no part, nor
/// do the types of the columns that it reads.
#[must_use]
pub fn fingerprint(segment: &LogicalSegment) -> String {
    // INVARIANT: the logical segment has no map with keys that are no text, so that it always serializes.
    let mut rule = serde_json::to_value((segment.subject, &segment.rule)).unwrap_or_default();
    drop_column_types(&mut rule);
    blake3::hash(rule.to_string().as_bytes()).to_hex().to_string()
}

/// Only the field of `Access` has this key: author text stands in values, never in keys.
fn drop_column_types(json: &mut Json) {
    match json {
        Json::Object(fields) => {
            fields.shift_remove("stored");
            fields.values_mut().for_each(drop_column_types);
        }
        Json::Array(values) => values.iter_mut().for_each(drop_column_types),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}
