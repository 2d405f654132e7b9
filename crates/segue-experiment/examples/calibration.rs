//! Calibration of the rules and intervals by simulation: `benches/calibration/run`.
//!
//! Two worlds. *Rows*: independent values that arrive evenly over 14 looks. *Listeners*: people who enrol at
//! different times, differ from each other for good (their values are correlated with themselves over time) and
//! keep adding minutes after every look. Both at 50/50 and 90/10, which read the same users: the arm is told by
//! one number per user. Random numbers are counted, not carried: run `r` is the same on every machine and with any
//! number of threads.
//!
//! `calibration [--quick] [--only WORD] [--world WORLD] [--runs N]`; the table goes to stdout. `WORD` is one of
//! `sequential`, `mean`, `ratio`, `quantile`, `cuped`, `gini`, `accumulating`; `WORLD` and `N` narrow down
//! `sequential`: its worlds, as the table calls them, and its runs.

// The table is the program's output.
#![allow(clippy::print_stdout)]

use rayon::prelude::*;
use segue_experiment::analysis::equal_plays;
use segue_experiment::metric::MetricKind;
use segue_stats::arm::{Alternative, ArmSums, Moments};
use segue_stats::asymptotic_cs::asymptotic_cs;
use segue_stats::correlated_looks::{LookSums, correlated_bounds};
use segue_stats::cuped::{CovariateSums, cuped};
use segue_stats::distribution::{normal, student_t};
use segue_stats::group_sequential::{
    Sides, Spending, group_sequential_bounds, normal_equivalent, student_boundary,
};
use segue_stats::quantile_metric::{ClusterSums, QuantileSums, quantile_moments_and_dof};
use segue_stats::random::Stream;
use segue_stats::ratio_metric::RatioSums;
use segue_stats::skewness::{SkewSums, skewness_of_difference, with_skewness, without_skewness};
use segue_stats::welch_t::welch_t;

const LOOKS: usize = 14;
/// Shares of the treatment.
const SPLITS: [f64; 2] = [0.5, 0.1];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let shrink = if arguments.iter().any(|a| a == "--quick") { 20 } else { 1 };
    let after = |flag: &str| arguments.iter().skip_while(|a| *a != flag).nth(1).map(String::as_str);
    let only = after("--only");
    let wants = |word: &str| only.is_none_or(|o| o == word);
    if wants("sequential") {
        let runs = after("--runs").map_or(50_000 / shrink, |n| n.parse().expect("--runs takes a number"));
        sequential_tables(after("--world"), runs);
    }
    let intervals: [bool; 5] = WORDS.map(wants);
    if intervals.contains(&true) {
        println!("coverage of 95 % intervals");
        println!(
            "{:<10} {:<6} {:>7} {:<46} {:>7} {:>8} {:>8}",
            "world", "split", "users", "interval", "runs", "rate", "± 2 se"
        );
        for listeners in [false, true] {
            coverage(listeners, 8_400, 0.5, 20_000 / shrink, intervals);
        }
        println!();
        println!("coverage of 95 % intervals, few units with heavy tails (log-normal, sigma 1)");
        coverage(false, 1_400, 1.0, 20_000 / shrink, intervals);
        println!();
    }
    if wants("accumulating") {
        println!("error over {LOOKS} looks, values that keep accumulating (Pocock)");
        for split in SPLITS {
            accumulating(split, 4_000, 1_000 / shrink);
        }
    }
}

fn sequential_tables(world: Option<&str>, runs: u64) {
    println!("error and power over {LOOKS} looks; the last worlds have few units");
    println!(
        "{:<10} {:<6} {:>7} {:<46} {:>7} {:>8} {:>8}",
        "world", "split", "users", "rule", "runs", "rate", "± 2 se"
    );
    for (values, users) in [
        (Values::Rows, 5_600),
        (Values::Listeners, 14_000),
        (Values::Winsorized, 14_000),
        (Values::Listeners, 56_000),
        (Values::Rows, 1_400),
        (Values::Heavy, 2_800),
    ] {
        if world.is_none_or(|w| w == values.name()) {
            sequential(values, users, runs);
        }
    }
    println!();
}

