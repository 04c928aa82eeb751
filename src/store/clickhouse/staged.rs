//! What a run compares, as rows on the server, and the statements that compare all segments of a batch at once. Members stay there: what
//! comes back is a row of counts for each segment.
//!
//! A subject of a segment is a row of the new members, of the old ones, or of both; grouping the two by segment and subject tells who
//! entered, who left and who stays. Groups that memory does not suffice for go to the server's disk.

use std::collections::BTreeMap;

use datafusion::arrow::array::{ArrayRef, UInt32Array};
use datafusion::arrow::record_batch::RecordBatch;
use std::sync::Arc;
use uuid::Uuid;

use super::ddl::{CHANGES, STAGED};
use super::read::is_committed;
use super::server::{Server, batch, texts};
use crate::backend::clickhouse::{EVALUATIONS, Kept, MEMBERS, OVERRIDES, RemoteMembers};
use crate::clickhouse::{Statement, Value};
use crate::store::{ChangeReason, LedgerError, Run};

/// What is compared at a time.
pub(super) struct Batch<'r> {
    pub(super) run: &'r Run,
    pub(super) number: u32,
    /// The commit that the rows will be of.
    pub(super) commit_number: u64,
    pub(super) rows: &'r Rows,
}

/// The rows of a batch.
#[derive(Default)]
pub(super) struct Rows {
    segments: Vec<Segment>,
    universes: Vec<Kept>,
}

/// A segment that is compared.
pub(super) struct Segment {
    /// Its place in the run.
    pub(super) position: u32,
    pub(super) segment: String,
    pub(super) members: Kept,
    /// The run that wrote the old members.
    pub(super) snapshot: Option<Uuid>,
    /// The number of its universe; 0 for nobody.
    pub(super) universe: u32,
    pub(super) reasons: Reasons,
    pub(super) definition_hash: String,
    /// Whether people decided about its subjects.
    pub(super) by_hand: bool,
}

/// Why subjects enter, leave, or leave because they are gone from the universe.
#[derive(Clone, Copy)]
pub(super) struct Reasons {
    pub(super) enter: ChangeReason,
    pub(super) exit: ChangeReason,
    pub(super) vanish: ChangeReason,
}

/// What the comparison found of a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) members: u64,
    pub(super) entered: u64,
    pub(super) left: u64,
    /// Members that stay with another score, or for another reason.
    pub(super) altered: u64,
}

impl Rows {
    pub(super) fn push(&mut self, segment: Segment) {
        self.segments.push(segment);
    }

    /// The number of a universe, from 1; 0 for nobody.
    pub(super) fn universe(&mut self, universe: &RemoteMembers) -> u32 {
        let kept = universe.kept();
        if *kept == Kept::Nobody {
            return 0;
        }
        let position = self.universes.iter().position(|known| known == kept).unwrap_or_else(|| {
            self.universes.push(kept.clone());
            self.universes.len() - 1
        });
        u32::try_from(position + 1).unwrap_or(u32::MAX)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// The universes of segments.
    fn universes_of(&self, positions: &[u32]) -> Vec<u32> {
        let chosen = self.segments.iter().filter(|segment| positions.contains(&segment.position));
        let mut universes: Vec<u32> = chosen.map(|segment| segment.universe).filter(|universe| *universe > 0).collect();
        universes.sort_unstable();
        universes.dedup();
        universes
    }

    fn has_snapshots(&self) -> bool {
        let sources = self.segments.iter().map(|segment| &segment.members).chain(&self.universes);
        sources.into_iter().any(|kept| matches!(kept, Kept::Stored { .. }))
    }
}

impl Batch<'_> {
    /// Puts the rows where the statements find them.
    pub(super) async fn write(&self, server: &Server) -> Result<(), LedgerError> {
        let operation = "write what is to be compared";
        server.insert(operation, STAGED, self.record(operation)?).await
    }

    /// Compares all segments; those with nobody before and after are left out.
    pub(super) async fn compare(&self, server: &Server) -> Result<BTreeMap<u32, Counts>, LedgerError> {
        let text = format!(
            "SELECT position, countIf(is_member), countIf(is_member AND NOT was_member), countIf(was_member AND NOT is_member),
    countIf(is_member AND was_member AND (ifNull(score_now, -1.) != ifNull(score_before, -1.) OR reason_now != reason_before))
FROM ({}) GROUP BY position",
            self.compared()
        );
        let all: Vec<u32> = self.rows.segments.iter().map(|segment| segment.position).collect();
        let found = server.rows::<(u32, u64, u64, u64, u64)>("compare members", self.bound(text, &all)).await?;
        let counts = |(position, members, entered, left, altered)| (position, Counts { members, entered, left, altered });
        Ok(found.into_iter().map(counts).collect())
    }

