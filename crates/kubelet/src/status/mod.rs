//! What the API server is told about pods.

pub mod conditions;
pub mod containers;
pub mod generate;
pub mod manager;
pub mod patch;
pub mod phase;
#[cfg(test)]
mod tests;
