//! Field selectors of queries: `metadata.name=a,status.phase!=Running`. Which fields each resource has for it, and what
//! an object's are.
//!
//! Grammar and texts are those of `apimachinery/pkg/fields/selector.go` v1.36; the fields those of the conversion
//! functions in `pkg/apis/*/v1/conversion.go` and of the registries' `ToSelectableFields`.

use std::borrow::Cow;

use serde::de::DeserializeSeed;
use serde_json::Value;

use super::part::Part;
use super::{MAX_SELECTOR, SelectorError};
use crate::api::resources::ResourceType;
use crate::api::validate::go_quoted;

/// What may stand between a field and its value. The longer ones first, as they are looked for.
const OPERATORS: [&str; 3] = ["!=", "==", "="];

/// The fields that a resource can be asked for. A field without a value counts as empty.
struct Selectable {
    group: &'static str,
    plural: &'static str,
    /// As clients write them, and as they are in stored objects.
    fields: &'static [(&'static str, &'static str)],
}

/// The resources with fields of their own. All others have [`COMMON`].
const SELECTABLE: &[Selectable] = &[
    Selectable {
        group: "",
        plural: "events",
        fields: &[
            ("involvedObject.apiVersion", "involvedObject.apiVersion"),
            ("involvedObject.fieldPath", "involvedObject.fieldPath"),
            ("involvedObject.kind", "involvedObject.kind"),
            ("involvedObject.name", "involvedObject.name"),
            ("involvedObject.namespace", "involvedObject.namespace"),
            ("involvedObject.resourceVersion", "involvedObject.resourceVersion"),
            ("involvedObject.uid", "involvedObject.uid"),
            ("metadata.name", "metadata.name"),
            ("metadata.namespace", "metadata.namespace"),
            ("reason", "reason"),
            ("reportingComponent", "reportingComponent"),
            ("source", "source"),
            ("type", "type"),
        ],
    },
    Selectable {
        group: "",
        plural: "namespaces",
        fields: &[("metadata.name", "metadata.name"), ("status.phase", "status.phase")],
    },
    Selectable {
        group: "",
        plural: "nodes",
        fields: &[("metadata.name", "metadata.name"), ("spec.unschedulable", "spec.unschedulable")],
    },
    Selectable {
        group: "",
        plural: "pods",
        fields: &[
            ("metadata.name", "metadata.name"),
            ("metadata.namespace", "metadata.namespace"),
            // The name of clients from before there was a v1.
            ("spec.host", "spec.nodeName"),
            ("spec.hostNetwork", "spec.hostNetwork"),
            ("spec.nodeName", "spec.nodeName"),
            ("spec.restartPolicy", "spec.restartPolicy"),
            ("spec.schedulerName", "spec.schedulerName"),
            ("spec.serviceAccountName", "spec.serviceAccountName"),
            ("status.nominatedNodeName", "status.nominatedNodeName"),
            ("status.phase", "status.phase"),
            ("status.podIP", "status.podIP"),
            ("status.podIPs", "status.podIPs"),
        ],
    },
    Selectable {
        group: "",
        plural: "secrets",
        fields: &[("metadata.name", "metadata.name"), ("metadata.namespace", "metadata.namespace"), ("type", "type")],
    },
    Selectable {
        group: "",
        plural: "services",
        fields: &[
            ("metadata.name", "metadata.name"),
            ("metadata.namespace", "metadata.namespace"),
            ("spec.clusterIP", "spec.clusterIP"),
            ("spec.type", "spec.type"),
        ],
    },
    Selectable {
        group: "events.k8s.io",
        plural: "events",
        fields: &[
            ("metadata.name", "metadata.name"),
            ("metadata.namespace", "metadata.namespace"),
            ("reason", "reason"),
            ("regarding.apiVersion", "involvedObject.apiVersion"),
            ("regarding.fieldPath", "involvedObject.fieldPath"),
            ("regarding.kind", "involvedObject.kind"),
            ("regarding.name", "involvedObject.name"),
            ("regarding.namespace", "involvedObject.namespace"),
            ("regarding.resourceVersion", "involvedObject.resourceVersion"),
            ("regarding.uid", "involvedObject.uid"),
            ("reportingController", "reportingComponent"),
            ("type", "type"),
        ],
    },
];

/// The fields of every resource that does not name its own.
const COMMON: &[(&str, &str)] = &[("metadata.name", "metadata.name"), ("metadata.namespace", "metadata.namespace")];

/// A field selector: what an object's fields must be. The default one is fulfilled by all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldQuery {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    /// The field of stored objects.
    field: &'static str,
    equal: bool,
    value: String,
}

