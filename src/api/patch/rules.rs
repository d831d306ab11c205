//! How the fields of Kubernetes' types merge: the one table for strategic merge patches and for server-side apply.
//!
//! A strategic merge patch knows lists that merge by one key or, if their items are scalars, by value (the Go tags
//! `patchMergeKey` and `patchStrategy`); server-side apply knows the same lists, by one or more keys (`+listType`,
//! `+listMapKey`), and values that have one owner as a whole (`+structType=atomic`, `+mapType=atomic`). They differ in
//! two fields of all, which say so below.
//!
//! Only what differs from the usual is written down. Usual are: objects merge member by member, lists are one value,
//! and so are scalars. A field that only leads to usual ones is not here either. The state is Kubernetes 1.36's.

/// A type of objects.
#[derive(Debug)]
pub(in crate::api) struct Type {
    /// Its fields, as far as they are not usual.
    fields: &'static [Field],
    /// Whether it has one owner as a whole.
    pub(in crate::api) atomic: bool,
}

/// How one value merges.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Rule {
    /// If it is a list with several owners: what identifies its items. Scalars have no keys.
    items: Option<&'static [Key]>,
    /// Which of the two ways of merging know that.
    known_to: KnownTo,
    /// The type of the value, or of the items of the list.
    pub(in crate::api) of: &'static Type,
}

/// A member that identifies items of a list.
#[derive(Debug)]
pub(in crate::api) struct Key {
    /// Its name.
    pub(in crate::api) name: &'static str,
    /// What it is where it is not written.
    pub(in crate::api) default: KeyDefault,
}

/// What a key is where it is not written.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) enum KeyDefault {
    Text(&'static str),
    Zero,
    Absent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KnownTo {
    Both,
    Apply,
    Strategic,
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    rule: Rule,
    /// Whether the field is there in every object, in Kubernetes' eyes: a Go struct that is no pointer, or a list that
    /// is written even if it is empty. Nobody adds or removes it then.
    always: bool,
}

impl Type {
    /// How a field of the type merges.
    pub(super) fn field(&self, name: &str) -> Rule {
        self.fields.iter().find(|field| field.name == name).map_or(USUAL, |field| field.rule)
    }

    /// The fields that are not usual, and how they merge.
    pub(in crate::api) fn unusual(&self) -> impl Iterator<Item = (&'static str, Rule)> {
        self.fields.iter().map(|field| (field.name, field.rule))
    }

    /// Whether the field is there in every object.
    pub(super) fn always(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.always && field.name == name)
    }
}

impl Rule {
    /// How objects of a type merge.
    pub(super) const fn of(of: &'static Type) -> Rule {
        Rule { items: None, known_to: KnownTo::Both, of }
    }

    /// How the items of the list merge.
    pub(super) const fn item(self) -> Rule {
        Rule::of(self.of)
    }

    /// For server-side apply: what identifies the items of the list, if several may own them.
    pub(in crate::api) fn keys(self) -> Option<&'static [Key]> {
        self.items.filter(|_| self.known_to != KnownTo::Strategic)
    }

    /// For strategic merge patches: how the list merges, if it does.
    pub(in crate::api) fn merge(self) -> Option<Merge> {
        let keys = self.items.filter(|_| self.known_to != KnownTo::Apply)?;
        Some(keys.first().map_or(Merge::ByValue, |key| Merge::ByKey(key.name)))
    }
}

/// How a list merges in a strategic merge patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Merge {
    /// Items are objects, known by that member.
    ByKey(&'static str),
    /// Items are scalars.
    ByValue,
}

/// The type of the objects of a kind. Kinds that are not known have usual fields besides their metadata.
pub(in crate::api) fn of_kind(group: &str, kind: &str) -> &'static Type {
    match (group, kind) {
        ("", "Endpoints" | "ConfigMap" | "Secret") => &WITH_METADATA,
        ("", "Event") => &EVENT,
        ("", "Namespace") => &NAMESPACE,
        ("", "Node") => &NODE,
        ("", "PersistentVolumeClaim") => &PERSISTENT_VOLUME_CLAIM,
        ("", "Pod") => &POD,
        ("", "Service") => &SERVICE,
        ("", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("discovery.k8s.io", "EndpointSlice") => &ENDPOINT_SLICE,
        ("events.k8s.io", "Event") => &EVENTS_EVENT,
        ("node.k8s.io", "RuntimeClass") => &RUNTIME_CLASS,
        _ => &WITH_SPEC_AND_STATUS,
    }
}

// How the table is written.

