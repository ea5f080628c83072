//! The contents of a certificate: the names of its holder, and its end of validity.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The certificate cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate cannot be read")]
pub struct UnreadableCertificate;

/// The names by which a certificate identifies its holder, each with its kind: `uri:spiffe://corp/ci`, `dns:ci.corp`,
/// `email:ci@corp`, `subject:CN=ci,O=Corp` (RFC 4514).
///
/// # Errors
/// [`UnreadableCertificate`], also for names with control characters.
pub fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, UnreadableCertificate> {
    let certificate = Certificate::from_der(certificate).map_err(|_| UnreadableCertificate)?;
    let certificate = certificate.tbs_certificate();
    let alternatives = certificate.get_extension::<SubjectAltName>().map_err(|_| UnreadableCertificate)?;
    let mut names: Vec<String> = alternatives
        .into_iter()
        .flat_map(|(_, SubjectAltName(names))| names)
        .filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(format!("uri:{uri}")),
            GeneralName::DnsName(name) => Some(format!("dns:{name}")),
            GeneralName::Rfc822Name(address) => Some(format!("email:{address}")),
            _ => None,
        })
        .collect();
    if !certificate.subject().is_empty() {
        names.push(format!("subject:{}", certificate.subject()));
    }
    // SECURITY: `ci\0.evil.example` must never be taken for `ci`, not even by readers of the log.
    if names.iter().any(|name| name.chars().any(char::is_control)) { Err(UnreadableCertificate) } else { Ok(names) }
}

/// The end of a certificate's validity.
///
/// # Errors
/// [`UnreadableCertificate`].
pub fn end(certificate: &CertificateDer<'_>) -> Result<SystemTime, UnreadableCertificate> {
    Ok(validity(certificate)?.1)
}

/// The begin and the end of a certificate's validity.
///
/// # Errors
/// [`UnreadableCertificate`].
pub fn validity(certificate: &CertificateDer<'_>) -> Result<(SystemTime, SystemTime), UnreadableCertificate> {
    let certificate = Certificate::from_der(certificate).map_err(|_| UnreadableCertificate)?;
    let validity = certificate.tbs_certificate().validity();
    Ok((UNIX_EPOCH + validity.not_before.to_unix_duration(), UNIX_EPOCH + validity.not_after.to_unix_duration()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(names: &[SanType], common_name: Option<&str>) -> CertificateDer<'static> {
        let mut parameters = CertificateParams::new([]).expect("no names are fine");
        parameters.subject_alt_names = names.to_vec();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            parameters.distinguished_name.push(DnType::CommonName, name);
            parameters.distinguished_name.push(DnType::OrganizationName, "Corp");
        }
        let key = KeyPair::generate().expect("a key");
        parameters.self_signed(&key).expect("signed").der().clone()
    }

    #[test]
    fn names_of_all_kinds_are_read() {
        let text = |text: &str| text.try_into().expect("ASCII");
        let names_of = [
            SanType::URI(text("spiffe://corp/ci")),
            SanType::DnsName(text("ci.corp")),
            SanType::Rfc822Name(text("ci@corp")),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        let found = names(&certificate(&names_of, Some("ci"))).expect("readable");
        assert_eq!(found[..3], ["uri:spiffe://corp/ci", "dns:ci.corp", "email:ci@corp"]);
        assert!(found.len() == 4 && found[3].starts_with("subject:") && found[3].contains("CN=ci"), "{found:?}");
        assert_eq!(names(&certificate(&names_of[1..2], None)), Ok(vec!["dns:ci.corp".to_owned()]));
        assert_eq!(names(&CertificateDer::from(vec![0x30, 0x00])), Err(UnreadableCertificate));
    }

    #[test]
    fn a_name_with_a_control_character_is_rejected() {
        let text = "ci.corp\u{0}.evil".try_into().expect("ASCII");
        assert_eq!(names(&certificate(&[SanType::DnsName(text)], None)), Err(UnreadableCertificate));
        assert_eq!(names(&certificate(&[], Some("ci\n"))).ok().filter(|names| names[0].contains('\n')), None);
    }

    #[test]
    fn the_end_of_validity_is_read() {
        let certificate = certificate(&[], Some("ci"));
        assert!(end(&certificate).is_ok_and(|end| end > UNIX_EPOCH));
        assert!(validity(&certificate).is_ok_and(|(begin, end)| begin < end));
    }
}
