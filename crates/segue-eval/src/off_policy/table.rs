//! Anybody's log: a Parquet or CSV file whose columns are mapped, streamed row by row.

mod file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use self::file::{Row, visit};
use super::{
    BanditEvidence, CellMeans, FamilyJudgement, GateConfig, IntervalConfig, Round, SlateEvidence,
    SlatePosition,
};
use crate::EvalError;

/// Where a log lies and what its columns are called. Columns that are not named are not read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// A `.parquet` or `.csv` file.
    pub path: PathBuf,
    /// What the shown action earned.
    pub reward: String,
    /// The logging policy's probability of it; in a log of slates given the items above, as shown.
    pub propensity: String,
    /// The shown action; needed for a reward model and for a target policy from a file.
    #[serde(default)]
    pub action: Option<String>,
    /// The place it was shown at, as any text; in a log of slates a number that rises within the slate.
    #[serde(default)]
    pub position: Option<String>,
    /// Independent unit, such as the listener; every round is its own where absent.
    #[serde(default)]
    pub unit: Option<String>,
    /// Slate the row is a position of; rows of a slate stand together. Rounds are single where absent.
    #[serde(default)]
    pub slate: Option<String>,
    /// Marginal probability of the item at its position under the logging policy, in a log of slates.
    #[serde(default)]
    pub marginal_propensity: Option<String>,
    /// A reward model's value of the shown action, where the log brings one.
    #[serde(default)]
    pub model_reward: Option<String>,
}

/// The target policy of a table.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TablePolicy {
    /// Column with the target policy's probability of the shown action (given those above).
    pub column: Option<String>,
    /// Column with the target policy's marginal probability at the position, in a log of slates.
    pub marginal_column: Option<String>,
    /// Column with the reward model's value under the target policy; goes with `model_reward`.
    pub model_value_column: Option<String>,
    /// CSV file `action,probability` or `action,position,probability`; probabilities sum to 1 (at each
    /// position).
    pub file: Option<PathBuf>,
    /// Every action of the log alike.
    pub uniform: bool,
}

/// The reward model that doubly robust estimators use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardModelConfig {
    /// Folds of cross-fitting, by unit.
    pub folds: usize,
    /// Seed of the folds.
    pub seed: u64,
    /// Rounds that the mean of all counts for in a cell.
    pub prior_weight: f64,
}

impl Default for RewardModelConfig {
    fn default() -> Self {
        Self { folds: 5, seed: 0, prior_weight: 20.0 }
    }
}

/// How logs are judged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JudgeConfig {
    /// `[gate]`.
    pub gate: GateConfig,
    /// `[interval]`.
    pub interval: IntervalConfig,
    /// `[model]`.
    pub model: RewardModelConfig,
    /// Units with sums of their own; further ones share these by hash, so that memory is bounded.
    pub max_units: usize,
    /// Most positions of a slate.
    pub max_positions: usize,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            gate: GateConfig::default(),
            interval: IntervalConfig::default(),
            model: RewardModelConfig::default(),
            max_units: 65_536,
            max_positions: 100,
        }
    }
}

/// What a log says of one target policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// Name of the target policy.
    pub target: String,
    /// Rounds or slates.
    pub n_rounds: u64,
    /// Mean reward of the logging policy per round (slate), as logged.
    pub logged_mean: f64,
    /// Its standard error, by unit.
    pub logged_standard_error: f64,
    /// One verdict per assumption.
    pub families: Vec<FamilyJudgement>,
}

/// Numbers for names, in the order of appearance; memory is that of the distinct names.
#[derive(Debug, Default)]
struct Names(HashMap<String, usize>);

impl Names {
    fn id(&mut self, name: &str) -> usize {
        match self.0.get(name) {
            Some(&id) => id,
            None => {
                let id = self.0.len();
                self.0.insert(name.to_owned(), id);
                id
            }
        }
    }
}

fn bad<T>(what: String, got: impl Into<String>, rule: &'static str) -> Result<T, EvalError> {
    Err(EvalError::Data { what, got: got.into(), rule })
}

