//! Pulls and pushes for a person: one display for all that is under way on a terminal, lines elsewhere.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures::future::join_all;
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
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
/// How often it is told where nothing can be redrawn how much of a transfer is done.
const RETELL: Duration = Duration::from_secs(10);

/// `husk image pull`.
pub(super) fn pull(images: &Arc<ImageStore>, args: &PullArgs) -> anyhow::Result<Vec<Result<Pulled, PullError>>> {
    let platform = match args.platform {
        Platform::Auto => PlatformChoice::WasmFirst,
        Platform::Wasm => PlatformChoice::Wasm,
        Platform::Linux => PlatformChoice::Linux,
    };
    let request = |name: &String| PullRequest { image: name.clone(), platform, keyring: Arc::default(), verify: true };
    pull_each(images, args.names.iter().map(request).collect(), args.quiet)
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
            let (mut shown, progress) = (display.begin(&name), pull.progress());
            let pulled = tokio::select! {
                biased;
                pulled = pull.wait() => pulled,
                never = shown.follow(progress.clone()) => match never {},
            };
            shown.show(&progress.borrow());
            pulled
        }
    }))))
}

/// `husk image push`.
pub(super) fn push(images: &Arc<ImageStore>, args: &PushArgs) -> anyhow::Result<Pushed> {
    let target = args.target.as_ref().unwrap_or(&args.name);
    let push = images.push(&args.name, target, Keyring::default());
    let (mut shown, progress) = (Display::new(args.quiet).begin(target), push.progress());
    runtime()?.block_on(async {
        let pushed = tokio::select! {
            biased;
            pushed = push.run() => pushed,
            never = shown.follow(progress.clone()) => match never {},
        };
        shown.show(&progress.borrow());
        Ok(pushed?)
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start")
}

/// What a person sees of all transfers that are under way.
#[derive(Clone)]
enum Display {
    /// Bars on a terminal, one for each blob.
    Bars(MultiProgress),
    /// A line for each thing that happens, for logs.
    Lines,
    Nothing,
}

impl Display {
    fn new(quiet: bool) -> Self {
        if quiet {
            Self::Nothing
        } else if std::io::stderr().is_terminal() {
            Self::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
        } else {
            Self::Lines
        }
    }

    fn begin(&self, name: &str) -> Shown {
        match self {
            Self::Bars(display) => {
                let head = display.add(ProgressBar::new_spinner());
                head.enable_steady_tick(REDRAW);
                Shown::Bars(Bars { name: name.to_owned(), display: display.clone(), head, shown: HashMap::new() })
            }
            Self::Lines => Shown::Lines(Lines::new(name)),
            Self::Nothing => Shown::Nothing,
        }
    }
}

/// What is shown of one transfer.
enum Shown {
    Bars(Bars),
    Lines(Lines),
    Nothing,
}

impl Shown {
    /// Shows how a transfer is getting on, for as long as it is polled.
    async fn follow(&mut self, mut progress: watch::Receiver<Progress>) -> std::convert::Infallible {
        loop {
            let now = progress.borrow_and_update().clone();
            self.show(&now);
            tokio::time::sleep(REDRAW).await;
            if !matches!(self, Self::Lines(_)) && progress.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn show(&mut self, progress: &Progress) {
        match self {
            Self::Bars(bars) => bars.show(progress),
            Self::Lines(lines) => {
                let mut stderr = std::io::stderr().lock();
                for line in lines.news(progress, tokio::time::Instant::now()) {
                    // Nobody may be reading.
                    let _unread = writeln!(stderr, "{line}");
                }
            }
            Self::Nothing => {}
        }
    }
}

/// What one transfer has told so far, line by line.
struct Lines {
    name: String,
    phase: Phase,
    blobs: HashMap<String, BlobState>,
    /// When something was told of how much there is.
    told_at: Option<tokio::time::Instant>,
}

impl Lines {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), phase: Phase::Waiting, blobs: HashMap::new(), told_at: None }
    }

    /// What is new.
    fn news(&mut self, progress: &Progress, now: tokio::time::Instant) -> Vec<String> {
        let mut news = Vec::new();
        if self.phase != progress.phase {
            self.phase = progress.phase.clone();
            match &self.phase {
                Phase::Resolving { registry } => news.push(format!("asking {registry}")),
                Phase::Transferring { registry } => news.push(format!("transferring, registry {registry}")),
                Phase::Waiting | Phase::Finishing | Phase::Done => {}
            }
        }
        for blob in &progress.blobs {
            let said = match &blob.state {
                BlobState::Waiting | BlobState::Transferring => continue,
                state if self.blobs.get(&blob.digest) == Some(state) => continue,
                BlobState::Existing => "there already".to_owned(),
                BlobState::Complete => "done".to_owned(),
                BlobState::Retrying(why) => format!("again, for {why}"),
            };
            self.blobs.insert(blob.digest.clone(), blob.state.clone());
            self.told_at = Some(now);
            news.push(format!("{} ({}) {said}", short(blob), HumanBytes(blob.size)));
        }
        if news.is_empty() && now - *self.told_at.get_or_insert(now) >= RETELL {
            self.told_at = Some(now);
            let sum = |part: fn(&BlobProgress) -> u64| HumanBytes(progress.blobs.iter().map(part).sum());
            news.push(format!("{} of {}", sum(|blob| blob.done), sum(|blob| blob.size)));
        }
        news.into_iter().map(|news| format!("{}: {news}", self.name)).collect()
    }
}

fn short(blob: &BlobProgress) -> String {
    blob.digest.trim_start_matches("sha256:").chars().take(SHORT_DIGEST).collect()
}

/// The bars of one transfer; they go with it.
struct Bars {
    name: String,
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
    fn show(&mut self, progress: &Progress) {
        let name = &self.name;
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
            bar.set_prefix(short(blob));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_everything_is_told_once() {
        let begun = tokio::time::Instant::now();
        let blob =
            |digest: &str, done, state| BlobProgress { digest: format!("sha256:{digest}"), size: 2048, done, state };
        let progress = |blobs| Progress { phase: Phase::Transferring { registry: "r.example".to_owned() }, blobs };
        let mut lines = Lines::new("app");
        let resolving = Progress { phase: Phase::Resolving { registry: "r.example".to_owned() }, blobs: Vec::new() };
        assert_eq!(lines.news(&resolving, begun), ["app: asking r.example"]);
        let first = progress(vec![
            blob("0123456789abcdef", 0, BlobState::Existing),
            blob("fedcba9876543210", 1024, BlobState::Transferring),
        ]);
        let told =
            ["app: transferring, registry r.example", "app: 0123456789ab (2.00 KiB) there already"].map(str::to_owned);
        assert_eq!(lines.news(&first, begun), told);
        assert_eq!(lines.news(&first, begun + RETELL / 2), [""; 0]);
        assert_eq!(lines.news(&first, begun + RETELL), ["app: 1.00 KiB of 4.00 KiB"]);
        let broken = progress(vec![blob("fedcba9876543210", 1024, BlobState::Retrying("it broke".to_owned()))]);
        assert_eq!(lines.news(&broken, begun + RETELL), ["app: fedcba987654 (2.00 KiB) again, for it broke"]);
        assert_eq!(lines.news(&broken, begun + RETELL), [""; 0]);
        let complete = progress(vec![blob("fedcba9876543210", 2048, BlobState::Complete)]);
        assert_eq!(lines.news(&complete, begun + RETELL), ["app: fedcba987654 (2.00 KiB) done"]);
    }
}
