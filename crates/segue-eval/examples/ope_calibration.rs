//! How often the gate of off-policy evaluation lets a bad estimate pass and refuses a good one, on bandits
//! and slates whose truth is known. `ope_calibration [RUNS] [SEED]` prints a table.
//!
//! A *false pass* is an estimate that passed and whose interval is twice too narrow for its error. A *false
//! refusal* is one that was refused although its 95 % interval would have held the truth with a half-width
//! of at most a quarter of it; where support is missing or propensities are wrong every refusal is right. `coverage` is that of intervals that passed; `ungated` that of all.

use std::error::Error;

use segue_eval::off_policy::{
    BanditEvidence, CellMeans, FamilyJudgement, GateConfig, IntervalConfig, Round, SlateEvidence,
    SlatePosition,
};
use segue_stats::random::Stream;

const N_CONTEXTS: usize = 10;
const N_ACTIONS: usize = 20;

/// Lets everything pass: what would have been printed without a gate.
const OPEN: GateConfig = GateConfig {
    min_effective_sample: 0.0,
    max_mean_weight_z: f64::INFINITY,
    max_mean_weight_error: f64::INFINITY,
    max_weight_share: f64::INFINITY,
    max_unsupported_mass: f64::INFINITY,
    max_disagreement_z: f64::INFINITY,
    min_effective_units: 0.0,
};

fn softmax(scores: &[f64], sharpness: f64, floor: f64) -> Vec<f64> {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = scores.iter().map(|s| (sharpness * (s - top)).exp()).collect();
    let total: f64 = e.iter().sum();
    e.iter().map(|x| (1.0 - floor) * x / total + floor / scores.len() as f64).collect()
}

fn draw(p: &[f64], stream: &mut Stream) -> usize {
    let mut u = stream.next_f64();
    for (i, x) in p.iter().enumerate() {
        u -= x;
        if u < 0.0 {
            return i;
        }
    }
    p.iter().rposition(|x| *x > 0.0).unwrap_or(0)
}

/// What was found over the runs of one scenario.
#[derive(Default)]
struct Tally {
    runs: u32,
    passed: u32,
    covered: u32,
    ungated: u32,
    false_pass: u32,
    false_refusal: u32,
    good: u32,
}

impl Tally {
    fn add(&mut self, gated: &FamilyJudgement, open: &FamilyJudgement, truth: f64, is_sound: bool) {
        self.runs += 1;
        let Some(raw) = open.verdict.estimable() else { return };
        let [low, high] = raw.headline().interval();
        let (value, half) = (raw.headline().value(), 0.5 * (high - low));
        let covers = low <= truth && truth <= high;
        let passed = gated.verdict.estimable().is_some();
        let good = is_sound && covers && half <= 0.25 * truth;
        self.ungated += u32::from(covers);
        self.passed += u32::from(passed);
        self.covered += u32::from(passed && covers);
        self.false_pass += u32::from(passed && (value - truth).abs() > 2.0 * half);
        self.good += u32::from(good);
        self.false_refusal += u32::from(good && !passed);
    }

    #[allow(clippy::print_stdout)]
    fn print(&self, scenario: &str, n: usize) {
        let share = |a: u32, b: u32| {
            if b == 0 { "–".to_owned() } else { format!("{:.3}", f64::from(a) / f64::from(b)) }
        };
        println!(
            "| {scenario} | {n} | {} | {} | {} | {} | {} |",
            share(self.passed, self.runs),
            share(self.covered, self.passed),
            share(self.ungated, self.runs),
            share(self.false_pass, self.passed),
            share(self.false_refusal, self.good),
        );
    }
}

/// A bandit: who is asked, what is liked, who chose and who is asked about.
struct Bandit {
    win: Vec<Vec<f64>>,
    logging: Vec<Vec<f64>>,
    target: Vec<Vec<f64>>,
    /// Multiplies the logged propensity at random, as a log that is wrong about them would.
    wrong: f64,
}

