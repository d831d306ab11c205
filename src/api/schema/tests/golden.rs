//! Keeps `components.json` true to k8s-openapi: reads the JSON schemas out of the source of the very version that is
//! compiled in. The crate's feature `schemars` would say the same, but it would double what it takes to build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::api::resources::RESOURCES;

/// The version of Kubernetes whose types are compiled in, as k8s-openapi's feature is called.
const VERSION: &str = "v1_36";

/// What else is sent to resources: group, version and kind.
const OTHER_KINDS: [(&str, &str, &str); 1] = [("", "v1", "DeleteOptions")];

/// Where the source of k8s-openapi lies that Cargo compiles.
fn source_of_types() -> PathBuf {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    let version = lock.split("name = \"k8s-openapi\"\nversion = \"").nth(1).unwrap().split('"').next().unwrap();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".cargo"));
    let registries = fs::read_dir(home.join("registry/src")).unwrap();
    let crates = registries.map(|registry| registry.unwrap().path().join(format!("k8s-openapi-{version}")));
    let mut found = crates.map(|path| path.join("src").join(VERSION)).filter(|path| path.is_dir());
    found.next().unwrap_or_else(|| panic!("no source of k8s-openapi {version} below {}", home.display()))
}

/// One type as its source describes it.
struct Described {
    schema: Value,
    /// Group, version and kind, when it is one.
    kind: Option<(String, String, String)>,
}

/// All types below a directory, by name.
fn read_types(dir: &Path, types: &mut BTreeMap<String, Described>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_types(&path, types);
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let Some((before, body)) = source.split_once("json_schema!(") else { continue };
        let name = before.rsplit('"').find(|part| part.starts_with("io.k8s.")).unwrap_or_default().to_owned();
        let constant = |name: &str| {
            let value = source.split(&format!("const {name}: &'static str = \"")).nth(1)?;
            value.split('"').next().map(str::to_owned)
        };
        let kind = constant("GROUP").zip(constant("VERSION")).zip(constant("KIND"));
        let kind = kind.map(|((group, version), kind)| (group, version, kind));
        types.insert(name, Described { schema: Reader { rest: body }.value(), kind });
    }
}

/// Reads the argument of `json_schema!`: JSON with trailing commas, and with expressions where other types are used.
struct Reader<'s> {
    rest: &'s str,
}

impl<'s> Reader<'s> {
    fn skip_to(&mut self, text: &str) -> &'s str {
        let (before, after) = self.rest.split_once(text).unwrap_or_else(|| panic!("no {text:?}"));
        self.rest = after;
        before
    }

    fn eat(&mut self, text: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(text).inspect(|rest| self.rest = rest).is_some()
    }

    fn value(&mut self) -> Value {
        if self.eat("{") {
            let mut fields = Map::new();
            while !self.eat("}") {
                let key = self.string();
                assert!(self.eat(":"));
                let value = self.value();
                fields.insert(key, value);
                self.eat(",");
            }
            return Value::Object(fields);
        }
        if self.eat("[") {
            let mut items = Vec::new();
            while !self.eat("]") {
                items.push(self.value());
                self.eat(",");
            }
            return Value::Array(items);
        }
        if self.eat("({") {
            let reference = self.reference();
            self.skip_to("insert(\"description\".into(), ");
            let description = self.string();
            self.skip_to("})");
            return json!({"description": description, "allOf": [reference]});
        }
        if self.eat("__gen.") {
            let reference = self.reference();
            assert!(self.eat("()"));
            return reference;
        }
        if self.eat("(") {
            let reference = self.reference();
            assert!(self.eat("())"));
            return reference;
        }
        if self.eat("true") { Value::Bool(true) } else { Value::String(self.string()) }
    }

    fn reference(&mut self) -> Value {
        self.skip_to("subschema_for::<crate::");
        let path = self.skip_to(">").replace("::", ".");
        json!({"$ref": format!("#/components/schemas/io.k8s.{path}")})
    }

    fn string(&mut self) -> String {
        assert!(self.eat("\""), "no string at {:.80}", self.rest);
        let mut text = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[index + 1..];
                    return text;
                }
                '\\' => text.push(match characters.next().unwrap().1 {
                    'n' => '\n',
                    't' => '\t',
                    escaped @ ('"' | '\\' | '\'') => escaped,
                    other => panic!("what is \\{other}?"),
                }),
                _ => text.push(character),
            }
        }
        panic!("a string without an end");
    }
}

/// Whether the kind is sent to or kept by a resource.
fn is_wanted((group, version, kind): (&str, &str, &str)) -> bool {
    let sent_below = RESOURCES.iter().flat_map(|resource| {
        resource.subresources.iter().map(|subresource| match subresource.kind {
            ("", "", kind) => (resource.group, resource.version, kind),
            named => named,
        })
    });
    let resources = RESOURCES.iter().map(|resource| (resource.group, resource.version, resource.kind));
    resources.chain(sent_below).chain(OTHER_KINDS).any(|wanted| wanted == (group, version, kind))
}

/// The components of a schema that are referred to, with those that these refer to.
fn add_with_references(name: &str, types: &BTreeMap<String, Described>, wanted: &mut BTreeSet<String>) {
    fn references<'v>(schema: &'v Value, found: &mut Vec<&'v str>) {
        match schema {
            Value::Object(fields) => {
                for (key, value) in fields {
                    match value {
                        Value::String(target) if key == "$ref" => found.extend(target.rsplit('/').next()),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    if !wanted.insert(name.to_owned()) {
        return;
    }
    let mut found = Vec::new();
    references(&types[name].schema, &mut found);
    found.into_iter().for_each(|name| add_with_references(name, types, wanted));
}

fn generate() -> Value {
    let mut types = BTreeMap::new();
    for package in ["api", "apimachinery"] {
        read_types(&source_of_types().join(package), &mut types);
    }
    for (group, version, kind) in OTHER_KINDS {
        let name = format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}");
        let described = types.get_mut(&name).unwrap();
        described.kind.get_or_insert((group.to_owned(), version.to_owned(), kind.to_owned()));
    }
    let mut wanted = BTreeSet::new();
    for (name, described) in &types {
        if let Some((group, version, kind)) = &described.kind
            && is_wanted((group, version, kind))
        {
            add_with_references(name, &types, &mut wanted);
        }
    }
    let mut components = Map::new();
    for name in wanted {
        let Described { mut schema, kind } = types.remove(&name).unwrap();
        if let Some((group, version, kind)) = kind {
            // The crate's types cannot be without metadata, but Kubernetes' schemas do not ask for it.
            let fields = schema.as_object_mut().unwrap();
            if let Some(Value::Array(required)) = fields.get_mut("required") {
                required.retain(|field| field != "metadata");
                if required.is_empty() {
                    fields.remove("required");
                }
            }
            let kind = json!([{"group": group, "kind": kind, "version": version}]);
            fields.insert("x-kubernetes-group-version-kind".to_owned(), kind);
        }
        components.insert(name, schema);
    }
    Value::Object(components)
}

#[test]
fn schemas_are_those_of_the_types() {
    let path = Path::new(file!()).parent().unwrap().with_file_name("components.json");
    let mut text = serde_json::to_string_pretty(&generate()).unwrap();
    text.push('\n');
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept == text, "{} is not what k8s-openapi says: run again with UPDATE=1", path.display());
}
