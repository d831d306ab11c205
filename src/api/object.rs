//! The kinds of object that are understood, as one type, and where each was written.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::Resource as _;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node as ClusterNode, PersistentVolumeClaim, Pod, Secret, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::document::Node;

/// The kinds of `apiVersion: v1` that manifests may have. `EndpointSlice` of `discovery.k8s.io/v1` is good there, too.
pub const KINDS: [&str; 8] =
    ["Pod", "ConfigMap", "Secret", "PersistentVolumeClaim", "Service", "Endpoints", "ServiceAccount", "Namespace"];

macro_rules! objects {
    ($($(#[$doc:meta])* $kind:ident($held:ty) is $type:ty;)*) => {
        /// One object of a kind that is understood.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Object {
            $($(#[$doc])* $kind($held),)*
        }

        impl Object {
            /// The object's kind, as in `kind:`.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => <$type>::KIND,)*
                }
            }

            /// The object's metadata.
            pub fn metadata(&self) -> &ObjectMeta {
                match self {
                    $(Self::$kind(object) => &object.metadata,)*
                }
            }

            /// The object's metadata, to change it.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self {
                    $(Self::$kind(object) => &mut object.metadata,)*
                }
            }

            /// The object as JSON, with its `apiVersion` and `kind`.
            pub fn to_json(&self) -> Value {
                let json = match self {
                    $(Self::$kind(object) => serde_json::to_value(object),)*
                };
                // These types have no map whose keys are not text, which is all that could go wrong.
                json.unwrap_or_default()
            }

            fn of_json(api_version: &str, kind: &str, json: &Value) -> Result<Self, JsonProblem> {
                $(if (api_version, kind) == (<$type>::API_VERSION, <$type>::KIND) {
                    let object = <$type>::deserialize(json).map_err(|error| JsonProblem::Misfit(error.to_string()))?;
                    return Ok(Self::$kind(object.into()));
                })*
                Err(JsonProblem::UnknownKind)
            }
        }
    };
}

objects! {
    /// A pod.
    Pod(Box<Pod>) is Pod;
    /// Configuration that pods refer to.
    ConfigMap(ConfigMap) is ConfigMap;
    /// Confidential configuration that pods refer to.
    Secret(Secret) is Secret;
    /// A claim to storage that outlives pods.
    PersistentVolumeClaim(Box<PersistentVolumeClaim>) is PersistentVolumeClaim;
    /// A stable name and address for pods.
    Service(Box<Service>) is Service;
    /// Addresses that a Service without a selector leads to.
    Endpoints(Endpoints) is Endpoints;
    /// The same in its newer form.
    EndpointSlice(EndpointSlice) is EndpointSlice;
    /// An identity for pods.
    ServiceAccount(ServiceAccount) is ServiceAccount;
    /// A namespace.
    Namespace(Namespace) is Namespace;
    /// A machine that runs pods.
    Node(Box<ClusterNode>) is ClusterNode;
    /// A report of something that happened to an object.
    Event(Box<Event>) is Event;
    /// A claim to be the one who does something, renewed again and again.
    Lease(Lease) is Lease;
    /// A way to run pods.
    RuntimeClass(RuntimeClass) is RuntimeClass;
    /// How much pods matter.
    PriorityClass(PriorityClass) is PriorityClass;
}

/// What stands in the way of an object in JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonProblem {
    /// Its kind is not understood.
    #[error("its kind is not understood")]
    UnknownKind,
    /// Something does not fit the kind's type.
    #[error("{0}")]
    Misfit(String),
}

impl Object {
    /// An object from JSON that says its `apiVersion` and `kind`, and has the form of its kind
    /// ([`schema::conform`](super::schema::conform)); what it has beyond its type is left out.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn from_json(json: &Value) -> Result<Self, JsonProblem> {
        let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default();
        Self::of_json(text("apiVersion"), text("kind"), json).map(Self::with_string_data)
    }

    /// `stringData` of a Secret is a way to write `data` without base64; it wins over `data`, and is gone afterwards.
    fn with_string_data(mut self) -> Self {
        if let Self::Secret(secret) = &mut self {
            super::decode::move_string_data(secret);
        }
        self
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(&self) -> bool {
        !matches!(self, Self::Namespace(_) | Self::Node(_) | Self::RuntimeClass(_) | Self::PriorityClass(_))
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
