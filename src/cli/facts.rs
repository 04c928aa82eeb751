//! What the tables of a tenant hold, for warnings about what they have nothing of.

use crate::backend::{Backend, PropertyProfile, TableProfile, TableRole};
use crate::lint::{DataFacts, EventFacts, PropertyFacts, TableFacts};
use crate::model::property::PropertyPath;
use crate::refresh::Error;
use crate::refresh::config::TenantConfig;

/// Looks at every table of a tenant, at each once.
pub(crate) async fn look<B: Backend>(backend: &B, tenant: &TenantConfig) -> Result<DataFacts, Error> {
    let catalog = backend.catalog();
    let profile = |table: TableRole, is_there: bool| async move {
        if !is_there {
            return Ok(None);
        }
        let profile = backend.profile(table).await;
        profile.map(Some).map_err(|source| Error::Backend { tenant: tenant.id.clone(), source })
    };
    let users = profile(TableRole::Users, catalog.users.is_some()).await?;
    let products = profile(TableRole::Products, catalog.products.is_some()).await?;
    let events = profile(TableRole::Events, catalog.events.is_some()).await?;
    Ok(DataFacts {
        users: users.as_ref().map(table_facts),
        products: products.as_ref().map(table_facts),
        events: events.as_ref().map(event_facts),
    })
}

fn event_facts(profile: &TableProfile) -> EventFacts {
    let instant = |text: &String| text.parse().ok();
    EventFacts {
        table: table_facts(profile),
        event_types: profile.event_types.iter().map(|(name, _)| name.clone()).collect(),
        more_event_types: profile.more_event_types,
        times: profile.time_range.as_ref().and_then(|(first, last)| Some((instant(first)?, instant(last)?))),
    }
}

fn table_facts(profile: &TableProfile) -> TableFacts {
    TableFacts {
        rows: profile.rows,
        sampled_rows: profile.sampled_rows,
        properties: profile.properties.iter().filter_map(property_facts).collect(),
        crowded: profile.crowded.clone(),
    }
}

fn property_facts(profile: &PropertyProfile) -> Option<PropertyFacts> {
    let path: PropertyPath = profile.property.parse().ok()?;
    Some(PropertyFacts {
        keys: path.keys().to_vec(),
        present: profile.looked_at.saturating_sub(profile.missing),
        looked_at: profile.looked_at,
        opened: profile.type_name == "json" || profile.type_name.starts_with("map of "),
    })
}
