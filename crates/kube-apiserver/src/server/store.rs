//! The store that flags name: members of a real etcd, or the embedded one in a folder.

use std::sync::Arc;

use etcd::SharedStore;

use super::Error;
use crate::options::Store;

/// What `--etcd-servers` and `--data-dir` say.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Embedded(String),
    Etcd(Vec<String>),
}

fn choose(options: &Store) -> Result<Choice, Error> {
    let embedded: Vec<&str> =
        options.etcd_servers.iter().filter_map(|s| s.strip_prefix("embedded://")).collect();
    match (options.etcd_servers.len(), embedded.as_slice(), options.data_dir.as_str()) {
        (0, _, "") => Err(Error::Option(
            "--etcd-servers must be specified (or --data-dir for the embedded store)".into(),
        )),
        (0, _, folder) => Ok(Choice::Embedded(folder.to_owned())),
        (1, [folder], "") => Ok(Choice::Embedded((*folder).to_owned())),
        (_, [], "") => Ok(Choice::Etcd(options.etcd_servers.clone())),
        (_, [], _) => Err(Error::Option("--etcd-servers and --data-dir exclude each other".into())),
        _ => Err(Error::Option("an embedded store stands alone in --etcd-servers".into())),
    }
}

pub async fn open(options: &Store) -> Result<SharedStore, Error> {
    match choose(options)? {
        Choice::Embedded(folder) => {
            let opened = tokio::task::spawn_blocking(move || {
                etcd::Embedded::open(etcd::embedded::Options::new(folder))
            })
            .await;
            let store =
                opened.map_err(|e| Error::Option(format!("the embedded store did not open: {e}")))??;
            Ok(Arc::new(store))
        }
        Choice::Etcd(servers) => {
            let file = |path: &str| (!path.is_empty()).then(|| path.into());
            let config = etcd::ClientConfig {
                ca_file: file(&options.etcd_cafile),
                cert_file: file(&options.etcd_certfile),
                key_file: file(&options.etcd_keyfile),
                ..etcd::ClientConfig::new(servers)
            };
            Ok(Arc::new(etcd::Client::new(&config)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    #[test]
    fn one_store_is_chosen() {
        let choice = |servers: &[&str], folder: &str| {
            let mut store = Options::defaults().store;
            store.etcd_servers = servers.iter().map(|s| (*s).to_owned()).collect();
            store.data_dir = folder.into();
            choose(&store)
        };
        assert_eq!(choice(&[], "/d").unwrap(), Choice::Embedded("/d".into()));
        assert_eq!(choice(&["embedded:///d"], "").unwrap(), Choice::Embedded("/d".into()));
        assert_eq!(choice(&["http://a"], "").unwrap(), Choice::Etcd(vec!["http://a".into()]));
        assert!(
            choice(&[], "").is_err()
                && choice(&["http://a"], "/d").is_err()
                && choice(&["http://a", "embedded:///d"], "").is_err()
        );
    }
}
