//! [`Reads`]: the values that a batch reads from the rows of one table, each once, whoever asks for it.
//!
//! They become [`Steps`], which the operator that computes subjects takes: one that reads each JSON text, and one with a column per value,
//! named for what it is. As projections of a plan they are only where a row has to be looked at before it gets there: the optimiser puts
//! projections together, and reads a JSON text once for each value in it.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlanBuilder, and, cast, lit, or, when};
use indexmap::{IndexMap, IndexSet};

use super::date::{DaysToAnniversary, InstantInText, InstantOfMillis, Local, LocalPart, StartOfDay};
use super::elements::{Conversion, ReadElements};
use super::form::{Form, Typed};
use super::function::call;
use super::json::{INVALID, JsonRead, ReadJson, Wanted, misfit_field, value_field};
use super::number::{Addend, ExactSum, Finite, NumberInText, SUM_SCALE};
use super::source::Presence;
use super::text::{BooleanInText, NotEmpty, text_literal};
use crate::backend::ObservationKind;
use crate::check::{ElementType, Reading};
use crate::ir::Value;
use crate::model::catalog::{Access, ColumnType};
use crate::plan::BatchValue;

/// Digits up to which a DECIMAL is summed in 128 bits: the sum of 10^10 such values fits.
const NARROW_SUM: u8 = 28;

/// The values read from the rows of one table.
#[derive(Debug)]
pub(super) struct Reads {
    local: Local,
    /// JSON texts, by where they are, with what is read from each.
    json: IndexMap<String, JsonText>,
    /// The columns of the second projection.
    columns: IndexMap<String, Expr>,
    /// Where a value is there and does not fit.
    misfits: BTreeMap<ObservationKind, Expr>,
    /// Of the columns of the scan that may have lost a value to their declaration.
    presences: Vec<Presence>,
}

#[derive(Debug)]
struct JsonText {
    text: Expr,
    reads: Vec<JsonRead>,
}

/// Values in the steps in which they are read, for those who read them without a plan.
#[derive(Debug, Default)]
pub(super) struct Steps {
    /// What is read inside of JSON, over the columns of a scan.
    pub(super) json: Vec<(String, Expr)>,
    /// The values, over those and what was read.
    pub(super) columns: Vec<(String, Expr)>,
    /// Where something is to be counted, by the number of its kind; over the same columns as the values.
    pub(super) observations: Vec<(usize, Expr)>,
}

impl Steps {
    /// The columns of the scan that are read.
    pub(super) fn columns_read(&self) -> BTreeSet<String> {
        let exprs = self.json.iter().chain(&self.columns).map(|(_, expr)| expr);
        let exprs = exprs.chain(self.observations.iter().map(|(_, expr)| expr));
        let names = exprs.flat_map(|expr| expr.column_refs().into_iter().map(|column| column.name.clone()).collect::<Vec<_>>());
        // What is read of JSON is read of other columns.
        names.filter(|name| !self.json.iter().any(|(made, _)| made == name)).collect()
    }

    /// How many kinds there are to count, as far as these steps count some.
    pub(super) fn kinds(&self) -> usize {
        self.observations.iter().map(|(kind, _)| kind + 1).max().unwrap_or(0)
    }

    /// The values as columns, over a scan with this schema.
    pub(super) fn schema(&self, scan: &DFSchema) -> Result<DFSchema> {
        let typed = |columns: &[(String, Expr)], over: &DFSchema| {
            let field = |(name, expr): &(String, Expr)| Ok(Field::new(name, expr.get_type(over)?, true));
            DFSchema::try_from(Schema::new(columns.iter().map(field).collect::<Result<Vec<_>>>()?))
        };
        typed(&self.columns, &scan.join(&typed(&self.json, scan)?)?)
    }
}

/// What a value is before it has a column: an expression over the scan and the JSON that was read.
struct Definition {
    expr: Expr,
    form: Form,
    /// True where a value is there and does not fit; `None` when that cannot be.
    misfit: Option<Expr>,
}

/// The column of that name.
pub(super) fn named(name: impl Into<String>) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The plan with more columns.
pub(super) fn with_columns(plan: LogicalPlanBuilder, columns: Vec<Expr>) -> Result<LogicalPlanBuilder> {
    if columns.is_empty() {
        return Ok(plan);
    }
    let all: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).chain(columns).collect();
    plan.project(all)
}

