//! Tests that cross crates, in one process; see `tests/`.
