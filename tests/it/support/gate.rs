//! A gate that holds requests at an upstream, and lets as many through as the test says.

use std::sync::{Arc, Condvar, Mutex};

#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<usize>, Condvar)>);

impl Gate {
    /// Waits until the gate is open for one more.
    pub fn wait(&self) {
        let mut open = self.0.0.lock().unwrap();
        while *open == 0 {
            open = self.0.1.wait(open).unwrap();
        }
        *open -= 1;
    }

    /// Lets so many more through.
    pub fn open(&self, count: usize) {
        *self.0.0.lock().unwrap() += count;
        self.0.1.notify_all();
    }
}