/// The stored value when it is a whole column of the source, which a scan can prune by.
pub(super) fn plain_column(access: &Access) -> Option<Expr> {
    (access.json.is_none() && access.fields.is_empty()).then(|| named(&access.column))
}

impl Reads {
    /// Nothing yet. The scan has the columns of these presences.
    pub(super) fn new(local: Local, presences: Vec<Presence>) -> Self {
        Self { local, json: IndexMap::new(), columns: IndexMap::new(), misfits: BTreeMap::new(), presences }
    }

    /// The column of a value.
    pub(super) fn value(&mut self, BatchValue { value, as_of }: &BatchValue) -> Result<Typed> {
        let as_of = as_of.unwrap_or_else(|| self.local.calendar.as_of());
        match value {
            Value::Stored(access, reading) => self.stored(access, Wanted::As(*reading)),
            Value::DaysSince(access) => {
                let Typed { expr, .. } = self.stored(access, Wanted::As(Reading::Date))?;
                Ok(Typed { expr, form: Form::Age { as_of } })
            }
            Value::DaysToAnniversary(access) => {
                let instant = self.counted(access, Wanted::As(Reading::Date))?.expr;
                let local = self.local.at(as_of);
                let name = format!("days to anniversary of {access} from {}", local.calendar.date_of(as_of));
                Ok(self.column(name, call(DaysToAnniversary(local), vec![instant]), Form::Integer))
            }
            Value::Part(part, access) => {
                let instant = self.counted(access, Wanted::As(Reading::Date))?.expr;
                let value = call(LocalPart { local: self.local.clone(), part: *part }, vec![instant]);
                Ok(self.column(format!("{} of {access}", part.keyword()), value, Form::Integer))
            }
            Value::Mean(paths) => {
                let terms = paths.iter().map(|access| self.addend_definition(access)).collect::<Result<Vec<_>>>()?;
                let scale = terms.iter().map(|(_, _, scale)| *scale).max().unwrap_or(0);
                let sum = call(ExactSum { scale }, terms.into_iter().map(|(expr, _, _)| expr).collect());
                let count = lit(i64::try_from(paths.len()).unwrap_or(i64::MAX));
                let names: Vec<String> = paths.iter().map(ToString::to_string).collect();
                Ok(self.column(format!("sum of {}", names.join(", ")), sum, Form::Average { count: Box::new(count) }))
            }
        }
    }

    /// What stands at the end of a column's structs and maps, over the columns of a scan.
    pub(super) fn raw_value(access: &Access) -> Result<Expr> {
        access.fields.iter().try_fold(named(&access.column), |parent, field| {
            // The child of a NULL struct or map may hold anything. Keys of maps are compared in the type that they have.
            let key = ScalarValue::Utf8View(Some(field.clone()));
            when(parent.clone().is_not_null(), get_field(parent, key)).end()
        })
    }

    /// The column of a stored value.
    pub(super) fn stored(&mut self, access: &Access, wanted: Wanted) -> Result<Typed> {
        let definition = self.counted(access, wanted)?;
        Ok(self.stored_column(access, wanted, definition))
    }

    /// The column of the time of an event. An event whose time does not fit the declared type has none and is counted as such, so
    /// that it does not count as a misfit of the declaration as well, unless the time is also read as a property.
    pub(super) fn time(&mut self, access: &Access) -> Result<Expr> {
        let wanted = Wanted::As(Reading::Date);
        let definition = self.definition(access, wanted)?;
        self.count_misfit(access, wanted, &definition);
        Ok(self.stored_column(access, wanted, definition).expr)
    }

    fn stored_column(&mut self, access: &Access, wanted: Wanted, definition: Definition) -> Typed {
        let noun = match wanted {
            Wanted::As(Reading::Text) => "text",
            Wanted::As(Reading::Number) => "number",
            Wanted::As(Reading::Boolean) => "boolean",
            Wanted::As(Reading::Date) => "instant",
            Wanted::As(Reading::Elements(ElementType::Text)) => "texts",
            Wanted::As(Reading::Elements(ElementType::Number)) => "numbers",
            Wanted::As(Reading::Elements(ElementType::Boolean)) => "booleans",
            Wanted::As(Reading::Elements(ElementType::Any)) => "elements",
            Wanted::As(Reading::Stored) => "stored",
            Wanted::Identity => "identity",
        };
        self.column(format!("{access} as {noun}"), definition.expr, definition.form)
    }

