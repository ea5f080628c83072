//! The admin listener: where operators and their tools look in. It changes nothing and shows no secret.
//!
//! It has a thread of its own, so that it answers when all workers are busy, and is the last to go when the appliance
//! stops. It speaks plain HTTP, on loopback unless told otherwise.

pub(crate) mod health;
mod status;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};
use tracing::{info, warn};

use crate::access::address::Networks;
use crate::http::headers::Summary;
use crate::serve::admin::health::Page;
use crate::serve::auth::browser::{self, AllowedHosts};
use crate::serve::serve_error::ServeError;
use crate::serve::server::{self, Options, Server, connection};
use crate::serve::state::SharedState;
use crate::serve::telemetry::metrics::{self, CONTENT_TYPE};

/// Connections at a time; more wait in the kernel. Scrapers and people with a page open are few.
const CONNECTION_LIMIT: usize = 100;
/// How long an idle connection is kept: longer than most scrapers wait between two scrapes.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time in which a caller may read nothing of a response.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The admin listener, as configured.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether that was asked for. If it was not, something else may have the port, and the appliance starts without.
    pub is_asked_for: bool,
    /// From where it may be asked; only from this machine, if it is not set.
    pub networks: Option<Networks>,
    /// Names by which it may be addressed, besides those of this machine and addresses.
    pub names: Vec<String>,
}

/// What its thread needs.
struct Admin {
    shared: Arc<SharedState>,
    networks: Option<Networks>,
    names: AllowedHosts,
}

/// Opens it; nothing if its usual port is taken and nobody asked for it.
///
/// # Errors
/// [`ServeError::Bind`], [`ServeError::Server`].
pub(crate) fn open(settings: AdminSettings, shared: &Arc<SharedState>) -> Result<Option<Server>, ServeError> {
    let AdminSettings { listen, is_asked_for, networks, names } = settings;
    let listener = match server::bind(listen) {
        Ok(listener) => listener,
        Err(source) if is_asked_for => return Err(ServeError::Bind { address: listen, source }),
        Err(error) => {
            let hint = "name another address with `admin-listen`, or write `off`";
            warn!(admin = %listen, %error, hint, "there is no admin listener: its usual port cannot be had");
            return Ok(None);
        }
    };
    let address = listener.local_addr().unwrap_or(listen);
    let shared = Arc::clone(shared);
    let names = AllowedHosts::Listed(names);
    let options = Options {
        name: "admin",
        workers: NonZeroUsize::MIN,
        connection_limit: CONNECTION_LIMIT,
        keep_alive: KEEP_ALIVE,
        head_timeout: HEAD_TIMEOUT,
        send_timeout: SEND_TIMEOUT,
        tls: None,
        note: |_, _| {},
    };
    let server = Server::start(&[listener], &options, move |app| {
        let admin = Admin { shared: Arc::clone(&shared), networks: networks.clone(), names: names.clone() };
        app.app_data(Rc::new(admin)).default_service(web::to(handle));
    })
    .map_err(ServeError::Server)?;
    info!(admin = %address, "admin listener open");
    Ok(Some(server))
}

async fn handle(request: HttpRequest) -> HttpResponse {
    let admin = Rc::clone(request.app_data::<Rc<Admin>>().expect("its thread has one"));
    // Counts as in use until it is answered.
    let Ok(_running) = connection::run(&request, &Summary::of(request.headers())) else {
        return HttpResponse::BadRequest().force_close().finish();
    };
    let mut response = admin.answer(&request);
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

impl Admin {
    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        if !self.may_come_in(request) {
            return HttpResponse::Forbidden()
                .body("This listener answers to `admin-networks`, by an address or a name in `allowed-hosts`.\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, HEAD")).finish();
        }
        let shared = &self.shared;
        match request.path() {
            "/" => HttpResponse::Found().insert_header((header::LOCATION, "./status")).finish(),
            "/livez" => health::render(&Page::Healthz, shared),
            "/readyz" => health::render(&Page::Readyz(None), shared),
            "/metrics" => HttpResponse::Ok().content_type(CONTENT_TYPE).body(metrics::render(shared)),
            "/status" => status::page(),
            "/status.json" => HttpResponse::Ok().json(status::document(shared)),
            path => match path.strip_prefix("/readyz/") {
                Some(name) => health::render(&Page::Readyz(Some(name.to_owned())), shared),
                None => HttpResponse::NotFound()
                    .body("There are /livez, /readyz, /readyz/<target>, /metrics, /status and /status.json.\n"),
            },
        }
    }

    fn may_come_in(&self, request: &HttpRequest) -> bool {
        // Whom `X-Forwarded-For` names does not matter: nobody stands in between.
        let Some(peer) = request.peer_addr().map(|peer| peer.ip().to_canonical()) else { return false };
        let is_near = match &self.networks {
            Some(networks) => networks.contain(peer) || peer.is_loopback(),
            None => peer.is_loopback(),
        };
        // SECURITY: DNS rebinding needs a name. An address in `Host` cannot be a stranger's page.
        let host = browser::host(request);
        let is_address = host.is_none_or(browser::is_address);
        is_near && (is_address || browser::check(&Method::GET, request.headers(), (host, None), &self.names).is_ok())
    }
}
