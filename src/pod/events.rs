//! Texts of Kubernetes events and waiting reasons about containers and images, and Go's way to print a duration.

use std::fmt::Write as _;
use std::time::Duration;

use super::observed::{ImageFailure, ImageNote, ProbeKind, ProbeReport, Pulled, StartFailureReason};
use super::plan::{EventRecord, EventType};
use super::spec::PodView;

/// An event as it is noted before the pod is at hand: by container name, without a field path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) type_: EventType,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) container: Option<String>,
}

impl Note {
    pub(super) fn normal(container: Option<&str>, reason: &'static str, message: impl Into<String>) -> Self {
        let container = container.map(str::to_owned);
        Self { type_: EventType::Normal, reason, message: message.into(), container }
    }

    pub(super) fn warning(container: Option<&str>, reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_: EventType::Warning, ..Self::normal(container, reason, message) }
    }

    pub(super) fn into_record(self, view: &PodView<'_>) -> EventRecord {
        let spec = self.container.as_deref().and_then(|name| view.find(name));
        EventRecord {
            type_: self.type_,
            reason: self.reason,
            message: self.message,
            field_path: spec.map(|spec| spec.field_path()),
        }
    }
}

/// What is noted before a pull that lacks some of the pod's image pull Secrets.
pub(super) fn missing_pull_secrets(names: &[String]) -> Option<Note> {
    let message = format!(
        "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
        names.join(", ")
    );
    (!names.is_empty()).then(|| Note::warning(None, "FailedToRetrieveImagePullSecret", message))
}

/// What is noted when an image is there.
pub(super) fn image_present(
    container: &str,
    image: &str,
    pulled: Option<Pulled>,
    note: Option<ImageNote>,
) -> Vec<Note> {
    let message = match pulled {
        Some(Pulled { took, size }) => {
            let took = go_duration(Duration::from_millis(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
            format!(
                "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size} bytes."
            )
        }
        None => format!("Container image {image:?} already present on machine and can be accessed by the pod"),
    };
    let mut notes = vec![Note::normal(Some(container), "Pulled", message)];
    notes.extend(note.map(|note| match note {
        ImageNote::BuiltIn(message) => Note::normal(Some(container), "BuiltInImage", message),
        ImageNote::Unpacked(message) => Note::normal(Some(container), "ImageUnpacked", message),
    }));
    notes
}

/// What is noted when an image cannot be had.
pub(super) fn image_failed(container: &str, image: &str, failure: &ImageFailure) -> Vec<Note> {
    let container = Some(container);
    let (reason, message) = (failure.waiting_reason(), failure.waiting_message(image));
    let detail = match failure {
        ImageFailure::Pull(cause) => {
            Note::warning(container, "Failed", format!("Failed to pull image {image:?}: {cause}"))
        }
        ImageFailure::RegistryUnavailable(cause) | ImageFailure::Signature(cause) => {
            Note::warning(container, "Failed", format!("Failed to pull image {image:?}: {reason}: {cause}"))
        }
        ImageFailure::NeverPull => Note::warning(container, "ErrImageNeverPull", message),
        ImageFailure::InvalidName(_) | ImageFailure::Inspect(_) => Note::warning(container, "InspectFailed", message),
    };
    vec![detail, Note::warning(container, "Failed", format!("Error: {reason}"))]
}

/// What is noted of one check of a probe.
pub(super) fn probe_report(container: &str, kind: ProbeKind, report: &ProbeReport) -> Note {
    let probe = match kind {
        ProbeKind::Startup => "Startup",
        ProbeKind::Readiness => "Readiness",
        ProbeKind::Liveness => "Liveness",
    };
    let (reason, message) = match report {
        ProbeReport::Failed(output) => ("Unhealthy", format!("{probe} probe failed: {output}")),
        ProbeReport::Errored(error) => {
            ("Unhealthy", format!("{probe} probe errored and resulted in unknown state: {error}"))
        }
        ProbeReport::Warned(warning) => ("ProbeWarning", format!("{probe} probe warning: {warning}")),
    };
    Note::warning(Some(container), reason, message)
}

impl ImageFailure {
    /// Whether the next try waits longer each time: a registry is spared.
    pub(super) fn backs_off(&self) -> bool {
        match self {
            Self::Pull(_) | Self::RegistryUnavailable(_) | Self::Signature(_) => true,
            Self::NeverPull | Self::InvalidName(_) | Self::Inspect(_) => false,
        }
    }

    /// The waiting reason.
    pub(super) fn waiting_reason(&self) -> &'static str {
        match self {
            Self::Pull(_) => "ErrImagePull",
            Self::RegistryUnavailable(_) => "RegistryUnavailable",
            Self::Signature(_) => "SignatureValidationFailed",
            Self::NeverPull => "ErrImageNeverPull",
            Self::InvalidName(_) => "InvalidImageName",
            Self::Inspect(_) => "ImageInspectError",
        }
    }

    /// The waiting message.
    pub(super) fn waiting_message(&self, image: &str) -> String {
        match self {
            Self::Pull(cause) => cause.clone(),
            Self::RegistryUnavailable(cause) => {
                format!("image pull failed for {image} because the registry is unavailable: {cause}")
            }
            Self::Signature(cause) => {
                format!("image pull failed for {image} because the signature validation failed: {cause}")
            }
            Self::NeverPull => format!("Container image {image:?} is not present with pull policy of Never"),
            Self::InvalidName(cause) => format!("Failed to apply default image tag {image:?}: {cause}"),
            Self::Inspect(cause) => format!("Failed to inspect image {image:?}: {cause}"),
        }
    }
}

impl StartFailureReason {
    /// The waiting reason.
    pub(super) fn waiting_reason(self) -> &'static str {
        match self {
            Self::PostStartHook => "PostStartHookError",
            Self::Config => "CreateContainerConfigError",
            Self::Create => "CreateContainerError",
            Self::Run => "RunContainerError",
            Self::Cancelled => "ContainerCreating",
        }
    }
}

/// Prints a duration as Go's `Duration.String` does: `300ms`, `1.5s`, `2m40s`, `1h0m0s`.
pub fn go_duration(duration: Duration) -> String {
    let fraction = |value: f64, unit: &str| format!("{value}{unit}");
    let nanos = duration.as_nanos();
    match nanos {
        0 => return "0s".into(),
        1..1_000 => return format!("{nanos}ns"),
        1_000..1_000_000 => return fraction(nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => return fraction(nanos as f64 / 1e6, "ms"),
        _ => {}
    }
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let mut text = String::new();
    if hours > 0 {
        let _ = write!(text, "{hours}h");
    }
    if hours > 0 || minutes > 0 {
        let _ = write!(text, "{minutes}m");
    }
    let _ = write!(text, "{}", duration.as_secs() % 60);
    if duration.subsec_nanos() > 0 {
        let _ = write!(text, ".{}", format!("{:09}", duration.subsec_nanos()).trim_end_matches('0'));
    }
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_in_go() {
        for (millis, expected) in [
            (0, "0s"),
            (845, "845ms"),
            (1_200, "1.2s"),
            (10_000, "10s"),
            (80_000, "1m20s"),
            (160_000, "2m40s"),
            (300_000, "5m0s"),
            (3_600_000, "1h0m0s"),
            (61_005, "1m1.005s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), expected);
        }
        assert_eq!(go_duration(Duration::from_nanos(1_500)), "1.5µs");
    }
}
