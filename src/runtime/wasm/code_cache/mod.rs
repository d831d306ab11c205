//! Compiled programs: in memory while they are used, on disk between runs, compiled when neither has them.
//!
//! ```text
//!  load(bytes) ─▶ in memory? ─▶ on disk, authentic? ─▶ compile (bounded, once per program) ─▶ write to disk
//! ```
//! The files themselves, and whether they can be trusted, are `disk`'s business. What to do with a loaded program is
//! `program`'s.

mod disk;

use std::collections::HashMap;
use std::hash::Hasher;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use self::disk::DiskCache;
use crate::vfs::{Errno, File};

/// Programs that are compiled at the same time; each compilation uses every processor and much memory already.
const MAX_COMPILATIONS: usize = 2;

/// Programs kept in memory though no container uses them.
const MAX_UNUSED_PROGRAMS: usize = 16;

/// Told of compilations, so that a user waiting for one can be shown what is going on. Calls must not block.
pub trait CompileObserver: Send + Sync {
    /// Compiling `program` (the name it was looked up by) has begun; it has `size` bytes.
    fn started(&self, program: &str, size: usize);
    /// It took `elapsed`; also called when it failed.
    fn finished(&self, program: &str, elapsed: Duration);
    /// The program was in the cache on disk.
    fn cached(&self, program: &str);
}

/// The two encodings of WebAssembly programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// A core module.
    Module,
    /// A component.
    Component,
}

/// Machine code, ready to be linked.
#[derive(Clone)]
pub(super) enum Compiled {
    /// Of a core module.
    Module(Module),
    /// Of a component.
    Component(Component),
}

/// A program's bytes and what is known of them.
#[derive(Clone)]
pub(super) struct Source {
    /// The name it was looked up by, for people.
    pub(super) name: String,
    /// How it is encoded.
    pub(super) encoding: Encoding,
    /// The WebAssembly, read only when it must be compiled or has no `content_id`.
    pub(super) content: Content,
    /// A name that stands for the content, where there is one.
    pub(super) content_id: Option<String>,
}

/// Where a program's bytes are.
#[derive(Clone)]
pub(super) enum Content {
    /// In a file of a container.
    File(File),
    /// In memory.
    #[cfg(test)]
    Bytes(bytes::Bytes),
}

impl Content {
    fn bytes(&self) -> Result<bytes::Bytes, Errno> {
        match self {
            Self::File(file) => file.contents(),
            #[cfg(test)]
            Self::Bytes(bytes) => Ok(bytes.clone()),
        }
    }
}

/// Identifies a compiled program: its content, its encoding and everything of the engine that its code depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

/// Loads programs of type `P`, which the caller makes of compiled code.
pub(super) struct CodeCache<P> {
    disk: Option<DiskCache>,
    compilations: Semaphore,
    observer: Option<Arc<dyn CompileObserver>>,
    programs: Mutex<Programs<P>>,
}

struct Programs<P> {
    entries: HashMap<Key, Entry<P>>,
    uses: u64,
}

struct Entry<P> {
    program: Arc<OnceCell<Arc<P>>>,
    last_use: u64,
}

