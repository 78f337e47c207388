//! Policies and conditions as tables of cases.
