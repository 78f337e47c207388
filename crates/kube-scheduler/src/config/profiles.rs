//! A profile's plugins: upstream's defaults with the file's changes, and their arguments.

use client::Api;
use compact_str::CompactString;

use super::Error;
use super::arguments::arguments;
use super::file::{KubeSchedulerConfiguration, PluginConfig, PluginSetFile, PluginsFile, ProfileFile};
use crate::framework::profile::Enabled;
use crate::framework::registry::{self, Arguments, KNOWN};
use crate::framework::{Point, Profile};

const DEFAULT_NAME: &str = "default-scheduler";

/// A plugin of a profile, by name.
#[derive(Clone, Debug, PartialEq)]
struct On {
    name: &'static str,
    points: Vec<Point>,
    weight: i64,
}

/// A profile that can be built.
#[derive(Clone, Debug)]
pub struct ProfileSettings {
    pub name: CompactString,
    percentage: usize,
    plugins: Vec<On>,
    arguments: Vec<(String, serde_json::Map<String, serde_json::Value>)>,
}

impl ProfileSettings {
    /// With the client that the plugins which write use.
    pub fn build(&self, api: Option<&Api>) -> Result<Profile, Error> {
        let mut arguments = arguments(&self.arguments)?;
        let mut enabled = Vec::new();
        for on in &self.plugins {
            if let Some(plugin) = registry::build(on.name, &mut arguments, api) {
                enabled.push(Enabled { plugin, points: on.points.clone(), weight: on.weight });
            }
        }
        Ok(Profile::new(&self.name, enabled, self.percentage))
    }
}

/// The file's profiles; one of the defaults where it has none.
pub fn settings(file: &KubeSchedulerConfiguration) -> Result<Vec<ProfileSettings>, Error> {
    let default = [ProfileFile::default()];
    let files = if file.profiles.is_empty() { &default[..] } else { &file.profiles };
    let mut made: Vec<ProfileSettings> = Vec::new();
    for (at, profile) in files.iter().enumerate() {
        let path = format!("profiles[{at}]");
        let name = match profile.scheduler_name.as_deref() {
            Some("") => return Err(Error::setting(format!("{path}.schedulerName"), "Required value")),
            Some(name) => name,
            None if files.len() > 1 => {
                return Err(Error::setting(format!("{path}.schedulerName"), "Required value"));
            }
            None => DEFAULT_NAME,
        };
        if made.iter().any(|p| p.name == name) {
            return Err(Error::setting(
                format!("{path}.schedulerName"),
                format!("Duplicate value: {name:?}"),
            ));
        }
        let given = profile.percentage_of_nodes_to_score.or(file.percentage_of_nodes_to_score).unwrap_or(0);
        let percentage = usize::try_from(given).ok().filter(|p| *p <= 100);
        let percentage = percentage.ok_or_else(|| {
            Error::setting(
                format!("{path}.percentageOfNodesToScore"),
                format!("Invalid value: {given}: not in valid range [0-100]"),
            )
        })?;
        let plugins = plugins(&profile.plugins, &path)?;
        let arguments = profile.plugin_config.iter().map(|c| (c.name.clone(), c.args.clone())).collect();
        check_names(&profile.plugin_config, &path)?;
        let settings = ProfileSettings { name: name.into(), percentage, plugins, arguments };
        settings.build(None).map_err(|e| Error::setting(path, e.to_string()))?;
        made.push(settings);
    }
    Ok(made)
}

fn check_names(configs: &[PluginConfig], path: &str) -> Result<(), Error> {
    for (at, config) in configs.iter().enumerate() {
        if registry::find(&config.name).is_none() {
            return Err(Error::setting(
                format!("{path}.pluginConfig[{at}]"),
                format!("plugin {:?} does not exist", config.name),
            ));
        }
        if configs[..at].iter().any(|c| c.name == config.name) {
            return Err(Error::setting(
                format!("{path}.pluginConfig[{at}]"),
                format!("Duplicate value: {:?}", config.name),
            ));
        }
    }
    Ok(())
}

