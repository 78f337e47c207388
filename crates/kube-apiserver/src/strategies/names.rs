//! The syntaxes of names that strategies use, under the words that they use for them.

pub use apimachinery::names::{
    config_map_key as config_key, dns1035_label, dns1123_label, dns1123_subdomain, label_value,
    path_segment_name as path_segment, port_name, qualified_name, relaxed_env_var_name as env_name,
};

/// A generateName prefix ends where the random part begins: a trailing hyphen is fine.
pub fn masked(name: &str, is_prefix: bool) -> String {
    match name.strip_suffix('-') {
        Some(head) if is_prefix && !head.is_empty() => format!("{head}a"),
        _ => name.to_owned(),
    }
}
