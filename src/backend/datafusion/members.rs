//! Sets that are handed in, looked up by id.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, StringViewArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::function::{Kernel, text_argument};
use super::measure::{Numbering, UNKNOWN};
use crate::backend::{LocalMembers, MemberSet};
use crate::plan::{Given, GivenSet};

/// Whether an id is in a set: a lookup in a set, however large.
#[derive(Debug)]
pub(super) struct GivenMembers {
    given: Given,
    /// `None` in a plan that is only shown.
    members: Option<LocalMembers>,
    /// The members, made ready for look-ups at the first.
    known: OnceLock<Numbering>,
}

impl GivenMembers {
    /// A set; `None` in a plan that is only shown.
    pub(super) fn new(given: Given, members: Option<LocalMembers>) -> Self {
        Self { given, members, known: OnceLock::new() }
    }
}

impl PartialEq for GivenMembers {
    /// A plan is given each set once.
    fn eq(&self, other: &Self) -> bool {
        self.given == other.given && self.members.as_ref().map(MemberSet::count) == other.members.as_ref().map(MemberSet::count)
    }
}

impl Eq for GivenMembers {}

impl Hash for GivenMembers {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.given.hash(state);
    }
}

impl Kernel for GivenMembers {
    fn name(&self) -> String {
        match &self.given.set {
            GivenSet::Members(segment) => format!("is_member[{segment}]"),
            set @ GivenSet::Overridden(..) => format!("is_member[{set}]"),
        }
    }

    fn return_type(&self) -> DataType {
        DataType::Boolean
    }

    fn apply(&self, arguments: &[ArrayRef]) -> Result<ArrayRef> {
        let subjects = text_argument(arguments, 0)?;
        let known = match self.known.get() {
            Some(known) => known,
            None => {
                let ids = StringViewArray::from_iter_values(self.members.iter().flat_map(LocalMembers::iter));
                let numbering = Numbering::of(&ids)?;
                self.known.get_or_init(|| numbering)
            }
        };
        let is_member = |row: usize| Some(subjects.is_valid(row) && known.find(&subjects, row) != UNKNOWN);
        Ok(Arc::new((0..subjects.len()).map(is_member).collect::<BooleanArray>()))
    }
}