fn points(file: &PluginsFile) -> [(Option<Point>, &'static str, &PluginSetFile); 16] {
    [
        (None, "multiPoint", &file.multi_point),
        (Some(Point::PreEnqueue), "preEnqueue", &file.pre_enqueue),
        (Some(Point::QueueSort), "queueSort", &file.queue_sort),
        (Some(Point::PreFilter), "preFilter", &file.pre_filter),
        (Some(Point::Filter), "filter", &file.filter),
        (Some(Point::PostFilter), "postFilter", &file.post_filter),
        (Some(Point::PreScore), "preScore", &file.pre_score),
        (Some(Point::Score), "score", &file.score),
        (Some(Point::Reserve), "reserve", &file.reserve),
        (Some(Point::Permit), "permit", &file.permit),
        (Some(Point::PreBind), "preBind", &file.pre_bind),
        (Some(Point::Bind), "bind", &file.bind),
        (Some(Point::PostBind), "postBind", &file.post_bind),
        (None, "placementGenerate", &file.placement_generate),
        (None, "placementScore", &file.placement_score),
        (None, "podGroupPostFilter", &file.pod_group_post_filter),
    ]
}

/// The defaults, changed by `multiPoint` first, then by each extension point.
fn plugins(file: &PluginsFile, path: &str) -> Result<Vec<On>, Error> {
    let defaults = KNOWN.iter().filter(|k| k.by_default);
    let mut on: Vec<On> =
        defaults.map(|k| On { name: k.name, points: all_points(k.name), weight: k.weight }).collect();
    for (point, field, set) in points(file) {
        let path = format!("{path}.plugins.{field}");
        disable(&mut on, point, set, &path)?;
        if point.is_none() && field != "multiPoint" && !set.enabled.is_empty() {
            return Err(Error::setting(path, "not built yet"));
        }
        enable(&mut on, point, set, &path)?;
    }
    on.retain(|p| !p.points.is_empty());
    for (point, what) in [(Point::QueueSort, "queue sort"), (Point::Bind, "bind")] {
        if !on.iter().any(|p| p.points.contains(&point)) {
            return Err(Error::setting(path, format!("at least one {what} plugin is needed")));
        }
    }
    Ok(on)
}

fn all_points(name: &str) -> Vec<Point> {
    registry::build(name, &mut Arguments::default(), None).map(|p| p.points().to_vec()).unwrap_or_default()
}

fn disable(on: &mut Vec<On>, point: Option<Point>, set: &PluginSetFile, path: &str) -> Result<(), Error> {
    for plugin in &set.disabled {
        if plugin.name != "*" && registry::find(&plugin.name).is_none() {
            return Err(Error::setting(
                format!("{path}.disabled"),
                format!("plugin {:?} does not exist", plugin.name),
            ));
        }
        for known in on.iter_mut().filter(|k| plugin.name == "*" || k.name == plugin.name) {
            known.points.retain(|p| point.is_some_and(|point| point != *p));
        }
    }
    if point.is_none() {
        on.retain(|k| !k.points.is_empty() || all_points(k.name).is_empty());
    }
    Ok(())
}

fn enable(on: &mut Vec<On>, point: Option<Point>, set: &PluginSetFile, path: &str) -> Result<(), Error> {
    for plugin in &set.enabled {
        let path = format!("{path}.enabled");
        let known = registry::find(&plugin.name)
            .ok_or_else(|| Error::setting(&path, format!("plugin {:?} does not exist", plugin.name)))?;
        if !known.built {
            return Err(Error::setting(
                path,
                format!(
                    "plugin {:?} is not built yet, or only in part, and cannot be enabled by name",
                    plugin.name
                ),
            ));
        }
        let has = all_points(known.name);
        let points = match point {
            None => has,
            Some(point) if has.contains(&point) => vec![point],
            Some(_) => {
                return Err(Error::setting(
                    path,
                    format!("plugin {:?} does not extend this extension point", plugin.name),
                ));
            }
        };
        // A default plugin that is enabled again keeps its place.
        let place = on.iter().position(|k| k.name == known.name).unwrap_or_else(|| {
            on.push(On { name: known.name, points: Vec::new(), weight: known.weight });
            on.len() - 1
        });
        let entry = &mut on[place];
        entry.points.extend(points.into_iter().filter(|p| !entry.points.contains(p)).collect::<Vec<_>>());
        match plugin.weight {
            Some(weight) if weight > 0 => entry.weight = weight,
            Some(weight) if weight < 0 => {
                return Err(Error::setting(
                    path,
                    format!("the weight of {:?} must not be negative", plugin.name),
                ));
            }
            _ if entry.weight == 0 => entry.weight = 1,
            _ => {}
        }
    }
    Ok(())
}
