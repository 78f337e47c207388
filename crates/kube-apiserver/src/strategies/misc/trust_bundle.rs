//! ClusterTrustBundle (KEP-3257): at least one CA certificate, each once, under a name that its signer decides.

use std::collections::BTreeMap;

use api::Value;
use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::names;

use super::super::cells;
use super::super::kind::{Kind, PLAIN};
use super::super::validation;
use super::signers::signer_name;
use crate::authn::pki;

/// Bytes of a bundle.
const LONGEST: usize = 1024 * 1024;
const OMITTED: &str = "<value omitted>";

pub const CLUSTER_TRUST_BUNDLE: Kind = Kind {
    validate: |object, errors| {
        name(object, errors);
        let signer = object.str_at(&["spec", "signerName"]);
        if !signer.is_empty() {
            signer_name(signer, &Path::new("spec").child("signerName"), errors);
        }
    },
    validate_create: |object, errors| anchors(object, errors),
    validate_update: |object, old, errors| {
        if object.str_at(&["spec", "trustBundle"]) != old.str_at(&["spec", "trustBundle"]) {
            anchors(object, errors);
        }
        errors.extend(validation::immutable(object, old, &["spec", "signerName"]));
    },
    cells: Some(|o, _| vec![cells::name(o), cells::or_none(o.str_at(&["spec", "signerName"]))]),
    // it depends on the signer
    name: Some(|_| Vec::new()),
    unconditional_update: false,
    ..PLAIN
};

fn name(object: &Value, errors: &mut ErrorList) {
    let (name, signer) = (object.name(), object.str_at(&["spec", "signerName"]));
    let found = if !signer.is_empty() {
        let prefix = format!("{}:", signer.replace('/', ":"));
        match name.strip_prefix(&prefix) {
            Some(rest) => names::dns1123_subdomain(rest),
            None => {
                vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")]
            }
        }
    } else if name.contains(':') {
        vec!["ClusterTrustBundle without signer name must not have \":\" in its name".to_owned()]
    } else {
        names::dns1123_subdomain(name)
    };
    let at = Path::new("metadata").child("name");
    errors.extend(found.into_iter().filter(|_| !name.is_empty()).map(|why| Error::invalid(&at, name, why)));
}

fn anchors(object: &Value, errors: &mut ErrorList) {
    let (text, at) = (object.str_at(&["spec", "trustBundle"]), Path::new("spec").child("trustBundle"));
    if text.len() > LONGEST {
        errors.push(Error::too_long(&at, LONGEST));
        return;
    }
    let blocks = pki::blocks(text);
    let invalid = |why: String| Error::invalid(&at, OMITTED, why);
    let wrong = blocks.iter().enumerate().filter_map(|(index, block)| Some((index, wrong_with(block)?)));
    let wrong: Vec<Error> = wrong.map(|(index, why)| invalid(format!("entry {index} {why}"))).collect();
    if !wrong.is_empty() {
        errors.extend(wrong);
        return;
    }
    if blocks.is_empty() {
        errors.push(invalid("at least one trust anchor must be provided".to_owned()));
    }
    let mut places: BTreeMap<&[u8], Vec<String>> = BTreeMap::new();
    for (index, block) in blocks.iter().enumerate() {
        places.entry(&block.der).or_default().push(index.to_string());
    }
    for indexes in places.values().filter(|indexes| indexes.len() > 1) {
        errors.push(invalid(format!("duplicate trust anchor (indices [{}])", indexes.join(" "))));
    }
}

/// Why a block is no trust anchor.
fn wrong_with(block: &pki::Block) -> Option<String> {
    if block.label != "CERTIFICATE" {
        return Some(format!("has bad block type: {}", block.label));
    }
    if block.headers {
        return Some("has PEM block headers".to_owned());
    }
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(&block.der) else {
        return Some("does not parse as X.509".to_owned());
    };
    match certificate.basic_constraints() {
        Ok(Some(basic)) if basic.value.ca => None,
        Ok(_) => Some("does not have the CA bit set".to_owned()),
        Err(_) => Some("has invalid basic constraints".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{certificate, value};
    use serde_json::json;

    fn said(check: impl FnOnce(&mut ErrorList)) -> Vec<String> {
        let mut errors = ErrorList::new();
        check(&mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_belong_to_signers() {
        let of = |name: &str, signer: &str| {
            let object = value(json!({"metadata": {"name": name}, "spec": {"signerName": signer}}));
            said(|errors| (CLUSTER_TRUST_BUNDLE.validate)(&object, errors))
        };
        assert_eq!(of("a.b", ""), [""; 0]);
        assert_eq!(of("e.com:s:a", "e.com/s"), [""; 0]);
        assert_eq!(
            of("a", "e.com/s"),
            [
                "metadata.name: Invalid value: \"a\": ClusterTrustBundle for signerName e.com/s must be named with prefix e.com:s:"
            ]
        );
        assert_eq!(of("a:b", "").len(), 1);
        assert_eq!(of("e.com:s:A", "e.com/s").len(), 1);
    }

    #[test]
    fn bundles_hold_authorities_once() {
        let of = |text: &str| {
            let object = value(json!({"spec": {"trustBundle": text}}));
            said(|errors| anchors(&object, errors))
        };
        let (one, two, leaf) = (certificate(true), certificate(true), certificate(false));
        assert_eq!(of(&format!("# first\n{one}\n# second\n{two}")), [""; 0]);
        let invalid = |why: &str| [format!("spec.trustBundle: Invalid value: \"<value omitted>\": {why}")];
        assert_eq!(of(&format!("{one}{two}{one}")), invalid("duplicate trust anchor (indices [0 2])"));
        assert_eq!(of(&format!("{one}{leaf}")), invalid("entry 1 does not have the CA bit set"));
        assert_eq!(of("text"), invalid("at least one trust anchor must be provided"));
        assert_eq!(of(&one.replace("CERTIFICATE", "X")), invalid("entry 0 has bad block type: X"));
        let headers = one.replacen("-----\n", "-----\nA: b\n\n", 1);
        assert_eq!(of(&headers), invalid("entry 0 has PEM block headers"));
        assert_eq!(
            of("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            invalid("entry 0 does not parse as X.509")
        );
    }
}
