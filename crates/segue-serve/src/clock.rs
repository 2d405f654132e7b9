//! Which moment a request happens at.
//!
//! A server lives at the machine's time. A server started with `--client-clock` lives at the latest
//! moment its clients have named: simulations and old data sets are served as of their own days.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use segue_types::TimestampMs;
use segue_types::validate::MIN_TIMESTAMP;

use crate::error::ApiError;

/// The server's clock.
#[derive(Debug)]
pub struct Clock {
    /// Latest moment named by a client; `None` follows the machine.
    latest: Option<AtomicI64>,
}

impl Clock {
    /// The machine's time; a request that brings its own `now` is refused.
    #[must_use]
    pub fn machine() -> Self {
        Self { latest: None }
    }

    /// Time as clients tell it, from `start` on.
    #[must_use]
    pub fn client(start: TimestampMs) -> Self {
        Self { latest: Some(AtomicI64::new(start.0)) }
    }

    /// Whether clients may bring their own `now`.
    #[must_use]
    pub fn is_client(&self) -> bool {
        self.latest.is_some()
    }

    /// The server's moment.
    #[must_use]
    pub fn now(&self) -> TimestampMs {
        match &self.latest {
            Some(latest) => TimestampMs(latest.load(Ordering::Relaxed)),
            None => machine_now(),
        }
    }

    /// The moment of a request that may name one.
    pub(crate) fn of_request(&self, named: Option<TimestampMs>) -> Result<TimestampMs, ApiError> {
        match (&self.latest, named) {
            (None, None) => Ok(machine_now()),
            (None, Some(at)) => Err(ApiError::bad_field(
                "now",
                &at.0.to_string(),
                "this server follows its own clock; leave it out, or start the server with `--client-clock`",
            )),
            (Some(_), None) => Ok(self.now()),
            (Some(_), Some(at))
                if at < MIN_TIMESTAMP || at > machine_now().plus_ms(100 * 365 * segue_types::DAY_MS) =>
            {
                Err(ApiError::bad_field("now", &at.0.to_string(), "it is milliseconds since 1970, UTC"))
            }
            (Some(latest), Some(at)) => {
                latest.fetch_max(at.0, Ordering::Relaxed);
                Ok(at)
            }
        }
    }
}

fn machine_now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_clock_refuses_a_named_moment() {
        assert!(Clock::machine().of_request(Some(TimestampMs(1))).is_err());
        assert!(Clock::machine().of_request(None).is_ok());
    }

    #[test]
    fn a_client_clock_never_goes_back() {
        let clock = Clock::client(TimestampMs(1_000));
        assert_eq!(clock.of_request(Some(TimestampMs(5_000))).unwrap(), TimestampMs(5_000));
        assert_eq!(clock.of_request(Some(TimestampMs(3_000))).unwrap(), TimestampMs(3_000));
        assert_eq!(clock.now(), TimestampMs(5_000));
        assert!(clock.of_request(Some(TimestampMs(i64::MAX))).is_err());
    }
}
