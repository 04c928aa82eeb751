//! The operator at work: the subjects, a pass over the events, and what it comes to, shard by shard.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatchOptions, StringViewArray};
use datafusion::arrow::compute::{SortOptions, concat, take};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PhysicalExpr, PlanProperties,
};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc::Sender;

use super::compile::compile;
use super::machine::{Machine, Stage as ReadStage};
use super::node::{OutputColumn, Side, Spec, SubjectReads};
use super::numbering::Numbering;
use super::program::Existence;
use super::reading::{Reading, Round, ended};
use super::shards::{Beyond, Shard, Shards};
use super::universe::{Ordered, SubjectRows, extended, ids_from, order};
use super::worker::{Counted, Look, Pass, Seen, Times, Unknown};
use crate::backend::Stage;
use crate::backend::datafusion::failure::internal;
use crate::backend::datafusion::function::text_argument;
use crate::model::catalog::Universe;

pub(in crate::backend::datafusion) use super::universe::Duplicates;

/// Shards of the subjects of a table for each thread, so that threads seldom meet in one, and at least.
const SHARDS_OF_THREAD: usize = 16;
const LEAST_SHARDS: usize = 32;

/// Subjects of a shard, as a power of two: at least, at most, and where nobody knows how many there will be.
const LEAST_BITS: u32 = 10;
const MOST_BITS: u32 = 17;
const GROWING_BITS: u32 = 14;

/// Subjects of a batch that comes out when no events make shards.
const ROWS: usize = 1 << 16;

/// The operator over its inputs.
#[derive(Debug)]
pub(in crate::backend::datafusion) struct SubjectsExec {
    spec: Arc<Spec>,
    inputs: Vec<Arc<dyn ExecutionPlan>>,
    job: Arc<Job>,
    properties: Arc<PlanProperties>,
}

/// What is compiled of a spec, and what an execution counts.
#[derive(Debug)]
struct Job {
    /// What is read of the subjects table, when there is one.
    subjects: Option<JobSubjects>,
    machines: Vec<Arc<Machine>>,
    columns: Vec<JobColumn>,
    universe: Universe,
    schema: SchemaRef,
    /// What was counted of the events of each program.
    counted: Vec<Arc<Counted>>,
    /// How long the subjects table took, and what tallies came to.
    subjects_time: Time,
    finish_time: Time,
    /// How often the events of the first program were read.
    passes: AtomicUsize,
}

#[derive(Debug)]
struct JobSubjects {
    reads: ReadStage,
    key: Arc<dyn PhysicalExpr>,
    counted: Counted,
}

#[derive(Debug)]
struct JobColumn {
    side: Side,
    expr: Arc<dyn PhysicalExpr>,
    absent: Option<ScalarValue>,
    data_type: DataType,
}

impl SubjectsExec {
    pub(super) fn new(
        spec: Arc<Spec>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        schema: SchemaRef,
        state: &dyn Session,
    ) -> Result<Self> {
        let job = Arc::new(Job::new(&spec, &inputs, Arc::clone(&schema), state)?);
        let mut equivalence = EquivalenceProperties::new(schema);
        let id = Arc::new(Column::new(&spec.names[0], 0));
        equivalence.add_ordering([PhysicalSortExpr::new(id, SortOptions { descending: false, nulls_first: true })]);
        let partitioning = Partitioning::UnknownPartitioning(1);
        let properties = PlanProperties::new(equivalence, partitioning, EmissionType::Final, Boundedness::Bounded);
        Ok(Self { spec, inputs, job, properties: Arc::new(properties) })
    }

    /// What was seen of the subjects table.
    pub(in crate::backend::datafusion) fn observed(&self) -> Seen {
        self.job.subjects.as_ref().map(|subjects| subjects.counted.observed()).unwrap_or_default()
    }

    /// How many measures are computed.
    pub(in crate::backend::datafusion) fn measures(&self) -> usize {
        self.job.machines.iter().map(|machine| machine.measures.len()).sum()
    }

