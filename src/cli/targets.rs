//! The targets of the options: either one without a table, for `/`, or those of the file's `[[target]]` tables.

use std::collections::HashSet;
use std::time::Duration;

use super::options::{OptionGroup as _, ServeOptions, TargetOptions, TargetTable, ValueOrigin, fields, key};
use super::problems::Problems;
use super::values;
use crate::access::caller;
use crate::aws::role::{self, AssumedRole, CallerNaming};
use crate::http::client::Endpoint;
use crate::mlflow::arn::Arn;
use crate::mlflow::store::ArtifactStore;
use crate::mlflow::target::Target;
use crate::serve::{ArtifactAccess, ArtifactSettings, StoreSource};

const DEFAULT_SESSION_NAME: &str = "mlflow-appliance";
/// S3's own limit.
const LONGEST_URL_LIFETIME: Duration = Duration::from_hours(24 * 7);
const HINT_ENDPOINT: &str = "write `https://host` or `https://host:port`";

/// One target, as the options configure it.
pub(super) struct ParsedTarget {
    pub(super) name: Option<String>,
    pub(super) is_default: bool,
    pub(super) target: Target,
    pub(super) endpoint: Option<Endpoint>,
    pub(super) sagemaker: Option<Endpoint>,
    pub(super) role: Option<AssumedRole>,
    pub(super) artifacts: Option<ArtifactSettings>,
}

/// All targets. One of them is the default.
pub(super) fn resolve(options: &ServeOptions, problems: &mut Problems) -> Vec<ParsedTarget> {
    let Some(first) = options.target_tables.first() else {
        let target = one(&options.target, &ValueOrigin::Default, problems);
        return target.map(|target| ParsedTarget { is_default: true, ..target }).into_iter().collect();
    };
    reject_options_beside_tables(&options.target, first, problems);
    let mut targets = Vec::new();
    let mut names = HashSet::new();
    for table in &options.target_tables {
        let is_default = problems.switch(table.default.as_ref(), false);
        let name = name(table, &mut names, problems);
        if let Some(target) = one(&table.options, &table.origin, problems) {
            targets.push(ParsedTarget { name, is_default, ..target });
        }
    }
    match targets.iter().filter(|target| target.is_default).count() {
        0 => {
            if let Some(first) = targets.first_mut() {
                first.is_default = true;
            }
        }
        1 => {}
        _ => problems.add(&ValueOrigin::Default, "more than one target is the default", "keep one `default = true`"),
    }
    targets
}

/// SECURITY: a variable that is left over from another program must not take `/` away from a target of the file: clients
/// would write to another MLflow.
fn reject_options_beside_tables(options: &TargetOptions, first: &TargetTable, problems: &mut Problems) {
    let mut options = options.clone();
    for field in fields::<TargetOptions>() {
        let Some(origin) = options.slot(&field).and_then(Option::take).map(|given| given.origin) else { continue };
        let (key, table) = (key(&field), &first.origin);
        let text = format!("`{key}` is not allowed beside `[[target]]` tables, the first of which is at {table}");
        let hint = match &origin {
            ValueOrigin::Variable(name) => format!("unset {name}, or write `{key}` in the table that it is meant for"),
            _ => format!("remove it, or write `{key}` in the table that it is meant for"),
        };
        problems.add(&origin.without_key(), text, hint);
    }
}

fn name(table: &TargetTable, names: &mut HashSet<String>, problems: &mut Problems) -> Option<String> {
    const HINT: &str = "write a short name for the path `/t/<name>/`, as in `team-a`";
    if table.name.is_none() {
        problems.add(&table.origin, "the target has no `name`", HINT);
    }
    problems.read(table.name.as_ref(), HINT, |text| {
        if !caller::is_target_name(text) {
            Err("a name has 1 to 63 lower-case letters, digits and hyphens".to_owned())
        } else if !names.insert(text.to_owned()) {
            Err("another target has this name".to_owned())
        } else {
            Ok(text.to_owned())
        }
    })
}

fn one(options: &TargetOptions, origin: &ValueOrigin, problems: &mut Problems) -> Option<ParsedTarget> {
    let target = target(options, origin, problems);
    let endpoint = problems.read(options.upstream_endpoint.as_ref(), HINT_ENDPOINT, values::endpoint);
    let role = role(options, problems);
    let sagemaker = problems.read(options.sagemaker_endpoint.as_ref(), HINT_ENDPOINT, values::endpoint);
    let artifacts = artifacts(options, target.as_ref(), sagemaker.as_ref(), problems);
    Some(ParsedTarget { name: None, is_default: false, target: target?, endpoint, sagemaker, role, artifacts })
}

fn target(options: &TargetOptions, origin: &ValueOrigin, problems: &mut Problems) -> Option<Target> {
    const HINT: &str = "copy the ARN from the SageMaker console, or from the list that `appliance targets` prints";
    let given = options.resource_arn.as_ref();
    if given.is_none() {
        let (what, hint) = match origin {
            ValueOrigin::Default => (
                "no managed MLflow is configured",
                "set `--resource-arn`, SM_MLFLOW_RESOURCE_ARN or `resource-arn` to an ARN that `appliance targets` prints",
            ),
            _ => ("the target has no `resource-arn`", "write an ARN that `appliance targets` prints"),
        };
        problems.add(origin, what, hint);
    }
    let arn = problems.read(given, HINT, |text| Arn::parse(text).map_err(|error| error.to_string()));
    if let (Some(arn), Some(region)) = (&arn, &options.region)
        && arn.region() != region.text
    {
        problems.add(
            &region.origin,
            format!("the region is `{}`, but the ARN is in `{}`", region.text.escape_debug(), arn.region()),
            format!("remove this option, or set it to `{}`", arn.region()),
        );
    }
    arn.map(Target::new)
}