/// What a unit's one final value is, and when it comes.
#[derive(Clone, Copy, PartialEq)]
enum Values {
    /// Normal, evenly over the looks.
    Rows,
    /// Minutes of listeners, skewed to the right; more enrol at first.
    Listeners,
    /// The same, those above the 99th percentile set to it.
    Winsorized,
    /// Log-normal, sigma 1.
    Heavy,
}

impl Values {
    const fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Listeners => "listeners",
            Self::Winsorized => "winsorized",
            Self::Heavy => "heavy",
        }
    }
}

/// The 99th percentile of [`Values::Listeners`].
const MOST_MINUTES: f64 = 6.6;

fn line(listeners: bool, split: f64, users: usize, what: &str, hits: u64, runs: u64) {
    line_of(if listeners { "listeners" } else { "rows" }, split, users, what, hits, runs);
}

fn line_of(world: &str, split: f64, users: usize, what: &str, hits: u64, runs: u64) {
    let rate = hits as f64 / runs as f64;
    let error = 2.0 * (rate * (1.0 - rate) / runs as f64).sqrt();
    let split = if split == 0.5 { "50/50" } else { "90/10" };
    println!("{world:<10} {split:<6} {users:>7} {what:<46} {runs:>7} {rate:>8.4} {error:>8.4}");
}

/// One look of one run.
#[derive(Clone, Copy, Default)]
struct Look {
    /// Effect over standard error.
    plain: f64,
    /// The same, its skewness taken out.
    statistic: f64,
    skewness: f64,
    /// The z that is as unlikely; only where it could matter.
    z: f64,
    standard_error: f64,
    /// Welch's degrees of freedom.
    dof: f64,
    n: f64,
}

/// Closed values: each unit adds its one final value at the look at which it matures.
fn sequential(values: Values, users: usize, runs: u64) {
    let world = values.name();
    // The share of the users that is planned to be there: listeners enrol more at first.
    let share = |k: usize| {
        let t = k as f64 / LOOKS as f64;
        if values == Values::Rows { t } else { 1.0 - (1.0 - t) * (1.0 - t) }
    };
    let times: Vec<f64> = (1..=LOOKS).map(share).collect();
    let bounds = |s| group_sequential_bounds(&times, 0.05, Sides::Two, s).expect("looks that rise").z;
    let rules: Vec<(&str, Vec<f64>)> = vec![
        ("GST O'Brien-Fleming", bounds(Spending::ObrienFleming)),
        ("GST Pocock", bounds(Spending::Pocock)),
        ("GST power 2", bounds(Spending::Power(2.0))),
        ("GST HSD -4", bounds(Spending::HwangShihDeCani(-4.0))),
    ];
    let pocock = &rules[1].1;
    let plain = normal::upper_quantile(0.025);
    let names: Vec<&str> = rules
        .iter()
        .map(|(n, _)| *n)
        .chain(["always valid", "fixed, at the end", "naive peeking", "GST Pocock, normal boundaries"])
        .collect();
    let sums: Vec<[[[Arm; 2]; LOOKS]; 2]> =
        (0..runs).into_par_iter().map(|run| closed_sums(values, users, run)).collect();
    // The effect that the fixed test of all users finds in 80 % of these very runs: a rule's power beside it is
    // what looking costs, and nothing else.
    let effects = [0, 1].map(|split| {
        [1.0, -1.0].map(|sign| {
            let mut needed: Vec<f64> = sums.par_iter().map(|s| found_from(&s[split], sign)).collect();
            needed.sort_unstable_by(f64::total_cmp);
            sign * needed[(needed.len() * 4).div_ceil(5) - 1]
        })
    });
    // Per split; without the effect, with it and with its opposite; per rule.
    let width = names.len();
    let hits: Vec<u64> = sums
        .par_iter()
        .map(|sums| {
            let mut hit = Vec::with_capacity(6 * width);
            for ([up, down], sums) in effects.iter().zip(sums) {
                for shift in [0.0, *up, *down] {
                    let looks = path(sums, shift);
                    let crosses = |b: &[f64]| looks.iter().zip(b).any(|(l, b)| l.z.abs() >= *b);
                    hit.extend(rules.iter().map(|(_, b)| crosses(b)));
                    hit.push(looks.iter().any(|l| {
                        let effect = l.statistic * l.standard_error;
                        asymptotic_cs(effect, l.standard_error, l.n, 0.05, users as f64)
                            .is_ok_and(|c| effect.abs() >= c.half_width)
                    }));
                    hit.push(looks.last().is_some_and(|l| l.z.abs() >= plain));
                    hit.push(looks.iter().any(|l| l.plain.abs() >= plain));
                    hit.push(looks.iter().zip(pocock).any(|(l, b)| l.plain.abs() >= *b));
                }
            }
            hit.into_iter().map(u64::from).collect::<Vec<u64>>()
        })
        .reduce(|| vec![0; 6 * width], |a, b| a.iter().zip(&b).map(|(x, y)| x + y).collect());
    for (hits, split) in hits.chunks(3 * width).zip(SPLITS) {
        for (hits, what) in hits.chunks(width).zip(["A/A", "power", "power, effect downwards"]) {
            for (name, hits) in names.iter().zip(hits) {
                // Peeking has no power to speak of; normal boundaries matter where units are few.
                let shown = match *name {
                    "naive peeking" => what == "A/A",
                    "GST Pocock, normal boundaries" => what == "A/A" && users < 2_000,
                    _ => true,
                };
                if shown {
                    line_of(world, split, users, &format!("{name}: {what}"), *hits, runs);
                }
            }
        }
    }
}