    /// How often the events were read.
    pub(in crate::backend::datafusion) fn passes(&self) -> usize {
        self.job.passes.load(Ordering::Relaxed)
    }

    /// How long each stage took, all threads together.
    pub(in crate::backend::datafusion) fn stages(&self) -> Vec<Stage> {
        let sum = |time: fn(&Times) -> &Time| self.job.counted.iter().map(|counted| time(&counted.times).value()).sum();
        let stages = [
            ("read subjects", self.job.subjects_time.value()),
            ("scan events", sum(|times| &times.scan)),
            ("look up subjects", sum(|times| &times.look_up)),
            ("read values", sum(|times| &times.read)),
            ("accumulate", sum(|times| &times.tally)),
            ("compute measures", self.job.finish_time.value()),
        ];
        stages.map(|(name, nanos)| Stage { name, time: Duration::from_nanos(nanos as u64) }).to_vec()
    }

    /// What was seen of the events of a program.
    pub(in crate::backend::datafusion) fn observed_of(&self, program: usize) -> Seen {
        self.job.counted.get(program).map(|counted| counted.observed()).unwrap_or_default()
    }
}

impl Job {
    fn new(spec: &Spec, inputs: &[Arc<dyn ExecutionPlan>], schema: SchemaRef, state: &dyn Session) -> Result<Self> {
        let mut inputs = inputs.iter();
        let subjects = match (&spec.subjects, spec.subjects.as_ref().and_then(|_| inputs.next())) {
            (Some(SubjectReads { reads, key }), Some(input)) => {
                let counted = Counted::new(reads.kinds());
                let reads = ReadStage::new(reads, &input.schema(), state)?;
                let key = reads.compile(key, state)?;
                Some(JobSubjects { reads, key, counted })
            }
            _ => None,
        };
        let of_subjects = |expr: &Expr| match &subjects {
            Some(JobSubjects { reads, .. }) => reads.compile(expr, state),
            None => Err(internal("a column of no subjects table")),
        };
        let machines =
            spec.programs.iter().zip(inputs).map(|(program, input)| Ok(Arc::new(Machine::new(program, &input.schema(), state)?)));
        let machines = machines.collect::<Result<Vec<_>>>()?;
        let schemas = machines
            .iter()
            .map(|machine| Ok(Arc::new(DFSchema::try_from(machine.schema.as_ref().clone())?)))
            .collect::<Result<Vec<_>>>()?;
        let columns = spec.columns.iter().map(|OutputColumn { side, expr, absent, data_type, .. }| {
            let expr = match side {
                Side::Subjects => of_subjects(expr)?,
                Side::Events(program) => {
                    let schema = schemas.get(*program).ok_or_else(|| internal("a column of no events"))?;
                    compile(expr, schema, state)?
                }
            };
            Ok(JobColumn { side: *side, expr, absent: absent.clone(), data_type: data_type.clone() })
        });
        Ok(Self {
            columns: columns.collect::<Result<_>>()?,
            subjects,
            universe: spec.universe,
            schema,
            counted: machines.iter().map(|machine| Arc::new(Counted::new(machine.observations))).collect(),
            machines,
            subjects_time: Time::default(),
            finish_time: Time::default(),
            passes: AtomicUsize::new(0),
        })
    }

