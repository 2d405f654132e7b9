//! The HTTP client of all stores: whole bodies, with TLS (rustls, with the cryptography of `ring`).
//!
//! Whom to trust is the machine's decision: the file of certificate authorities that its other tools read,
//! or the one that `SSL_CERT_FILE` names, as for curl and OpenSSL. None is compiled in.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustls::CertificateError;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where systems keep their authorities: Debian and Alpine, Fedora, openSUSE, macOS.
const SYSTEM_FILES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Longest answer that is read: no file of an artifact is larger.
const MAX_BODY: u64 = 64 << 30;

/// Sends requests with one body and takes answers with one body.
///
/// A request that writes or that carries a credential is answered where it was sent, or fails: a redirect would
/// lose the body or take the credential elsewhere. A `GET` without one follows redirects from https to https.
#[derive(Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    is_tls: bool,
    roots: Roots,
}

/// The certificate authorities that are trusted.
#[derive(Debug, Default)]
struct Roots {
    /// The file that they come from, if there is one.
    file: Option<PathBuf>,
    certificates: Vec<Certificate<'static>>,
}

impl Client {
    /// A client for the server of `base`. With https it trusts the authorities of `SSL_CERT_FILE`, else of the
    /// machine.
    ///
    /// # Errors
    /// If `SSL_CERT_FILE` is asked for and names a file that cannot be read or that holds no certificate.
    pub(super) fn new(base: &str) -> Result<Self> {
        let is_tls = is_https(base);
        let roots = if is_tls { Roots::of_environment()? } else { Roots::default() };
        let agent = ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(300)))
            .https_only(is_tls)
            .http_status_as_error(false)
            .tls_config(roots.tls())
            .build()
            .into();
        Ok(Self { agent, is_tls, roots })
    }

    /// A client for a server of this machine's own network: through no proxy.
    pub(super) fn local() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None);
        Self { agent: config.build().into(), is_tls: false, roots: Roots::default() }
    }

    /// The body of `url`; `None` if it is not there (404).
    ///
    /// # Errors
    /// If the server cannot be reached or trusted, or says no.
    pub(super) fn get(&self, url: &str, headers: &[(String, String)]) -> Result<Option<Vec<u8>>> {
        let max_redirects = if self.is_tls && headers.is_empty() { 5 } else { 0 };
        let request = self.agent.get(url).config().max_redirects(max_redirects).build();
        let request = headers.iter().fold(request, |r, (name, value)| r.header(name, value));
        self.answer(request.call(), url)
    }

    /// Writes `body` to `url`.
    ///
    /// # Errors
    /// If the server cannot be reached or trusted, or says no.
    pub(super) fn put(&self, url: &str, headers: &[(String, String)], body: &[u8]) -> Result<()> {
        let request = self.agent.put(url).config().max_redirects(0).build();
        let request = headers.iter().fold(request, |r, (name, value)| r.header(name, value));
        match self.answer(request.send(body), url)? {
            Some(_) => Ok(()),
            None => bail!("{url}: status 404: there is no such place to write to"),
        }
    }

    fn answer(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
        url: &str,
    ) -> Result<Option<Vec<u8>>> {
        let mut response = response.map_err(|e| match tls_error(&e) {
            Some(cause) => anyhow!("{url}: {}", self.roots.explain(cause)),
            None => anyhow!(e).context(url.to_owned()),
        })?;
        let status = response.status();
        if status.is_redirection() {
            let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
            bail!("{url}: status {status}, which leads to {to}; name that place if it is the right one");
        }
        let body = response.body_mut().with_config().limit(MAX_BODY).read_to_vec();
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
}

/// Whether an address is one of TLS, in any case of letters.
pub(crate) fn is_https(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))
}

/// What a client of this process needs to speak TLS: whom it trusts, as [`Client`] does.
///
/// # Errors
/// If `SSL_CERT_FILE` names a file that cannot be read or that holds no certificate.
pub(crate) fn tls() -> Result<TlsConfig> {
    Ok(Roots::of_environment()?.tls())
}

impl Roots {
    fn of_environment() -> Result<Self> {
        match env::var_os("SSL_CERT_FILE").filter(|name| !name.is_empty()) {
            Some(name) => Self::of_file(Path::new(&name)).context("SSL_CERT_FILE"),
            None => {
                let found = SYSTEM_FILES.iter().find_map(|file| Self::of_file(Path::new(file)).ok());
                Ok(found.unwrap_or_default())
            }
        }
    }

    fn of_file(file: &Path) -> Result<Self> {
        let text = std::fs::read(file).with_context(|| file.display().to_string())?;
        let certificates: Vec<_> = parse_pem(&text)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certificates.is_empty() {
            bail!("{} holds no certificate; it is a file of `-----BEGIN CERTIFICATE-----`", file.display());
        }
        Ok(Self { file: Some(file.to_owned()), certificates })
    }

    fn tls(&self) -> TlsConfig {
        TlsConfig::builder()
            .root_certs(RootCerts::new_with_certs(&self.certificates))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build()
    }

    /// Why no safe connection came about, and what helps.
    fn explain(&self, cause: &rustls::Error) -> String {
        let trusted = match &self.file {
            Some(file) => {
                format!("trusted authorities: {}, of {}", self.certificates.len(), file.display())
            }
            None => format!("trusted authorities: 0, none of {} is there", SYSTEM_FILES.join(", ")),
        };
        let next = match cause {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
                "{trusted}; SSL_CERT_FILE names a PEM file of others, such as the one of your own store"
            ),
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => "call the server by a name that its certificate holds".to_owned(),
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => "renew it, or set this machine's clock".to_owned(),
            rustls::Error::InvalidMessage(_) => {
                "the port may be one of plain HTTP: try http://, or the port of TLS".to_owned()
            }
            _ => "the server and this client agree on no safe connection; it needs TLS 1.2 or 1.3".to_owned(),
        };
        let what = match cause {
            rustls::Error::InvalidCertificate(_) => "the server is not trusted and nothing was sent",
            _ => "there is no safe connection to the server",
        };
        format!("{what}: {cause}; {next}")
    }
}

/// The error of TLS within, if it is one.
fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(e) => Some(e),
        ureq::Error::Io(e) => e.get_ref()?.downcast_ref(),
        _ => None,
    }
}
