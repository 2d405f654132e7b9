//! Places that hold the files of an artifact: a folder, an HTTP server, an S3-compatible object store.
//!
//! The files have the names and the layout of a model repository on the Hugging Face hub. There is no TLS
//! in this binary (`deny.toml` has no place for the licence of `ring`): an `https` address is refused with the ways around it.

mod s3;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::s3::S3;

/// A folder of files somewhere, by name.
#[derive(Debug)]
pub(crate) enum Store {
    /// A folder of this machine, or one that is mounted here.
    Folder(PathBuf),
    /// `GET` and `PUT` below an address.
    Http(Http),
    /// A bucket and a prefix.
    S3(S3),
}

impl Store {
    /// The store that `text` names: a path, `file://`, `http://` or `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// If the scheme is not one of these, or S3 lacks its settings.
    pub(crate) fn open(text: &str) -> Result<Self> {
        let text = text.trim_end_matches('/');
        match text.split_once("://") {
            None => Ok(Self::Folder(PathBuf::from(text))),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Folder(PathBuf::from(path))),
            Some(("file", path)) => {
                bail!("file://{path}: a file URL has an absolute path, as in file:///models/next")
            }
            Some(("http", _)) => Ok(Self::Http(Http { agent: agent(), base: text.to_owned() })),
            Some(("s3", place)) => Ok(Self::S3(S3::open(place, agent())?)),
            Some(("https", _)) => bail!(no_tls(text)),
            Some((scheme, _)) => {
                bail!(
                    "`{scheme}://` is not known; a store is a folder, file://, http:// or s3://BUCKET/PREFIX"
                )
            }
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
            Self::Http(http) => {
                let url = format!("{}/{name}", http.base);
                answer(http.agent.get(&url).call(), &url)
            }
            Self::S3(s3) => s3.get(name),
        }
    }

    /// Writes a file; a reader sees all of it or nothing.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Folder(folder) => crate::commands::write_whole(&folder.join(name), bytes),
            Self::Http(http) => {
                let url = format!("{}/{name}", http.base);
                stored(answer(http.agent.put(&url).send(bytes), &url)?, &url)
            }
            Self::S3(s3) => s3.put(name, bytes),
        }
    }
}

/// A plain HTTP server.
#[derive(Debug)]
pub(crate) struct Http {
    agent: ureq::Agent,
    base: String,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(30)))
        .http_status_as_error(false)
        .build()
        .into()
}

fn no_tls(address: &str) -> String {
    format!(
        "{address}: this binary speaks no TLS; copy the folder with the tool of the store \
         (`hf download`, `aws s3 sync`, `gcloud storage rsync`) and name the folder, or use an http:// endpoint"
    )
}

/// The body of an answer; `None` for 404.
fn answer(
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    url: &str,
) -> Result<Option<Vec<u8>>> {
    let mut response = response.with_context(|| url.to_owned())?;
    let status = response.status();
    let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec();
    if status.as_u16() == 404 {
        return Ok(None);
    }
    let body = body.with_context(|| url.to_owned())?;
    if !status.is_success() {
        let text: String = String::from_utf8_lossy(&body).chars().take(300).collect();
        bail!("{url}: status {status}: {}", text.trim());
    }
    Ok(Some(body))
}

fn stored(answer: Option<Vec<u8>>, url: &str) -> Result<()> {
    match answer {
        Some(_) => Ok(()),
        None => bail!("{url}: status 404: there is no such place to write to"),
    }
}