impl Bandit {
    fn new(rate: f64, logging: f64, target: f64, missing: usize, wrong: f64, seed: u64) -> Self {
        let mut stream = Stream::new(seed, 0);
        let scores: Vec<Vec<f64>> =
            (0..N_CONTEXTS).map(|_| (0..N_ACTIONS).map(|_| stream.next_f64()).collect()).collect();
        let policy = |scores: &Vec<f64>, sharpness: f64| softmax(scores, sharpness, 0.05);
        let mut logged: Vec<Vec<f64>> = scores.iter().map(|s| policy(s, logging)).collect();
        for row in &mut logged {
            // The log never shows the actions the target likes best.
            let mut order: Vec<usize> = (0..N_ACTIONS).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            for &a in order.iter().take(missing) {
                row[a] = 0.0;
            }
            let total: f64 = row.iter().sum();
            row.iter_mut().for_each(|p| *p /= total);
        }
        Self {
            win: scores.iter().map(|s| s.iter().map(|x| rate * (0.5 + x)).collect()).collect(),
            target: scores.iter().map(|s| policy(s, target)).collect(),
            logging: logged,
            wrong,
        }
    }

    fn truth(&self) -> f64 {
        let one = |x: usize| (0..N_ACTIONS).map(|a| self.target[x][a] * self.win[x][a]).sum::<f64>();
        (0..N_CONTEXTS).map(one).sum::<f64>() / N_CONTEXTS as f64
    }

    fn judge(
        &self,
        n: usize,
        gates: [&GateConfig; 2],
        stream: &mut Stream,
    ) -> Result<[FamilyJudgement; 2], Box<dyn Error>> {
        let rounds: Vec<(usize, usize, f64, f64)> = (0..n)
            .map(|_| {
                let x = stream.next_below(N_CONTEXTS);
                let a = draw(&self.logging[x], stream);
                let reward = f64::from(u8::from(stream.next_f64() < self.win[x][a]));
                let noise = 1.0 + self.wrong * (2.0 * stream.next_f64() - 0.6);
                (x, a, reward, (self.logging[x][a] * noise).min(1.0))
            })
            .collect();
        let mut model = CellMeans::new(N_ACTIONS, 5, 0, 20.0)?;
        for (i, r) in rounds.iter().enumerate() {
            model.learn(r.1, i as u64, r.2);
        }
        let values = model.all_values();
        let mut evidence = BanditEvidence::new(65_536);
        for (i, &(x, a, reward, propensity)) in rounds.iter().enumerate() {
            let q = &values[model.fold_of(i as u64)];
            let v = self.target[x].iter().zip(q).map(|(p, q)| p * q).sum();
            evidence.push(
                None,
                &Round {
                    reward,
                    propensity,
                    target_probability: self.target[x][a],
                    model: Some((q[a], v)),
                    unsupported: None,
                },
            )?;
        }
        let interval = IntervalConfig::default();
        Ok([evidence.judge(gates[0], &interval)?, evidence.judge(gates[1], &interval)?])
    }
}

/// Slates of three out of eight, filled from the top without replacement; a listener goes down until the
/// first item they like enough.
fn slates(
    n: usize,
    logging: f64,
    target: f64,
    gates: [&GateConfig; 2],
    stream: &mut Stream,
) -> Result<[Vec<FamilyJudgement>; 2], Box<dyn Error>> {
    let scores: Vec<f64> = (0..8).map(|i| f64::from(i) / 8.0).collect();
    let mut evidence = SlateEvidence::new(4_096, 3);
    for _ in 0..n {
        let mut used = [false; 8];
        let mut rows = Vec::new();
        let mut looks = true;
        for _ in 0..3 {
            let open: Vec<usize> = (0..8).filter(|&i| !used[i]).collect();
            let of =
                |sharpness| softmax(&open.iter().map(|&i| scores[i]).collect::<Vec<_>>(), sharpness, 0.1);
            let (p, e) = (of(logging), of(target));
            let at = draw(&p, stream);
            let likes = looks && stream.next_f64() < 0.1 + 0.4 * scores[open[at]];
            looks &= !likes;
            used[open[at]] = true;
            rows.push(SlatePosition {
                reward: f64::from(u8::from(likes)),
                propensity: p[at],
                target_probability: e[at],
                marginal: None,
                model: None,
                unsupported: Some(0.0),
            });
        }
        evidence.push(None, &rows, 0.0)?;
    }
    let interval = IntervalConfig::default();
    Ok([evidence.judge(gates[0], &interval)?, evidence.judge(gates[1], &interval)?])
}

