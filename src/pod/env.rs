//! The environment of a container: `envFrom`, `env`, references and service variables.
//! Source of the rules: kubelet v1.36 `makeEnvironmentVariables`, `getServiceEnvVarMap`, `envvars.FromServices`.
//!
//! Resolved anew at each start, so a later change of a ConfigMap never alters a running container. What the image
//! and the runtime add (its own variables, `PATH`, `HOSTNAME`) comes in [`with_image`]: `$(VAR)` does not see those.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvFromSource, EnvVarSource, Pod, Secret, Service};

use super::command::{MAX_EXPANDED_BYTES, expand};
use super::downward::{self, DownwardError, DownwardFacts};

/// `PATH` where the image has none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The one Service that shows in every pod, and the namespace it is in.
const API_SERVICE: (&str, &str) = ("default", "kubernetes");

/// Where ConfigMaps and Secrets are looked up.
pub trait ConfigSource {
    /// The ConfigMap, if it exists.
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>>;
    /// The Secret, if it exists.
    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>>;
}

/// A reference that cannot be resolved: the container waits with `CreateContainerConfigError` and this as message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// The ConfigMap does not exist.
    #[error("configmap {0:?} not found")]
    ConfigMapNotFound(String),
    /// The Secret does not exist.
    #[error("secret {0:?} not found")]
    SecretNotFound(String),
    /// The ConfigMap has no such key.
    #[error("couldn't find key {key} in ConfigMap {namespace}/{name}")]
    ConfigMapKeyNotFound {
        /// The key.
        key: String,
        /// The pod's namespace.
        namespace: String,
        /// The ConfigMap.
        name: String,
    },
    /// The Secret has no such key.
    #[error("couldn't find key {key} in Secret {namespace}/{name}")]
    SecretKeyNotFound {
        /// The key.
        key: String,
        /// The pod's namespace.
        namespace: String,
        /// The Secret.
        name: String,
    },
    /// A `fieldRef` or `resourceFieldRef` leads nowhere.
    #[error(transparent)]
    Downward(#[from] DownwardError),
    /// The variables come to more than [`MAX_EXPANDED_BYTES`].
    #[error("argument list too long: the environment comes to more than {MAX_EXPANDED_BYTES} bytes")]
    TooLarge,
    /// `fileKeyRef`, which husk does not read.
    #[error("environment variable {0:?} uses fileKeyRef, which is not supported")]
    FileKeyUnsupported(String),
}

/// What variables are resolved from.
#[derive(Clone, Copy)]
pub struct EnvContext<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// ConfigMaps and Secrets.
    pub source: &'a dyn ConfigSource,
    /// Addresses and the node's resources.
    pub facts: &'a DownwardFacts,
    /// All Services; those that do not concern the pod are passed over.
    pub services: &'a [Arc<Service>],
}

/// The variables of a container, each name once, in the order in which they were first set; service variables last.
/// This is also what `$(VAR)` in command, arguments and `subPathExpr` refers to.
///
/// # Errors
/// The first reference that cannot be resolved and is not optional.
pub fn variables(context: &EnvContext<'_>, container: &Container) -> Result<Vec<(String, String)>, EnvError> {
    let services = service_variables(context.pod, context.services);
    let service_index: HashMap<&str, &str> = services.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let mut variables = Variables::default();
    for from in container.env_from.iter().flatten() {
        for (key, value) in env_from(context, from)? {
            variables.set(format!("{}{key}", from.prefix.as_deref().unwrap_or("")), value)?;
        }
    }
    for variable in container.env.iter().flatten() {
        let literal = variable.value.as_deref().unwrap_or("");
        let value = match &variable.value_from {
            _ if !literal.is_empty() => {
                let value_of = |name: &str| variables.get(name).or_else(|| service_index.get(name).copied());
                let expanded = expand(literal, MAX_EXPANDED_BYTES, |name| value_of(name).map(Cow::Borrowed));
                Some(expanded.ok_or(EnvError::TooLarge)?)
            }
            Some(from) => value_from(context, container, &variable.name, from)?,
            None => Some(String::new()),
        };
        if let Some(value) = value {
            variables.set(variable.name.clone(), value)?;
        }
    }
    for (name, value) in services {
        if variables.get(&name).is_none() {
            variables.set(name, value)?;
        }
    }
    Ok(variables.entries)
}

/// The whole environment of the process: the image's variables, `PATH` where it has none, `HOSTNAME`, then
/// `variables`, each overriding the ones before.
pub fn with_image(image: &[(String, String)], hostname: &str, variables: &[(String, String)]) -> Vec<(String, String)> {
    let path = ("PATH".to_owned(), DEFAULT_PATH.to_owned());
    let mut all = vec![path, ("HOSTNAME".to_owned(), hostname.to_owned())];
    let mut index: HashMap<&str, usize> = [("PATH", 0), ("HOSTNAME", 1)].into();
    for (name, value) in image.iter().filter(|(name, _)| name != "HOSTNAME").chain(variables) {
        let at = *index.entry(name).or_insert(all.len());
        match all.get_mut(at) {
            Some(entry) => entry.1.clone_from(value),
            None => all.push((name.clone(), value.clone())),
        }
    }
    all
}

