//! Kinds that hold something for others.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, ServiceAccount};

use super::{AGE, NAME, Printer, age, text, wide};

pub(super) static CONFIG_MAP: Printer = Printer {
    columns: &[NAME, text("Data", "Data contains the configuration data."), AGE],
    row: |object, now| {
        let map = object.typed::<ConfigMap>()?;
        let count = map.data.iter().flatten().count() + map.binary_data.iter().flatten().count();
        Some(vec![object.name().into(), count.into(), age(map.metadata.creation_timestamp.as_ref(), now)])
    },
};

pub(super) static SECRET: Printer = Printer {
    columns: &[
        NAME,
        text("Type", "Used to facilitate programmatic handling of secret data."),
        text("Data", "Data contains the secret data."),
        AGE,
    ],
    row: |object, now| {
        let secret = object.typed::<Secret>()?;
        let kind = secret.type_.clone().unwrap_or_default();
        let count = secret.data.iter().flatten().count();
        let age = age(secret.metadata.creation_timestamp.as_ref(), now);
        Some(vec![object.name().into(), kind.into(), count.into(), age])
    },
};

pub(super) static SERVICE_ACCOUNT: Printer = Printer {
    columns: &[
        NAME,
        text(
            "Secrets",
            "Secrets is a list of the secrets in the same namespace that pods running using this ServiceAccount are \
             allowed to use.",
        ),
        AGE,
    ],
    row: |object, now| {
        let account = object.typed::<ServiceAccount>()?;
        let count = account.secrets.iter().flatten().count();
        Some(vec![object.name().into(), count.into(), age(account.metadata.creation_timestamp.as_ref(), now)])
    },
};

pub(super) static CLAIM: Printer = Printer {
    columns: &[
        NAME,
        text("Status", "phase represents the current phase of PersistentVolumeClaim."),
        text("Volume", "volumeName is the binding reference to the PersistentVolume backing this claim."),
        text("Capacity", "capacity represents the actual resources of the underlying volume."),
        text("Access Modes", "accessModes contains the actual access modes the volume backing the PVC has."),
        text("StorageClass", "storageClassName is the name of the StorageClass required by the claim."),
        text(
            "VolumeAttributesClass",
            "volumeAttributesClassName may be used to set the VolumeAttributesClass used by this claim.",
        ),
        AGE,
        wide("VolumeMode", "volumeMode defines what type of volume is required by the claim."),
    ],
    row: |object, now| {
        let claim = object.typed::<PersistentVolumeClaim>()?;
        let (spec, status) = (claim.spec.clone().unwrap_or_default(), claim.status.clone().unwrap_or_default());
        let phase = match claim.metadata.deletion_timestamp {
            Some(_) => "Terminating".to_owned(),
            None => status.phase.clone().unwrap_or_default(),
        };
        let volume = spec.volume_name.unwrap_or_default();
        let bound = !volume.is_empty();
        let capacity = status.capacity.as_ref().and_then(|capacity| capacity.get("storage")).filter(|_| bound);
        let modes = status.access_modes.filter(|_| bound).unwrap_or_default();
        let class = spec.storage_class_name.or_else(|| {
            let annotations = claim.metadata.annotations.as_ref();
            annotations.and_then(|all| all.get("volume.beta.kubernetes.io/storage-class")).cloned()
        });
        Some(vec![
            object.name().into(),
            phase.into(),
            volume.into(),
            capacity.map(|amount| amount.0.clone()).unwrap_or_default().into(),
            short_modes(&modes).into(),
            class.unwrap_or_default().into(),
            spec.volume_attributes_class_name.unwrap_or_else(|| "<unset>".to_owned()).into(),
            age(claim.metadata.creation_timestamp.as_ref(), now),
            spec.volume_mode.unwrap_or_else(|| "<unset>".to_owned()).into(),
        ])
    },
};

/// `RWO,ROX,RWX,RWOP`, in that order.
fn short_modes(modes: &[String]) -> String {
    let short =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let present = short.iter().filter(|(mode, _)| modes.iter().any(|has| has == mode)).map(|(_, short)| *short);
    present.collect::<Vec<_>>().join(",")
}
