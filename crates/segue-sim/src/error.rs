//! What can go wrong in making or running a world.

/// An error of the simulator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A value of the configuration breaks its rule.
    #[error("world: `{field}` is {value}; it is {rule}")]
    Config {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: String,
        /// The rule in words.
        rule: &'static str,
    },
    /// The sink refused a batch.
    #[error("world: the sink stopped at {table}")]
    Sink {
        /// What was being written.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Worker threads could not be started.
    #[error("world: cannot start {n_threads} worker threads")]
    Threads {
        /// How many were asked for.
        n_threads: usize,
        /// Why.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// A service asked for slates or given events did not do its part.
    #[error("service: {what}: {detail}")]
    Service {
        /// Which call.
        what: &'static str,
        /// What happened.
        detail: String,
    },
}
