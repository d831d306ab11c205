//! Native containers on the real runtime: Debian's static busybox as image, in namespaces of this machine. Everything runs
//! twice, as the user who runs the tests and, if that is root, as one who is not (`rootless`).

mod basics;
mod crash;
mod escapes;
mod files;
mod isolation;
mod leaks;
mod pods;
mod resources;
mod rootless;
mod scene;
mod security;
mod volumes;
