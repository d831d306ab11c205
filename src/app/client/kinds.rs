//! The kinds of objects a server has, by its discovery, and how people call them: `pods`, `pod`, `po`, `Pod`,
//! `events.events.k8s.io`, `all`.

use anyhow::bail;
use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery};

use super::connection::Connection;

/// One kind in one version of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
    pub(super) plural: String,
    pub(super) singular: String,
    pub(super) short_names: Vec<String>,
    pub(super) categories: Vec<String>,
    pub(super) verbs: Vec<String>,
    pub(super) namespaced: bool,
}

impl Kind {
    /// `v1`, `discovery.k8s.io/v1`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// How an object of it is called in messages: `pod`, `endpointslice.discovery.k8s.io`.
    pub(super) fn word(&self) -> String {
        if self.group.is_empty() { self.singular.clone() } else { format!("{}.{}", self.singular, self.group) }
    }

    /// How the resource is called in messages: `pods`, `endpointslices.discovery.k8s.io`.
    pub(super) fn plural_word(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The path of its objects; of all namespaces if none is named.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let base = if self.group.is_empty() { "/api".to_owned() } else { format!("/apis/{}", self.group) };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => {
                format!("{base}/{}/namespaces/{}/{}", self.version, segment(namespace), self.plural)
            }
            None => format!("{base}/{}/{}", self.version, self.plural),
        }
    }

    /// The path of one object.
    pub(super) fn object_path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.path(Some(namespace)), segment(name))
    }

    /// Whether somebody calls it so.
    fn is_called(&self, name: &str) -> bool {
        let group =
            |rest: &str| rest == self.group || rest == format!("{}.{}", self.version, self.group).trim_end_matches('.');
        let is = |name: &str| {
            name == self.plural || name == self.singular || self.short_names.iter().any(|short| short == name)
        };
        is(name) || name.split_once('.').is_some_and(|(name, rest)| is(name) && group(rest.trim_end_matches('.')))
    }
}

/// A part of a path, with nothing in it that could lead elsewhere.
pub(super) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A query, encoded, with its question mark; nothing if it is empty.
pub(super) fn query(pairs: &[(&str, String)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    format!("?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish())
}

/// All kinds of a server, those of the core group first.
#[derive(Debug, Clone)]
pub(super) struct Kinds(Vec<Kind>);

impl Kinds {
    /// Asks the server.
    pub(super) async fn discover(connection: &Connection) -> anyhow::Result<Self> {
        let core = connection.client.list_core_api_versions_aggregated().await?;
        let groups = connection.client.list_api_groups_aggregated().await?;
        Ok(Self(core.items.iter().chain(&groups.items).flat_map(of_group).collect()))
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Kind] {
        &self.0
    }

    /// The kind that is called so.
    pub(super) fn find(&self, name: &str) -> anyhow::Result<&Kind> {
        let lower = name.to_lowercase();
        match self.0.iter().find(|kind| kind.is_called(&lower)) {
            Some(kind) => Ok(kind),
            None => bail!("the server doesn't have a resource type {name:?}"),
        }
    }

    /// The kinds that a list such as `pods,svc`, or a category such as `all`, names.
    pub(super) fn find_several(&self, names: &str) -> anyhow::Result<Vec<Kind>> {
        let mut found: Vec<Kind> = Vec::new();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let in_category = |kind: &&Kind| kind.categories.iter().any(|category| category == name);
            let category: Vec<Kind> = self.0.iter().filter(in_category).cloned().collect();
            let kinds = if category.is_empty() { vec![self.find(name)?.clone()] } else { category };
            for kind in kinds {
                if !found.contains(&kind) {
                    found.push(kind);
                }
            }
        }
        Ok(found)
    }

    /// The kind of a manifest.
    pub(super) fn of_object(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.0.iter().find(|found| found.kind == kind && found.api_version() == api_version)
    }
}

fn of_group(group: &APIGroupDiscovery) -> Vec<Kind> {
    let name = group.metadata.as_ref().and_then(|metadata| metadata.name.clone()).unwrap_or_default();
    let versions = group.versions.iter().map(|version| (version.version.clone().unwrap_or_default(), version));
    versions
        .flat_map(|(version, found)| {
            found.resources.iter().filter_map(|resource| of_resource(&name, &version, resource)).collect::<Vec<_>>()
        })
        .collect()
}

fn of_resource(group: &str, version: &str, resource: &APIResourceDiscovery) -> Option<Kind> {
    let plural = resource.resource.clone()?;
    let kind = resource.response_kind.as_ref()?.kind.clone()?;
    let singular = resource.singular_resource.clone().filter(|name| !name.is_empty());
    Some(Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        singular: singular.unwrap_or_else(|| kind.to_lowercase()),
        kind,
        plural,
        short_names: resource.short_names.clone(),
        categories: resource.categories.clone(),
        verbs: resource.verbs.clone(),
        namespaced: resource.scope.as_deref() == Some("Namespaced"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(group: &str, plural: &str, singular: &str, short: &[&str], categories: &[&str]) -> Kind {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Kind {
            group: group.into(),
            version: "v1".into(),
            kind: singular.into(),
            plural: plural.into(),
            singular: singular.into(),
            short_names: own(short),
            categories: own(categories),
            verbs: Vec::new(),
            namespaced: true,
        }
    }

    #[test]
    fn people_call_kinds_by_many_names() {
        let kinds = Kinds(vec![
            kind("", "pods", "pod", &["po"], &["all"]),
            kind("", "services", "service", &["svc"], &["all"]),
            kind("", "events", "event", &["ev"], &[]),
            kind("events.k8s.io", "events", "event", &["ev"], &[]),
        ]);
        for (name, group, plural) in [
            ("pods", "", "pods"),
            ("Pod", "", "pods"),
            ("po", "", "pods"),
            ("pods.v1.", "", "pods"),
            ("ev", "", "events"),
            ("events.events.k8s.io", "events.k8s.io", "events"),
            ("events.v1.events.k8s.io", "events.k8s.io", "events"),
        ] {
            let found = kinds.find(name).unwrap();
            assert_eq!((found.group.as_str(), found.plural.as_str()), (group, plural), "{name}");
        }
        assert_eq!(kinds.find("foo").unwrap_err().to_string(), "the server doesn't have a resource type \"foo\"");
        let names = |text: &str| -> Vec<String> {
            kinds.find_several(text).unwrap().into_iter().map(|kind| kind.plural).collect()
        };
        assert_eq!(names("all"), ["pods", "services"]);
        assert_eq!(names("svc,po,pods"), ["services", "pods"]);
    }

    #[test]
    fn paths_lead_nowhere_else() {
        let pods = kind("", "pods", "pod", &[], &[]);
        assert_eq!(pods.object_path("a", "x/../y?z"), "/api/v1/namespaces/a/pods/x%2F..%2Fy%3Fz");
        assert_eq!(kind("g.io", "things", "thing", &[], &[]).path(None), "/apis/g.io/v1/things");
        assert_eq!(query(&[("labelSelector", "a=b".into())]), "?labelSelector=a%3Db");
    }
}
