//! The mounts of one container: its volumes, sub-paths, hosts file and termination log.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::{Mounted, VolumeError, Volumes, mounts};
use crate::environment::expand;
use crate::pod::PodExt;

const HOSTS: &str = "/etc/hosts";

impl Volumes {
    /// Mounts for a container. `environment` is what `subPathExpr` may name, `images` the ids of image volumes,
    /// `hosts` the pod's hosts file.
    ///
    /// # Errors
    /// [`VolumeError::Mount`] with upstream's sentence.
    pub fn container_mounts(
        &self,
        pod: &Pod,
        container: &Container,
        environment: &[(String, String)],
        mounted: &Mounted,
        images: &HashMap<String, String>,
        hosts: &Path,
    ) -> Result<Vec<v1::Mount>, VolumeError> {
        let mut out = Vec::new();
        for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
            if let Some(image) = images.get(&mount.name) {
                out.push(image_mount(mount, image, environment)?);
                continue;
            }
            out.push(self.volume_mount(pod, container, index, mount, environment, mounted)?);
        }
        if !out.iter().any(|mount| mount.container_path == HOSTS) {
            out.push(v1::Mount {
                container_path: HOSTS.to_owned(),
                host_path: hosts.display().to_string(),
                ..Default::default()
            });
        }
        if let Some(path) = container.termination_message_path.as_deref().filter(|path| !path.is_empty()) {
            let host = self.termination_log(pod, container).map_err(|error| {
                VolumeError::Mount(format!("failed to create termination-log file: {error}"))
            })?;
            out.push(v1::Mount {
                container_path: path.to_owned(),
                host_path: host.display().to_string(),
                ..Default::default()
            });
        }
        Ok(out)
    }

    fn volume_mount(
        &self,
        pod: &Pod,
        container: &Container,
        index: usize,
        mount: &VolumeMount,
        environment: &[(String, String)],
        mounted: &Mounted,
    ) -> Result<v1::Mount, VolumeError> {
        let volume = mounted.paths.get(&mount.name).ok_or_else(|| {
            VolumeError::Mount(format!(
                "cannot find volume {:?} to mount into container {:?}",
                mount.name, container.name
            ))
        })?;
        let sub = sub_path(mount, environment)?;
        let host = match sub {
            None => volume.clone(),
            Some(sub) => {
                let target = self
                    .paths
                    .subpaths(pod.uid())
                    .join(&mount.name)
                    .join(&container.name)
                    .join(index.to_string());
                mounts::bind_subpath(volume, &sub, &target).map_err(|error| {
                    VolumeError::Mount(format!(
                        "failed to prepare subPath for volumeMount {:?} of container {:?}: {error}",
                        mount.name, container.name
                    ))
                })?;
                target
            }
        };
        let read_only = mount.read_only.unwrap_or(false) || read_only_source(pod, &mount.name);
        Ok(v1::Mount {
            container_path: absolute(&mount.mount_path),
            host_path: host.display().to_string(),
            readonly: read_only,
            propagation: propagation(mount.mount_propagation.as_deref())?,
            recursive_read_only: mount.recursive_read_only.as_deref() == Some("Enabled"),
            ..Default::default()
        })
    }

    /// A new empty file that the container may write its last words to.
    fn termination_log(&self, pod: &Pod, container: &Container) -> io::Result<PathBuf> {
        let folder = self.paths.container(pod.uid(), &container.name);
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{:08x}", rand::random::<u32>()));
        fs::File::create(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
        Ok(path)
    }
}

/// An image volume: always read-only, mounted by the runtime.
fn image_mount(
    mount: &VolumeMount,
    image: &str,
    environment: &[(String, String)],
) -> Result<v1::Mount, VolumeError> {
    Ok(v1::Mount {
        container_path: absolute(&mount.mount_path),
        readonly: true,
        image: Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() }),
        image_sub_path: sub_path(mount, environment)?.unwrap_or_default(),
        propagation: propagation(mount.mount_propagation.as_deref())?,
        ..Default::default()
    })
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Files that the kubelet writes are never written to by containers.
fn read_only_source(pod: &Pod, name: &str) -> bool {
    let volume = pod.volumes().iter().find(|volume| volume.name == name);
    volume.is_some_and(|v| {
        v.config_map.is_some() || v.secret.is_some() || v.downward_api.is_some() || v.projected.is_some()
    })
}

/// The sub-path of a mount, expanded if it is an expression.
fn sub_path(mount: &VolumeMount, environment: &[(String, String)]) -> Result<Option<String>, VolumeError> {
    let plain = mount.sub_path.clone().filter(|path| !path.is_empty());
    let Some(expression) = mount.sub_path_expr.as_deref().filter(|path| !path.is_empty()) else {
        return match plain {
            Some(path) if path.starts_with('/') => Err(bad_path("path", &path)),
            other => Ok(other),
        };
    };
    let mut missing = Vec::new();
    let cell = std::cell::RefCell::new(&mut missing);
    let path = expand(expression, |name| {
        let found = environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if found.is_none() {
            cell.borrow_mut().push(name.to_owned());
        }
        found
    });
    if !missing.is_empty() {
        return Err(VolumeError::Mount(format!(
            "missing value for {}",
            missing.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        )));
    }
    if path.starts_with('/') {
        return Err(bad_path("path", &path));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(VolumeError::Mount(format!(
            "must not contain '..': unable to provision SubPath `{path}`"
        )));
    }
    Ok(Some(path))
}

fn bad_path(what: &str, path: &str) -> VolumeError {
    VolumeError::Mount(format!("error SubPath `{path}` must not be an absolute {what}"))
}

fn propagation(mode: Option<&str>) -> Result<i32, VolumeError> {
    let mode = match mode {
        None | Some("None") => v1::MountPropagation::PropagationPrivate,
        Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
        Some(other) => return Err(VolumeError::Mount(format!("invalid MountPropagation mode: {other:?}"))),
    };
    Ok(mode as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(expression: &str) -> VolumeMount {
        VolumeMount { sub_path_expr: Some(expression.to_owned()), ..VolumeMount::default() }
    }

    #[test]
    fn expands_sub_paths() {
        let environment = [("A".to_owned(), "x".to_owned()), ("ABS".to_owned(), "/tmp".to_owned())];
        assert_eq!(sub_path(&mount("d/$(A)"), &environment).unwrap().as_deref(), Some("d/x"));
        assert!(sub_path(&mount("$(ABS)"), &environment).is_err());
        assert!(sub_path(&mount("$(NONE)"), &environment).is_err());
        assert!(sub_path(&mount("a/../../b"), &environment).is_err());
        assert_eq!(sub_path(&VolumeMount::default(), &environment).unwrap(), None);
    }
}