/// One arm at one look, with all before it.
#[derive(Clone, Copy)]
struct Arm {
    sums: ArmSums,
    /// Of its values.
    skewness: f64,
}

/// Least effect of a sign from which on the fixed test of all users would find it in this run. A shift of all
/// treated values moves the difference and leaves its standard error and skewness alone.
fn found_from(looks: &[[Arm; 2]; LOOKS], sign: f64) -> f64 {
    let last = path(looks, 0.0)[LOOKS - 1];
    let boundary = student_boundary(normal::upper_quantile(0.025), last.dof);
    sign * (with_skewness(sign * boundary, last.skewness) - last.plain) * last.standard_error
}

/// Arms by split and look.
fn closed_sums(values: Values, users: usize, run: u64) -> [[[Arm; 2]; LOOKS]; 2] {
    let mut s = Stream::new(if values == Values::Rows { 20 } else { 21 }, run);
    // What tells the arm, and the value.
    let mut by_look: [Vec<(f64, f64)>; LOOKS] = std::array::from_fn(|_| Vec::new());
    if values == Values::Rows {
        for user in (0..users).step_by(2) {
            let values = s.next_normals();
            for (at, y) in (user..).zip(values) {
                by_look[at * LOOKS / users].push((s.next_f64(), y));
            }
        }
    } else {
        let most = if values == Values::Winsorized { MOST_MINUTES } else { f64::INFINITY };
        for _ in 0..users {
            // More enrol at first.
            let look = (LOOKS as f64 * s.next_f64().min(s.next_f64())) as usize;
            let [level, noise] = s.next_normals();
            let minutes = if values == Values::Heavy {
                level.exp()
            } else {
                (0.8 * level).exp() + 0.5 * 0.32_f64.exp() * noise
            };
            by_look[look].push((s.next_f64(), minutes.min(most)));
        }
    }
    SPLITS.map(|split| {
        let mut sums = [ArmSums { n: 0, sum: 0.0, sum_sq: 0.0 }; 2];
        let mut skews = [SkewSums::default(); 2];
        std::array::from_fn(|look| {
            for &(arm, y) in &by_look[look] {
                let arm = usize::from(arm < split);
                sums[arm].n += 1;
                sums[arm].sum += y;
                sums[arm].sum_sq += y * y;
                skews[arm].add(y, 0.0);
            }
            [0, 1].map(|a| Arm { sums: sums[a], skewness: skews[a].skewness(1.0, 0.0) })
        })
    })
}

