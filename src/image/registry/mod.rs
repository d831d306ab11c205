//! Registries: where an image may be had (`config`), who one is there (`credentials`, `auth`), and the distribution API
//! itself (`client`, over `transport`). What is pulled goes to the store through `image::pull`.

mod auth;
mod client;
mod config;
mod credentials;
mod error;
mod transport;

pub use self::config::{Registries, RegistriesError};
pub use self::credentials::{Credentials, Keyring};
pub use self::error::{PullError, RegistryError, Said};

pub(super) use self::client::{Client, FetchedManifest};
pub(super) use self::config::Endpoint;
