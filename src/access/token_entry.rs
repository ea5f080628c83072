//! One token of the token file: its facts, and their form in the file.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Deserialize;

use super::caller::{self, AuthMethod, Caller, OwnerSignIn, Role, Targets};
use super::caller_name::check_name;
use super::day::{Day, LastUse};
use super::token::Hash;

/// One token of the file.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenEntry {
    /// The part of the token that is not secret.
    pub id: String,
    /// The name of the caller.
    pub name: String,
    /// The role of the caller.
    pub role: Role,
    /// The targets that the caller may use.
    pub targets: Targets,
    /// The time of its creation.
    pub created: SystemTime,
    /// The time of its expiry, if any.
    pub expires: Option<SystemTime>,
    /// The hash of the token.
    pub hash: Hash,
    /// The facts about the person who made the token; nothing if an operator made it.
    pub personal: Option<PersonalEntry>,
}

/// The facts that only a personal token has. Its caller is the person.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonalEntry {
    /// The method with which the person signs in.
    pub owner: OwnerSignIn,
    /// The name of the issuer, if the person signs in at one.
    pub issuer: Option<Arc<str>>,
    /// The person's name for the token.
    pub label: String,
    /// The day of its last use.
    pub used: LastUse,
}

/// One table of the file, as it is written there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenTable {
    pub(super) id: String,
    name: String,
    role: String,
    targets: Option<Vec<String>>,
    created: String,
    expires: Option<String>,
    sha256: String,
    owner: Option<String>,
    issuer: Option<String>,
    label: Option<String>,
    used: Option<String>,
}

impl TokenTable {
    fn personal(&self) -> Result<Option<PersonalEntry>, String> {
        let (owner, label) = match (&self.owner, &self.label) {
            (None, None) if self.used.is_none() && self.issuer.is_none() => return Ok(None),
            (Some(owner), Some(label)) => (owner, label),
            _ => return Err("`owner` and `label` belong together, and `used` and `issuer` need both".to_owned()),
        };
        check_name(label).map_err(|form| format!("`label`: {form}"))?;
        let owner = OwnerSignIn::parse(owner).ok_or("`owner` is not `token`, `oidc`, `issuer` or `certificate`")?;
        let is_fitting = match &self.issuer {
            Some(name) => owner == OwnerSignIn::Issuer && caller::is_target_name(name),
            None => owner != OwnerSignIn::Issuer,
        };
        if !is_fitting {
            return Err("`issuer` names the issuer of the owner `issuer`, as `[[issuer]]` does".to_owned());
        }
        let day = |text: &String| Day::parse(text).ok_or("`used` is not a day like `2027-01-31`");
        Ok(Some(PersonalEntry {
            owner,
            issuer: self.issuer.as_deref().map(Arc::from),
            label: label.clone(),
            used: LastUse::new(self.used.as_ref().map(day).transpose()?),
        }))
    }

    /// Checks the table.
    ///
    /// # Errors
    /// The problem.
    pub(super) fn check(self) -> Result<TokenEntry, String> {
        let time = |key: &str, text: &str| {
            humantime::parse_rfc3339(text).map_err(|_| format!("`{key}` is not a time like `2027-01-31T12:00:00Z`"))
        };
        let personal = self.personal()?;
        check_owner(personal.as_ref().map(|personal| personal.owner), &self.name)?;
        if self.id.is_empty() || !self.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("`id` is not the id of a token".to_owned());
        }
        if self.targets.as_ref().is_some_and(Vec::is_empty) {
            return Err("`targets` is empty; leave it out to mean all".to_owned());
        }
        if !self.targets.iter().flatten().all(|name| caller::is_target_name(name)) {
            return Err("`targets` contains an invalid target name".to_owned());
        }
        Ok(TokenEntry {
            role: self.role.parse().map_err(|error: caller::NotARole| error.to_string())?,
            targets: self.targets.map_or(Targets::All, Targets::Named),
            created: time("created", &self.created)?,
            expires: self.expires.map(|text| time("expires", &text)).transpose()?,
            hash: Hash::from_hex(&self.sha256).ok_or("`sha256` is not 64 hexadecimal digits")?,
            id: self.id,
            name: self.name,
            personal,
        })
    }
}

/// Checks the name of a caller, or of the owner of a personal token. The name in a certificate may be longer, as in
/// `uri:spiffe://corp/ada`. No character of it needs quoting in the file.
///
/// # Errors
/// The valid form of a name.
pub(super) fn check_owner(owner: Option<OwnerSignIn>, name: &str) -> Result<(), &'static str> {
    if owner != Some(OwnerSignIn::Certificate) {
        return check_name(name);
    }
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte);
    let fits = (2..=256).contains(&name.len()) && name.bytes().all(is_plain);
    if fits {
        Ok(())
    } else {
        Err("the name of a certificate has 2 to 256 characters of ASCII, without quotes and `\\`")
    }
}

impl TokenEntry {
    /// Returns true if the token has not expired.
    #[must_use]
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }

    /// Returns the caller that presents the token.
    #[must_use]
    pub fn caller(&self, auth_method: AuthMethod) -> Caller {
        Caller {
            name: self.name.clone(),
            role: self.role,
            targets: self.targets.clone(),
            auth_method,
            issuer: None,
            expires: None,
        }
    }
}

impl fmt::Display for TokenEntry {
    /// Writes the lines of the table. Nothing in them needs quoting: names, ids and targets are checked.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "id = \"{}\"\nname = \"{}\"\nrole = \"{}\"\n", self.id, self.name, self.role)?;
        if let Targets::Named(names) = &self.targets {
            let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
            writeln!(formatter, "targets = [{}]", names.join(", "))?;
        }
        writeln!(formatter, "created = \"{}\"", humantime::format_rfc3339_seconds(self.created))?;
        if let Some(expires) = self.expires {
            writeln!(formatter, "expires = \"{}\"", humantime::format_rfc3339_seconds(expires))?;
        }
        writeln!(formatter, "sha256 = \"{}\"", self.hash.to_hex())?;
        if let Some(personal) = &self.personal {
            writeln!(formatter, "owner = \"{}\"\nlabel = \"{}\"", personal.owner.as_str(), personal.label)?;
            if let Some(issuer) = &personal.issuer {
                writeln!(formatter, "issuer = \"{issuer}\"")?;
            }
            if let Some(day) = personal.used.day() {
                writeln!(formatter, "used = \"{day}\"")?;
            }
        }
        Ok(())
    }
}
