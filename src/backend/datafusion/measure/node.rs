//! The operator in a logical plan, and how it becomes a physical one.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::exec::SubjectsExec;
use super::program::Program;
use crate::backend::datafusion::failure::internal;
use crate::backend::datafusion::reads::Steps;
use crate::model::catalog::Universe;

/// What the operator computes.
#[derive(Debug)]
pub(in crate::backend::datafusion) struct Spec {
    /// What is read of the first input, when that is the subjects table.
    pub(in crate::backend::datafusion) subjects: Option<SubjectReads>,
    /// What is computed of each of the other inputs, which are events. Subjects come from the first of them, when they come from events.
    pub(in crate::backend::datafusion) programs: Vec<Program>,
    /// Who is in the universe.
    pub(in crate::backend::datafusion) universe: Universe,
    /// The column with the id, that with whether the subject is in the universe.
    pub(in crate::backend::datafusion) names: [String; 2],
    /// The further columns.
    pub(in crate::backend::datafusion) columns: Vec<OutputColumn>,
}

/// What is read of rows of the subjects table.
#[derive(Debug)]
pub(in crate::backend::datafusion) struct SubjectReads {
    pub(in crate::backend::datafusion) reads: Steps,
    /// The value that is the key.
    pub(in crate::backend::datafusion) key: Expr,
}

/// A column that comes out.
#[derive(Debug, Clone)]
pub(in crate::backend::datafusion) struct OutputColumn {
    /// Its name.
    pub(in crate::backend::datafusion) name: String,
    /// Of which input it is computed.
    pub(in crate::backend::datafusion) side: Side,
    /// How.
    pub(in crate::backend::datafusion) expr: Expr,
    /// What it is for a subject that the subjects table has no row of; `None` = NULL.
    pub(in crate::backend::datafusion) absent: Option<ScalarValue>,
    /// Its type.
    pub(in crate::backend::datafusion) data_type: DataType,
}

/// An input of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::datafusion) enum Side {
    /// The subjects table.
    Subjects,
    /// The events of that program.
    Events(usize),
}

/// Subjects with what is computed of their rows and their events: a row for each, by ascending id.
#[derive(Debug, Clone)]
pub(in crate::backend::datafusion) struct SubjectsNode {
    inputs: Vec<LogicalPlan>,
    spec: Arc<Spec>,
    schema: DFSchemaRef,
}

impl SubjectsNode {
    /// The operator over the subjects table, if there is one, and the events of each program.
    pub(in crate::backend::datafusion) fn new(inputs: Vec<LogicalPlan>, spec: Spec) -> Result<Self> {
        let [id, in_universe] = &spec.names;
        let mut fields = vec![Field::new(id, DataType::Utf8View, true), Field::new(in_universe, DataType::Boolean, true)];
        fields.extend(spec.columns.iter().map(|column| Field::new(&column.name, column.data_type.clone(), true)));
        let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
        Ok(Self { inputs, spec: Arc::new(spec), schema })
    }

    fn identity(&self) -> *const Spec {
        Arc::as_ptr(&self.spec)
    }
}

impl PartialEq for SubjectsNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity() && self.inputs == other.inputs
    }
}

impl Eq for SubjectsNode {}

impl PartialOrd for SubjectsNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Hash for SubjectsNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
        self.inputs.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for SubjectsNode {
    fn name(&self) -> &str {
        "Subjects"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// None that the optimiser could see: they are over columns that are read inside.
    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subjects: universe={:?}", self.spec.universe)?;
        if let Some(SubjectReads { key, .. }) = &self.spec.subjects {
            write!(f, "; rows: key={key}")?;
        }
        for (index, program) in self.spec.programs.iter().enumerate() {
            let what = if index == 0 { "events".to_owned() } else { format!("events {index}") };
            write!(f, "; {what}: {program}")?;
        }
        let columns = self.spec.columns.iter().map(|column| format!("{} := {}", column.name, column.expr));
        write!(f, "; columns: [{}]", columns.collect::<Vec<_>>().join(", "))
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(Self { inputs, spec: Arc::clone(&self.spec), schema: Arc::clone(&self.schema) })
    }
}

/// Makes the operator physical.
#[derive(Debug)]
pub(in crate::backend::datafusion) struct SubjectsPlanner;

#[async_trait]
impl ExtensionPlanner for SubjectsPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        state: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<SubjectsNode>() else { return Ok(None) };
        if physical_inputs.len() != usize::from(node.spec.subjects.is_some()) + node.spec.programs.len() {
            return Err(internal("a plan of subjects with other inputs than it was planned with"));
        }
        let exec =
            SubjectsExec::new(Arc::clone(&node.spec), physical_inputs.to_vec(), node.schema.as_arrow().clone().into(), state)?;
        Ok(Some(Arc::new(exec)))
    }
}
