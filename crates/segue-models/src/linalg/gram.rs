//! `HᵀH` of a tall table.

use rayon::prelude::*;

use super::tile::{self, Factor, LANES, ROWS};

/// `HᵀH`, `[width, width]`, of the table `H`, `[n, width]` row-major; `width` is a multiple of 32.
///
/// Parts of a fixed number of rows are summed one after the other.
pub(crate) fn gram(table: &[f32], width: usize) -> Vec<f32> {
    // At most 64 parts, so that they take little memory beside the table.
    let n = table.len() / width;
    let part_rows = n.div_ceil(64).max(1024);
    let parts: Vec<Vec<f32>> = table
        .par_chunks(part_rows * width)
        .map(|part| {
            let mut out = vec![0.0; width * width];
            // Short runs keep the rows in cache and the sums accurate.
            for run in part.chunks(256 * width) {
                add_gram(run, width, &mut out);
            }
            out
        })
        .collect();
    let mut out = vec![0.0; width * width];
    for part in &parts {
        out.iter_mut().zip(part).for_each(|(out, part)| *out += part);
    }
    out
}

/// `out += HᵀH` for a few rows.
pub(crate) fn add_gram(rows: &[f32], width: usize, out: &mut [f32]) {
    let depth = rows.len() / width;
    let mut product = [[0.0; LANES]; ROWS];
    for r0 in (0..width).step_by(ROWS) {
        // The upper triangle, by tiles; then the lower by symmetry.
        for c0 in (r0 / LANES * LANES..width).step_by(LANES) {
            let row_factor = Factor { values: &rows[r0.min(rows.len())..], stride: width };
            let panel = Factor { values: &rows[c0.min(rows.len())..], stride: width };
            tile::product(depth, row_factor, panel, &mut product);
            for (r, product) in product.iter().enumerate() {
                let out = &mut out[(r0 + r) * width + c0..][..LANES];
                out.iter_mut().zip(product).for_each(|(out, product)| *out += product);
            }
        }
    }
    for r in 0..width {
        for c in 0..r / LANES * LANES {
            out[r * width + c] = out[c * width + r];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gram_matrix_equals_the_sums_of_products() {
        let (n, width) = (2500, 64);
        let table: Vec<f32> = (0..n * width).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let got = gram(&table, width);
        for i in 0..width {
            for j in 0..width {
                let want: f64 =
                    (0..n).map(|r| f64::from(table[r * width + i]) * f64::from(table[r * width + j])).sum();
                assert!((f64::from(got[i * width + j]) - want).abs() < 1e-2, "{i} {j}");
            }
        }
        assert_eq!(gram(&[], 32), [0.0; 32 * 32]);
    }
}
