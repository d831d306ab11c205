//! Pulls and pushes for a person: one display for all that is under way on a terminal, nothing elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::future::join_all;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

use crate::cli::image::pull::{Platform, PullArgs};
use crate::cli::image::push::PushArgs;
use crate::image::{
    BlobProgress, BlobState, ImageStore, Keyring, Phase, PlatformChoice, Progress, PullError, PullRequest, Pulled,
    Pushed,
};

/// Digits of a digest that are shown.
const SHORT_DIGEST: usize = 12;
/// How often what is shown changes at most.
const REDRAW: Duration = Duration::from_millis(100);

/// `husk image pull`.
pub(super) fn pull(images: &Arc<ImageStore>, args: &PullArgs) -> anyhow::Result<Vec<Pulled>> {
    let platform = match args.platform {
        Platform::Auto => PlatformChoice::WasmFirst,
        Platform::Wasm => PlatformChoice::Wasm,
        Platform::Linux => PlatformChoice::Linux,
    };
    let request = |name: &String| PullRequest { image: name.clone(), platform, keyring: Arc::default() };
    pull_all(images, args.names.iter().map(request).collect(), args.quiet)
}

/// Pulls images, all at the same time; fails if one does.
pub(super) fn pull_all(
    images: &Arc<ImageStore>,
    requests: Vec<PullRequest>,
    quiet: bool,
) -> anyhow::Result<Vec<Pulled>> {
    Ok(pull_each(images, requests, quiet)?.into_iter().collect::<Result<_, _>>()?)
}

/// Pulls images, all at the same time; what became of each.
pub(super) fn pull_each(
    images: &Arc<ImageStore>,
    requests: Vec<PullRequest>,
    quiet: bool,
) -> anyhow::Result<Vec<Result<Pulled, PullError>>> {
    let display = Display::new(quiet);
    Ok(runtime()?.block_on(join_all(requests.into_iter().map(|request| {
        let display = display.clone();
        async move {
            let name = request.image.clone();
            let pull = images.pull(request)?;
            let progress = pull.progress();
            tokio::select! {
                biased;
                pulled = pull.wait() => pulled,
                never = display.follow(&name, progress) => match never {},
            }
        }
    }))))
}

/// `husk image push`.
pub(super) fn push(images: &Arc<ImageStore>, args: &PushArgs) -> anyhow::Result<Pushed> {
    let target = args.target.as_ref().unwrap_or(&args.name);
    let push = images.push(&args.name, target, Keyring::default());
    let (display, progress) = (Display::new(args.quiet), push.progress());
    runtime()?.block_on(async {
        tokio::select! {
            biased;
            pushed = push.run() => Ok(pushed?),
            never = display.follow(target, progress) => match never {},
        }
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")
}

/// Bars on a terminal, one for each blob.
#[derive(Clone)]
struct Display(MultiProgress);

impl Display {
    fn new(quiet: bool) -> Self {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self(MultiProgress::with_draw_target(target))
    }

    /// Shows how a transfer is getting on, for as long as it is polled.
    async fn follow(&self, name: &str, mut progress: watch::Receiver<Progress>) -> std::convert::Infallible {
        let head = self.0.add(ProgressBar::new_spinner());
        head.enable_steady_tick(REDRAW);
        let mut bars = Bars { display: self.0.clone(), head, shown: HashMap::new() };
        loop {
            let now = progress.borrow_and_update().clone();
            bars.show(name, &now);
            tokio::time::sleep(REDRAW).await;
            if progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The bars of one transfer; they go with it.
struct Bars {
    display: MultiProgress,
    head: ProgressBar,
    shown: HashMap<String, ProgressBar>,
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.shown.values().chain([&self.head]).for_each(ProgressBar::finish_and_clear);
    }
}

impl Bars {
    fn show(&mut self, name: &str, progress: &Progress) {
        self.head.set_message(match &progress.phase {
            Phase::Waiting => format!("{name}: waiting"),
            Phase::Resolving { registry } => format!("{name}: asking {registry}"),
            Phase::Transferring { registry } => format!("{name}: {registry}"),
            Phase::Finishing => format!("{name}: finishing"),
            Phase::Done => format!("{name}: done"),
        });
        for blob in &progress.blobs {
            self.show_blob(blob);
        }
    }

    fn show_blob(&mut self, blob: &BlobProgress) {
        let bar = self.shown.entry(blob.digest.clone()).or_insert_with(|| {
            let bar = self.display.add(ProgressBar::new(blob.size));
            if let Ok(style) = ProgressStyle::with_template("  {prefix} {bar:30} {bytes:>10}/{total_bytes:<10} {msg}") {
                bar.set_style(style);
            }
            let hex = blob.digest.trim_start_matches("sha256:");
            bar.set_prefix(hex.chars().take(SHORT_DIGEST).collect::<String>());
            bar
        });
        bar.set_position(blob.done);
        bar.set_message(match &blob.state {
            BlobState::Waiting => "waiting".to_owned(),
            BlobState::Transferring => String::new(),
            BlobState::Existing => "there already".to_owned(),
            BlobState::Complete => "done".to_owned(),
            BlobState::Retrying(why) => format!("again, for {why}"),
        });
    }
}
