//! SwiGLU (Shazeer 2020): `silu(a) · b`, where a row of the input holds `a` and then `b`.

use crate::simd::{sigmoid, vectorised};

/// Fills `y` `[n, f]` from `x` `[n, 2 f]`.
pub fn forward(x: &[f32], f: usize, y: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(2 * f).zip(y.chunks_exact_mut(f)) {
                let (a, b) = x.split_at(f);
                for i in 0..f {
                    y[i] = a[i] * sigmoid(a[i]) * b[i];
                }
            }
        },
    );
}

/// Fills `dx` `[n, 2 f]` from `dy` `[n, f]`.
pub fn backward(x: &[f32], f: usize, dy: &[f32], dx: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(2 * f).zip(dy.chunks_exact(f)).zip(dx.chunks_exact_mut(2 * f));
            for ((x, dy), dx) in rows {
                let (a, b) = x.split_at(f);
                let (da, db) = dx.split_at_mut(f);
                for i in 0..f {
                    let s = sigmoid(a[i]);
                    let silu = a[i] * s;
                    da[i] = dy[i] * b[i] * silu.mul_add(1.0 - s, s);
                    db[i] = dy[i] * silu;
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    fn reference(x: &[f64], f: usize) -> Vec<f64> {
        x.chunks_exact(2 * f)
            .flat_map(|x| (0..f).map(move |i| x[i] / (1.0 + (-x[i]).exp()) * x[f + i]))
            .collect()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_reference() {
        for f in [1, 7, 33] {
            let (x, dy) = (values(1, 6 * f, 2.0), values(2, 3 * f, 1.0));
            let (mut y, mut dx) = (vec![0.0; 3 * f], vec![0.0; 6 * f]);
            forward(&x, f, &mut y);
            close("y", &y, &reference(&f64s(&x), f), 1e-5);
            backward(&x, f, &dy, &mut dx);
            gradient("x", &x, &dx, |x| weighted(&reference(x, f), &dy));
        }
    }
}
