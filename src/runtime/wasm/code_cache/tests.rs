//! What the cache trusts, what it compiles again, and that it compiles once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::runtime::wasm::engine::GuestEngine;

#[derive(Default)]
struct Counter {
    compiled: AtomicUsize,
    cached: AtomicUsize,
}

impl CompileObserver for Counter {
    fn started(&self, program: &str, size: usize) {
        assert!(program == "app" && size > 8);
    }

    fn finished(&self, _program: &str, _elapsed: Duration) {
        self.compiled.fetch_add(1, Ordering::SeqCst);
    }

    fn cached(&self, _program: &str) {
        self.cached.fetch_add(1, Ordering::SeqCst);
    }
}

struct Fixture {
    engine: GuestEngine,
    parent: TempDir,
    counter: Arc<Counter>,
}

impl Fixture {
    fn new() -> Self {
        Self { engine: GuestEngine::new(4).unwrap(), parent: TempDir::new().unwrap(), counter: Arc::default() }
    }

    fn directory(&self) -> PathBuf {
        self.parent.path().join("data/code")
    }

    /// A cache as another run of the program would have it: nothing in memory, the same directory.
    fn cache(&self) -> Arc<CodeCache<Compiled>> {
        Arc::new(CodeCache::new(Some(self.directory()), Some(Arc::clone(&self.counter) as Arc<dyn CompileObserver>)))
    }

    async fn load(&self, cache: &Arc<CodeCache<Compiled>>) {
        let loaded = cache.load(self.engine.engine(), program(), Ok).await.unwrap();
        let Compiled::Module(module) = &*loaded else { panic!("a module should stay a module") };
        assert_eq!(module.exports().next().unwrap().name(), "answer");
    }

    /// Loads in a new run; returns how often a program was compiled and how often found so far.
    async fn run(&self) -> (usize, usize) {
        self.load(&self.cache()).await;
        (self.counter.compiled.load(Ordering::SeqCst), self.counter.cached.load(Ordering::SeqCst))
    }

    /// The only file of compiled code.
    fn file(&self) -> PathBuf {
        let files = fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<_> = files.filter(|path| path.file_name().unwrap() != "secret").collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }
}

fn program() -> Source {
    let bytes = wat::parse_str(r#"(module (func (export "answer") (result i32) (i32.const 42)))"#).unwrap();
    let content = Content::Bytes(Bytes::from(bytes));
    Source { name: "app".to_owned(), encoding: Encoding::Module, content, content_id: None }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_second_run_finds_what_the_first_compiled() {
    let fixture = Fixture::new();
    assert_eq!(fixture.run().await, (1, 0));
    assert_eq!(fixture.run().await, (1, 1));
    assert_eq!((mode(&fixture.directory()), mode(&fixture.file())), (0o700, 0o600));
    assert_eq!(mode(&fixture.directory().join("secret")), 0o600);
}

#[tokio::test]
async fn what_cannot_be_trusted_is_compiled_again_and_replaced() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 8] = [
        ("a flipped bit in the code", |file| {
            let mut content = fs::read(file).unwrap();
            let last = content.len() - 1;
            content[last] ^= 1;
            fs::write(file, content).unwrap();
        }),
        ("a flipped bit in the header", |file| {
            let mut content = fs::read(file).unwrap();
            content[41] ^= 1;
            fs::write(file, content).unwrap();
        }),
        ("half a file", |file| {
            let content = fs::read(file).unwrap();
            fs::write(file, &content[..content.len() / 2]).unwrap();
        }),
        ("an empty file", |file| fs::write(file, "").unwrap()),
        ("a file others can write", |file| fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap()),
        ("a symlink", |file| {
            let elsewhere = file.with_extension("moved");
            fs::rename(file, &elsewhere).unwrap();
            std::os::unix::fs::symlink(&elsewhere, file).unwrap();
        }),
        ("another secret", |file| fs::write(file.with_file_name("secret"), [7; 32]).unwrap()),
        ("a secret others can read", |file| {
            fs::set_permissions(file.with_file_name("secret"), fs::Permissions::from_mode(0o644)).unwrap();
        }),
    ];
    for (name, harm) in harms {
        let fixture = Fixture::new();
        fixture.run().await;
        harm(&fixture.file());
        assert_eq!(fixture.run().await, (2, 0), "{name}");
        assert_eq!(fixture.run().await, (2, 1), "{name}");
    }
}

#[tokio::test]
async fn a_directory_others_can_enter_is_not_used() {
    let fixture = Fixture::new();
    fixture.run().await;
    fs::set_permissions(fixture.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(fixture.run().await, (2, 0));
}

#[tokio::test]
async fn no_directory_means_compiling_in_every_run() {
    let fixture = Fixture::new();
    for _ in 0..2 {
        let cache = Arc::new(CodeCache::new(None, None));
        fixture.load(&cache).await;
    }
    assert!(!fixture.directory().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_program_wanted_by_many_is_compiled_once() {
    let fixture = Fixture::new();
    let cache = fixture.cache();
    let loads = (0..20).map(|_| fixture.load(&cache));
    futures::future::join_all(loads).await;
    assert_eq!(fixture.counter.compiled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_same_program_stays_in_memory() {
    let fixture = Fixture::new();
    let cache = fixture.cache();
    let first = cache.load(fixture.engine.engine(), program(), Ok).await.unwrap();
    let second = cache.load(fixture.engine.engine(), program(), Ok).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn unused_programs_are_forgotten_and_used_ones_are_not() {
    let mut programs = Programs::<u32> { entries: HashMap::new(), uses: 0 };
    let used = Arc::new(7);
    programs.entry(Key([255; 32])).set(Arc::clone(&used)).unwrap();
    for index in 0..100 {
        programs.entry(Key([index; 32])).set(Arc::new(0)).unwrap();
    }
    assert!(programs.entries.len() <= MAX_UNUSED_PROGRAMS + 1, "{}", programs.entries.len());
    assert!(programs.entries.contains_key(&Key([255; 32])) && programs.entries.contains_key(&Key([99; 32])));
}

#[test]
fn processes_that_start_at_the_same_time_agree_on_a_secret() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("code");
    let secrets: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| disk::open_directory(&directory).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(secrets.iter().all(|secret| *secret == secrets[0] && *secret != [0; 32]));
}

#[test]
fn the_files_used_longest_ago_go_first_and_the_secret_stays() {
    let directory = TempDir::new().unwrap();
    for (name, age) in [("secret", 9), ("oldest", 3), ("newest", 1), ("older", 2)] {
        let path = directory.path().join(name);
        fs::write(&path, [0; 100]).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
    disk::trim(directory.path(), 250).unwrap();
    let mut left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["newest", "older", "secret"]);
}
