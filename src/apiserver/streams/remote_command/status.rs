//! What a client is told on the error channel when a program has ended, or did not begin.

use serde_json::{Value, json};

/// How an `exec` or `attach` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The program exited with 0, or it was attached to.
    Success,
    /// The program exited with this code.
    ExitCode(i32),
    /// There was no way to it.
    Error(String),
}

/// How the error channel says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusFormat {
    /// Protocols from v4 on: a Status.
    Json,
    /// Earlier ones: a text, and nothing for a success.
    Text,
}

impl Outcome {
    /// What goes over the error channel, if anything does (kubelet `remotecommand.ServeExec`, client-go
    /// `streamtranslator`).
    pub(super) fn message(&self, format: StatusFormat) -> Option<String> {
        match format {
            StatusFormat::Json => Some(self.status().to_string()),
            StatusFormat::Text => self.text(),
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Success => None,
            Self::ExitCode(code) => {
                Some(format!("command terminated with non-zero exit code: command terminated with exit code {code}"))
            }
            Self::Error(message) => Some(format!("Internal error occurred: {message}")),
        }
    }

    fn status(&self) -> Value {
        match self {
            Self::Success => json!({"metadata": {}, "status": "Success"}),
            Self::ExitCode(code) => json!({
                "metadata": {},
                "status": "Failure",
                "message": self.text(),
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Self::Error(message) => json!({
                "metadata": {},
                "status": "Failure",
                "message": self.text(),
                "reason": "InternalError",
                "details": {"causes": [{"message": message}]},
                "code": 500,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_told_as_kubernetes_does() {
        for (outcome, json, text) in [
            (Outcome::Success, r#"{"metadata":{},"status":"Success"}"#, None),
            (
                Outcome::ExitCode(7),
                r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: command terminated with exit code 7","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#,
                Some("command terminated with non-zero exit code: command terminated with exit code 7"),
            ),
            (
                Outcome::Error("no".to_owned()),
                r#"{"metadata":{},"status":"Failure","message":"Internal error occurred: no","reason":"InternalError","details":{"causes":[{"message":"no"}]},"code":500}"#,
                Some("Internal error occurred: no"),
            ),
        ] {
            assert_eq!(outcome.message(StatusFormat::Json).as_deref(), Some(json));
            assert_eq!(outcome.message(StatusFormat::Text).as_deref(), text);
        }
    }
}
