//! An S3-compatible object store: `GET` and `PUT` of whole objects, signed (AWS Signature Version 4,
//! "Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference).

use std::env;

use anyhow::{Context, Result, bail};
use segue_types::{TimestampMs, time};
use sha2::{Digest, Sha256};

use super::client::Client;
use super::encoded;
use crate::commands::machine_now;

/// A prefix in a bucket, addressed by path (`ENDPOINT/BUCKET/PREFIX/FILE`).
pub(crate) struct S3 {
    client: Client,
    /// `https://HOST[:PORT]`.
    endpoint: String,
    /// Bucket and prefix, without slashes at the ends.
    place: String,
    keys: Keys,
}

struct Keys {
    id: String,
    secret: String,
    token: Option<String>,
    region: String,
}

impl S3 {
    /// The bucket and prefix `place`, with the keys and the endpoint of the environment, by the names
    /// that the tools of AWS use; without an endpoint it is that of AWS in this region.
    pub(super) fn open(place: &str) -> Result<Self> {
        let setting = |name: &str| env::var(name).ok().filter(|v| !v.is_empty());
        let needed = |name: &str| setting(name).with_context(|| format!("s3://{place} needs {name}"));
        let region = setting("AWS_REGION")
            .or_else(|| setting("AWS_DEFAULT_REGION"))
            .unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = setting("AWS_ENDPOINT_URL_S3")
            .or_else(|| setting("AWS_ENDPOINT_URL"))
            .unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            bail!("AWS_ENDPOINT_URL is `{endpoint}`; it is an https:// or http:// address");
        }
        let keys = Keys {
            id: needed("AWS_ACCESS_KEY_ID")?,
            secret: needed("AWS_SECRET_ACCESS_KEY")?,
            token: setting("AWS_SESSION_TOKEN"),
            region,
        };
        let place = place.trim_matches('/').to_owned();
        if place.is_empty() {
            bail!("s3:// names no bucket; write s3://BUCKET/PREFIX");
        }
        let client = Client::new(&endpoint)?;
        Ok(Self { client, endpoint: endpoint.trim_end_matches('/').to_owned(), place, keys })
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let (url, headers) = self.signed("GET", name, b"");
        self.client.get(&url, &headers)
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let (url, headers) = self.signed("PUT", name, bytes);
        self.client.put(&url, &headers, bytes)
    }

    /// The address of a file and the headers that sign a request for it; `host` is sent by itself.
    fn signed(&self, method: &str, name: &str, body: &[u8]) -> (String, Vec<(String, String)>) {
        let path = encoded(&format!("/{}/{name}", self.place));
        let host = self.endpoint.split_once("://").map_or("", |(_, host)| host);
        let mut headers = vec![("host".to_owned(), host.to_owned())];
        headers.push(("x-amz-content-sha256".to_owned(), hex(&Sha256::digest(body))));
        headers.push(("x-amz-date".to_owned(), moment(machine_now())));
        if let Some(token) = &self.keys.token {
            headers.push(("x-amz-security-token".to_owned(), token.clone()));
        }
        let authorization = self.keys.authorization(method, &path, &headers);
        headers.remove(0);
        headers.push(("authorization".to_owned(), authorization));
        (format!("{}{path}", self.endpoint), headers)
    }
}

impl Keys {
    /// The `Authorization` header of a request with these headers: lower-case names in ascending order,
    /// `x-amz-date` and `x-amz-content-sha256` among them.
    fn authorization(&self, method: &str, path: &str, headers: &[(String, String)]) -> String {
        let value = |name: &str| headers.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
        let moment = value("x-amz-date");
        let day = moment.split('T').next().unwrap_or_default();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let body = value("x-amz-content-sha256");
        let request = format!("{method}\n{path}\n\n{lines}\n{names}\n{body}");
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let text = format!("AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}", hex(&Sha256::digest(request)));
        let secret = format!("AWS4{}", self.secret);
        let key = [day, &self.region, "s3", "aws4_request"]
            .iter()
            .fold(secret.into_bytes(), |key, part| hmac(&key, part.as_bytes()).to_vec());
        let signature = hex(&hmac(&key, text.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.id
        )
    }
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5C)).chain_update(inner).finalize().into()
}

/// `YYYYMMDDTHHMMSSZ`.
fn moment(now: TimestampMs) -> String {
    let day = now.day();
    let second = now.ms_since(day.start()) / 1000;
    let day = day.to_iso().replace('-', "");
    let hour_s = time::HOUR_MS / 1000;
    format!("{day}T{:02}{:02}{:02}Z", second / hour_s, second % hour_s / 60, second % 60)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two requests for an object that the reference of Amazon S3 works through.
    #[test]
    fn signatures_are_those_of_the_reference() {
        let keys = Keys {
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            token: None,
            region: "us-east-1".to_owned(),
        };
        let sign = |method: &str, path: &str, body: &[u8], more: &[(&str, &str)]| {
            let sha256 = hex(&Sha256::digest(body));
            let mut headers = vec![
                ("host", "examplebucket.s3.amazonaws.com"),
                ("x-amz-content-sha256", sha256.as_str()),
                ("x-amz-date", "20130524T000000Z"),
            ];
            headers.extend_from_slice(more);
            headers.sort_unstable();
            let headers: Vec<_> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            keys.authorization(method, &encoded(path), &headers)
        };
        let get = sign("GET", "/test.txt", b"", &[("range", "bytes=0-9")]);
        assert_eq!(
            get,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let more = [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
        let put = sign("PUT", "/test$file.text", b"Welcome to Amazon S3.", &more);
        assert!(put.ends_with("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"), "{put}");
    }

    #[test]
    fn the_moment_is_written_without_punctuation() {
        assert_eq!(moment(TimestampMs(1_369_353_600_000)), "20130524T000000Z");
        assert_eq!(moment(TimestampMs(1_369_353_600_000 + 86_399_999)), "20130524T235959Z");
    }
}
