//! A sign-in in progress: what the browser and the identity provider keep of it, since the appliance keeps nothing.
//!
//! The authorization code flow (OpenID Connect Core 3.1) with PKCE (RFC 7636). All that the appliance has to remember is
//! sealed in `state`, which the provider returns. A cookie binds it to the browser: it holds a random number, without which
//! no `state` opens. So several tabs can sign in at once, several appliances with one session key need no common memory, and
//! any number of unfinished sign-ins costs nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};

use super::seal::Sealer;
use super::token::NoRandomness;

/// The time in which a person has to sign in at the provider.
pub const FLOW_LIFETIME: Duration = Duration::from_secs(600);
/// The longest path and fragment to return to. Longer ones would make URLs that some providers reject. Bytes.
const NEXT_LIMIT: usize = 1024;
const BINDING_BYTES: usize = 16;
const PURPOSE: &str = "flow";

/// A sign-in in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInFlow {
    /// The name of the issuer.
    #[serde(rename = "i")]
    pub issuer: String,
    /// The address to which the provider returns the browser. The token request repeats it.
    #[serde(rename = "r")]
    pub redirect_uri: String,
    /// The page to show afterwards: path, query and fragment.
    #[serde(rename = "n")]
    pub next: String,
}

#[derive(Serialize, Deserialize)]
struct SealedFlow {
    #[serde(flatten)]
    flow: SignInFlow,
    /// The end, in seconds since 1970.
    #[serde(rename = "e")]
    end: u64,
}

/// The values of an authorization request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStart {
    /// `state`.
    pub state: String,
    /// `nonce`.
    pub nonce: String,
    /// `code_challenge`, by the method S256.
    pub challenge: String,
}

/// A sign-in whose browser has come back from the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumedFlow {
    /// The sign-in.
    pub flow: SignInFlow,
    /// The `nonce` that the ID token must have.
    pub nonce: String,
    /// `code_verifier` of the token request.
    pub verifier: String,
}

/// The reason why a `state` is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The browser sent no cookie of a sign-in.
    #[error("the browser has no cookie of a sign-in")]
    NoCookie,
    /// The state was made for another browser, or by another party than this appliance.
    #[error("the state is not of this browser")]
    Foreign,
    /// The person took too long.
    #[error("the sign-in took longer than {} minutes", FLOW_LIFETIME.as_secs() / 60)]
    Expired,
}

/// Returns the random number that binds sign-ins to a browser: the one that it has, or a new one.
///
/// # Errors
/// [`NoRandomness`].
pub fn binding(present: Option<&str>, random: &dyn SecureRandom) -> Result<String, NoRandomness> {
    let is_valid = |text: &&str| URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == BINDING_BYTES);
    if let Some(present) = present.filter(is_valid) {
        return Ok(present.to_owned());
    }
    let mut bytes = [0; BINDING_BYTES];
    random.fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Begins a sign-in for the browser with this binding.
///
/// # Errors
/// [`NoRandomness`].
pub fn begin(
    sealer: &Sealer,
    mut flow: SignInFlow,
    binding: &str,
    now: SystemTime,
    random: &dyn SecureRandom,
) -> Result<FlowStart, NoRandomness> {
    if flow.next.len() > NEXT_LIMIT {
        "/".clone_into(&mut flow.next);
    }
    let sealed = SealedFlow { flow, end: seconds(now) + FLOW_LIFETIME.as_secs() };
    let value = serde_json::to_vec(&sealed).expect("texts and numbers are JSON");
    let state = sealer.seal(PURPOSE, binding.as_bytes(), &value, random)?;
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier(sealer, &state).as_bytes()));
    Ok(FlowStart { nonce: nonce(sealer, &state), challenge, state })
}

