//! What an experiment says of itself.

use serde::{Deserialize, Serialize};

use super::Target;

/// What is randomised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A listener: the same arm on every request. The only unit under which metrics of listeners are valid.
    #[default]
    User,
    /// A session: a listener may meet several arms over time.
    Session,
    /// A request.
    Request,
}

impl Unit {
    /// Its name in configuration and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Session => "session",
            Self::Request => "request",
        }
    }
}

/// How a unit becomes a bucket. All but [`HashFormat::Segue`] exist so that a team can bring a running
/// experiment along without re-bucketing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum HashFormat {
    /// murmur3-128 of `SALT|UNIT`; one half ramps, the other picks the arm, 2²⁰ buckets each.
    #[default]
    Segue,
    /// Ramp: bucket of `MegaSalt-ACCOUNT|UNIT` of 1,000,000. Arm: bucket of `SALT|UNIT` of `buckets`.
    Confidence {
        /// Account id.
        account: String,
        /// Buckets of the rule.
        #[serde(default = "thousand")]
        buckets: u64,
    },
    /// One number from `SALT` and `UNIT`; the ramp is GrowthBook's coverage, see [`super::bucket_ranges`].
    Growthbook {
        /// 1 or 2.
        #[serde(default = "two")]
        version: u32,
    },
    /// Ramp: shard of `SALT-traffic-UNIT`. Arm: shard of `SALT-split-UNIT`.
    Eppo {
        /// Shards.
        #[serde(default = "ten_thousand")]
        shards: u32,
    },
    /// Ramp: uniform of `SALT.ramp.UNIT`. Arm: weighted choice by the uniform of `SALT.PARAMETER.UNIT`.
    Planout {
        /// Name of the assigned parameter.
        parameter: String,
    },
}

fn two() -> u32 {
    2
}

fn thousand() -> u64 {
    1_000
}

fn ten_thousand() -> u32 {
    10_000
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmSpec {
    /// Name, unique in the experiment. The first arm is the control unless the analysis says otherwise.
    pub name: String,
    /// Share of the admitted units, relative to the other arms; at least 0.
    #[serde(default = "one")]
    pub weight: f64,
    /// What the arm changes: a piece of configuration laid over the server's own. Not read here.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub config: serde_json::Map<String, serde_json::Value>,
}

fn one() -> f64 {
    1.0
}

/// An experiment, as written in TOML.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentSpec {
    /// Unique name.
    pub name: String,
    /// What makes its randomisation its own; the name where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// What is randomised.
    #[serde(default)]
    pub unit: Unit,
    /// Hash format.
    #[serde(default)]
    pub hash: HashFormat,
    /// Two arms or more, control first.
    pub arms: Vec<ArmSpec>,
    /// Share of the experiment's own units admitted now, in `[0, 1]`. Raise it at will.
    #[serde(default = "one")]
    pub ramp: f64,
    /// Share of all units set aside for this experiment where it has exclusion groups; fixed while it runs.
    #[serde(default = "one")]
    pub share: f64,
    /// Exclusion groups (layers): two experiments that name one group never share a unit. Experiments are
    /// placed in the order given, so a new one goes last and moves nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusion_groups: Vec<String>,
    /// Who is eligible: every predicate given has to hold.
    #[serde(default)]
    pub target: Target,
    /// Who is not, although eligible: any of these that matches excludes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Target>,
}

/// A share of listeners kept out of experiments, to measure what all of them together bring.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldoutSpec {
    /// Unique name; also its salt.
    pub name: String,
    /// Share of listeners, in `[0, 1]`.
    pub share: f64,
    /// Experiments they are kept out of; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experiments: Vec<String>,
}