    /// Writes the changes of segments. Those of `with_exits` lost members: only for them it matters who is in the universe.
    pub(super) async fn write_changes(&self, server: &Server, positions: &[u32], with_exits: &[u32]) -> Result<(), LedgerError> {
        let moved = if with_exits.is_empty() { self.entered() } else { self.moved() };
        let segments = self.staged("segment");
        let text = format!(
            "INSERT INTO {CHANGES}
    (tenant, segment_id, subject_id, change, at, reason, score, definition_hash, run_id, commit_number, position)
SELECT {{tenant:String}}, s.segment_id, c.subject_id, if(c.enters, 'enter', 'exit'), fromUnixTimestamp64Micro({{as_of:Int64}}, 'UTC'),
    multiIf(c.by_hand != '', c.by_hand, c.enters, s.enter_reason, c.is_there, s.exit_reason, s.vanish_reason), c.score, s.definition_hash, {{run:UUID}},
    {{commit:UInt64}}, c.position
FROM ({moved}) AS c
INNER JOIN ({segments}) AS s ON c.position = s.position"
        );
        let statement = self.bound(text, positions);
        let universes = self.rows.universes_of(with_exits);
        let statement = statement
            .bind("universes", "Array(UInt32)", Value::Integers(universes.into_iter().map(i64::from).collect()))
            .number("commit", "UInt64", self.commit_number);
        server.execute_once("write the changes", statement).await
    }

    /// Writes the snapshots of segments: who stays keeps the instant of the entry.
    pub(super) async fn write_members(&self, server: &Server, positions: &[u32]) -> Result<(), LedgerError> {
        let (compared, segments) = (self.compared(), self.staged("segment"));
        let text = format!(
            "INSERT INTO {MEMBERS} (tenant, segment_id, run_id, subject_id, entered_at, score, confidence, reason, as_of)
SELECT {{tenant:String}}, s.segment_id, {{run:UUID}}, c.subject_id,
    if(c.was_member, c.entered_before, fromUnixTimestamp64Micro({{as_of:Int64}}, 'UTC')), c.score_now,
    {},
    c.reason_now, fromUnixTimestamp64Micro({{as_of:Int64}}, 'UTC')
FROM ({compared}) AS c
INNER JOIN ({segments}) AS s ON c.position = s.position
WHERE c.is_member",
            confidence("c.score_now")
        );
        server.execute_once("write the members", self.bound(text, positions)).await
    }

    fn bound(&self, text: String, positions: &[u32]) -> Statement {
        Statement::new(text)
            .text("tenant", self.run.tenant.as_str())
            .uuid("run", self.run.run_id)
            .number("batch", "UInt32", self.number)
            .number("as_of", "Int64", self.run.as_of.as_microsecond())
            .bind("positions", "Array(UInt32)", Value::Integers(positions.iter().copied().map(i64::from).collect()))
    }

    /// The rows of a kind, those of the bound positions alone.
    fn staged(&self, kind: &str) -> String {
        let chosen = match kind {
            "universe" => "universes",
            _ => "positions",
        };
        format!(
            "SELECT * FROM {STAGED} WHERE run_id = {{run:UUID}} AND batch = {{batch:UInt32}} AND kind = '{kind}' \
             AND position IN {{{chosen}:Array(UInt32)}}"
        )
    }

    /// Who is where the rows of a kind say: `universe, position, subject_id, score`, the score as it is shown.
    fn sources(&self, kind: &str) -> String {
        let staged = self.staged(kind);
        // A thousandth is rounded to even, as everywhere.
        let thousandths = "(intDiv(e.score, 1000000) + (e.score % 1000000 > 500000 \
                           OR (e.score % 1000000 = 500000 AND intDiv(e.score, 1000000) % 2 = 1)))";
        let evaluated = format!(
            "SELECT s.universe AS universe, s.position AS position, e.subject_id AS subject_id, toFloat64({thousandths}) / 1000. AS score
    FROM {EVALUATIONS} AS e INNER JOIN ({staged}) AS s ON e.evaluation = s.source AND e.output = s.source_output
    WHERE s.source_segment = '' AND e.evaluation IN (SELECT source FROM ({staged})) AND e.output IN (SELECT source_output FROM ({staged}))"
        );
        if !self.rows.has_snapshots() {
            return evaluated;
        }
        format!(
            "{evaluated}
    UNION ALL
    SELECT s.universe, s.position, m.subject_id, m.score
    FROM {MEMBERS} AS m INNER JOIN ({staged}) AS s ON m.run_id = s.source AND m.segment_id = s.source_segment
    WHERE m.tenant = {{tenant:String}} AND m.run_id IN (SELECT source FROM ({staged}))
        AND m.segment_id IN (SELECT source_segment FROM ({staged}))"
        )
    }

