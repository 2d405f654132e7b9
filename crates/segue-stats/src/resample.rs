//! Which rows a bootstrap draw picks, block by block.
//!
//! `n` picks with replacement from `n` rows are multinomial. Taken apart: how many fall into the first block of
//! rows is binomial, how many of the rest fall into the second is binomial again, and within a block every row is as
//! likely as another. So a draw can walk over the rows in blocks that stay in the first cache, and a block of 2¹²
//! rows needs 12 random bits per pick: one word serves five.

use crate::distribution::binomial;
use crate::random::Stream;

/// Bits of a row within a block.
const BITS: usize = 12;

/// Rows of a block: 32 KiB of numbers.
pub(crate) const BLOCK: usize = 1 << BITS;

/// Picks served by one random word.
pub(crate) const PER_WORD: usize = 64 / BITS;

/// One draw on its way over the blocks.
#[derive(Debug, Clone)]
pub(crate) struct Resample {
    stream: Stream,
    /// Picks not yet made.
    picks: u64,
    /// Rows not yet passed.
    rows: usize,
}

impl Resample {
    /// Draw number `draw` of `seed` over `rows` rows.
    pub(crate) fn new(seed: u64, draw: u64, rows: usize) -> Self {
        Self { stream: Stream::new(seed, draw), picks: rows as u64, rows }
    }

    /// Picks rows of the next block, which has `len` rows, at most [`BLOCK`]: `pick(k, row)` with `row` below
    /// `len` and `k` below [`PER_WORD`], which differs between neighbours so that sums can overlap.
    #[inline(always)]
    pub(crate) fn next_block(&mut self, len: usize, mut pick: impl FnMut(usize, usize)) {
        let here = if len == self.rows {
            self.picks
        } else {
            draw_binomial(&mut self.stream, self.picks, len as f64 / self.rows as f64)
        };
        self.rows -= len;
        self.picks -= here;
        let (words, rest) = ((here / PER_WORD as u64) as usize, (here % PER_WORD as u64) as usize);
        if len == BLOCK {
            for _ in 0..words {
                let word = self.stream.next_u64();
                for k in 0..PER_WORD {
                    pick(k, row_of(word, k));
                }
            }
            let word = self.stream.next_u64();
            for k in 0..rest {
                pick(k, row_of(word, k));
            }
        } else {
            for _ in 0..words {
                for k in 0..PER_WORD {
                    pick(k, self.stream.next_below(len));
                }
            }
            for k in 0..rest {
                pick(k, self.stream.next_below(len));
            }
        }
    }
}

/// The `k`-th row told by a random word.
#[inline(always)]
const fn row_of(word: u64, k: usize) -> usize {
    (word >> (BITS * k)) as usize & (BLOCK - 1)
}

