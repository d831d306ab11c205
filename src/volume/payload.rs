//! What goes into the volumes that are written from objects: configMap, secret, downwardAPI and projected.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, ServiceAccountTokenProjection, Volume, VolumeProjection,
};

use super::tokens::{TokenRequest, Tokens};
use super::{SetUpError, VolumeContext};

/// Permission bits where neither the item nor the volume says any.
const DEFAULT_MODE: i32 = 0o644;
/// What the pod's group may do in a read-only volume (kubelet v1.36 `SetVolumeOwnership`).
const GROUP_READ: u32 = 0o440;
/// Permission bits of a token that is for one user, or one group, alone (kubelet v1.36 `projected` `collectData`).
const PRIVATE_MODE: i32 = 0o600;
/// How long a token is good where the volume does not say (`SetDefaults_ServiceAccountTokenProjection`).
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

/// One file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PayloadFile {
    pub(super) contents: Vec<u8>,
    pub(super) mode: u32,
    /// Of a file that is for the pod's user or group alone: the mode where the host lets it be given to neither.
    pub(super) mode_for_all: Option<u32>,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

/// All files of a volume, by path relative to it.
pub(super) type Payload = BTreeMap<String, PayloadFile>;

/// The kubelet's name for the volume's kind; `Unsupported` for kinds that are not written.
pub(super) fn kind(volume: &Volume) -> Result<&'static str, SetUpError> {
    if volume.config_map.is_some() {
        Ok("configmap")
    } else if volume.secret.is_some() {
        Ok("secret")
    } else if volume.downward_api.is_some() {
        Ok("downward-api")
    } else if volume.projected.is_some() {
        Ok("projected")
    } else {
        Err(SetUpError::Unsupported(unsupported_kind(volume)))
    }
}

/// The field that says what kind of volume it is, for a message.
fn unsupported_kind(volume: &Volume) -> String {
    let fields = serde_json::to_value(volume).unwrap_or_default();
    let field = fields.as_object().and_then(|fields| fields.keys().find(|field| *field != "name").cloned());
    format!("volume type {}", field.as_deref().unwrap_or("none"))
}

/// Collects what the volume should contain now.
pub(super) fn gather(volume: &Volume, context: &VolumeContext<'_>, tokens: &Tokens) -> Result<Payload, SetUpError> {
    let mut files = Gathering { context, tokens, default_mode: DEFAULT_MODE, files: Payload::new() };
    if let Some(source) = &volume.config_map {
        files.default_mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        files.config_map(&source.name, source.items.as_deref(), source.optional)?;
    } else if let Some(source) = &volume.secret {
        files.default_mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        files.secret(source.secret_name.as_deref().unwrap_or_default(), source.items.as_deref(), source.optional)?;
    } else if let Some(source) = &volume.downward_api {
        files.default_mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        files.downward(source.items.as_deref())?;
    } else if let Some(source) = &volume.projected {
        files.default_mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        for projection in source.sources.iter().flatten() {
            files.projection(projection)?;
        }
    }
    Ok(files.files)
}

struct Gathering<'a> {
    context: &'a VolumeContext<'a>,
    tokens: &'a Tokens,
    default_mode: i32,
    files: Payload,
}

