//! The pure pod engine: plan, restart and back-off, termination, environment, status, events.
