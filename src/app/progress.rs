//! Shows on a terminal which programs are being compiled: the first start of a program takes as long as that.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::runtime::wasm::CompileObserver;

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(100);

/// A spinner for each program being compiled.
pub(super) struct CompileProgress {
    bars: Option<MultiProgress>,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl CompileProgress {
    /// Draws nothing unless `visible`.
    pub(super) fn new(visible: bool) -> Self {
        Self { bars: visible.then(MultiProgress::new), running: Mutex::default() }
    }

    /// What is drawn, for those who print beside it.
    pub(super) fn bars(&self) -> Option<MultiProgress> {
        self.bars.clone()
    }
}

impl CompileObserver for CompileProgress {
    fn started(&self, program: &str, size: usize) {
        let Some(bars) = &self.bars else { return };
        let bar = bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(format!("compiling {program} ({} KiB)", size.div_ceil(1024)));
        bar.enable_steady_tick(TICK);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(program.to_owned(), bar);
    }

    fn finished(&self, program: &str, _elapsed: Duration) {
        if let Some(bar) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(program) {
            bar.finish_and_clear();
        }
    }

    fn cached(&self, _program: &str) {}
}