    /// Runs all of it; rows go to `output` as they are ready.
    async fn run(
        self: Arc<Self>,
        inputs: Vec<Arc<dyn ExecutionPlan>>,
        context: Arc<TaskContext>,
        output: Sender<Result<RecordBatch>>,
    ) -> Result<()> {
        let mut inputs = inputs.into_iter();
        let of_subjects = self.subjects.as_ref().and_then(|_| inputs.next());
        let sides: Vec<_> = inputs.collect();
        // Events are read ahead while nobody knows the subjects.
        let ahead = match sides.first() {
            Some(_) => Some(self.reading(&sides, 0, Round::First, &context)?),
            None => None,
        };
        let reading = self.subjects_time.timer();
        let subjects = match of_subjects {
            Some(input) => self.subjects(&input, &context).await?,
            None => SubjectRows::default().ordered(&[])?,
        };
        let pool = context.memory_pool();
        let held = MemoryConsumer::new("ids of subjects").register(pool);
        let whole = Whole { job: Arc::clone(&self), subjects: Arc::new(subjects), context: Arc::clone(&context), sides, output };
        let Some(ahead) = ahead else {
            drop(reading);
            return whole.rows_alone().await;
        };
        let numbering = Numbering::of(&whole.subjects.ids)?;
        held.try_resize(whole.subjects.size() + numbering.size())?;
        drop(reading);
        match self.machines.iter().all(|machine| machine.existence == Existence::Ignored) {
            true => whole.of_table(numbering, ahead).await,
            false => whole.of_events(numbering, ahead).await,
        }
    }

    /// Begins to read the events of a program.
    fn reading(
        &self,
        sides: &[Arc<dyn ExecutionPlan>],
        program: usize,
        round: Round,
        context: &Arc<TaskContext>,
    ) -> Result<Reading> {
        let parts = sides.get(program).zip(self.machines.get(program)).zip(self.counted.get(program));
        let ((input, machine), counted) = parts.ok_or_else(|| internal("a program without events"))?;
        if program == 0 {
            self.passes.fetch_add(1, Ordering::Relaxed);
        }
        Reading::start(input, machine, counted, round, context)
    }