/// How many of `n` trials succeed, each with probability `p`.
///
/// Below a mean of 10 by inversion, above by rejection from a transformed uniform, whose hat lies above the
/// distribution everywhere: neither is an approximation.
///
/// Source: Hörmann, "The generation of binomial random variates", Journal of Statistical Computation and
/// Simulation 1993 (algorithm BTRS).
fn draw_binomial(stream: &mut Stream, n: u64, p: f64) -> u64 {
    if n == 0 || p <= 0.0 {
        return 0;
    }
    if p > 0.5 {
        return n - draw_binomial(stream, n, 1.0 - p);
    }
    let nf = n as f64;
    if nf * p < 10.0 {
        let odds = p / (1.0 - p);
        let (mut u, mut mass, mut k) = (stream.next_f64(), (nf * (-p).ln_1p()).exp(), 0);
        while u >= mass && k < n {
            u -= mass;
            mass *= odds * (n - k) as f64 / (k + 1) as f64;
            k += 1;
        }
        return k;
    }
    let sd = (nf * p * (1.0 - p)).sqrt();
    let b = 1.15 + 2.53 * sd;
    let a = -0.0873 + 0.0248 * b + 0.01 * p;
    let centre = nf * p + 0.5;
    let surely = 0.92 - 4.2 / b;
    loop {
        let u = stream.next_f64() - 0.5;
        let v = stream.next_f64();
        let reach = 0.5 - u.abs();
        let k = ((2.0 * a / reach + b) * u + centre).floor();
        if reach >= 0.07 && v <= surely {
            return k as u64;
        }
        if !(0.0..=nf).contains(&k) {
            continue;
        }
        let mode = ((nf + 1.0) * p).floor() as u64;
        let hat = v * (2.83 + 5.1 / b) * sd / (a / (reach * reach) + b);
        if hat * binomial::pmf(mode, n, p) <= binomial::pmf(k as u64, n, p) {
            return k as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chi-squared of drawn counts against the mass function, cells of fewer than 20 expected put together.
    #[test]
    fn drawn_counts_follow_the_mass_function() {
        for (seed, n, p) in
            [(1, 5, 0.3), (2, 4_000, 0.001), (3, 40, 0.4), (4, 4_000, 0.02), (5, 200_000, 0.98)]
        {
            let draws = 40_000;
            let mut stream = Stream::new(77, seed);
            let mut seen = std::collections::BTreeMap::<u64, f64>::new();
            for _ in 0..draws {
                *seen.entry(draw_binomial(&mut stream, n, p)).or_default() += 1.0;
            }
            let (low, high) = (*seen.keys().next().unwrap(), *seen.keys().last().unwrap());
            let (mut chi2, mut cells) = (0.0, 0.0);
            let (mut want, mut got, mut left) = (0.0, 0.0, 1.0);
            for k in low..=high {
                let mass = binomial::pmf(k, n, p)
                    + if k == low {
                        0.0_f64.max(binomial::cdf(k, n, p) - binomial::pmf(k, n, p))
                    } else {
                        0.0
                    };
                want += mass * f64::from(draws);
                left -= mass;
                got += seen.get(&k).copied().unwrap_or(0.0);
                if want >= 20.0 && left * f64::from(draws) >= 20.0 {
                    chi2 += (got - want) * (got - want) / want;
                    cells += 1.0;
                    (want, got) = (0.0, 0.0);
                }
            }
            // The last cell takes what is left above.
            want += left.max(0.0) * f64::from(draws);
            chi2 += (got - want) * (got - want) / want;
            // Mean `cells`, variance twice that: four standard deviations.
            assert!(chi2 < cells + 4.0 * f64::sqrt(2.0 * cells) + 4.0, "{n} {p}: {chi2} over {cells} cells");
        }
        let mut stream = Stream::new(0, 0);
        assert_eq!(
            (
                draw_binomial(&mut stream, 0, 0.5),
                draw_binomial(&mut stream, 9, 0.0),
                draw_binomial(&mut stream, 9, 1.0)
            ),
            (0, 0, 9)
        );
    }

    /// Rows of full blocks, of the last block and across blocks vary and go together as multinomial counts do:
    /// variance `1 − 1/n` and correlation `−1/(n − 1)` for a row, `s (1 − s)` times `n` for a set of share `s`.
    #[test]
    fn picks_are_multinomial_over_and_within_blocks() {
        let n = 2 * BLOCK + 1_000;
        let draws = 400;
        let sets: [&dyn Fn(usize) -> bool; 4] =
            [&|r| r < BLOCK, &|r| r % 2 == 0, &|r| r >= 2 * BLOCK, &|r| {
                (BLOCK / 2..BLOCK + 500).contains(&r)
            }];
        let shares = sets.map(|set| (0..n).filter(|&r| set(r)).count() as f64 / n as f64);
        let (mut chi2, mut total) = ([0.0; 4], 0_u64);
        let mut first = [0_u32; 2];
        for draw in 0..draws {
            let mut counts = vec![0_u32; n];
            let mut resample = Resample::new(9, draw, n);
            let mut from = 0;
            while from < n {
                let len = BLOCK.min(n - from);
                resample.next_block(len, |_, row| counts[from + row] += 1);
                from += len;
            }
            total += counts.iter().map(|&c| u64::from(c)).sum::<u64>();
            first = [first[0] + counts[0], first[1] + counts[n - 1]];
            for (i, set) in sets.iter().enumerate() {
                let got: u32 = (0..n).filter(|&r| set(r)).map(|r| counts[r]).sum();
                let (want, s) = (n as f64 * shares[i], shares[i]);
                chi2[i] += (f64::from(got) - want).powi(2) / (want * (1.0 - s));
            }
        }
        assert_eq!(total, draws * n as u64);
        // Chi-squared on 400: mean 400, standard deviation 28.
        for c in chi2 {
            assert!((290.0..510.0).contains(&c), "{chi2:?}");
        }
        // Poisson with mean 400.
        assert!(first.iter().all(|f| (320..480).contains(f)), "{first:?}");
    }
}
