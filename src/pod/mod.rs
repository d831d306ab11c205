//! The pure pod engine: plan, restart and back-off, termination, environment, status, events.
//!
//! ```text
//!   event ──▶ Observed::apply ──▶ plan(desired, observed, now) ──▶ Plan { actions, status, events, wake_at }
//!                                          ▲                          │
//!                                          └──── Observed::record ◀───┘
//! ```
//!
//! Nothing here waits, reads a file, takes a lock or looks at a clock: whatever kubelet looks up sideways while it
//! plans is a field of [`Observed`]. The worker that owns a pod repeats four steps: `apply` what happened, `plan`,
//! `record` the plan, then carry it out (publish the status, post the events, execute the actions, sleep until
//! `wake_at`).

mod apply;
mod backoff;
pub mod command;
mod conditions;
mod container_status;
mod correlate;
pub mod dns;
pub mod downward;
pub mod env;
mod events;
mod instance;
mod observed;
mod phase;
mod plan;
pub mod print;
mod probe;
mod record;
mod resize;
mod resources;
mod restart;
pub mod security;
mod snapshot;
mod spec;
mod start_over;
mod status;
mod stop;
mod sync;
mod tend;
mod termination;

pub use backoff::{Backoff, RestartBackoff};
pub use conditions::{merge_status, others_conditions};
pub use correlate::{Correlator, PostedEvent};
pub use events::go_duration;
pub use instance::{
    ContainerRecord, Exit, HookState, ImageState, Instance, InstanceState, ProbeVerdicts, Probing, ResizeState,
    StartFailure,
};
pub use observed::{
    Event, ImageFailure, ImageNote, Lifecycle, NodeFacts, Observed, ProbeKind, ProbeReport, Pulled, SandboxState,
    StartFailureReason, TerminationCause, VolumeFailure, VolumesState,
};
pub use plan::{Action, ContainerKind, Desired, EventRecord, EventType, HookKind, Plan, PullPolicy, StopSignal, plan};
pub use probe::{ProbeState, initial_result};
pub use resources::ResourceLimits;
pub use snapshot::{Begun, LeftInstance, PodSnapshot, Snapshot, SnapshotMark, Survivors};
pub use spec::{ephemeral_as_container, full_name};
pub use stop::{Stop, StopCause};
