//! Off-policy estimators against published vectors (`ope_*.json` of `experiment-vectors`).
//!
//! The other methods of that folder are tested in `segue-stats`, with the same rule: a number matches
//! when `|got − want| ≤ abs + rel |want|`, and every expected field is required.

use std::path::{Path, PathBuf};

use segue_eval::EvalError;
use segue_eval::off_policy::{
    LoggedRounds, LoggedSlates, SlateWeights, Weighting, cascade_doubly_robust, diagnose, direct,
    doubly_robust, ips, lowest_mean_squared_error, self_normalised_doubly_robust, slate_ips, slate_snips,
    slope, snips,
};
use serde_json::{Value, json};

type Method = fn(&Value, &Path) -> Result<Value, EvalError>;

const METHODS: &[(&str, Method)] = &[
    ("ope_tiny", |i, _| Rounds::inline(i).estimates(i)),
    ("ope_open_bandit", |i, folder| {
        let rounds = Rounds::open_bandit(i, folder);
        let mut out = rounds.estimates(i)?;
        out["on_policy_mean_logged"] = json!(mean(&rounds.reward));
        // The other policy's own log of the same campaign.
        let file = i["file"].as_str().unwrap();
        let other = if file.contains("random") {
            file.replace("random", "bts")
        } else {
            file.replace("bts", "random")
        };
        if folder.join(&other).exists() {
            out["on_policy_mean_target_log"] = json!(mean(&clicks(&folder.join(other))));
        }
        Ok(out)
    }),
    ("ope_slate", |i, _| {
        let slate: Vec<u64> = floats(&i["slate_id"]).iter().map(|x| *x as u64).collect();
        let position: Vec<u32> = floats(&i["position"]).iter().map(|x| *x as u32).collect();
        let reward = floats(&i["reward"]);
        let slates = LoggedSlates { slate: &slate, position: &position, reward: &reward };
        let mut out = json!({});
        for (name, self_normalised, key) in
            [("sips", "snsips", "slate"), ("iips", "sniips", "item"), ("rips", "snrips", "cascade")]
        {
            let (pb, pe) = (floats(&i[format!("{key}_pb")]), floats(&i[format!("{key}_pe")]));
            let weights = SlateWeights { propensity: &pb, target_probability: &pe };
            out[name] = json!(slate_ips(&slates, &weights)?);
            out[self_normalised] = json!(slate_snips(&slates, &weights)?);
            if key == "cascade" {
                let (q, policy) = (matrix(&i["q_hat"]), matrix(&i["pi_e_conditional"]));
                let action: Vec<usize> = floats(&i["action"]).iter().map(|x| *x as usize).collect();
                let shown: Vec<f64> = q.iter().zip(&action).map(|(q, a)| q[*a]).collect();
                let value: Vec<f64> = q.iter().zip(&policy).map(|(q, p)| dot(q, p)).collect();
                out["cascade_dr"] = json!(cascade_doubly_robust(&slates, &weights, &shown, &value)?);
            }
        }
        Ok(out)
    }),
    ("ope_hyperparameter_selection", |i, _| {
        let rounds = Rounds::inline(i);
        let lambdas = floats(&i["lambdas"]);
        let shrink: Vec<Weighting> = lambdas.iter().map(|&l| Weighting::Shrink(l)).collect();
        let switch: Vec<Weighting> = lambdas.iter().map(|&l| Weighting::Switch(l)).collect();
        let dros = slope(&rounds.view(), &shrink)?;
        let switch = slope(&rounds.view(), &switch)?;
        // The file's definition says ln(2/0.05); its numbers, which are obp's, are those of ln(2/0.1).
        let (mse, scores) = lowest_mean_squared_error(&rounds.view(), &shrink, 0.1)?;
        Ok(json!({
            "dros_slope": { "lambda": lambdas[dros.index], "value": dros.value },
            "switch_slope": { "lambda": lambdas[switch.index], "value": switch.value },
            "dros_mse": { "lambda": lambdas[mse.index], "value": mse.value, "scores": scores },
        }))
    }),
];

struct Rounds {
    reward: Vec<f64>,
    propensity: Vec<f64>,
    target_probability: Vec<f64>,
    model_reward: Vec<f64>,
    model_value: Vec<f64>,
}

impl Rounds {
    fn inline(i: &Value) -> Self {
        let (policy, q) = (matrix(&i["pi_e"]), matrix(&i["q_hat"]));
        let action: Vec<usize> = floats(&i["action"]).iter().map(|x| *x as usize).collect();
        let shown = |m: &[Vec<f64>]| m.iter().zip(&action).map(|(row, a)| row[*a]).collect();
        Self {
            reward: floats(&i["reward"]),
            propensity: floats(&i["pscore"]),
            target_probability: shown(&policy),
            model_reward: shown(&q),
            model_value: policy.iter().zip(&q).map(|(p, q)| dot(p, q)).collect(),
        }
    }

