//! One repository at one registry, over the distribution API: requests with whatever proof the registry asks for, tried
//! again where that may help, every answer bounded.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{Method, StatusCode};
use oci_spec::image::Descriptor;
use reqwest::Response;
use tokio::sync::OnceCell;
use tokio::time::Instant;
use url::Url;

use super::auth::{self, Challenge};
use super::config::Endpoint;
use super::credentials::{Credentials, Keyring};
use super::error::{RegistryError, Said};
use super::transport::{self, Transport};
use crate::image::layout::{MAX_DOCUMENT, Sha256Hex};

/// What manifests may be of.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// How often a request is tried.
const MAX_TRIES: u32 = 4;
/// The first wait before another try; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest that a registry's `Retry-After` is obeyed here; longer waits are those of who asked for the image.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// A proof that is refused after so long has expired.
const EXPIRED_AFTER: Duration = Duration::from_secs(30);
/// Largest body of an error that is read.
const MAX_ERROR_BODY: u64 = 64 * 1024;

/// What a token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::image) enum Access {
    Pull,
    Push,
}

/// A request that can be made again.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) access: Access,
    /// For messages: `manifest latest` and the like.
    pub(super) what: String,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) enum Body {
    Empty,
    Bytes(Bytes),
    File { path: std::path::PathBuf },
}

/// A manifest as a registry gave it.
#[derive(Debug)]
pub(in crate::image) struct FetchedManifest {
    pub(in crate::image) contents: Bytes,
    pub(in crate::image) digest: Sha256Hex,
    pub(in crate::image) media_type: String,
}

/// One repository at one registry.
#[derive(Debug)]
pub(in crate::image) struct Client {
    pub(in crate::image) endpoint: Endpoint,
    transport: Transport,
    /// `https://host/v2/`, found out at the first request.
    base: OnceCell<Url>,
    credentials: Vec<Credentials>,
    /// Why there may be fewer credentials than the user thinks.
    problems: Vec<String>,
    session: Mutex<Session>,
}

/// What has been found out about who one has to be.
#[derive(Debug, Default)]
struct Session {
    /// Which of the credentials is in use.
    current: usize,
    /// What is sent.
    authorization: Option<Authorization>,
}

/// What proves who one is, as it is sent.
#[derive(Debug)]
struct Authorization {
    had_for: Access,
    value: HeaderValue,
    had_at: Instant,
    /// Whether it was taken once.
    was_good: bool,
}

