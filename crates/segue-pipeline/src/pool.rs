//! A small pool of threads for sources: they run off the async threads and beside each other.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that take jobs in order. Dropping it lets them finish.
#[derive(Debug)]
pub struct WorkerPool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl WorkerPool {
    /// Starts `n_threads` threads.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(n_threads: usize) -> std::io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue: Arc<Mutex<Receiver<Job>>> = Arc::new(Mutex::new(queue));
        let threads = (0..n_threads)
            .map(|i| {
                let queue = Arc::clone(&queue);
                std::thread::Builder::new().name(format!("segue-source-{i}")).spawn(move || {
                    loop {
                        // Jobs catch their own panics, so a poisoned lock only means an odd exit.
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        match job {
                            Ok(job) => job(),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect::<std::io::Result<Vec<_>>>()?;
        Ok(Self { jobs: Some(jobs), threads })
    }

    /// Number of threads.
    #[must_use]
    pub fn n_threads(&self) -> usize {
        self.threads.len()
    }

    /// Queues a job.
    pub(crate) fn spawn(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The receiver lives as long as a thread does; a job that finds none is simply not run
            // and its request sees a time-out.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        // Closing the channel ends the threads after their current job. They are not joined: a
        // source that hangs must not hang the shutdown.
        self.jobs = None;
    }
}
