//! The shares of the response time: the time of the appliance, of MLflow, of S3, and of bodies on their way.

use crate::serve::telemetry::metrics::layout::SHARES;

/// The shares of the time from the head of a request to the last byte of its response, or sums of them. Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeShares {
    /// The appliance itself, which includes the waits for its own limits and before retries.
    pub appliance: u64,
    /// Managed MLflow, from sending a request to the head of its response.
    pub mlflow: u64,
    /// S3, from sending a call to the head of its response.
    pub s3: u64,
    /// The bodies of the request and of the response on their way from and to the client.
    pub bodies: u64,
}

impl TimeShares {
    /// Returns the shares that counters contain, and the rest of `total`.
    pub(super) fn of_counted([appliance, mlflow, s3]: [u64; SHARES], total: u64) -> Self {
        Self { appliance, mlflow, s3, bodies: total.saturating_sub(appliance + mlflow + s3) }
    }

    /// Adds other shares.
    pub(crate) fn add(&mut self, other: &Self) {
        self.appliance += other.appliance;
        self.mlflow += other.mlflow;
        self.s3 += other.s3;
        self.bodies += other.bodies;
    }

    /// Returns the difference to an earlier sum.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            appliance: self.appliance.saturating_sub(earlier.appliance),
            mlflow: self.mlflow.saturating_sub(earlier.mlflow),
            s3: self.s3.saturating_sub(earlier.s3),
            bodies: self.bodies.saturating_sub(earlier.bodies),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_add_up_to_the_total() {
        let shares = TimeShares::of_counted([1, 20, 300], 1000);
        assert_eq!(shares, TimeShares { appliance: 1, mlflow: 20, s3: 300, bodies: 679 });
        // Calls to S3 may overlap, so that their sum is more than the time that has passed.
        assert_eq!(TimeShares::of_counted([1, 20, 3000], 1000).bodies, 0);
        let mut sum = shares;
        sum.add(&shares);
        assert_eq!(sum.since(&shares), shares);
    }
}
