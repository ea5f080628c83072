//! The admin listener: metrics, the status page and health for operators. It changes nothing and shows no secret.
//!
//! It has a thread of its own, so that it responds when all workers are busy, and it stops last. It speaks plain HTTP, and
//! listens on the loopback address by default.

pub(crate) mod health;
mod prometheus;
pub(crate) mod settings;
mod status;

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use tracing::{info, warn};

use crate::access::address::Networks;
use crate::serve::auth::browser::{self, AllowedHosts};
use crate::serve::serve_error::ServeError;
use crate::serve::server::{self, Server, ServerLimits, ServerSettings, connection};
use crate::serve::state::SharedState;
use health::HealthPage;
use prometheus::CONTENT_TYPE;
pub use settings::AdminSettings;

/// The limits of the listener. Scrapers and open status pages are few.
const LIMITS: ServerLimits = ServerLimits {
    threads: NonZeroUsize::MIN,
    connection_limit: 100,
    // It is longer than most intervals between scrapes.
    keep_alive: Duration::from_secs(75),
    head_timeout: Duration::from_secs(5),
    send_timeout: Duration::from_secs(60),
};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The state of the admin listener.
struct AdminListener {
    shared: Arc<SharedState>,
    networks: Option<Networks>,
    names: AllowedHosts,
}

/// Opens the admin listener. Returns nothing if its default port is taken and no address was configured.
///
/// # Errors
/// [`ServeError::Bind`], [`ServeError::Server`].
pub(crate) fn open(settings: AdminSettings, shared: &Arc<SharedState>) -> Result<Option<Server>, ServeError> {
    let AdminSettings { listen, is_configured, networks, names } = settings;
    let listener = match server::bind(listen) {
        Ok(listener) => listener,
        Err(source) if is_configured => return Err(ServeError::Bind { address: listen, source }),
        Err(error) => {
            let hint = "set `admin-listen` to another address, or to `off`";
            warn!(admin = %listen, %error, hint, "the admin listener is disabled: its default port is unavailable");
            return Ok(None);
        }
    };
    let address = listener.local_addr().unwrap_or(listen);
    let shared = Arc::clone(shared);
    let names = AllowedHosts::Listed(names);
    let server_settings = ServerSettings { name: "admin", limits: LIMITS, tls: None, note: |_, _| {} };
    let server = Server::start(&[listener], &server_settings, move |app| {
        let admin = AdminListener { shared: Arc::clone(&shared), networks: networks.clone(), names: names.clone() };
        app.app_data(Rc::new(admin)).default_service(web::to(handle));
    })
    .map_err(ServeError::Server)?;
    info!(admin = %address, "the admin listener is open");
    Ok(Some(server))
}

async fn handle(request: HttpRequest) -> HttpResponse {
    let admin = Rc::clone(request.app_data::<Rc<AdminListener>>().expect("it was registered at the start"));
    // The connection counts as in use until the response is ready.
    let Ok(_running) = connection::begin_request(&request) else {
        return HttpResponse::BadRequest().force_close().finish();
    };
    let mut response = admin.respond(&request);
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (RESOURCE_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, header::HeaderValue::from_static(value));
    }
    response
}

impl AdminListener {
    fn respond(&self, request: &HttpRequest) -> HttpResponse {
        if !self.is_allowed(request) {
            return HttpResponse::Forbidden()
                .body("Access denied. This listener accepts requests from `admin-networks`, addressed to an IP address or to a name in `allowed-hosts`.\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, HEAD")).finish();
        }
        let shared = &self.shared;
        match request.path() {
            "/" => HttpResponse::Found().insert_header((header::LOCATION, "./status")).finish(),
            "/livez" => health::render(&HealthPage::Healthz, shared),
            "/readyz" => health::render(&HealthPage::Readyz(None), shared),
            "/metrics" => HttpResponse::Ok().content_type(CONTENT_TYPE).body(prometheus::render(shared)),
            "/status" => status::page(),
            "/status.json" => HttpResponse::Ok().json(status::document(shared)),
            path => match path.strip_prefix("/readyz/") {
                Some(name) => health::render(&HealthPage::Readyz(Some(name.to_owned())), shared),
                None => HttpResponse::NotFound().body(
                    "Not found. The pages are /livez, /readyz, /readyz/<target>, /metrics, /status and /status.json.\n",
                ),
            },
        }
    }

    fn is_allowed(&self, request: &HttpRequest) -> bool {
        // `X-Forwarded-For` does not matter, because no proxy stands in front of this listener.
        let Some(peer) = request.peer_addr().map(|peer| peer.ip().to_canonical()) else { return false };
        let is_in_network = match &self.networks {
            Some(networks) => networks.contain(peer) || peer.is_loopback(),
            None => peer.is_loopback(),
        };
        // SECURITY: DNS rebinding needs a host name. A page of another site cannot have an address in `Host`.
        let host = browser::host(request);
        let is_address = host.is_none_or(browser::is_address);
        is_in_network
            && (is_address || browser::check(&Method::GET, request.headers(), (host, None), &self.names).is_ok())
    }
}