    /// What people decided about subjects of the segments that they decided about: `universe, position, subject_id, reason`, which is the
    /// decision and how it came about, and whether this run edits it.
    fn decided(&self) -> Option<String> {
        self.rows.segments.iter().any(|segment| segment.by_hand).then(|| {
            format!(
                "SELECT s.universe AS universe, s.position AS position, d.subject_id AS subject_id, d.decision AS reason
    FROM (
        SELECT segment_id, subject_id,
            argMax(concat(action, ' ', reason, if(run_id = {{run:UUID}}, ' edit', '')), commit_number) AS decision
        FROM {OVERRIDES} AS overrides
        WHERE overrides.tenant = {{tenant:String}} AND (overrides.run_id = {{run:UUID}} OR {})
            AND overrides.segment_id IN (SELECT segment_id FROM ({staged}))
            AND overrides.since <= fromUnixTimestamp64Micro({{as_of:Int64}}, 'UTC')
        GROUP BY segment_id, subject_id
    ) AS d INNER JOIN ({staged}) AS s ON d.segment_id = s.segment_id",
                is_committed("overrides"),
                staged = self.staged("segment")
            )
        })
    }

    /// A row for each segment and each subject that is in it, was, or both.
    fn compared(&self) -> String {
        let (now, staged) = (self.sources("segment"), self.staged("segment"));
        let decided = self.decided().map(|decided| {
            format!(
                "
    UNION ALL
    SELECT universe, position, subject_id, 'hand', CAST(NULL, 'Nullable(Float64)'), toDateTime64(0, 6, 'UTC'), reason FROM ({decided})"
            )
        });
        let decided = decided.unwrap_or_default();
        format!(
            "SELECT universe, position, subject_id, max(side = 'now') AS is_member, max(side = 'before') AS was_member,
    maxIf(score, side = 'now') AS score_now, maxIf(score, side = 'before') AS score_before,
    maxIf(entered_at, side = 'before') AS entered_before, maxIf(reason, side = 'before') AS reason_before,
    maxIf(reason, side = 'hand') AS decision, splitByChar(' ', decision)[2] AS origin,
    if(startsWith(decision, 'add '), origin, 'rule_match') AS reason_now,
    if(endsWith(decision, ' edit') OR startsWith(decision, if(is_member, 'add ', 'remove ')), origin, '') AS by_hand
FROM (
    SELECT universe, position, subject_id, 'now' AS side, score, toDateTime64(0, 6, 'UTC') AS entered_at, '' AS reason FROM ({now})
    UNION ALL
    SELECT s.universe, s.position, m.subject_id, 'before', m.score, m.entered_at, toString(m.reason)
    FROM {MEMBERS} AS m INNER JOIN ({staged}) AS s ON m.segment_id = s.segment_id AND m.run_id = s.snapshot
    WHERE m.tenant = {{tenant:String}} AND m.run_id IN (SELECT snapshot FROM ({staged}))
        AND m.segment_id IN (SELECT segment_id FROM ({staged})){decided}
)
GROUP BY universe, position, subject_id
HAVING is_member OR was_member"
        )
    }

    /// Who entered, where nobody left.
    fn entered(&self) -> String {
        let compared = self.compared();
        format!(
            "SELECT position, subject_id, is_member AS enters, score_now AS score, by_hand, toUInt8(1) AS is_there
    FROM ({compared}) WHERE is_member AND NOT was_member"
        )
    }