const USUAL: Rule = Rule::of(&Type { fields: &[], atomic: false });

const fn fields(fields: &'static [Field]) -> Type {
    Type { fields, atomic: false }
}

/// An object whose fields are not all usual.
const fn object(name: &'static str, of: &'static Type) -> Field {
    Field { name, rule: Rule::of(of), always: false }
}

/// An object or a map with one owner.
const fn atomic(name: &'static str) -> Field {
    object(name, &ATOMIC)
}

/// A list whose items are known by keys: the first alone for strategic merge patches, all for server-side apply.
const fn list(name: &'static str, keys: &'static [Key], of: &'static Type) -> Field {
    Field { name, rule: Rule { items: Some(keys), known_to: KnownTo::Both, of }, always: false }
}

/// A list of scalars that merges by value.
const fn set(name: &'static str) -> Field {
    list(name, &[], &PLAIN)
}

impl Field {
    const fn always(mut self) -> Field {
        self.always = true;
        self
    }

    const fn known_to(mut self, known_to: KnownTo) -> Field {
        self.rule.known_to = known_to;
        self
    }
}

const fn key(name: &'static str) -> Key {
    Key { name, default: KeyDefault::Text("") }
}

const NAME: &[Key] = &[key("name")];
const IP: &[Key] = &[key("ip")];
const TYPE: &[Key] = &[key("type")];
const PROTOCOL: Key = Key { name: "protocol", default: KeyDefault::Text("TCP") };

/// Nothing but usual fields.
static PLAIN: Type = fields(&[]);
/// One owner as a whole.
static ATOMIC: Type = Type { fields: &[], atomic: true };

// meta/v1

static METADATA: Type = fields(&[set("finalizers"), list("ownerReferences", &[key("uid")], &ATOMIC)]);
static WITH_METADATA: Type = fields(&[object("metadata", &METADATA).always()]);
static WITH_SPEC_AND_STATUS: Type = fields(&[
    object("metadata", &METADATA).always(),
    object("spec", &PLAIN).always(),
    object("status", &PLAIN).always(),
]);

// core/v1: pods

static POD: Type = fields(&[
    object("metadata", &METADATA).always(),
    object("spec", &POD_SPEC).always(),
    object("status", &POD_STATUS).always(),
]);

static POD_SPEC: Type = fields(&[
    object("affinity", &AFFINITY),
    list("containers", NAME, &CONTAINER).always(),
    list("ephemeralContainers", NAME, &CONTAINER),
    list("hostAliases", IP, &PLAIN),
    list("imagePullSecrets", NAME, &ATOMIC),
    list("initContainers", NAME, &CONTAINER),
    atomic("nodeSelector"),
    list("resourceClaims", NAME, &PLAIN),
    object("resources", &RESOURCE_REQUIREMENTS),
    list("schedulingGates", NAME, &PLAIN),
    list("topologySpreadConstraints", &[key("topologyKey"), key("whenUnsatisfiable")], &TOPOLOGY_SPREAD_CONSTRAINT),
    list("volumes", NAME, &VOLUME),
]);

static AFFINITY: Type = fields(&[object("nodeAffinity", &NODE_AFFINITY)]);
static NODE_AFFINITY: Type = fields(&[atomic("requiredDuringSchedulingIgnoredDuringExecution")]);
static TOPOLOGY_SPREAD_CONSTRAINT: Type = fields(&[atomic("labelSelector")]);

static CONTAINER: Type = fields(&[
    list("env", NAME, &ENV_VAR),
    list("ports", &[Key { name: "containerPort", default: KeyDefault::Zero }, PROTOCOL], &PLAIN),
    object("resources", &RESOURCE_REQUIREMENTS).always(),
    list("volumeDevices", &[key("devicePath")], &PLAIN),
    list("volumeMounts", &[key("mountPath")], &PLAIN),
]);

static ENV_VAR: Type = fields(&[object("valueFrom", &ENV_VAR_SOURCE)]);
static ENV_VAR_SOURCE: Type = fields(&[
    atomic("configMapKeyRef"),
    atomic("fieldRef"),
    atomic("fileKeyRef"),
    atomic("resourceFieldRef"),
    atomic("secretKeyRef"),
]);

// `claims` has no `patchStrategy`.
static RESOURCE_REQUIREMENTS: Type = fields(&[list("claims", NAME, &PLAIN).known_to(KnownTo::Apply)]);

