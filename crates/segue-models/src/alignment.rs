//! Retrained vectors turned onto earlier ones, and what users of the vectors notice of a retraining.
//!
//! Two trainings of one model end in two spaces: distances mean the same, axes do not. A rotation of all
//! vectors, listeners' and items' alike, changes no score, and one of them brings the new vectors as near
//! to the earlier ones as any does (orthogonal Procrustes; Schönemann, Psychometrika 1966).

use rayon::prelude::*;

use crate::top_k::TopK;

/// An orthogonal matrix: a rotation, perhaps with a reflection.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotation {
    /// Size of a vector.
    d: usize,
    /// `[d, d]` row-major; a row vector `x` becomes `x · matrix`.
    matrix: Vec<f64>,
}

impl Rotation {
    /// The rotation `Q` with the least `‖new · Q − old‖`: `U Vᵀ` where `newᵀ · old = U Σ Vᵀ`.
    ///
    /// `new` and `old` are `[n, d]` row-major; row `i` of both is the same item.
    ///
    /// # Panics
    /// If the lengths differ or are no multiple of `d`.
    #[must_use]
    pub fn onto(new: &[f32], old: &[f32], d: usize) -> Self {
        assert_eq!(new.len(), old.len(), "a new vector for each old one");
        assert!(d > 0 && new.len().is_multiple_of(d), "{} numbers in vectors of {d}", new.len());
        let mut product = vec![0.0; d * d];
        for (x, y) in new.chunks_exact(d).zip(old.chunks_exact(d)) {
            for (row, &x) in product.chunks_exact_mut(d).zip(x) {
                row.iter_mut().zip(y).for_each(|(p, &y)| *p += f64::from(x) * f64::from(y));
            }
        }
        Self { d, matrix: polar(product, d) }
    }

    /// Turns vectors `[n, d]`.
    ///
    /// # Panics
    /// If `vectors` is no multiple of `d`.
    pub fn apply(&self, vectors: &mut [f32]) {
        assert!(vectors.len().is_multiple_of(self.d), "{} numbers in vectors of {}", vectors.len(), self.d);
        vectors.par_chunks_mut(self.d * 64).for_each(|part| {
            let mut sums = vec![0.0; self.d];
            for vector in part.chunks_exact_mut(self.d) {
                sums.fill(0.0);
                for (row, &x) in self.matrix.chunks_exact(self.d).zip(vector.iter()) {
                    sums.iter_mut().zip(row).for_each(|(s, &q)| *s += f64::from(x) * q);
                }
                vector.iter_mut().zip(&sums).for_each(|(x, &s)| *x = s as f32);
            }
        });
    }
}

/// The orthogonal factor `U Vᵀ` of `a = U Σ Vᵀ`, `[d, d]` row-major, by one-sided Jacobi rotations
/// (Hestenes 1958). Directions that `a` does not determine are completed in a fixed way.
fn polar(a: Vec<f64>, d: usize) -> Vec<f64> {
    // Columns of `a · V` and of `V`, each a contiguous run: rotations mix two columns.
    let mut u = transposed(&a, d);
    let mut v = vec![0.0; d * d];
    (0..d).for_each(|i| v[i * d + i] = 1.0);
    for _ in 0..60 {
        let mut is_done = true;
        for p in 0..d {
            for q in p + 1..d {
                let (up, uq) = two(&mut u, p, q, d);
                let (alpha, beta, gamma) = (dot(up, up), dot(uq, uq), dot(up, uq));
                if gamma.abs() <= 1e-15 * (alpha * beta).sqrt() {
                    continue;
                }
                is_done = false;
                let zeta = (beta - alpha) / (2.0 * gamma);
                let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let c = 1.0 / t.hypot(1.0);
                rotate(up, uq, c, c * t);
                let (vp, vq) = two(&mut v, p, q, d);
                rotate(vp, vq, c, c * t);
            }
        }
        if is_done {
            break;
        }
    }
    let lengths: Vec<f64> = u.chunks_exact(d).map(|column| dot(column, column).sqrt()).collect();
    let longest = lengths.iter().fold(0.0_f64, |a, &b| a.max(b));
    let is_determined = |i: usize| lengths[i] > 1e-12 * longest;
    for i in (0..d).filter(|&i| is_determined(i)) {
        u[i * d..(i + 1) * d].iter_mut().for_each(|x| *x /= lengths[i]);
    }
    let mut done: Vec<usize> = (0..d).filter(|&i| is_determined(i)).collect();
    for i in (0..d).filter(|&i| !is_determined(i)) {
        let column = completion(&u, &done, d);
        u[i * d..(i + 1) * d].copy_from_slice(&column);
        done.push(i);
    }
    let mut out = vec![0.0; d * d];
    for (u, v) in u.chunks_exact(d).zip(v.chunks_exact(d)) {
        for (row, &u) in out.chunks_exact_mut(d).zip(u) {
            row.iter_mut().zip(v).for_each(|(o, &v)| *o += u * v);
        }
    }
    out
}

