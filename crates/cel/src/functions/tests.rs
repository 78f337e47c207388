//! Every declaration reads, and no two overloads of a function share an id.

use super::*;

#[test]
fn every_signature_reads() {
    for declared in library::declared() {
        for (id, text) in declared.overloads {
            assert!(signature::parse(id, text).is_some(), "{}: {id} {text}", declared.name);
        }
    }
}

#[test]
fn overloads_have_their_own_ids() {
    let mut seen = std::collections::HashSet::new();
    for declared in library::declared() {
        for (id, _) in declared.overloads {
            assert!(seen.insert((declared.name, *id)), "{id}");
        }
    }
}
