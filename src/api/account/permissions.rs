//! The identity that deploys, the actions that IAM's simulator denies to it, and the roles that services make for themselves.

use super::calls::Account;
use crate::api::service::QueryService;
use crate::api::service::ServiceResult;

/// IAM is in one region of its partition.
const IAM_REGION: &str = "us-east-1";

impl Account<'_> {
    /// The ARN of the identity that calls.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`], as for all of these.
    pub async fn caller(&self) -> ServiceResult<String> {
        let found = self.query("STS", "STS", "sts", "2011-06-15").ask("GetCallerIdentity", &[]).await?;
        Ok(found.text("Arn"))
    }

    /// Those of these actions that the policies of a user or a role do not allow on a resource. `context` is what IAM is to
    /// assume of the calls.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn denied(
        &self,
        principal: &str,
        actions: &[String],
        resource: &str,
        context: &[(String, String)],
    ) -> ServiceResult<Vec<String>> {
        let mut given = vec![
            ("PolicySourceArn".to_owned(), principal.to_owned()),
            ("ResourceArns.member.1".to_owned(), resource.to_owned()),
            ("MaxItems".to_owned(), "1000".to_owned()),
        ];
        given.extend(
            (1..).zip(actions).map(|(number, action)| (format!("ActionNames.member.{number}"), action.clone())),
        );
        for (number, (key, value)) in (1..).zip(context) {
            let entry = format!("ContextEntries.member.{number}");
            given.push((format!("{entry}.ContextKeyName"), key.clone()));
            given.push((format!("{entry}.ContextKeyType"), "stringList".to_owned()));
            given.push((format!("{entry}.ContextKeyValues.member.1"), value.clone()));
        }
        let given: Vec<_> = given.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let found = self.iam().ask("SimulatePrincipalPolicy", &given).await?;
        let denied = found.members("EvaluationResults").filter(|one| one.text("EvalDecision") != "allowed");
        Ok(denied.map(|one| one.text("EvalActionName")).collect())
    }

    /// The ARN of a role by its name, with its path; nothing if there is none.
    ///
    /// # Errors
    /// [`crate::api::service::ServiceError`].
    pub async fn role(&self, name: &str) -> ServiceResult<Option<String>> {
        match self.iam().ask("GetRole", &[("RoleName", name)]).await {
            Ok(found) => Ok(Some(found.find("Role").unwrap_or(&found).text("Arn"))),
            Err(error) if error.code() == Some("NoSuchEntity") => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn iam(&self) -> QueryService<'_> {
        QueryService { region: IAM_REGION, ..self.query("IAM", "IAM", "iam", "2010-05-08") }
    }
}
