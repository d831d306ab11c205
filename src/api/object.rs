//! The kinds of object that are understood, as one type, and where each was written.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::document::Node;

/// The kinds of `apiVersion: v1` that are understood. `EndpointSlice` of `discovery.k8s.io/v1` is, too.
pub const KINDS: [&str; 8] =
    ["Pod", "ConfigMap", "Secret", "PersistentVolumeClaim", "Service", "Endpoints", "ServiceAccount", "Namespace"];

/// One object of a kind that is understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// A pod.
    Pod(Box<Pod>),
    /// Configuration that pods refer to.
    ConfigMap(ConfigMap),
    /// Confidential configuration that pods refer to.
    Secret(Secret),
    /// A claim to storage that outlives pods.
    PersistentVolumeClaim(Box<PersistentVolumeClaim>),
    /// A stable name and address for pods.
    Service(Box<Service>),
    /// Addresses that a Service without a selector leads to.
    Endpoints(Endpoints),
    /// The same in its newer form.
    EndpointSlice(EndpointSlice),
    /// An identity for pods.
    ServiceAccount(ServiceAccount),
    /// A namespace.
    Namespace(Namespace),
}

impl Object {
    /// The object's kind, as in `kind:`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pod(_) => "Pod",
            Self::ConfigMap(_) => "ConfigMap",
            Self::Secret(_) => "Secret",
            Self::PersistentVolumeClaim(_) => "PersistentVolumeClaim",
            Self::Service(_) => "Service",
            Self::Endpoints(_) => "Endpoints",
            Self::EndpointSlice(_) => "EndpointSlice",
            Self::ServiceAccount(_) => "ServiceAccount",
            Self::Namespace(_) => "Namespace",
        }
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Pod(object) => &object.metadata,
            Self::ConfigMap(object) => &object.metadata,
            Self::Secret(object) => &object.metadata,
            Self::PersistentVolumeClaim(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::Endpoints(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::ServiceAccount(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
        }
    }

    /// The object's metadata, to change it.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Pod(object) => &mut object.metadata,
            Self::ConfigMap(object) => &mut object.metadata,
            Self::Secret(object) => &mut object.metadata,
            Self::PersistentVolumeClaim(object) => &mut object.metadata,
            Self::Service(object) => &mut object.metadata,
            Self::Endpoints(object) => &mut object.metadata,
            Self::EndpointSlice(object) => &mut object.metadata,
            Self::ServiceAccount(object) => &mut object.metadata,
            Self::Namespace(object) => &mut object.metadata,
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(&self) -> bool {
        !matches!(self, Self::Namespace(_))
    }

    /// `metadata.name`, empty where not set.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// `metadata.namespace`, empty where not set.
    pub fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }
}

/// Where an object was written, down to the line of each of its fields.
#[derive(Clone)]
pub struct Origin {
    source: Arc<str>,
    root: Arc<Node>,
}

impl Origin {
    pub(super) fn new(source: Arc<str>, root: Arc<Node>) -> Self {
        Self { source, root }
    }

    /// The file's name as it was given, or `-`.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The line the object starts on, counted from 1.
    pub fn line(&self) -> usize {
        self.root.line
    }

    /// The line of the field at `path` (such as `spec.containers[0].name`), or of the nearest thing around it that is
    /// written.
    pub fn line_of(&self, path: &str) -> usize {
        self.root.line_of(path)
    }

    /// `file:line` of the field at `path`.
    pub fn place_of(&self, path: &str) -> String {
        format!("{}:{}", self.source, self.line_of(path))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Origin({}:{})", self.source, self.line())
    }
}
