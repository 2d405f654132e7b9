//! Sums of gradients per bin, two integers in one word.
//!
//! The high half of a word is the sum of rounded gradients, the low half that of rounded second
//! derivatives, so one addition does both. [`gradient`](super::gradient) chooses its rounding such
//! that no subset of the rows can overflow 31 bits of either half, and second derivatives are never
//! negative, so the halves never touch. The sums are exact: neither the order of rows nor the number
//! of threads shows in them, and parent − child gives the sibling's sums to the last bit.

use super::bins::ColumnGroup;

/// Two sums in one word, see the module page.
pub(crate) type Packed = i64;

/// Sums of one column, by bin. Always 256, so that a byte needs no bounds check.
pub(crate) type ColumnSums = [Packed; 256];

/// Sums of rounded gradients and second derivatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    /// Rounded gradients.
    pub(crate) gradient: i32,
    /// Rounded second derivatives, never negative.
    pub(crate) hessian: i32,
}

/// Both sums in one word.
#[inline]
pub(crate) fn pack(gradient: i32, hessian: u32) -> Packed {
    (i64::from(gradient) << 32) + i64::from(hessian)
}

/// The sums of a word.
#[inline]
pub(crate) fn unpack(packed: Packed) -> Sums {
    Sums { gradient: (packed >> 32) as i32, hessian: packed as i32 }
}

/// A row of a leaf: its number and its rounded derivatives, in one word that moves as one.
///
/// Bits 32..64 are the row, 16..32 the gradient (`i16`), 0..16 the second derivative (`u16`).
pub(crate) type LeafRow = u64;

#[inline]
pub(crate) fn leaf_row(row: u32, gradient: i16, hessian: u16) -> LeafRow {
    u64::from(row) << 32 | u64::from(gradient as u16) << 16 | u64::from(hessian)
}

#[inline]
pub(crate) fn row_of(leaf_row: LeafRow) -> usize {
    (leaf_row >> 32) as usize
}

#[inline]
pub(crate) fn derivatives_of(leaf_row: LeafRow) -> Packed {
    pack(i32::from((leaf_row >> 16) as i16), u32::from(leaf_row as u16))
}

/// Adds the rows to the sums of one group of columns.
///
/// # Shapes
/// - `sums`: `[group.width]`
pub(crate) fn accumulate(rows: &[LeafRow], group: &ColumnGroup, sums: &mut [ColumnSums]) {
    match group.width {
        1 => accumulate_width::<1>(rows, &group.words, sums),
        2 => accumulate_width::<2>(rows, &group.words, sums),
        3 => accumulate_width::<3>(rows, &group.words, sums),
        4 => accumulate_width::<4>(rows, &group.words, sums),
        5 => accumulate_width::<5>(rows, &group.words, sums),
        6 => accumulate_width::<6>(rows, &group.words, sums),
        7 => accumulate_width::<7>(rows, &group.words, sums),
        8 => accumulate_width::<8>(rows, &group.words, sums),
        width => unreachable!("a group has 1 to 8 columns, this one {width}"),
    }
}

fn accumulate_width<const WIDTH: usize>(rows: &[LeafRow], words: &[u64], sums: &mut [ColumnSums]) {
    let n_sums = sums.len();
    let Ok(sums) = <&mut [ColumnSums; WIDTH]>::try_from(sums) else {
        unreachable!("{n_sums} histograms for a group of {WIDTH} columns")
    };
    for &row in rows {
        let mut word = words[row_of(row)];
        let derivatives = derivatives_of(row);
        for column in sums.iter_mut() {
            let sum = &mut column[(word & 0xff) as usize];
            *sum = sum.wrapping_add(derivatives);
            word >>= 8;
        }
    }
}

/// Turns the sums of a parent into those of the other child, over the first `n_bins` bins.
pub(crate) fn subtract(parent: &mut ColumnSums, child: &ColumnSums, n_bins: usize) {
    for (sum, &other) in parent[..n_bins].iter_mut().zip(&child[..n_bins]) {
        *sum = sum.wrapping_sub(other);
    }
}

/// Sum over rows.
pub(crate) fn total(rows: &[LeafRow]) -> Sums {
    unpack(rows.iter().fold(0i64, |sum, &row| sum.wrapping_add(derivatives_of(row))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_packed_sum_is_both_sums(rows in prop::collection::vec(any::<(i16, u16)>(), 0..2000)) {
            let packed = rows.iter().fold(0i64, |sum, &(g, h)| {
                sum.wrapping_add(derivatives_of(leaf_row(9, g, h)))
            });
            let gradient: i32 = rows.iter().map(|&(g, _)| i32::from(g)).sum();
            let hessian: i32 = rows.iter().map(|&(_, h)| i32::from(h)).sum();
            prop_assert_eq!(unpack(packed), Sums { gradient, hessian });
        }

        #[test]
        fn every_width_adds_each_row_to_its_bin(
            bytes in prop::collection::vec(any::<[u8; 8]>(), 1..200),
            width in 1usize..=8,
        ) {
            let words: Vec<u64> = bytes.iter().map(|b| u64::from_le_bytes(*b)).collect();
            let rows: Vec<LeafRow> =
                (0..words.len()).map(|i| leaf_row(i as u32, 7 - i as i16, 3 * i as u16)).collect();
            let group = ColumnGroup { first: 0, width, words };
            let mut sums = vec![[0i64; 256]; width];
            accumulate(&rows, &group, &mut sums);
            let mut plain = vec![[0i64; 256]; width];
            for (i, &row) in rows.iter().enumerate() {
                for k in 0..width {
                    plain[k][usize::from(bytes[i][k])] += derivatives_of(row);
                }
            }
            prop_assert_eq!(sums, plain);
        }

        #[test]
        fn a_leaf_row_keeps_its_parts(row in any::<u32>(), g in any::<i16>(), h in any::<u16>()) {
            let packed = leaf_row(row, g, h);
            prop_assert_eq!(row_of(packed), row as usize);
            let sums = unpack(derivatives_of(packed));
            prop_assert_eq!(sums, Sums { gradient: i32::from(g), hessian: i32::from(h) });
        }
    }
}
