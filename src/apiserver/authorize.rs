//! Who may do what: one [`Policy`], asked about every request and by the reviews that let clients ask beforehand.
//!
//! There is no RBAC here. Whoever has proven to be somebody may do everything, except for service accounts, whose tokens
//! are in the hands of what runs in pods: programs that are not trusted with the machine, as one could not be trusted that
//! may create a pod with a hostPath volume. They have the rights of Kubernetes' ClusterRole `view`, unless the server
//! was told to give them those of `cluster-admin`.

use k8s_openapi::api::authorization::v1::{NonResourceRule, ResourceRule, SubjectRulesReviewStatus};

use super::identity::{Identity, MASTERS, SERVICE_ACCOUNTS, UNAUTHENTICATED};
use crate::api::resources::{RESOURCES, ResourceType};

/// What service accounts may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServiceAccountRole {
    /// Read everything but Secrets.
    #[default]
    View,
    /// Everything.
    ClusterAdmin,
}

/// Decides who may do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// What service accounts may do.
    pub service_accounts: ServiceAccountRole,
}

/// What somebody wants to do (`authorizer.Attributes` of kube-apiserver).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// The verb: `get`, `list`, `create`; for paths the method in lower case.
    pub verb: &'a str,
    /// With what.
    pub target: Target<'a>,
}

/// With what somebody wants to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Objects.
    Resource {
        /// The API group; empty for the core group.
        group: &'a str,
        /// The resource, such as `pods`.
        resource: &'a str,
        /// The subresource, or nothing.
        subresource: &'a str,
        /// The namespace; empty for all of them, and for resources that have none.
        namespace: &'a str,
        /// The object's name, or nothing.
        name: &'a str,
    },
    /// A URL that is none of objects.
    Path(&'a str),
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why, for people.
    pub reason: String,
}