/// Judges one target policy on the log of `spec`. Reads the file once, and once before that where a reward
/// model or the support has to be learned.
///
/// # Errors
/// If the file cannot be read, a column is absent, or a row does not fit; the message names it.
pub fn judge_table(
    spec: &TableSpec,
    name: &str,
    policy: &TablePolicy,
    config: &JudgeConfig,
) -> Result<Judgement, EvalError> {
    let ways = [policy.column.is_some(), policy.file.is_some(), policy.uniform];
    if ways.iter().filter(|w| **w).count() != 1 {
        return bad(
            format!("target `{name}`"),
            "not one policy",
            "give one of `column`, `file` and `uniform = true`",
        );
    }
    if spec.slate.is_some() {
        return judge_slates(spec, name, policy, config);
    }
    let mut evidence = BanditEvidence::new(config.max_units);
    match &policy.column {
        Some(column) => {
            let model = spec.model_reward.as_deref().zip(policy.model_value_column.as_deref());
            let mut wanted = vec![spec.reward.as_str(), &spec.propensity, column];
            wanted.extend(model.into_iter().flat_map(|(q, v)| [q, v]));
            let texts: Vec<&str> = spec.unit.as_deref().into_iter().collect();
            visit(&spec.path, &texts, &wanted, &mut |row: &Row<'_>| {
                let x = row.numbers;
                evidence.push(
                    unit_of(spec, row, 0),
                    &Round {
                        reward: x[0],
                        propensity: x[1],
                        target_probability: x[2],
                        model: model.map(|_| (x[3], x[4])),
                        unsupported: None,
                    },
                )
            })?;
        }
        None => push_by_action(spec, policy, config, &mut evidence)?,
    }
    let (logged_mean, logged_standard_error) = evidence.logged()?;
    Ok(Judgement {
        target: name.to_owned(),
        n_rounds: evidence.n_rounds(),
        logged_mean,
        logged_standard_error,
        families: vec![evidence.judge(&config.gate, &config.interval)?],
    })
}

fn unit_of(spec: &TableSpec, row: &Row<'_>, at: usize) -> Option<u64> {
    spec.unit.as_ref().map(|_| xxh3_64(row.texts[at].as_bytes()))
}

/// Target policies that do not look at the context: the whole distribution is known, so the reward model and
/// the unsupported mass are too.
fn push_by_action(
    spec: &TableSpec,
    policy: &TablePolicy,
    config: &JudgeConfig,
    evidence: &mut BanditEvidence,
) -> Result<(), EvalError> {
    let Some(action) = spec.action.as_deref() else {
        return bad("`table.action`".into(), "absent", "a policy over actions needs the action's column");
    };
    let mut texts = vec![action];
    texts.extend(spec.position.as_deref());
    let unit_at = texts.len();
    texts.extend(spec.unit.as_deref());
    let wanted = [spec.reward.as_str(), &spec.propensity];
    let place = |row: &Row<'_>| if spec.position.is_some() { row.texts[1].to_owned() } else { String::new() };
    let (mut actions, mut places) = (Names::default(), Names::default());
    // First pass: which actions were seen where, and what they earned.
    let mut cells: HashMap<(usize, usize), usize> = HashMap::new();
    let mut model = CellMeans::new(0, config.model.folds, config.model.seed, config.model.prior_weight)?;
    let mut at = 0;
    visit(&spec.path, &texts, &wanted, &mut |row: &Row<'_>| {
        let key = (actions.id(row.texts[0]), places.id(&place(row)));
        let next = cells.len();
        let cell = *cells.entry(key).or_insert(next);
        if !row.numbers[0].is_finite() {
            return bad(format!("reward of row {at}"), row.numbers[0].to_string(), "it has to be finite");
        }
        model.learn(cell, unit_of(spec, row, unit_at).unwrap_or(at), row.numbers[0]);
        at += 1;
        Ok(())
    })?;
    let n_actions = actions.0.len();
    let chances: HashMap<(usize, usize), f64> = match &policy.file {
        Some(file) => read_policy(file, &mut actions, &mut places)?,
        None => {
            let of = |p: usize| (0..n_actions).map(move |a| ((a, p), 1.0 / n_actions as f64));
            (0..places.0.len()).flat_map(of).collect()
        }
    };
    let values = model.all_values();
    let prior: Vec<f64> = (0..config.model.folds).map(|fold| model.prior(fold)).collect();
    // Per place: what is not supported, and the model's value under the target policy, fold by fold.
    let mut unsupported = vec![0.0; places.0.len()];
    let mut value = vec![vec![0.0; places.0.len()]; config.model.folds];
    let mut ordered: Vec<(&(usize, usize), &f64)> = chances.iter().collect();
    ordered.sort_by_key(|(key, _)| **key);
    for (key, p) in ordered {
        let cell = cells.get(key);
        if cell.is_none() {
            unsupported[key.1] += p;
        }
        for fold in 0..config.model.folds {
            value[fold][key.1] += p * cell.map_or(prior[fold], |&c| values[fold][c]);
        }
    }
    // Second pass: the evidence.
    let mut at = 0;
    visit(&spec.path, &texts, &wanted, &mut |row: &Row<'_>| {
        let key = (actions.id(row.texts[0]), places.id(&place(row)));
        let unit = unit_of(spec, row, unit_at);
        let fold = model.fold_of(unit.unwrap_or(at));
        at += 1;
        evidence.push(
            unit,
            &Round {
                reward: row.numbers[0],
                propensity: row.numbers[1],
                target_probability: chances.get(&key).copied().unwrap_or(0.0),
                model: Some((values[fold][cells[&key]], value[fold][key.1])),
                unsupported: Some(unsupported[key.1]),
            },
        )
    })
}

