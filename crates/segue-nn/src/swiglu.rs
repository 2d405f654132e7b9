//! SwiGLU (Shazeer 2020): `silu(a) · b`, where a row of the input holds `a` and then `b`.

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::simd::LANES;

/// Fills `y` `[n, f]` from `x` `[n, 2 f]`.
pub fn forward(x: &[f32], f: usize, y: &mut [f32]) {
    dispatch(Forward { x, f, y });
}

/// Fills `dx` `[n, 2 f]` from `dy` `[n, f]`.
pub fn backward(x: &[f32], f: usize, dy: &[f32], dx: &mut [f32]) {
    dispatch(Backward { x, f, dy, dx });
}

struct Forward<'a> {
    x: &'a [f32],
    f: usize,
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        for (x, y) in self.x.chunks_exact(2 * self.f).zip(self.y.chunks_exact_mut(self.f)) {
            let (a, b) = x.split_at(self.f);
            let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
            let (y, y_rest) = y.as_chunks_mut::<LANES>();
            for ((a, b), y) in a.iter().zip(b).zip(y) {
                let a = V::load(a);
                a.mul(a.sigmoid()).mul(V::load(b)).store(y);
            }
            if !y_rest.is_empty() {
                let a = V::load_part(a_rest, 0.0);
                a.mul(a.sigmoid()).mul(V::load_part(b_rest, 0.0)).store_part(y_rest);
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    f: usize,
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let f = self.f;
        let rows =
            self.x.chunks_exact(2 * f).zip(self.dy.chunks_exact(f)).zip(self.dx.chunks_exact_mut(2 * f));
        for ((x, dy), dx) in rows {
            let (a, b) = x.split_at(f);
            let (da, db) = dx.split_at_mut(f);
            let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
            let (dy, dy_rest) = dy.as_chunks::<LANES>();
            let ((da, da_rest), (db, db_rest)) = (da.as_chunks_mut::<LANES>(), db.as_chunks_mut::<LANES>());
            for ((((a, b), dy), da), db) in a.iter().zip(b).zip(dy).zip(da).zip(db) {
                let (for_a, for_b) = slopes(V::load(a), V::load(b), V::load(dy));
                for_a.store(da);
                for_b.store(db);
            }
            if !dy_rest.is_empty() {
                let [a, b, dy] = [a_rest, b_rest, dy_rest];
                let (a, b) = (V::load_part(a, 0.0), V::load_part(b, 0.0));
                let (for_a, for_b) = slopes(a, b, V::load_part(dy, 0.0));
                for_a.store_part(da_rest);
                for_b.store_part(db_rest);
            }
        }
    }
}

/// Gradients of `a` and `b`.
#[inline(always)]
fn slopes<V: Lanes>(a: V, b: V, dy: V) -> (V, V) {
    let s = a.sigmoid();
    let silu = a.mul(s);
    let slope = silu.fma(V::splat(1.0).sub(s), s);
    (dy.mul(b).mul(slope), dy.mul(silu))
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
