//! Calibration of the rules and intervals by simulation: `benches/calibration/run`.
//!
//! Two worlds. *Rows*: independent values that arrive evenly over 14 looks. *Listeners*: people who enrol at
//! different times, differ from each other for good (their values are correlated with themselves over time) and
//! keep adding minutes after every look. Both at 50/50 and 90/10. Random numbers are counted, not carried: run
//! `r` is the same on every machine and with any number of threads.
//!
//! `calibration [--quick]`; the table goes to stdout.

// The table is the program's output.
#![allow(clippy::print_stdout)]

use rayon::prelude::*;
use segue_experiment::analysis::equal_plays;
use segue_experiment::metric::MetricKind;
use segue_stats::arm::{Alternative, ArmSums, Moments};
use segue_stats::asymptotic_cs::asymptotic_cs;
use segue_stats::correlated_looks::{LookSums, correlated_bounds};
use segue_stats::cuped::{CovariateSums, cuped};
use segue_stats::distribution::normal;
use segue_stats::group_sequential::{Sides, Spending, group_sequential_bounds};
use segue_stats::quantile_metric::{ClusterSums, QuantileSums, quantile_moments};
use segue_stats::random::Stream;
use segue_stats::ratio_metric::RatioSums;
use segue_stats::welch_t::welch_t;

const LOOKS: usize = 14;
const USERS: usize = 1_400;

fn main() {
    let quick = std::env::args().any(|a| a == "--quick");
    let shrink = if quick { 20 } else { 1 };
    println!("error and power over {LOOKS} looks, {USERS} users per run");
    println!("{:<10} {:<6} {:<46} {:>7} {:>8} {:>8}", "world", "split", "rule", "runs", "rate", "± 2 se");
    for split in [0.5, 0.1] {
        for listeners in [false, true] {
            sequential(listeners, split, 50_000 / shrink);
        }
        accumulating(split, 1_000 / shrink);
    }
    println!();
    println!("coverage of 95 % intervals");
    println!("{:<10} {:<6} {:<46} {:>7} {:>8} {:>8}", "world", "split", "interval", "runs", "rate", "± 2 se");
    for split in [0.5, 0.1] {
        for listeners in [false, true] {
            coverage(listeners, split, 20_000 / shrink);
        }
    }
}

fn gauss(s: &mut Stream) -> f64 {
    normal::quantile(s.next_f64().max(1e-300))
}

fn line(listeners: bool, split: f64, what: &str, hits: u64, runs: u64) {
    let rate = hits as f64 / runs as f64;
    let error = 2.0 * (rate * (1.0 - rate) / runs as f64).sqrt();
    let world = if listeners { "listeners" } else { "rows" };
    let split = if split == 0.5 { "50/50" } else { "90/10" };
    println!("{world:<10} {split:<6} {what:<46} {runs:>7} {rate:>8.4} {error:>8.4}");
}

/// Closed values: each unit adds its one final value at the look at which it matures.
fn sequential(listeners: bool, split: f64, runs: u64) {
    let times: Vec<f64> = (1..=LOOKS).map(|k| k as f64 / LOOKS as f64).collect();
    let bounds = |s| group_sequential_bounds(&times, 0.05, Sides::Two, s).expect("fourteen even looks").z;
    let rules: Vec<(&str, Vec<f64>)> = vec![
        ("naive peeking", vec![normal::upper_quantile(0.025); LOOKS]),
        ("GST O'Brien-Fleming", bounds(Spending::ObrienFleming)),
        ("GST Pocock", bounds(Spending::Pocock)),
        ("GST power 2", bounds(Spending::Power(2.0))),
        ("GST HSD -4", bounds(Spending::HwangShihDeCani(-4.0))),
    ];
    // The effect that a fixed test of all users finds 80 % of the time.
    let n_t = USERS as f64 * split;
    let sd = if listeners {
        (0.64_f64.exp() * (0.64_f64.exp() - 1.0) + 0.25 * 0.64_f64.exp()).sqrt()
    } else {
        1.0
    };
    let effect = (normal::upper_quantile(0.025) + normal::quantile(0.8))
        * sd
        * (1.0 / n_t + 1.0 / (USERS as f64 - n_t)).sqrt();
    for (shift, power) in [(0.0, false), (effect, true)] {
        // Per rule, then always-valid, then the fixed test at the end.
        let hits: Vec<u64> = (0..runs)
            .into_par_iter()
            .map(|run| {
                let z = path(listeners, split, shift, run);
                let mut hit: Vec<u64> = rules
                    .iter()
                    .map(|(_, b)| u64::from(z.iter().zip(b).any(|((z, ..), b)| z.abs() >= *b)))
                    .collect();
                let always = z.iter().any(|&(z, se, n)| {
                    asymptotic_cs(z * se, se, n, 0.05, USERS as f64)
                        .is_ok_and(|c| (z * se).abs() >= c.half_width)
                });
                hit.push(u64::from(always));
                hit.push(u64::from(z.last().is_some_and(|(z, ..)| z.abs() >= normal::upper_quantile(0.025))));
                hit
            })
            .reduce(|| vec![0; rules.len() + 2], |a, b| a.iter().zip(&b).map(|(x, y)| x + y).collect());
        let names = rules.iter().map(|(n, _)| *n).chain(["always valid", "fixed, at the end"]);
        for (name, hits) in names.zip(hits) {
            if !(power && name == "naive peeking") {
                line(
                    listeners,
                    split,
                    &format!("{name}: {}", if power { "power" } else { "A/A" }),
                    hits,
                    runs,
                );
            }
        }
    }
}

