//! GELU (Hendrycks & Gimpel 2016) in its tanh form, which is PyTorch's `approximate="tanh"`.
//!
//! `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`, which equals `x σ(2 √(2/π) (x + 0.044715 x³))`.

use crate::elementwise::{self, Function};
use crate::lanes::Lanes;

const SCALE: f32 = 1.595_769; // 2 √(2/π)
const CUBIC: f32 = 0.044_715;

/// Fills `y` `[n]` from `x` `[n]`.
pub fn forward(x: &[f32], y: &mut [f32]) {
    elementwise::forward::<Gelu>(x, y);
}

/// Turns the gradient of the output into that of the input, in place: `d` is `dy`, then `dx`.
pub fn backward(x: &[f32], d: &mut [f32]) {
    elementwise::backward::<Gelu>(x, d);
}

struct Gelu;

impl Function for Gelu {
    #[inline(always)]
    fn value<V: Lanes>(x: V) -> V {
        x.mul(share(x))
    }

    /// `s + x s (1 - s) SCALE (1 + 3 CUBIC x²)`.
    #[inline(always)]
    fn slope<V: Lanes>(x: V) -> V {
        let s = share(x);
        let inner = V::splat(3.0 * SCALE * CUBIC).mul(x).fma(x, V::splat(SCALE));
        x.mul(s).mul(V::splat(1.0).sub(s)).fma(inner, s)
    }
}

/// `σ(SCALE (x + CUBIC x³))`: the share of `x` that passes.
#[inline(always)]
fn share<V: Lanes>(x: V) -> V {
    let cubic = V::splat(SCALE * CUBIC).mul(x).mul(x).fma(x, V::splat(SCALE).mul(x));
    cubic.sigmoid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    fn reference(x: &[f64]) -> Vec<f64> {
        let root = (2.0 / std::f64::consts::PI).sqrt();
        x.iter().map(|x| 0.5 * x * (1.0 + (root * (x + 0.044_715 * x.powi(3))).tanh())).collect()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_reference() {
        let (x, dy) = (values(1, 133, 2.0), values(2, 133, 1.0));
        let (mut y, mut d) = (vec![0.0; 133], dy.clone());
        forward(&x, &mut y);
        close("y", &y, &reference(&f64s(&x)), 1e-5);
        backward(&x, &mut d);
        gradient("x", &x, &d, |x| weighted(&reference(x), &dy));
    }

    #[test]
    fn extremes_are_the_identity_and_zero() {
        let (mut y, mut d) = ([0.0; 2], [1.0; 2]);
        forward(&[60.0, -60.0], &mut y);
        assert!(y[0] == 60.0 && y[1].abs() < 1e-30, "{y:?}");
        backward(&[60.0, -60.0], &mut d);
        assert!(d[0] == 1.0 && d[1].abs() < 1e-30, "{d:?}");
    }
}