/// A unit vector at right angles to the columns `done`: what is left of the axis they explain least.
fn completion(u: &[f64], done: &[usize], d: usize) -> Vec<f64> {
    let explained = |axis: usize| done.iter().map(|&j| u[j * d + axis].powi(2)).sum::<f64>();
    let axis = (0..d).min_by(|&a, &b| explained(a).total_cmp(&explained(b))).unwrap_or(0);
    let mut column = vec![0.0; d];
    column[axis] = 1.0;
    // Twice is enough (Kahan).
    for _ in 0..2 {
        for &j in done {
            let along = dot(&column, &u[j * d..(j + 1) * d]);
            column.iter_mut().zip(&u[j * d..(j + 1) * d]).for_each(|(x, u)| *x -= along * u);
        }
    }
    let length = dot(&column, &column).sqrt();
    column.iter_mut().for_each(|x| *x /= length);
    column
}

fn transposed(a: &[f64], d: usize) -> Vec<f64> {
    (0..d * d).map(|i| a[i % d * d + i / d]).collect()
}

/// Columns `p < q`.
fn two(columns: &mut [f64], p: usize, q: usize, d: usize) -> (&mut [f64], &mut [f64]) {
    let (left, right) = columns.split_at_mut(q * d);
    (&mut left[p * d..(p + 1) * d], &mut right[..d])
}

fn rotate(p: &mut [f64], q: &mut [f64], c: f64, s: f64) {
    for (p, q) in p.iter_mut().zip(q) {
        (*p, *q) = (c * *p - s * *q, s * *p + c * *q);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// What users of item vectors notice of a retraining. Vectors compare as they are, turned or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// Items with a vector before and after.
    pub n_items: usize,
    /// Mean cosine of an item's vector before and after.
    pub cosine: f64,
    /// Share of an item's 10 nearest items before that are among its 10 nearest after. No rotation
    /// changes it: it is how much the model itself has changed.
    pub neighbours_within: f64,
    /// Share of the 10 items nearest to an item's earlier vector that stay so when the others are looked up
    /// among the new vectors: for whoever keeps earlier vectors and asks a new index.
    pub neighbours_across: f64,
    /// R² of a ridge regression of `ln(1 + plays)` on the earlier vectors of half of the items, on the
    /// earlier vectors of the other half.
    pub probe_before: f64,
    /// R² of the same regression, not fitted anew, on the new vectors of the other half.
    pub probe_after: f64,
}

impl Drift {
    /// Compares `old` and `new`, `[n, d]`; row `i` of both is the same item, with `n_plays[i]` plays.
    /// Neighbours are those of at most 1,000 items, evenly spread over the rows.
    ///
    /// # Panics
    /// If the lengths differ.
    #[must_use]
    pub fn between(old: &[f32], new: &[f32], d: usize, n_plays: &[u64]) -> Self {
        assert_eq!(old.len(), new.len(), "a new vector for each old one");
        assert_eq!(old.len(), n_plays.len() * d, "a number of plays for each vector");
        let n = n_plays.len();
        let (old_unit, new_unit) = (unit(old, d), unit(new, d));
        let cosines =
            old_unit.chunks_exact(d).zip(new_unit.chunks_exact(d)).map(|(a, b)| f64::from(dot_f32(a, b)));
        let asked: Vec<usize> = (0..n).step_by(n.div_ceil(1000).max(1)).collect();
        let shares: Vec<(f64, f64)> = asked
            .par_iter()
            .map(|&item| {
                let before = nearest(&old_unit, &old_unit[item * d..(item + 1) * d], item, d);
                let within = nearest(&new_unit, &new_unit[item * d..(item + 1) * d], item, d);
                let across = nearest(&new_unit, &old_unit[item * d..(item + 1) * d], item, d);
                let share = |after: &[u32]| {
                    before.iter().filter(|i| after.contains(i)).count() as f64 / before.len().max(1) as f64
                };
                (share(&within), share(&across))
            })
            .collect();
        let mean = |values: &mut dyn Iterator<Item = f64>, n: usize| values.sum::<f64>() / n.max(1) as f64;
        let target: Vec<f64> = n_plays.iter().map(|&n| (n as f64).ln_1p()).collect();
        let probe = Probe::fit(old, &target, d);
        Self {
            n_items: n,
            cosine: mean(&mut cosines.into_iter(), n),
            neighbours_within: mean(&mut shares.iter().map(|s| s.0), asked.len()),
            neighbours_across: mean(&mut shares.iter().map(|s| s.1), asked.len()),
            probe_before: probe.r_squared(old, &target, d),
            probe_after: probe.r_squared(new, &target, d),
        }
    }
}

/// The 10 rows with the greatest product with `of`, but `item`; ties by row.
fn nearest(rows: &[f32], of: &[f32], item: usize, d: usize) -> Vec<u32> {
    let mut top = TopK::default();
    top.reset(10);
    for (row, vector) in (0_u32..).zip(rows.chunks_exact(d)).filter(|&(row, _)| row as usize != item) {
        top.offer(dot_f32(of, vector), row);
    }
    let mut out = Vec::new();
    top.finish(|row| row, &mut out);
    out.into_iter().map(|s| s.item).collect()
}

fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    segue_nn::simd::vectorised(
        #[inline(always)]
        || segue_nn::simd::dot(a, b),
    )
}

