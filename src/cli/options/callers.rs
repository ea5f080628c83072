//! The options that say which callers exist and which actions and rates they are allowed.

use super::group::option_group;

option_group! {
    /// The options of authentication and authorization.
    CallerOptions {
        "Callers" {
            /// The access tokens: a file, `credential:<name>` of systemd, or `ssm:` or `secretsmanager:` with a name
            ///
            /// `appliance token new` makes them, and only their hashes are stored. The appliance reloads them while it runs, so
            /// you can create and revoke tokens without a restart.
            tokens: "APPLIANCE_TOKENS" "SOURCE",
            /// The personal tokens, which people make for their programs at `/_appliance/tokens`: a file, `ssm:` or `secretsmanager:`
            ///
            /// The appliance writes them there, and only their hashes. All appliances of a load balancer share one source.
            personal_tokens: "APPLIANCE_PERSONAL_TOKENS" "SOURCE",
            /// Allow callers without credentials; required to listen beyond this machine without authentication
            ///
            /// This is the default on loopback if no authentication is configured.
            allow_anonymous: "APPLIANCE_ALLOW_ANONYMOUS" "BOOL" [num_args = 0..=1, require_equals = true, default_missing_value = "true"],
            /// The role of callers without credentials: `read`, `write` or `admin` [default: admin on loopback, else write]
            anonymous_role: "APPLIANCE_ANONYMOUS_ROLE" "ROLE",
            /// The ARN of the load balancer whose `x-amzn-oidc-data` is trusted; `[[caller]]` grants roles to its users
            oidc_signer: "APPLIANCE_OIDC_SIGNER" "ARN",
            /// The identity provider's issuer, as in the load balancer's rule
            oidc_issuer: "APPLIANCE_OIDC_ISSUER" "URL",
            /// The networks, comma-separated, that requests may come from, as in `10.0.0.0/8` [default: any]
            allowed_networks: "APPLIANCE_ALLOWED_NETWORKS" "NETWORKS",
            /// The networks of load balancers whose `X-Forwarded-For` is trusted [default: none]
            trusted_proxies: "APPLIANCE_TRUSTED_PROXIES" "NETWORKS",
        }
        "Policy" {
            /// The actions that callers may not take, comma-separated, as in `experiments:delete,registered-models:*@write`
            ///
            /// Each rule is a `resource:action` of the table that `appliance policy` prints; `*` at the end of either matches anything. With
            /// `@role`, a rule holds for callers up to that role.
            deny: "APPLIANCE_DENY" "RULES",
            /// The requests per second of one caller; further requests are rejected with 429 [default: no limit]
            ///
            /// Rejected requests count as well, by address if the caller is unknown. Even without this limit, one address can
            /// send 100 requests per second that are rejected, and 1,000 after a pause. A valid token is accepted all the same.
            caller_rate_limit: "APPLIANCE_CALLER_RATE_LIMIT" "NUMBER",
        }
        "Advanced: callers" {
            /// The interval at which tokens, certificates and client secrets are reloaded; SIGHUP reloads them at once [default: 1m]
            reload_interval: "APPLIANCE_RELOAD_INTERVAL" "DURATION",
            /// The longest lifetime of a personal token [default: 90d]
            personal_token_lifetime: "APPLIANCE_PERSONAL_TOKEN_LIFETIME" "DURATION",
            /// The time for which a browser stays signed in [default: 12h]
            session_lifetime: "APPLIANCE_SESSION_LIFETIME" "DURATION",
            /// The key that signs sessions: a file, `credential:<name>` of systemd, or `ssm:` or `secretsmanager:` with a name [default: a new key at each start]
            ///
            /// The key has 32 or more random bytes, and in AWS it is a text. Several appliances behind one load balancer share one
            /// key. A changed key has an effect after a restart, and ends all sessions.
            session_key: "APPLIANCE_SESSION_KEY" "SOURCE",
            /// The text on the sign-in page that says who gives out tokens; addresses of web pages in it become links
            sign_in_help: "APPLIANCE_SIGN_IN_HELP" "TEXT",
            /// The client id at the identity provider [default: any]
            oidc_client_id: "APPLIANCE_OIDC_CLIENT_ID" "TEXT",
            /// The claim that names the user, for logs and limits [default: sub]
            oidc_name_claim: "APPLIANCE_OIDC_NAME_CLAIM" "NAME",
            /// The URL of the load balancer's public keys [default: the region's address at AWS]
            oidc_keys_url: "APPLIANCE_OIDC_KEYS_URL" "URL",
            /// The audience for which callers' AWS identity tokens have to be made; `[[caller]]` with `principal` grants roles to them
            ///
            /// `appliance token aws --audience …` makes such a token. The URL of the appliance is a good audience. Without this
            /// option, AWS identities are rejected.
            aws_audience: "APPLIANCE_AWS_AUDIENCE" "TEXT",
            /// The regions, comma-separated, whose STS may confirm AWS identities [default: the regions of the targets]
            aws_regions: "APPLIANCE_AWS_REGIONS" "REGIONS",
            /// The number of trusted load balancers that a request passes; each adds one address to `X-Forwarded-For` [default: 1]
            trusted_hops: "APPLIANCE_TRUSTED_HOPS" "NUMBER",
        }
        "Advanced: policy" {
            /// The requests that one caller may send at once after a pause [default: twice the rate]
            caller_burst_limit: "APPLIANCE_CALLER_BURST_LIMIT" "NUMBER",
            /// The requests of one caller in flight at the same time; further requests are rejected with 429 [default: 4000]
            caller_concurrency_limit: "APPLIANCE_CALLER_CONCURRENCY_LIMIT" "NUMBER",
        }
    }
}
