//! Who a container runs as (kubelet v1.36 `DetermineEffectiveSecurityContext`, `verifyRunAsNonRoot`).

use k8s_openapi::api::core::v1::{Container, Pod};

use super::spec::PodView;

/// `runAsNonRoot` cannot be honoured: the container waits with `CreateContainerConfigError` and this as message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NonRootError {
    /// `runAsUser` is 0.
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    RootByUser {
        /// `name_namespace(uid)`.
        pod: String,
        /// The container.
        container: String,
    },
    /// The image's user is root, or it names none.
    #[error("container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})")]
    RootByImage {
        /// `name_namespace(uid)`.
        pod: String,
        /// The container.
        container: String,
    },
    /// The image's user is a name, whose number is not known.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root \
         (pod: {pod:?}, container: {container})"
    )]
    NonNumericUser {
        /// The image's user.
        user: String,
        /// `name_namespace(uid)`.
        pod: String,
        /// The container.
        container: String,
    },
}

/// Checks `runAsNonRoot` against `runAsUser` and the image's `User` (`uid`, `name`, either with `:group`; empty is
/// root). Container fields come before pod fields, one by one.
///
/// # Errors
/// When the container must not run as root and would, or might.
pub fn verify_run_as_non_root(pod: &Pod, container: &Container, image_user: &str) -> Result<(), NonRootError> {
    let view = PodView::new(pod);
    let (own, shared) = (container.security_context.as_ref(), view.spec.security_context.as_ref());
    let non_root = own.and_then(|own| own.run_as_non_root).or_else(|| shared.and_then(|shared| shared.run_as_non_root));
    if non_root != Some(true) {
        return Ok(());
    }
    let user = own.and_then(|own| own.run_as_user).or_else(|| shared.and_then(|shared| shared.run_as_user));
    let (pod, container) = (view.full_name(), container.name.clone());
    match user {
        Some(0) => return Err(NonRootError::RootByUser { pod, container }),
        Some(_) => return Ok(()),
        None => {}
    }
    let name = image_user.split(':').next().unwrap_or("");
    match name.parse::<i64>() {
        _ if name.is_empty() => Err(NonRootError::RootByImage { pod, container }),
        Ok(0) => Err(NonRootError::RootByImage { pod, container }),
        Ok(_) => Ok(()),
        Err(_) => Err(NonRootError::NonNumericUser { user: name.into(), pod, container }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §17: fields of the pod's and of the container's security context, the image's user, what is said.
    #[test]
    fn root_is_refused_where_it_must_not_be() {
        let by_image = Some("container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)");
        let by_user = Some("container's runAsUser breaks non-root policy (pod: \"p_ns(u)\", container: c)");
        let by_name = Some(
            "container has runAsNonRoot and image has non-numeric user (www), cannot verify user is non-root \
             (pod: \"p_ns(u)\", container: c)",
        );
        for (shared, own, image_user, expected) in [
            ("", "", "", None),
            ("runAsNonRoot: true", "", "", by_image),
            ("runAsNonRoot: true", "", "0:0", by_image),
            ("runAsNonRoot: true", "", "1000", None),
            ("runAsNonRoot: true", "", "www:www", by_name),
            ("runAsNonRoot: true", "runAsNonRoot: false", "0", None),
            ("runAsUser: 5", "runAsNonRoot: true", "0", None),
            ("runAsUser: 5", "runAsNonRoot: true, runAsUser: 0", "5", by_user),
        ] {
            let yaml = format!(
                "{{metadata: {{name: p, namespace: ns, uid: u}}, spec: {{securityContext: {{{shared}}}, \
                 containers: [{{name: c, securityContext: {{{own}}}}}]}}}}"
            );
            let pod: Pod = serde_yaml::from_str(&yaml).unwrap();
            let container = &pod.spec.as_ref().unwrap().containers[0];
            let said = verify_run_as_non_root(&pod, container, image_user).err().map(|error| error.to_string());
            assert_eq!(said.as_deref(), expected, "{shared} {own} {image_user}");
        }
    }
}