/// All looks, with the treatment's values shifted.
fn path(looks: &[[Arm; 2]; LOOKS], shift: f64) -> [Look; LOOKS] {
    looks.map(|[c, t]| {
        let skewness = [c.skewness, t.skewness];
        let (c, t) = (c.sums, t.sums);
        let n = t.n as f64;
        let t = ArmSums {
            n: t.n,
            sum: t.sum + shift * n,
            sum_sq: t.sum_sq + 2.0 * shift * t.sum + n * shift * shift,
        };
        match (c.moments(false), t.moments(false)) {
            (Ok(c), Ok(t)) if c.variance + t.variance > 0.0 => {
                let standard_error = (c.variance_of_mean() + t.variance_of_mean()).sqrt();
                let plain = (t.mean - c.mean) / standard_error;
                let skewness = skewness_of_difference([c.n, t.n], skewness);
                let statistic = without_skewness(plain, skewness);
                let (vc, vt) = (c.variance_of_mean(), t.variance_of_mean());
                let dof = (vc + vt).powi(2) / (vc * vc / (c.n - 1.0) + vt * vt / (t.n - 1.0));
                // No boundary lies below 1.9.
                let z = if statistic.abs() > 1.9 { normal_equivalent(statistic, dof) } else { statistic };
                Look { plain, statistic, skewness, z, standard_error, dof, n: c.n + t.n }
            }
            _ => Look { standard_error: 1.0, dof: 1.0, n: 2.0, ..Look::default() },
        }
    })
}

/// Values that keep accumulating: enrolled n as the information (wrong), and the estimated covariance.
fn accumulating(split: f64, users: usize, runs: u64) {
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
                let level = (0.8 * s.next_normals()[0]).exp();
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
                Err(_) => return vec![0, 0, 1],
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
                _ => return vec![0, 0, 1],
            };
            let right = correlated_bounds(&covariance, &times, 0.05, Sides::Two, Spending::Pocock, run);
            let (Ok(wrong), Ok(right)) = (wrong, right) else { return vec![0, 0, 1] };
            let crossed = |b: &[f64]| u64::from(z.iter().zip(b).any(|(z, b)| z.abs() >= *b));
            vec![crossed(&wrong.z), crossed(&right), 0]
        })
        .reduce(|| vec![0; 3], |a, b| a.iter().zip(&b).map(|(x, y)| x + y).collect());
    // A run without bounds is no run without an error.
    assert_eq!(hits[2], 0, "runs whose bounds were not found");
    line(true, split, users, "accumulating, enrolled n as information: A/A", hits[0], runs);
    line(true, split, users, "accumulating, covariance estimated: A/A", hits[1], runs);
}

/// One user of the coverage worlds.
struct User {
    /// Tells the arm.
    arm: f64,
    before: f64,
    /// Rows within the world's.
    rows: std::ops::Range<usize>,
}

/// Users, and their rows as they are without treatment.
struct World {
    users: Vec<User>,
    rows: Vec<f64>,
}

fn world(listeners: bool, users: usize, spread: f64, run: u64) -> World {
    let mut s = Stream::new(if listeners { 41 } else { 40 }, run);
    let mut world = World { users: Vec::with_capacity(users), rows: Vec::with_capacity(users * 5) };
    for _ in 0..users {
        let [own, luck] = s.next_normals();
        let from = world.rows.len();
        if listeners {
            let n = 1 + s.next_below(8);
            while world.rows.len() < from + n {
                for noise in s.next_normals().into_iter().take(from + n - world.rows.len()) {
                    world.rows.push((spread * (0.8 * own + 0.6 * noise)).exp());
                }
            }
        } else {
            world.rows.push((spread * own).exp());
        }
        // What was heard before: like the listener, or like the one row.
        let before = (spread * (0.8 * own + 0.4 * luck)).exp();
        world.users.push(User { arm: s.next_f64(), before, rows: from..world.rows.len() });
    }
    world
}

/// The world under one split: `(control, treatment)` picked by arm, treated rows scaled.
struct Trial<'a> {
    world: &'a World,
    split: f64,
    lift: f64,
}

impl Trial<'_> {
    fn arm(&self, user: &User) -> usize {
        usize::from(user.arm < self.split)
    }

    fn scale(&self, arm: usize) -> f64 {
        1.0 + self.lift * arm as f64
    }

    fn rows(&self, user: &User) -> &[f64] {
        &self.world.rows[user.rows.clone()]
    }
}

const INTERVALS: [&str; 5] =
    ["mean", "ratio (delta)", "quantile .75 (clustered)", "mean, CUPED", "Gini at equal plays"];

/// What `--only` calls them.
const WORDS: [&str; 5] = ["mean", "ratio", "quantile", "cuped", "gini"];

/// Users whose plays are counted by artist.
const GINI_USERS: usize = 5_600;