fn unit(vectors: &[f32], d: usize) -> Vec<f32> {
    let mut out = vectors.to_vec();
    for vector in out.chunks_exact_mut(d) {
        let length = dot_f32(vector, vector).sqrt().max(f32::MIN_POSITIVE);
        vector.iter_mut().for_each(|x| *x /= length);
    }
    out
}

/// A ridge regression with an intercept, fitted on the even rows and judged on the odd ones.
struct Probe {
    weight: Vec<f64>,
    intercept: f64,
}

impl Probe {
    fn fit(vectors: &[f32], target: &[f64], d: usize) -> Self {
        let rows = || vectors.chunks_exact(d).zip(target).step_by(2);
        let n = rows().count().max(1) as f64;
        let mut mean = vec![0.0; d];
        rows().for_each(|(x, _)| mean.iter_mut().zip(x).for_each(|(m, &x)| *m += f64::from(x) / n));
        let target_mean = rows().map(|(_, y)| y).sum::<f64>() / n;
        let (mut gram, mut right) = (vec![0.0; d * d], vec![0.0; d]);
        for (x, y) in rows() {
            let x: Vec<f64> = x.iter().zip(&mean).map(|(&x, m)| f64::from(x) - m).collect();
            for i in 0..d {
                right[i] += x[i] * (y - target_mean);
                gram[i * d..(i + 1) * d].iter_mut().zip(&x).for_each(|(g, xj)| *g += x[i] * xj);
            }
        }
        // The ridge is a thousandth of the mean variance: enough for a solution, small beside the data.
        let ridge = 1e-3 * (0..d).map(|i| gram[i * d + i]).sum::<f64>() / d as f64 + f64::MIN_POSITIVE;
        (0..d).for_each(|i| gram[i * d + i] += ridge);
        let weight = solve(gram, right, d);
        let intercept = target_mean - dot(&weight, &mean);
        Self { weight, intercept }
    }

    /// `1 − Σ (y − ŷ)² / Σ (y − mean y)²` over the odd rows; 0 if they are all alike.
    fn r_squared(&self, vectors: &[f32], target: &[f64], d: usize) -> f64 {
        let rows = || vectors.chunks_exact(d).zip(target).skip(1).step_by(2);
        let mean = rows().map(|(_, y)| y).sum::<f64>() / rows().count().max(1) as f64;
        let (mut rest, mut all) = (0.0, 0.0);
        for (x, y) in rows() {
            let guess =
                self.intercept + x.iter().zip(&self.weight).map(|(&x, w)| f64::from(x) * w).sum::<f64>();
            rest += (y - guess).powi(2);
            all += (y - mean).powi(2);
        }
        if all > 0.0 { 1.0 - rest / all } else { 0.0 }
    }
}

