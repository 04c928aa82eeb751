//! Makes what a store needs in a database.

use std::collections::BTreeSet;

use super::ddl::ddl;
use super::layout::Layout;
use crate::clickhouse::{Connection, Error, Statement, quoted};
use crate::store::LedgerError;

/// What making a store came to, for one table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// Whether it was there before.
    pub was_there: bool,
}

/// The statement that makes the database of a layout when it is not there.
#[must_use]
pub fn database_ddl(layout: &Layout) -> String {
    let cluster = layout.cluster.as_ref().map(|cluster| format!(" ON CLUSTER {}", quoted(cluster))).unwrap_or_default();
    format!("CREATE DATABASE IF NOT EXISTS {}{cluster}", quoted(&layout.database))
}

/// Makes the database of a layout unless it is there. `connection` must be to a database that exists, such as `system`.
///
/// # Errors
/// When the server refuses.
pub async fn make_database(connection: &Connection, layout: &Layout) -> Result<(), Error> {
    let found = Statement::new("SELECT count() FROM system.databases WHERE name = {name:String}").text("name", &layout.database);
    let (found,) = connection.row::<(u64,)>(found).await?;
    // A user who may not make databases can still use one that is there.
    if found == 0 || layout.cluster.is_some() {
        connection.execute(Statement::new(database_ddl(layout))).await?;
    }
    Ok(())
}

/// Makes the database, tables and views of a store that are not there, and views of other versions anew.
///
/// # Errors
/// When the server is too old or refuses.
pub async fn init(connection: &Connection, layout: &Layout) -> Result<Vec<Made>, LedgerError> {
    let failed = |operation| move |source| LedgerError::Server { operation, source: Box::new(source) };
    connection.check().await.map_err(failed("make a store"))?;
    make_database(connection, layout).await.map_err(failed("make the database"))?;
    let there = Statement::new("SELECT name FROM system.tables WHERE database = {name:String}").text("name", &layout.database);
    let there = connection.rows::<(String,)>(there).await.map_err(failed("look for the tables"))?.rows;
    let there: BTreeSet<String> = there.into_iter().map(|(name,)| name).collect();
    let mut made = Vec::new();
    for statement in ddl(layout) {
        let name = name_of(&statement, layout);
        connection.execute(Statement::new(statement)).await.map_err(failed("make the tables"))?;
        let was_there = there.contains(&name);
        made.push(Made { name, was_there });
    }
    Ok(made)
}

/// The name that a statement of [`ddl`] makes: what follows the database.
fn name_of(statement: &str, layout: &Layout) -> String {
    let place = format!("{}.", quoted(&layout.database));
    let after = statement.split_once(&place).map_or("", |(_, after)| after);
    after.split_whitespace().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_names_what_it_makes() {
        let layout = Layout { database: "shop `one`".to_owned(), cluster: Some("main".to_owned()), ..Layout::default() };
        let names: Vec<String> = ddl(&layout).iter().map(|statement| name_of(statement, &layout)).collect();
        assert!(names.iter().all(|name| !name.is_empty()) && names.contains(&"segmenta_log".to_owned()), "{names:?}");
        assert!(names.contains(&"segment_memberships".to_owned()), "{names:?}");
        assert_eq!(database_ddl(&layout), "CREATE DATABASE IF NOT EXISTS `shop \\`one\\`` ON CLUSTER `main`");
    }
}