/// z, standard error and units at each look.
fn path(listeners: bool, split: f64, shift: f64, run: u64) -> Vec<(f64, f64, f64)> {
    let mut s = Stream::new(if listeners { 21 } else { 20 }, run);
    let mut by_look = vec![[ArmSums { n: 0, sum: 0.0, sum_sq: 0.0 }; 2]; LOOKS];
    for user in 0..USERS {
        let arm = usize::from(s.next_f64() < split);
        // Rows come evenly; listeners enrol more at first.
        let (look, value) = if listeners {
            let look = (LOOKS as f64 * s.next_f64().powf(1.3)) as usize;
            let level = (0.8 * gauss(&mut s)).exp();
            (look, level + 0.5 * 0.32_f64.exp() * gauss(&mut s))
        } else {
            (user * LOOKS / USERS, gauss(&mut s))
        };
        let y = value + shift * arm as f64;
        let sums = &mut by_look[look][arm];
        sums.n += 1;
        sums.sum += y;
        sums.sum_sq += y * y;
    }
    let mut all = [ArmSums { n: 0, sum: 0.0, sum_sq: 0.0 }; 2];
    by_look
        .iter()
        .map(|arms| {
            for (a, b) in all.iter_mut().zip(arms) {
                a.n += b.n;
                a.sum += b.sum;
                a.sum_sq += b.sum_sq;
            }
            match (all[0].moments(false), all[1].moments(false)) {
                (Ok(c), Ok(t)) if c.variance + t.variance > 0.0 => {
                    let se = (c.variance_of_mean() + t.variance_of_mean()).sqrt();
                    ((t.mean - c.mean) / se, se, c.n + t.n)
                }
                _ => (0.0, 1.0, 2.0),
            }
        })
        .collect()
}