    /// The column of a stored value read as text.
    pub(super) fn text(&mut self, access: &Access) -> Result<Expr> {
        Ok(self.stored(access, Wanted::As(Reading::Text))?.expr)
    }

    /// The column of what a number adds to a sum: a DECIMAL.
    pub(super) fn addend(&mut self, access: &Access) -> Result<Typed> {
        let (expr, precision, scale) = self.addend_definition(access)?;
        Ok(self.column(format!("{access} as addend"), expr, Form::Decimal { precision, scale }))
    }

    /// The column of a subject's key: text, NULL when there is none.
    pub(super) fn key(&mut self, access: &Access) -> Result<Expr> {
        let text = self.definition(access, Wanted::As(Reading::Text))?.expr;
        Ok(self.column(format!("key {access}"), call(NotEmpty, vec![text]), Form::Text).expr)
    }

    /// The column of something derived from an instant that was read.
    pub(super) fn derived(
        &mut self,
        name: String,
        access: &Access,
        derive: impl FnOnce(Expr) -> Expr,
        form: Form,
    ) -> Result<Typed> {
        let instant = self.definition(access, Wanted::As(Reading::Date))?.expr;
        Ok(self.column(name, derive(instant), form))
    }

    /// The column of a source's column, as it is or changed.
    pub(super) fn raw(&mut self, name: String, expr: Expr) -> Expr {
        self.columns.insert(name.clone(), expr);
        named(name)
    }

    /// The steps in which the values are read. What is counted is numbered by its place among all `kinds`.
    pub(super) fn steps(self, kinds: &mut IndexSet<ObservationKind>) -> Steps {
        let mut steps = Steps { columns: self.columns.into_iter().collect(), ..Steps::default() };
        for source in self.json.keys() {
            let kind = ObservationKind::InvalidJson { column: source.clone() };
            steps.observations.push((kinds.insert_full(kind).0, get_field(named(json_column(source)), INVALID)));
        }
        for (kind, occurs) in self.misfits {
            steps.observations.push((kinds.insert_full(kind).0, occurs));
        }
        for (source, JsonText { text, reads }) in self.json {
            let read = call(ReadJson { reads, local: self.local.clone() }, vec![text]);
            steps.json.push((json_column(&source), read));
        }
        steps
    }

    /// Projects the values beside the columns of the scan.
    pub(super) fn beside(self, scan: LogicalPlanBuilder) -> Result<LogicalPlanBuilder> {
        let Steps { json, columns, .. } = self.steps(&mut IndexSet::new());
        let aliased = |columns: Vec<(String, Expr)>| columns.into_iter().map(|(name, expr)| expr.alias(name)).collect();
        with_columns(with_columns(scan, aliased(json))?, aliased(columns))
    }

    fn column(&mut self, name: String, expr: Expr, form: Form) -> Typed {
        self.columns.insert(name.clone(), expr);
        Typed { expr: named(name), form }
    }

    /// The definition of a value whose misfits are counted.
    fn counted(&mut self, access: &Access, wanted: Wanted) -> Result<Definition> {
        let definition = self.definition(access, wanted)?;
        self.count_declared_misfit(&access.column);
        self.count_misfit(access, wanted, &definition);
        Ok(definition)
    }

    fn count_misfit(&mut self, access: &Access, wanted: Wanted, definition: &Definition) {
        if let (Some(misfit), Wanted::As(reading)) = (&definition.misfit, wanted) {
            let kind = ObservationKind::Misfit { property: access.to_string(), reading };
            self.misfits.entry(kind).or_insert_with(|| misfit.clone());
        }
    }

    /// Counts the values of a column that the scan could not deliver as the declared type.
    fn count_declared_misfit(&mut self, column: &str) {
        let Some(Presence { name, declared, .. }) = self.presences.iter().find(|presence| presence.column == column) else {
            return;
        };
        let kind = ObservationKind::DeclaredMisfit { column: column.to_owned(), declared: *declared };
        self.misfits.entry(kind).or_insert_with(|| and(named(name), named(column).is_null()));
    }

