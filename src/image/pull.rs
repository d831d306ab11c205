//! Pulling images: what a name stands for at the first registry that knows, then the blobs that are missing, several at
//! a time, then the name. Pulls of the same image by the same credentials are one pull, whose waiters share progress and
//! outcome; it ends when nobody waits any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::TryStreamExt;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::download::{Download, PullFailure, blocking};
use super::layout::{MAX_DOCUMENT, Sha256Hex};
use super::lease::Lease;
use super::load::{self, MAX_LAYERS};
use super::names::is_full_id;
use super::platform::{PlatformChoice, is_index};
use super::progress::{BlobProgress, BlobState, Phase, Progress, Reporter};
use super::reference::Reference;
use super::registry::{Client, Endpoint, FetchedManifest, Keyring, PullError, RegistryError};
use super::{ImageError, ImageStore, Source, signature};

/// Blobs that are loaded at the same time.
const PARALLEL: usize = 4;
/// Largest image, all layers together, as they come.
const MAX_IMAGE: u64 = 64 * 1024 * 1024 * 1024;
/// Most registries tried for one image.
const MAX_ENDPOINTS: usize = 16;

/// An image that is wanted.
#[derive(Debug, Clone)]
pub struct PullRequest {
    /// Its name.
    pub image: String,
    /// Which of its platforms.
    pub platform: PlatformChoice,
    /// Who is asking.
    pub keyring: Arc<Keyring>,
    /// Whether to read again what is stored already: what is damaged of it is loaded anew.
    pub verify: bool,
}

/// What was pulled. It stays for as long as any copy of this lives.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The complete reference.
    pub reference: String,
    /// The digest of the manifest or index that the name stands for.
    pub digest: String,
    /// The bytes of all its blobs, as they are stored.
    pub size: u64,
    /// The bytes that had to be loaded.
    pub loaded: u64,
    #[expect(dead_code, reason = "what is held is the lease")]
    lease: Arc<Lease>,
}

type Outcome = Option<Result<Pulled, PullError>>;

/// Pulls that go on.
#[derive(Debug, Default)]
pub(super) struct Pulls(Mutex<HashMap<Key, Weak<Flight>>>);

type Key = (String, PlatformChoice, Arc<Keyring>, bool);

/// A pull that goes on for as long as somebody holds this.
#[derive(Debug)]
struct Flight {
    progress: watch::Receiver<Progress>,
    outcome: watch::Receiver<Outcome>,
    task: AbortHandle,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A pull to wait for. Dropping it gives the pull up, unless others wait for it.
#[derive(Debug)]
pub struct Pull {
    image: String,
    flight: Arc<Flight>,
}

impl Pull {
    /// How it is getting on.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.flight.progress.clone()
    }

    /// Waits for its end.
    pub async fn wait(self) -> Result<Pulled, PullError> {
        let mut outcome = self.flight.outcome.clone();
        match outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(outcome)) => outcome,
            Ok(None) | Err(_) => Err(PullError::Abandoned { image: self.image }),
        }
    }
}

impl ImageStore {
    /// Begins to pull an image, whether or not it is stored already, or joins a pull of it that goes on. Must be called
    /// inside a tokio runtime.
    pub fn pull(self: &Arc<Self>, mut request: PullRequest) -> Result<Pull, PullError> {
        if self.keyring != Keyring::default() {
            Arc::make_mut(&mut request.keyring).extend(self.keyring.clone());
        }
        if is_full_id(&request.image) {
            let detail = "registries know no image IDs, and no stored image has this one".to_owned();
            return Err(PullError::InvalidName { name: request.image, detail });
        }
        let reference = self.parse(&request.image).map_err(|error| invalid_name(&request.image, error))?;
        let image = reference.to_string();
        if reference.is_built_in() {
            let detail = "names under builtin/ are those of the images in the binary, which are not pulled".to_owned();
            return Err(PullError::InvalidName { name: request.image, detail });
        }
        let endpoints =
            self.registries.endpoints(&reference).ok_or_else(|| PullError::Blocked { image: image.clone() })?;
        let key = (image.clone(), request.platform, Arc::clone(&request.keyring), request.verify);
        let mut pulls = self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulls.retain(|_, flight| flight.strong_count() > 0);
        let going_on = pulls.get(&key).and_then(Weak::upgrade).filter(|flight| flight.outcome.borrow().is_none());
        if let Some(flight) = going_on {
            return Ok(Pull { image, flight });
        }
        let (reporter, progress) = Reporter::new();
        let (sender, outcome) = watch::channel(None);
        let puller = Puller { store: Arc::clone(self), reference, request, reporter };
        let task = tokio::spawn(async move {
            let result = puller.run(endpoints).await;
            puller.reporter.phase(Phase::Done);
            sender.send_replace(Some(result));
        });
        let flight = Arc::new(Flight { progress, outcome, task: task.abort_handle() });
        pulls.insert(key, Arc::downgrade(&flight));
        Ok(Pull { image, flight })
    }
}

