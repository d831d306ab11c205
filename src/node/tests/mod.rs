//! Whole lives of pods through real workers on a paused clock, with the scripted runtime.
