//! Reading: single objects and lists, with upstream's meaning of resourceVersion, resourceVersionMatch, limit and
//! continue. Lists come from the watch cache, but for those of a past revision that the cache has gone beyond.

use std::sync::Arc;

use apimachinery::field::{Error, Path};
use apimachinery::{GroupKind, Status};
use etcd::RangeRequest;

use super::stored::Stored;
use super::timers::timed;
use super::update::entry_of;
use super::{Registry, store_error, token};
use crate::cache::{Entry, Selection, too_large};
use crate::catalog::Served;
use crate::endpoint::Query;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    Unset,
    Exact,
    NotOlderThan,
}

/// The part of meta.k8s.io ListOptions that reading needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOptions {
    /// None: unset. Some(0): any.
    pub revision: Option<i64>,
    pub matching: Match,
    pub limit: usize,
    pub from: Option<token::From>,
}

/// A list as of one revision.
pub struct List {
    pub entries: Vec<Arc<Entry>>,
    pub revision: i64,
    pub next: String,
    pub remaining: Option<i64>,
    /// Where it came from the cache as a whole: the revision of the cache's last change, the key of what may be
    /// shared between equal lists.
    pub changed: Option<i64>,
}

fn bad_options(errors: Vec<Error>) -> Status {
    Status::invalid(&GroupKind { group: "meta.k8s.io".into(), kind: "ListOptions".into() }, "", &errors)
}

/// The resourceVersion of a get or a watch: a bad one is told without a reason there.
pub fn parse_single_revision(text: &str) -> Result<Option<i64>, Status> {
    parse_revision(text).map_err(|status| {
        let message = status.message.trim_start_matches("invalid resource version: ").to_owned();
        Status::new(500, apimachinery::Reason::Unknown, message)
    })
}

/// A resourceVersion of a query.
pub fn parse_revision(text: &str) -> Result<Option<i64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<i64>() {
        Ok(revision) if revision >= 0 => Ok(Some(revision)),
        _ => {
            let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
            let error = Error::invalid(&Path::new("resourceVersion"), text, why);
            Err(Status::bad_request(format!("invalid resource version: {error}")))
        }
    }
}

/// A number of a query, refused in Go's words.
pub fn parse_int(text: &str) -> Result<i64, Status> {
    text.parse::<i64>().map_err(|error| {
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: {why}"))
    })
}

impl ListOptions {
    pub fn of(query: &Query) -> Result<Self, Status> {
        let get = |key: &str| query.get(key).unwrap_or_default();
        let (version, matching, token) =
            (get("resourceVersion"), get("resourceVersionMatch"), get("continue"));
        check_match(version, matching, token, query.get("sendInitialEvents"))?;
        let limit = match get("limit") {
            "" => 0,
            text => parse_int(text)?,
        };
        Ok(Self {
            revision: parse_revision(version)?,
            matching: match matching {
                "Exact" => Match::Exact,
                "NotOlderThan" => Match::NotOlderThan,
                _ => Match::Unset,
            },
            limit: usize::try_from(limit).unwrap_or(0),
            from: match token {
                "" => None,
                token => {
                    let from = token::decode(token)?;
                    if !matches!(version, "" | "0") {
                        let why = "specifying resource version is not allowed when using continue";
                        return Err(Status::bad_request(why));
                    }
                    Some(from)
                }
            },
        })
    }

    /// The revision that the list must be of exactly.
    fn exact(&self) -> Option<i64> {
        match (&self.from, self.matching, self.revision) {
            (Some(from), ..) => from.revision,
            (None, Match::Exact, revision) => revision,
            (None, Match::Unset, Some(revision)) if self.limit > 0 && revision > 0 => Some(revision),
            _ => None,
        }
    }
}