impl ImageStore {
    /// Reads what is stored of an image, and drops what is damaged.
    fn drop_damaged(&self, manifest: &ImageManifest, blobs: &[Sha256Hex]) -> Result<(), ImageError> {
        for digest in blobs {
            self.layout.drop_if_damaged(&self.layout.blob_path(digest), digest)?;
        }
        for copy in load::diff_ids(&self.layout, manifest) {
            self.layout.drop_if_damaged(&self.layout.uncompressed_path(&copy), &copy)?;
        }
        Ok(())
    }
}

fn invalid_name(name: &str, error: ImageError) -> PullError {
    let name = name.to_owned();
    match error {
        ImageError::InvalidName { detail, .. } => PullError::InvalidName { name, detail },
        other => PullError::Image { image: name, error: Arc::new(other) },
    }
}

struct Puller {
    store: Arc<ImageStore>,
    reference: Reference,
    request: PullRequest,
    reporter: Reporter,
}

/// What a name stands for, and who said so.
struct Resolved {
    /// The manifest or index.
    entry: Descriptor,
    manifest: ImageManifest,
    /// The fingerprint of the key that has signed it, if one must have.
    signed_by: Option<String>,
    lease: Arc<Lease>,
}

impl Puller {
    async fn run(&self, endpoints: Vec<Endpoint>) -> Result<Pulled, PullError> {
        let lease = Arc::new(self.local(|store| store.layout.new_lease()).await?);
        let mut tried = Vec::new();
        for endpoint in endpoints.into_iter().take(MAX_ENDPOINTS) {
            let registry = endpoint.registry.clone();
            self.reporter.phase(Phase::Resolving { registry: registry.clone() });
            let attempt = async {
                let client = Client::new(endpoint, Arc::clone(&self.request.keyring)).await?;
                let resolved = self.resolve(&client, &lease).await?;
                self.reporter.phase(Phase::Transferring { registry });
                let loaded = self.load(&client, &resolved).await?;
                Ok::<_, PullFailure>((resolved, loaded))
            };
            match attempt.await {
                Ok((resolved, loaded)) => return self.finish(resolved, loaded).await,
                Err(PullFailure::Registry(error)) => tried.push(error),
                Err(PullFailure::Store(error)) => return Err(self.failed(error)),
                Err(PullFailure::Signature(detail)) => {
                    return Err(PullError::Signature { image: self.reference.to_string(), detail });
                }
            }
        }
        Err(PullError::Registry { image: self.reference.to_string(), tried })
    }

    fn failed(&self, error: ImageError) -> PullError {
        PullError::Image { image: self.reference.to_string(), error: Arc::new(error) }
    }

