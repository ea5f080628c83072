//! The image of a container in ECR: what its name says.

/// An image in a private repository of ECR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EcrImage<'a> {
    /// The account of the registry.
    pub account: &'a str,
    /// The region of the registry.
    pub region: &'a str,
    /// The name of the repository.
    pub repository: &'a str,
    /// The tag.
    pub tag: Option<&'a str>,
    /// The digest, which counts if there is a tag as well.
    pub digest: Option<&'a str>,
}

impl<'a> EcrImage<'a> {
    /// Parses a name; nothing if it belongs to another registry.
    #[must_use]
    pub(super) fn parse(name: &'a str) -> Option<Self> {
        let (host, path) = name.split_once('/')?;
        let (account, rest) = host.split_once('.')?;
        let region = ["dkr.ecr.", "dkr.ecr-fips."].into_iter().find_map(|service| rest.strip_prefix(service))?;
        let (region, domain) = region.split_once('.')?;
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        if !is_account || !domain.starts_with("amazonaws.com") {
            return None;
        }
        let (path, digest) = path.split_once('@').map_or((path, None), |(path, digest)| (path, Some(digest)));
        let (repository, tag) = path.split_once(':').map_or((path, None), |(path, tag)| (path, Some(tag)));
        Some(Self { account, region, repository, tag, digest })
    }

    /// Returns the ARN of the repository.
    #[must_use]
    pub(super) fn repository_arn(&self) -> String {
        let partition = match self.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:ecr:{}:{}:repository/{}", self.region, self.account, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_in_ecr_differ_from_those_in_other_registries() {
        let digest = "sha256:0123456789012345678901234567890123456789012345678901234567890123";
        let host = "111122223333.dkr.ecr.eu-west-1.amazonaws.com";
        let plain = EcrImage {
            account: "111122223333",
            region: "eu-west-1",
            repository: "ml/appliance",
            tag: Some("0.1.0"),
            digest: None,
        };
        assert_eq!(EcrImage::parse(&format!("{host}/ml/appliance:0.1.0")), Some(plain));
        let both = EcrImage { digest: Some(digest), ..plain };
        assert_eq!(EcrImage::parse(&format!("{host}/ml/appliance:0.1.0@{digest}")), Some(both));
        let only = EcrImage { tag: None, ..both };
        assert_eq!(EcrImage::parse(&format!("{host}/ml/appliance@{digest}")), Some(only));
        for (name, expected) in [
            (format!("{host}/a:1"), "arn:aws:ecr:eu-west-1:111122223333:repository/a"),
            (
                "111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com/a/b:1".to_owned(),
                "arn:aws-us-gov:ecr:us-gov-west-1:111122223333:repository/a/b",
            ),
            (
                "111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn/a:1".to_owned(),
                "arn:aws-cn:ecr:cn-north-1:111122223333:repository/a",
            ),
        ] {
            assert_eq!(EcrImage::parse(&name).map(|image| image.repository_arn()).as_deref(), Some(expected), "{name}");
        }
        for name in [
            "ghcr.io/corp/appliance:1",
            "public.ecr.aws/corp/appliance:1",
            "1111.dkr.ecr.eu-west-1.amazonaws.com/a:1",
            "111122223333.dkr.ecr.eu-west-1.example.com/a:1",
            "appliance:1",
        ] {
            assert_eq!(EcrImage::parse(name), None, "{name}");
        }
    }
}
