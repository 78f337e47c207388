//! Objects for tests, out of JSON.

use crate::pod::Pod;
use crate::resources::Symbols;
use crate::views::NodeView;

pub fn node(value: serde_json::Value) -> NodeView {
    serde_json::from_value(value).unwrap()
}

pub fn pod(value: serde_json::Value, symbols: &mut Symbols) -> Pod {
    Pod::from_view(&serde_json::from_value(value).unwrap(), symbols)
}