impl Gathering<'_> {
    fn add(&mut self, path: &str, contents: Vec<u8>, mode: Option<i32>) -> Result<(), SetUpError> {
        check_path(path)?;
        let mode = self.mode(mode);
        let file = PayloadFile { contents, mode, mode_for_all: None, user: None, group: self.context.fs_group };
        self.files.insert(path.to_owned(), file);
        Ok(())
    }

    /// Adds a file that only the pod's group may read, or the user that all its containers run as, if there is any such.
    fn add_private(&mut self, path: &str, contents: Vec<u8>) -> Result<(), SetUpError> {
        let VolumeContext { fs_group: group, one_user: user, .. } = *self.context;
        if group.is_none() && user.is_none() {
            return self.add(path, contents, None);
        }
        check_path(path)?;
        let (mode, mode_for_all) = (self.mode(Some(PRIVATE_MODE)), Some(self.mode(None)));
        self.files.insert(path.to_owned(), PayloadFile { contents, mode, mode_for_all, user, group });
        Ok(())
    }

    fn mode(&self, own: Option<i32>) -> u32 {
        let mode = u32::try_from(own.unwrap_or(self.default_mode)).unwrap_or(0o644) & 0o777;
        if self.context.fs_group.is_some() { mode | GROUP_READ } else { mode }
    }

    /// Adds all of `data`, or the keys that `items` names. `missing` makes the error for a key that is not there;
    /// where the source is optional, so are its keys.
    fn select(
        &mut self,
        mut data: BTreeMap<String, Vec<u8>>,
        items: Option<&[KeyToPath]>,
        optional: bool,
        missing: fn(String) -> SetUpError,
    ) -> Result<(), SetUpError> {
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            return data.into_iter().try_for_each(|(key, contents)| self.add(&key, contents, None));
        };
        for item in items {
            match data.get_mut(&item.key) {
                Some(contents) => self.add(&item.path, contents.clone(), item.mode)?,
                None if optional => {}
                None => return Err(missing(item.key.clone())),
            }
        }
        Ok(())
    }

    fn config_map(
        &mut self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<(), SetUpError> {
        let optional = optional.unwrap_or(false);
        let Some(config_map) = self.context.sources.config_map(self.context.namespace, name) else {
            return if optional { Ok(()) } else { Err(SetUpError::ConfigMapNotFound(name.to_owned())) };
        };
        let text = config_map.data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
        let binary = config_map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0));
        self.select(text.chain(binary).collect(), items, optional, SetUpError::ConfigKeyMissing)
    }

    fn secret(&mut self, name: &str, items: Option<&[KeyToPath]>, optional: Option<bool>) -> Result<(), SetUpError> {
        let optional = optional.unwrap_or(false);
        let Some(secret) = self.context.sources.secret(self.context.namespace, name) else {
            return if optional { Ok(()) } else { Err(SetUpError::SecretNotFound(name.to_owned())) };
        };
        // `stringData` is merged into `data` when a Secret is stored; one straight from a file may still have it.
        let stored = secret.data.into_iter().flatten().map(|(key, value)| (key, value.0));
        let text = secret.string_data.into_iter().flatten().map(|(key, value)| (key, value.into_bytes()));
        self.select(stored.chain(text).collect(), items, optional, SetUpError::SecretKeyMissing)
    }

    fn downward(&mut self, items: Option<&[DownwardAPIVolumeFile]>) -> Result<(), SetUpError> {
        for item in items.unwrap_or_default() {
            let value = if let Some(field_ref) = &item.field_ref {
                self.context.downward.field(field_ref)
            } else if let Some(resource_field_ref) = &item.resource_field_ref {
                self.context.downward.resource(resource_field_ref)
            } else {
                Err(format!("{}: neither fieldRef nor resourceFieldRef", item.path))
            };
            self.add(&item.path, value.map_err(SetUpError::Downward)?.into_bytes(), item.mode)?;
        }
        Ok(())
    }

    fn token(&mut self, source: &ServiceAccountTokenProjection) -> Result<(), SetUpError> {
        let seconds = source.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS);
        let audience = source.audience.clone().filter(|audience| !audience.is_empty());
        let token = self.tokens.get(&TokenRequest { audience, seconds }, self.context)?;
        self.add_private(&source.path, token.into_bytes())
    }

    /// Of two sources with the same path the later one wins.
    fn projection(&mut self, projection: &VolumeProjection) -> Result<(), SetUpError> {
        if let Some(source) = &projection.config_map {
            self.config_map(&source.name, source.items.as_deref(), source.optional)?;
        }
        if let Some(source) = &projection.secret {
            self.secret(&source.name, source.items.as_deref(), source.optional)?;
        }
        if let Some(source) = &projection.downward_api {
            self.downward(source.items.as_deref())?;
        }
        if let Some(source) = &projection.service_account_token {
            self.token(source)?;
        }
        for (present, field) in [
            (projection.cluster_trust_bundle.is_some(), "clusterTrustBundle"),
            (projection.pod_certificate.is_some(), "podCertificate"),
        ] {
            if present {
                return Err(SetUpError::Unsupported(format!("projected {field}")));
            }
        }
        Ok(())
    }
}

/// Only paths that stay in the volume, and do not meet the names kept for versions (kubelet v1.36 `validatePath`).
fn check_path(path: &str) -> Result<(), SetUpError> {
    let bad_name = |name: &str| matches!(name, "" | "." | "..") || name.contains(['\0', '\\']) || name.len() > 255;
    if path.starts_with("..") || path.len() > 4096 || path.split('/').any(bad_name) {
        Err(SetUpError::InvalidPath(path.to_owned()))
    } else {
        Ok(())
    }
}
