//! Surfaces, online user state, write-ahead log and deployments.
