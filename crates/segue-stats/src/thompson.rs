//! Thompson sampling: play the arm that is best in one draw from what is believed of each.

use crate::StatsError;
use crate::distribution::{beta, normal};
use crate::error::positive;
use crate::random::Stream;

/// Belief about one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Belief {
    /// Rewards of 0 or 1: `Beta(successes, failures)`, prior counts included.
    Beta {
        /// Prior and observed successes, above 0.
        successes: f64,
        /// Prior and observed failures, above 0.
        failures: f64,
    },
    /// A mean with normal uncertainty.
    Gaussian {
        /// Posterior mean.
        mean: f64,
        /// Posterior standard deviation, above 0.
        sd: f64,
    },
}

impl Belief {
    /// After one more 0/1 reward (Beta), or a reward of known variance `noise` (Gaussian).
    ///
    /// # Errors
    /// [`StatsError::Range`] for a reward outside `[0, 1]` (Beta), or a noise that is not above 0 (Gaussian).
    pub fn after(self, reward: f64, noise: f64) -> Result<Self, StatsError> {
        match self {
            Self::Beta { successes, failures } if (0.0..=1.0).contains(&reward) => {
                Ok(Self::Beta { successes: successes + reward, failures: failures + 1.0 - reward })
            }
            Self::Beta { .. } => Err(StatsError::Range {
                what: "reward",
                value: reward,
                rule: "a Beta belief takes rewards from 0 to 1",
            }),
            Self::Gaussian { mean, sd } => {
                let (before, more) = (1.0 / (sd * sd), 1.0 / positive("variance of a reward", noise)?);
                let precision = before + more;
                Ok(Self::Gaussian {
                    mean: (mean * before + reward * more) / precision,
                    sd: precision.sqrt().recip(),
                })
            }
        }
    }

    /// One draw.
    fn draw(self, u: f64) -> f64 {
        // Inside (0, 1): the quantile of 0 may be −∞.
        let u = u.clamp(1e-16, 1.0 - 1e-16);
        match self {
            Self::Beta { successes, failures } => beta::quantile(u, successes, failures),
            Self::Gaussian { mean, sd } => mean + sd * normal::quantile(u),
        }
    }
}

/// The arm that wins one draw; ties go to the first. `seed` and `request` name the draw, so it can be repeated.
///
/// # Errors
/// [`StatsError::TooFew`] without arms; [`StatsError::Range`] for a belief whose parameters are not above 0.
///
/// # Source
/// Thompson, "On the likelihood that one unknown probability exceeds another", Biometrika 1933.
pub fn thompson(beliefs: &[Belief], seed: u64, request: u64) -> Result<usize, StatsError> {
    let mut stream = Stream::new(seed, request);
    let mut best: Option<(usize, f64)> = None;
    for (arm, &belief) in beliefs.iter().enumerate() {
        match belief {
            Belief::Beta { successes, failures } => {
                positive("successes of a belief", successes)?;
                positive("failures of a belief", failures)?;
            }
            Belief::Gaussian { sd, .. } => {
                positive("standard deviation of a belief", sd)?;
            }
        }
        let value = belief.draw(stream.next_f64());
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((arm, value));
        }
    }
    best.map(|(arm, _)| arm).ok_or(StatsError::TooFew { what: "arms", got: 0, needed: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gaussian_best_arm::probability_best;

    #[test]
    fn arms_are_played_as_often_as_they_are_best() {
        let (mean, sd) = ([0.3, 0.5, 0.45], [0.2, 0.1, 0.15]);
        let beliefs: Vec<Belief> =
            mean.iter().zip(&sd).map(|(&mean, &sd)| Belief::Gaussian { mean, sd }).collect();
        let mut played = [0.0; 3];
        for request in 0..20_000 {
            played[thompson(&beliefs, 1, request).unwrap()] += 1.0 / 20_000.0;
        }
        let want = probability_best(&mean, &sd).unwrap();
        assert!(played.iter().zip(&want).all(|(p, w)| (p - w).abs() < 0.015), "{played:?} {want:?}");
    }

    #[test]
    fn what_was_seen_is_believed_and_nonsense_is_named() {
        let b = Belief::Beta { successes: 1.0, failures: 1.0 }.after(1.0, 0.0).unwrap();
        assert_eq!(b, Belief::Beta { successes: 2.0, failures: 1.0 });
        let Belief::Gaussian { mean, sd } =
            (Belief::Gaussian { mean: 0.0, sd: 1.0 }).after(2.0, 1.0).unwrap()
        else {
            panic!("a Gaussian belief stays one")
        };
        assert!((mean - 1.0).abs() < 1e-15 && (sd * sd - 0.5).abs() < 1e-15);
        assert!(b.after(2.0, 0.0).is_err() && thompson(&[], 0, 0).is_err());
        assert!(thompson(&[Belief::Beta { successes: 0.0, failures: 1.0 }], 0, 0).is_err());
        let sure =
            [Belief::Beta { successes: 1.0, failures: 9e3 }, Belief::Beta { successes: 9e3, failures: 1.0 }];
        assert_eq!(thompson(&sure, 5, 5).unwrap(), 1);
    }
}
