//! The fuzzers' properties (`fuzz/src/checks.rs`) hold for what there is of manifests, patches and selectors, and for all
//! of these with a few bytes changed. `CONTRIBUTING.md` says how to look for more.

use std::fs;
use std::path::{Path, PathBuf};

use husk::api::resources::RESOURCES;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

#[expect(unreachable_pub, reason = "it is a library, for fuzzers")]
#[path = "../../fuzz/src/checks.rs"]
mod checks;

#[expect(unreachable_pub, reason = "it is a library, for fuzzers")]
#[path = "../../fuzz/src/images.rs"]
mod images;

/// Layers of images that mean harm.
#[path = "images/layers.rs"]
mod layers;

/// Inputs made of each kind.
const CASES: u32 = 500;

/// Parts of objects, as they are and as they should not be.
const JSON: &[&str] = &[
    "{}",
    "null",
    r#"{"metadata": {"labels": {"app": null, "tier": "front"}, "annotations": null}}"#,
    r#"{"spec": {"containers": [{"name": "c", "image": "other", "env": [{"name": "A", "$patch": "delete"}]}]}}"#,
    r#"{"spec": {"$setElementOrder/containers": [{"name": "d"}, {"name": "c"}], "containers": [{"name": "d"}]}}"#,
    r#"{"metadata": {"$deleteFromPrimitiveList/finalizers": ["f/a"], "finalizers": ["f/c"]}}"#,
    r#"{"spec": {"$patch": "replace", "$retainKeys": ["volumes"], "volumes": [{"name": "w", "$retainKeys": ["name"]}]}}"#,
    r#"[{"op": "add", "path": "/metadata/labels/x~1y", "value": "z"}, {"op": "remove", "path": "/spec/containers/0"}]"#,
    r#"[{"op": "test", "path": "/kind", "value": "Pod"}, {"op": "move", "from": "/spec", "path": "/a"}]"#,
    r#"[{"op": "copy", "from": "", "path": "/a"}, {"op": "replace", "path": "/spec/containers/-", "value": []}]"#,
    r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "other"}}, "spec": {"containers":
        [{"name": "c", "ports": [{"containerPort": 80, "protocol": "UDP", "name": "x"}]}, {"name": "d", "args": []}]}}"#,
    r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "managedFields": [{"manager": "m", "operation": "Apply",
        "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".":
        {}, "f:args": {"v:\"x\"": {}, "i:0": {}}}}}}}]}, "spec": {"containers": [{"name": "c", "args": ["x"]}]}}"#,
];

const SELECTORS: &[&str] = &[
    "",
    "app=web",
    "app==web,tier!=front,!x",
    "app in (web, db),tier notin (),x,y>3,z<-1",
    "example.com/a-b_c.d=",
    "metadata.name=p,status.phase!=Running,spec.nodeName=node",
    "metadata.name=a\\,b\\=c\\\\",
    "app in (web",
];

fn yaml_files(directory: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| if path.is_dir() { yaml_files(path) } else { vec![path] })
        .filter(|path| is_yaml(path))
        .collect()
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml")
}

fn manifests() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["tests/data/manifests", "examples"].into_iter().flat_map(|directory| yaml_files(root.join(directory)));
    files.map(|file| fs::read(file).unwrap()).collect()
}

/// The place of a kind in the table of resources.
fn place_of(kind: &str) -> u8 {
    RESOURCES.iter().position(|resource| resource.kind == kind).unwrap().try_into().unwrap()
}

/// Inputs whose first byte says what the rest is.
fn led(firsts: &[u8], rests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    firsts.iter().flat_map(|first| rests.iter().map(|rest| [&[*first], rest.as_slice()].concat())).collect()
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A change to some bytes: where, which, and with what.
type Edit = (Index, u8, u8);

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for (place, what, with) in edits {
        let at = place.index(bytes.len() + 1);
        let end = bytes.len().min(at + usize::from(*with));
        match what % 5 {
            0 => bytes.insert(at, *with),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            3 => bytes.truncate(at),
            _ => bytes[at..end].reverse(),
        }
    }
    bytes
}

