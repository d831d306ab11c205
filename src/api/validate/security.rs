//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, PodSpec, SeccompProfile};

use super::errors::{BadValue, Errors, FieldPath};
use super::volume::relative_path;
use super::{formats, items};
use crate::base::sysctl::{SysctlNamespace, namespace_of};

const MAX_ID: i64 = i32::MAX as i64;
const MAX_APP_ARMOR_PROFILE: usize = 4095;

fn id(errors: &mut Errors, id: Option<i64>, path: &FieldPath) {
    let Some(id) = id else { return };
    for detail in formats::in_range(id, 0, MAX_ID) {
        errors.invalid(path, id, &detail);
    }
}

pub(super) fn pod_security_context(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    let empty = Default::default();
    let context = spec.security_context.as_ref().unwrap_or(&empty);
    id(errors, context.fs_group, &path.child("fsGroup"));
    id(errors, context.run_as_user, &path.child("runAsUser"));
    id(errors, context.run_as_group, &path.child("runAsGroup"));
    for (index, group) in items(&context.supplemental_groups).iter().enumerate() {
        id(errors, Some(*group), &path.child("supplementalGroups").index(index));
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, detail);
    }
    sysctls(errors, spec, path);
    if let Some(policy) = &context.fs_group_change_policy {
        one_of(errors, policy, &["Always", "OnRootMismatch"], &path.child("fsGroupChangePolicy"));
    }
    seccomp(errors, context.seccomp_profile.as_ref(), &path.child("seccompProfile"));
    app_armor(errors, context.app_armor_profile.as_ref(), &path.child("appArmorProfile"));
    if let Some(policy) = &context.supplemental_groups_policy {
        one_of(errors, policy, &["Merge", "Strict"], &path.child("supplementalGroupsPolicy"));
    }
    if let Some(policy) = &context.se_linux_change_policy {
        one_of(errors, policy, &["MountOption", "Recursive"], &path.child("seLinuxChangePolicy"));
    }
}

fn one_of(errors: &mut Errors, value: &str, supported: &[&str], path: &FieldPath) {
    if !supported.contains(&value) {
        errors.unsupported(path, value, supported);
    }
}

fn sysctls(errors: &mut Errors, spec: &PodSpec, path: &FieldPath) {
    let mut names = BTreeSet::new();
    let sysctls = spec.security_context.iter().flat_map(|context| items(&context.sysctls));
    for (index, sysctl) in sysctls.enumerate() {
        let path = path.child("sysctls").index(index).child("name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.required(&path, "");
        } else if !formats::is_sysctl_name(name) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.invalid(&path, name, detail);
        } else if !names.insert(name) {
            errors.duplicate(&path, name);
        }
        let namespace = namespace_of(&name.replace('/', "."));
        if spec.host_network == Some(true) && namespace == Some(SysctlNamespace::Network) {
            errors.invalid(&path, name, "may not be specified when 'hostNetwork' is true");
        } else if spec.host_ipc == Some(true) && namespace == Some(SysctlNamespace::Ipc) {
            errors.invalid(&path, name, "may not be specified when 'hostIPC' is true");
        }
    }
}

pub(super) fn security_context(errors: &mut Errors, container: &Container, host_users: bool, path: &FieldPath) {
    let Some(context) = &container.security_context else { return };
    id(errors, context.run_as_user, &path.child("runAsUser"));
    id(errors, context.run_as_group, &path.child("runAsGroup"));
    if let Some(proc_mount) = &context.proc_mount {
        let path = path.child("procMount");
        one_of(errors, proc_mount, &["Default", "Unmasked"], &path);
        if host_users && proc_mount == "Unmasked" {
            errors.invalid(&path, proc_mount, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(errors, context.seccomp_profile.as_ref(), &path.child("seccompProfile"));
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, BadValue::json(context), detail);
        }
        let added = context.capabilities.iter().flat_map(|capabilities| items(&capabilities.add));
        // Kubernetes says it once for each time the capability is named.
        if added.into_iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, BadValue::json(context), detail);
        }
    }
    app_armor(errors, context.app_armor_profile.as_ref(), &path.child("appArmorProfile"));
}

fn seccomp(errors: &mut Errors, profile: Option<&SeccompProfile>, path: &FieldPath) {
    let Some(profile) = profile else { return };
    if profile.type_.is_empty() {
        errors.required(&path.child("type"), "type is required when seccompProfile is set");
    } else {
        one_of(errors, &profile.type_, &["Localhost", "RuntimeDefault", "Unconfined"], &path.child("type"));
    }
    let file_path = path.child("localhostProfile");
    match (profile.type_ == "Localhost", &profile.localhost_profile) {
        (true, None) => errors.required(&file_path, "must be set when seccomp type is Localhost"),
        (true, Some(file)) => relative_path(errors, file, &file_path),
        (false, Some(_)) => {
            let detail = "can only be set when seccomp type is Localhost";
            errors.invalid(&file_path, BadValue::json(profile), detail);
        }
        (false, None) => {}
    }
}

fn app_armor(errors: &mut Errors, profile: Option<&AppArmorProfile>, path: &FieldPath) {
    let Some(profile) = profile else { return };
    let name_path = path.child("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => {
            errors.required(&name_path, "must be set when AppArmor type is Localhost");
        }
        ("Localhost", Some(name)) => {
            if name.trim() != name {
                errors.invalid(&name_path, name, "must not be padded with whitespace");
            }
            if name.len() > MAX_APP_ARMOR_PROFILE {
                errors.too_long(&name_path, MAX_APP_ARMOR_PROFILE);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(&name_path, name, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => errors.required(&path.child("type"), "type is required when appArmorProfile is set"),
        (other, _) => {
            errors.unsupported(&path.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]);
        }
    }
}
