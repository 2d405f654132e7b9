//! Gauss–Legendre quadrature.

/// Nodes and weights of the `n`-point rule on `[-1, 1]`, nodes ascending.
///
/// Newton's method on the Legendre polynomial from Tricomi's start. Exact for polynomials of degree
/// `2n − 1`; for smooth functions the error falls faster than any power of `n`.
/// Source: Abramowitz & Stegun 25.4.29 and 22.16.6.
pub(crate) fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let mut rule = vec![(0.0, 0.0); n];
    for i in 0..n.div_ceil(2) {
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..100 {
            let (mut before, mut value) = (1.0, x);
            for k in 2..=n {
                let k = k as f64;
                (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
            }
            if n == 1 {
                (before, value) = (1.0, x);
            }
            slope = n as f64 * (x * value - before) / (x * x - 1.0);
            let step = value / slope;
            x -= step;
            if step.abs() < 1e-15 {
                break;
            }
        }
        let weight = 2.0 / ((1.0 - x * x) * slope * slope);
        rule[i] = (-x, weight);
        rule[n - 1 - i] = (x, weight);
    }
    rule
}

/// The same rule moved to `[from, to]`.
pub(crate) fn gauss_legendre_on(rule: &[(f64, f64)], from: f64, to: f64) -> Vec<(f64, f64)> {
    let (half, mid) = (0.5 * (to - from), 0.5 * (to + from));
    rule.iter().map(|&(x, w)| (mid + half * x, half * w)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_integrated_exactly() {
        for n in [1, 2, 5, 16, 101] {
            let rule = gauss_legendre_on(&gauss_legendre(n), 0.0, 2.0);
            let degree = (2 * n - 1).min(25);
            let got: f64 = rule.iter().map(|&(x, w)| w * x.powi(degree as i32)).sum();
            let want = 2_f64.powi(degree as i32 + 1) / (degree + 1) as f64;
            assert!((got / want - 1.0).abs() < 1e-12, "{n} {got} {want}");
        }
    }
}
