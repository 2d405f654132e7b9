//! Reading the input of a case: what is missing or of another type is an error that names the field.

use anyhow::{Context, Result, bail};
use segue_stats::arm::ArmSums;
use segue_stats::group_sequential::Sides;
use segue_stats::multi_metric_decision::Direction;
use serde_json::{Value, json};

/// A number as JSON holds it: infinite ends are strings.
pub(super) fn number(v: f64) -> Value {
    if v == f64::INFINITY {
        json!("inf")
    } else if v == f64::NEG_INFINITY {
        json!("-inf")
    } else {
        json!(v)
    }
}

pub(super) fn f(v: &Value, key: &str) -> Result<f64> {
    v[key].as_f64().with_context(|| format!("`{key}` is not a number"))
}

/// A count, whether written `3` or `3.0`.
pub(super) fn u(v: &Value, key: &str) -> Result<u64> {
    count(&v[key]).with_context(|| format!("`{key}` is not a count"))
}

pub(super) fn int(v: &Value, key: &str) -> Result<i64> {
    v[key].as_i64().with_context(|| format!("`{key}` is not a whole number"))
}

pub(super) fn s<'a>(v: &'a Value, key: &str) -> Result<&'a str> {
    v[key].as_str().with_context(|| format!("`{key}` is not text"))
}

pub(super) fn array(v: &Value) -> Result<&[Value]> {
    v.as_array().map(Vec::as_slice).with_context(|| format!("not a list: {v}"))
}

/// Every entry of a list, read by `one`.
pub(super) fn each<'a, T>(values: &'a [Value], one: impl Fn(&'a Value) -> Result<T>) -> Result<Vec<T>> {
    values.iter().map(one).collect()
}

pub(super) fn floats(v: &Value) -> Result<Vec<f64>> {
    each(array(v)?, |x| x.as_f64().with_context(|| format!("not a number: {x}")))
}

pub(super) fn counts(v: &Value) -> Result<Vec<u64>> {
    each(array(v)?, |x| count(x).with_context(|| format!("not a count: {x}")))
}

pub(super) fn matrix(v: &Value) -> Result<Vec<Vec<f64>>> {
    each(array(v)?, floats)
}

pub(super) fn arm(v: &Value) -> Result<ArmSums> {
    Ok(ArmSums { n: u(v, "n")?, sum: f(v, "sum")?, sum_sq: f(v, "sum_sq")? })
}

pub(super) fn is_relative(v: &Value) -> Result<bool> {
    Ok(s(v, "difference_type")? == "relative")
}

pub(super) fn sides(v: &Value) -> Result<Sides> {
    match u(v, "sides")? {
        1 => Ok(Sides::One),
        2 => Ok(Sides::Two),
        other => bail!("`sides` is {other}; it is 1 or 2"),
    }
}

pub(super) fn direction(text: &str) -> Direction {
    if text == "increase" { Direction::Increase } else { Direction::Decrease }
}

fn count(v: &Value) -> Option<u64> {
    v.as_u64().or_else(|| {
        let x = v.as_f64()?;
        (x >= 0.0 && x.fract() == 0.0 && x < 9e15).then_some(x as u64)
    })
}