fn check_match(version: &str, matching: &str, token: &str, initial: Option<&str>) -> Result<(), Status> {
    let field = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if !matching.is_empty() {
        if version.is_empty() {
            errors.push(Error::forbidden(
                &field,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !token.is_empty() {
            errors.push(Error::forbidden(
                &field,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            errors.push(Error::not_supported(&field, matching, &["Exact", "NotOlderThan", ""]));
        }
        if matching == "Exact" && version == "0" {
            errors.push(Error::forbidden(
                &field,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }
    if initial.is_some() {
        let field = Path::new("sendInitialEvents");
        errors.push(Error::forbidden(&field, "sendInitialEvents is forbidden for list"));
    }
    if errors.is_empty() { Ok(()) } else { Err(bad_options(errors)) }
}

/// The rules of the options of a watch.
pub fn check_watch_options(query: &Query) -> Result<(), Status> {
    let matching = query.get("resourceVersionMatch").unwrap_or_default();
    let mut errors = Vec::new();
    let field = Path::new("resourceVersionMatch");
    if query.get("sendInitialEvents").is_some() {
        if matching != "NotOlderThan" {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(Error::forbidden(&field, why));
            if !matching.is_empty() {
                errors.push(Error::not_supported(&field, matching, &["NotOlderThan"]));
            }
        }
        if !query.get("continue").unwrap_or_default().is_empty() {
            errors.push(Error::forbidden(
                &field,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
    } else if !matching.is_empty() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.push(Error::forbidden(&field, why));
        if matching != "NotOlderThan" {
            errors.push(Error::not_supported(&field, matching, &["NotOlderThan"]));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(bad_options(errors)) }
}

impl Registry {
    /// `revision`: None reads the newest from the store, 0 whatever the cache has, else at least that.
    pub async fn get(
        &self,
        served: &Served,
        (namespace, name): (&str, &str),
        revision: Option<i64>,
    ) -> Result<Arc<Entry>, Status> {
        let stored = served.stored.as_ref().ok_or_else(Status::no_route)?;
        let key = stored.key(namespace, name);
        let found = match revision {
            None => self.read_entry(stored, &stored.store_key(&key)).await?,
            Some(revision) => {
                stored.cache.fresh(revision).await?;
                stored.cache.get(&key)
            }
        };
        found.ok_or_else(|| Status::not_found(&served.gr, name))
    }

    pub async fn list(
        &self,
        served: &Served,
        selection: &Selection,
        options: &ListOptions,
    ) -> Result<List, Status> {
        let stored = served.stored.as_ref().ok_or_else(Status::no_route)?;
        if let Some(revision) = options.exact() {
            return self.list_exact(stored, selection, options, revision).await;
        }
        let at_least = match options.revision {
            Some(revision) if options.from.is_none() => revision,
            _ => self.current_revision(stored).await?,
        };
        stored.cache.fresh(at_least).await?;
        stored.decide(selection).await?;
        Ok(from_cache(stored, selection, options))
    }

    async fn list_exact(
        &self,
        stored: &Arc<Stored>,
        selection: &Selection,
        options: &ListOptions,
        revision: i64,
    ) -> Result<List, Status> {
        if stored.cache.revision() < revision {
            let current = self.current_revision(stored).await?;
            if current < revision {
                return Err(too_large(revision, current));
            }
            stored.cache.fresh(revision).await?;
        }
        stored.decide(selection).await?;
        let mut list = from_cache(stored, selection, options);
        if list.changed.is_some_and(|changed| changed <= revision) {
            list.revision = revision;
            relabel(&mut list, selection);
            return Ok(list);
        }
        self.list_from_store(stored, selection, options, revision).await
    }

    async fn list_from_store(
        &self,
        stored: &Arc<Stored>,
        selection: &Selection,
        options: &ListOptions,
        revision: i64,
    ) -> Result<List, Status> {
        let prefix = stored.store_key(&selection.prefix());
        let mut request = RangeRequest { revision, ..RangeRequest::prefix(prefix.clone()) };
        if let Some(from) = &options.from {
            request.key = format!("{prefix}{}", from.start).into();
        }
        let plain = selection.is_plain() && selection.key().is_none();
        let limit = options.limit;
        let mut list =
            List { entries: Vec::new(), revision, next: String::new(), remaining: None, changed: None };
        loop {
            request.limit = if plain || limit == 0 { limit as i64 } else { (limit as i64).max(500) };
            let page = timed(&stored.timers.list, self.store.range(request.clone())).await;
            let page = page.map_err(|e| too_old(e, options))?;
            let (seen, last) = (page.kvs.len() as i64, page.kvs.last().map(|kv| kv.key.clone()));
            for pair in &page.kvs {
                let Some(entry) = entry_of(stored, Some(pair)).await? else { continue };
                if !selection.matches(&entry) {
                    continue;
                }
                if limit > 0 && list.entries.len() == limit {
                    list.next = next_token(&list.entries, selection, revision);
                    return Ok(list);
                }
                list.entries.push(entry);
            }
            if limit > 0 && plain && page.more {
                list.remaining = Some(page.count - seen);
                list.next = next_token(&list.entries, selection, revision);
                return Ok(list);
            }
            match last {
                Some(last) if page.more => request.key = [&last[..], &[0]].concat().into(),
                _ => return Ok(list),
            }
        }
    }
}

fn too_old(error: etcd::Error, options: &ListOptions) -> Status {
    match (&error, &options.from) {
        (etcd::Error::Compacted { .. }, Some(from)) => {
            let mut status = Status::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                 without the continue parameter, or use the continue token in this response to retrieve the remainder of \
                 the results. Continuing with the provided token results in an inconsistent list - objects that were \
                 created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
            );
            status.continue_token = token::encode_inconsistent(from);
            status
        }
        (etcd::Error::Compacted { .. }, None) => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        _ => store_error(error),
    }
}

fn from_cache(stored: &Stored, selection: &Selection, options: &ListOptions) -> List {
    let after = options.from.as_ref().map(|from| format!("{}{}", selection.prefix(), from.start));
    let snapshot = stored.cache.select(selection, after.as_deref());
    let mut list = List {
        entries: snapshot.entries,
        revision: snapshot.revision,
        next: String::new(),
        remaining: None,
        changed: Some(snapshot.changed),
    };
    // The watch cache has always answered resourceVersion=0 in full.
    let limit = if options.revision == Some(0) && options.from.is_none() { 0 } else { options.limit };
    if limit > 0 && list.entries.len() > limit {
        let plain = selection.is_plain() && selection.key().is_none();
        list.remaining = plain.then(|| (list.entries.len() - limit) as i64);
        list.entries.truncate(limit);
        list.next = next_token(&list.entries, selection, list.revision);
    }
    list
}

/// Tokens of the list name its own revision.
fn relabel(list: &mut List, selection: &Selection) {
    if !list.next.is_empty() {
        list.next = next_token(&list.entries, selection, list.revision);
    }
}

fn next_token(entries: &[Arc<Entry>], selection: &Selection, revision: i64) -> String {
    let last = entries.last().map_or("", |e| &e.key);
    token::encode(last.strip_prefix(&selection.prefix()).unwrap_or(last), revision)
}
