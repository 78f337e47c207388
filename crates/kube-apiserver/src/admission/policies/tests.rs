//! Policies as plugins, over a small store.