    fn open_bandit(i: &Value, folder: &Path) -> Self {
        let rows = log(&folder.join(i["file"].as_str().unwrap()));
        let n_actions = i["n_actions"].as_u64().unwrap() as usize;
        let policy: Vec<Vec<f64>> = match i["pi_e"]["name"].as_str() {
            None => matrix(&i["pi_e"]["matrix"]),
            Some("uniform") => vec![vec![1.0 / n_actions as f64; 3]; n_actions],
            Some("zipf") => {
                let total: f64 = (1..=n_actions).map(|a| 1.0 / a as f64).sum();
                (1..=n_actions).map(|a| vec![1.0 / a as f64 / total; 3]).collect()
            }
            Some(other) => panic!("policy `{other}` is not known to this test"),
        };
        let reward: Vec<f64> = rows.iter().map(|r| r.2).collect();
        let (rate, weight) = (mean(&reward), i["q_hat_prior_weight"].as_f64().unwrap());
        let mut counts = vec![(0.0, 0.0); n_actions];
        for r in &rows {
            counts[r.0].0 += r.2;
            counts[r.0].1 += 1.0;
        }
        let q: Vec<f64> = counts.iter().map(|(c, n)| (c + weight * rate) / (n + weight)).collect();
        let value: Vec<f64> =
            (0..3).map(|position| (0..n_actions).map(|a| policy[a][position] * q[a]).sum()).collect();
        Self {
            propensity: rows.iter().map(|r| r.3).collect(),
            target_probability: rows.iter().map(|r| policy[r.0][r.1]).collect(),
            model_reward: rows.iter().map(|r| q[r.0]).collect(),
            model_value: rows.iter().map(|r| value[r.1]).collect(),
            reward,
        }
    }

    fn view(&self) -> LoggedRounds<'_> {
        LoggedRounds {
            reward: &self.reward,
            propensity: &self.propensity,
            target_probability: &self.target_probability,
            model_reward: &self.model_reward,
            model_value: &self.model_value,
        }
    }

    fn estimates(&self, i: &Value) -> Result<Value, EvalError> {
        let f = |key: &str| i[key].as_f64().unwrap();
        let (clip, switch, shrink, sg) =
            (f("clip"), f("switch_threshold"), f("dros_lambda"), Weighting::SubGaussian(f("sg_lambda")));
        let r = self.view();
        let (plain_ips, plain_dr) = (ips(&r, Weighting::Plain)?, doubly_robust(&r, Weighting::Plain)?);
        let (sn, switch_dr) = (snips(&r)?, doubly_robust(&r, Weighting::Switch(switch))?);
        let d = diagnose(&r)?;
        Ok(json!({
            "ips": plain_ips.value, "ips_se": plain_ips.standard_error,
            "ips_clip": ips(&r, Weighting::Clip(clip))?.value,
            "snips": sn.value, "snips_se": sn.standard_error,
            "dm": direct(&r)?.value,
            "dr": plain_dr.value, "dr_se": plain_dr.standard_error,
            "dr_clip": doubly_robust(&r, Weighting::Clip(clip))?.value,
            "sndr": self_normalised_doubly_robust(&r)?.value,
            "switch_dr": switch_dr.value, "switch_dr_se": switch_dr.standard_error,
            "dr_os": doubly_robust(&r, Weighting::Shrink(shrink))?.value,
            "sg_ips": ips(&r, sg)?.value, "sg_dr": doubly_robust(&r, sg)?.value,
            "mean_w": d.mean_weight, "max_w": d.max_weight, "ess": d.effective_sample_size, "n": d.n_rounds,
        }))
    }
}

#[test]
fn every_case_of_every_off_policy_vector_matches() {
    let root = std::env::var_os("SEGUE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = root.join("experiment-vectors");
    if !folder.is_dir() {
        eprintln!("skipped: {} not found", folder.display());
        return;
    }
    let (mut passed, mut wrong) = (0, Vec::new());
    for (method, run) in METHODS {
        let text = std::fs::read_to_string(folder.join(format!("{method}.json"))).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        let cases = file["cases"].as_array().unwrap();
        assert!(!cases.is_empty(), "{method}");
        for case in cases {
            let before = wrong.len();
            let got = run(&case["input"], &folder).unwrap();
            compare(case["id"].as_str().unwrap(), &got, &case["expected"], &case["tol"], &mut wrong);
            passed += usize::from(wrong.len() == before);
        }
    }
    eprintln!("{passed} passed, {} wrong fields", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(path: &str, got: &Value, want: &Value, tol: &Value, wrong: &mut Vec<String>) {
    match want {
        Value::Object(fields) => {
            for (key, want) in fields {
                compare(&format!("{path}.{key}"), &got[key.as_str()], want, tol, wrong);
            }
        }
        Value::Array(items) if got.as_array().is_some_and(|g| g.len() == items.len()) => {
            for (at, want) in items.iter().enumerate() {
                compare(&format!("{path}[{at}]"), &got[at], want, tol, wrong);
            }
        }
        _ => {
            let limit =
                want.as_f64().map(|w| tol["abs"].as_f64().unwrap() + tol["rel"].as_f64().unwrap() * w.abs());
            let close = match (got.as_f64(), want.as_f64(), limit) {
                (Some(got), Some(want), Some(limit)) => (got - want).abs() <= limit,
                _ => got == want,
            };
            if !close {
                wrong.push(format!("{path} is {got}, not {want}"));
            }
        }
    }
}

/// Rows of an extract: action, position, click, propensity.
fn log(path: &Path) -> Vec<(usize, usize, f64, f64)> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .skip(1)
        .map(|line| {
            let f: Vec<f64> = line.split(',').map(|x| x.parse().unwrap()).collect();
            (f[0] as usize, f[1] as usize, f[2], f[3])
        })
        .collect()
}

fn clicks(path: &Path) -> Vec<f64> {
    log(path).iter().map(|r| r.2).collect()
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn floats(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn matrix(v: &Value) -> Vec<Vec<f64>> {
    v.as_array().unwrap().iter().map(floats).collect()
}
