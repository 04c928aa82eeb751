//! A [`Program`] made ready to run: its expressions compiled, its measures sized.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatchOptions, StringViewArray, UInt32Array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::PhysicalExpr;
use indexmap::IndexSet;

use super::bands::Bounds;
use super::compile::compile;
use super::program::{Existence, Met, Program, Route};
use super::router::Router;
use super::tally::{Argument, Longer, Measure, Tally, Window};
use crate::backend::datafusion::failure::internal;
use crate::backend::datafusion::function::{holds, text_argument};
use crate::backend::datafusion::reads::Steps;

/// A program that can run.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) base: Stage,
    key: Arc<dyn PhysicalExpr>,
    time: Arc<dyn PhysicalExpr>,
    event_type: Option<Arc<dyn PhysicalExpr>>,
    pub(super) as_of: i64,
    pub(super) bounds: Bounds,
    pub(super) router: Router,
    pub(super) routes: Vec<MachineRoute>,
    pub(super) measures: Vec<Measure>,
    pub(super) longer: Arc<Longer>,
    outputs: Vec<(usize, Window)>,
    /// What comes out for each subject.
    pub(super) schema: SchemaRef,
    pub(super) observations: usize,
    pub(super) existence: Existence,
}

/// The events of one route.
#[derive(Debug)]
pub(super) struct MachineRoute {
    reads: Stage,
    id: Option<Arc<dyn PhysicalExpr>>,
    filters: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) met: Vec<MachineMet>,
    /// Whether some measure takes events of each span of time.
    pub(super) spans: Vec<bool>,
    /// Whether some measure takes events of any.
    pub(super) is_met: bool,
}

/// A measure on a route.
#[derive(Debug)]
pub(super) struct MachineMet {
    pub(super) measure: usize,
    /// Among the filters of the route.
    pub(super) filter: Option<usize>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
}

/// What says who did what when, of a batch of events.
pub(super) struct Base {
    pub(super) keys: StringViewArray,
    pub(super) times: ArrayRef,
    pub(super) types: Option<StringViewArray>,
}

/// What the measures of a route are told of some events.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) ids: Option<StringViewArray>,
    pub(super) filters: Vec<BooleanBuffer>,
    /// Of each measure of the route.
    pub(super) arguments: Vec<Vec<Argument>>,
}

impl Machine {
    /// Compiles a program over a scan with this schema.
    pub(super) fn new(program: &Program, schema: &SchemaRef, state: &dyn Session) -> Result<Self> {
        let base = Stage::new(&program.base, schema, state)?;
        let compiled = |expr: &Expr| base.compile(expr, state);
        let places = &program.places;
        let (key, time) = (compiled(&places.key)?, compiled(&places.time)?);
        let event_type = places.event_type.as_ref().map(compiled).transpose()?;
        let longer = Arc::new(Longer::default());
        let mut routes = Vec::new();
        let mut argument_types: Vec<Option<Vec<DataType>>> = vec![None; program.measures.len()];
        for route in &program.routes {
            let (route, types) = MachineRoute::new(route, program, schema, state)?;
            for (met, types) in route.met.iter().zip(types) {
                if let Some(known) = argument_types.get_mut(met.measure) {
                    *known = Some(types);
                }
            }
            routes.push(route);
        }
        let measures = program.measures.iter().zip(&program.bands).zip(argument_types);
        let measures = measures.map(|((measure, bands), types)| {
            let types = types.ok_or_else(|| internal("a measure that no event meets"))?;
            Measure::new(measure.kind.clone(), &types, &program.bounds, bands.clone(), Arc::clone(&longer))
        });
        let measures = measures.collect::<Result<Vec<_>>>()?;
        let outputs = program.outputs.iter().map(|output| {
            let planned = program.measures.get(output.measure).zip(measures.get(output.measure));
            let (planned, measure) = planned.ok_or_else(|| internal("a column of no measure"))?;
            let interval = planned.windows.get(output.window).ok_or_else(|| internal("a column of no window"))?;
            let micros = |at: Option<jiff::Timestamp>| at.map(jiff::Timestamp::as_microsecond);
            Ok((output.measure, measure.window(output.window, micros(interval.from), micros(interval.to))))
        });
        let outputs = outputs.collect::<Result<_>>()?;
        Ok(Self {
            base,
            key,
            time,
            event_type,
            as_of: program.as_of,
            bounds: program.bounds.clone(),
            router: program.router.clone(),
            routes,
            measures,
            longer,
            outputs,
            schema: Arc::new(program.schema()),
            observations: program.observations,
            existence: program.existence,
        })
    }