fn read_policy(
    path: &Path,
    actions: &mut Names,
    places: &mut Names,
) -> Result<HashMap<(usize, usize), f64>, EvalError> {
    let has_position = file::has_column(path, "position")?;
    let texts: &[&str] = if has_position { &["action", "position"] } else { &["action"] };
    let mut rows: Vec<(usize, Option<usize>, f64)> = Vec::new();
    visit(path, texts, &["probability"], &mut |row: &Row<'_>| {
        let p = row.numbers[0];
        if !(0.0..=1.0 + 1e-9).contains(&p) {
            return bad(
                format!("probability in {}", path.display()),
                p.to_string(),
                "it lies between 0 and 1",
            );
        }
        rows.push((actions.id(row.texts[0]), has_position.then(|| places.id(row.texts[1])), p.min(1.0)));
        Ok(())
    })?;
    let mut chances = HashMap::new();
    let mut totals = vec![0.0; places.0.len()];
    for (action, place, p) in rows {
        for place in place.map_or(0..places.0.len(), |p| p..p + 1) {
            *chances.entry((action, place)).or_insert(0.0) += p;
            totals[place] += p;
        }
    }
    if let Some(total) = totals.iter().find(|t| (**t - 1.0).abs() > 1e-6) {
        return bad(
            format!("sum of probabilities in {}", path.display()),
            total.to_string(),
            "they sum to 1, at each position of the log if positions are named",
        );
    }
    Ok(chances)
}

