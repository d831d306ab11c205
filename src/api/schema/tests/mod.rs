//! Tests of the schemas.

mod golden;
mod made_up;
mod openapi;

use super::*;
use crate::api::resources::RESOURCES;

#[test]
fn every_resource_has_a_schema() {
    for resource in RESOURCES {
        assert!(is_known(GroupVersionKind::of(resource)), "{}", resource.group_resource());
        for subresource in resource.subresources {
            let kind = GroupVersionKind::of_subresource(resource, subresource);
            // Those are sent in the query of a URL.
            assert!(is_known(kind) || kind.kind.ends_with("Options"), "{}", kind.kind);
        }
    }
    assert!(is_known(DELETE_OPTIONS));
    assert!(!is_known(GroupVersionKind::parse("apps/v1", "Deployment")));
}
