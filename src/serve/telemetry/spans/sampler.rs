//! The decision whether a new trace is recorded: a pure function of its id, as OpenTelemetry's samplers have it.

/// The number of bits of a trace id that are random by specification.
const RANDOM_BITS: u32 = 56;

/// Records a share of all traces.
pub(super) struct Sampler {
    /// Traces whose random bits are at least this are recorded.
    threshold: u64,
}

impl Sampler {
    /// Records the share `ratio` of all traces, from 0 to 1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2 to the power of 56")]
    pub(super) fn new(ratio: f64) -> Self {
        Self { threshold: ((1.0 - ratio.clamp(0.0, 1.0)) * (1_u64 << RANDOM_BITS) as f64) as u64 }
    }

    /// True if a trace is recorded.
    pub(super) fn samples(&self, trace: u128) -> bool {
        let random = u64::try_from(trace & ((1 << RANDOM_BITS) - 1)).unwrap_or(u64::MAX);
        random >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_share_of_recorded_traces() {
        let traces: Vec<u128> =
            (0..4096_u128).map(|number| (number << (RANDOM_BITS - 12)) | u128::MAX << 64 | 0x3039).collect();
        for (ratio, expected) in [(0.0, 0), (0.25, 1024), (0.5, 2048), (1.0, 4096), (7.0, 4096), (-1.0, 0)] {
            let sampler = Sampler::new(ratio);
            let sampled = traces.iter().filter(|trace| sampler.samples(**trace)).count();
            assert_eq!(sampled, expected, "{ratio}");
        }
        assert!(Sampler::new(1.0).samples(0) && !Sampler::new(0.0).samples(u128::MAX));
    }
}
