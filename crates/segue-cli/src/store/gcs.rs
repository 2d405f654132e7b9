//! Google Cloud Storage: `GET` and `PUT` of whole objects with a bearer token
//! ("XML API overview", Cloud Storage documentation).

use std::env;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::client::Client;
use super::encoded;

/// The metadata server hands out tokens of the machine's service account ("Access tokens", Compute Engine).
const TOKEN_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// A prefix in a bucket.
pub(crate) struct Gcs {
    client: Client,
    /// `https://HOST`.
    endpoint: String,
    /// Bucket and prefix, without slashes at the ends.
    place: String,
    headers: Vec<(String, String)>,
}

/// What the metadata server answers.
#[derive(Deserialize)]
struct Token {
    access_token: String,
}

impl Gcs {
    /// The bucket and prefix `place`. The token is `GOOGLE_OAUTH_ACCESS_TOKEN`, else that of the
    /// machine's service account, by the metadata server that `GCE_METADATA_HOST` may name.
    /// `STORAGE_EMULATOR_HOST` names a server without accounts: it is sent no token unless one of the two is set.
    pub(super) fn open(place: &str) -> Result<Self> {
        let setting = |name: &str| env::var(name).ok().filter(|v| !v.is_empty());
        let place = place.trim_matches('/').to_owned();
        if place.is_empty() {
            bail!("gs:// names no bucket; write gs://BUCKET/PREFIX");
        }
        let emulator = setting("STORAGE_EMULATOR_HOST");
        let is_emulator = emulator.is_some();
        let endpoint = match emulator {
            Some(host) if host.contains("://") => host,
            Some(host) => format!("http://{host}"),
            None => "https://storage.googleapis.com".to_owned(),
        };
        let token = match setting("GOOGLE_OAUTH_ACCESS_TOKEN") {
            Some(token) => Some(token),
            None if is_emulator && setting("GCE_METADATA_HOST").is_none() => None,
            None => {
                let host = setting("GCE_METADATA_HOST");
                let host = host.as_deref().unwrap_or("metadata.google.internal");
                let token = machine_token(host).with_context(|| {
                    format!(
                        "gs://{place} needs GOOGLE_OAUTH_ACCESS_TOKEN (`gcloud auth print-access-token`): \
                         the metadata server {host} gives no token"
                    )
                })?;
                Some(token)
            }
        };
        let bearer = |token| ("authorization".to_owned(), format!("Bearer {token}"));
        let headers = token.map(bearer).into_iter().collect();
        let client = Client::new(&endpoint)?;
        Ok(Self { client, endpoint: endpoint.trim_end_matches('/').to_owned(), place, headers })
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.client.get(&self.url(name), &self.headers)
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.client.put(&self.url(name), &self.headers, bytes)
    }

    fn url(&self, name: &str) -> String {
        format!("{}{}", self.endpoint, encoded(&format!("/{}/{name}", self.place)))
    }
}

fn machine_token(host: &str) -> Result<String> {
    let url = format!("http://{host}{TOKEN_PATH}");
    let flavor = [("metadata-flavor".to_owned(), "Google".to_owned())];
    let answer = Client::local().get(&url, &flavor)?.with_context(|| format!("{url}: status 404"))?;
    let token: Token = serde_json::from_slice(&answer).with_context(|| url)?;
    Ok(token.access_token)
}
