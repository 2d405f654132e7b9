//! Places that hold the files of an artifact: a folder, a server, an S3-compatible object store, Google
//! Cloud Storage.
//!
//! The files have the names and the layout of a model repository on the Hugging Face hub.

mod client;
mod gcs;
mod s3;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use self::client::Client;
pub(crate) use self::client::{is_https, tls};
use self::gcs::Gcs;
use self::s3::S3;

/// A folder of files somewhere, by name.
pub(crate) enum Store {
    /// A folder of this machine, or one that is mounted here.
    Folder(PathBuf),
    /// `GET` and `PUT` below an address.
    Http(Http),
    /// A bucket and a prefix.
    S3(S3),
    /// A bucket and a prefix.
    Gcs(Gcs),
}

/// A server of files.
pub(crate) struct Http {
    client: Client,
    base: String,
}

impl Store {
    /// The store that `text` names: a path, `file://`, `https://`, `http://`, `s3://BUCKET/PREFIX` or
    /// `gs://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// If the scheme is not one of these, or a store lacks its settings.
    pub(crate) fn open(text: &str) -> Result<Self> {
        let text = text.trim_end_matches('/');
        match text.split_once("://") {
            None => Ok(Self::Folder(PathBuf::from(text))),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Folder(PathBuf::from(path))),
            Some(("file", path)) => {
                bail!("file://{path}: a file URL has an absolute path, as in file:///models/next")
            }
            Some(("http" | "https", _)) => {
                Ok(Self::Http(Http { client: Client::new(text)?, base: text.to_owned() }))
            }
            Some(("s3", place)) => Ok(Self::S3(S3::open(place)?)),
            Some(("gs", place)) => Ok(Self::Gcs(Gcs::open(place)?)),
            Some((scheme, _)) => bail!(
                "`{scheme}://` is not known; a store is a folder, file://, https://, http://, \
                 s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
            ),
        }
    }

    /// The bytes of a file; `None` if there is none.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                match std::fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(e) => Err(e).with_context(|| path.display().to_string()),
                }
            }
            Self::Http(http) => http.client.get(&format!("{}/{name}", http.base), &[]),
            Self::S3(s3) => s3.get(name),
            Self::Gcs(gcs) => gcs.get(name),
        }
    }

    /// Writes a file; a reader sees all of it or nothing.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Folder(folder) => crate::commands::write_whole(&folder.join(name), bytes),
            Self::Http(http) => http.client.put(&format!("{}/{name}", http.base), &[], bytes),
            Self::S3(s3) => s3.put(name, bytes),
            Self::Gcs(gcs) => gcs.put(name, bytes),
        }
    }
}

/// Percent-encodes all but unreserved characters and slashes.
fn encoded(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}
