//! Having the image of a container: what is here already, and what has to be pulled, by whose credentials.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Secret};
use tokio::time::Instant;
use tracing::warn;

use super::context::namespace;
use super::{NodeConfig, platform};
use crate::image::{
    Image, ImageError, ImageStore, Keyring, PlatformChoice, Presence, PullError, PullRequest, RegistryError,
};
use crate::pod::{ImageFailure, PullPolicy, Pulled};

/// The most image pull Secrets of a pod that are looked at.
const MAX_SECRETS: usize = 64;

/// The image of a container, pulled if its policy wants that and it is not here; `started` is called before anything is
/// asked for, with the image pull Secrets that are not there.
///
/// Differs from Kubernetes: images that were imported, loaded or built, and those in the binary, are used as they are
/// under the policy Always, too, for no registry has them.
pub(super) async fn find(
    config: &NodeConfig,
    pod: &Pod,
    image: &str,
    policy: PullPolicy,
    started: impl AsyncFnOnce(Vec<String>),
) -> Result<(Image, Option<Pulled>), ImageFailure> {
    // Without a runtime there is no sandbox, and no container is started.
    let forced = config.forced_runtime(pod).unwrap_or_default();
    let platform = platform(forced);
    let wanted = image.to_owned();
    let presence = on_store(config, move |images| images.presence(&wanted, platform)).await?;
    // What was pulled must not make room for something else before it is found.
    let held = match (policy, presence) {
        (_, Presence::BuiltIn | Presence::Local) | (PullPolicy::IfNotPresent | PullPolicy::Never, Presence::Pulled) => {
            None
        }
        (PullPolicy::Never, Presence::Absent) => return Err(ImageFailure::NeverPull),
        (PullPolicy::Always, Presence::Pulled) | (PullPolicy::Always | PullPolicy::IfNotPresent, Presence::Absent) => {
            let (keyring, missing) = keyring(config, pod);
            started(missing).await;
            let begun = Instant::now();
            let keyring = Arc::new(keyring);
            let pull = config.images.pull(PullRequest { image: image.to_owned(), platform, keyring, verify: false });
            let pulled = match pull {
                Ok(pull) => pull.wait().await,
                Err(error) => Err(error),
            };
            let pulled = pulled.map_err(|error| pull_failure(&error))?;
            Some((Pulled { took: begun.elapsed(), size: pulled.size }, pulled))
        }
    };
    let wanted = image.to_owned();
    let found = on_store(config, move |images| find_ready(images, &wanted, platform)).await?;
    Ok((found, held.map(|(told, _)| told)))
}

/// Finds an image that is here. The layers of a native one are directories then, which a start does not wait for.
fn find_ready(images: &ImageStore, name: &str, platform: PlatformChoice) -> Result<Image, ImageError> {
    let image = images.resolve_for(name, platform)?;
    #[cfg(target_os = "linux")]
    if !image.is_wasm() && platform != PlatformChoice::AsWasm {
        images.unpack(name, PlatformChoice::Linux)?;
    }
    Ok(image)
}

/// Off the worker's task: an image may have to be read, checked and uncompressed.
async fn on_store<T: Send + 'static>(
    config: &NodeConfig,
    work: impl FnOnce(&ImageStore) -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageFailure> {
    let images = Arc::clone(&config.images);
    match tokio::task::spawn_blocking(move || work(&images)).await {
        Ok(found) => found.map_err(|error| failure(&error)),
        Err(panic) => Err(ImageFailure::Inspect(panic.to_string())),
    }
}

/// The credentials of the pod's image pull Secrets, and the names of those that are missing. What is missing or not
/// understood is left out, as kubelet does.
fn keyring(config: &NodeConfig, pod: &Pod) -> (Keyring, Vec<String>) {
    let (mut keyring, mut missing) = (Keyring::default(), Vec::new());
    let references = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    for reference in references.take(MAX_SECRETS) {
        match config.cluster.secret(namespace(pod), &reference.name).map(|secret| of_secret(&secret)) {
            Some(Ok(found)) => keyring.extend(found),
            Some(Err(problem)) => warn!(secret = reference.name, problem, "image pull Secret cannot be used"),
            None => missing.push(reference.name.clone()),
        }
    }
    (keyring, missing)
}

fn of_secret(secret: &Secret) -> Result<Keyring, String> {
    let data = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    match secret.type_.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => {
            Keyring::of_docker_config_json(data(".dockerconfigjson").ok_or("it has no .dockerconfigjson")?)
        }
        Some("kubernetes.io/dockercfg") => Keyring::of_dockercfg(data(".dockercfg").ok_or("it has no .dockercfg")?),
        _ => Err("it is of another type".to_owned()),
    }
}

fn pull_failure(error: &PullError) -> ImageFailure {
    match error {
        PullError::InvalidName { detail, .. } => ImageFailure::InvalidName(detail.clone()),
        PullError::Registry { tried, .. } => match tried.last() {
            Some(RegistryError::Unavailable { .. } | RegistryError::TooManyRequests { .. }) => {
                ImageFailure::RegistryUnavailable(error.to_string())
            }
            Some(
                RegistryError::NotFound { .. }
                | RegistryError::Denied { .. }
                | RegistryError::Tls { .. }
                | RegistryError::Unexpected { .. }
                | RegistryError::Corrupt { .. },
            )
            | None => ImageFailure::Pull(error.to_string()),
        },
        PullError::Signature { .. } => ImageFailure::Signature(error.to_string()),
        PullError::Blocked { .. } | PullError::Image { .. } | PullError::Abandoned { .. } => {
            ImageFailure::Pull(error.to_string())
        }
    }
}

fn failure(error: &ImageError) -> ImageFailure {
    match error {
        ImageError::InvalidName { detail, .. } => ImageFailure::InvalidName(detail.clone()),
        // No registry would have another one of the same digest.
        ImageError::NotFound(_) | ImageError::Platform { .. } => ImageFailure::Pull(error.to_string()),
        ImageError::Damaged { .. } | ImageError::Io { .. } | ImageError::Invalid(_) => {
            ImageFailure::Inspect(error.to_string())
        }
    }
}