    /// Reads the subjects table.
    async fn subjects(self: &Arc<Self>, input: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<Ordered> {
        let tasks: Vec<_> = (0..input.output_partitioning().partition_count())
            .map(|partition| {
                let rows = input.execute(partition, Arc::clone(context))?;
                let job = Arc::clone(self);
                Ok(SpawnedTask::spawn(async move { job.subjects_of(rows).await }))
            })
            .collect::<Result<_>>()?;
        let types: Vec<DataType> = self.of_table().map(|column| column.data_type.clone()).collect();
        let mut all = SubjectRows { keys: Vec::new(), columns: types.iter().map(|_| Vec::new()).collect() };
        for task in tasks {
            let SubjectRows { keys, columns } = task.join().await.map_err(ended)??;
            all.keys.extend(keys);
            for (all, columns) in all.columns.iter_mut().zip(columns) {
                all.extend(columns);
            }
        }
        all.ordered(&types)
    }

    async fn subjects_of(&self, mut rows: SendableRecordBatchStream) -> Result<SubjectRows> {
        let JobSubjects { reads, key, counted } = self.subjects.as_ref().ok_or_else(|| internal("no subjects table"))?;
        let mut read = SubjectRows { keys: Vec::new(), columns: self.of_table().map(|_| Vec::new()).collect() };
        let mut seen = Seen::of(counted.observed().counts.len());
        while let Some(batch) = rows.try_next().await? {
            let values = reads.read(&batch, None, &mut seen.counts)?;
            let column = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(&values)?.into_array(values.num_rows());
            let keys = text_argument(&[column(key)?], 0)?;
            seen.keyless += keys.null_count() as u64;
            read.keys.push(keys);
            for (columns, of_table) in read.columns.iter_mut().zip(self.of_table()) {
                columns.push(column(&of_table.expr)?);
            }
        }
        counted.add(&seen);
        Ok(read)
    }

    /// The columns that are computed of the subjects table.
    fn of_table(&self) -> impl Iterator<Item = &JobColumn> {
        self.columns.iter().filter(|column| column.side == Side::Subjects)
    }

    /// Puts the columns of some subjects together: those of the table, and those of events.
    fn assemble(
        &self,
        ids: ArrayRef,
        in_universe: ArrayRef,
        of_table: Vec<ArrayRef>,
        measures: &[RecordBatch],
    ) -> Result<RecordBatch> {
        let rows = ids.len();
        let mut of_table = of_table.into_iter();
        let mut columns = vec![ids, in_universe];
        for column in &self.columns {
            columns.push(match column.side {
                Side::Subjects => of_table.next().ok_or_else(|| internal("a column that was not read"))?,
                Side::Events(program) => {
                    let measures = measures.get(program).ok_or_else(|| internal("events that were not read"))?;
                    column.expr.evaluate(measures)?.into_array(rows)?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// One execution: what is known of the subjects, and where rows go.
struct Whole {
    job: Arc<Job>,
    subjects: Arc<Ordered>,
    context: Arc<TaskContext>,
    /// The events of each program.
    sides: Vec<Arc<dyn ExecutionPlan>>,
    output: Sender<Result<RecordBatch>>,
}

impl Whole {
    async fn send(&self, batch: RecordBatch) -> Result<Sent> {
        Ok(if self.output.send(Ok(batch)).await.is_ok() { Sent::Taken } else { Sent::Refused })
    }

    /// Subjects whose events nobody asks for.
    async fn rows_alone(&self) -> Result<()> {
        let rows = self.subjects.ids.len();
        for start in (0..rows).step_by(ROWS) {
            let batch = self.table_rows(start..rows.min(start + ROWS), &[])?;
            if self.send(batch).await? == Sent::Refused {
                break;
            }
        }
        Ok(())
    }

    /// Subjects of the table; all of them are in the universe.
    fn table_rows(&self, rows: Range<usize>, measures: &[RecordBatch]) -> Result<RecordBatch> {
        let in_universe = BooleanArray::from(vec![true; rows.len()]);
        let columns = self.subjects.columns.iter().map(|column| column.slice(rows.start, rows.len())).collect();
        let ids = self.subjects.ids.slice(rows.start, rows.len());
        self.job.assemble(Arc::new(ids), Arc::new(in_universe), columns, measures)
    }

    /// The subjects are those of the table. Those for whom memory does not suffice are left for a further pass.
    async fn of_table(&self, numbering: Numbering, ahead: Reading) -> Result<()> {
        let numbering = Arc::new(RwLock::new(numbering));
        let subjects = self.subjects.ids.len();
        let shards = (self.threads() * SHARDS_OF_THREAD).max(LEAST_SHARDS);
        let bits = (subjects / shards).next_power_of_two().ilog2().clamp(LEAST_BITS, MOST_BITS);
        let all = subjects.div_ceil(1 << bits);
        let (mut done, mut most) = (0, all);
        let mut ahead = Some(ahead);
        loop {
            let run = done..all.min(done + most);
            match self.run_of_table(&numbering, run.clone(), bits, ahead.take()).await {
                Ok((Sent::Taken, end)) => done = end,
                Ok((Sent::Refused, _)) => return Ok(()),
                // What is kept of the events of one program leaves no memory for those of the next.
                Err(error) if is_exhausted(&error) && run.len() > 1 => most = run.len() / 2,
                Err(error) => return Err(error),
            }
            if done >= all {
                return Ok(());
            }
        }
    }

    /// The subjects of some shards, in one pass over the events of each side; returns up to which shard there was memory for them.
    async fn run_of_table(
        &self,
        numbering: &Arc<RwLock<Numbering>>,
        run: Range<usize>,
        bits: u32,
        mut ahead: Option<Reading>,
    ) -> Result<(Sent, usize)> {
        let subjects = self.subjects.ids.len();
        let start = run.start << bits;
        // The first run sees the events of everybody, so that what is seen is counted once.
        let (look, seen_end) = if start == 0 { (Look::First, subjects) } else { (Look::Again, subjects.min(run.end << bits)) };
        let round = if ahead.is_some() { Round::First } else { Round::Later };
        let mut passes = Vec::new();
        for program in 0..self.job.machines.len() {
            let looked_at = number(start)..number(seen_end);
            let pass = self.pass(program, numbering, Unknown::LeftOut, looked_at, (bits, Beyond::GivesUp))?;
            pass.shards.grow(subjects.min(run.end << bits), &pass.machine)?;
            let reading = self.reading(&mut ahead, program, round)?;
            if look == Look::First {
                self.job.counted.get(program).iter().for_each(|counted| counted.forget());
            }
            reading.finish(&pass, look).await?;
            passes.push(pass);
        }
        let end = passes.iter().map(|pass| pass.shards.count()).min().unwrap_or(0);
        let run = run.start..run.start + end;
        let end = subjects.min(run.end << bits);
        let shards: Vec<Vec<_>> = passes.iter().map(|pass| pass.shards.all()).collect();
        let rows = |shard: usize| start + (shard << bits)..end.min(start + ((shard + 1) << bits));
        let finished = futures::stream::iter(0..run.len()).map(|shard| {
            let parts: Vec<_> = shards.iter().filter_map(|shards| shards.get(shard).cloned()).collect();
            let job = Arc::clone(&self.job);
            let count = rows(shard).len();
            SpawnedTask::spawn_blocking(move || job.finish(&parts, count))
        });
        let mut finished = finished.buffered(self.threads());
        let mut shard = 0;
        while let Some(measures) = finished.next().await {
            let (measures, _) = measures.map_err(ended)??;
            let batch = self.table_rows(rows(shard), &measures)?;
            if self.send(batch).await? == Sent::Refused {
                return Ok((Sent::Refused, run.end));
            }
            shard += 1;
        }
        Ok((Sent::Taken, run.end))
    }

    /// Subjects come from the events, beside those of the table when there is one.
    async fn of_events(&self, numbering: Numbering, ahead: Reading) -> Result<()> {
        let known = numbering.len();
        let numbering = Arc::new(RwLock::new(numbering));
        let mut passes = Vec::new();
        let mut ahead = Some(ahead);
        for program in 0..self.job.machines.len() {
            // Subjects come from the first, and the others are read when all are known.
            let unknown = if program == 0 { Unknown::Numbered } else { Unknown::LeftOut };
            let pass = self.pass(program, &numbering, unknown, 0..u32::MAX, (GROWING_BITS, Beyond::Fails))?;
            pass.shards.grow(numbering.read().unwrap_or_else(PoisonError::into_inner).len(), &pass.machine)?;
            self.reading(&mut ahead, program, Round::First)?.finish(&pass, Look::First).await?;
            passes.push(pass);
        }
        self.in_order(&passes, known).await
    }

    /// Puts subjects that came in any order in that of their ids.
    async fn in_order(&self, passes: &[Arc<Pass>], known: usize) -> Result<()> {
        let first = passes.first().ok_or_else(|| internal("events that were not read"))?;
        let new = ids_from(&first.numbering.read().unwrap_or_else(PoisonError::into_inner), known)?;
        let all = known + new.len();
        let ids = concat(&[&self.subjects.ids as &dyn Array, &new])?;
        let order = order(ids.as_any().downcast_ref::<StringViewArray>().ok_or_else(|| internal("ids that are no text"))?)?;
        let mut pieces = Vec::new();
        let shards = all.div_ceil(1 << GROWING_BITS);
        for pass in passes {
            pass.shards.grow(all, &pass.machine)?;
        }
        for shard in 0..shards {
            let rows = shard << GROWING_BITS..all.min((shard + 1) << GROWING_BITS);
            let parts: Vec<_> = passes.iter().filter_map(|pass| pass.shards.all().get(shard).cloned()).collect();
            let (measures, exists) = self.job.finish(&parts, rows.len())?;
            let in_universe: BooleanArray = rows
                .clone()
                .zip(exists)
                .map(|(row, exists)| {
                    Some(match self.job.universe {
                        Universe::Table => row < known,
                        Universe::Events => exists,
                        Universe::Union => row < known || exists,
                    })
                })
                .collect();
            let columns = self.subjects.columns.iter().zip(self.job.of_table()).map(|(column, planned)| {
                let within = column.slice(rows.start.min(known), rows.len().min(known.saturating_sub(rows.start)));
                extended(&within, planned.absent.as_ref(), rows.len() - within.len())
            });
            let columns = columns.collect::<Result<_>>()?;
            let ids = ids.slice(rows.start, rows.len());
            pieces.push(self.job.assemble(ids, Arc::new(in_universe), columns, &measures)?);
        }
        let rows = datafusion::arrow::compute::concat_batches(&self.job.schema, &pieces)?;
        drop(pieces);
        for start in (0..all).step_by(ROWS) {
            let order = order.slice(start, ROWS.min(all - start));
            let columns = rows.columns().iter().map(|column| take(column, &order, None)).collect::<Result<_, _>>()?;
            if self.send(RecordBatch::try_new(Arc::clone(&self.job.schema), columns)?).await? == Sent::Refused {
                break;
            }
        }
        Ok(())
    }

    fn pass(
        &self,
        program: usize,
        numbering: &Arc<RwLock<Numbering>>,
        unknown: Unknown,
        subjects: Range<u32>,
        (bits, beyond): (u32, Beyond),
    ) -> Result<Arc<Pass>> {
        let machine = self.job.machines.get(program).ok_or_else(|| internal("a pass of no program"))?;
        let reserved: MemoryReservation = MemoryConsumer::new("measures of subjects").register(self.context.memory_pool());
        Ok(Arc::new(Pass {
            machine: Arc::clone(machine),
            numbering: Arc::clone(numbering),
            unknown,
            shards: Shards::new(subjects.start, bits, beyond, reserved),
            subjects,
            threads: self.threads(),
        }))
    }

    /// The events of a program: those that are read already, or read from now on.
    fn reading(&self, ahead: &mut Option<Reading>, program: usize, round: Round) -> Result<Reading> {
        match ahead.take() {
            Some(reading) => Ok(reading),
            None => self.job.reading(&self.sides, program, round, &self.context),
        }
    }

    fn threads(&self) -> usize {
        self.context.session_config().target_partitions().max(1)
    }
}

/// What became of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Taken,
    /// Nobody wants more of them.
    Refused,
}

impl Job {
    /// What the tallies of a shard come to, on each side, and who of its subjects has an event.
    fn finish(&self, parts: &[Arc<std::sync::Mutex<Shard>>], subjects: usize) -> Result<(Vec<RecordBatch>, Vec<bool>)> {
        let _finishing = self.finish_time.timer();
        let mut measures = Vec::new();
        let mut exists = Vec::new();
        for (index, (machine, part)) in self.machines.iter().zip(parts).enumerate() {
            let mut shard = part.lock().unwrap_or_else(PoisonError::into_inner);
            let mut tallies = std::mem::take(&mut shard.tallies);
            measures.push(machine.finish(&mut tallies, subjects)?);
            if index == 0 {
                exists = (0..subjects).map(|subject| shard.exists(subject)).collect();
            }
        }
        Ok((measures, exists))
    }
}

/// The number of a subject; there are fewer than 2^32.
fn number(subject: usize) -> u32 {
    u32::try_from(subject).unwrap_or(u32::MAX)
}

fn is_exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

impl DisplayAs for SubjectsExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (measures, columns) = (self.measures(), self.spec.columns.len());
        write!(f, "SubjectsExec: universe={:?}, measures={measures}, columns={columns}", self.spec.universe)
    }
}

impl ExecutionPlan for SubjectsExec {
    fn name(&self) -> &str {
        "SubjectsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inputs.iter().collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![true; self.inputs.len()]
    }

    /// None that the optimiser could change.
    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            spec: Arc::clone(&self.spec),
            inputs: children,
            job: Arc::clone(&self.job),
            properties: Arc::clone(&self.properties),
        }))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut stream = RecordBatchReceiverStream::builder(Arc::clone(&self.job.schema), 2);
        let output = stream.tx();
        let run = Arc::clone(&self.job).run(self.inputs.clone(), context, output);
        stream.spawn(run);
        Ok(stream.build())
    }
}
