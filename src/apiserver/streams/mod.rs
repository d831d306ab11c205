//! Streams.

mod activity;
mod port_forward;
mod remote_command;
mod spdy;
mod upgrade;
mod websocket;
