//! Dates of a definition to instants: the tenant's timezone, its days and their starts.
