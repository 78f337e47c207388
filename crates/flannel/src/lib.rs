//! flannel