/// Values that keep accumulating: enrolled n as the information (wrong), and the estimated covariance.
fn accumulating(split: f64, runs: u64) {
    let users = 400;
    let times: Vec<f64> = (1..=LOOKS).map(|k| k as f64 / LOOKS as f64).collect();
    let hits: Vec<u64> = (0..runs)
        .into_par_iter()
        .map(|run| {
            let mut s = Stream::new(33, run);
            let mut arms = [LookSums::new(LOOKS), LookSums::new(LOOKS)];
            for _ in 0..users {
                let arm = usize::from(s.next_f64() < split);
                // Half are there from the start, the others come evenly.
                let from = ((2.0 * LOOKS as f64 * s.next_f64()) as usize).saturating_sub(LOOKS);
                let level = (0.8 * gauss(&mut s)).exp();
                let mut total = 0.0;
                let values: Vec<f64> = (0..LOOKS)
                    .map(|k| {
                        if k >= from {
                            total += level * 2.0 * s.next_f64();
                        }
                        total
                    })
                    .collect();
                arms[arm].add(from, &values).expect("finite values");
            }
            let moments: Vec<Vec<Moments>> = match arms.iter().map(LookSums::moments).collect() {
                Ok(m) => m,
                Err(_) => return vec![0; 2],
            };
            let z: Vec<f64> = (0..LOOKS)
                .map(|k| {
                    let (c, t) = (&moments[0][k], &moments[1][k]);
                    (t.mean - c.mean) / (c.variance_of_mean() + t.variance_of_mean()).sqrt()
                })
                .collect();
            // The wrong way: enrolled units as information.
            let n: Vec<f64> =
                (0..LOOKS).map(|k| (moments[0][k].n + moments[1][k].n) / users as f64).collect();
            let wrong = group_sequential_bounds(&n, 0.05, Sides::Two, Spending::Pocock);
            let covariance: Vec<Vec<f64>> = match (arms[0].covariance(), arms[1].covariance()) {
                (Ok(a), Ok(b)) => {
                    a.iter().zip(&b).map(|(x, y)| x.iter().zip(y).map(|(p, q)| p + q).collect()).collect()
                }
                _ => return vec![0; 2],
            };
            let right = correlated_bounds(&covariance, &times, 0.05, Sides::Two, Spending::Pocock, run);
            let crossed = |bounds: Option<Vec<f64>>| {
                u64::from(bounds.is_some_and(|b| z.iter().zip(&b).any(|(z, b)| z.abs() >= *b)))
            };
            vec![crossed(wrong.ok().map(|b| b.z)), crossed(right.ok())]
        })
        .reduce(|| vec![0; 2], |a, b| a.iter().zip(&b).map(|(x, y)| x + y).collect());
    line(true, split, "accumulating, enrolled n as information: A/A", hits[0], runs);
    line(true, split, "accumulating, covariance estimated: A/A", hits[1], runs);
}

/// One user of the coverage worlds.
struct User {
    arm: usize,
    group: usize,
    before: f64,
    rows: Vec<f64>,
    artists: Vec<usize>,
}

fn users(listeners: bool, split: f64, run: u64, lift: f64) -> Vec<User> {
    let mut s = Stream::new(if listeners { 41 } else { 40 }, run);
    (0..USERS)
        .map(|_| {
            let arm = usize::from(s.next_f64() < split);
            let group = s.next_below(64);
            let own = if listeners { 0.8 * gauss(&mut s) } else { 0.0 };
            let noise = if listeners { 0.6 } else { 1.0 };
            let n = if listeners { 1 + s.next_below(8) } else { 1 };
            let scale = if arm == 1 { 1.0 + lift } else { 1.0 };
            let rows: Vec<f64> = (0..n).map(|_| scale * (own + noise * gauss(&mut s)).exp()).collect();
            // What was heard before: like the listener, or like the one row.
            let like = if listeners { own } else { (rows[0] / scale).ln() };
            let before = (0.8 * like + 0.4 * gauss(&mut s)).exp();
            // Half of a listener's plays are of one artist.
            let loved = (80.0 * s.next_f64().powi(2)) as usize;
            let artists = (0..n)
                .map(|_| {
                    if listeners && s.next_f64() < 0.5 {
                        loved
                    } else {
                        (80.0 * s.next_f64().powi(2)) as usize
                    }
                })
                .collect();
            User { arm, group, before, rows, artists }
        })
        .collect()
}

fn coverage(listeners: bool, split: f64, runs: u64) {
    let lift = 0.05;
    let names =
        ["mean (Welch)", "ratio (delta)", "quantile .75 (clustered)", "mean, CUPED", "Gini at equal plays"];
    // Means: E[exp(N(0, 1))] = √e per row; listeners have 4.5 rows on average.
    let row_mean = 0.5_f64.exp();
    let unit_mean = row_mean * if listeners { 4.5 } else { 1.0 };
    let quantile = normal::quantile(0.75).exp();
    let truths = [lift * unit_mean, lift * row_mean, lift * quantile, lift * unit_mean, 0.0];
    let hits = (0..runs)
        .into_par_iter()
        .map(|run| {
            let world = users(listeners, split, run, lift);
            let z = normal::upper_quantile(0.025);
            let intervals = [
                mean(&world, false),
                ratio(&world),
                quantiles(&world).map(|(e, se)| [e - z * se, e + z * se]),
                mean(&world, true),
                gini(&world).map(|(e, se)| [e - z * se, e + z * se]),
            ];
            let mut hit = [0_u64; 5];
            for ((hit, interval), truth) in hit.iter_mut().zip(intervals).zip(truths) {
                *hit = u64::from(interval.is_some_and(|[low, high]| low <= truth && truth <= high));
            }
            hit
        })
        .reduce(|| [0; 5], |a, b| std::array::from_fn(|i| a[i] + b[i]));
    for (name, hits) in names.iter().zip(hits) {
        line(listeners, split, name, hits, runs);
    }
}

