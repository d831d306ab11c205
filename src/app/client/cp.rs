//! `husk cp`: files into containers and out of them, as a tar archive between a temporary file here and the container's
//! `tar`. What comes out of a container is not trusted: nothing is written outside of the destination, and no links.

use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::AsyncWriteExt;

use super::connection::Connection;
use super::pods;
use crate::cli::cp::{CopySpec, CpArgs};
use crate::cli::print::object::text;

/// Bytes on the way.
const BUFFER: usize = 64 * 1024;
/// Bytes of what a container's `tar` may say of its troubles.
const MAX_TROUBLES: u64 = 16 * 1024;

/// A container that files are copied to or from.
struct Container {
    api: Api<Pod>,
    pod: String,
    name: String,
}

/// Runs the verb.
pub(super) async fn run(connection: &Connection, args: &CpArgs) -> anyhow::Result<u8> {
    match (&args.from, &args.to) {
        (CopySpec::Local(from), CopySpec::Remote { namespace, pod, path }) => {
            let container = find(connection, args, namespace.as_deref(), pod).await?;
            upload(&container, from, path).await?;
        }
        (CopySpec::Remote { namespace, pod, path }, CopySpec::Local(to)) => {
            let container = find(connection, args, namespace.as_deref(), pod).await?;
            download(&container, path, to).await?;
        }
        _ => bail!("one of the two must be a local file specification, and the other POD:PATH"),
    }
    Ok(0)
}

async fn find(connection: &Connection, args: &CpArgs, namespace: Option<&str>, pod: &str) -> anyhow::Result<Container> {
    let mut connection = connection.clone();
    if let Some(namespace) = namespace {
        namespace.clone_into(&mut connection.namespace);
    }
    let pod = pods::find(&connection, pod).await?;
    let name = pods::choose(&pod, args.container.as_deref(), false)?;
    let api = Api::namespaced(connection.client, &connection.namespace);
    Ok(Container { api, pod: text(&pod, &["metadata", "name"]).to_owned(), name })
}

impl Container {
    /// Runs a program with a file as its input, and its output to another; whether it succeeded, and what it complained of.
    async fn run(&self, command: &[&str], input: Option<File>, output: &File) -> anyhow::Result<(bool, String)> {
        let parameters = AttachParams {
            container: Some(self.name.clone()),
            stdin: input.is_some(),
            stdout: true,
            stderr: true,
            tty: false,
            max_stdin_buf_size: Some(BUFFER),
            max_stdout_buf_size: Some(BUFFER),
            max_stderr_buf_size: Some(BUFFER),
        };
        let mut process = self.api.exec(&self.pod, command.iter().copied(), &parameters).await?;
        let status = process.take_status().context("there is no status")?;
        let mut stdout = process.stdout().context("there is no output")?;
        let mut stderr = process.stderr().context("there is no output of errors")?;
        let stdin = process.stdin();
        let feed = async move {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A program that does not read to the end says why itself.
                let _ = tokio::io::copy(&mut tokio::fs::File::from_std(input), &mut stdin).await;
                let _ = stdin.shutdown().await;
            }
        };
        let mut output = tokio::fs::File::from_std(output.try_clone()?);
        let keep = async {
            tokio::io::copy(&mut stdout, &mut output).await?;
            output.flush().await
        };
        let listen = async {
            let mut told = Vec::new();
            let mut limited = tokio::io::AsyncReadExt::take(&mut stderr, MAX_TROUBLES);
            tokio::io::copy(&mut limited, &mut told).await?;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
            io::Result::Ok(String::from_utf8_lossy(&told).trim().to_owned())
        };
        let ((), kept, told) = tokio::join!(feed, keep, listen);
        kept?;
        let status = status.await;
        let told = told?;
        let succeeded = status.as_ref().is_none_or(|status| status.status.as_deref() == Some("Success"));
        let reason = status.and_then(|status| status.message).unwrap_or_default();
        Ok((succeeded, if told.is_empty() { reason } else { told }))
    }
}

/// The folder a path is in, and its name there; `.` if it has none.
fn split(path: &str) -> (String, String) {
    let trimmed = path.trim_end_matches('/');
    let (folder, name) = match trimmed.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None if path.starts_with('/') => ("/", ""),
        None => (".", trimmed),
    };
    match name {
        "" | "." | ".." => (if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() }, ".".to_owned()),
        name => (folder.to_owned(), name.to_owned()),
    }
}

async fn upload(container: &Container, from: &Path, to: &str) -> anyhow::Result<()> {
    ensure!(from.symlink_metadata().is_ok(), "{} doesn't exist in local filesystem", from.display());
    let nothing = tempfile::tempfile()?;
    let is_folder = to.ends_with('/') || container.run(&["test", "-d", to], None, &nothing).await?.0;
    let from = from.canonicalize()?;
    let own_name = from.file_name().map_or_else(|| ".".into(), |name| name.to_string_lossy().into_owned());
    let (folder, name) = if is_folder { (to.to_owned(), own_name) } else { split(to) };
    let archive = tokio::task::spawn_blocking(move || pack(&from, &name)).await??;
    let (succeeded, told) = container.run(&["tar", "-xmf", "-", "-C", &folder], Some(archive), &nothing).await?;
    ensure!(succeeded, "the container's tar failed: {told}");
    Ok(())
}

