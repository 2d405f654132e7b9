//! The off-policy estimators of `segue-eval`, one line per method.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use segue_eval::off_policy::{
    LoggedRounds, LoggedSlates, SlateWeights, Weighting, cascade_doubly_robust, diagnose, direct,
    doubly_robust, ips, lowest_mean_squared_error, self_normalised_doubly_robust, slate_ips, slate_snips,
    slope, snips,
};
use serde_json::{Value, json};

use super::Method;
use super::input::{counts, f, floats, matrix, s, u};

/// File name without ending → how to run one case.
pub(super) const METHODS: &[(&str, Method)] = &[
    ("ope_tiny", |i, _| Rounds::inline(i)?.estimates(i)),
    ("ope_open_bandit", |i, folder| {
        let rounds = Rounds::open_bandit(i, folder)?;
        let mut out = rounds.estimates(i)?;
        out["on_policy_mean_logged"] = json!(mean(&rounds.reward));
        // The other policy's own log of the same campaign.
        let file = s(i, "file")?;
        let other = if file.contains("random") {
            file.replace("random", "bts")
        } else {
            file.replace("bts", "random")
        };
        if folder.join(&other).exists() {
            let clicks: Vec<f64> = log(folder, &other)?.iter().map(|r| r.click).collect();
            out["on_policy_mean_target_log"] = json!(mean(&clicks));
        }
        Ok(out)
    }),
    ("ope_slate", |i, _| {
        let slate = counts(&i["slate_id"])?;
        let position: Vec<u32> = counts(&i["position"])?.into_iter().map(|x| x as u32).collect();
        let reward = floats(&i["reward"])?;
        let slates = LoggedSlates { slate: &slate, position: &position, reward: &reward };
        let mut out = json!({});
        for (name, self_normalised, key) in
            [("sips", "snsips", "slate"), ("iips", "sniips", "item"), ("rips", "snrips", "cascade")]
        {
            let (pb, pe) = (floats(&i[format!("{key}_pb")])?, floats(&i[format!("{key}_pe")])?);
            let weights = SlateWeights { propensity: &pb, target_probability: &pe };
            out[name] = json!(slate_ips(&slates, &weights)?);
            out[self_normalised] = json!(slate_snips(&slates, &weights)?);
            if key == "cascade" {
                let (q, policy) = (matrix(&i["q_hat"])?, matrix(&i["pi_e_conditional"])?);
                let shown = chosen(&q, &counts(&i["action"])?)?;
                let value: Vec<f64> = q.iter().zip(&policy).map(|(q, p)| dot(q, p)).collect();
                out["cascade_dr"] = json!(cascade_doubly_robust(&slates, &weights, &shown, &value)?);
            }
        }
        Ok(out)
    }),
    ("ope_hyperparameter_selection", |i, _| {
        let rounds = Rounds::inline(i)?;
        let lambdas = floats(&i["lambdas"])?;
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
    fn inline(i: &Value) -> Result<Self> {
        let (policy, q) = (matrix(&i["pi_e"])?, matrix(&i["q_hat"])?);
        let action = counts(&i["action"])?;
        Ok(Self {
            reward: floats(&i["reward"])?,
            propensity: floats(&i["pscore"])?,
            target_probability: chosen(&policy, &action)?,
            model_reward: chosen(&q, &action)?,
            model_value: policy.iter().zip(&q).map(|(p, q)| dot(p, q)).collect(),
        })
    }

    fn open_bandit(i: &Value, folder: &Path) -> Result<Self> {
        let rows = log(folder, s(i, "file")?)?;
        let n_actions = u(i, "n_actions")? as usize;
        let policy: Vec<Vec<f64>> = match i["pi_e"]["name"].as_str() {
            None => matrix(&i["pi_e"]["matrix"])?,
            Some("uniform") => vec![vec![1.0 / n_actions as f64; 3]; n_actions],
            Some("zipf") => {
                let total: f64 = (1..=n_actions).map(|a| 1.0 / a as f64).sum();
                (1..=n_actions).map(|a| vec![1.0 / a as f64 / total; 3]).collect()
            }
            Some(other) => bail!("policy `{other}` is not known"),
        };
        ensure!(
            policy.len() == n_actions && policy.iter().all(|p| p.len() == 3),
            "`pi_e` is not [{n_actions}][3]"
        );
        ensure!(
            rows.iter().all(|r| r.action < n_actions && r.position < 3),
            "the log has actions or positions that `pi_e` lacks"
        );
        let reward: Vec<f64> = rows.iter().map(|r| r.click).collect();
        let (rate, weight) = (mean(&reward), f(i, "q_hat_prior_weight")?);
        let mut clicks = vec![(0.0, 0.0); n_actions];
        for r in &rows {
            clicks[r.action].0 += r.click;
            clicks[r.action].1 += 1.0;
        }
        let q: Vec<f64> = clicks.iter().map(|(c, n)| (c + weight * rate) / (n + weight)).collect();
        let value: Vec<f64> =
            (0..3).map(|position| (0..n_actions).map(|a| policy[a][position] * q[a]).sum()).collect();
        Ok(Self {
            propensity: rows.iter().map(|r| r.propensity).collect(),
            target_probability: rows.iter().map(|r| policy[r.action][r.position]).collect(),
            model_reward: rows.iter().map(|r| q[r.action]).collect(),
            model_value: rows.iter().map(|r| value[r.position]).collect(),
            reward,
        })
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

    fn estimates(&self, i: &Value) -> Result<Value> {
        let (clip, switch, shrink, sg) = (
            f(i, "clip")?,
            f(i, "switch_threshold")?,
            f(i, "dros_lambda")?,
            Weighting::SubGaussian(f(i, "sg_lambda")?),
        );
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

/// One row of an extract of the Open Bandit Dataset.
struct Row {
    action: usize,
    position: usize,
    click: f64,
    propensity: f64,
}

/// An extract that lies in the folder of the vectors.
fn log(folder: &Path, name: &str) -> Result<Vec<Row>> {
    ensure!(Path::new(name).file_name().is_some_and(|n| n == name), "`{name}` is not the name of a file");
    let path = folder.join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let row = |line: &str| -> Option<Row> {
        let mut fields = line.split(',');
        Some(Row {
            action: fields.next()?.parse().ok()?,
            position: fields.next()?.parse().ok()?,
            click: fields.next()?.parse().ok()?,
            propensity: fields.next()?.parse().ok()?,
        })
    };
    text.lines()
        .enumerate()
        .skip(1)
        .map(|(n, line)| {
            row(line).with_context(|| format!("{name}: line {}: not action,position,click,propensity", n + 1))
        })
        .collect()
}

/// The value of each row at the action that was taken.
fn chosen(rows: &[Vec<f64>], actions: &[u64]) -> Result<Vec<f64>> {
    rows.iter()
        .zip(actions)
        .map(|(row, &a)| row.get(a as usize).copied().with_context(|| format!("no action {a} in a row")))
        .collect()
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