fn mean(world: &[User], adjusted: bool) -> Option<[f64; 2]> {
    let mut sums = [CovariateSums { n: 0, y: 0.0, y_sq: 0.0, x: 0.0, x_sq: 0.0, xy: 0.0 }; 2];
    for u in world {
        let (y, x): (f64, f64) = (u.rows.iter().sum(), u.before);
        let s = &mut sums[u.arm];
        *s = CovariateSums {
            n: s.n + 1,
            y: s.y + y,
            y_sq: s.y_sq + y * y,
            x: s.x + x,
            x_sq: s.x_sq + x * x,
            xy: s.xy + x * y,
        };
    }
    if adjusted {
        return cuped(&sums[0], &sums[1], 0.05).ok().map(|c| c.interval);
    }
    let [c, t] = sums.map(|s| ArmSums { n: s.n, sum: s.y, sum_sq: s.y_sq }.moments(false));
    welch_t(&c.ok()?, &t.ok()?, 0.0, 0.05, Alternative::TwoSided).ok().map(|w| w.interval)
}

fn ratio(world: &[User]) -> Option<[f64; 2]> {
    let none = RatioSums {
        n: 0,
        numerator: 0.0,
        numerator_sq: 0.0,
        denominator: 0.0,
        denominator_sq: 0.0,
        product: 0.0,
    };
    let mut sums = [none; 2];
    for u in world {
        let (y, d): (f64, f64) = (u.rows.iter().sum(), u.rows.len() as f64);
        let s = &mut sums[u.arm];
        s.n += 1;
        s.numerator += y;
        s.numerator_sq += y * y;
        s.denominator += d;
        s.denominator_sq += d * d;
        s.product += y * d;
    }
    let [c, t] = sums.map(|s| s.moments());
    welch_t(&c.ok()?, &t.ok()?, 0.0, 0.05, Alternative::TwoSided).ok().map(|w| w.interval)
}

fn quantiles(world: &[User]) -> Option<(f64, f64)> {
    let nu = 0.75;
    let mut moments = Vec::new();
    for arm in 0..2 {
        let mut rows: Vec<f64> =
            world.iter().filter(|u| u.arm == arm).flat_map(|u| u.rows.iter().copied()).collect();
        rows.sort_unstable_by(f64::total_cmp);
        let n = rows.len() as f64;
        let reach = normal::upper_quantile(0.025) * (nu * (1.0 - nu) / n).sqrt();
        let at = |q: f64| rows[((n * q).ceil() as usize).clamp(1, rows.len()) - 1];
        let quantile = at(nu);
        let mut c =
            ClusterSums { n_clusters: 0, below: 0.0, below_sq: 0.0, size: 0.0, size_sq: 0.0, product: 0.0 };
        for u in world.iter().filter(|u| u.arm == arm) {
            let below = u.rows.iter().filter(|r| **r <= quantile).count() as f64;
            let size = u.rows.len() as f64;
            c.n_clusters += 1;
            c.below += below;
            c.below_sq += below * below;
            c.size += size;
            c.size_sq += size * size;
            c.product += below * size;
        }
        let sums = QuantileSums {
            n: rows.len() as u64,
            n_star: rows.len() as u64,
            quantile,
            lower: at(nu - reach),
            upper: at(nu + reach),
            clusters: Some(c),
        };
        moments.push(quantile_moments(&sums, nu).ok()?);
    }
    let se = (moments[0].variance_of_mean() + moments[1].variance_of_mean()).sqrt();
    Some((moments[1].mean - moments[0].mean, se))
}

fn gini(world: &[User]) -> Option<(f64, f64)> {
    let mut groups = [vec![vec![0_u64; 80]; 64], vec![vec![0_u64; 80]; 64]];
    for u in world {
        for &artist in &u.artists {
            groups[u.arm][u.group][artist] += 1;
        }
    }
    let e = equal_plays(&groups[0], &groups[1], MetricKind::Gini).ok()?;
    Some((e.estimates[1] - e.estimates[0], e.standard_errors[0].hypot(e.standard_errors[1])))
}
