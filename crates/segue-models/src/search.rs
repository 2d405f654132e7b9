//! Which settings of a model are worth trying, and the draw of one trial.
//!
//! A space is a TOML table, one line per setting:
//!
//! ```toml
//! neighbours = { low = 20, high = 500, log = true }   # a whole number: both ends are
//! beta = { low = 0.0, high = 1.0 }                    # evenly between the ends, both included
//! similarity = ["cosine", "tf_idf", "bm25"]           # one of these
//! ```
//!
//! Each model documents its own ([`Model::SEARCH`](crate::Model::SEARCH)). Trials are drawn independently and
//! evenly (random search: Bergstra & Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012), so
//! any number of them may run in any order; trial `n` of a seed is always the same.

use toml::{Table, Value};

use crate::trees::random::draw;

/// A space of settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchSpace {
    /// By name, ascending.
    settings: Vec<(String, Range)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Range {
    OneOf(Vec<Value>),
    Whole { low: i64, high: i64, log: bool },
    Real { low: f64, high: f64, log: bool },
}

/// Why a table is not a space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("search space: `{setting}` is {value}; {rule}")]
pub struct SearchError {
    /// Name of the setting.
    pub setting: String,
    /// What was given.
    pub value: String,
    /// What is allowed.
    pub rule: &'static str,
}

impl SearchSpace {
    /// Reads a space.
    ///
    /// # Errors
    /// [`SearchError`] names the first setting whose range is not one.
    pub fn parse(table: &Table) -> Result<Self, SearchError> {
        let mut settings = table
            .iter()
            .map(|(name, value)| {
                let wrong = |rule| SearchError { setting: name.clone(), value: value.to_string(), rule };
                Ok((name.clone(), Range::parse(value).map_err(wrong)?))
            })
            .collect::<Result<Vec<_>, SearchError>>()?;
        settings.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Self { settings })
    }

    /// Whether there is nothing to vary.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// Settings of one trial: every setting of the space, drawn by `(seed, trial)` and the setting's place.
    #[must_use]
    pub fn trial(&self, seed: u64, trial: u64) -> Table {
        self.settings
            .iter()
            .zip(0..)
            .map(|((name, range), place)| {
                let unit = (draw(seed, trial, place) >> 11) as f64 / (1_u64 << 53) as f64;
                (name.clone(), range.at(unit))
            })
            .collect()
    }
}

impl Range {
    fn parse(value: &Value) -> Result<Self, &'static str> {
        const SHAPE: &str = "it is a list to choose from, or `{ low = …, high = …, log = true or false }`";
        const ENDS: &str = "`low` is at most `high`, both are finite, and above 0 where `log` is true";
        let table = match value {
            Value::Array(choices) if !choices.is_empty() => return Ok(Self::OneOf(choices.clone())),
            Value::Table(table) => table,
            _ => return Err(SHAPE),
        };
        if table.keys().any(|key| !["low", "high", "log"].contains(&key.as_str())) {
            return Err(SHAPE);
        }
        let log = match table.get("log") {
            None => false,
            Some(Value::Boolean(log)) => *log,
            Some(_) => return Err(SHAPE),
        };
        let range = match (table.get("low"), table.get("high")) {
            (Some(&Value::Integer(low)), Some(&Value::Integer(high))) => Self::Whole { low, high, log },
            (Some(low), Some(high)) => {
                let real = |v: &Value| v.as_float().or_else(|| v.as_integer().map(|i| i as f64));
                Self::Real { low: real(low).ok_or(SHAPE)?, high: real(high).ok_or(SHAPE)?, log }
            }
            _ => return Err(SHAPE),
        };
        let good = match range {
            Self::Whole { low, high, log } => low <= high && (!log || low > 0),
            Self::Real { low, high, log } => {
                low <= high && low.is_finite() && high.is_finite() && (!log || low > 0.0)
            }
            Self::OneOf(_) => true,
        };
        if good { Ok(range) } else { Err(ENDS) }
    }

    /// The value at `unit` in `[0, 1)` of the range.
    fn at(&self, unit: f64) -> Value {
        let between = |low: f64, high: f64, log: bool| {
            if log { (low.ln() + unit * (high.ln() - low.ln())).exp() } else { low + unit * (high - low) }
        };
        match self {
            Self::OneOf(choices) => choices[(unit * choices.len() as f64) as usize].clone(),
            // Every whole number has an equal part; in a log range, of the logarithms.
            &Self::Whole { low, high, log } => {
                let drawn = between(low as f64, high as f64 + 1.0, log).floor() as i64;
                Value::Integer(drawn.clamp(low, high))
            }
            // Four digits: what is tried is what is printed.
            &Self::Real { low, high, log } => {
                let drawn = between(low, high, log);
                let digits = format!("{drawn:.3e}").parse::<f64>().unwrap_or(drawn);
                Value::Float(digits.clamp(low, high))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(text: &str) -> Result<SearchSpace, SearchError> {
        SearchSpace::parse(&text.parse().unwrap())
    }

    #[test]
    fn trials_fill_their_ranges_evenly_and_come_again() {
        let space =
            space("n = { low = 1, high = 4 }\nx = { low = 1e-3, high = 10.0, log = true }\nc = ['a', 'b']")
                .unwrap();
        let trials: Vec<Table> = (0..4000).map(|n| space.trial(5, n)).collect();
        for whole in 1..=4 {
            let n = trials.iter().filter(|t| t["n"].as_integer() == Some(whole)).count();
            assert!((850..1150).contains(&n), "{whole}: {n} of 4000");
        }
        let below = trials.iter().filter(|t| t["x"].as_float().unwrap() < 0.1).count();
        assert!((1850..2150).contains(&below), "half of the decades: {below}");
        assert!(trials.iter().all(|t| (1e-3..=10.0).contains(&t["x"].as_float().unwrap())));
        let a = trials.iter().filter(|t| t["c"].as_str() == Some("a")).count();
        assert!((1850..2150).contains(&a), "{a}");
        assert_eq!(space.trial(5, 17), trials[17]);
        assert_ne!(space.trial(6, 17), trials[17]);
    }

    #[test]
    fn a_range_that_is_none_is_named_with_the_rule() {
        for (text, word) in [
            ("a = 3", "list"),
            ("a = []", "list"),
            ("a = { low = 1 }", "list"),
            ("a = { low = 1, high = 2, step = 1 }", "list"),
            ("a = { low = 3, high = 2 }", "at most"),
            ("a = { low = 0.0, high = 2.0, log = true }", "above 0"),
        ] {
            let message = space(text).unwrap_err().to_string();
            assert!(message.contains("`a`") && message.contains(word), "{text}: {message}");
        }
    }

    /// Every model's documented space is one, and its model takes what is drawn.
    #[test]
    fn every_registered_space_draws_settings_that_its_model_takes() {
        for line in crate::RECOMMENDERS {
            let space = SearchSpace::parse(&line.search.parse().unwrap()).unwrap();
            for trial in 0..20 {
                let settings = space.trial(1, trial);
                assert!(line.settings(&settings).is_ok(), "{}: {settings}", line.kind);
            }
        }
    }
}