fn coverage(listeners: bool, users: usize, spread: f64, runs: u64, wanted: [bool; 5]) {
    let lift = 0.05;
    // Means: E[exp(N(0, spread²))] per row; listeners have 4.5 rows on average.
    let row_mean = (0.5 * spread * spread).exp();
    let unit_mean = row_mean * if listeners { 4.5 } else { 1.0 };
    let quantile = (spread * normal::quantile(0.75)).exp();
    let truths = [lift * unit_mean, lift * row_mean, lift * quantile, lift * unit_mean, 0.0];
    let hits = (0..runs)
        .into_par_iter()
        .map(|run| {
            // Gini has a world of its own.
            let users = if wanted[..4].contains(&true) { users } else { 0 };
            let world = world(listeners, users, spread, run);
            SPLITS.map(|split| {
                let trial = Trial { world: &world, split, lift };
                std::array::from_fn::<u64, 5, _>(|i| {
                    let interval = match i {
                        _ if !wanted[i] => None,
                        0 => mean(&trial, false),
                        1 => ratio(&trial),
                        2 => quantiles(&trial),
                        3 => mean(&trial, true),
                        _ => gini(listeners, split, run),
                    };
                    u64::from(interval.is_some_and(|[low, high]| low <= truths[i] && truths[i] <= high))
                })
            })
        })
        .reduce(|| [[0; 5]; 2], |a, b| std::array::from_fn(|s| std::array::from_fn(|i| a[s][i] + b[s][i])));
    for (split, hits) in SPLITS.into_iter().zip(hits) {
        for ((name, hits), _) in INTERVALS.iter().zip(hits).zip(wanted).filter(|(_, w)| *w) {
            let users = if *name == "Gini at equal plays" { GINI_USERS } else { users };
            line(listeners, split, users, name, hits, runs);
        }
    }
}

fn mean(trial: &Trial<'_>, adjusted: bool) -> Option<[f64; 2]> {
    let mut sums = [CovariateSums { n: 0, y: 0.0, y_sq: 0.0, x: 0.0, x_sq: 0.0, xy: 0.0 }; 2];
    let mut skews = [SkewSums::default(); 2];
    for u in &trial.world.users {
        let arm = trial.arm(u);
        let (y, x): (f64, f64) = (trial.scale(arm) * trial.rows(u).iter().sum::<f64>(), u.before);
        let s = &mut sums[arm];
        *s = CovariateSums {
            n: s.n + 1,
            y: s.y + y,
            y_sq: s.y_sq + y * y,
            x: s.x + x,
            x_sq: s.x_sq + x * x,
            xy: s.xy + x * y,
        };
        skews[arm].add(y, x);
    }
    let n = sums.map(|s| s.n as f64);
    if adjusted {
        let c = cuped(&sums[0], &sums[1], 0.05).ok()?;
        return Some(corrected(c.difference, c.standard_error, c.dof, n, &skews, [-c.theta; 2]));
    }
    let [c, t] = sums.map(|s| ArmSums { n: s.n, sum: s.y, sum_sq: s.y_sq }.moments(false));
    let w = welch_t(&c.ok()?, &t.ok()?, 0.0, 0.05, Alternative::TwoSided).ok()?;
    Some(corrected(w.difference, w.standard_error, w.dof, n, &skews, [0.0; 2]))
}

/// Student's interval of a difference, its skewness taken out; `by` weighs the second values of both arms.
fn corrected(
    difference: f64,
    standard_error: f64,
    dof: f64,
    n: [f64; 2],
    skews: &[SkewSums; 2],
    by: [f64; 2],
) -> [f64; 2] {
    let skewness = skewness_of_difference(n, [0, 1].map(|a| skews[a].skewness(1.0, by[a])));
    let boundary = student_t::upper_quantile(0.025, dof);
    [boundary, -boundary].map(|b| difference - standard_error * with_skewness(b, skewness))
}

