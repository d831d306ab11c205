//! Prints log lines and notices from a thread of its own, so that a slow terminal or pipe holds back the containers
//! that print (through a bounded queue) and never the engine.

use std::collections::HashMap;
use std::io::{self, Write};
use std::thread::JoinHandle;

use anstyle::{AnsiColor, Style};
use bytes::Bytes;
use indicatif::MultiProgress;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

/// Chunks and notices that may wait to be printed.
const QUEUE: usize = 256;
/// An unfinished line is printed as it is once it is this long, in bytes.
const MAX_LINE: usize = 64 * 1024;
/// Colours of container names, by order of appearance.
const PALETTE: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::BrightCyan];

/// How to print.
#[derive(Debug, Clone)]
pub struct PrintOptions {
    /// Containers' names as they will be shown, in order; `None` prints no prefix.
    pub prefixes: Option<Vec<String>>,
    /// A timestamp before each line.
    pub timestamps: bool,
    /// Standard output is taken by something else: containers' output goes to standard error.
    pub logs_to_stderr: bool,
    /// The container whose output is shown as it is, on a terminal that is its own meanwhile.
    pub as_it_is: Option<String>,
    /// What is drawn below the lines meanwhile.
    pub progress: Option<MultiProgress>,
}

/// How a line of husk's own looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// What everybody should read.
    Plain,
    /// The ordinary course of things.
    Quiet,
    /// What went wrong.
    Warning,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Quiet => Style::new().dimmed(),
            Self::Warning => Style::new().fg_color(Some(AnsiColor::Red.into())),
        }
    }
}

/// Which of a container's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

enum Item {
    Chunk { source: String, stream: OutputStream, time: Timestamp, bytes: Bytes },
    End { source: String },
    Notice(Tone, String),
    Stdout(String),
}

/// The way to the printing thread. Clones share it.
#[derive(Debug, Clone)]
pub struct Printer {
    queue: mpsc::Sender<Item>,
    broken: watch::Receiver<bool>,
}

/// The printing thread, to be waited for at the end.
#[derive(Debug)]
pub struct PrinterThread(JoinHandle<()>);

impl Printer {
    /// Starts printing to this process's standard output and error.
    pub fn start(options: PrintOptions) -> io::Result<(Self, PrinterThread)> {
        let (queue, items) = mpsc::channel(QUEUE);
        let (broken_sender, broken) = watch::channel(false);
        let output = Output::new(options, broken_sender);
        let thread = std::thread::Builder::new().name("printer".to_owned()).spawn(move || output.run(items))?;
        Ok((Self { queue, broken }, PrinterThread(thread)))
    }

    /// Prints what a container wrote, in whole lines where lines are prefixed.
    pub async fn log(&self, source: &str, stream: OutputStream, time: Timestamp, bytes: Bytes) {
        self.send(Item::Chunk { source: source.to_owned(), stream, time, bytes }).await;
    }

    /// A container has ended: its unfinished lines are printed.
    pub async fn end(&self, source: &str) {
        self.send(Item::End { source: source.to_owned() }).await;
    }

    /// Prints a line on standard error.
    pub async fn notice(&self, tone: Tone, line: impl Into<String>) {
        self.send(Item::Notice(tone, line.into())).await;
    }

    /// Prints text on standard output as it is.
    pub async fn stdout(&self, text: impl Into<String>) {
        self.send(Item::Stdout(text.into())).await;
    }

