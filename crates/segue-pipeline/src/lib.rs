//! Stage traits of a request and their runner.