    async fn local<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<ImageStore>) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, PullError> {
        self.on_store(work).await.map_err(|error| self.failed(error))
    }

    async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<ImageStore>) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, ImageError> {
        let store = Arc::clone(&self.store);
        blocking(move || work(&store)).await
    }

    /// Finds out what the name stands for, and stores the documents that say so.
    async fn resolve(&self, client: &Client, lease: &Arc<Lease>) -> Result<Resolved, PullFailure> {
        let wanted = match (&self.reference.digest, &self.reference.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag.as_str(),
            (None, None) => "latest",
        };
        let (entry, contents) = self.top(client, wanted, lease).await?;
        let signed_by = self.signed_by(client, &entry).await?;
        let descriptor = if is_index(entry.media_type()) {
            let index: ImageIndex = parse(&contents, &entry)?;
            let chosen = load::choose(index.manifests(), self.request.platform)?;
            check_size(&chosen)?;
            if is_index(chosen.media_type()) {
                let (inner, outer) = (chosen.digest(), entry.digest());
                let problem = "an index inside of another, which is not supported: pull that one, or name one platform";
                return Err(ImageError::Invalid(format!("{inner} in index {outer} is {problem}")).into());
            }
            Some(chosen)
        } else {
            None
        };
        let contents = match &descriptor {
            None => contents,
            Some(chosen) => {
                let digest = Sha256Hex::of_descriptor(chosen)?;
                self.stored_or_fetched(client, &digest, lease).await?.1
            }
        };
        let manifest: ImageManifest = parse(&contents, descriptor.as_ref().unwrap_or(&entry))?;
        Ok(Resolved { entry, manifest, signed_by, lease: Arc::clone(lease) })
    }

    /// Makes sure that the image is signed, where the user wants that.
    async fn signed_by(&self, client: &Client, entry: &Descriptor) -> Result<Option<String>, PullFailure> {
        let Some(paths) = self.store.registries.keys(&self.reference) else { return Ok(None) };
        let keys = signature::read_keys(paths).map_err(PullFailure::Signature)?;
        let digest = Sha256Hex::of_descriptor(entry)?;
        let verified = signature::verify(client, &digest, &keys).await?;
        verified.map(Some).map_err(PullFailure::Signature)
    }

    /// The manifest or index behind the name. If the registry says that it is one that is stored, it need not be sent.
    async fn top(
        &self,
        client: &Client,
        wanted: &str,
        lease: &Arc<Lease>,
    ) -> Result<(Descriptor, Vec<u8>), PullFailure> {
        let reference = self.reference.clone();
        let known = self.on_store(move |store| store.find(&reference)).await?;
        if let Some(known) = known {
            let told = match &self.reference.digest {
                Some(digest) => Some(digest.clone()),
                None => match client.manifest_digest(wanted).await {
                    Ok(told) => told,
                    // Not every registry knows this request.
                    Err(RegistryError::NotFound { .. } | RegistryError::Unexpected { .. }) => None,
                    Err(error) => return Err(error.into()),
                },
            };
            if told.as_deref() == Some(known.digest().as_ref()) {
                let (descriptor, lease) = (known.clone(), Arc::clone(lease));
                let read = self.on_store(move |store| {
                    store.layout.extend(&lease, [&Sha256Hex::of_descriptor(&descriptor)?])?;
                    store.layout.read_blob(&descriptor, MAX_DOCUMENT)
                });
                // A damaged store is mended by pulling.
                if let Ok(contents) = read.await {
                    return Ok((known, contents));
                }
            }
        }
        let fetched = client.manifest(wanted).await?;
        Ok(self.keep(fetched, lease).await?)
    }

    async fn stored_or_fetched(
        &self,
        client: &Client,
        digest: &Sha256Hex,
        lease: &Arc<Lease>,
    ) -> Result<(Descriptor, Vec<u8>), PullFailure> {
        let fetched = client.manifest(&digest.to_string()).await?;
        Ok(self.keep(fetched, lease).await?)
    }

    /// Stores a manifest or index.
    async fn keep(&self, fetched: FetchedManifest, lease: &Arc<Lease>) -> Result<(Descriptor, Vec<u8>), ImageError> {
        let media_type = media_type(&fetched)?;
        let lease = Arc::clone(lease);
        self.on_store(move |store| {
            let descriptor = fetched.digest.descriptor(media_type, fetched.contents.len() as u64);
            store.layout.write_blob(&lease, &fetched.contents)?;
            Ok((descriptor, fetched.contents.to_vec()))
        })
        .await
    }

    /// Loads configuration and layers; how many bytes had to be.
    async fn load(&self, client: &Client, resolved: &Resolved) -> Result<u64, PullFailure> {
        let blobs = blobs(&resolved.manifest)?;
        let digests = blobs.iter().map(Sha256Hex::of_descriptor).collect::<Result<Vec<_>, _>>()?;
        let (lease, leased) = (Arc::clone(&resolved.lease), digests.clone());
        let verify = self.request.verify.then(|| resolved.manifest.clone());
        self.on_store(move |store| {
            store.layout.extend(&lease, &leased)?;
            verify.map_or(Ok(()), |manifest| store.drop_damaged(&manifest, &leased))
        })
        .await?;
        let waiting = |blob: &Descriptor| BlobProgress {
            digest: blob.digest().to_string(),
            size: blob.size(),
            done: 0,
            state: BlobState::Waiting,
        };
        self.reporter.blobs(blobs.iter().map(waiting).collect());
        let missing: u64 = blobs.iter().filter(|blob| !self.store.layout.has_blob(blob)).map(Descriptor::size).sum();
        let downloads = blobs.iter().zip(digests).enumerate().map(|(number, (descriptor, digest))| {
            Ok::<_, PullFailure>(Download { store: &self.store, descriptor, digest, number, reporter: &self.reporter })
        });
        let loading = futures::stream::iter(downloads);
        loading.try_for_each_concurrent(PARALLEL, |download| async move { download.run(client).await }).await?;
        Ok(missing)
    }

    /// Lets the name stand for what is there now.
    async fn finish(&self, resolved: Resolved, loaded: u64) -> Result<Pulled, PullError> {
        self.reporter.phase(Phase::Finishing);
        let size = blobs(&resolved.manifest).map_err(|error| self.failed(error))?.iter().map(Descriptor::size).sum();
        let digest = resolved.entry.digest().to_string();
        let reference = self.reference.clone();
        let Resolved { entry, lease, signed_by, .. } = resolved;
        let held = Arc::clone(&lease);
        let name = move |store: &Arc<ImageStore>| {
            store.touch(&entry);
            store.name(&held, Source::Registry { signed_by }, vec![(reference, entry)])
        };
        self.local(name).await?;
        Ok(Pulled { reference: self.reference.to_string(), digest, size, loaded, lease })
    }
}