/// Ordered variables with unique names.
#[derive(Default)]
struct Variables {
    entries: Vec<(String, String)>,
    index: HashMap<String, usize>,
    bytes: usize,
}

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|at| self.entries[*at].1.as_str())
    }

    fn set(&mut self, name: String, value: String) -> Result<(), EnvError> {
        self.bytes += name.len() + value.len();
        if self.bytes > MAX_EXPANDED_BYTES {
            return Err(EnvError::TooLarge);
        }
        if let Some(at) = self.index.get(&name) {
            let replaced = std::mem::replace(&mut self.entries[*at].1, value);
            self.bytes -= name.len() + replaced.len();
        } else {
            self.index.insert(name.clone(), self.entries.len());
            self.entries.push((name, value));
        }
        Ok(())
    }
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

fn env_from(context: &EnvContext<'_>, from: &EnvFromSource) -> Result<BTreeMap<String, String>, EnvError> {
    let namespace = namespace(context.pod);
    if let Some(reference) = &from.config_map_ref {
        return match context.source.config_map(namespace, &reference.name) {
            Some(map) => Ok(map.data.clone().unwrap_or_default()),
            None if reference.optional == Some(true) => Ok(BTreeMap::new()),
            None => Err(EnvError::ConfigMapNotFound(reference.name.clone())),
        };
    }
    if let Some(reference) = &from.secret_ref {
        return match context.source.secret(namespace, &reference.name) {
            Some(secret) => {
                Ok(secret.data.iter().flatten().map(|(key, value)| (key.clone(), text(&value.0))).collect())
            }
            None if reference.optional == Some(true) => Ok(BTreeMap::new()),
            None => Err(EnvError::SecretNotFound(reference.name.clone())),
        };
    }
    Ok(BTreeMap::new())
}

/// The value of a reference; `None` leaves the variable as it is (optional, and not there).
fn value_from(
    context: &EnvContext<'_>,
    container: &Container,
    variable: &str,
    from: &EnvVarSource,
) -> Result<Option<String>, EnvError> {
    let namespace = namespace(context.pod);
    if let Some(reference) = &from.field_ref {
        return Ok(Some(downward::field(context.pod, context.facts, &reference.field_path)?));
    }
    if let Some(reference) = &from.resource_field_ref {
        return Ok(Some(downward::resource(context.pod, Some(&container.name), reference, context.facts)?));
    }
    let (found, optional) = if let Some(reference) = &from.config_map_key_ref {
        (config_map_key(context, namespace, &reference.name, &reference.key), reference.optional)
    } else if let Some(reference) = &from.secret_key_ref {
        (secret_key(context, namespace, &reference.name, &reference.key), reference.optional)
    } else if from.file_key_ref.is_some() {
        return Err(EnvError::FileKeyUnsupported(variable.to_owned()));
    } else {
        return Ok(None);
    };
    match found {
        Err(_) if optional == Some(true) => Ok(None),
        found => found.map(Some),
    }
}

fn config_map_key(context: &EnvContext<'_>, namespace: &str, name: &str, key: &str) -> Result<String, EnvError> {
    let map = context.source.config_map(namespace, name).ok_or_else(|| EnvError::ConfigMapNotFound(name.to_owned()))?;
    let value = map.data.as_ref().and_then(|data| data.get(key)).cloned();
    value.ok_or_else(|| EnvError::ConfigMapKeyNotFound {
        key: key.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

fn secret_key(context: &EnvContext<'_>, namespace: &str, name: &str, key: &str) -> Result<String, EnvError> {
    let secret = context.source.secret(namespace, name).ok_or_else(|| EnvError::SecretNotFound(name.to_owned()))?;
    let value = secret.data.as_ref().and_then(|data| data.get(key)).map(|value| text(&value.0));
    value.ok_or_else(|| EnvError::SecretKeyNotFound {
        key: key.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `NAME_SERVICE_HOST` and the rest, for the Services of the pod's namespace (unless `enableServiceLinks` is false)
/// and for `default/kubernetes`, which a Service of that name in the pod's own namespace replaces.
fn service_variables(pod: &Pod, services: &[Arc<Service>]) -> Vec<(String, String)> {
    let namespace = namespace(pod);
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or("");
        let service_namespace = service.metadata.namespace.as_deref().unwrap_or("default");
        if cluster_ip(service).is_none() {
            continue;
        }
        if service_namespace == namespace && links {
            chosen.insert(name, service);
        } else if (service_namespace, name) == API_SERVICE {
            chosen.entry(name).or_insert(service);
        }
    }
    chosen.into_iter().flat_map(|(name, service)| variables_of(name, service)).collect()
}

fn cluster_ip(service: &Service) -> Option<&str> {
    service.spec.as_ref()?.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None")
}

fn variables_of(name: &str, service: &Service) -> Vec<(String, String)> {
    let variable_name = |name: &str| name.to_uppercase().replace('-', "_");
    let prefix = variable_name(name);
    let ip = cluster_ip(service).unwrap_or("");
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or(&[]);
    let mut variables = vec![(format!("{prefix}_SERVICE_HOST"), ip.to_owned())];
    variables.extend(ports.first().map(|port| (format!("{prefix}_SERVICE_PORT"), port.port.to_string())));
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", variable_name(name)), port.port.to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{}", port.port);
        let port_prefix = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        if index == 0 {
            variables.push((format!("{prefix}_PORT"), url.clone()));
        }
        variables.push((port_prefix.clone(), url));
        variables.push((format!("{port_prefix}_PROTO"), lower));
        variables.push((format!("{port_prefix}_PORT"), port.port.to_string()));
        variables.push((format!("{port_prefix}_ADDR"), ip.to_owned()));
    }
    variables
}

#[cfg(test)]
mod tests;
