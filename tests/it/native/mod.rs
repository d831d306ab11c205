//! Native containers on the real runtime: Debian's static busybox as image, in namespaces of this machine. Everything runs
//! as root, if that runs the tests, and as an ordinary user with one ID and with many (`rootless`).

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