    /// Who did what when.
    pub(super) fn base(&self, read: &RecordBatch) -> Result<Base> {
        let column = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(read)?.into_array(read.num_rows());
        Ok(Base {
            keys: text_argument(&[column(&self.key)?], 0)?,
            times: column(&self.time)?,
            types: self.event_type.as_ref().map(|types| text_argument(&[column(types)?], 0)).transpose()?,
        })
    }

    /// The columns of subjects from their tallies.
    pub(super) fn finish(&self, tallies: &mut [Box<dyn Tally>], subjects: usize) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (measure, window) in &self.outputs {
            let tally = tallies.get_mut(*measure).ok_or_else(|| internal("a measure without a tally"))?;
            columns.extend(tally.finish(window)?.into_iter().map(|column| column.slice(0, subjects.min(column.len()))));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(subjects));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl MachineRoute {
    /// Compiles a route; with the types of the arguments of each of its measures.
    fn new(route: &Route, program: &Program, schema: &SchemaRef, state: &dyn Session) -> Result<(Self, Vec<Vec<DataType>>)> {
        let reads = Stage::new(&route.reads, schema, state)?;
        let mut filters: IndexSet<&Expr> = IndexSet::new();
        let mut met = Vec::new();
        let mut types = Vec::new();
        for Met { measure, filter, arguments } in &route.met {
            let arguments = arguments.iter().map(|argument| reads.compile(argument, state)).collect::<Result<Vec<_>>>()?;
            types.push(arguments.iter().map(|argument| argument.data_type(&reads.schema)).collect::<Result<_>>()?);
            let filter = filter.as_ref().map(|filter| filters.insert_full(filter).0);
            met.push(MachineMet { measure: *measure, filter, arguments });
        }
        let takes = |span: usize| {
            let mut bands = route.met.iter().filter_map(|met| program.bands.get(met.measure));
            bands.any(|bands| bands.of_span(span) != super::bands::NO_BAND)
        };
        let filters = filters.into_iter().map(|filter| reads.compile(filter, state)).collect::<Result<_>>()?;
        let id = route.id.as_ref().map(|id| reads.compile(id, state)).transpose()?;
        let spans: Vec<bool> = (0..program.bounds.spans()).map(takes).collect();
        let is_met = spans.contains(&true);
        Ok((Self { reads, id, filters, met, spans, is_met }, types))
    }

    /// Reads the events in these rows of a batch.
    pub(super) fn tell(&self, batch: &RecordBatch, rows: &UInt32Array, measures: &[Measure], observed: &mut [u64]) -> Result<Told> {
        let read = self.reads.read(batch, Some(rows), observed)?;
        let column = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&read)?.into_array(read.num_rows());
        let filters = self.filters.iter().map(|filter| holds(column(filter)?.as_ref())).collect::<Result<_>>()?;
        let arguments = self.met.iter().map(|met| {
            let columns = met.arguments.iter().map(column).collect::<Result<Vec<_>>>()?;
            measures.get(met.measure).ok_or_else(|| internal("a route to no measure"))?.arguments(columns)
        });
        let arguments = arguments.collect::<Result<_>>()?;
        let ids = self.id.as_ref().map(|id| text_argument(&[column(id)?], 0)).transpose()?;
        Ok(Told { ids, filters, arguments })
    }
}

