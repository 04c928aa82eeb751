//! Members of segments that are handed in, looked up by id.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::function::{Kernel, text_argument};
use crate::backend::{LocalMembers, MemberSet};
use crate::model::id::SegmentId;

/// Whether an id is among the members of a segment: a lookup in a set, however large.
#[derive(Debug)]
pub(super) struct GivenMembers {
    pub(super) segment: SegmentId,
    /// `None` in a plan that is only shown.
    pub(super) members: Option<LocalMembers>,
}

impl PartialEq for GivenMembers {
    /// A plan has one set of members for a segment.
    fn eq(&self, other: &Self) -> bool {
        self.segment == other.segment && self.members.as_ref().map(MemberSet::count) == other.members.as_ref().map(MemberSet::count)
    }
}

impl Eq for GivenMembers {}

impl Hash for GivenMembers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.segment.hash(state);
    }
}

impl Kernel for GivenMembers {
    fn name(&self) -> String {
        format!("is_member[{}]", self.segment)
    }

    fn return_type(&self) -> DataType {
        DataType::Boolean
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let subjects = text_argument(arguments, 0)?;
        let is_member = |subject: Option<&str>| {
            Some(self.members.as_ref().zip(subject).is_some_and(|(members, subject)| members.contains(subject)))
        };
        Ok(Arc::new(subjects.iter().map(is_member).collect::<BooleanArray>()))
    }
}
