//! [`Program`]: what is computed of the events of a side, as expressions over the columns of its scan.

use std::collections::BTreeSet;
use std::fmt;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::Expr;

use super::bands::{Bands, Bounds};
use super::router::Router;
use super::tally::Kind;
use crate::backend::datafusion::reads::Steps;
use crate::model::condition::EventTypePattern;
use crate::model::window::Interval;

/// What is computed of events in one pass over them.
#[derive(Debug)]
pub(in crate::backend::datafusion) struct Program {
    /// What every event is read for.
    pub(super) base: Steps,
    pub(super) places: Places,
    /// Events at or after it do not exist; microseconds.
    pub(super) as_of: i64,
    pub(super) measures: Vec<PlannedMeasure>,
    pub(super) bounds: Bounds,
    pub(super) bands: Vec<Bands>,
    pub(super) router: Router,
    pub(super) routes: Vec<Route>,
    /// The columns that come out.
    pub(super) outputs: Vec<MeasureColumns>,
    /// How many things are counted of the events.
    pub(super) observations: usize,
    /// Whether a subject is there for its events.
    pub(super) existence: Existence,
}

/// The columns of `base` that say what an event is.
#[derive(Debug, Clone)]
pub(in crate::backend::datafusion) struct Places {
    /// The subject, text; NULL when there is none.
    pub(in crate::backend::datafusion) key: Expr,
    /// The time.
    pub(in crate::backend::datafusion) time: Expr,
    /// The type, text.
    pub(in crate::backend::datafusion) event_type: Option<Expr>,
}

/// Whether events make subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::datafusion) enum Existence {
    /// A subject without a row is there when it has an event.
    Counts,
    /// Only rows of the subjects table are there.
    Ignored,
}

/// A measure with all of its windows.
#[derive(Debug, Clone)]
pub(in crate::backend::datafusion) struct PlannedMeasure {
    /// The types of events that it looks at; `None` = any.
    pub(in crate::backend::datafusion) event_type: Option<Vec<EventTypePattern>>,
    /// What it computes.
    pub(in crate::backend::datafusion) kind: Kind,
    /// When, at least one.
    pub(in crate::backend::datafusion) windows: Vec<Interval>,
}

/// What is read of the events of one route, and which measures meet them.
#[derive(Debug)]
pub(in crate::backend::datafusion) struct Route {
    /// What is read of them, over the columns of the scan.
    pub(in crate::backend::datafusion) reads: Steps,
    /// Their ids, where a measure needs them.
    pub(in crate::backend::datafusion) id: Option<Expr>,
    /// The measures.
    pub(in crate::backend::datafusion) met: Vec<Met>,
}

/// A measure that the events of a route meet, over the columns that were read.
#[derive(Debug)]
pub(in crate::backend::datafusion) struct Met {
    /// Which.
    pub(in crate::backend::datafusion) measure: usize,
    /// Which of the events it looks at; two-valued.
    pub(in crate::backend::datafusion) filter: Option<Expr>,
    /// What it computes with.
    pub(in crate::backend::datafusion) arguments: Vec<Expr>,
}

/// The columns of a measure in one of its windows.
#[derive(Debug, Clone)]
pub(in crate::backend::datafusion) struct MeasureColumns {
    /// Which measure.
    pub(in crate::backend::datafusion) measure: usize,
    /// Which of its windows.
    pub(in crate::backend::datafusion) window: usize,
    /// Names and types.
    pub(in crate::backend::datafusion) columns: Vec<(String, DataType)>,
}

/// What makes the routes of a program: for the measures that events meet, what is read.
pub(in crate::backend::datafusion) trait Routes {
    /// The route on which events meet these measures.
    fn route(&mut self, measures: &[usize]) -> Result<Route>;
}

impl Program {
    /// The program of these measures.
    ///
    /// # Errors
    /// When there are too many measures or windows, and what `routes` returns.
    pub(in crate::backend::datafusion) fn new(
        base: Steps,
        places: Places,
        as_of: i64,
        measures: Vec<PlannedMeasure>,
        outputs: Vec<MeasureColumns>,
        existence: Existence,
        routes: &mut impl Routes,
    ) -> Result<Self> {
        let bounds = Bounds::of(measures.iter().flat_map(|measure| measure.windows.iter().copied()));
        let types: Vec<_> = measures.iter().map(|measure| measure.event_type.clone()).collect();
        let router = Router::of(&types);
        let planned = router.routes().iter().map(|measures| routes.route(measures)).collect::<Result<Vec<_>>>()?;
        if planned.len() >= usize::from(u16::MAX) || bounds.spans() >= usize::from(u16::MAX) {
            return plan_err!("more event types or windows than one pass over the events can tell apart");
        }
        let bands = measures.iter().map(|measure| Bands::of(&bounds, &measure.windows, measure.kind.grain()));
        let Some(bands) = bands.collect::<Option<Vec<_>>>() else { return plan_err!("a measure of too many windows") };
        let observations = planned.iter().map(|route| route.reads.kinds()).chain([base.kinds()]).max().unwrap_or(0);
        Ok(Self { base, places, as_of, measures, bounds, bands, router, routes: planned, outputs, observations, existence })
    }

    /// The columns of the scan that are read.
    pub(in crate::backend::datafusion) fn columns_read(&self) -> BTreeSet<String> {
        let steps = || std::iter::once(&self.base).chain(self.routes.iter().map(|route| &route.reads));
        steps().flat_map(Steps::columns_read).collect()
    }

    /// The columns that come out, with their types.
    pub(in crate::backend::datafusion) fn schema(&self) -> Schema {
        let columns = self.outputs.iter().flat_map(|output| &output.columns);
        Schema::new(columns.map(|(name, data_type)| Field::new(name, data_type.clone(), true)).collect::<Vec<_>>())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key={}, measures: [", self.places.key)?;
        for (number, measure) in self.measures.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}measure {number} := {measure}")?;
            let met = self.routes.iter().flat_map(|route| &route.met).find(|met| met.measure == number);
            if let Some(Met { filter, arguments, .. }) = met {
                let arguments = arguments.iter().map(ToString::to_string).collect::<Vec<_>>();
                if !arguments.is_empty() {
                    write!(f, " of {}", arguments.join(", "))?;
                }
                if let Some(filter) = filter {
                    write!(f, " where {filter}")?;
                }
            }
        }
        f.write_str("]")
    }
}

impl fmt::Display for PlannedMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(types) = &self.event_type {
            let types = types.iter().map(|pattern| match pattern {
                EventTypePattern::Exact(name) => format!("{name:?}"),
                EventTypePattern::Prefix(start) => format!("{start:?}*"),
            });
            write!(f, " of type {}", types.collect::<Vec<_>>().join(" | "))?;
        }
        let windows = self.windows.iter().map(|Interval { from, to }| {
            let bound = |bound: &Option<jiff::Timestamp>| bound.map_or_else(|| "..".to_owned(), |at| at.to_string());
            format!("[{}, {})", bound(from), bound(to))
        });
        write!(f, " in {}", windows.collect::<Vec<_>>().join(" | "))
    }
}