fn ratio(trial: &Trial<'_>) -> Option<[f64; 2]> {
    let none = RatioSums {
        n: 0,
        numerator: 0.0,
        numerator_sq: 0.0,
        denominator: 0.0,
        denominator_sq: 0.0,
        product: 0.0,
    };
    let mut sums = [none; 2];
    let mut skews = [SkewSums::default(); 2];
    for u in &trial.world.users {
        let (arm, rows) = (trial.arm(u), trial.rows(u));
        let (y, d): (f64, f64) = (trial.scale(arm) * rows.iter().sum::<f64>(), rows.len() as f64);
        let s = &mut sums[arm];
        s.n += 1;
        s.numerator += y;
        s.numerator_sq += y * y;
        s.denominator += d;
        s.denominator_sq += d * d;
        s.product += y * d;
        skews[arm].add(y, d);
    }
    let [c, t] = sums.map(|s| s.moments());
    let (c, t) = (c.ok()?, t.ok()?);
    let w = welch_t(&c, &t, 0.0, 0.05, Alternative::TwoSided).ok()?;
    Some(corrected(w.difference, w.standard_error, w.dof, [c.n, t.n], &skews, [-c.mean, -t.mean]))
}

/// Scaling rows scales their quantiles: order statistics are those of the rows as they are.
fn quantiles(trial: &Trial<'_>) -> Option<[f64; 2]> {
    let nu = 0.75;
    let mut arms = Vec::new();
    for arm in 0..2 {
        let of_arm = || trial.world.users.iter().filter(|u| trial.arm(u) == arm);
        let mut rows: Vec<f64> = of_arm().flat_map(|u| trial.rows(u).iter().copied()).collect();
        let n = rows.len();
        let reach = normal::upper_quantile(0.025) * (nu * (1.0 - nu) / n as f64).sqrt();
        let index = |q: f64| ((n as f64 * q).ceil() as usize).clamp(1, n) - 1;
        // From the top down, each within what lies below the one before.
        let mut within = n;
        let [upper, quantile, lower] = [nu + reach, nu, nu - reach].map(|q| {
            let value = *rows[..within].select_nth_unstable_by(index(q), f64::total_cmp).1;
            within = index(q) + 1;
            value
        });
        let mut c =
            ClusterSums { n_clusters: 0, below: 0.0, below_sq: 0.0, size: 0.0, size_sq: 0.0, product: 0.0 };
        for u in of_arm() {
            let below = trial.rows(u).iter().filter(|r| **r <= quantile).count() as f64;
            let size = u.rows.len() as f64;
            c.n_clusters += 1;
            c.below += below;
            c.below_sq += below * below;
            c.size += size;
            c.size_sq += size * size;
            c.product += below * size;
        }
        let scale = trial.scale(arm);
        let sums = QuantileSums {
            n: n as u64,
            n_star: n as u64,
            quantile: scale * quantile,
            lower: scale * lower,
            upper: scale * upper,
            clusters: Some(c),
        };
        let (moments, dof) = quantile_moments_and_dof(&sums, nu).ok()?;
        arms.push((moments.mean, moments.variance_of_mean(), dof));
    }
    Some(student([arms[0], arms[1]]))
}

/// Interval of the second less the first of two estimates, each with its variance and degrees of freedom.
fn student([(c, vc, c_dof), (t, vt, t_dof)]: [(f64, f64, f64); 2]) -> [f64; 2] {
    let dof = (vc + vt).powi(2) / (vc * vc / c_dof + vt * vt / t_dof);
    let half = student_t::upper_quantile(0.025, dof) * (vc + vt).sqrt();
    [t - c - half, t - c + half]
}

/// Plays over 80 artists by users of 64 groups; half of a listener's plays are of one artist.
fn gini(listeners: bool, split: f64, run: u64) -> Option<[f64; 2]> {
    let mut s = Stream::new(if listeners { 51 } else { 50 }, run);
    let mut groups = [vec![vec![0_u64; 80]; 64], vec![vec![0_u64; 80]; 64]];
    for _ in 0..GINI_USERS {
        let (arm, group) = (usize::from(s.next_f64() < split), s.next_below(64));
        let n = if listeners { 1 + s.next_below(8) } else { 1 };
        let loved = (80.0 * s.next_f64().powi(2)) as usize;
        for _ in 0..n {
            let faithful = listeners && s.next_f64() < 0.5;
            let artist = if faithful { loved } else { (80.0 * s.next_f64().powi(2)) as usize };
            groups[arm][group][artist] += 1;
        }
    }
    let e = equal_plays(&groups[0], &groups[1], MetricKind::Gini).ok()?;
    Some(student([0, 1].map(|a| (e.estimates[a], e.standard_errors[a].powi(2), e.dof[a]))))
}
