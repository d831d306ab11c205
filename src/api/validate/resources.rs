//! Resource requests and limits of containers and pods, and the sum of them that a pod needs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PodResourceClaim, PodSpec, ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WrittenQuantity;

use super::errors::{BadValue, Errors, FieldPath};
use super::pod::is_sidecar;
use super::{formats, items};
use crate::api::quantity::Quantity;

const CONTAINER_RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Names without a domain that are known somewhere in Kubernetes, though not for containers.
const OTHER_STANDARD_RESOURCES: [&str; 17] = [
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
const HUGE_PAGES: &str = "hugepages-";

type Written = BTreeMap<String, WrittenQuantity>;

fn parsed(list: Option<&Written>) -> impl Iterator<Item = (&str, Quantity)> {
    list.into_iter().flatten().filter_map(|(name, amount)| Some((name.as_str(), Quantity::of(amount).ok()?)))
}

pub(super) fn container_resources(
    errors: &mut Errors,
    resources: Option<&ResourceRequirements>,
    claims: &BTreeSet<String>,
    path: &FieldPath,
) {
    let Some(resources) = resources else { return };
    requirements(errors, resources, container_resource_name, path);
    claim_names(errors, items(&resources.claims), claims, &path.child("claims"));
}

pub(super) fn overhead(errors: &mut Errors, overhead: &Written, path: &FieldPath) {
    let resources = ResourceRequirements { limits: Some(overhead.clone()), ..Default::default() };
    requirements(errors, &resources, container_resource_name, path);
}

/// Checks names, amounts, and that no request is above its limit: `validateResourceRequirements`.
fn requirements(
    errors: &mut Errors,
    resources: &ResourceRequirements,
    check_name: fn(&mut Errors, &str, &FieldPath),
    path: &FieldPath,
) {
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let limits: BTreeMap<&str, Quantity> = parsed(resources.limits.as_ref()).collect();
    for (name, limit) in &limits {
        let path = limits_path.key(name);
        check_name(errors, name, &path);
        amount(errors, name, limit, &path);
    }
    for (name, request) in parsed(resources.requests.as_ref()) {
        let path = requests_path.key(name);
        check_name(errors, name, &path);
        amount(errors, name, &request, &path);
        let overcommits = is_native(name) && !name.starts_with(HUGE_PAGES);
        match limits.get(name) {
            Some(limit) if request != *limit && !overcommits => {
                let detail = format!("must be equal to {name} limit of {limit}");
                errors.invalid(&requests_path, request.to_string(), &detail);
            }
            Some(limit) if request > *limit => {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.invalid(&requests_path, request.to_string(), &detail);
            }
            Some(_) => {}
            None if overcommits => {}
            None => errors.required(&limits_path, "Limit must be set for non overcommitable resources"),
        }
    }
    let names = || limits.keys().copied().chain(parsed(resources.requests.as_ref()).map(|(name, _)| name));
    if names().any(|name| name.starts_with(HUGE_PAGES)) && !names().any(|name| ["cpu", "memory"].contains(&name)) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && formats::qualified_name(&format!("requests.{name}")).is_empty()
}

fn container_resource_name(errors: &mut Errors, name: &str, path: &FieldPath) {
    let wrong = formats::qualified_name(name);
    let qualified = wrong.is_empty();
    errors.invalid_each(path, name, wrong);
    let standard = CONTAINER_RESOURCES.contains(&name) || name.starts_with(HUGE_PAGES);
    if !name.contains('/') {
        if qualified && !standard && !OTHER_STANDARD_RESOURCES.contains(&name) {
            errors.invalid(path, name, "must be a standard resource type or fully qualified");
        }
        if !standard {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

fn pod_resource_name(errors: &mut Errors, name: &str, path: &FieldPath) {
    if !["cpu", "memory"].contains(&name) && !name.starts_with(HUGE_PAGES) {
        errors.unsupported(path, name, &["cpu", "hugepages-", "memory"]);
    }
}

fn amount(errors: &mut Errors, name: &str, amount: &Quantity, path: &FieldPath) {
    if amount.is_negative() {
        errors.invalid(path, amount.to_string(), "must be greater than or equal to 0");
    }
    if is_extended(name) && amount.milli_value() % 1000 != 0 {
        errors.invalid(path, BadValue::json(&amount.to_string()), "must be an integer");
    }
}

/// Checks the pod's resource claims and returns their names.
pub(super) fn pod_claims(errors: &mut Errors, claims: &[PodResourceClaim], path: &FieldPath) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        if claim.name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if !names.insert(claim.name.clone()) {
            errors.duplicate(&path.child("name"), &claim.name);
        } else {
            errors.invalid_each(&path.child("name"), &claim.name, formats::dns_label(&claim.name));
        }
        match (&claim.resource_claim_name, &claim.resource_claim_template_name) {
            (Some(_), Some(_)) => {
                let detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                errors.invalid(&path, BadValue::json(claim), detail);
            }
            (None, None) => {
                let detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`";
                errors.invalid(&path, BadValue::json(claim), detail);
            }
            _ => {}
        }
    }
    names
}

fn claim_names(errors: &mut Errors, claims: &[ResourceClaim], known: &BTreeSet<String>, path: &FieldPath) {
    let listed = match known.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => " which is empty".to_owned(),
        ref names => format!(": {}", names.join(", ")),
    };
    let mut seen = BTreeSet::new();
    for (index, claim) in claims.iter().enumerate() {
        let path = path.index(index);
        if claim.name.is_empty() {
            errors.required(&path, "");
            continue;
        }
        if !seen.insert((&claim.name, &claim.request)) {
            errors.duplicate(&path, &claim.name);
        }
        if !known.contains(&claim.name) {
            let detail = format!("must be one of the names in pod.spec.resourceClaims{listed}");
            errors.not_found(&path, &claim.name, &detail);
        }
    }
}

/// Checks the resources of the pod as a whole.
pub(super) fn pod_resources(errors: &mut Errors, spec: &PodSpec, claims: &BTreeSet<String>, path: &FieldPath) {
    let Some(resources) = &spec.resources else { return };
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.forbidden(path, "may not be set for a windows pod");
    }
    if resources.claims.is_some() {
        errors.forbidden(&path.child("claims"), "claims may not be set for Resources at pod-level");
    }
    requirements(errors, resources, pod_resource_name, path);
    claim_names(errors, items(&resources.claims), claims, &path.child("claims"));
    let requests: BTreeMap<&str, Quantity> = parsed(resources.requests.as_ref()).collect();
    for (name, needed) in aggregate_requests(spec) {
        if let Some(request) = requests.get(name.as_str()).filter(|request| needed > **request) {
            let detail = format!("must be greater than or equal to aggregate container requests of {needed}");
            errors.invalid(&path.child("requests").key(&name), request.to_string(), &detail);
        }
    }
    let limits: BTreeMap<&str, Quantity> = parsed(resources.limits.as_ref()).collect();
    for (index, container) in spec.containers.iter().enumerate() {
        let own = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        for (name, limit) in parsed(own) {
            if let Some(pod_limit) = limits.get(name).filter(|pod_limit| limit > **pod_limit) {
                let path = path.child("containers").index(index).key(name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {pod_limit}");
                errors.invalid(&path, limit.to_string(), &detail);
            }
        }
    }
}

/// What a pod's containers need together at any moment: the greater of the sum over app containers and sidecars, and
/// the most any init container needs beside the sidecars before it (`AggregateContainerRequests`).
pub fn aggregate_requests(spec: &PodSpec) -> BTreeMap<String, Quantity> {
    let mut running = BTreeMap::new();
    let mut sidecars: BTreeMap<String, Quantity> = BTreeMap::new();
    let mut initialising: BTreeMap<String, Quantity> = BTreeMap::new();
    for container in &spec.containers {
        add_requests(&mut running, container);
    }
    for container in items(&spec.init_containers) {
        if is_sidecar(container) {
            add_requests(&mut running, container);
            add_requests(&mut sidecars, container);
            continue;
        }
        // What only the sidecars need is in `running` already.
        for (name, amount) in requests(container) {
            let beside = sidecars.get(name).copied().unwrap_or(Quantity::ZERO);
            let most = initialising.entry(name.to_owned()).or_insert(Quantity::ZERO);
            *most = amount.plus(&beside).max(*most);
        }
    }
    for (name, amount) in initialising {
        let total = running.entry(name).or_insert(Quantity::ZERO);
        *total = amount.max(*total);
    }
    running
}

fn requests(container: &Container) -> impl Iterator<Item = (&str, Quantity)> {
    parsed(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

fn add_requests(sum: &mut BTreeMap<String, Quantity>, container: &Container) {
    for (name, amount) in requests(container) {
        let total = sum.entry(name.to_owned()).or_insert(Quantity::ZERO);
        *total = total.plus(&amount);
    }
}
