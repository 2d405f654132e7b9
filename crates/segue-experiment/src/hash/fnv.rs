//! FNV-1a with 32 bits, as a stream.
//!
//! Source: Fowler, Noll & Vo, "The FNV Non-Cryptographic Hash Algorithm".

/// A running hash.
#[derive(Debug, Clone, Copy)]
pub struct Fnv1a32(u32);

impl Default for Fnv1a32 {
    fn default() -> Self {
        Self(0x811c_9dc5)
    }
}

impl Fnv1a32 {
    /// Adds bytes.
    #[must_use]
    pub fn then(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |h, &b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193)))
    }

    /// The hash.
    #[must_use]
    pub const fn finish(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values_hold() {
        assert_eq!(Fnv1a32::default().finish(), 0x811c_9dc5);
        assert_eq!(Fnv1a32::default().then(b"a").finish(), 0xe40c_292c);
        assert_eq!(Fnv1a32::default().then(b"foo").then(b"bar").finish(), 0xbf9c_f968);
    }
}