    /// Who entered or left, and whether they are in the universe: each subject meets itself there, where it has a group of its own.
    fn moved(&self) -> String {
        let (compared, universe) = (self.compared(), self.sources("universe"));
        format!(
            "SELECT subject_id, is_there, tupleElement(move, 1) AS position, tupleElement(move, 2) AS enters, tupleElement(move, 3) AS score,
        tupleElement(move, 4) AS by_hand
    FROM (
        SELECT universe, subject_id, groupArrayIf((position, enters, score, by_hand), NOT is_universe) AS moves, max(is_universe) AS is_there
        FROM (
            SELECT universe, position, subject_id, is_member AS enters, if(is_member, score_now, score_before) AS score,
                by_hand, toUInt8(0) AS is_universe
            FROM ({compared}) WHERE is_member != was_member
            UNION ALL
            SELECT u.position, toUInt32(0), u.subject_id, toUInt8(0), CAST(NULL, 'Nullable(Float64)'), '', toUInt8(1)
            FROM ({universe}) AS u
        )
        GROUP BY universe, subject_id HAVING notEmpty(moves)
    )
    ARRAY JOIN moves AS move"
        )
    }

    fn record(&self, operation: &'static str) -> Result<RecordBatch, LedgerError> {
        let nobody = Segment {
            position: 0,
            segment: String::new(),
            members: Kept::Nobody,
            snapshot: None,
            universe: 0,
            reasons: Reasons { enter: ChangeReason::RuleMatch, exit: ChangeReason::RuleEnded, vanish: ChangeReason::LeftUniverse },
            definition_hash: String::new(),
            by_hand: false,
        };
        // A universe is a row of its own, whose members are its own.
        let universes = self.rows.universes.iter().enumerate().map(|(number, kept)| {
            let position = u32::try_from(number + 1).unwrap_or(u32::MAX);
            ("universe", position, &nobody, Source::of(kept))
        });
        let segments =
            self.rows.segments.iter().map(|segment| ("segment", segment.position, segment, Source::of(&segment.members)));
        let rows: Vec<_> = segments.chain(universes).collect();
        let numbers = |values: Vec<u32>| Arc::new(UInt32Array::from(values)) as ArrayRef;
        batch(
            operation,
            vec![
                ("run_id", texts(rows.iter().map(|_| self.run.run_id.to_string()))),
                ("batch", numbers(rows.iter().map(|_| self.number).collect())),
                ("kind", texts(rows.iter().map(|(kind, ..)| kind))),
                ("position", numbers(rows.iter().map(|(_, position, ..)| *position).collect())),
                ("segment_id", texts(rows.iter().map(|(_, _, segment, _)| &segment.segment))),
                ("source", texts(rows.iter().map(|(.., source)| source.id.to_string()))),
                ("source_output", numbers(rows.iter().map(|(.., source)| source.output).collect())),
                ("source_segment", texts(rows.iter().map(|(.., source)| source.segment))),
                ("snapshot", texts(rows.iter().map(|(_, _, segment, _)| segment.snapshot.unwrap_or_default().to_string()))),
                ("universe", numbers(rows.iter().map(|(_, _, segment, _)| segment.universe).collect())),
                ("enter_reason", texts(rows.iter().map(|(_, _, segment, _)| segment.reasons.enter.keyword()))),
                ("exit_reason", texts(rows.iter().map(|(_, _, segment, _)| segment.reasons.exit.keyword()))),
                ("vanish_reason", texts(rows.iter().map(|(_, _, segment, _)| segment.reasons.vanish.keyword()))),
                ("definition_hash", texts(rows.iter().map(|(_, _, segment, _)| &segment.definition_hash))),
            ],
        )
    }
}

/// How well a member with a score fits, in words.
pub(super) fn confidence(score: &str) -> String {
    format!(
        "multiIf(isNull({score}), NULL, {score} >= 0.8, 'Very High', {score} >= 0.6, 'High', {score} >= 0.4, 'Medium',
        {score} >= 0.2, 'Low', 'Very Low')"
    )
}

/// Where subjects stand, as columns.
struct Source<'k> {
    id: Uuid,
    output: u32,
    segment: &'k str,
}

impl<'k> Source<'k> {
    fn of(kept: &'k Kept) -> Self {
        match kept {
            Kept::Nobody => Self { id: Uuid::nil(), output: 0, segment: "" },
            Kept::Evaluated { evaluation, output } => Self { id: *evaluation, output: *output, segment: "" },
            Kept::Stored { tenant: _, segment, run_id } => Self { id: *run_id, output: 0, segment: segment.as_str() },
            // INVARIANT: a transaction takes no such members.
            Kept::Decided { edits: _, decision: _ } => Self { id: Uuid::nil(), output: 0, segment: "" },
        }
    }
}
