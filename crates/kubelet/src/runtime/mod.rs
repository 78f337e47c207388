//! The container runtime seen as pods: what it has, what to ask it for.

pub mod configs;
pub mod images;
pub mod labels;
pub mod logs;
pub mod pleg;
pub mod read;
pub mod resources;
pub mod security;
pub mod status;
