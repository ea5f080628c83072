//! The host, signing name and headers of one managed MLflow, derived once from its ARN.
//!
//! Nothing after [`Target::new`] looks inside an ARN again. This module is pure. Endpoints, signing names and headers are
//! those of the `sagemaker-mlflow` plugin 0.5.0.

use super::arn::{Arn, Mode, Partition};

/// The header that routes a request to a tracking server.
pub const TRACKING_SERVER_ARN_HEADER: &str = "x-mlflow-sm-tracking-server-arn";
/// The header that routes a request to an app.
pub const APP_ARN_HEADER: &str = "x-sm-mlflow-app-arn";

/// One managed MLflow: where it is, how its requests are signed, which header selects it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    arn: Arn,
}

impl Target {
    /// Returns the target that an ARN names.
    #[must_use]
    pub fn new(arn: Arn) -> Self {
        Self { arn }
    }

    /// Returns the ARN, which is also the value of [`Self::arn_header`].
    #[must_use]
    pub fn arn(&self) -> &Arn {
        &self.arn
    }

    /// Returns the host of the regional API endpoint. One host serves every account: the ARN header selects the target.
    #[must_use]
    pub fn host(&self) -> String {
        // Both partitions use the `aws` top-level domain for MLflow; GovCloud is not a suffix of its own here.
        let (Partition::Aws | Partition::AwsUsGov) = self.arn.partition();
        let region = self.arn.region();
        match self.arn.mode() {
            Mode::TrackingServer => format!("{region}.experiments.sagemaker.aws"),
            Mode::App => format!("mlflow.sagemaker.{region}.app.aws"),
        }
    }

    /// Returns the host of the region's SageMaker API, which knows where the artifacts are.
    #[must_use]
    pub fn control_plane_host(&self) -> String {
        format!("api.sagemaker.{}.amazonaws.com", self.arn.region())
    }

    /// Returns the service name in the signature's credential scope.
    #[must_use]
    pub fn signing_name(&self) -> &'static str {
        match self.arn.mode() {
            Mode::TrackingServer => "sagemaker-mlflow",
            Mode::App => "sagemaker",
        }
    }

    /// Returns the name of the header that carries the ARN.
    #[must_use]
    pub fn arn_header(&self) -> &'static str {
        match self.arn.mode() {
            Mode::TrackingServer => TRACKING_SERVER_ARN_HEADER,
            Mode::App => APP_ARN_HEADER,
        }
    }

    /// Returns the IAM action that an identity needs, the first thing to check after a 403.
    #[must_use]
    pub fn required_action(&self) -> &'static str {
        match self.arn.mode() {
            Mode::TrackingServer => "sagemaker-mlflow:*",
            Mode::App => "sagemaker:CallMlflowAppApi",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_decides_host_service_and_header() {
        for (arn, host, service, header) in [
            (
                "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ts1",
                "us-east-1.experiments.sagemaker.aws",
                "sagemaker-mlflow",
                "x-mlflow-sm-tracking-server-arn",
            ),
            (
                "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-app/app-ABCDEF123456",
                "mlflow.sagemaker.eu-west-1.app.aws",
                "sagemaker",
                "x-sm-mlflow-app-arn",
            ),
        ] {
            let target = Target::new(Arn::parse(arn).expect(arn));
            assert_eq!((target.host().as_str(), target.signing_name(), target.arn_header()), (host, service, header));
        }
    }
}