/// Expected clicks of a slate, every slate counted with its probability.
fn slate_truth(target: f64, used: &mut Vec<usize>, looks: f64) -> f64 {
    if used.len() == 3 {
        return 0.0;
    }
    let open: Vec<usize> = (0..8).filter(|i| !used.contains(i)).collect();
    let p = softmax(&open.iter().map(|&i| i as f64 / 8.0).collect::<Vec<_>>(), target, 0.1);
    let mut total = 0.0;
    for (&item, p) in open.iter().zip(p) {
        let like = 0.1 + 0.4 * item as f64 / 8.0;
        used.push(item);
        total += p * (looks * like + slate_truth(target, used, looks * (1.0 - like)));
        used.pop();
    }
    total
}

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let runs: u64 = arguments.next().map_or(Ok(300), |a| a.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |a| a.parse())?;
    let gate = GateConfig::default();
    println!("{runs} runs each, default thresholds, 95 % Student intervals\n");
    println!("| log | rounds | passed | coverage | ungated | false pass | false refusal |");
    println!("|---|---|---|---|---|---|---|");
    // Name, reward rate, sharpness of both policies, missing actions, wrong propensities.
    let scenarios = [
        ("bandit, close policies", 0.3, 1.0, 2.0, 0, 0.0),
        ("bandit, close policies, rare reward", 0.01, 1.0, 2.0, 0, 0.0),
        ("bandit, far policies", 0.3, 0.0, 8.0, 0, 0.0),
        ("bandit, opposed policies", 0.3, -6.0, 6.0, 0, 0.0),
        ("bandit, support missing", 0.3, 1.0, 4.0, 2, 0.0),
        ("bandit, propensities wrong", 0.3, 1.0, 2.0, 0, 0.5),
    ];
    for (name, rate, logging, target, missing, wrong) in scenarios {
        let bandit = Bandit::new(rate, logging, target, missing, wrong, seed);
        for n in [500, 2_000, 10_000] {
            let mut tally = Tally::default();
            for run in 0..runs {
                let mut stream = Stream::new(seed, 1 + run);
                let [gated, open] = bandit.judge(n, [&gate, &OPEN], &mut stream)?;
                tally.add(&gated, &open, bandit.truth(), missing == 0 && wrong == 0.0);
            }
            tally.print(name, n);
        }
    }
    for (name, logging, target) in [("slates, close policies", 1.0, 2.0), ("slates, far policies", 0.0, 8.0)]
    {
        let truth = slate_truth(target, &mut Vec::new(), 1.0);
        for n in [500, 2_000, 10_000] {
            let mut tallies = [Tally::default(), Tally::default()];
            for run in 0..runs {
                let mut stream = Stream::new(seed, 1 + run);
                let [gated, open] = slates(n, logging, target, [&gate, &OPEN], &mut stream)?;
                for ((tally, gated), open) in tallies.iter_mut().zip(&gated).zip(&open) {
                    tally.add(gated, open, truth, true);
                }
            }
            tallies[0].print(&format!("{name}: whole slate"), n);
            tallies[1].print(&format!("{name}: prefix"), n);
        }
    }
    Ok(())
}
