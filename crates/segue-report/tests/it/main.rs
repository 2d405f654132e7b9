//! Whole pages: nothing hostile gets through, nothing is fetched, nothing panics.

mod hostile;
mod page;
mod plots;