fn judge_slates(
    spec: &TableSpec,
    name: &str,
    policy: &TablePolicy,
    config: &JudgeConfig,
) -> Result<Judgement, EvalError> {
    let (Some(column), Some(slate), Some(position)) = (&policy.column, &spec.slate, &spec.position) else {
        return bad(
            format!("target `{name}`"),
            "without `column` or `table.position`",
            "a log of slates needs `table.position` and the target policy's probability of each row",
        );
    };
    let model = spec.model_reward.as_deref().zip(policy.model_value_column.as_deref());
    let marginal = spec.marginal_propensity.as_deref().zip(policy.marginal_column.as_deref());
    let mut numbers = vec![spec.reward.as_str(), &spec.propensity, column, position];
    let model_at = numbers.len();
    numbers.extend(model.into_iter().flat_map(|(q, v)| [q, v]));
    let marginal_at = numbers.len();
    numbers.extend(marginal.into_iter().flat_map(|(p, e)| [p, e]));
    let mut texts = vec![slate.as_str()];
    texts.extend(spec.unit.as_deref());
    let mut evidence = SlateEvidence::new(config.max_units.min(4_096), config.max_positions);
    let mut open: (String, Option<u64>, f64, Vec<SlatePosition>) = Default::default();
    visit(&spec.path, &texts, &numbers, &mut |row: &Row<'_>| {
        let x = row.numbers;
        if row.texts[0] != open.0 || open.3.is_empty() {
            if !open.3.is_empty() {
                evidence.push(open.1, &open.3, 0.0)?;
            }
            open = (row.texts[0].to_owned(), unit_of(spec, row, 1), f64::NEG_INFINITY, Vec::new());
        }
        if x[3].is_nan() || x[3] <= open.2 {
            return bad(
                format!("position in slate `{}`", open.0),
                x[3].to_string(),
                "rows of a slate stand together, positions rising",
            );
        }
        open.2 = x[3];
        open.3.push(SlatePosition {
            reward: x[0],
            propensity: x[1],
            target_probability: x[2],
            marginal: marginal.map(|_| (x[marginal_at], x[marginal_at + 1])),
            model: model.map(|_| (x[model_at], x[model_at + 1])),
            unsupported: None,
        });
        Ok(())
    })?;
    if !open.3.is_empty() {
        evidence.push(open.1, &open.3, 0.0)?;
    }
    let (logged_mean, logged_standard_error) = evidence.logged()?;
    Ok(Judgement {
        target: name.to_owned(),
        n_rounds: evidence.n_slates(),
        logged_mean,
        logged_standard_error,
        families: evidence.judge(&config.gate, &config.interval)?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch};
    use parquet::arrow::ArrowWriter;

    use super::*;

    /// 3,000 rounds at two positions; action 0 is shown half of the time and earns more.
    fn rounds() -> Vec<(i32, i32, f64, f64, f64)> {
        (0..3_000)
            .map(|i| {
                let action = [0, 0, 1, 2][i % 4];
                let propensity = [0.5, 0.25, 0.25][action];
                let reward = f64::from(u8::from((i / 4) % (action + 2) == 0));
                (action as i32, (i % 2) as i32, reward, propensity, [0.2, 0.4, 0.4][action])
            })
            .collect()
    }

    fn csv_of(folder: &Path) -> PathBuf {
        let mut text = "action,position,reward,propensity,target\n".to_owned();
        for (a, k, r, p, e) in rounds() {
            text.push_str(&format!("{a},{k},{r},{p},{e}\n"));
        }
        let path = folder.join("log.csv");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn parquet_of(folder: &Path) -> PathBuf {
        let rows = rounds();
        let ints = |f: fn(&(i32, i32, f64, f64, f64)) -> i32| {
            Arc::new(Int32Array::from_iter_values(rows.iter().map(f))) as ArrayRef
        };
        let floats = |f: fn(&(i32, i32, f64, f64, f64)) -> f64| {
            Arc::new(Float64Array::from_iter_values(rows.iter().map(f))) as ArrayRef
        };
        let batch = RecordBatch::try_from_iter([
            ("action", ints(|r| r.0)),
            ("position", ints(|r| r.1)),
            ("reward", floats(|r| r.2)),
            ("propensity", floats(|r| r.3)),
            ("target", floats(|r| r.4)),
        ])
        .unwrap();
        let path = folder.join("log.parquet");
        let mut writer =
            ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    fn spec(path: PathBuf) -> TableSpec {
        TableSpec {
            path,
            reward: "reward".into(),
            propensity: "propensity".into(),
            action: Some("action".into()),
            position: None,
            unit: None,
            slate: None,
            marginal_propensity: None,
            model_reward: None,
        }
    }

    fn column() -> TablePolicy {
        TablePolicy { column: Some("target".into()), ..TablePolicy::default() }
    }

    #[test]
    fn csv_and_parquet_say_the_same_and_a_policy_file_equals_its_column() {
        let folder = tempfile::tempdir().unwrap();
        let config = JudgeConfig::default();
        let csv = judge_table(&spec(csv_of(folder.path())), "t", &column(), &config).unwrap();
        let parquet = judge_table(&spec(parquet_of(folder.path())), "t", &column(), &config).unwrap();
        assert_eq!(csv, parquet);
        let file = folder.path().join("policy.csv");
        std::fs::write(&file, "action,probability\n2,0.4\n0,0.2\n1,0.4\n").unwrap();
        let policy = TablePolicy { file: Some(file), ..TablePolicy::default() };
        let by_file = judge_table(&spec(csv_of(folder.path())), "t", &policy, &config).unwrap();
        let snips = |j: &Judgement| {
            let e = j.families[0].verdict.estimable().unwrap().estimates().to_vec();
            e.into_iter().find(|e| e.estimator() == "snips").unwrap().value()
        };
        assert_eq!(snips(&csv), snips(&by_file));
        assert_eq!(by_file.families[0].weights.unsupported_mass, Some(0.0));
        let names: Vec<&str> = by_file.families[0]
            .verdict
            .estimable()
            .unwrap()
            .estimates()
            .iter()
            .map(|e| e.estimator())
            .collect();
        assert!(names.contains(&"sndr") && names.contains(&"dr_os"), "{names:?}");
    }

    #[test]
    fn actions_the_log_never_took_are_unsupported() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("policy.csv");
        std::fs::write(&file, "action,probability\n0,0.5\n9,0.5\n").unwrap();
        let policy = TablePolicy { file: Some(file.clone()), ..TablePolicy::default() };
        let judged =
            judge_table(&spec(csv_of(folder.path())), "t", &policy, &JudgeConfig::default()).unwrap();
        assert_eq!(judged.families[0].weights.unsupported_mass, Some(0.5));
        assert!(judged.families[0].verdict.to_string().contains("no amount"));
        std::fs::write(&file, "action,probability\n0,0.5\n1,0.2\n").unwrap();
        let message = judge_table(&spec(csv_of(folder.path())), "t", &policy, &JudgeConfig::default())
            .unwrap_err()
            .to_string();
        assert!(message.contains("sum of probabilities") && message.contains("0.7"), "{message}");
    }

    #[test]
    fn a_log_of_slates_is_judged_family_by_family() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slates.csv");
        let mut text = "slate,position,reward,propensity,target,mp,me\n".to_owned();
        for s in 0..2_000 {
            for k in 0..2 {
                let (p, e) = if (s + k) % 2 == 0 { (0.5, 0.6) } else { (0.5, 0.4) };
                text.push_str(&format!("s{s},{k},{},{p},{e},{p},{e}\n", s % 3));
            }
        }
        std::fs::write(&path, &text).unwrap();
        let slates = TableSpec {
            slate: Some("slate".into()),
            position: Some("position".into()),
            marginal_propensity: Some("mp".into()),
            ..spec(path.clone())
        };
        let policy = TablePolicy { marginal_column: Some("me".into()), ..column() };
        let judged = judge_table(&slates, "t", &policy, &JudgeConfig::default()).unwrap();
        let families: Vec<&str> = judged.families.iter().map(|f| f.family).collect();
        assert_eq!(families, ["whole_slate", "prefix", "position", "linear"]);
        assert_eq!(judged.n_rounds, 2_000);
        std::fs::write(&path, text.replace("s1,1,", "s1,0,")).unwrap();
        let message = judge_table(&slates, "t", &policy, &JudgeConfig::default()).unwrap_err().to_string();
        assert!(message.contains("slate `s1`"), "{message}");
    }

    #[test]
    fn a_file_that_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let good = spec(csv_of(folder.path()));
        let judge = |spec: &TableSpec, policy: &TablePolicy| {
            judge_table(spec, "t", policy, &JudgeConfig::default()).unwrap_err().to_string()
        };
        let no_column = TablePolicy { column: Some("nope".into()), ..TablePolicy::default() };
        assert!(judge(&good, &no_column).contains("column `nope`"));
        assert!(judge(&good, &TablePolicy::default()).contains("give one of"));
        let gone = spec(folder.path().join("gone.parquet"));
        assert!(judge(&gone, &column()).contains("gone.parquet"));
        let odd = spec(folder.path().join("log.xlsx"));
        assert!(judge(&odd, &column()).contains("`.parquet` or `.csv`"));
        let bad = folder.path().join("bad.csv");
        std::fs::write(&bad, "reward,propensity,target\n1,0.5,0.5\n,0.5,0.5\n").unwrap();
        assert!(judge(&spec(bad.clone()), &column()).contains("reward of round 1"));
        std::fs::write(&bad, "reward,propensity,target\n1,half,0.5\n").unwrap();
        assert!(judge(&spec(bad), &column()).contains("`half`"));
    }
}
