//! Objects as clients encode them. `tests/data/api/protobuf/*.pb` are bodies that kubectl 1.33 sent, and 1.32 the copy of a pod
//! with every field that there is; beside each is what it says.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::api::body::{BodyError, DecodedBody, MAX_VALUES, decode_body};
use crate::api::schema::types::TYPES;
use crate::api::schema::{GroupVersionKind, type_of};

const POD: GroupVersionKind<'static> = GroupVersionKind { group: "", version: "v1", kind: "Pod" };

fn decode(bytes: &[u8], kind: GroupVersionKind<'_>) -> Result<DecodedBody, BodyError> {
    decode_body(bytes, Some("application/vnd.kubernetes.protobuf"), kind)
}

#[test]
fn what_kubectl_sends_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/api/protobuf");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pb") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let envelope = open(&bytes).unwrap();
        let decoded = decode(&bytes, GroupVersionKind::parse(envelope.api_version, envelope.kind)).unwrap();
        assert_eq!(decoded.violations(), Vec::<String>::new());
        let text = format!("{:#}\n", decoded.value);
        let golden = path.with_extension("json");
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &text).unwrap();
        }
        assert_eq!(text, fs::read_to_string(&golden).unwrap(), "{}", golden.display());
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_field_has_a_number() {
    for of in TYPES.all().filter(|of| !of.name.starts_with("io.k8s.metrics.")) {
        let names = messages::message_of(TYPES.named(of.name).unwrap()).unwrap().names();
        let mut missing: Vec<_> = of.fields.keys().filter(|field| !names.contains(field)).collect();
        // Objects say what they are in the envelope.
        if of.fields.contains_key("metadata") || of.short_name() == "DeleteOptions" {
            missing.retain(|field| !["apiVersion", "kind"].contains(field));
        }
        assert!(missing.is_empty(), "{}: {missing:?}: add to fields.txt", of.name);
    }
}

/// A field with bytes in it: a message, text, bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(number < 16 && bytes.len() < 16384);
    let length = u16::try_from(bytes.len()).unwrap();
    let mut field = vec![number << 3 | 2];
    if length < 128 {
        field.push(u8::try_from(length).unwrap());
    } else {
        field.extend([u8::try_from(length & 0x7f).unwrap() | 0x80, u8::try_from(length >> 7).unwrap()]);
    }
    [field, bytes.to_vec()].concat()
}

fn number(number: u8, value: u8) -> Vec<u8> {
    assert!(number < 16 && value < 128);
    vec![number << 3, value]
}

/// An object of core/v1 in its envelope.
fn packed(kind: &str, object: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &type_meta), field(2, object), field(3, b""), field(4, b"")].concat()
}

/// A pod with this in its spec.
fn spec(fields: &[u8]) -> Result<Value, BodyError> {
    decode(&packed("Pod", &field(2, fields)), POD).map(|decoded| decoded.value["spec"].clone())
}

#[test]
fn zero_is_a_value_only_where_go_has_a_pointer() {
    // terminationGracePeriodSeconds is a pointer; hostNetwork and dnsPolicy are not.
    let zeros = [number(4, 0), number(11, 0), field(6, b"")].concat();
    assert_eq!(spec(&zeros).unwrap(), json!({"terminationGracePeriodSeconds": 0}));
    let values = [number(4, 5), number(11, 1), field(6, b"Default")].concat();
    let expected = json!({"terminationGracePeriodSeconds": 5, "hostNetwork": true, "dnsPolicy": "Default"});
    assert_eq!(spec(&values).unwrap(), expected);
    // The last one counts.
    assert_eq!(spec(&[number(11, 1), number(11, 0)].concat()).unwrap(), json!({}));
}