impl FieldQuery {
    /// Reads a selector for the objects of `resource`; an empty one picks everything.
    pub fn parse(text: &str, resource: &ResourceType) -> Result<Self, SelectorError> {
        if text.len() > MAX_SELECTOR {
            return Err(SelectorError(format!("the field selector is longer than {MAX_SELECTOR} bytes")));
        }
        let mut parts: Vec<&str> = split_at_commas(text).filter(|part| !part.is_empty()).collect();
        // Kubernetes goes through them in this order, which decides on the error that is told.
        parts.sort_unstable();
        let mut written = Vec::with_capacity(parts.len());
        for part in parts {
            let Some((field, operator, value)) = split_term(part) else {
                return Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            written.push((field, operator != "!=", unescape(value)?));
        }
        let known = |(field, equal, value)| Ok(Term { field: stored_field(resource, field)?, equal, value });
        Ok(Self { terms: written.into_iter().map(known).collect::<Result<_, _>>()? })
    }

    /// Whether it picks everything.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that `field` must have to be picked, if the selector says one.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == field).map(|term| term.value.as_str())
    }

    /// Whether an object is picked whose fields `field` knows, under the names they have in stored objects. One
    /// without a value counts as empty.
    pub fn matches<'v>(&self, field: impl Fn(&str) -> Option<Cow<'v, str>>) -> bool {
        self.terms.iter().all(|term| (field(term.field).unwrap_or_default() == term.value) == term.equal)
    }

    /// The same, for the one object of that name only.
    pub fn and_name(mut self, name: &str) -> Self {
        self.terms.push(Term { field: "metadata.name", equal: true, value: name.to_owned() });
        self
    }

    /// Whether an object is picked, by its JSON as it is stored. Of that, no more is looked at than has to be.
    pub fn matches_json(&self, json: &[u8]) -> bool {
        let paths: Vec<&str> = self.terms.iter().flat_map(|term| paths(&term.field)).copied().collect();
        let part = Part(&paths).deserialize(&mut serde_json::Deserializer::from_slice(json));
        self.matches_object(&part.unwrap_or_default())
    }

    /// Whether an object, as it is stored, is picked.
    pub fn matches_object(&self, object: &Value) -> bool {
        self.matches(|field| selectable_value(object, field))
    }
}

/// The field of stored objects that a client means.
fn stored_field(resource: &ResourceType, written: &str) -> Result<&'static str, SelectorError> {
    let selectable = SELECTABLE.iter().find(|one| (one.group, one.plural) == (resource.group, resource.plural));
    let fields = selectable.map_or(COMMON, |selectable| selectable.fields);
    if let Some((_, stored)) = fields.iter().find(|(name, _)| *name == written) {
        return Ok(stored);
    }
    Err(SelectorError(match selectable {
        Some(_) => format!("field label not supported: {written}"),
        None => format!(
            "{} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            go_quoted(written)
        ),
    }))
}

/// Where the value of a field is, in an object as it is stored.
fn paths<'f>(field: &'f &'static str) -> &'f [&'static str] {
    match *field {
        "source" => &["source.component", "reportingComponent"],
        _ => std::slice::from_ref(field),
    }
}

/// The value of a field that can be selected by, in an object as it is stored.
fn selectable_value<'v>(object: &'v Value, field: &str) -> Option<Cow<'v, str>> {
    let text = |path: &str| at(object, path)?.as_str().filter(|text| !text.is_empty()).map(Cow::Borrowed);
    let flag = |path: &str| {
        let set = at(object, path).and_then(Value::as_bool).unwrap_or_default();
        Some(Cow::Borrowed(if set { "true" } else { "false" }))
    };
    match field {
        "spec.hostNetwork" | "spec.unschedulable" => flag(field),
        // Kubernetes takes the field but never fills it in (registry/core/pod ToSelectableFields).
        "status.podIPs" => None,
        "source" => text("source.component").or_else(|| text("reportingComponent")),
        _ => text(field),
    }
}

fn at<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(object, |value, key| value.get(key))
}

/// The parts between commas that no backslash stands before.
fn split_at_commas(text: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |character| {
        let splits = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        splits
    })
}

fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    let start = term.find(['!', '=']);
    let mut from = start?;
    loop {
        let rest = &term[from..];
        if let Some(operator) = OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
            return Some((&term[..from], operator, &rest[operator.len()..]));
        }
        from += 1 + rest[1..].find(['!', '='])?;
    }
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    let message = format!("invalid field selector: invalid escape sequence: {sequence}");
                    return Err(SelectorError(message));
                }
            },
            // Kubernetes prints the character's number.
            ',' | '=' => {
                let code = u32::from(character);
                return Err(SelectorError(format!("invalid field selector: unescaped character in value: {code}")));
            }
            _ => text.push(character),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::resources::{RESOURCES, find};

    #[test]
    fn json_is_looked_into_as_objects_are() {
        let object = json!({
            "metadata": {"name": "a", "labels": {"spec.nodeName": "x"}, "annotations": {"a": ["b", {"c": null}]}},
            "spec": {"hostNetwork": true, "containers": [{"nodeName": "x"}], "nodeName": "n\u{e4}"},
            "status": {"phase": "Running", "podIP": null},
        });
        let text = object.to_string();
        for selector in [
            "spec.nodeName=n\u{e4}",
            "spec.nodeName=x",
            "spec.hostNetwork=true",
            "spec.hostNetwork=false",
            "status.phase!=Running",
            "status.phase=Running,spec.nodeName!=x",
            "status.podIP=",
            "metadata.name=a",
            "metadata.name=a,status.podIP!=",
        ] {
            let query = FieldQuery::parse(selector, find("", "pods").unwrap()).unwrap();
            assert_eq!(query.matches_json(text.as_bytes()), query.matches_object(&object), "{selector}");
        }
        let event = json!({"metadata": {}, "source": {"host": "h"}, "reportingComponent": "kubelet"}).to_string();
        let query = FieldQuery::parse("source=kubelet", find("", "events").unwrap()).unwrap();
        assert!(query.matches_json(event.as_bytes()) && !query.and_name("x").matches_json(event.as_bytes()));
    }

    fn parse(plural: &str, text: &str) -> Result<FieldQuery, SelectorError> {
        FieldQuery::parse(text, find("", plural).unwrap())
    }

    fn picks(plural: &str, text: &str, object: &Value) -> bool {
        parse(plural, text).unwrap_or_else(|error| panic!("{text:?}: {error}")).matches_object(object)
    }

    #[test]
    fn pods_are_picked_by_their_fields() {
        let pod = json!({
            "metadata": {"name": "a", "namespace": "n"},
            "spec": {"nodeName": "husk", "restartPolicy": "Never"},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
        });
        for (selector, expected) in [
            ("", true),
            (",", true),
            ("metadata.name=a", true),
            ("metadata.name==a,", true),
            ("metadata.name=a,metadata.namespace=n", true),
            ("metadata.name!=a", false),
            ("metadata.name=b", false),
            ("status.phase!=Failed,status.phase!=Succeeded", true),
            ("spec.nodeName=husk", true),
            ("spec.host=husk", true),
            ("spec.nodeName=", false),
            ("spec.nodeName!=", true),
            ("status.nominatedNodeName=", true),
            ("spec.hostNetwork=false", true),
            ("spec.hostNetwork!=true", true),
            ("status.podIP=10.0.0.1", true),
            ("status.podIPs=", true),
        ] {
            assert_eq!(picks("pods", selector, &pod), expected, "{selector:?}");
        }
    }

    #[test]
    fn fields_that_are_no_plain_text_have_the_value_kubernetes_gives_them() {
        assert!(picks("nodes", "spec.unschedulable==false", &json!({"spec": {}})));
        assert!(picks("nodes", "spec.unschedulable=true", &json!({"spec": {"unschedulable": true}})));
        let event = json!({"involvedObject": {"kind": "Pod", "uid": "1"}, "reportingComponent": "kubelet"});
        assert!(picks("events", "involvedObject.kind=Pod,involvedObject.uid=1,source=kubelet", &event));
        let event = json!({"source": {"component": "scheduler"}, "reportingComponent": "kubelet"});
        assert!(picks("events", "source=scheduler", &event));
        let view = FieldQuery::parse("regarding.name=a", find("events.k8s.io", "events").unwrap()).unwrap();
        assert!(view.matches_object(&json!({"involvedObject": {"name": "a"}})));
    }

    #[test]
    fn escaped_values_and_required_fields() {
        let query = parse("secrets", "type=a\\,b\\=c\\\\,metadata.name=x").unwrap();
        assert_eq!(query.required("type"), Some("a,b=c\\"));
        assert_eq!(query.required("metadata.name"), Some("x"));
        assert_eq!(query.required("metadata.namespace"), None);
        assert_eq!(parse("pods", "metadata.name!=x").unwrap().required("metadata.name"), None);
        assert!(query.matches_object(&json!({"metadata": {"name": "x"}, "type": "a,b=c\\"})));
    }

    #[test]
    fn what_cannot_be_read_is_said_in_kubernetes_words() {
        for (plural, selector, expected) in [
            ("pods", "spec.foo=1", "field label not supported: spec.foo"),
            ("nodes", "metadata.namespace=a", "field label not supported: metadata.namespace"),
            (
                "configmaps",
                "data.a=1",
                "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
            ),
            ("pods", "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
            ("pods", "b!c,a=1", "invalid selector: 'b!c,a=1'; can't understand 'b!c'"),
            ("pods", "metadata.name=a=b", "invalid field selector: unescaped character in value: 61"),
            ("pods", "metadata.name=a\\b", "invalid field selector: invalid escape sequence: \\b"),
            ("pods", "metadata.name=a\\", "invalid field selector: invalid escape sequence: \\"),
            ("pods", "=a", "field label not supported: "),
        ] {
            assert_eq!(parse(plural, selector).unwrap_err().to_string(), expected, "{selector:?}");
        }
        assert!(parse("pods", &"a".repeat(MAX_SELECTOR + 1)).is_err());
        assert!(parse("pods", "ä!ö=\u{0}").is_err());
    }

    #[test]
    fn fields_are_of_resources_that_there_are() {
        for selectable in SELECTABLE {
            assert!(find(selectable.group, selectable.plural).is_some(), "{}", selectable.plural);
        }
        for resource in RESOURCES {
            assert!(FieldQuery::parse("metadata.name=a", resource).is_ok(), "{}", resource.group_resource());
        }
    }
}
