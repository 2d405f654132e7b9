//! Functions of one number over slices: what activations share.

use std::marker::PhantomData;

use crate::lanes::{Kernel, Lanes, dispatch};
use crate::simd::LANES;

/// A function and its derivative. Mark both `#[inline(always)]`.
pub(crate) trait Function {
    fn value<V: Lanes>(x: V) -> V;
    fn slope<V: Lanes>(x: V) -> V;
}

/// Fills `y` `[n]` from `x` `[n]`.
pub(crate) fn forward<F: Function>(x: &[f32], y: &mut [f32]) {
    dispatch(Forward { x, y, function: PhantomData::<F> });
}

/// Turns the gradient of the output into that of the input, in place: `d` is `dy`, then `dx`.
pub(crate) fn backward<F: Function>(x: &[f32], d: &mut [f32]) {
    dispatch(Backward { x, d, function: PhantomData::<F> });
}

struct Forward<'a, F> {
    x: &'a [f32],
    y: &'a mut [f32],
    function: PhantomData<F>,
}

impl<F: Function> Kernel for Forward<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let (x_main, x_rest) = self.x.as_chunks::<LANES>();
        let (y_main, y_rest) = self.y.as_chunks_mut::<LANES>();
        for (x, y) in x_main.iter().zip(y_main) {
            F::value(V::load(x)).store(y);
        }
        F::value(V::load_part(x_rest, 0.0)).store_part(y_rest);
    }
}

struct Backward<'a, F> {
    x: &'a [f32],
    d: &'a mut [f32],
    function: PhantomData<F>,
}

impl<F: Function> Kernel for Backward<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<V: Lanes>(self) {
        let (x_main, x_rest) = self.x.as_chunks::<LANES>();
        let (d_main, d_rest) = self.d.as_chunks_mut::<LANES>();
        for (x, d) in x_main.iter().zip(d_main) {
            V::load(d).mul(F::slope(V::load(x))).store(d);
        }
        V::load_part(d_rest, 0.0).mul(F::slope(V::load_part(x_rest, 0.0))).store_part(d_rest);
    }
}
