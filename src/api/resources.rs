//! The resources an API server has: how each is called in URLs, in manifests and on the command line, and which verbs
//! and subresources it has. The one table that discovery, routes, storage and the command line read; what a resource
//! does beyond that stands with whoever does it.
//!
//! A resource that is served in several versions of its group has an entry for each. The first is the version that clients
//! prefer and in which objects are kept; in the others, objects differ in their `apiVersion` only.

use k8s_openapi::Resource;

/// One resource of one API group and version.
#[derive(Debug, PartialEq, Eq)]
pub struct ResourceType {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version of the group.
    pub version: &'static str,
    /// The kind of its objects, such as `Pod`.
    pub kind: &'static str,
    /// Its name in URLs, such as `pods`.
    pub plural: &'static str,
    /// Its name for one object, such as `pod`.
    pub singular: &'static str,
    /// Abbreviations that clients accept, such as `po`.
    pub short_names: &'static [&'static str],
    /// The groups of resources it belongs to, such as `all`.
    pub categories: &'static [&'static str],
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What becomes of its objects.
    pub nature: Nature,
    /// What is below its objects in URLs.
    pub subresources: &'static [Subresource],
}

/// What becomes of the objects of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// They are kept, and have all verbs.
    Stored,
    /// They are another form of the objects of the resource of that group, with the same plural.
    ViewOf(&'static str),
    /// They are answered and forgotten: `create` only.
    Answered,
    /// They are made when asked for: `get` and `list` only.
    Measured,
}

/// Something below an object in URLs, such as `status`.
#[derive(Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Its name in URLs.
    pub name: &'static str,
    /// Group, version and kind of what is sent and answered; empty group and version are those of its resource.
    pub kind: (&'static str, &'static str, &'static str),
    /// Its verbs.
    pub verbs: &'static [&'static str],
}

/// All verbs of stored objects, in the order of discovery documents.
pub const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

impl ResourceType {
    /// `v1`, `discovery.k8s.io/v1`: what stands in `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `pods`, `endpointslices.discovery.k8s.io`: how messages call the resource (`schema.GroupResource`).
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The verbs of the resource itself.
    pub fn verbs(&self) -> &'static [&'static str] {
        match self.nature {
            Nature::Stored | Nature::ViewOf(_) => ALL_VERBS,
            Nature::Answered => &["create"],
            Nature::Measured => &["get", "list"],
        }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|subresource| subresource.name == name)
    }

    /// The resource whose objects are kept for this one: itself, unless it is a view of another, or another version.
    pub fn stored(&'static self) -> &'static ResourceType {
        match self.nature {
            Nature::ViewOf(group) => find(group, self.plural).unwrap_or(self),
            _ => self.preferred(),
        }
    }

    /// The same resource in the version that clients prefer.
    pub fn preferred(&'static self) -> &'static ResourceType {
        find(self.group, self.plural).unwrap_or(self)
    }

    /// Whether its objects are kept in another version than the one in which this entry shows them.
    pub fn is_other_version(&self) -> bool {
        find(self.group, self.plural).is_some_and(|preferred| preferred.version != self.version)
    }
}

/// The resource of a group in one of its versions, by its plural.
pub fn find_version(group: &str, version: &str, plural: &str) -> Option<&'static ResourceType> {
    let mut all = RESOURCES.iter();
    all.find(|resource| (resource.group, resource.version, resource.plural) == (group, version, plural))
}

/// The resource of a group, by its plural, in the version that clients prefer.
pub fn find(group: &str, plural: &str) -> Option<&'static ResourceType> {
    RESOURCES.iter().find(|resource| resource.group == group && resource.plural == plural)
}

/// The resource of a kind, by group and kind, in the version that clients prefer.
pub fn of_kind(group: &str, kind: &str) -> Option<&'static ResourceType> {
    RESOURCES.iter().find(|resource| resource.group == group && resource.kind == kind)
}

/// The resource whose objects are of a Rust type.
pub fn of_type<T: Resource>() -> Option<&'static ResourceType> {
    of_kind(T::GROUP, T::KIND)
}

const STATUS: &[&str] = &["get", "patch", "update"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

const fn subresource(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, kind: ("", "", kind), verbs }
}

const fn core(kind: &'static str, plural: &'static str, singular: &'static str) -> ResourceType {
    ResourceType {
        group: "",
        version: "v1",
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        namespaced: true,
        nature: Nature::Stored,
        subresources: &[],
    }
}

const fn answered(group: &'static str, kind: &'static str, plural: &'static str) -> ResourceType {
    ResourceType { group, nature: Nature::Answered, namespaced: false, ..core(kind, plural, "") }
}

