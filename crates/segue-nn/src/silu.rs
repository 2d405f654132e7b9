//! SiLU (Elfwing, Uchibe & Doya 2018): `x σ(x)`.

use crate::elementwise::{self, Function};
use crate::lanes::Lanes;

/// Fills `y` `[n]` from `x` `[n]`.
pub fn forward(x: &[f32], y: &mut [f32]) {
    elementwise::forward::<Silu>(x, y);
}

/// Turns the gradient of the output into that of the input, in place: `d` is `dy`, then `dx`.
pub fn backward(x: &[f32], d: &mut [f32]) {
    elementwise::backward::<Silu>(x, d);
}

struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn value<V: Lanes>(x: V) -> V {
        x.mul(x.sigmoid())
    }

    #[inline(always)]
    fn slope<V: Lanes>(x: V) -> V {
        value_and_slope(x).1
    }
}

/// `x σ(x)` and its derivative `σ(x) (1 + x (1 - σ(x)))`.
#[inline(always)]
pub(crate) fn value_and_slope<V: Lanes>(x: V) -> (V, V) {
    let share = x.sigmoid();
    let value = x.mul(share);
    (value, value.fma(V::splat(1.0).sub(share), share))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::*;

    fn reference(x: &[f64]) -> Vec<f64> {
        x.iter().map(|x| x / (1.0 + (-x).exp())).collect()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_reference() {
        for n in [0, 1, 16, 133] {
            let (x, dy) = (values(1, n, 2.0), values(2, n, 1.0));
            let (mut y, mut d) = (vec![0.0; n], dy.clone());
            forward(&x, &mut y);
            close("y", &y, &reference(&f64s(&x)), 1e-5);
            backward(&x, &mut d);
            gradient("x", &x, &d, |x| weighted(&reference(x), &dy));
        }
    }

    #[test]
    fn extremes_are_the_identity_and_zero() {
        let (mut y, mut d) = ([0.0; 2], [1.0; 2]);
        forward(&[200.0, -200.0], &mut y);
        assert!(y[0] == 200.0 && y[1].abs() < 1e-30, "{y:?}");
        backward(&[200.0, -200.0], &mut d);
        assert!(d[0] == 1.0 && d[1].abs() < 1e-30, "{d:?}");
    }
}
