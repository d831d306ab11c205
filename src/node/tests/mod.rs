//! Whole lives of pods through real workers on a paused clock, with the scripted runtime; § refers to the pod
//! semantics.

mod living;
mod manifests;
mod output;
mod reaching;
mod restarting;
mod resyncing;
mod scene;
mod sessions;
mod starting;
mod stopping;
mod trouble;
mod updating;