/// Values read from columns of a scan: those inside of JSON first, then all others.
#[derive(Debug)]
pub(super) struct Stage {
    /// The columns of the scan that are needed.
    inputs: Vec<usize>,
    json: Vec<Arc<dyn PhysicalExpr>>,
    json_schema: SchemaRef,
    columns: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    df_schema: DFSchemaRef,
    /// What is counted, over `json_schema`.
    observations: Vec<(usize, Arc<dyn PhysicalExpr>)>,
}

impl Stage {
    pub(super) fn new(steps: &Steps, scan: &SchemaRef, state: &dyn Session) -> Result<Self> {
        let exprs = steps.json.iter().chain(&steps.columns).map(|(_, expr)| expr);
        let exprs: Vec<&Expr> = exprs.chain(steps.observations.iter().map(|(_, expr)| expr)).collect();
        let is_read = |name: &str| exprs.iter().any(|expr| expr.column_refs().iter().any(|column| column.name == name));
        let inputs: Vec<usize> = (0..scan.fields().len()).filter(|index| is_read(scan.field(*index).name())).collect();
        let mut fields: Vec<Arc<Field>> = inputs.iter().map(|index| Arc::clone(&scan.fields()[*index])).collect();
        let input = Arc::new(DFSchema::try_from(Schema::new(fields.clone()))?);
        let mut json = Vec::new();
        for (name, expr) in &steps.json {
            let expr = compile(expr, &input, state)?;
            fields.push(Arc::new(Field::new(name, expr.data_type(input.as_arrow())?, true)));
            json.push(expr);
        }
        let json_schema = Arc::new(Schema::new(fields));
        let of_json = Arc::new(DFSchema::try_from(json_schema.as_ref().clone())?);
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for (name, expr) in &steps.columns {
            let expr = compile(expr, &of_json, state)?;
            fields.push(Field::new(name, expr.data_type(&json_schema)?, true));
            columns.push(expr);
        }
        let schema = Arc::new(Schema::new(fields));
        let observations = steps.observations.iter().map(|(kind, expr)| Ok((*kind, compile(expr, &of_json, state)?)));
        let observations = observations.collect::<Result<_>>()?;
        let df_schema = Arc::new(DFSchema::try_from(schema.as_ref().clone())?);
        Ok(Self { inputs, json, json_schema, columns, schema, df_schema, observations })
    }

    /// An expression over what is read.
    pub(super) fn compile(&self, expr: &Expr, state: &dyn Session) -> Result<Arc<dyn PhysicalExpr>> {
        compile(expr, &self.df_schema, state)
    }

    /// Reads the rows of a batch, or some of them, and counts what is to be counted.
    pub(super) fn read(&self, batch: &RecordBatch, rows: Option<&UInt32Array>, observed: &mut [u64]) -> Result<RecordBatch> {
        let count = rows.map_or(batch.num_rows(), Array::len);
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let mut inputs: Vec<ArrayRef> = Vec::with_capacity(self.json_schema.fields().len());
        for index in &self.inputs {
            let column = batch.columns().get(*index).ok_or_else(|| internal("a scan without a column"))?;
            inputs.push(match rows {
                Some(rows) => take(column, rows, None)?,
                None => Arc::clone(column),
            });
        }
        if !self.json.is_empty() {
            let fields: Vec<Arc<Field>> = self.json_schema.fields().iter().take(inputs.len()).cloned().collect();
            let before = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), inputs.clone(), &options)?;
            for expr in &self.json {
                inputs.push(expr.evaluate(&before)?.into_array(count)?);
            }
        }
        let input = RecordBatch::try_new_with_options(Arc::clone(&self.json_schema), inputs, &options)?;
        for (kind, occurs) in &self.observations {
            let occurs = holds(occurs.evaluate(&input)?.into_array(count)?.as_ref())?;
            if let Some(observed) = observed.get_mut(*kind) {
                *observed += occurs.count_set_bits() as u64;
            }
        }
        let columns = self.columns.iter().map(|expr| expr.evaluate(&input)?.into_array(count)).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}