/// The configuration and layers of a manifest, each once.
fn blobs(manifest: &ImageManifest) -> Result<Vec<Descriptor>, ImageError> {
    if manifest.layers().len() > MAX_LAYERS {
        let layers = manifest.layers().len();
        return Err(ImageError::Invalid(format!(
            "the image has {layers} layers, and no more than {MAX_LAYERS} are possible"
        )));
    }
    check_size(manifest.config())?;
    let mut blobs: Vec<Descriptor> = Vec::with_capacity(manifest.layers().len() + 1);
    for blob in std::iter::once(manifest.config()).chain(manifest.layers()) {
        if !blobs.iter().any(|seen| seen.digest() == blob.digest()) {
            blobs.push(blob.clone());
        }
    }
    let total = blobs.iter().fold(0_u64, |sum, blob| sum.saturating_add(blob.size()));
    if total > MAX_IMAGE {
        return Err(ImageError::Invalid(format!("the image has {total} bytes, more than {MAX_IMAGE}")));
    }
    Ok(blobs)
}

/// Documents are read into memory.
fn check_size(document: &Descriptor) -> Result<(), ImageError> {
    if document.size() > MAX_DOCUMENT {
        let (digest, size) = (document.digest(), document.size());
        return Err(ImageError::Invalid(format!(
            "document {digest} of {size} bytes exceeds the limit of {MAX_DOCUMENT}"
        )));
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(contents: &[u8], descriptor: &Descriptor) -> Result<T, ImageError> {
    serde_json::from_slice(contents).map_err(|error| {
        let (kind, digest) = (descriptor.media_type(), descriptor.digest());
        ImageError::Invalid(format!("document {digest} is no valid {kind}: {error}"))
    })
}

/// What a manifest says it is; some registries tell another type, or none.
fn media_type(fetched: &FetchedManifest) -> Result<MediaType, ImageError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline {
        schema_version: u32,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let outline: Outline = serde_json::from_slice(&fetched.contents)
        .map_err(|error| ImageError::Invalid(format!("manifest {} is no valid JSON: {error}", fetched.digest)))?;
    if outline.schema_version != 2 {
        let version = outline.schema_version;
        return Err(ImageError::Invalid(format!(
            "manifests of schema version {version} are not supported: push the image anew with a current tool"
        )));
    }
    let told = Some(fetched.media_type.clone()).filter(|told| told.starts_with("application/vnd."));
    let guessed = match outline.manifests {
        Some(_) => "application/vnd.oci.image.index.v1+json",
        None => "application/vnd.oci.image.manifest.v1+json",
    };
    Ok(MediaType::from(outline.media_type.or(told).as_deref().unwrap_or(guessed)))
}
