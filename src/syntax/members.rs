//! Collects the members of an object while its text is read: the first of equal keys counts, every other is a finding.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::node::{Member, Node};
use crate::diagnostic::{Code, Finding, Source};

#[derive(Default)]
pub(super) struct Members {
    members: Vec<Member>,
    starts: HashMap<String, usize>,
}

impl Members {
    pub(super) fn push(
        &mut self,
        key: String,
        key_span: Range<usize>,
        value: Node,
        source: &Arc<Source>,
        findings: &mut Vec<Finding>,
    ) {
        match self.starts.get(&key) {
            Some(&start) => findings.push(
                Finding::new(Code::DuplicateKey, format!("the key `{key}` stands twice in one object"))
                    .at(source, key_span)
                    .with_help(format!("It first stands in line {}; keep one of them.", source.position(start).line)),
            ),
            None => {
                self.starts.insert(key.clone(), key_span.start);
                self.members.push(Member { key, key_span, value });
            }
        }
    }

    pub(super) fn into_vec(self) -> Vec<Member> {
        self.members
    }
}
