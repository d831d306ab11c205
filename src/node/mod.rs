//! The agent: one worker per pod, executing what the planner decides.
