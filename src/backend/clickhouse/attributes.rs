//! Attributes of subjects as a statement, which the ledger joins with members where both are.

use super::backend::ClickHouseBackend;
use super::events::ID;
use super::number;
use super::reads::Reads;
use super::sql::{Expr, Query, formula};
use crate::backend::attributes::{Attribute, column_of};
use crate::backend::{BackendError, TableRole};
use crate::clickhouse::Statement;
use crate::model::catalog::ColumnType;
use crate::model::condition::Subject;

impl ClickHouseBackend {
    /// A row for each subject of a table: `id`, and the attributes as `attribute 0`, `attribute 1`, ... The keys are looked at before.
    ///
    /// # Errors
    /// When there is no such table, the server refuses, or a subject has several rows that count.
    pub async fn attributes(&self, subject: Subject, attributes: &[Attribute]) -> Result<Statement, BackendError> {
        let role = TableRole::of(subject);
        let (Some(table), Some(rows)) = (self.tables().catalog.subjects(subject), self.tables().of(role)) else {
            return Err(BackendError::Mapping {
                table: role,
                problem: "the tenant has no such table".to_owned(),
                help: Some(format!("Add `[tenants.{role}]` to the configuration.")),
            });
        };
        let times = self.timeless()?;
        let mut reads = Reads::new(&table.table, &times);
        let key = reads.key(&table.key);
        let mut columns = vec![(key.clone(), ID.to_owned())];
        for (number, attribute) in attributes.iter().enumerate() {
            columns.push((value(&mut reads, attribute), column_of(number)));
        }
        let version = table.version.as_ref().map(|version| reads.versions(version));
        let lets = reads.finish();
        self.look_at_keys(subject, &super::statement::keys(&lets, &key, version.as_deref(), &rows.rows)).await?;
        let mut found = Query { columns, filter: Some(formula!("isNotNull({0})", key)), ..Query::default() };
        if let Some(version) = version {
            found.order = version.into_iter().map(|version| (version, true)).collect();
            found.limit_by = Some((1, Expr::column(ID)));
        }
        Ok(lets.beneath(found, &rows.rows).print())
    }
}

/// The value of an attribute, in a type that Arrow has.
fn value(reads: &mut Reads<'_>, attribute: &Attribute) -> Expr {
    let access = &attribute.access;
    if access.json.is_some() {
        return reads.json_text(access);
    }
    let stored = reads.raw(access);
    match &access.stored {
        ColumnType::Boolean => formula!("toUInt8({0})", stored),
        ColumnType::Integer => formula!("toInt64({0})", stored),
        ColumnType::Unsigned => formula!("toUInt64({0})", stored),
        ColumnType::Float => number::finite(&stored),
        ColumnType::Text => formula!("toString({0})", stored),
        ColumnType::Date => formula!("toDate32({0})", stored),
        ColumnType::Timestamp => formula!("toDateTime64({0}, 6, 'UTC')", stored),
        ColumnType::Decimal { .. }
        | ColumnType::List(_)
        | ColumnType::Json
        | ColumnType::Struct(_)
        | ColumnType::Map(_)
        | ColumnType::Other(_) => stored,
    }
}
