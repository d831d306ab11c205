//! Images of Linux programs, made without a registry: of Debian's `busybox-static`, of a few servers with the libraries they
//! need, and of the test guests that are plain programs over sockets, compiled for this machine.
//!
//! What an image is built from is a directory, made once and used by all tests.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::support::{Husk, guest_file};

/// Where Debian's `busybox-static` has its program.
pub(super) const BUSYBOX: &str = "/bin/busybox";
/// Guests that are made of the standard library alone, in one file each, so that they can be programs of Linux, too.
const GUESTS: [&str; 5] = ["sockets", "tcp-client", "tcp-server", "udp-client", "udp-server"];

/// An image that tests use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    /// `busybox`, with the tags of the manifests: programs of Linux.
    Busybox,
    /// `nginx`, likewise.
    Nginx,
    /// `grpc-health:1.0`: etcd, which answers health checks at port 2379.
    GrpcHealth,
    /// `redis`.
    Redis,
    /// `native/guests`: busybox and the guests, as programs of Linux.
    NativeGuests,
    /// `wasm/guests`: the same in WebAssembly.
    WasmGuests,
}

/// What an image is made of.
struct Recipe {
    names: &'static [&'static str],
    dockerfile: &'static str,
    /// Programs of this machine, each with its package.
    programs: &'static [(&'static str, &'static str)],
    /// Other files of this machine.
    files: &'static [&'static str],
    /// Files with this text.
    texts: &'static [(&'static str, &'static str)],
    directories: &'static [&'static str],
}

/// Busybox's own fails if a name is found in one domain of the search list and not in the others.
const NSLOOKUP: &str = "#!/bin/sh\nexec getent hosts \"$1\"\n";

const NGINX_CONFIGURATION: &str = "\
user root;
worker_processes 1;
error_log /dev/stderr notice;
events { worker_connections 512; }
http {
  include mime.types;
  access_log /dev/stdout;
  server {
    listen 80;
    root /usr/share/nginx/html;
  }
}
";

impl Image {
    fn recipe(self) -> Recipe {
        match self {
            Self::Busybox => Recipe {
                names: &["busybox", "busybox:1.32.0"],
                dockerfile: "FROM scratch\nCOPY root /\nCMD [\"sh\"]\n",
                // What busybox has no part for as Debian makes it. Its `wget` leaves TLS to `openssl` where there is one, and its
                // shell takes no other program than its own for any of their names.
                programs: &[
                    (BUSYBOX, "busybox-static"),
                    ("/bin/dash", "dash"),
                    ("/usr/bin/getent", "libc-bin"),
                    ("/usr/bin/ipcs", "util-linux"),
                    ("/usr/bin/openssl", "openssl"),
                ],
                files: &[],
                texts: &[
                    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var:/bin/sh\n"),
                    ("/etc/group", "root:x:0:\nwww:x:33:\n"),
                    ("/bin/nslookup", NSLOOKUP),
                ],
                directories: &["/root", "/tmp", "/mnt", "/run", "/usr/bin", "/var"],
            },
            Self::Nginx => Recipe {
                names: &["nginx", "nginx:1.15.12", "nginx:1.15.12-alpine", "nginx:1.17.10-alpine"],
                dockerfile: "FROM busybox\nCOPY root /\nSTOPSIGNAL SIGQUIT\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n",
                programs: &[("/usr/sbin/nginx", "nginx-light"), ("/usr/bin/pgrep", "procps")],
                files: &["/usr/share/nginx/html/index.html", "/etc/nginx/mime.types"],
                texts: &[("/etc/nginx/nginx.conf", NGINX_CONFIGURATION)],
                directories: &["/var/log/nginx", "/var/lib/nginx"],
            },
            Self::GrpcHealth => Recipe {
                names: &["grpc-health:1.0"],
                dockerfile: "FROM busybox\nCOPY root /\nCMD [\"etcd\", \"--data-dir=/tmp/etcd\", \
                             \"--listen-client-urls=http://0.0.0.0:2379\", \"--advertise-client-urls=http://127.0.0.1:2379\"]\n",
                programs: &[("/usr/bin/etcd", "etcd-server")],
                files: &[],
                texts: &[],
                directories: &[],
            },
            Self::Redis => Recipe {
                names: &["redis"],
                dockerfile: "FROM busybox\nCOPY root /\nCMD [\"redis-server\", \"--protected-mode\", \"no\", \"--save\", \"\"]\n",
                programs: &[("/usr/bin/redis-server", "redis-server"), ("/usr/bin/redis-cli", "redis-tools")],
                files: &[],
                texts: &[],
                directories: &[],
            },
            Self::NativeGuests => Recipe {
                names: &["native/guests"],
                dockerfile: "FROM busybox\nCOPY root /\n",
                programs: &[],
                files: &[],
                texts: &[],
                directories: &[],
            },
            Self::WasmGuests => Recipe {
                names: &["wasm/guests"],
                dockerfile: "FROM builtin/busybox\nCOPY root /\n",
                programs: &[],
                files: &[],
                texts: &[],
                directories: &[],
            },
        }
    }

