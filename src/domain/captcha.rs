//! What the answer of a reCAPTCHA v3 verification means. It asks nobody.

use serde::Deserialize;

/// What is wanted of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Lowest score, from 0 (a machine) to 1 (a person).
    pub min_score: f64,
    /// The action that the page named, if it must be this one.
    pub action: Option<String>,
}

/// What an answer says of whoever was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A person, probably.
    Person,
    /// Not, or the proof is none: too old, used before, of another page.
    Doubtful,
    /// The answer is no answer, or says that the secret is wrong: the operator must look.
    Unusable,
}

#[derive(Deserialize)]
struct Answer {
    success: bool,
    score: Option<f64>,
    action: Option<String>,
    #[serde(default, rename = "error-codes")]
    errors: Vec<String>,
}

/// Judges the body of an answer.
pub fn judge(body: &[u8], wanted: &Wanted) -> Verdict {
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else { return Verdict::Unusable };
    if answer.errors.iter().any(|error| error.ends_with("-input-secret")) {
        return Verdict::Unusable;
    }
    let named = wanted.action.is_none() || answer.action == wanted.action;
    let high = answer.score.is_some_and(|score| score >= wanted.min_score);
    if answer.success && named && high { Verdict::Person } else { Verdict::Doubtful }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_mean() {
        let any = Wanted { min_score: 0.5, action: None };
        let named = Wanted { min_score: 0.5, action: Some("invite".to_owned()) };
        for (body, wanted, verdict) in [
            (r#"{"success":true,"score":0.9,"action":"invite"}"#, &named, Verdict::Person),
            (r#"{"success":true,"score":0.5,"action":"x","hostname":"h"}"#, &any, Verdict::Person),
            (r#"{"success":true,"score":0.49,"action":"invite"}"#, &named, Verdict::Doubtful),
            (r#"{"success":true,"score":0.9,"action":"login"}"#, &named, Verdict::Doubtful),
            (r#"{"success":true,"score":0.9}"#, &named, Verdict::Doubtful),
            (r#"{"success":true}"#, &any, Verdict::Doubtful),
            (r#"{"success":false,"error-codes":["timeout-or-duplicate"]}"#, &any, Verdict::Doubtful),
            (r#"{"success":false,"score":0.9}"#, &any, Verdict::Doubtful),
            (r#"{"success":false,"error-codes":["invalid-input-secret"]}"#, &any, Verdict::Unusable),
            (r#"{"score":0.9}"#, &any, Verdict::Unusable),
            ("<html>", &any, Verdict::Unusable),
            ("", &any, Verdict::Unusable),
        ] {
            assert_eq!(judge(body.as_bytes(), wanted), verdict, "{body}");
        }
    }
}
