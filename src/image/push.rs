//! Pushing images: the blobs that the registry does not have, several at a time, then the manifests, then the name.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use oci_spec::image::Descriptor;
use tokio::sync::watch;

use super::download::blocking;
use super::layout::{MAX_DOCUMENT, Sha256Hex, damaged};
use super::lease::Lease;
use super::load;
use super::names::Named;
use super::platform::is_index;
use super::progress::{BlobProgress, BlobState, Phase, Progress, Reporter};
use super::reference::Reference;
use super::registry::{Client, Endpoint, Keyring, RegistryError};
use super::{ImageError, ImageStore};

/// Blobs that are sent at the same time.
const PARALLEL: usize = 4;

/// Why an image could not be pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It is not there, or cannot be read.
    #[error("cannot push image {name:?}: {error}")]
    Image {
        /// The image.
        name: String,
        /// Why.
        error: ImageError,
    },
    /// The registry does not take it.
    #[error("cannot push to {name:?}: {error}")]
    Registry {
        /// Where it was to go.
        name: String,
        /// Why.
        error: RegistryError,
    },
    /// The user's configuration blocks the registry.
    #[error("cannot push to {name:?}: registry is blocked in the registries file")]
    Blocked {
        /// Where it was to go.
        name: String,
    },
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The complete reference.
    pub reference: String,
    /// The digest it has there.
    pub digest: String,
    /// The bytes that had to be sent.
    pub sent: u64,
}

/// A push that can be waited for.
pub struct Push {
    store: Arc<ImageStore>,
    name: String,
    target: String,
    keyring: Arc<Keyring>,
    reporter: Reporter,
    progress: watch::Receiver<Progress>,
}

/// Whose fault it is that something was not sent.
enum Failure {
    Registry(RegistryError),
    Store(ImageError),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::Store(error)
    }
}

/// What is read of the store before anything is sent.
struct Prepared {
    /// What the image is called here.
    own: Reference,
    reference: Reference,
    entry: Descriptor,
    /// Configurations and layers.
    blobs: Vec<Descriptor>,
    /// Manifests, and the index last.
    manifests: Vec<Descriptor>,
    #[expect(dead_code, reason = "keeps what is read from being deleted")]
    lease: Lease,
}

impl ImageStore {
    /// Prepares to push the image `name` as `target`.
    pub fn push(self: &Arc<Self>, name: &str, target: &str, mut keyring: Keyring) -> Push {
        let (reporter, progress) = Reporter::new();
        let (name, target) = (name.to_owned(), target.to_owned());
        keyring.extend(self.keyring.clone());
        let keyring = Arc::new(keyring);
        Push { store: Arc::clone(self), name, target, keyring, reporter, progress }
    }

    fn prepare_push(&self, name: &str, target: &str) -> Result<Prepared, ImageError> {
        let (Named { reference: own, entry, id }, lease) = self.stored_as(name)?;
        if id.is_some() && name == target {
            return Err(ImageError::Invalid("an ID names no registry: say where to push the image".to_owned()));
        }
        let reference = Reference::parse_for_storing(&self.registries.expand(target))?;
        let entry = self.complete(&entry).map_err(|error| error.about(&own))?;
        let mut manifests = load::manifests(&self.layout, &entry)?;
        if is_index(entry.media_type()) {
            manifests.push(entry.clone());
        }
        let mut blobs = self.blobs_of(&entry)?;
        blobs.retain(|blob| !manifests.iter().any(|manifest| manifest.digest() == blob.digest()));
        Ok(Prepared { own, reference, entry, blobs, manifests, lease })
    }
}

impl Push {
    /// How it is getting on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    /// Sends what is missing.
    pub async fn run(self) -> Result<Pushed, PushError> {
        let (store, name, target) = (Arc::clone(&self.store), self.name.clone(), self.target.clone());
        let prepared = blocking(move || store.prepare_push(&name, &target)).await;
        let prepared = prepared.map_err(|error| PushError::Image { name: self.name.clone(), error })?;
        let reference = prepared.reference.to_string();
        // Mirrors are for pulling: the last place is the registry itself.
        let endpoints = self.store.registries.endpoints(&prepared.reference);
        let endpoint = endpoints.and_then(|mut endpoints| endpoints.pop());
        let endpoint = endpoint.ok_or_else(|| PushError::Blocked { name: reference.clone() })?;
        let sent = self.send(endpoint, &prepared).await.map_err(|failure| match failure {
            Failure::Registry(error) => PushError::Registry { name: reference.clone(), error },
            Failure::Store(error) => PushError::Image { name: self.name.clone(), error: error.about(&prepared.own) },
        })?;
        self.reporter.phase(Phase::Done);
        Ok(Pushed { reference, digest: prepared.entry.digest().to_string(), sent })
    }

    async fn send(&self, endpoint: Endpoint, prepared: &Prepared) -> Result<u64, Failure> {
        self.reporter.phase(Phase::Transferring { registry: endpoint.registry.clone() });
        let waiting = |blob: &Descriptor| BlobProgress {
            digest: blob.digest().to_string(),
            size: blob.size(),
            done: 0,
            state: BlobState::Waiting,
        };
        self.reporter.blobs(prepared.blobs.iter().map(waiting).collect());
        let client = Client::new(endpoint, Arc::clone(&self.keyring)).await?;
        let blobs = futures::stream::iter(prepared.blobs.iter().enumerate());
        let sent = blobs.map(|(number, blob)| self.send_blob(&client, number, blob)).buffer_unordered(PARALLEL);
        let sent = sent.try_fold(0, |sum, sent| async move { Ok::<_, Failure>(sum + sent) }).await?;
        self.reporter.phase(Phase::Finishing);
        for manifest in &prepared.manifests {
            let contents = self.store.layout.read_blob(manifest, MAX_DOCUMENT)?;
            let is_entry = manifest.digest() == prepared.entry.digest();
            let tag = prepared.reference.tag.clone().filter(|_| is_entry);
            let name = tag.unwrap_or_else(|| manifest.digest().to_string());
            client.push_manifest(&name, manifest.media_type().as_ref(), contents.into()).await?;
        }
        Ok(sent)
    }

    async fn send_blob(&self, client: &Client, number: usize, blob: &Descriptor) -> Result<u64, Failure> {
        let digest = Sha256Hex::of_descriptor(blob)?;
        let done =
            |state| self.reporter.blob(number, |progress| (progress.state, progress.done) = (state, blob.size()));
        if client.has_blob(&digest).await? {
            done(BlobState::Existing);
            return Ok(0);
        }
        self.reporter.blob(number, |progress| progress.state = BlobState::Transferring);
        let path = self.store.layout.checked_blob_path(blob)?;
        // What is damaged here is no fault of the registry, which would refuse it.
        let (store, file, wanted) = (Arc::clone(&self.store), path.clone(), digest.clone());
        if blocking(move || store.layout.drop_if_damaged(&file, &wanted)).await? {
            return Err(Failure::Store(damaged(&digest, "its content does not match its digest")));
        }
        client.push_blob(&digest, &path, blob.size()).await?;
        done(BlobState::Complete);
        Ok(blob.size())
    }
}
