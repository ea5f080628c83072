//! The sessions of browsers, once the key that signs them is known: AWS may store it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use secrecy::ExposeSecret as _;
use tracing::info;

use crate::access::session::Sessions;
use crate::api::stored_secret::StoredSecret;
use crate::serve::auth::secret_reader::{SecretReader, UnusableSecret};
use crate::serve::auth::settings::SessionSettings;

/// The shortest session key, which is as long as the hash that uses it. Bytes.
pub const SESSION_KEY_LENGTH: usize = 32;

/// The sessions of all workers.
pub(crate) struct SessionStore {
    /// SECURITY: it is empty until the key is known, so that nothing is ever signed with another key.
    sessions: OnceLock<Sessions>,
    /// The place of the key, and the lifetime of a session, if AWS stores the key.
    stored: Option<(StoredSecret, Duration)>,
    /// The reason why the key is not known yet.
    obstacle: ArcSwapOption<String>,
}

/// The appliance has not read the session key that AWS stores. If the reason is known, the text has it.
#[derive(Debug, thiserror::Error)]
#[error("the session key is not known yet{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
pub(crate) struct SessionKeyUnknown(pub Option<Arc<String>>);

impl SessionStore {
    /// Returns a store that has the key or can obtain it.
    pub(crate) fn new(settings: SessionSettings) -> Self {
        let (sessions, stored) = match settings {
            SessionSettings::Known(sessions) => (OnceLock::from(*sessions), None),
            SessionSettings::Stored { key, lifetime } => (OnceLock::new(), Some((key, lifetime))),
        };
        Self { sessions, stored, obstacle: ArcSwapOption::empty() }
    }

    /// Returns the sessions.
    ///
    /// # Errors
    /// [`SessionKeyUnknown`] until the key has been read.
    pub(crate) fn get(&self) -> Result<&Sessions, SessionKeyUnknown> {
        self.sessions.get().ok_or_else(|| SessionKeyUnknown(self.obstacle.load_full()))
    }

    /// Returns the region in which AWS stores the key, if it does.
    pub(crate) fn region(&self) -> Option<&str> {
        self.stored.as_ref().map(|(key, _)| key.region.as_str())
    }

    /// Reads the key, and retries until that has succeeded. A later change of the key has no effect, because it would end
    /// every session.
    pub(crate) async fn obtain(&self, reader: &SecretReader) {
        let Some((key, lifetime)) = &self.stored else { return };
        let sessions = reader
            .obtain(key, ("session-key", &self.obstacle), |text| {
                let bytes = text.expose_secret().as_bytes();
                if bytes.len() < SESSION_KEY_LENGTH {
                    return Err(UnusableSecret {
                        text: format!("`{}` has only {} bytes", key.secret.name(), bytes.len()),
                        hint: "store a random text of at least 32 bytes, as of `openssl rand -base64 48`",
                    });
                }
                Ok(Sessions::new(bytes, *lifetime))
            })
            .await;
        info!(place = key.place(), "the session key was read");
        // Only this task sets the value.
        let _ = self.sessions.set(sessions);
    }
}