    /// What a number adds to a sum, with its digits in all and after the point.
    fn addend_definition(&mut self, access: &Access) -> Result<(Expr, u8, i8)> {
        let Definition { expr, form, misfit } = self.definition(access, Wanted::As(Reading::Number))?;
        self.count_declared_misfit(&access.column);
        let kind = ObservationKind::Misfit { property: access.to_string(), reading: Reading::Number };
        match form {
            Form::Decimal { precision, scale } => {
                if let Some(misfit) = misfit {
                    self.misfits.entry(kind).or_insert(misfit);
                }
                if precision <= NARROW_SUM {
                    return Ok((expr, precision, scale));
                }
                let wide = precision.max(39);
                Ok((cast(expr, DataType::Decimal256(wide, scale)), wide, scale))
            }
            Form::Integer | Form::Unsigned => {
                if let Some(misfit) = misfit {
                    self.misfits.entry(kind).or_insert(misfit);
                }
                Ok((cast(expr, DataType::Decimal128(NARROW_SUM, 0)), NARROW_SUM, 0))
            }
            Form::Float
            | Form::Mixed
            | Form::Text
            | Form::Boolean
            | Form::Instant
            | Form::List(_)
            | Form::Stored
            | Form::Age { .. }
            | Form::Average { .. } => {
                let addend = call(Addend, vec![expr.clone()]);
                // A number that is too large for a sum does not fit either, whoever else reads it.
                let too_large = and(expr.is_not_null(), addend.clone().is_null());
                self.misfits.insert(kind, misfit.map_or(too_large.clone(), |misfit| or(misfit, too_large)));
                Ok((addend, 38, SUM_SCALE))
            }
        }
    }

    fn definition(&mut self, access: &Access, wanted: Wanted) -> Result<Definition> {
        let stored = Self::raw_value(access)?;
        let Some(keys) = &access.json else {
            return native(&stored, &access.stored, wanted, &self.local);
        };
        let source = Access { json: None, ..access.clone() }.to_string();
        let text = self.json.entry(source.clone()).or_insert_with(|| JsonText { text: stored, reads: Vec::new() });
        let read = JsonRead { keys: keys.clone(), wanted };
        let index = text.reads.iter().position(|other| *other == read).unwrap_or_else(|| {
            text.reads.push(read);
            text.reads.len() - 1
        });
        let json = named(json_column(&source));
        Ok(Definition {
            expr: get_field(json.clone(), value_field(index)),
            form: wanted.form(),
            misfit: Some(get_field(json, misfit_field(index))),
        })
    }
}

fn json_column(source: &str) -> String {
    format!("json in {source}")
}

