//! Expressions made physical outside of a plan: what the optimiser does to the expressions of a plan, they need as well.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::{DFSchemaRef, Result};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;

/// The physical form of an expression over the columns of a schema.
pub(super) fn compile(expr: &Expr, schema: &DFSchemaRef, state: &dyn Session) -> Result<Arc<dyn PhysicalExpr>> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(schema))
        .with_config_options(Arc::clone(state.config().options()))
        .build();
    let simplifier = ExprSimplifier::new(context);
    let expr = simplifier.coerce(expr.clone(), schema)?;
    state.create_physical_expr(simplifier.simplify(expr)?, schema)
}
