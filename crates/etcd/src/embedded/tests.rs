//! Tests of the engine that look inside it; what any store must do is in `tests/suite`.
