//! Certificates for tests of TLS, made when they run: an authority, and servers that it vouches for
//! (X.509 version 3, RFC 5280, with ECDSA over P-256).

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

/// Signs certificates of servers.
pub(crate) struct Authority {
    name: String,
    key: EcdsaKeyPair,
    certificate: Vec<u8>,
}

/// What a server shows and how it proves that it is meant.
pub(crate) struct Identity {
    /// DER.
    pub(crate) certificate: Vec<u8>,
    /// PKCS #8, DER.
    pub(crate) key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let (_, key) = new_key();
        let is_authority = extension(&[0x55, 0x1D, 0x13], &der(0x30, &[der(0x01, &[vec![0xFF]])]));
        let certificate = signed(name, name, &key, &key, "20991231235959Z", is_authority);
        Self { name: name.to_owned(), key, certificate }
    }

    /// The certificate of the authority as `SSL_CERT_FILE` takes it.
    pub(crate) fn pem(&self) -> String {
        let lines: Vec<String> = base64(&self.certificate)
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// A server of this name.
    pub(crate) fn identity(&self, host: &str) -> Identity {
        self.identity_until(host, "20991231235959Z")
    }

    /// A server of this name whose certificate ends at `until` (`YYYYMMDDHHMMSSZ`).
    pub(crate) fn identity_until(&self, host: &str, until: &str) -> Identity {
        let (pkcs8, key) = new_key();
        let names = der(0x30, &[der(0x82, &[host.as_bytes().to_vec()])]);
        let names = extension(&[0x55, 0x1D, 0x11], &names);
        Identity { certificate: signed(&self.name, host, &key, &self.key, until, names), key: pkcs8 }
    }
}

fn new_key() -> (Vec<u8>, EcdsaKeyPair) {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap().as_ref().to_vec();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8, &random).unwrap();
    (pkcs8, key)
}

/// A certificate for `subject` and `key`, signed by `signer`.
fn signed(
    issuer: &str,
    subject: &str,
    key: &EcdsaKeyPair,
    signer: &EcdsaKeyPair,
    until: &str,
    extension: Vec<u8>,
) -> Vec<u8> {
    let ecdsa_with_sha256 = der(0x30, &[oid(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02])]);
    let ec_public_key = oid(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01]);
    let p256 = oid(&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]);
    let moment = |text: &str| der(0x18, &[text.as_bytes().to_vec()]);
    let body = der(
        0x30,
        &[
            der(0xA0, &[der(0x02, &[vec![2]])]), // version 3
            der(0x02, &[vec![1]]),               // serial number
            ecdsa_with_sha256.clone(),
            common_name(issuer),
            der(0x30, &[moment("20000101000000Z"), moment(until)]),
            common_name(subject),
            der(0x30, &[der(0x30, &[ec_public_key, p256]), bits(key.public_key().as_ref())]),
            der(0xA3, &[der(0x30, &[extension])]),
        ],
    );
    let signature = signer.sign(&SystemRandom::new(), &body).unwrap();
    der(0x30, &[body, ecdsa_with_sha256, bits(signature.as_ref())])
}

/// Tag, length and the parts one after another (X.690).
fn der(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    let n = content.len();
    let mut out = vec![tag];
    match n {
        0..=0x7F => out.push(n as u8),
        0x80..=0xFF => out.extend([0x81, n as u8]),
        _ => out.extend([0x82, (n >> 8) as u8, n as u8]),
    }
    out.extend(content);
    out
}

fn oid(bytes: &[u8]) -> Vec<u8> {
    der(0x06, &[bytes.to_vec()])
}

/// A bit string of whole bytes.
fn bits(bytes: &[u8]) -> Vec<u8> {
    der(0x03, &[vec![0], bytes.to_vec()])
}

fn common_name(name: &str) -> Vec<u8> {
    let attribute = der(0x30, &[oid(&[0x55, 0x04, 0x03]), der(0x0C, &[name.as_bytes().to_vec()])]);
    der(0x30, &[der(0x31, &[attribute])])
}

/// An extension that need not be understood.
fn extension(id: &[u8], value: &[u8]) -> Vec<u8> {
    der(0x30, &[oid(id), der(0x04, &[value.to_vec()])])
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |n, i| n << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= group.len() { digit as char } else { '=' });
        }
    }
    out
}