/// Resumes the sign-in of a `state`.
///
/// # Errors
/// [`StateError`].
pub fn resume(sealer: &Sealer, state: &str, binding: Option<&str>, now: SystemTime) -> Result<ResumedFlow, StateError> {
    let binding = binding.ok_or(StateError::NoCookie)?;
    let value = sealer.open(PURPOSE, binding.as_bytes(), state).ok_or(StateError::Foreign)?;
    let SealedFlow { flow, end } = serde_json::from_slice(&value).map_err(|_| StateError::Foreign)?;
    if end <= seconds(now) {
        return Err(StateError::Expired);
    }
    Ok(ResumedFlow { flow, nonce: nonce(sealer, state), verifier: verifier(sealer, state) })
}

/// SECURITY: both values differ with each `state`, and nobody without the key can compute them.
fn verifier(sealer: &Sealer, state: &str) -> String {
    sealer.derived("verifier", state)
}

fn nonce(sealer: &Sealer, state: &str) -> String {
    sealer.derived("nonce", state)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;

    fn flow(next: &str) -> SignInFlow {
        let redirect_uri = "https://mlflow.corp/_appliance/oidc/callback".to_owned();
        SignInFlow { issuer: "okta".to_owned(), redirect_uri, next: next.to_owned() }
    }

    #[test]
    fn a_sign_in_resumes_in_its_browser_until_it_expires() {
        let (sealer, random) = (Sealer::new(b"key"), SystemRandom::new());
        let mine = binding(None, &random).expect("random numbers");
        assert_eq!(binding(Some(&mine), &random), Ok(mine.clone()), "a browser keeps its binding");
        for wrong in ["", "x", "AAAA", &format!("{mine}A")] {
            assert_ne!(binding(Some(wrong), &random), Ok(wrong.to_owned()));
        }
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let started = begin(&sealer, flow("/#/experiments/1"), &mine, now, &random).expect("random numbers");
        let other = begin(&sealer, flow("/"), &mine, now, &random).expect("random numbers");
        assert!(started.nonce != other.nonce && started.challenge != other.challenge);

        let found = resume(&Sealer::new(b"key"), &started.state, Some(&mine), now).expect("it is the same browser");
        assert_eq!((found.flow, found.nonce), (flow("/#/experiments/1"), started.nonce));
        assert_eq!(URL_SAFE_NO_PAD.encode(digest(&SHA256, found.verifier.as_bytes())), started.challenge);
        assert!(found.verifier.len() >= 43, "RFC 7636, 4.1");

        let at = |seconds| now + Duration::from_secs(seconds);
        let result = |state: &str, binding: Option<&str>, now| resume(&sealer, state, binding, now).err();
        assert_eq!(result(&started.state, Some(&mine), at(599)), None);
        assert_eq!(result(&started.state, Some(&mine), at(600)), Some(StateError::Expired));
        assert_eq!(result(&started.state, None, now), Some(StateError::NoCookie));
        let theirs = binding(None, &random).expect("random numbers");
        assert_eq!(result(&started.state, Some(&theirs), now), Some(StateError::Foreign));
        assert_eq!(result(&started.state[1..], Some(&mine), now), Some(StateError::Foreign));
        let session = sealer.seal("session", mine.as_bytes(), b"{}", &random).expect("random numbers");
        assert_eq!(result(&session, Some(&mine), now), Some(StateError::Foreign), "another kind of value");
    }

    #[test]
    fn state_stays_short() {
        let (sealer, random) = (Sealer::new(b"key"), SystemRandom::new());
        let length = |next: &str| {
            let started = begin(&sealer, flow(next), "b", UNIX_EPOCH, &random).expect("random numbers");
            let found = resume(&sealer, &started.state, Some("b"), UNIX_EPOCH).expect("it is the same browser");
            (started.state.len(), found.flow.next.len())
        };
        assert!(length("/").0 < 200, "{}", length("/").0);
        assert_eq!(length(&format!("/{}", "x".repeat(1023))).1, 1024);
        assert_eq!(length(&format!("/{}", "x".repeat(1024))).1, 1, "a longer one leads to the front page");
    }
}
