//! The tests of `circuit_breaker.rs`.

use super::*;

const NOBODY: usize = 0;

fn open(at: u64) -> CircuitBreaker {
    let breaker = CircuitBreaker::to("managed MLflow");
    for number in 0..THRESHOLD {
        assert_eq!(breaker.permit_at(at, NOBODY), Ok(AttemptKind::Normal), "after {number} failures");
        breaker.record_failure_at(AttemptKind::Normal, at, 0);
    }
    breaker
}

#[test]
fn the_breaker_opens_only_after_failures_in_a_row() {
    let breaker = CircuitBreaker::to("managed MLflow");
    for _ in 0..100 {
        for _ in 1..THRESHOLD {
            breaker.record_failure_at(AttemptKind::Normal, 1, 0);
        }
        breaker.record_response();
    }
    assert_eq!(breaker.permit_at(1, NOBODY), Ok(AttemptKind::Normal));
    let breaker = open(1000);
    assert!(breaker.is_open());
    assert_eq!(breaker.permit_at(1000, NOBODY), Err(CircuitOpen { remaining: PAUSE }));
    assert_eq!(
        breaker.permit_at(1001 + PAUSE_MS - 2, NOBODY),
        Err(CircuitOpen { remaining: Duration::from_millis(1) })
    );
}

#[test]
fn silence_counts_only_if_no_other_request_is_answered_meanwhile() {
    let breaker = CircuitBreaker::to("managed MLflow");
    breaker.record_response_at(1000);
    for _ in 0..2 * THRESHOLD {
        breaker.record_silence(AttemptKind::Normal, AttemptStart(500));
    }
    assert!(!breaker.is_open(), "slow requests of one caller, which began before the response");
    // The time of this response is not noted, because it follows another one closely.
    breaker.record_response_at(1000 + GRAIN_MS - 1);
    for _ in 0..2 * THRESHOLD {
        breaker.record_silence(AttemptKind::Normal, AttemptStart(1000 + GRAIN_MS - 1));
    }
    assert!(!breaker.is_open());
    for _ in 0..THRESHOLD {
        breaker.record_silence(AttemptKind::Normal, AttemptStart(1000 + GRAIN_MS));
    }
    assert!(breaker.is_open(), "there was no sign of life since");
    let silent = CircuitBreaker::to("managed MLflow");
    for _ in 0..THRESHOLD {
        silent.record_silence(AttemptKind::Normal, AttemptStart(1));
    }
    assert!(silent.is_open(), "there was never one");
}

#[test]
fn a_caller_whose_probe_has_no_result_leaves_the_next_one_to_others() {
    let (breaker, slow, other) = (open(1000), 7, 8);
    let first = 1000 + PAUSE_MS;
    assert_eq!(breaker.permit_at(first, slow), Ok(AttemptKind::Probe));
    let second = first + PAUSE_MS;
    assert_eq!(breaker.permit_at(second, slow), Err(CircuitOpen { remaining: PAUSE }));
    assert_eq!(breaker.permit_at(second, other), Ok(AttemptKind::Probe));
    // The silence of the first one does not put off the next one.
    breaker.record_silence(AttemptKind::Probe, AttemptStart(first));
    assert_eq!(breaker.permit_at(second + PAUSE_MS, slow), Ok(AttemptKind::Probe));
    assert!(breaker.permit_at(second + 3 * PAUSE_MS - 1, slow).is_err());
    assert_eq!(breaker.permit_at(second + 3 * PAUSE_MS, slow), Ok(AttemptKind::Probe), "nobody else has asked");
    // A failure that the caller has not chosen is a result.
    let failed = second + 3 * PAUSE_MS + 100;
    breaker.record_failure_at(AttemptKind::Probe, failed, 0);
    assert_eq!(breaker.permit_at(failed + PAUSE_MS, slow), Ok(AttemptKind::Probe));
}

#[test]
fn only_one_probe_is_in_flight_at_a_time() {
    let breaker = open(1000);
    let later = 1000 + PAUSE_MS;
    assert_eq!(breaker.permit_at(later, NOBODY), Ok(AttemptKind::Probe));
    assert!(breaker.permit_at(later, NOBODY).is_err(), "other requests are rejected meanwhile");
    breaker.record_failure_at(AttemptKind::Probe, later + 100, 0);
    assert_eq!(breaker.permit_at(later + 100, NOBODY), Err(CircuitOpen { remaining: PAUSE }));
    let again = later + 100 + PAUSE_MS;
    assert_eq!(breaker.permit_at(again, NOBODY), Ok(AttemptKind::Probe));
    breaker.record_response();
    assert!(!breaker.is_open());
    assert_eq!(breaker.permit_at(again, NOBODY), Ok(AttemptKind::Normal));
    assert_eq!(breaker.permit_at(again, NOBODY), Ok(AttemptKind::Normal));
}

#[test]
fn a_probe_without_a_result_does_not_block_the_next_one_for_ever() {
    let breaker = open(1000);
    assert_eq!(breaker.permit_at(1000 + PAUSE_MS, NOBODY), Ok(AttemptKind::Probe));
    assert!(breaker.permit_at(1000 + 2 * PAUSE_MS - 1, NOBODY).is_err());
    assert_eq!(breaker.permit_at(1000 + 2 * PAUSE_MS, NOBODY), Ok(AttemptKind::Probe));
}

#[test]
fn late_failures_do_not_prolong_the_pause_and_any_response_closes_the_breaker() {
    let breaker = open(1000);
    breaker.record_failure_at(AttemptKind::Normal, 1000 + PAUSE_MS - 1, 0);
    assert_eq!(breaker.permit_at(1000 + PAUSE_MS, NOBODY), Ok(AttemptKind::Probe));
    breaker.record_response();
    assert_eq!(breaker.permit_at(1000 + PAUSE_MS, NOBODY), Ok(AttemptKind::Normal));
}
