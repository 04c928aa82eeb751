//! Tallies: what is kept of the events of some subjects, and what it comes to in each window. One for each measure, whatever the number
//! of its windows, in each shard of the subjects.
//!
//! A tally meets events in any order, from any thread, and its result depends on neither.

mod count;
mod distinct;
mod edge;
mod extreme;
mod sequence;
mod sum;
mod unit;
mod value;

use std::fmt::{self, Debug};
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;

use super::bands::{Bands, Bounds, Grain, NO_BAND};
use crate::backend::datafusion::date::LocalUnit;
use crate::backend::datafusion::failure::internal;

pub(in crate::backend::datafusion) use extreme::End;
pub(in crate::backend::datafusion) use sequence::Pattern;
pub(super) use value::Longer;
use value::{Codec, Values};

/// What is computed of the events that a measure looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend::datafusion) enum Kind {
    /// How many.
    Count,
    /// The exact sum of a DECIMAL, of this type; with how many addends there are when it is an average.
    Sum {
        /// The type of the sum.
        sum: DataType,
        /// Whether the addends are counted.
        counted: bool,
    },
    /// The least or greatest number.
    Extreme(End),
    /// The time of the first or last.
    Time(End),
    /// How many distinct local units of time.
    Units(LocalUnit),
    /// How many distinct values.
    Distinct,
    /// The most frequent value, the smallest of equals.
    Frequent,
    /// The value of the first or last that has one.
    Edge(End),
    /// Whether a sequence is there.
    Sequence(Pattern),
}

impl Kind {
    /// How windows are kept apart.
    pub(super) fn grain(&self) -> Grain {
        match self {
            Self::Count
            | Self::Sum { .. }
            | Self::Extreme(_)
            | Self::Units(_)
            | Self::Distinct
            | Self::Frequent
            | Self::Sequence(_) => Grain::Both,
            Self::Time(End::Greatest) | Self::Edge(End::Greatest) => Grain::Latest,
            Self::Time(End::Least) | Self::Edge(End::Least) => Grain::Earliest,
        }
    }

    /// Whether events compare by their ids as well.
    pub(in crate::backend::datafusion) fn needs_ids(&self) -> bool {
        matches!(self, Self::Edge(_))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Sum { counted: false, .. } => "sum",
            Self::Sum { counted: true, .. } => "sum and count",
            Self::Extreme(End::Least) => "min",
            Self::Extreme(End::Greatest) => "max",
            Self::Time(End::Least) => "first time",
            Self::Time(End::Greatest) => "last time",
            Self::Units(_) => "active units",
            Self::Distinct => "count distinct",
            Self::Frequent => "most frequent",
            Self::Edge(End::Least) => "first value",
            Self::Edge(End::Greatest) => "last value",
            Self::Sequence(Pattern { steps, absent, .. }) => {
                return write!(f, "sequence of {steps} steps{}", if *absent { " and one that is absent" } else { "" });
            }
        })
    }
}

/// A measure as all shards share it: how its arguments are read, and how its tallies begin.
#[derive(Debug)]
pub(super) struct Measure {
    kind: Kind,
    /// The type of the value, where there is one.
    value_type: Option<DataType>,
    codec: Option<Arc<Codec>>,
    longer: Arc<Longer>,
    /// Where the bits of units are.
    layout: Option<Arc<unit::Layout>>,
    /// Its windows.
    pub(super) bands: Bands,
}

impl Measure {
    /// A measure of arguments of these types.
    pub(super) fn new(kind: Kind, arguments: &[DataType], bounds: &Bounds, bands: Bands, longer: Arc<Longer>) -> Result<Self> {
        let layout = if let Kind::Units(units) = &kind { Some(Arc::new(layout(units, bounds, &bands))) } else { None };
        let value_type = arguments.first().cloned();
        let codec = match (&kind, &value_type) {
            (Kind::Distinct | Kind::Frequent | Kind::Edge(_), Some(value)) => Some(Arc::new(Codec::new(value.clone())?)),
            _ => None,
        };
        Ok(Self { kind, value_type, codec, longer, layout, bands })
    }

    /// The arguments of a batch of events, each made ready once.
    pub(super) fn arguments(&self, columns: Vec<ArrayRef>) -> Result<Vec<Argument>> {
        match (&self.kind, &self.codec) {
            (Kind::Sequence(_), _) => sequence::arguments(columns),
            (_, Some(codec)) => columns.iter().map(|column| Ok(Argument::Values(codec.encode(column)?))).collect(),
            _ => Ok(columns.into_iter().map(Argument::Column).collect()),
        }
    }

    /// A tally of so many subjects, none of which has an event yet.
    pub(super) fn tally(&self, subjects: usize) -> Result<Box<dyn Tally>> {
        let bands = self.bands.count();
        let codec = || self.codec.clone().ok_or_else(|| internal("a measure of no value"));
        let longer = || Arc::clone(&self.longer);
        Ok(match &self.kind {
            Kind::Count => Box::new(count::Counts::new(subjects, bands)),
            Kind::Sum { sum, counted } => Box::new(sum::Sums::new(subjects, bands, sum.clone(), *counted)),
            Kind::Extreme(end) => {
                let value_type = self.value_type.as_ref().ok_or_else(|| internal("the extreme of no value"))?;
                extreme::extremes(subjects, bands, *end, value_type)?
            }
            Kind::Time(end) => Box::new(extreme::Times::new(subjects, bands, *end)),
            Kind::Units(_) => {
                let layout = self.layout.clone().ok_or_else(|| internal("units without a place"))?;
                Box::new(unit::ActiveUnits::new(subjects, layout))
            }
            Kind::Distinct => Box::new(distinct::Occurrences::new(subjects, bands, distinct::Wanted::Distinct, codec()?, longer())),
            Kind::Frequent => {
                Box::new(distinct::Occurrences::new(subjects, bands, distinct::Wanted::MostFrequent, codec()?, longer()))
            }
            Kind::Edge(end) => Box::new(edge::Edges::new(subjects, bands, *end, codec()?)),
            Kind::Sequence(pattern) => Box::new(sequence::Sequences::new(subjects, pattern.clone(), longer())),
        })
    }

