//! temp
#![allow(missing_docs)]
use super::*;
pub struct Loaded { pub object: Object, pub origin: Origin, pub warnings: Vec<String> }
pub fn load(source: &str, text: &str, ns: &str) -> Result<Vec<Loaded>, Vec<DecodeError>> {
    Ok(decode_documents(source, text)?.into_iter().map(|d| { let mut object = d.object; if object.is_namespaced() && object.namespace().is_empty() { object.metadata_mut().namespace = Some(ns.into()); } if let Object::Pod(p) = &mut object { default_pod(p) } Loaded { object, origin: d.origin, warnings: vec![] } }).collect())
}
pub fn default_pod(pod: &mut k8s_openapi::api::core::v1::Pod) { let s = pod.spec.as_mut().unwrap(); s.restart_policy.get_or_insert("Always".into()); s.termination_grace_period_seconds.get_or_insert(30); }
