//! Container runtimes: the mechanism of creating, starting, signalling and waiting for containers, and nothing else.
//! No grace periods, no restarts, no policy: those are the planner's. `wasm` runs WebAssembly in this process;
//! `fake` is driven by tests.

pub mod fake;
mod interface;
#[cfg(target_os = "linux")]
pub mod linux;
mod linux_config;
pub mod wasm;

pub use interface::{
    AdoptedContainer, Container, ContainerConfig, ContainerPort, ContainerRuntime, ExecRequest, ExitReason, ExitStatus,
    PodSandbox, ResourceLimits, ResourceUsage, RuntimeError, RuntimeWarning, Signal, TerminalSize,
};
pub use linux_config::{
    LinuxContainerConfig, LinuxContainerResources, LinuxContainerSecurityContext, LinuxPodSandboxConfig, Mount,
    Propagation, RootfsSpec, SeccompProfile, Tmpfs, signal_number,
};
