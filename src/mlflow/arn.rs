//! The parts of an ARN of a managed MLflow resource, or the reason why the ARN is rejected.
//!
//! The checks are strict, because the ARN decides which host is called, which scope is signed and which header routes the
//! request. A text that only resembles an ARN is rejected here. This module is pure.

use std::fmt;

/// The AWS partition of a resource; only those in which SageMaker serves MLflow are representable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// Commercial regions.
    Aws,
    /// AWS GovCloud (US).
    AwsUsGov,
}

impl Partition {
    /// Returns the partition's name as it stands in an ARN.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsUsGov => "aws-us-gov",
        }
    }

    fn parse(text: &str) -> Result<Self, ArnError> {
        match text {
            "aws" => Ok(Self::Aws),
            "aws-us-gov" => Ok(Self::AwsUsGov),
            // Known partitions without the service; the sagemaker-mlflow plugin refuses the same ones.
            "aws-cn" | "aws-iso" | "aws-iso-b" | "aws-iso-e" | "aws-iso-f" | "aws-eusc" => {
                Err(ArnError::PartitionWithoutMlflow(text.to_owned()))
            }
            _ => Err(ArnError::UnknownPartition(text.to_owned())),
        }
    }
}

/// The kind of a managed MLflow resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `mlflow-tracking-server`: provisioned, sized, billed by the hour.
    TrackingServer,
    /// `mlflow-app`: serverless.
    App,
}

impl Mode {
    /// Returns the resource type as it stands in an ARN.
    #[must_use]
    pub fn resource_type(self) -> &'static str {
        match self {
            Self::TrackingServer => "mlflow-tracking-server",
            Self::App => "mlflow-app",
        }
    }
}

/// A parsed ARN of a SageMaker MLflow tracking server or app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arn {
    text: String,
    partition: Partition,
    region: String,
    account: String,
    mode: Mode,
}

/// The reason why an ARN is rejected; each text names the part and the valid form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArnError {
    /// The text does not have six fields between colons, of which the first is `arn`.
    #[error(
        "it is not an ARN: expected `arn:aws:sagemaker:<region>:<account>:mlflow-tracking-server/<name>` or `…:mlflow-app/<id>`"
    )]
    NotAnArn,
    /// A partition that does not exist.
    #[error("unknown partition `{0}`: expected `aws` or `aws-us-gov`")]
    UnknownPartition(String),
    /// A real partition in which the service is not offered.
    #[error("SageMaker does not offer managed MLflow in partition `{0}`: expected `aws` or `aws-us-gov`")]
    PartitionWithoutMlflow(String),
    /// A service other than `sagemaker`.
    #[error("the service is `{0}`: expected `sagemaker`")]
    WrongService(String),
    /// A region that the partition cannot have.
    #[error("unknown region `{0}`: expected a name like `us-east-1` or `eu-central-1`")]
    UnknownRegion(String),
    /// An account that is not twelve digits.
    #[error("the account is `{0}`: expected 12 digits")]
    BadAccount(String),
    /// A resource type that is not one of the two.
    #[error("the resource type is `{0}`: expected `mlflow-tracking-server/<name>` or `mlflow-app/<id>`")]
    WrongResource(String),
    /// A resource name that SageMaker could not have given.
    #[error(
        "the resource name `{0}` is not valid: expected letters and digits, with single or repeated `-` between them"
    )]
    BadName(String),
    /// An app where apps do not exist.
    #[error("SageMaker does not offer MLflow apps in partition `{0}`: use a tracking server")]
    AppNotInPartition(&'static str),
    /// Longer than the service's own limit.
    #[error("it has {0} characters: the limit is {1}")]
    TooLong(usize, usize),
}

impl Arn {
    /// Parses and checks an ARN.
    ///
    /// The rules are those of the service model (`botocore` shapes `TrackingServerArn` and `MlflowAppArn`), made
    /// strict: exactly one `/`, a non-empty name, a 12-digit account, a region the partition can have.
    ///
    /// # Errors
    /// The first part that is wrong, with what was expected.
    pub fn parse(text: &str) -> Result<Self, ArnError> {
        let mut fields = text.splitn(6, ':');
        let mut next = || fields.next().ok_or(ArnError::NotAnArn);
        let (scheme, partition, service) = (next()?, next()?, next()?);
        let (region, account, resource) = (next()?, next()?, next()?);
        if scheme != "arn" {
            return Err(ArnError::NotAnArn);
        }
        let partition = Partition::parse(partition)?;
        if service != "sagemaker" {
            return Err(ArnError::WrongService(service.to_owned()));
        }
        if !is_region_of(partition, region) {
            return Err(ArnError::UnknownRegion(region.to_owned()));
        }
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ArnError::BadAccount(account.to_owned()));
        }
        let (kind, name) = resource.split_once('/').ok_or_else(|| ArnError::WrongResource(resource.to_owned()))?;
        let mode = match kind {
            "mlflow-tracking-server" => Mode::TrackingServer,
            "mlflow-app" => Mode::App,
            _ => return Err(ArnError::WrongResource(kind.to_owned())),
        };
        if !is_resource_name(name) {
            return Err(ArnError::BadName(name.to_owned()));
        }
        if mode == Mode::App && partition != Partition::Aws {
            return Err(ArnError::AppNotInPartition(partition.name()));
        }
        let limit = match mode {
            Mode::TrackingServer => 2048,
            Mode::App => 128,
        };
        if text.len() > limit {
            return Err(ArnError::TooLong(text.len(), limit));
        }
        Ok(Self { text: text.to_owned(), partition, region: region.to_owned(), account: account.to_owned(), mode })
    }

    /// Returns the ARN as given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the partition.
    #[must_use]
    pub fn partition(&self) -> Partition {
        self.partition
    }

    /// Returns the region; it decides the endpoint and the signing scope.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Returns the name of the resource: what follows its type.
    #[must_use]
    pub fn resource_name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the twelve digits of the owning account.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Returns the kind of the resource: tracking server or app.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Returns true for a region name that could exist in the partition.
///
/// AWS publishes a pattern, not a closed list (`partitions.json`, `regionRegex`). The area comes from that pattern;
/// the compass word is checked too, so that a slip like `us-esat-1` differs from a region that opens next year.
#[must_use]
pub fn is_region_of(partition: Partition, region: &str) -> bool {
    const AREAS: [&str; 9] = ["us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx"];
    const COMPASS: [&str; 9] =
        ["north", "south", "east", "west", "central", "northeast", "northwest", "southeast", "southwest"];
    let rest = match partition {
        Partition::AwsUsGov => region.strip_prefix("us-gov-"),
        Partition::Aws => region.split_once('-').filter(|(area, _)| AREAS.contains(area)).map(|(_, rest)| rest),
    };
    rest.and_then(|rest| rest.split_once('-')).is_some_and(|(compass, number)| {
        COMPASS.contains(&compass) && matches!(number.len(), 1 | 2) && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Checks the service's own rule for names, `[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}`: no leading or trailing hyphen.
fn is_resource_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends_well = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && bytes.iter().filter(|byte| **byte != b'-').count() <= 256
}

#[cfg(test)]
mod tests;
