//! What the user sees: log lines as they come, notices, the final table, the final objects.

pub mod objects;
pub mod printer;
pub mod table;