/// Paths that tell how the server is, and nothing else: everybody may read them.
const HEALTH: &[&str] = &["/healthz", "/livez", "/readyz"];
/// Paths that everybody may read who has proven who they are (ClusterRoles `system:discovery`,
/// `system:public-info-viewer` and `system:service-account-issuer-discovery`).
const DISCOVERY: &[&str] = &[
    "/.well-known/openid-configuration",
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/healthz/*",
    "/livez",
    "/livez/*",
    "/openapi",
    "/openapi/*",
    "/openid/v1/jwks",
    "/readyz",
    "/readyz/*",
    "/version",
    "/version/",
];
/// What everybody may find out about themselves (ClusterRole `system:basic-user`).
const OWN_REVIEWS: &[(&str, &str)] = &[
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];
/// The verbs of `view`.
const READING: &[&str] = &["get", "list", "watch"];
/// The subresources that reading them is only reading: streams into containers are opened by GET too.
const READABLE: &[&str] = &["", "log", "scale", "status"];

impl Policy {
    /// Whether somebody may do something.
    pub fn decide(&self, identity: &Identity, attributes: &Attributes<'_>) -> Decision {
        let rights = self.rights(identity);
        let allowed = match rights {
            Rights::Everything(_) => true,
            Rights::View => attributes.is_own_review() || attributes.is_discovery() || attributes.is_view(),
            Rights::Health => attributes.is_health(),
        };
        let reason = match rights {
            Rights::Everything(why) => why.to_owned(),
            Rights::View if allowed => "service accounts may read".to_owned(),
            Rights::View => "service accounts may only read, and no secrets, unless the server was started with \
                             --service-accounts=cluster-admin"
                .to_owned(),
            Rights::Health if allowed => "everybody may ask for the server's health".to_owned(),
            Rights::Health => "requests must say whose they are".to_owned(),
        };
        Decision { allowed, reason }
    }

    /// What somebody may do, as rules.
    pub fn rules(&self, identity: &Identity) -> SubjectRulesReviewStatus {
        let everything = || vec!["*".to_owned()];
        let (resource_rules, non_resource_rules) = match self.rights(identity) {
            Rights::Everything(_) => (
                vec![ResourceRule {
                    api_groups: Some(everything()),
                    resource_names: None,
                    resources: Some(everything()),
                    verbs: everything(),
                }],
                vec![NonResourceRule { non_resource_urls: Some(everything()), verbs: everything() }],
            ),
            Rights::View => (view_rules(), vec![path_rule(DISCOVERY)]),
            Rights::Health => (Vec::new(), vec![path_rule(HEALTH)]),
        };
        SubjectRulesReviewStatus { evaluation_error: None, incomplete: false, non_resource_rules, resource_rules }
    }

    fn rights(&self, identity: &Identity) -> Rights {
        if identity.is_in(MASTERS) {
            return Rights::Everything("the group system:masters may do everything");
        }
        if identity.groups.is_empty() || identity.is_in(UNAUTHENTICATED) {
            return Rights::Health;
        }
        if identity.is_in(SERVICE_ACCOUNTS) || identity.as_service_account().is_some() {
            return match self.service_accounts {
                ServiceAccountRole::View => Rights::View,
                ServiceAccountRole::ClusterAdmin => {
                    Rights::Everything("the server was started with --service-accounts=cluster-admin")
                }
            };
        }
        Rights::Everything("this server has no rules for users")
    }
}

/// What somebody may do.
enum Rights {
    Everything(&'static str),
    View,
    Health,
}

impl Attributes<'_> {
    fn is_own_review(&self) -> bool {
        let Target::Resource { group, resource, subresource: "", .. } = self.target else { return false };
        self.verb == "create" && OWN_REVIEWS.contains(&(group, resource))
    }

    fn is_view(&self) -> bool {
        let Target::Resource { group, resource, subresource, .. } = self.target else { return false };
        READING.contains(&self.verb) && READABLE.contains(&subresource) && (group, resource) != ("", "secrets")
    }

    fn is_discovery(&self) -> bool {
        self.is_reading_of(DISCOVERY)
    }

    fn is_health(&self) -> bool {
        self.is_reading_of(HEALTH)
    }

    fn is_reading_of(&self, paths: &[&str]) -> bool {
        let Target::Path(path) = self.target else { return false };
        let matches = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == *pattern,
        };
        matches!(self.verb, "get" | "head") && paths.iter().any(matches)
    }

    /// What a refusal says (kube-apiserver `forbiddenMessage` and `NewForbidden`).
    pub fn refusal(&self, identity: &Identity, reason: &str) -> String {
        let user = &identity.username;
        let verb = self.verb;
        match self.target {
            Target::Path(path) => format!("forbidden: User {user:?} cannot {verb} path {path:?}: {reason}"),
            Target::Resource { group, resource, subresource, namespace, name } => {
                let what = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
                let named = if name.is_empty() { String::new() } else { format!(" {name:?}") };
                let below = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
                let place = match namespace {
                    "" => "at the cluster scope".to_owned(),
                    namespace => format!("in the namespace {namespace:?}"),
                };
                format!(
                    "{what}{named} is forbidden: User {user:?} cannot {verb} resource \"{resource}{below}\" in API group \
                     {group:?} {place}: {reason}"
                )
            }
        }
    }
}

fn path_rule(paths: &[&str]) -> NonResourceRule {
    NonResourceRule { non_resource_urls: Some(owned(paths)), verbs: owned(&["get", "head"]) }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn rule(group: &str, resources: Vec<String>, verbs: &[&str]) -> ResourceRule {
    ResourceRule {
        api_groups: Some(vec![group.to_owned()]),
        resource_names: None,
        resources: Some(resources),
        verbs: owned(verbs),
    }
}

fn view_rules() -> Vec<ResourceRule> {
    let mut rules: Vec<_> =
        OWN_REVIEWS.iter().map(|(group, resource)| rule(group, owned(&[resource]), &["create"])).collect();
    for of_group in RESOURCES.chunk_by(|one, next| one.group == next.group) {
        let readable: Vec<String> = of_group.iter().flat_map(readable).collect();
        if !readable.is_empty() {
            rules.push(rule(of_group[0].group, readable, READING));
        }
    }
    rules
}

/// A resource and its subresources, as far as `view` reaches.
fn readable(resource: &ResourceType) -> Vec<String> {
    let can_read = |verbs: &[&str]| verbs.contains(&"get");
    if !can_read(resource.verbs()) || (resource.group, resource.plural) == ("", "secrets") {
        return Vec::new();
    }
    let below = resource.subresources.iter().filter(|below| READABLE.contains(&below.name) && can_read(below.verbs));
    let below = below.map(|below| format!("{}/{}", resource.plural, below.name));
    std::iter::once(resource.plural.to_owned()).chain(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: Policy = Policy { service_accounts: ServiceAccountRole::View };

    fn resource<'a>(verb: &'a str, path: &'a str) -> Attributes<'a> {
        let mut parts = path.split('/');
        let (group, resource) = (parts.next().unwrap(), parts.next().unwrap());
        let subresource = parts.next().unwrap_or_default();
        Attributes { verb, target: Target::Resource { group, resource, subresource, namespace: "default", name: "" } }
    }

    fn path<'a>(verb: &'a str, path: &'a str) -> Attributes<'a> {
        Attributes { verb, target: Target::Path(path) }
    }

    #[test]
    fn masters_may_do_everything_and_strangers_nothing() {
        for attributes in [resource("delete", "/secrets"), resource("create", "/pods/exec"), path("post", "/anything")]
        {
            assert!(VIEW.decide(&Identity::admin(), &attributes).allowed, "{attributes:?}");
            assert!(!VIEW.decide(&Identity::anonymous(), &attributes).allowed, "{attributes:?}");
            assert!(!VIEW.decide(&Identity::default(), &attributes).allowed, "{attributes:?}");
        }
        assert!(VIEW.decide(&Identity::anonymous(), &path("get", "/livez")).allowed);
        assert!(!VIEW.decide(&Identity::anonymous(), &path("post", "/livez")).allowed);
        assert!(!VIEW.decide(&Identity::anonymous(), &path("get", "/version")).allowed);
    }

    #[test]
    fn service_accounts_read_what_is_no_secret_and_reach_into_no_container() {
        let account = Identity::service_account("default", "default", "u");
        for attributes in [
            resource("get", "/pods"),
            resource("watch", "discovery.k8s.io/endpointslices"),
            resource("get", "/pods/log"),
            resource("get", "/pods/status"),
            resource("create", "authorization.k8s.io/selfsubjectaccessreviews"),
            path("get", "/version"),
            path("get", "/openapi/v3/api/v1"),
            path("get", "/apis"),
        ] {
            assert!(VIEW.decide(&account, &attributes).allowed, "{attributes:?}");
        }
        for attributes in [
            resource("get", "/secrets"),
            resource("list", "/secrets"),
            resource("create", "/pods"),
            resource("patch", "/pods/status"),
            resource("get", "/pods/exec"),
            resource("get", "/pods/portforward"),
            resource("get", "/pods/proxy"),
            resource("get", "/services/proxy"),
            resource("get", "/nodes/proxy"),
            resource("create", "/serviceaccounts/token"),
            resource("create", "authentication.k8s.io/tokenreviews"),
            path("get", "/metrics"),
            path("get", "/versions"),
        ] {
            assert!(!VIEW.decide(&account, &attributes).allowed, "{attributes:?}");
        }
    }

    #[test]
    fn service_accounts_may_be_let_do_everything() {
        let policy = Policy { service_accounts: ServiceAccountRole::ClusterAdmin };
        let account = Identity::service_account("default", "default", "u");
        assert!(policy.decide(&account, &resource("create", "/pods")).allowed);
    }

    #[test]
    fn a_name_like_a_service_accounts_gives_its_rights_whatever_the_groups() {
        let posing = Identity::authenticated("system:serviceaccount:default:default", []);
        assert!(!VIEW.decide(&posing, &resource("create", "/pods")).allowed);
    }

    #[test]
    fn rules_say_what_decisions_do() {
        let account = Identity::service_account("default", "default", "u");
        for rule in VIEW.rules(&account).resource_rules {
            let group = rule.api_groups.unwrap().remove(0);
            for named in rule.resources.unwrap() {
                for verb in &rule.verbs {
                    let attributes = format!("{group}/{named}");
                    assert!(VIEW.decide(&account, &resource(verb, &attributes)).allowed, "{verb} {attributes}");
                }
                assert!(!named.starts_with("secrets"));
            }
        }
        let admin = VIEW.rules(&Identity::admin());
        assert_eq!(admin.resource_rules[0].verbs, ["*"]);
        assert!(VIEW.rules(&Identity::anonymous()).resource_rules.is_empty());
    }

    #[test]
    fn a_refusal_reads_as_kubernetes_does() {
        let account = Identity::service_account("default", "robot", "u");
        assert_eq!(
            resource("create", "/pods/exec").refusal(&account, "no"),
            "pods is forbidden: User \"system:serviceaccount:default:robot\" cannot create resource \"pods/exec\" in API \
             group \"\" in the namespace \"default\": no"
        );
        assert_eq!(
            path("get", "/x").refusal(&Identity::anonymous(), "no"),
            "forbidden: User \"system:anonymous\" cannot get path \"/x\": no"
        );
    }
}
