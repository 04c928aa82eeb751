//! The naive evaluator: the executable form of the language's meaning, over rows in memory.
//!
//! It reads the checked definition before any lowering, and shares no value reading, date, JSON, number or regex code with the product.
