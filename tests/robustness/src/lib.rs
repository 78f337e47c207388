//! robustness-tests
