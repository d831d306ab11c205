//! The table has every field of the Pod type, the page is up to date, and pods are judged as the table says.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

use super::*;
use crate::api::{Object, decode_documents};

/// The longest path that is walked; no field of a pod is that deep.
const MAX_PATH: usize = 400;

/// A deserializer that gives every struct all its fields, every list one item and every map no entries, and notes the
/// paths of what is neither struct nor list: so it sees a type's fields without knowing the type.
struct TypeWalker<'w> {
    path: String,
    leaves: &'w mut BTreeSet<String>,
}

#[derive(Debug)]
struct WalkError(String);

impl fmt::Display for WalkError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for WalkError {}

impl de::Error for WalkError {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self(message.to_string())
    }
}

impl TypeWalker<'_> {
    fn leaf(&mut self) {
        assert!(self.path.len() < MAX_PATH, "{}", self.path);
        self.leaves.insert(self.path.trim_end_matches("[*]").to_owned());
    }
}

macro_rules! leaves {
    ($($method:ident => $visit:ident($value:expr)),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, WalkError> {
            self.leaf();
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for TypeWalker<'_> {
    type Error = WalkError;

    leaves! {
        deserialize_bool => visit_bool(false),
        deserialize_i32 => visit_i32(0),
        deserialize_i64 => visit_i64(0),
        deserialize_f64 => visit_f64(0.0),
    }

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, WalkError> {
        self.leaf();
        visitor.visit_string("0".to_owned())
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, WalkError> {
        self.leaf();
        let text = match self.path.as_str() {
            "apiVersion" => "v1",
            "kind" => "Pod",
            _ => "2020-01-01T00:00:00Z",
        };
        visitor.visit_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WalkError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WalkError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, WalkError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, WalkError> {
        let path = format!("{}[*]", self.path);
        visitor.visit_seq(OneItem { path: Some(path), leaves: self.leaves })
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, WalkError> {
        self.leaf();
        visitor.visit_map(AllFields { path: self.path, fields: [].iter(), current: "", leaves: self.leaves })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, WalkError> {
        visitor.visit_map(AllFields { path: self.path, fields: fields.iter(), current: "", leaves: self.leaves })
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u64 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct enum identifier
        ignored_any
    }
}

struct OneItem<'w> {
    path: Option<String>,
    leaves: &'w mut BTreeSet<String>,
}

impl<'de> de::SeqAccess<'de> for OneItem<'_> {
    type Error = WalkError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, WalkError> {
        let Some(path) = self.path.take() else { return Ok(None) };
        seed.deserialize(TypeWalker { path, leaves: self.leaves }).map(Some)
    }
}

struct AllFields<'w> {
    path: String,
    fields: std::slice::Iter<'static, &'static str>,
    current: &'static str,
    leaves: &'w mut BTreeSet<String>,
}

impl<'de> de::MapAccess<'de> for AllFields<'_> {
    type Error = WalkError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, WalkError> {
        let Some(field) = self.fields.next() else { return Ok(None) };
        self.current = field;
        seed.deserialize((*field).into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, WalkError> {
        let path =
            if self.path.is_empty() { self.current.to_owned() } else { format!("{}.{}", self.path, self.current) };
        seed.deserialize(TypeWalker { path, leaves: self.leaves })
    }
}

fn pod_leaves() -> BTreeSet<String> {
    let mut leaves = BTreeSet::new();
    Pod::deserialize(TypeWalker { path: String::new(), leaves: &mut leaves }).unwrap();
    leaves.into_iter().map(|leaf| leaf.replace("spec.initContainers[*]", "spec.containers[*]")).collect()
}

fn covers(row: &Row, leaf: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
    match row.path.strip_suffix(".**") {
        Some(root) => leaf.strip_prefix(root).is_some_and(below),
        None => row.path == leaf,
    }
}

#[test]
fn every_field_of_the_pod_type_is_in_the_table() {
    let leaves = pod_leaves();
    assert!(leaves.contains("spec.containers[*].livenessProbe.httpGet.httpHeaders[*].name"), "{leaves:#?}");
    assert!(leaves.len() > 500, "{}", leaves.len());
    let missing: Vec<_> = leaves.iter().filter(|leaf| !TABLE.iter().any(|row| covers(row, leaf))).collect();
    assert!(missing.is_empty(), "fields that are not in the table: {missing:#?}");
    let stale: Vec<_> =
        TABLE.iter().filter(|row| !leaves.iter().any(|leaf| covers(row, leaf))).map(|row| row.path).collect();
    assert!(stale.is_empty(), "rows that no field has: {stale:#?}");
}

#[test]
fn the_page_of_pod_fields_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pod-fields.md");
    let page = markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == page, "docs/pod-fields.md is stale: run UPDATE=1 cargo test pod_fields");
}

fn report(spec: &str) -> (Vec<String>, Vec<String>) {
    let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n");
    let decoded = decode_documents("-", &text).unwrap_or_else(|errors| panic!("{spec}: {errors:?}"));
    let Object::Pod(pod) = &decoded[0].object else { panic!("{decoded:?}") };
    // What is called so is native, or not known.
    let of_image = |image: &str| match image {
        "native" => Some(RuntimeKind::Linux),
        "unknown" => None,
        _ => Some(RuntimeKind::Wasm),
    };
    let report = check_support(pod, &of_image);
    let paths = |notes: Vec<FieldNote>| notes.into_iter().map(|note| note.path).collect();
    (paths(report.refusals), paths(report.warnings))
}

/// Specs, the fields that are refused, and those that are warned of.
const JUDGED: &[(&str, &[&str], &[&str])] = &[
    ("{containers: [{name: a, image: x, command: [a], env: [{name: A, value: b}]}]}", &[], &[]),
    (
        "{containers: [{name: a, securityContext: {privileged: true}}]}",
        &["spec.containers[0].securityContext.privileged"],
        &[],
    ),
    ("{containers: [{name: a, securityContext: {privileged: false}}], hostNetwork: false}", &[], &[]),
    ("{hostNetwork: true, hostPID: true, hostIPC: true}", &["spec.hostIPC", "spec.hostNetwork", "spec.hostPID"], &[]),
    (
        "{initContainers: [{name: i, securityContext: {runAsUser: 1}}, {name: j, securityContext: {capabilities: {add: [A], drop: [B]}}}]}",
        &["spec.initContainers[1].securityContext.capabilities.add"],
        &["spec.initContainers[0].securityContext.runAsUser"],
    ),
    (
        "{volumes: [{name: a, nfs: {}}, {name: b, csi: {driver: d}}, {name: c, emptyDir: {}}]}",
        &["spec.volumes[0].nfs", "spec.volumes[1].csi"],
        &[],
    ),
    ("{volumes: [{name: a, emptyDir: {medium: HugePages-2Mi}}]}", &["spec.volumes[0].emptyDir.medium"], &[]),
    (
        "{containers: [{name: a, livenessProbe: {exec: {command: [a]}}, lifecycle: {preStop: {sleep: {seconds: 1}}}}]}",
        &[],
        &[],
    ),
    (
        "{nodeSelector: {a: b}, affinity: {nodeAffinity: {}}, tolerations: [{operator: Exists}], priority: 5}",
        &[],
        &["spec.affinity", "spec.nodeSelector", "spec.priority", "spec.tolerations"],
    ),
    ("{nodeSelector: {}, affinity: {}, tolerations: [], schedulerName: ''}", &[], &[]),
    (
        "{containers: [{name: a, resources: {limits: {cpu: 1, example.com/gpu: 1, ephemeral-storage: 1}}}]}",
        &["spec.containers[0].resources.limits"],
        &["spec.containers[0].resources.limits"],
    ),
    (
        "{containers: [{name: a, ports: [{containerPort: 1, protocol: SCTP}, {containerPort: 1, protocol: UDP}]}]}",
        &["spec.containers[0].ports[0].protocol"],
        &[],
    ),
    ("{containers: [{name: a, restartPolicyRules: [{action: Restart}, {action: RestartAllContainers}]}]}", &[], &[]),
    ("{automountServiceAccountToken: false, dnsPolicy: None}", &[], &[]),
    (
        "{automountServiceAccountToken: true, dnsConfig: {nameservers: [192.0.2.1], searches: [a], options: \
         [{name: ndots, value: '2'}, {name: rotate}]}}",
        &[],
        &["spec.automountServiceAccountToken", "spec.dnsConfig.options[1].name"],
    ),
    (
        "{securityContext: {runAsUser: 5, runAsNonRoot: true, seLinuxOptions: {level: x}}, os: {name: linux}}",
        &["spec.securityContext.seLinuxOptions"],
        &["spec.securityContext.runAsUser"],
    ),
    // Each container by its own runtime, and what they share by the native one.
    (
        "{hostIPC: true, securityContext: {runAsUser: 5}, containers: [{name: m, image: native, securityContext: \
         {privileged: true, runAsUser: 1}}, {name: w, image: wasm, securityContext: {privileged: true, runAsUser: 1}}]}",
        &["spec.containers[1].securityContext.privileged"],
        &["spec.containers[1].securityContext.runAsUser"],
    ),
    // What may be meant is not refused.
    (
        "{hostPID: true, containers: [{name: u, image: unknown, securityContext: {privileged: true, appArmorProfile: \
         {type: RuntimeDefault}}}]}",
        &["spec.containers[0].securityContext.appArmorProfile"],
        &[],
    ),
    // The class comes before the image.
    (
        "{runtimeClassName: linux, hostPID: true, containers: [{name: c, image: wasm, securityContext: {privileged: true}}]}",
        &[],
        &[],
    ),
    ("{runtimeClassName: wasm, hostPID: true, containers: [{name: c, image: native}]}", &["spec.hostPID"], &[]),
];

#[test]
fn what_cannot_be_honoured_is_refused_or_warned_of() {
    for (spec, refused, warned) in JUDGED {
        let (refusals, warnings) = report(spec);
        assert_eq!(
            (&refusals[..], &warnings[..]),
            (
                &refused.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>()[..],
                &warned.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>()[..]
            ),
            "{spec}"
        );
    }
}

#[test]
fn services_are_told_what_they_do_not_get() {
    let service = |spec: &str| serde_yaml::from_str(&format!("{{metadata: {{name: s}}, spec: {spec}}}")).unwrap();
    for (spec, expected) in [
        ("{type: ClusterIP, ports: [{port: 80}], sessionAffinity: ClientIP, selector: {a: b}}", &[][..]),
        ("{type: NodePort, ports: [{port: 80, nodePort: 30080}], externalIPs: []}", &[]),
        ("{type: NodePort, ports: [{port: 80}]}", &["spec.ports"]),
        (
            "{type: LoadBalancer, loadBalancerIP: 192.0.2.1, ports: [{port: 80, nodePort: 30080}]}",
            &["spec.loadBalancerIP", "spec.type"],
        ),
        (
            "{externalIPs: [192.0.2.1], ports: [{port: 1}, {port: 2, protocol: SCTP}]}",
            &["spec.externalIPs", "spec.ports[1].protocol"],
        ),
    ] {
        let SupportReport { refusals, warnings } = check_service(&service(spec));
        assert_eq!(refusals, []);
        assert_eq!(warnings.iter().map(|note| note.path.as_str()).collect::<Vec<_>>(), expected, "{spec}");
    }
}