fn role(options: &TargetOptions, problems: &mut Problems) -> Option<AssumedRole> {
    let checked = |check: fn(&str) -> Result<(), role::RoleError>| {
        move |text: &str| check(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
    };
    let arn = problems.read(options.role_arn.as_ref(), "copy the ARN from the IAM console", checked(role::check_arn));
    let session_name = problems.read(
        options.role_session_name.as_ref(),
        "choose a shorter or plainer name",
        checked(role::check_session_name),
    );
    let external_id = problems.read(
        options.role_external_id.as_ref(),
        "copy the external id from the role's trust policy",
        checked(role::check_external_id),
    );
    let duration = problems.duration(options.role_session_duration.as_ref(), 3600);
    if let (Err(error), Some(given)) = (role::check_duration(duration), &options.role_session_duration) {
        problems.add(&given.origin, format!("`{}`: {error}", given.text.escape_debug()), "write `1h`, for example");
    }
    let caller_naming =
        problems.read(options.role_caller.as_ref(), "write `source-identity` or `session-tag`", |text| match text {
            "source-identity" => Ok(CallerNaming::SourceIdentity),
            "session-tag" => Ok(CallerNaming::SessionTag),
            _ => Err("neither `source-identity` nor `session-tag`".to_owned()),
        });
    if options.role_arn.is_none() {
        let without_effect = [
            &options.role_session_name,
            &options.role_external_id,
            &options.role_session_duration,
            &options.role_caller,
        ];
        for given in without_effect.into_iter().flatten() {
            problems.add(
                &given.origin,
                "this has no effect, because no role is assumed",
                "set `role-arn`, or remove this option",
            );
        }
    }
    Some(AssumedRole {
        arn: arn?,
        external_id,
        session_name: session_name.unwrap_or_else(|| DEFAULT_SESSION_NAME.to_owned()),
        duration,
        caller_naming,
    })
}

fn artifacts(
    options: &TargetOptions,
    target: Option<&Target>,
    sagemaker: Option<&Endpoint>,
    problems: &mut Problems,
) -> Option<ArtifactSettings> {
    let s3_endpoint = problems.read(options.s3_endpoint.as_ref(), HINT_ENDPOINT, values::endpoint);
    let store =
        problems.read(options.artifact_store.as_ref(), "write `s3://bucket/prefix`, or `auto`", |text| match text {
            "auto" => Ok(None),
            _ => ArtifactStore::parse(text).map(Some).map_err(|error| error.to_string()),
        });
    let access =
        problems.read(options.artifact_access.as_ref(), "write `proxied`, `multipart` or `presigned-only`", |text| {
            match text {
                "proxied" => Ok(ArtifactAccess::Proxied),
                "multipart" => Ok(ArtifactAccess::Multipart),
                "presigned-only" => Ok(ArtifactAccess::PresignedOnly),
                _ => Err("not `proxied`, `multipart` or `presigned-only`".to_owned()),
            }
        });
    let url_lifetime = problems.duration(options.artifact_url_lifetime.as_ref(), 15 * 60);
    if let Some(given) = options.artifact_url_lifetime.as_ref().filter(|_| url_lifetime > LONGEST_URL_LIFETIME) {
        problems.add(&given.origin, "S3 accepts no URL that is valid for more than 7 days", "write `15m`, for example");
    }
    let may_be_elsewhere =
        problems.read(options.artifact_elsewhere.as_ref(), "write `refuse` or `allow`", |text| match text {
            "refuse" => Ok(false),
            "allow" => Ok(true),
            _ => Err("neither `refuse` nor `allow`".to_owned()),
        });
    let may_be_elsewhere = may_be_elsewhere.unwrap_or_default();
    let signs_whole_uploads =
        problems.read(options.artifact_upload_signing.as_ref(), "write `chunks` or `whole`", |text| match text {
            "chunks" => Ok(false),
            "whole" => Ok(true),
            _ => Err("neither `chunks` nor `whole`".to_owned()),
        });
    let signs_whole_uploads = signs_whole_uploads.unwrap_or_default();
    let kms_key = problems.read(options.artifact_kms_key.as_ref(), "copy the key's ARN from the KMS console", |text| {
        // S3 gets the text in a header, and KMS judges it.
        let is_plain = text.starts_with("arn:") && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain { Ok(text.to_owned()) } else { Err("not an ARN".to_owned()) }
    });
    if options.artifact_store.is_none() {
        // `sagemaker-endpoint` is not among them, because `appliance ui` uses it as well, with the same file.
        let without_effect = [
            &options.artifact_access,
            &options.artifact_url_lifetime,
            &options.artifact_elsewhere,
            &options.artifact_upload_signing,
            &options.artifact_kms_key,
            &options.s3_endpoint,
        ];
        for given in without_effect.into_iter().flatten() {
            let what = "this has no effect, because the artifact gateway is off";
            problems.add(&given.origin, what, "set `artifact-store`, or remove this option");
        }
    }
    let store_source = match store? {
        Some(store) => StoreSource::Known(store),
        None => StoreSource::Described(match sagemaker {
            Some(endpoint) => endpoint.clone(),
            None => Endpoint::https(target?.control_plane_host()),
        }),
    };
    let access = access.unwrap_or_default();
    Some(ArtifactSettings {
        store_source,
        s3_endpoint,
        access,
        signs_whole_uploads,
        url_lifetime,
        kms_key,
        may_be_elsewhere,
    })
}