    /// A window, by its position.
    pub(super) fn window(&self, position: usize, from: Option<i64>, to: Option<i64>) -> Window {
        Window { bands: self.bands.window(position), from, to }
    }
}

/// The units that each band can hold.
fn layout(units: &LocalUnit, bounds: &Bounds, bands: &Bands) -> unit::Layout {
    let end = units.local.calendar.as_of().as_microsecond();
    let edges = bands.edges(bounds).into_iter().map(|(from, to)| {
        let last = units.number(to.unwrap_or(end).min(end).saturating_sub(1)).or_else(|| units.number(end));
        (from.and_then(|from| units.number(from)), last.unwrap_or(0))
    });
    unit::Layout::of(&edges.collect::<Vec<_>>())
}

/// A window of a measure.
#[derive(Debug, Clone)]
pub(super) struct Window {
    bands: Range<usize>,
    from: Option<i64>,
    to: Option<i64>,
}

impl Window {
    fn contains(&self, time: i64) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }
}

/// What is kept of the events of some subjects for one measure.
pub(super) trait Tally: Debug + Send {
    /// Meets some events.
    fn add(&mut self, slice: &Slice<'_>, arguments: &[Argument]) -> Result<()>;

    /// The columns of the measure in a window: a row for each subject.
    fn finish(&mut self, window: &Window) -> Result<Vec<ArrayRef>>;

    /// Bytes that it takes, about.
    fn size(&self) -> usize;
}

/// An argument of a measure, of a batch of events.
#[derive(Debug)]
pub(super) enum Argument {
    /// As it is.
    Column(ArrayRef),
    /// As bytes that compare as the values do.
    Values(Values),
}

/// The span of time that each event of a batch lies in.
#[derive(Debug)]
pub(super) enum Spans {
    /// All in one.
    Same(u16),
    /// Each in its own.
    Each(Vec<u16>),
}

/// The events of one shard in a batch, as a measure meets them.
#[derive(Debug)]
pub(super) struct Slice<'a> {
    /// The number of the subject of each event of the batch.
    pub(super) subjects: &'a [u32],
    /// The number of the first subject of the shard.
    pub(super) first: u32,
    /// The time of each event, in microseconds.
    pub(super) times: &'a [i64],
    /// The id of each event, where it is needed and there is one.
    pub(super) ids: Option<&'a datafusion::arrow::array::StringViewArray>,
    pub(super) spans: &'a Spans,
    pub(super) bands: &'a Bands,
    /// Which events of the batch the measure looks at; `None` = all.
    pub(super) filter: Option<&'a BooleanBuffer>,
    /// Which events of the batch are of this shard.
    pub(super) rows: Range<usize>,
}

impl Slice<'_> {
    /// Visits each event that the measure looks at in some window: its row in the batch, its subject in the shard, its band.
    pub(super) fn for_each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let subject = |row: usize| self.subjects.get(row).map_or(0, |subject| (subject - self.first) as usize);
        match self.spans {
            Spans::Same(span) => {
                let band = self.bands.of_span(usize::from(*span));
                if band == NO_BAND {
                    return;
                }
                self.rows_met(|row| visit(row, subject(row), usize::from(band)));
            }
            Spans::Each(spans) => {
                self.rows_met(|row| {
                    let band = spans.get(row).map_or(NO_BAND, |span| self.bands.of_span(usize::from(*span)));
                    if band != NO_BAND {
                        visit(row, subject(row), usize::from(band));
                    }
                });
            }
        }
    }
}

impl Slice<'_> {
    /// Visits the rows that pass the filter.
    fn rows_met(&self, mut visit: impl FnMut(usize)) {
        let Some(filter) = self.filter else { return self.rows.clone().for_each(visit) };
        let start = self.rows.start;
        for row in filter.slice(start, self.rows.len()).set_indices() {
            visit(start + row);
        }
    }
}

/// A value for each subject and band, those of a subject side by side.
#[derive(Debug)]
struct Cells<T> {
    width: usize,
    cells: Vec<T>,
}

impl<T: Copy> Cells<T> {
    fn new(subjects: usize, bands: usize, empty: T) -> Self {
        // Where every window is empty there is no band, and still a row for each subject.
        let width = bands.max(1);
        Self { width, cells: vec![empty; subjects * width] }
    }

    fn width(&self) -> usize {
        self.width
    }

    /// The place of a cell, and the cell.
    fn at(&mut self, subject: usize, band: usize) -> (usize, &mut T) {
        let at = subject * self.width + band;
        // INVARIANT: subjects and bands are of the tally's own; a place beyond them is a fault of ours.
        (at, &mut self.cells[at])
    }

    /// The subject and the band of a place.
    fn place(&self, at: usize) -> (usize, usize) {
        (at / self.width, at % self.width)
    }

    /// The cells of each subject.
    fn rows(&self) -> impl ExactSizeIterator<Item = &[T]> {
        self.cells.chunks_exact(self.width)
    }

    fn size(&self) -> usize {
        self.cells.capacity() * size_of::<T>()
    }
}
