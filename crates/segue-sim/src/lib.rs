//! A listening world whose truth is known.