/// Every input as it is, and many of them with changes.
#[track_caller]
fn check(inputs: &[Vec<u8>], property: fn(&[u8])) {
    inputs.iter().for_each(|input| property(input));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let changed = (any::<Index>(), vec(any::<Edit>(), 0..6));
    let ended = runner.run(&changed, |(which, edits)| {
        property(&edited(inputs[which.index(inputs.len())].clone(), &edits));
        Ok(())
    });
    if let Err(error) = ended {
        panic!("{error}");
    }
}

/// Documents of images, as they are and as they should not be.
const IMAGES: &[&str] = &[
    // A program of the CNCF's layout, and an ordinary image of one layer that is no archive.
    "\0{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/vnd.wasm.config.v0+json\",\"digest\":\"@1\",\"size\":\"#1\"},\
     \"layers\":[{\"mediaType\":\"application/wasm\",\"digest\":\"@2\",\"size\":\"#2\"}],\"annotations\":{\"a\":\"b\"}}\0{}\0\u{0}asm",
    "\0{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"@1\",\"size\":\"#1\"},\
     \"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"@2\",\"size\":\"#2\"}]}\0\
     {\"os\":\"wasip1\",\"architecture\":\"wasm\",\"config\":{\"Env\":[\"A=b\",\"=\"],\"Entrypoint\":[\"/a.wasm\"],\"User\":\"0\"},\
     \"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"@2\"]},\"history\":[{\"empty_layer\":true},{\"created_by\":\"x\"}]}\0layer",
    // An index for several platforms, one of which is there.
    "\x01{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"@1\",\
     \"size\":\"#1\",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\",\"variant\":\"v8\"}},{\"mediaType\":\
     \"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:0000000000000000000000000000000000000000000000000000000000000000\",\
     \"size\":1,\"platform\":{\"os\":\"wasi\",\"architecture\":\"wasm\"}}]}\0{\"schemaVersion\":2,\"config\":{\"mediaType\":\
     \"application/vnd.docker.container.image.v1+json\",\"digest\":\"@2\",\"size\":\"#2\"},\"layers\":[]}\0\
     {\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
    // An index of indexes, and of nothing.
    "\x02{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"digest\":\"@1\",\
     \"size\":\"#1\"}]}\0{\"schemaVersion\":2,\"manifests\":[]}",
    "\x03{\"schemaVersion\":1,\"fsLayers\":[]}",
    "\0{\"schemaVersion\":2,\"config\":{\"mediaType\":\"x\",\"digest\":\"sha256:../../../etc/passwd\",\"size\":-1},\"layers\":[]}",
    "\0[]",
];

#[test]
fn images_are_what_their_documents_say_or_refused() {
    check(&bytes(IMAGES), images::image);
}

#[test]
fn layers_stay_inside_whatever_they_have() {
    check(&led(&[0, 2], &layers::hostile()), images::layer);
    check(&led(&[3, 7], &layers::streams()), images::layer);
}

#[test]
fn manifests_mean_what_they_say() {
    check(&manifests(), checks::manifest);
}

#[test]
fn bodies_mean_what_they_say() {
    let kinds = ["Pod", "Service", "ConfigMap", "Secret"].map(place_of);
    let firsts: Vec<u8> = kinds.iter().flat_map(|place| [place * 3, place * 3 + 1, place * 3 + 2]).collect();
    let mut bodies = bytes(JSON);
    bodies.extend(manifests());
    bodies.push(b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x06\x0a\x04\x0a\x01p\x12\0\x1a\0\x22\0".to_vec());
    check(&led(&firsts, &bodies), checks::body);
}

#[test]
fn patches_do_what_they_say() {
    let place = place_of("Pod") * 4;
    let mut patches = bytes(JSON);
    // Of what is an object itself.
    let both = JSON.iter().rev().zip(JSON).map(|(one, other)| format!("{one}\0{other}").into_bytes());
    patches.extend(both);
    check(&led(&[place, place + 1, place + 2, place + 3], &patches), checks::patch);
}

#[test]
fn selectors_pick_what_they_say() {
    check(&led(&["Pod", "Event", "Node"].map(place_of), &bytes(SELECTORS)), checks::selector);
}