/// All resources, by group.
pub static RESOURCES: &[ResourceType] = &[
    ResourceType { short_names: &["cm"], ..core("ConfigMap", "configmaps", "configmap") },
    ResourceType { short_names: &["ep"], ..core("Endpoints", "endpoints", "endpoints") },
    ResourceType { short_names: &["ev"], ..core("Event", "events", "event") },
    ResourceType {
        short_names: &["ns"],
        namespaced: false,
        subresources: &[subresource("finalize", "Namespace", &["update"]), subresource("status", "Namespace", STATUS)],
        ..core("Namespace", "namespaces", "namespace")
    },
    ResourceType {
        short_names: &["no"],
        namespaced: false,
        subresources: &[subresource("proxy", "NodeProxyOptions", PROXY), subresource("status", "Node", STATUS)],
        ..core("Node", "nodes", "node")
    },
    ResourceType {
        short_names: &["pvc"],
        subresources: &[subresource("status", "PersistentVolumeClaim", STATUS)],
        ..core("PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim")
    },
    ResourceType {
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            subresource("attach", "PodAttachOptions", CONNECT),
            subresource("binding", "Binding", &["create"]),
            subresource("ephemeralcontainers", "Pod", STATUS),
            Subresource { name: "eviction", kind: ("policy", "v1", "Eviction"), verbs: &["create"] },
            subresource("exec", "PodExecOptions", CONNECT),
            subresource("log", "Pod", &["get"]),
            subresource("portforward", "PodPortForwardOptions", CONNECT),
            subresource("proxy", "PodProxyOptions", PROXY),
            subresource("resize", "Pod", STATUS),
            subresource("status", "Pod", STATUS),
        ],
        ..core("Pod", "pods", "pod")
    },
    core("Secret", "secrets", "secret"),
    ResourceType {
        short_names: &["sa"],
        subresources: &[Subresource {
            name: "token",
            kind: ("authentication.k8s.io", "v1", "TokenRequest"),
            verbs: &["create"],
        }],
        ..core("ServiceAccount", "serviceaccounts", "serviceaccount")
    },
    ResourceType {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[subresource("proxy", "ServiceProxyOptions", PROXY), subresource("status", "Service", STATUS)],
        ..core("Service", "services", "service")
    },
    answered("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews"),
    answered("authentication.k8s.io", "TokenReview", "tokenreviews"),
    // For `kubectl auth whoami` up to 1.27.
    ResourceType { version: "v1beta1", ..answered("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews") },
    ResourceType {
        namespaced: true,
        ..answered("authorization.k8s.io", "LocalSubjectAccessReview", "localsubjectaccessreviews")
    },
    answered("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    answered("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    answered("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews"),
    ResourceType { group: "coordination.k8s.io", ..core("Lease", "leases", "lease") },
    ResourceType { group: "discovery.k8s.io", ..core("EndpointSlice", "endpointslices", "endpointslice") },
    ResourceType {
        group: "events.k8s.io",
        short_names: &["ev"],
        nature: Nature::ViewOf(""),
        ..core("Event", "events", "event")
    },
    ResourceType {
        group: "metrics.k8s.io",
        version: "v1beta1",
        namespaced: false,
        nature: Nature::Measured,
        ..core("NodeMetrics", "nodes", "")
    },
    ResourceType {
        group: "metrics.k8s.io",
        version: "v1beta1",
        nature: Nature::Measured,
        ..core("PodMetrics", "pods", "")
    },
    ResourceType { group: "node.k8s.io", namespaced: false, ..core("RuntimeClass", "runtimeclasses", "runtimeclass") },
    ResourceType {
        group: "scheduling.k8s.io",
        short_names: &["pc"],
        namespaced: false,
        ..core("PriorityClass", "priorityclasses", "priorityclass")
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{Namespace, Pod};
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use std::collections::BTreeSet;

    #[test]
    fn every_resource_is_there_once() {
        let names: BTreeSet<_> =
            RESOURCES.iter().map(|resource| (resource.group_resource(), resource.version)).collect();
        assert_eq!(names.len(), RESOURCES.len());
        // Other versions of a group come behind the one that is preferred, each by itself.
        let preferred = |group: &str| RESOURCES.iter().find(|resource| resource.group == group).unwrap().version;
        assert!(RESOURCES.is_sorted_by_key(|resource| {
            let other = Some(resource.version).filter(|version| *version != preferred(resource.group));
            (resource.group, other, resource.plural)
        }));
    }

    #[test]
    fn another_version_is_kept_as_the_preferred_one() {
        let [new, old] = ["v1", "v1beta1"]
            .map(|version| find_version("authentication.k8s.io", version, "selfsubjectreviews").unwrap());
        assert!(!new.is_other_version() && old.is_other_version());
        assert_eq!((old.stored(), new.stored(), find(new.group, new.plural)), (new, new, Some(new)));
        assert!(find_version("", "v2", "pods").is_none());
    }

    #[test]
    fn names_are_those_of_the_types() {
        fn check<T: Resource>() {
            let resource = of_type::<T>().unwrap_or_else(|| panic!("no {}", T::KIND));
            assert_eq!(resource.plural, T::URL_PATH_SEGMENT);
            assert_eq!(resource.api_version(), T::API_VERSION);
        }
        check::<Pod>();
        check::<Namespace>();
        check::<EndpointSlice>();
        check::<k8s_openapi::api::core::v1::Event>();
        check::<k8s_openapi::api::coordination::v1::Lease>();
        check::<k8s_openapi::api::node::v1::RuntimeClass>();
        check::<k8s_openapi::api::scheduling::v1::PriorityClass>();
    }

    #[test]
    fn a_view_is_kept_as_what_it_shows() {
        let view = find("events.k8s.io", "events").unwrap();
        assert_eq!(view.stored().group, "");
        assert_eq!(find("", "pods").unwrap().stored().kind, "Pod");
    }
}
