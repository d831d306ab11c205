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
pub mod dns;
pub mod downward;
pub mod env;
mod events;
mod observed;
mod phase;
mod plan;
pub mod print;
mod probe;
mod resources;
mod restart;
pub mod security;
mod spec;
mod status;
mod sync;
mod termination;

pub use backoff::{Backoff, RestartBackoff};
pub use events::go_duration;
pub use observed::{
    ContainerRecord, Event, Exit, ImageFailure, ImageState, Instance, InstanceState, Lifecycle, NodeFacts, Observed,
    ProbeKind, ProbeReport, ProbeVerdicts, Pulled, SandboxState, StartFailure, StartFailureReason, TerminationCause,
    VolumeFailure, VolumesState,
};
pub use plan::{Action, ContainerKind, Desired, EventRecord, EventType, HookKind, Plan, PullPolicy, StopSignal, plan};
pub use probe::{ProbeState, initial_result};
pub use resources::ResourceLimits;
