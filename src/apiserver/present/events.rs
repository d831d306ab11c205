//! Events as `events.k8s.io/v1` has them. They are kept in the form of the core group; the same facts have other names
//! there (`pkg/apis/core/v1` and `pkg/apis/events/v1` conversions).

use serde_json::Value;

/// What fields are called in `events.k8s.io/v1`, and in `v1`.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn renamed(event: &Value, api_version: &str, name: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Some(fields) = event.as_object() else { return event.clone() };
    let fields = fields.iter().map(|(field, value)| match field.as_str() {
        "apiVersion" => (field.clone(), Value::from(api_version)),
        other => (name(other).unwrap_or(other).to_owned(), value.clone()),
    });
    Value::Object(fields.collect())
}

/// An event of `v1` as `events.k8s.io/v1` has it.
pub(in crate::apiserver) fn from_core(event: &Value) -> Value {
    renamed(event, "events.k8s.io/v1", |field| NAMES.iter().find(|(_, core)| *core == field).map(|(new, _)| *new))
}

/// An event of `events.k8s.io/v1` as `v1` has it.
pub(in crate::apiserver) fn to_core(event: &Value) -> Value {
    renamed(event, "v1", |field| NAMES.iter().find(|(new, _)| *new == field).map(|(_, core)| *core))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_the_same_under_other_names() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "message": "m", "count": 2,
            "involvedObject": {"kind": "Pod"}, "source": {"component": "kubelet"}, "reportingComponent": "k", "type": "Normal",
            "firstTimestamp": null, "reason": "r"});
        let new = from_core(&core);
        assert_eq!(new["apiVersion"], "events.k8s.io/v1");
        assert_eq!(
            (&new["note"], &new["deprecatedCount"], &new["regarding"]["kind"]),
            (&json!("m"), &json!(2), &json!("Pod"))
        );
        assert_eq!((&new["reportingController"], &new["type"]), (&json!("k"), &json!("Normal")));
        assert_eq!(to_core(&new), core);
    }
}
