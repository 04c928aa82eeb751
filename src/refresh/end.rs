//! The end of a segment: everyone leaves, and nothing of it is kept but its rows in the logs.

use std::time::Duration;

use super::config::TenantConfig;
use super::definitions::read_definitions;
use super::error::Error;
use super::place::{Place, calendar_of};
use super::run::release;
use crate::clock::Clock;
use crate::diagnostic::nearest;
use crate::model::condition::{Condition, Leaf, Node};
use crate::model::id::SegmentId;
use crate::model::segment::{Definition, Rule};
use crate::store::{ChangeReason, Figures, Lease, LeaseScope, Ledger, Outcome, Run, RunKind, StagedSegment, Transaction};
use crate::syntax::Document;

/// What the end of a segment came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Who left.
    pub figures: Figures,
    /// The file that still defines the segment, so that the next run begins it anew.
    pub still_defined_in: Option<String>,
}

/// Ends a segment of a tenant, under a write lease of its own.
///
/// # Errors
/// When the store does not know it, or other definitions refer to it: the error names them. The store is then as it was before.
pub async fn end_segment<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    segment: &SegmentId,
    wait: Duration,
    clock: &dyn Clock,
) -> Result<Ended, Error> {
    let documents: Vec<Document> = read_definitions(&tenant.definitions)?.iter().filter_map(|file| file.parse().ok()).collect();
    let definitions = || documents.iter().map(Document::definition);
    let referrers: Vec<SegmentId> =
        definitions().filter(|other| other.id != *segment && refers_to(other, segment)).map(|other| other.id.clone()).collect();
    if !referrers.is_empty() {
        return Err(Error::Referenced { segment: segment.clone(), referrers });
    }
    let still_defined_in =
        documents.iter().find(|document| document.definition().id == *segment).map(|document| document.source().name.clone());
    let lease = place.ledger().acquire(&LeaseScope::Tenant(tenant.id.clone()), wait).await?;
    let figures = end_under(place, tenant, segment, &lease, clock).await;
    release(place, lease).await;
    Ok(Ended { figures: figures?, still_defined_in })
}

async fn end_under<P: Place>(
    place: &P,
    tenant: &TenantConfig,
    segment: &SegmentId,
    lease: &Lease,
    clock: &dyn Clock,
) -> Result<Figures, Error> {
    let started = clock.elapsed();
    let state = place.ledger().state(&tenant.id).await?;
    if !state.segments.contains_key(segment) {
        let near = nearest(segment.as_str(), state.segments.keys().map(SegmentId::as_str));
        let near = near.and_then(|near| near.parse().ok());
        return Err(Error::UnknownSegment { tenant: tenant.id.clone(), segment: segment.clone(), near });
    }
    let as_of = tenant.as_of.unwrap_or_else(|| clock.now());
    let run_id = clock.run_id(as_of);
    let evaluation_date = calendar_of(tenant, as_of).date_of(as_of);
    let run = Run { run_id, tenant: tenant.id.clone(), kind: RunKind::Manual, as_of, evaluation_date };
    let mut transaction = place.ledger().begin(lease, run).await?;
    let outcome = Outcome::Ended { reason: ChangeReason::SegmentDeleted };
    let duration = clock.elapsed().saturating_sub(started);
    let figures = transaction
        .stage(StagedSegment { segment: segment.clone(), definition: None, outcome, duration, max_change: None })
        .await?;
    transaction.commit().await?;
    tracing::info!(%run_id, tenant = %tenant.id, %segment, left = figures.removed_count, "segment deleted");
    Ok(figures)
}

fn refers_to(definition: &Definition, segment: &SegmentId) -> bool {
    match &definition.rule {
        None => false,
        Some(Rule::Conditions { conditions, .. }) => conditions.iter().any(|condition| mentions(condition, segment)),
        Some(Rule::Scoring(scoring)) => scoring.rules.iter().any(|rule| mentions(&rule.condition, segment)),
    }
}

fn mentions(condition: &Condition, segment: &SegmentId) -> bool {
    match &condition.node {
        Node::Group { conditions, .. } | Node::AtLeast { of: conditions, .. } => {
            conditions.iter().any(|condition| mentions(condition, segment))
        }
        Node::Not(inner) => mentions(inner, segment),
        Node::Leaf(leaf) => match leaf {
            Leaf::Segment(other) => other.segment_id == *segment,
            Leaf::UserBehaviorSignal(signal) => signal.segment_id == *segment,
            Leaf::Attribute { .. }
            | Leaf::Event(_)
            | Leaf::Lifecycle(_)
            | Leaf::Sequence(_)
            | Leaf::Compare(_)
            | Leaf::Top(_)
            | Leaf::Sample(_)
            | Leaf::Everyone
            | Leaf::AiVisibilityMetric(_) => false,
        },
    }
}
