//! Pure statistics over slices: tests, intervals, resampling, sequential boundaries.
