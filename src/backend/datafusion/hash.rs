//! The hash that draws samples.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, UInt64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use xxhash_rust::xxh3::xxh3_64;

use super::function::{Kernel, text_argument};

/// XXH3 of 64 bits, seed 0, of the salt, a colon and the text.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct SaltedHash {
    /// What tells samples apart.
    pub(super) salt: String,
}

impl Kernel for SaltedHash {
    fn name(&self) -> String {
        format!("xxh3[{}]", self.salt)
    }

    fn return_type(&self) -> DataType {
        DataType::UInt64
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let texts = text_argument(arguments, 0)?;
        // Put together in one buffer: a hasher of parts costs several times as much for texts as short as ids.
        let mut salted = format!("{}:", self.salt).into_bytes();
        let salt = salted.len();
        let mut hash = |text: &str| {
            salted.truncate(salt);
            salted.extend_from_slice(text.as_bytes());
            xxh3_64(&salted)
        };
        Ok(Arc::new(texts.iter().map(|text| text.map(&mut hash)).collect::<UInt64Array>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::StringViewArray;

    #[test]
    fn the_salt_and_a_colon_stand_before_the_id() {
        let ids: ArrayRef = Arc::new(StringViewArray::from(vec![Some("u1"), None]));
        let hashes = SaltedHash { salt: "exp-1".to_owned() }.apply(&[ids]).unwrap();
        let expected: ArrayRef = Arc::new(UInt64Array::from(vec![Some(xxh3_64(b"exp-1:u1")), None]));
        assert_eq!(&hashes, &expected);
    }
}