/// What to do about a refusal.
enum Next {
    TryAgain,
    GiveUp(&'static str),
    /// A token server refuses, and what it said.
    Refused(&'static str, Said),
}

impl Client {
    /// A client for a repository. Reads certificates, and may run credential helpers.
    pub(in crate::image) async fn new(endpoint: Endpoint, keyring: Arc<Keyring>) -> Result<Self, RegistryError> {
        let registry = endpoint.registry.clone();
        let made = tokio::task::spawn_blocking(move || {
            let found = keyring.find(&endpoint.registry, &endpoint.repository);
            Transport::new(&endpoint).map(|transport| (endpoint, transport, found))
        });
        let (endpoint, transport, (credentials, problems)) = made
            .await
            .map_err(|panic| panic.to_string())
            .and_then(|made| made)
            .map_err(|cause| RegistryError::Tls { registry, cause })?;
        let session = Mutex::default();
        Ok(Self { endpoint, transport, base: OnceCell::new(), credentials, problems, session })
    }

    /// The manifest behind a tag or digest.
    pub(in crate::image) async fn manifest(&self, reference: &str) -> Result<FetchedManifest, RegistryError> {
        let response = self.send(&self.ask_manifest(Method::GET, reference).await?).await?;
        let media_type = header(&response, CONTENT_TYPE).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
        let told = header(&response, "docker-content-digest");
        let contents = self.bounded(response, MAX_DOCUMENT).await?;
        let digest = Sha256Hex::of(&contents);
        let wanted = reference.starts_with("sha256:").then(|| reference.to_owned());
        for expected in wanted.into_iter().chain(told.filter(|told| told.starts_with("sha256:"))) {
            if expected != digest.to_string() {
                let detail = format!("the content has digest {digest}");
                return Err(RegistryError::Corrupt { registry: self.name(), digest: expected, detail });
            }
        }
        Ok(FetchedManifest { contents, digest, media_type })
    }

    /// The digest of the manifest behind a tag, if the registry tells it without sending the manifest.
    pub(in crate::image) async fn manifest_digest(&self, reference: &str) -> Result<Option<String>, RegistryError> {
        let response = self.send(&self.ask_manifest(Method::HEAD, reference).await?).await?;
        Ok(header(&response, "docker-content-digest"))
    }

    async fn ask_manifest(&self, method: Method, reference: &str) -> Result<Ask, RegistryError> {
        let ask = self.ask(method, &format!("manifests/{reference}"), Access::Pull).await?;
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(MANIFEST_TYPES))]);
        Ok(Ask { headers, what: format!("manifest {reference}"), ..ask })
    }

    /// The content of a blob from a byte on: where what comes begins, and what comes.
    pub(in crate::image) async fn blob(&self, digest: &Sha256Hex, from: u64) -> Result<(u64, Response), RegistryError> {
        let mut ask = self.ask(Method::GET, &format!("blobs/{digest}"), Access::Pull).await?;
        ask.what = format!("blob {digest}");
        if from > 0 {
            let range = HeaderValue::from_str(&format!("bytes={from}-"));
            ask.headers.insert(RANGE, range.map_err(|error| self.unexpected(error.to_string()))?);
        }
        let response = self.send(&ask).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok((0, response));
        }
        let told = header(&response, CONTENT_RANGE).unwrap_or_default();
        let start = told.strip_prefix("bytes ").and_then(|rest| rest.split('-').next()?.parse::<u64>().ok());
        match start {
            Some(start) if start == from => Ok((from, response)),
            _ => Err(self.unexpected(format!("bytes from {from} on were asked for, and {told:?} came"))),
        }
    }

    /// A blob that fits in memory, whole and verified.
    pub(in crate::image) async fn small_blob(
        &self,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, RegistryError> {
        let digest = Sha256Hex::of_descriptor(descriptor).map_err(|error| self.unexpected(error.to_string()))?;
        let (_, response) = self.blob(&digest, 0).await?;
        let contents = self.bounded(response, limit).await?;
        let found = Sha256Hex::of(&contents);
        if found == digest {
            return Ok(contents);
        }
        let detail = format!("the content has digest {found}");
        Err(RegistryError::Corrupt { registry: self.name(), digest: digest.to_string(), detail })
    }

    /// Whether the registry has a blob.
    pub(in crate::image) async fn has_blob(&self, digest: &Sha256Hex) -> Result<bool, RegistryError> {
        let ask = self.ask(Method::HEAD, &format!("blobs/{digest}"), Access::Push).await?;
        match self.send(&ask).await {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a blob from a file, all at once (distribution specification, "POST then PUT").
    pub(in crate::image) async fn push_blob(
        &self,
        digest: &Sha256Hex,
        path: &std::path::Path,
        size: u64,
    ) -> Result<(), RegistryError> {
        let begin = Ask {
            headers: HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(0))]),
            what: "upload".to_owned(),
            ..self.ask(Method::POST, "blobs/uploads/", Access::Push).await?
        };
        let response = self.send(&begin).await?;
        let location =
            header(&response, LOCATION).ok_or_else(|| self.unexpected("an upload without a place".to_owned()))?;
        let mut url =
            begin.url.join(&location).map_err(|_| self.unexpected("an upload to no valid place".to_owned()))?;
        if begin.url.scheme() == "https" && url.scheme() != "https" {
            return Err(self.unexpected("an upload that would leave TLS".to_owned()));
        }
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
            (CONTENT_LENGTH, HeaderValue::from(size)),
        ]);
        let body = Body::File { path: path.to_owned() };
        let what = format!("upload of blob {digest}");
        self.send(&Ask { method: Method::PUT, url, headers, body, access: Access::Push, what }).await?;
        Ok(())
    }

    /// Sends a manifest, under a tag or its digest.
    pub(in crate::image) async fn push_manifest(
        &self,
        reference: &str,
        media_type: &str,
        contents: Bytes,
    ) -> Result<(), RegistryError> {
        let ask = self.ask(Method::PUT, &format!("manifests/{reference}"), Access::Push).await?;
        let media_type = HeaderValue::from_str(media_type).map_err(|error| self.unexpected(error.to_string()))?;
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, media_type)]);
        self.send(&Ask { headers, body: Body::Bytes(contents), what: format!("manifest {reference}"), ..ask }).await?;
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, access: Access) -> Result<Ask, RegistryError> {
        let base = self.base.get_or_try_init(|| self.transport.find_base(&self.endpoint)).await?;
        let url = base.join(&format!("{}/{path}", self.endpoint.repository));
        let url = url.map_err(|error| self.unexpected(error.to_string()))?;
        Ok(Ask { method, url, headers: HeaderMap::new(), body: Body::Empty, access, what: path.to_owned() })
    }

    /// Makes a request until it is answered well, or no try can help.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Response, RegistryError> {
        let mut wait = FIRST_WAIT;
        let mut tries = 1;
        let mut refusals = 0;
        loop {
            let authorization = self.authorization(ask.access);
            let error = match self.transport.once(ask, authorization.clone()).await {
                Ok(response) if is_refusal(response.status()) && refusals <= self.credentials.len() + 1 => {
                    let challenge = Challenge::find(response.headers().get_all(WWW_AUTHENTICATE));
                    match self.prove(ask, challenge, authorization.as_ref()).await {
                        Ok(Next::TryAgain) => {
                            refusals += 1;
                            continue;
                        }
                        Ok(Next::GiveUp(problem)) => self.denied(problem, Said::default(), response).await,
                        Ok(Next::Refused(problem, said)) => self.denied(problem, said, response).await,
                        Err(error) => error,
                    }
                }
                Ok(response) if response.status().is_success() => {
                    self.note_good(authorization.as_ref());
                    return Ok(response);
                }
                Ok(response) => self.failure(ask, response).await,
                Err(cause) => cause.at(&self.endpoint.registry),
            };
            let asked_for = match &error {
                RegistryError::TooManyRequests { retry_after, .. } => *retry_after,
                _ => None,
            };
            if tries >= MAX_TRIES || !error.is_transient() || asked_for.is_some_and(|wait| wait > MAX_WAIT) {
                return Err(error);
            }
            tracing::debug!(%error, tries, "a registry is asked again");
            tokio::time::sleep(asked_for.unwrap_or(wait)).await;
            wait *= 2;
            tries += 1;
        }
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authorization(&self, access: Access) -> Option<HeaderValue> {
        let session = self.session();
        let found = session.authorization.as_ref()?;
        (found.had_for == access || found.had_for == Access::Push).then(|| found.value.clone())
    }

    /// Notes that what was sent was taken.
    fn note_good(&self, sent: Option<&HeaderValue>) {
        let mut session = self.session();
        if let Some(found) = session.authorization.as_mut().filter(|found| Some(&found.value) == sent) {
            found.was_good = true;
        }
    }

    /// Gets what proves who one is, after a refusal of what was `sent`: with the credentials in use the first time,
    /// with the next ones when those were refused.
    async fn prove(
        &self,
        ask: &Ask,
        challenge: Option<Challenge>,
        sent: Option<&HeaderValue>,
    ) -> Result<Next, RegistryError> {
        let current = {
            let mut session = self.session();
            if sent.is_some() && session.authorization.as_ref().map(|found| &found.value) != sent {
                // Another request has found something better meanwhile.
                return Ok(Next::TryAgain);
            }
            // What was good once has expired, as tokens do, some within seconds; what never was is wrong.
            let refused = session.authorization.take();
            let refused = refused.filter(|found| !found.was_good && found.had_at.elapsed() < EXPIRED_AFTER);
            session.current += usize::from(sent.is_some() && refused.is_some());
            session.current
        };
        if sent.is_some() && current >= self.credentials.len().max(1) {
            return Ok(Next::GiveUp(if self.credentials.is_empty() {
                "authorization failed"
            } else {
                "the credentials were refused"
            }));
        }
        let value = match (challenge, self.credentials.get(current)) {
            (Some(Challenge::Bearer { .. }), Some(Credentials::Registry(token))) => auth::bearer(token),
            (Some(Challenge::Bearer { realm, service }), credentials) => {
                let wanted = auth::TokenRequest {
                    endpoint: &self.endpoint,
                    access: ask.access,
                    realm: &realm,
                    service: &service,
                };
                match wanted.fetch(&self.transport, credentials).await? {
                    Ok(token) => auth::bearer(&token),
                    Err(_) if current + 1 < self.credentials.len() => {
                        self.session().current += 1;
                        return Ok(Next::TryAgain);
                    }
                    Err(said) if credentials.is_none() => return Ok(Next::Refused("no anonymous access", said)),
                    Err(said) => return Ok(Next::Refused("the credentials were refused", said)),
                }
            }
            (Some(Challenge::Basic), Some(Credentials::Basic { username, password })) => {
                auth::basic(username, password)
            }
            (Some(Challenge::Basic), Some(Credentials::Identity(_) | Credentials::Registry(_))) => {
                return Ok(Next::GiveUp("it wants a user's name and password"));
            }
            (Some(Challenge::Basic), None) => return Ok(Next::GiveUp("it wants credentials, and there are none")),
            (None, _) => return Ok(Next::GiveUp("access denied")),
        };
        let value = value.ok_or_else(|| self.unexpected("a token that is no header".to_owned()))?;
        self.session().authorization =
            Some(Authorization { had_for: ask.access, value, had_at: Instant::now(), was_good: false });
        Ok(Next::TryAgain)
    }

    /// The next piece of a body.
    pub(in crate::image) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, RegistryError> {
        response.chunk().await.map_err(|error| transport::Cause::of(&error).at(&self.endpoint.registry))
    }

    pub(in crate::image) fn unavailable(&self, cause: String) -> RegistryError {
        RegistryError::Unavailable { registry: self.name(), cause }
    }

    /// Why there is no way in: in the words of the token server, if it is that which refuses, and else of the registry.
    async fn denied(&self, problem: &str, said: Said, response: Response) -> RegistryError {
        let said = if said.is_empty() { self.said(response).await } else { said };
        RegistryError::Denied { registry: self.name(), problem: self.with_problems(problem), said }
    }

    /// What went wrong with credentials explains most of what a registry refuses.
    fn with_problems(&self, problem: &str) -> String {
        if self.problems.is_empty() { problem.to_owned() } else { format!("{problem} ({})", self.problems.join("; ")) }
    }

    /// What an answer that is no success means.
    async fn failure(&self, ask: &Ask, response: Response) -> RegistryError {
        let status = response.status();
        let retry_after = retry_after(&response);
        let said = self.said(response).await;
        let registry = self.name();
        match status {
            StatusCode::NOT_FOUND => {
                // Registries that hide what one may not see call it missing.
                let what = format!("{} of repository {}", ask.what, self.endpoint.repository);
                RegistryError::NotFound { registry, what, said }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                RegistryError::Denied { registry, problem: self.with_problems("access denied"), said }
            }
            StatusCode::TOO_MANY_REQUESTS => RegistryError::TooManyRequests { registry, retry_after, said },
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                RegistryError::Unavailable { registry, cause: format!("it answered {status} for {}{said}", ask.what) }
            }
            status => self.unexpected(format!("{status} for {}{said}", ask.what)),
        }
    }

    async fn said(&self, response: Response) -> Said {
        let secrets: Vec<_> = self.credentials.iter().map(Credentials::secret).collect();
        match self.bounded(response, MAX_ERROR_BODY).await {
            Ok(body) => Said::of(&body, &secrets),
            Err(_) => Said::default(),
        }
    }

    /// A body of no more than `limit` bytes.
    async fn bounded(&self, response: Response, limit: u64) -> Result<Bytes, RegistryError> {
        transport::read_bounded(response, limit).await.map_err(|cause| cause.at(&self.endpoint.registry))
    }

    fn name(&self) -> String {
        self.endpoint.registry.clone()
    }

    pub(in crate::image) fn unexpected(&self, detail: String) -> RegistryError {
        RegistryError::Unexpected { registry: self.name(), detail }
    }
}

fn is_refusal(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn header(response: &Response, name: impl http::header::AsHeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// `Retry-After` in seconds; dates are for caches.
fn retry_after(response: &Response) -> Option<Duration> {
    header(response, RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
}

/// Reads what there is of a body into memory.
pub(super) async fn collect(mut response: Response, limit: u64) -> Result<Bytes, transport::Cause> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport::Cause::of(&error))? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(transport::Cause::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