static VOLUME: Type = fields(&[
    object("cephfs", &WITH_SECRET),
    object("cinder", &WITH_SECRET),
    object("csi", &WITH_SECRET),
    object("ephemeral", &EPHEMERAL_VOLUME),
    object("flexVolume", &WITH_SECRET),
    object("iscsi", &WITH_SECRET),
    object("rbd", &WITH_SECRET),
    object("scaleIO", &WITH_SECRET),
    object("storageos", &WITH_SECRET),
]);
static WITH_SECRET: Type = fields(&[atomic("nodePublishSecretRef"), atomic("secretRef")]);
static EPHEMERAL_VOLUME: Type = fields(&[object("volumeClaimTemplate", &VOLUME_CLAIM_TEMPLATE)]);
static VOLUME_CLAIM_TEMPLATE: Type =
    fields(&[object("metadata", &METADATA).always(), object("spec", &PERSISTENT_VOLUME_CLAIM_SPEC).always()]);

static POD_STATUS: Type = fields(&[
    list("conditions", TYPE, &PLAIN),
    // `hostIPs` is `+listType=atomic`, with a `patchMergeKey`.
    list("hostIPs", IP, &PLAIN).known_to(KnownTo::Strategic),
    list("nodeAllocatableResourceClaimStatuses", &[key("resourceClaimName")], &PLAIN),
    list("podIPs", IP, &PLAIN),
    list("resourceClaimStatuses", NAME, &PLAIN),
    object("resources", &RESOURCE_REQUIREMENTS),
]);

// core/v1: everything else

static SERVICE: Type = fields(&[
    object("metadata", &METADATA).always(),
    object("spec", &SERVICE_SPEC).always(),
    object("status", &SERVICE_STATUS).always(),
]);
static SERVICE_SPEC: Type =
    fields(&[list("ports", &[Key { name: "port", default: KeyDefault::Zero }, PROTOCOL], &PLAIN), atomic("selector")]);
static SERVICE_STATUS: Type = fields(&[list("conditions", TYPE, &PLAIN), object("loadBalancer", &PLAIN).always()]);

static NODE: Type = fields(&[
    object("metadata", &METADATA).always(),
    object("spec", &NODE_SPEC).always(),
    object("status", &NODE_STATUS).always(),
]);
static NODE_SPEC: Type = fields(&[set("podCIDRs")]);
static NODE_STATUS: Type = fields(&[
    list("addresses", TYPE, &PLAIN),
    list("conditions", TYPE, &PLAIN),
    object("daemonEndpoints", &DAEMON_ENDPOINTS).always(),
    object("nodeInfo", &PLAIN).always(),
]);
static DAEMON_ENDPOINTS: Type = fields(&[object("kubeletEndpoint", &PLAIN).always()]);

static NAMESPACE: Type = fields(&[
    object("metadata", &METADATA).always(),
    object("spec", &PLAIN).always(),
    object("status", &NAMESPACE_STATUS).always(),
]);
static NAMESPACE_STATUS: Type = fields(&[list("conditions", TYPE, &PLAIN)]);

static PERSISTENT_VOLUME_CLAIM: Type = fields(&[
    object("metadata", &METADATA).always(),
    object("spec", &PERSISTENT_VOLUME_CLAIM_SPEC).always(),
    object("status", &PERSISTENT_VOLUME_CLAIM_STATUS).always(),
]);
static PERSISTENT_VOLUME_CLAIM_SPEC: Type =
    fields(&[atomic("dataSource"), object("resources", &PLAIN).always(), atomic("selector")]);
static PERSISTENT_VOLUME_CLAIM_STATUS: Type = fields(&[list("conditions", TYPE, &PLAIN)]);

static SERVICE_ACCOUNT: Type = fields(&[
    object("metadata", &METADATA).always(),
    list("secrets", &[Key { name: "name", default: KeyDefault::Absent }], &ATOMIC),
]);

static EVENT: Type = fields(&[
    atomic("involvedObject").always(),
    object("metadata", &METADATA).always(),
    atomic("related"),
    object("source", &PLAIN).always(),
]);

// Other groups

static EVENTS_EVENT: Type = fields(&[
    object("deprecatedSource", &PLAIN).always(),
    object("metadata", &METADATA).always(),
    atomic("regarding").always(),
    atomic("related"),
]);
static ENDPOINT_SLICE: Type = fields(&[
    // Lists with one owner that are written even if they are empty.
    object("endpoints", &PLAIN).always(),
    object("metadata", &METADATA).always(),
    object("ports", &PLAIN).always(),
]);
static RUNTIME_CLASS: Type = fields(&[object("metadata", &METADATA).always(), object("scheduling", &SCHEDULING)]);
static SCHEDULING: Type = fields(&[atomic("nodeSelector")]);
