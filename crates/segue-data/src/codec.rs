//! Little-endian bytes in and out, bounds-checked: the encoding of states.

/// Appends fixed-width little-endian values.
pub(crate) trait Put {
    fn put_u8(&mut self, v: u8);
    fn put_u16(&mut self, v: u16);
    fn put_u32(&mut self, v: u32);
    fn put_u64(&mut self, v: u64);
    fn put_i64(&mut self, v: i64);
    fn put_f64(&mut self, v: f64);
    /// LEB128.
    fn put_varint(&mut self, v: u64);
}

impl Put for Vec<u8> {
    fn put_u8(&mut self, v: u8) {
        self.push(v);
    }
    fn put_u16(&mut self, v: u16) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn put_u32(&mut self, v: u32) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn put_u64(&mut self, v: u64) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn put_i64(&mut self, v: i64) {
        self.extend_from_slice(&v.to_le_bytes());
    }
    fn put_f64(&mut self, v: f64) {
        self.put_u64(v.to_bits());
    }
    fn put_varint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.push(v as u8 | 0x80);
            v >>= 7;
        }
        self.push(v as u8);
    }
}

/// Maps small numbers of either sign to small numbers.
pub(crate) fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

/// The reverse of [`zigzag`].
pub(crate) fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

/// Takes what [`Put`] wrote; every method is `None` past the end.
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|b| b[0])
    }
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }
    /// A LEB128 number in its shortest form: one number has one encoding.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut v = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            v |= bits << shift;
            if byte & 0x80 == 0 {
                return (byte != 0 || shift == 0).then_some(v);
            }
        }
        None
    }
    /// A [`varint`](Self::varint) that fits `u32`.
    pub(crate) fn varint32(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }
    /// A finite number; NaN and infinities are not part of any state.
    pub(crate) fn f64(&mut self) -> Option<f64> {
        self.u64().map(f64::from_bits).filter(|v| v.is_finite())
    }
    /// A count of elements of at least `width` bytes each, no larger than `most` or what is left.
    pub(crate) fn count(&mut self, width: usize, most: usize) -> Option<usize> {
        let n = self.u32()? as usize;
        (n <= most && n.checked_mul(width)? <= self.0.len()).then_some(n)
    }
    /// `Some` only when every byte was taken.
    pub(crate) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_come_back_and_have_one_form(v in any::<u64>(), shift in 0..64_u32, noise in any::<[u8; 10]>()) {
            let v = v >> shift;
            let mut bytes = Vec::new();
            bytes.put_varint(v);
            prop_assert_eq!(Take(&bytes).varint(), Some(v));
            prop_assert_eq!(unzigzag(zigzag(v as i64)), v as i64);
            let mut t = Take(&noise);
            if let Some(v) = t.varint() {
                let mut again = Vec::new();
                again.put_varint(v);
                prop_assert_eq!(&again[..], &noise[..noise.len() - t.0.len()]);
            }
        }
    }
}