    /// What it is based on.
    fn base(self) -> Option<Self> {
        match self {
            Self::Busybox | Self::WasmGuests => None,
            Self::Nginx | Self::GrpcHealth | Self::Redis | Self::NativeGuests => Some(Self::Busybox),
        }
    }

    /// Builds it for a user. `Err` says what this machine lacks.
    pub(super) fn build(self, husk: &Husk) -> Result<(), String> {
        if let Some(base) = self.base() {
            base.build(husk)?;
        }
        let context = self.context()?;
        let mut words = vec!["image".into(), "build".into()];
        for name in self.recipe().names {
            words.extend(["--tag".into(), name.into()]);
        }
        words.push(context.into_os_string());
        husk.husk(words).exits(0);
        Ok(())
    }

    /// The directory it is built from.
    fn context(self) -> Result<PathBuf, String> {
        static MAKING: Mutex<()> = Mutex::new(());
        let recipe = self.recipe();
        for (program, package) in recipe.programs {
            fs::metadata(program).map_err(|_| format!("there is no {program} (Debian's package {package})"))?;
        }
        let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let images = Path::new(env!("CARGO_TARGET_TMPDIR")).join("native-images");
        let context = images.join(format!("{self:?}-{:016x}", self.key()));
        if !context.exists() {
            fs::create_dir_all(&images).unwrap();
            let making = tempfile::Builder::new().prefix("making").tempdir_in(&images).unwrap();
            fs::set_permissions(making.path(), fs::Permissions::from_mode(0o755)).unwrap();
            self.fill(&recipe, making.path())?;
            // Another process may have been faster.
            if fs::rename(making.path(), &context).is_ok() {
                let _renamed = making.keep();
            }
        }
        Ok(context)
    }

    /// What tells whether a directory is still what would be made now.
    fn key(self) -> u64 {
        let recipe = self.recipe();
        let mut hasher = DefaultHasher::new();
        (recipe.dockerfile, recipe.texts, recipe.directories, recipe.files).hash(&mut hasher);
        let guests = GUESTS.iter().flat_map(|guest| [source_of(guest), guest_file("p2", guest)]);
        for file in recipe.programs.iter().map(|(program, _)| PathBuf::from(program)).chain(guests) {
            let metadata = fs::metadata(&file).unwrap();
            (file, metadata.len(), metadata.modified().unwrap()).hash(&mut hasher);
        }
        hasher.finish()
    }

    fn fill(self, recipe: &Recipe, context: &Path) -> Result<(), String> {
        let root = context.join("root");
        fs::create_dir(&root).unwrap();
        for directory in recipe.directories {
            fs::create_dir_all(within(&root, directory)).unwrap();
        }
        for (program, _) in recipe.programs {
            put_program(&root, Path::new(program), program);
        }
        for file in recipe.files {
            put(&root, Path::new(file), file);
        }
        for (path, text) in recipe.texts {
            let path = within(&root, path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        match self {
            Self::Busybox => {
                fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
                put_applets(&root);
            }
            Self::NativeGuests => {
                for guest in GUESTS {
                    let program = context.join(guest);
                    compile(guest, &program)?;
                    put_program(&root, &program, &format!("/usr/bin/{guest}"));
                }
            }
            Self::WasmGuests => {
                for guest in GUESTS {
                    put(&root, &guest_file("p2", guest), &format!("/usr/bin/{guest}"));
                    let mode = fs::Permissions::from_mode(0o755);
                    fs::set_permissions(within(&root, &format!("/usr/bin/{guest}")), mode).unwrap();
                }
            }
            Self::Nginx | Self::GrpcHealth | Self::Redis => {}
        }
        fs::write(context.join("Dockerfile"), recipe.dockerfile).unwrap();
        Ok(())
    }
}

/// An absolute path, in another root.
fn within(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn put(root: &Path, file: &Path, path: &str) {
    let to = within(root, path);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(file, to).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// A program, and the libraries that it needs.
fn put_program(root: &Path, program: &Path, path: &str) {
    put(root, program, path);
    let libraries = Command::new("ldd").arg(program).output().unwrap();
    // A program that needs none is no dynamic one, which is a failure to ldd.
    for word in String::from_utf8(libraries.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
        if word != program.to_str().unwrap() {
            put(root, Path::new(word), word);
        }
    }
}

/// The names by which busybox's programs are called.
fn put_applets(root: &Path) {
    let applets = Command::new(BUSYBOX).arg("--list").output().unwrap();
    for applet in String::from_utf8(applets.stdout).unwrap().lines() {
        let name = root.join("bin").join(applet);
        if !name.exists() {
            symlink(if applet == "sh" { "dash" } else { "busybox" }, name).unwrap();
        }
    }
}

fn source_of(guest: &str) -> PathBuf {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("wasm-apps/tests/p2/src/bin");
    guests.join(format!("{guest}.rs"))
}

/// Compiles a guest for this machine.
fn compile(guest: &str, program: &Path) -> Result<(), String> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(compiler);
    command.args(["--edition", "2024", "-C", "opt-level=1", "-C", "strip=symbols", "-o"]);
    let output = command.arg(program).arg(source_of(guest)).output();
    let output = output.map_err(|error| format!("there is no Rust compiler: {error}"))?;
    assert!(output.status.success(), "{guest}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