    /// Resolves when nobody reads standard output any more.
    pub async fn broken(&self) {
        let mut broken = self.broken.clone();
        if broken.wait_for(|broken| *broken).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// A printer whose thread is gone prints nothing; that is not the containers' business.
    async fn send(&self, item: Item) {
        let _ = self.queue.send(item).await;
    }
}

impl PrinterThread {
    /// Waits until everything is printed; all [`Printer`]s must be dropped before.
    pub fn finish(self) {
        let _ = self.0.join();
    }
}

struct Output {
    options: PrintOptions,
    width: usize,
    unfinished: HashMap<(String, OutputStream), Vec<u8>>,
    broken: watch::Sender<bool>,
    coloured_stdout: bool,
    coloured_stderr: bool,
}

impl Output {
    fn new(options: PrintOptions, broken: watch::Sender<bool>) -> Self {
        let width = options.prefixes.iter().flatten().map(|name| name.chars().count()).max().unwrap_or(0);
        let coloured_stdout = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let coloured_stderr = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
        Self { options, width, unfinished: HashMap::new(), broken, coloured_stdout, coloured_stderr }
    }

    fn run(mut self, mut items: mpsc::Receiver<Item>) {
        while let Some(item) = items.blocking_recv() {
            match item {
                Item::Chunk { source, stream, time, bytes } => self.chunk(&source, stream, time, &bytes),
                Item::End { source } => {
                    for stream in [OutputStream::Stdout, OutputStream::Stderr] {
                        if let Some(rest) = self.unfinished.remove(&(source.clone(), stream)) {
                            self.line(&source, stream, Timestamp::now(), &rest);
                        }
                    }
                }
                Item::Notice(tone, line) => {
                    let style = if self.coloured_stderr { tone.style() } else { Style::new() };
                    self.write(OutputStream::Stderr, format!("{style}{line}{style:#}\n").as_bytes());
                }
                Item::Stdout(text) => self.write(OutputStream::Stdout, text.as_bytes()),
            }
        }
    }

    fn chunk(&mut self, source: &str, stream: OutputStream, time: Timestamp, bytes: &[u8]) {
        let plain = self.options.prefixes.is_none() && !self.options.timestamps;
        if plain || self.options.as_it_is.as_deref() == Some(source) {
            self.write(self.target(stream), bytes);
            return;
        }
        let key = (source.to_owned(), stream);
        let mut pending = self.unfinished.remove(&key).unwrap_or_default();
        pending.extend_from_slice(bytes);
        let mut rest = pending.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.line(source, stream, time, &rest[..end]);
            rest = &rest[end + 1..];
        }
        if rest.len() > MAX_LINE {
            self.line(source, stream, time, rest);
        } else if !rest.is_empty() {
            self.unfinished.insert(key, rest.to_vec());
        }
    }

    fn line(&mut self, source: &str, stream: OutputStream, time: Timestamp, line: &[u8]) {
        let target = self.target(stream);
        let coloured = if target == OutputStream::Stdout { self.coloured_stdout } else { self.coloured_stderr };
        let mut text = Vec::with_capacity(line.len() + self.width + 40);
        if let Some(prefixes) = &self.options.prefixes {
            let place = prefixes.iter().position(|name| name == source).unwrap_or(0);
            let colour = coloured.then(|| PALETTE[place % PALETTE.len()].into());
            let style = Style::new().fg_color(colour);
            text.extend_from_slice(format!("{style}{source:width$} |{style:#} ", width = self.width).as_bytes());
        }
        if self.options.timestamps {
            text.extend_from_slice(format!("{time:.9} ").as_bytes());
        }
        text.extend_from_slice(line);
        text.push(b'\n');
        self.write(target, &text);
    }

    fn target(&self, stream: OutputStream) -> OutputStream {
        if self.options.logs_to_stderr { OutputStream::Stderr } else { stream }
    }

    fn write(&mut self, stream: OutputStream, bytes: &[u8]) {
        let write = || match stream {
            OutputStream::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes).and_then(|()| stdout.flush())
            }
            OutputStream::Stderr => io::stderr().write_all(bytes),
        };
        let result = match &self.options.progress {
            Some(progress) => progress.suspend(write),
            None => write(),
        };
        if result.is_err() && stream == OutputStream::Stdout {
            self.broken.send_replace(true);
        }
    }
}
