//! Who a request comes from, once that has been proven. Whoever lets requests in puts an [`Identity`] into their
//! extensions; everything behind that reads it there. How it is proven is not told here.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::UserInfo;

/// The group that may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of everybody who has proven who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody who has not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of all service accounts.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";
/// What the names of service accounts begin with, as users and as groups of a namespace.
const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// Whose request it is (`user.Info` of kube-apiserver).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The user's name, such as `kubernetes-admin`.
    pub username: String,
    /// What tells the user from others of the same name; service accounts have theirs.
    pub uid: Option<String>,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What else is known, such as the pod a token was made for.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// Whoever owns the server.
    pub fn admin() -> Self {
        Self::authenticated("kubernetes-admin", [MASTERS.to_owned()])
    }

    /// Somebody who has not said who they are.
    pub fn anonymous() -> Self {
        Self { username: "system:anonymous".to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// A user who has proven to be one, in these groups and that of all such users.
    pub fn authenticated(username: impl Into<String>, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { username: username.into(), groups, ..Self::default() }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        let groups = [SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")];
        let identity = Self::authenticated(service_account_username(namespace, name), groups);
        Self { uid: Some(uid.to_owned()), ..identity }
    }

    /// Namespace and name of the service account, if it is one.
    pub fn as_service_account(&self) -> Option<(&str, &str)> {
        self.username.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')
    }

    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// As reviews show it.
    pub fn user_info(&self) -> UserInfo {
        UserInfo {
            username: Some(self.username.clone()),
            uid: self.uid.clone(),
            groups: Some(self.groups.clone()),
            extra: (!self.extra.is_empty()).then(|| self.extra.clone()),
        }
    }
}

/// The user that a service account is: `system:serviceaccount:<namespace>:<name>`.
pub fn service_account_username(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_is_a_user_in_three_groups() {
        let identity = Identity::service_account("shop", "till", "u-1");
        assert_eq!(identity.username, "system:serviceaccount:shop:till");
        assert_eq!(identity.as_service_account(), Some(("shop", "till")));
        assert_eq!(identity.groups, ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]);
        assert_eq!(identity.user_info().uid.as_deref(), Some("u-1"));
    }

    #[test]
    fn the_admin_is_no_service_account() {
        assert_eq!(Identity::admin().groups, ["system:masters", "system:authenticated"]);
        assert_eq!(Identity::admin().as_service_account(), None);
    }
}
