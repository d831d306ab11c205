//! Selectors: which objects a Service, a `LabelSelector` or the query of a client picks.
//!
//! Queries are text: `labelSelector` ([`LabelQuery`]) and `fieldSelector` ([`FieldQuery`]).

mod field;
mod label;
mod part;

use std::collections::BTreeMap;

pub use field::FieldQuery;
pub use label::LabelQuery;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// The longest selector that is read, in bytes.
const MAX_SELECTOR: usize = 64 * 1024;

/// Why a selector cannot be used, in Kubernetes' words: the message of a `BadRequest`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Whether `labels` has everything in `selector`, as Services select pods. An empty or missing selector picks nothing
/// there: such Services get their endpoints from elsewhere.
pub fn service_selects(selector: Option<&Labels>, labels: Option<&Labels>) -> bool {
    selector.is_some_and(|selector| !selector.is_empty() && has_all(selector, labels))
}

/// Whether a `LabelSelector` picks an object. Without a selector it picks nothing; an empty one picks everything; one
/// that is not valid picks nothing.
pub fn selects(selector: Option<&LabelSelector>, labels: Option<&Labels>) -> bool {
    let Some(selector) = selector else { return false };
    selector.match_labels.as_ref().is_none_or(|wanted| has_all(wanted, labels))
        && selector.match_expressions.iter().flatten().all(|requirement| fulfils(requirement, labels))
}

fn has_all(wanted: &Labels, labels: Option<&Labels>) -> bool {
    wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

fn fulfils(requirement: &LabelSelectorRequirement, labels: Option<&Labels>) -> bool {
    let value = labels.and_then(|labels| labels.get(&requirement.key));
    let listed = |value: &String| requirement.values.iter().flatten().any(|wanted| wanted == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn services_select_pods_that_have_every_label() {
        let pod = labels(&[("app", "web"), ("tier", "front")]);
        for (selector, expected) in [
            (Some(labels(&[("app", "web")])), true),
            (Some(labels(&[("app", "web"), ("tier", "front")])), true),
            (Some(labels(&[("app", "db")])), false),
            (Some(labels(&[("other", "web")])), false),
            (Some(labels(&[])), false),
            (None, false),
        ] {
            assert_eq!(service_selects(selector.as_ref(), Some(&pod)), expected, "{selector:?}");
        }
        assert!(!service_selects(Some(&labels(&[("app", "web")])), None));
    }

    #[test]
    fn expressions_select_as_their_operators_say() {
        let pod = labels(&[("app", "web")]);
        for (key, operator, values, expected) in [
            ("app", "In", &["web", "db"][..], true),
            ("app", "In", &["db"], false),
            ("none", "In", &["db"], false),
            ("app", "NotIn", &["db"], true),
            ("none", "NotIn", &["db"], true),
            ("app", "NotIn", &["web"], false),
            ("app", "Exists", &[], true),
            ("none", "Exists", &[], false),
            ("none", "DoesNotExist", &[], true),
            ("app", "DoesNotExist", &[], false),
            ("app", "Near", &[], false),
        ] {
            let requirement = LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
            };
            let selector = LabelSelector { match_expressions: Some(vec![requirement]), ..Default::default() };
            assert_eq!(selects(Some(&selector), Some(&pod)), expected, "{key} {operator} {values:?}");
        }
        assert!(selects(Some(&LabelSelector::default()), None));
        assert!(!selects(None, Some(&pod)));
    }
}