#[test]
fn repeated_parts_are_put_together() {
    let container = |name: &[u8]| field(2, &field(1, name));
    // supplementalGroups, one by one and packed; a map; containers; a message in two parts.
    let context = [field(14, &number(4, 1)), field(14, &field(4, &[2, 0xac, 0x02]))].concat();
    let selector = [field(7, &[field(1, b"a"), field(2, b"b")].concat()), field(7, &field(1, b"c"))].concat();
    let decoded = spec(&[container(b"x"), container(b"y"), context, selector].concat()).unwrap();
    assert_eq!(
        decoded,
        json!({
            "containers": [{"name": "x"}, {"name": "y"}],
            "securityContext": {"supplementalGroups": [1, 2, 300]},
            "nodeSelector": {"a": "b", "c": ""},
        })
    );
}

#[test]
fn negative_numbers_and_what_is_not_known() {
    let minus_one = [&[4 << 3][..], &[0xff; 9], &[1]].concat();
    assert_eq!(spec(&minus_one).unwrap(), json!({"terminationGracePeriodSeconds": -1}));
    // Field 2047 of every wire type.
    let unknown =
        [&[0xf8, 0x7f, 1][..], &[0xf9, 0x7f], &[0; 8], &[0xfa, 0x7f, 1, 9], &[0xfd, 0x7f, 0, 0, 0, 0]].concat();
    assert_eq!(spec(&unknown).unwrap(), json!({}));
}

#[test]
fn objects_must_be_what_is_expected() {
    let secret = decode(&packed("Secret", &[]), POD).unwrap_err().to_string();
    assert!(secret.starts_with("Secret in version \"v1\" cannot be handled as a Pod: converting"), "{secret}");
    let unnamed = decode(b"k8s\0", POD).unwrap().value;
    assert_eq!(unnamed, json!({"apiVersion": "v1", "kind": "Pod"}));
    let json = decode(b"{}", POD).unwrap_err().to_string();
    assert!(json.contains("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"));
    assert!(decode(&[b"k8s\0".to_vec(), field(3, b"gzip")].concat(), POD).is_err());
}

#[test]
fn broken_bytes_are_refused() {
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/api/protobuf/create-configmap.pb"));
    let whole = whole.unwrap();
    let config_map = GroupVersionKind { kind: "ConfigMap", ..POD };
    for length in 4..whole.len() {
        // Nothing but an answer is expected.
        let _ = decode(&whole[..length], config_map);
        for bit in 0..8 {
            let mut broken = whole.clone();
            broken[length] ^= 1 << bit;
            let _ = decode(&broken, config_map);
        }
    }
    for bytes in [
        &[0x0f][..],                                                         // a wire type that is none
        &[0x0b],                                                             // a group
        &[0x00, 0x00],                                                       // field 0
        &[0x20],                                                             // a number that is missing
        &[0x20, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], // more than 64 bits
        &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // longer than anything
        &[0x12, 0x05, 0x00],                                                 // longer than what is left
        &[0x32, 0x01, 0xff],                                                 // no UTF-8
        &[0x30, 0x01],                                                       // a number where there is text
        &[0x22, 0x00],                                                       // text where there is a number
    ] {
        assert!(spec(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn hostile_objects_are_refused_within_bounds() {
    // Empty containers, two bytes each.
    let mut many = b"k8s\0".to_vec();
    let inner = [0x12, 0].repeat(MAX_VALUES + 1);
    let length = |length: usize| {
        let mut left = length;
        let mut bytes = Vec::new();
        while left >= 128 {
            bytes.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
            left >>= 7;
        }
        bytes.push(u8::try_from(left).unwrap());
        bytes
    };
    let spec = [vec![0x12], length(inner.len()), inner].concat();
    many.extend([vec![0x12], length(spec.len()), spec].concat());
    let refused = decode(&many, POD).unwrap_err().to_string();
    assert!(refused.contains("more than 300000 values"), "{refused}");
    // A time that nobody lives to see; JSON that is none.
    let time = |seconds: &[u8]| field(1, &field(8, &[&[0x08][..], seconds].concat()));
    assert!(decode(&packed("Pod", &time(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])), POD).is_err());
    assert!(decode(&packed("Pod", &time(&[0x05])), POD).is_ok());
    let type_of_pod = type_of(POD).unwrap();
    assert!(Envelope { api_version: "", kind: "", raw: &[0xff; 100] }.object(type_of_pod).is_err());
}
