//! What a projected volume needs from the API: objects, tokens, trust anchors and certificates, gathered for the
//! pure part in `content`.

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ProjectedVolumeSource};

use super::content::{self, Sources};
use super::{Needs, Volumes};
use crate::objects::Kind;
use crate::pod_certificates::Node;

/// The earlier of a time and one that may be there already.
fn sooner(renew: &mut Option<Timestamp>, next: Timestamp) {
    *renew = Some(renew.map_or(next, |old| old.min(next)));
}

/// Config maps and secrets that it names.
fn names(source: &ProjectedVolumeSource) -> Vec<(Kind, String)> {
    let parts = source.sources.iter().flatten();
    let of = |part: &k8s_openapi::api::core::v1::VolumeProjection| {
        let map = part.config_map.as_ref().map(|map| (Kind::ConfigMap, map.name.clone()));
        map.or_else(|| part.secret.as_ref().map(|secret| (Kind::Secret, secret.name.clone())))
    };
    parts.filter_map(of).collect()
}

impl Volumes {
    /// Everything that the sources of a projected volume name. `renew` becomes the next time to gather.
    pub(super) async fn gather(
        &self,
        pod: &Pod,
        volume: &str,
        source: &ProjectedVolumeSource,
        needs: &Needs<'_>,
        renew: &mut Option<Timestamp>,
    ) -> Result<Sources, String> {
        let mut sources = self.fetch(pod, names(source)).await?;
        for (audience, seconds) in content::tokens(source).into_keys() {
            let (token, next) = self.token(pod, &audience, seconds).await?;
            sooner(renew, next);
            sources.tokens.insert((audience, seconds), token);
        }
        let node = Node { name: needs.node_name, uid: needs.node_uid };
        let certificates = source.sources.iter().flatten().enumerate().filter_map(|(index, part)| {
            let certificate = part.pod_certificate.as_ref()?;
            let get = self.certificates.get(pod, volume, index, certificate, node);
            Some(async move { (index, get.await) })
        });
        // side by side: keys take long to make, and signers to answer
        for (index, got) in join_all(certificates).await {
            let (bundle, next) = got.map_err(|error| error.to_string())?;
            sooner(renew, next);
            sources.certificates.insert(index, (bundle.key, bundle.chain));
        }
        for (index, part) in source.sources.iter().flatten().enumerate() {
            let Some(bundle) = &part.cluster_trust_bundle else { continue };
            let anchors = self.trust.get(pod, bundle).await.map_err(|error| error.to_string())?;
            sources.anchors.insert(index, anchors);
        }
        Ok(sources)
    }
}