impl<P: Send + Sync + 'static> CodeCache<P> {
    /// A cache with its files in `directory` (none: in memory only).
    pub(super) fn new(directory: Option<PathBuf>, observer: Option<Arc<dyn CompileObserver>>) -> Self {
        Self {
            disk: directory.map(DiskCache::new),
            compilations: Semaphore::new(MAX_COMPILATIONS),
            observer,
            programs: Mutex::new(Programs { entries: HashMap::new(), uses: 0 }),
        }
    }

    /// Gives the program of `source`, loaded or compiled at most once at a time, and made by `make`.
    pub(super) async fn load(
        self: &Arc<Self>,
        engine: &Engine,
        source: Source,
        make: impl FnOnce(Compiled) -> wasmtime::Result<P> + Send + 'static,
    ) -> wasmtime::Result<Arc<P>> {
        let (key, source) = match &source.content_id {
            Some(id) => (Key::of(engine, source.encoding, &[b"id/", id.as_bytes()]), source),
            None => {
                let engine = engine.clone();
                run_blocking(move || {
                    let hash = blake3::hash(&source.content.bytes()?);
                    wasmtime::error::Ok((Key::of(&engine, source.encoding, &[b"content/", hash.as_bytes()]), source))
                })
                .await??
            }
        };
        let program = self.lock().entry(key);
        let loaded = program.get_or_try_init(|| async {
            let compiled = self.compiled(engine, key, source).await?;
            make(compiled).map(Arc::new)
        });
        loaded.await.cloned()
    }

    /// Whether the program of `source` can be had without compiling it. Only known of what has a `content_id`.
    pub(super) fn is_ready(&self, engine: &Engine, source: &Source) -> bool {
        let Some(id) = &source.content_id else { return false };
        let key = Key::of(engine, source.encoding, &[b"id/", id.as_bytes()]);
        let in_memory = self.lock().entries.get(&key).is_some_and(|entry| entry.program.initialized());
        in_memory || self.disk.as_ref().is_some_and(|disk| disk.has(&key))
    }

    async fn compiled(self: &Arc<Self>, engine: &Engine, key: Key, source: Source) -> wasmtime::Result<Compiled> {
        let (this, engine) = (Arc::clone(self), engine.clone());
        let found = run_blocking(move || {
            let found = this.disk.as_ref().and_then(|disk| disk.load(&engine, &key, source.encoding));
            (this, engine, source, found)
        });
        let (this, engine, source, found) = found.await?;
        if let Some(compiled) = found {
            if let Some(observer) = &this.observer {
                observer.cached(&source.name);
            }
            return Ok(compiled);
        }
        let _permit = this.compilations.acquire().await?;
        let compiling = Arc::clone(&this);
        run_blocking(move || compiling.compile(&engine, &key, &source)).await?
    }

    fn compile(&self, engine: &Engine, key: &Key, source: &Source) -> wasmtime::Result<Compiled> {
        let bytes = source.content.bytes()?;
        if let Some(observer) = &self.observer {
            observer.started(&source.name, bytes.len());
        }
        let begun = Instant::now();
        let compiled = match source.encoding {
            Encoding::Module => Module::from_binary(engine, &bytes).map(Compiled::Module),
            Encoding::Component => Component::from_binary(engine, &bytes).map(Compiled::Component),
        };
        if let Some(observer) = &self.observer {
            observer.finished(&source.name, begun.elapsed());
        }
        let compiled = compiled?;
        if let Some(disk) = &self.disk {
            disk.store(key, &compiled);
        }
        Ok(compiled)
    }

    fn lock(&self) -> MutexGuard<'_, Programs<P>> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Programs<P> {
    fn entry(&mut self, key: Key) -> Arc<OnceCell<Arc<P>>> {
        self.uses += 1;
        let last_use = self.uses;
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.last_use = last_use;
            return Arc::clone(&entry.program);
        }
        self.make_room();
        let program = Arc::new(OnceCell::new());
        self.entries.insert(key, Entry { program: Arc::clone(&program), last_use });
        program
    }

    /// Forgets the programs that have been unused for longest, until few enough are left.
    fn make_room(&mut self) {
        let mut unused: Vec<(u64, Key)> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.is_unused())
            .map(|(key, entry)| (entry.last_use, *key))
            .collect();
        unused.sort_unstable_by_key(|(last_use, _)| *last_use);
        let surplus = unused.len().saturating_sub(MAX_UNUSED_PROGRAMS - 1);
        for (_, key) in unused.into_iter().take(surplus) {
            self.entries.remove(&key);
        }
    }
}

impl<P> Entry<P> {
    fn is_unused(&self) -> bool {
        // One reference to the cell means that nobody is loading it, one to the program that nobody runs it.
        Arc::strong_count(&self.program) == 1
            && self.program.get().is_none_or(|program| Arc::strong_count(program) == 1)
    }
}

impl Key {
    fn of(engine: &Engine, encoding: Encoding, content: &[&[u8]]) -> Self {
        let mut hasher = KeyHasher(blake3::Hasher::new());
        std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hasher);
        let KeyHasher(mut hash) = hasher;
        hash.update(match encoding {
            Encoding::Module => b"/module/",
            Encoding::Component => b"/component/",
        });
        for part in content {
            hash.update(part);
        }
        Self(*hash.finalize().as_bytes())
    }
}

/// Feeds what the engine calls its compatibility to a cryptographic hash; the 64-bit result is not used.
struct KeyHasher(blake3::Hasher);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Runs `work` on a thread where it may take long.
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> wasmtime::Result<T> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

#[cfg(test)]
mod tests;