/// Solves `a x = b` for a symmetric positive definite `a` by Cholesky's factorisation.
fn solve(mut a: Vec<f64>, mut b: Vec<f64>, d: usize) -> Vec<f64> {
    for i in 0..d {
        for j in 0..=i {
            let sum = a[i * d + j] - dot(&a[i * d..i * d + j], &a[j * d..j * d + j]);
            a[i * d + j] = if i == j { sum.max(f64::MIN_POSITIVE).sqrt() } else { sum / a[j * d + j] };
        }
    }
    for i in 0..d {
        b[i] = (b[i] - dot(&a[i * d..i * d + i], &b[..i])) / a[i * d + i];
    }
    for i in (0..d).rev() {
        let sum: f64 = (i + 1..d).map(|j| a[j * d + i] * b[j]).sum();
        b[i] = (b[i] - sum) / a[i * d + i];
    }
    b
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segue_nn::Counter;

    use super::*;

    fn values(seed: u64, n: usize) -> Vec<f32> {
        let draws = Counter::new(seed, 1);
        (0..n as u64).map(|i| draws.normal(i)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn vectors_turned_away_are_turned_back_and_scores_stay(seed in 0_u64..1000, d in 1_usize..24, n in 0_usize..60) {
            let old = values(seed, n * d);
            // Any orthogonal matrix: the polar factor of a random one.
            let away = Rotation { d, matrix: polar(values(seed + 1, d * d).iter().map(|&x| f64::from(x)).collect(), d) };
            let mut new = old.clone();
            away.apply(&mut new);
            let back = Rotation::onto(&new, &old, d);
            for i in 0..d {
                for j in 0..d {
                    let product: f64 = (0..d).map(|k| back.matrix[k * d + i] * back.matrix[k * d + j]).sum();
                    prop_assert!((product - f64::from(u8::from(i == j))).abs() < 1e-9, "{product}");
                }
            }
            let user = values(seed + 2, d);
            let (mut turned_user, mut turned) = (user.clone(), new.clone());
            back.apply(&mut turned_user);
            back.apply(&mut turned);
            for ((x, y), z) in turned.chunks_exact(d).zip(old.chunks_exact(d)).zip(new.chunks_exact(d)) {
                if n >= d {
                    x.iter().zip(y).for_each(|(x, y)| assert!((x - y).abs() < 1e-4, "{x} and {y}"));
                }
                let (before, after) = (dot_f32(&user, z), dot_f32(&turned_user, x));
                prop_assert!((before - after).abs() < 1e-4 * (1.0 + d as f32), "{before} and {after}");
            }
        }
    }

    #[test]
    fn no_other_rotation_is_nearer() {
        let (d, n) = (5, 40);
        let (old, new) = (values(1, n * d), values(2, n * d));
        let distance = |rotation: &Rotation| {
            let mut turned = new.clone();
            rotation.apply(&mut turned);
            turned.iter().zip(&old).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        let best = distance(&Rotation::onto(&new, &old, d));
        for seed in 0..200 {
            let other = polar(values(seed, d * d).iter().map(|&x| f64::from(x)).collect(), d);
            assert!(distance(&Rotation { d, matrix: other }) >= best - 1e-6);
        }
    }

    #[test]
    fn a_turned_space_looks_lost_until_it_is_turned_back() {
        let (d, n) = (8, 300);
        let old = values(1, n * d);
        let n_plays: Vec<u64> =
            old.chunks_exact(d).map(|x| (3.0 + x[0] + x[1]).max(0.0).exp() as u64).collect();
        let away = polar(values(2, d * d).iter().map(|&x| f64::from(x)).collect(), d);
        let mut new = old.clone();
        Rotation { d, matrix: away }.apply(&mut new);
        let lost = Drift::between(&old, &new, d, &n_plays);
        Rotation::onto(&new, &old, d).apply(&mut new);
        let found = Drift::between(&old, &new, d, &n_plays);
        assert!(lost.neighbours_within > 0.99 && lost.neighbours_across < 0.4, "{lost:?}");
        assert!(lost.probe_after < 0.5 * lost.probe_before, "{lost:?}");
        assert!(found.neighbours_across > 0.99 && found.cosine > 0.999, "{found:?}");
        assert!(
            found.probe_before > 0.8 && (found.probe_after - found.probe_before).abs() < 1e-3,
            "{found:?}"
        );
    }

    #[test]
    fn no_items_and_equal_targets_are_no_trouble() {
        assert_eq!(Drift::between(&[], &[], 4, &[]).n_items, 0);
        let drift = Drift::between(&[1.0, 2.0], &[1.0, 2.0], 1, &[3, 3]);
        assert_eq!((drift.probe_before, drift.probe_after), (0.0, 0.0));
        assert_eq!(Rotation::onto(&[], &[], 3).matrix.len(), 9);
    }
}
