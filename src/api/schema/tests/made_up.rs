//! Objects made up by chance: whatever is let through can be decoded as the Rust type, and is left as it is by a second
//! pass.

use k8s_openapi::Resource;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node, Pod, Secret, Service};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::super::types::Shape;
use super::*;

/// Choices to make up a value with; once they are used up, values are as small as can be.
struct Choices<'c> {
    left: std::slice::Iter<'c, Index>,
}

impl Choices<'_> {
    fn choose(&mut self, options: usize) -> usize {
        self.left.next().map_or(0, |choice| choice.index(options))
    }

    /// A value of that shape, mostly.
    fn value(&mut self, shape: &Shape) -> Value {
        match self.choose(30) {
            28 => return Value::Null,
            29 => return [json!(1), json!("a"), json!({"b": true}), json!(-1.5)][self.choose(4)].clone(),
            _ => {}
        }
        match shape {
            Shape::Any | Shape::AnyObject => json!({"a": [null, 1]}),
            Shape::Bool => json!(self.choose(2) == 1),
            Shape::Integer { .. } => json!(([0, 1, -1, 3_000_000_000_i64])[self.choose(4)]),
            Shape::Float => json!(1.5),
            Shape::Text => json!(["", "a", "ü", "1"][self.choose(4)]),
            Shape::Bytes => json!(["", "YQ==", "YQ=\n=", "Y", "YR=="][self.choose(5)]),
            Shape::Time { .. } => json!(
                ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456789+01:00", "9999-12-31T23:59:59Z", "2026-01-02"]
                    [self.choose(4)]
            ),
            Shape::Quantity => match self.choose(3) {
                0 => json!("1024Ki"),
                1 => json!(0.5),
                _ => json!("1e1000"),
            },
            Shape::IntOrString => [json!(80), json!("http"), json!(1.5)][self.choose(3)].clone(),
            Shape::Object(id) => {
                let mut names: Vec<_> = TYPES.get(*id).fields.keys().collect();
                names.sort();
                let mut fields = Map::new();
                for _ in 0..self.choose(4) {
                    let name = *names[self.choose(names.len())];
                    fields.insert(name.to_owned(), self.value(&TYPES.get(*id).fields[name]));
                }
                if self.choose(10) == 9 {
                    fields.insert("unknown".to_owned(), json!({}));
                }
                Value::Object(fields)
            }
            Shape::List(items) => (0..self.choose(3)).map(|_| self.value(items)).collect(),
            Shape::Map(values) => {
                let entries: Map<_, _> = (0..self.choose(3)).map(|key| (key.to_string(), self.value(values))).collect();
                Value::Object(entries)
            }
        }
    }
}

fn check<T: Resource + DeserializeOwned>(choices: &[Index]) {
    let kind = GroupVersionKind { group: T::GROUP, version: T::VERSION, kind: T::KIND };
    let mut value = Choices { left: choices.iter() }.value(&Shape::Object(type_of(kind).unwrap()));
    if conform(&mut value, kind).is_err() {
        return;
    }
    value["apiVersion"] = json!(T::API_VERSION);
    value["kind"] = json!(T::KIND);
    if let Err(error) = serde_json::from_value::<T>(value.clone()) {
        panic!("{error} in {value:#}");
    }
    let mut again = value.clone();
    assert_eq!(conform(&mut again, kind).unwrap(), Vec::<String>::new());
    assert_eq!(again, value);
}

proptest! {
    #[test]
    fn what_conforms_can_be_decoded(choices in proptest::collection::vec(any::<Index>(), 0..120)) {
        check::<Pod>(&choices);
        check::<Service>(&choices);
        check::<Node>(&choices);
        check::<Secret>(&choices);
        check::<Event>(&choices);
        check::<Lease>(&choices);
    }
}