/// An archive of a file or folder, under a name.
fn pack(from: &Path, name: &str) -> anyhow::Result<File> {
    let mut builder = tar::Builder::new(tempfile::tempfile()?);
    builder.follow_symlinks(false);
    let context = || format!("cannot read {}", from.display());
    if from.is_dir() {
        builder.append_dir_all(name, from).with_context(context)?;
    } else {
        builder.append_path_with_name(from, name).with_context(context)?;
    }
    let mut file = builder.into_inner()?;
    file.rewind()?;
    Ok(file)
}

async fn download(container: &Container, from: &str, to: &Path) -> anyhow::Result<()> {
    let (folder, name) = split(from);
    let mut archive = tempfile::tempfile()?;
    let (succeeded, told) = container.run(&["tar", "-cf", "-", "-C", &folder, &name], None, &archive).await?;
    archive.rewind()?;
    let to = if to.is_dir() && name != "." { to.join(&name) } else { to.to_owned() };
    let unpacked = tokio::task::spawn_blocking(move || unpack(archive, &name, &to)).await?;
    ensure!(succeeded, "the container's tar failed: {told}");
    ensure!(unpacked? > 0, "{from} is not there");
    Ok(())
}

/// Writes the entries of an archive whose names begin with `name` under `to`, and gives their number.
fn unpack(archive: File, name: &str, to: &Path) -> anyhow::Result<usize> {
    let mut archive = tar::Archive::new(io::BufReader::new(archive));
    let mut count = 0;
    for entry in archive.entries()? {
        let mut entry = entry.context("the container's tar wrote no archive")?;
        let path = entry.path()?.into_owned();
        let Some(target) = place(&path, name, to) else {
            writeln!(io::stderr(), "warning: {} is outside of what was asked for: skipped", path.display())?;
            continue;
        };
        count += 1;
        let context = || format!("cannot write {}", target.display());
        match entry.header().entry_type() {
            tar::EntryType::Directory => fs::create_dir_all(&target).with_context(context)?,
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                if let Some(parent) = target.parent() {
                    fs::create_dir_all(parent).with_context(context)?;
                }
                let mut file = File::create(&target).with_context(context)?;
                io::copy(&mut entry, &mut file).with_context(context)?;
                #[cfg(unix)]
                if let Ok(mode) = entry.header().mode() {
                    use std::os::unix::fs::PermissionsExt;
                    // Of what a container says, only who may run and write it is taken over.
                    fs::set_permissions(&target, fs::Permissions::from_mode(mode & 0o755 | 0o600))
                        .with_context(context)?;
                }
            }
            _ => writeln!(io::stderr(), "warning: {} is a link or no file: skipped", path.display())?,
        }
    }
    Ok(count)
}

/// Where an entry is written: nowhere if its name leads out.
fn place(entry: &Path, name: &str, to: &Path) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for part in entry.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    let below = match name {
        "." => &parts[..],
        name => match parts.split_first() {
            Some((first, below)) if *first == name => below,
            _ => return None,
        },
    };
    // An empty path would add a slash, which a file cannot have.
    Some(if below.is_empty() { to.to_owned() } else { to.join(below.iter().collect::<PathBuf>()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_for_tar() {
        for (path, folder, name) in [
            ("/etc/hosts", "/etc", "hosts"),
            ("/etc/", "/", "etc"),
            ("hosts", ".", "hosts"),
            ("a/b", "a", "b"),
            ("/", "/", "."),
            (".", ".", "."),
            ("a/..", "a/..", "."),
        ] {
            assert_eq!(split(path), (folder.to_owned(), name.to_owned()), "{path}");
        }
    }

    #[test]
    fn nothing_is_written_outside_of_the_destination() {
        let at = |entry: &str| place(Path::new(entry), "log", Path::new("to"));
        assert_eq!(at("log/a/b"), Some("to/a/b".into()));
        assert_eq!(at("log"), Some("to".into()));
        for wrong in ["../log/a", "log/../../a", "/log/a", "other/a"] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
        assert_eq!(place(Path::new("./a"), ".", Path::new("to")), Some("to/a".into()));
    }

    #[test]
    fn what_was_packed_is_unpacked_and_links_are_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("from/sub")).unwrap();
        fs::write(dir.path().join("from/sub/file"), "hello").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("from/link")).unwrap();
        let archive = pack(&dir.path().join("from"), "x").unwrap();
        let to = dir.path().join("to");
        unpack(archive, "x", &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("sub/file")).unwrap(), "hello");
        assert!(to.join("link").symlink_metadata().is_err());
    }
}