/// A value of a typed column.
fn native(stored: &Expr, column_type: &ColumnType, wanted: Wanted, local: &Local) -> Result<Definition> {
    let reading = match (wanted, Reading::natural(column_type)) {
        (Wanted::As(Reading::Stored) | Wanted::Identity, Some(reading)) => reading,
        (Wanted::As(Reading::Stored) | Wanted::Identity, None) => {
            let there = when(stored.clone().is_not_null(), text_literal("{}")).end()?;
            return Ok(fits(there, Form::Stored));
        }
        (Wanted::As(reading), _) => reading,
    };
    let column = Native { stored };
    let number = |form| fits(stored.clone(), form);
    let millis = || column.may_fit(call(InstantOfMillis, vec![stored.clone()]), Form::Instant);
    Ok(match column_type {
        ColumnType::Text => match reading {
            Reading::Text | Reading::Stored => fits(stored.clone(), Form::Text),
            Reading::Number => column.may_fit(call(NumberInText, vec![stored.clone()]), Form::Mixed),
            Reading::Boolean => column.may_fit(call(BooleanInText, vec![stored.clone()]), Form::Boolean),
            Reading::Date => column.may_fit(call(InstantInText(local.clone()), vec![stored.clone()]), Form::Instant),
            Reading::Elements(element) => elements(stored.clone(), column_type, element),
        },
        ColumnType::Integer => match reading {
            Reading::Text => fits(cast(stored.clone(), DataType::Utf8View), Form::Text),
            Reading::Number | Reading::Stored => number(Form::Integer),
            Reading::Boolean => column.never_fits(Form::Boolean)?,
            Reading::Date => millis(),
            Reading::Elements(element) => elements(stored.clone(), column_type, element),
        },
        ColumnType::Unsigned => match reading {
            Reading::Text => fits(cast(stored.clone(), DataType::Utf8View), Form::Text),
            Reading::Number | Reading::Stored => number(Form::Unsigned),
            Reading::Boolean => column.never_fits(Form::Boolean)?,
            Reading::Date => millis(),
            Reading::Elements(element) => elements(stored.clone(), column_type, element),
        },
        ColumnType::Float => match reading {
            Reading::Number | Reading::Stored => column.may_fit(call(Finite, vec![stored.clone()]), Form::Float),
            Reading::Elements(element) => {
                let elements = elements(call(Finite, vec![stored.clone()]), column_type, element);
                column.may_fit(elements.expr, elements.form)
            }
            Reading::Text | Reading::Boolean | Reading::Date => column.never_fits(unfit_form(reading))?,
        },
        ColumnType::Decimal { precision, scale } => match reading {
            Reading::Number | Reading::Stored => number(Form::Decimal { precision: *precision, scale: *scale }),
            Reading::Elements(element) => elements(stored.clone(), column_type, element),
            Reading::Text | Reading::Boolean | Reading::Date => column.never_fits(unfit_form(reading))?,
        },
        ColumnType::Boolean => match reading {
            Reading::Boolean | Reading::Stored => fits(stored.clone(), Form::Boolean),
            Reading::Elements(element) => elements(stored.clone(), column_type, element),
            Reading::Text | Reading::Number | Reading::Date => column.never_fits(unfit_form(reading))?,
        },
        ColumnType::Date => match reading {
            Reading::Date | Reading::Stored => column.may_fit(call(StartOfDay(local.clone()), vec![stored.clone()]), Form::Instant),
            Reading::Elements(element) => elements(stored.clone(), column_type, element),
            Reading::Text | Reading::Number | Reading::Boolean => column.never_fits(unfit_form(reading))?,
        },
        ColumnType::Timestamp => match reading {
            Reading::Date | Reading::Stored => fits(stored.clone(), Form::Instant),
            Reading::Elements(element) => elements(stored.clone(), column_type, element),
            Reading::Text | Reading::Number | Reading::Boolean => column.never_fits(unfit_form(reading))?,
        },
        ColumnType::List(inner) => match reading {
            Reading::Elements(element) => elements(stored.clone(), inner, element),
            Reading::Text | Reading::Number | Reading::Boolean | Reading::Date | Reading::Stored => {
                column.never_fits(unfit_form(reading))?
            }
        },
        ColumnType::Json | ColumnType::Struct(_) | ColumnType::Map(_) | ColumnType::Other(_) => {
            column.never_fits(unfit_form(reading))?
        }
    })
}

/// A typed column that is being read.
struct Native<'a> {
    stored: &'a Expr,
}

impl Native<'_> {
    /// A value that does not fit is NULL.
    fn may_fit(&self, expr: Expr, form: Form) -> Definition {
        let misfit = and(self.stored.clone().is_not_null(), expr.clone().is_null());
        Definition { expr, form, misfit: Some(misfit) }
    }

    /// No value fits.
    fn never_fits(&self, form: Form) -> Result<Definition> {
        let null = lit(ScalarValue::try_new_null(&form.data_type())?);
        Ok(Definition { expr: null, form, misfit: Some(self.stored.clone().is_not_null()) })
    }
}

/// Every value fits.
fn fits(expr: Expr, form: Form) -> Definition {
    Definition { expr, form, misfit: None }
}

/// A list, or a scalar as a list of one: one that does not hold the type holds missing elements.
fn elements(values: Expr, of: &ColumnType, element: ElementType) -> Definition {
    let (conversion, form) = Conversion::of(of, element);
    let list = call(ReadElements { conversion, element: form.data_type() }, vec![values]);
    fits(list, Form::List(Box::new(form)))
}

/// How a reading stores what none of its values can be.
fn unfit_form(reading: Reading) -> Form {
    match reading {
        Reading::Text => Form::Text,
        Reading::Number => Form::Integer,
        Reading::Boolean => Form::Boolean,
        Reading::Date => Form::Instant,
        Reading::Elements(element) => Form::List(Box::new(match element {
            ElementType::Text | ElementType::Any => Form::Text,
            ElementType::Number => Form::Integer,
            ElementType::Boolean => Form::Boolean,
        })),
        Reading::Stored => Form::Stored,
    }
}
