//! Checks of a flow: looked at before an execution is created through the API (flow model 1.x reference 1.3).

use windhover_expression::{Environment, ExpressionError};

use crate::Text;

/// A condition that the inputs of a new execution should meet.
#[derive(Debug)]
pub struct Check {
    /// Holds when it renders to boolean true, and to nothing else.
    pub condition: Text,
    /// For the caller, as written.
    pub message: String,
    pub style: CheckStyle,
    pub behavior: CheckBehavior,
}

/// How the message looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CheckStyle {
    Error,
    Success,
    Warning,
    #[default]
    Info,
}

/// What follows when the condition does not hold, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckBehavior {
    /// The message is for information.
    CreateExecution,
    /// The execution is created in FAILED; no task runs.
    FailExecution,
    /// The request is refused.
    #[default]
    BlockExecution,
}

/// A check whose condition does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCheck {
    pub message: String,
    pub style: CheckStyle,
    pub behavior: CheckBehavior,
}

/// The checks that do not hold, in order; the strongest behaviour of them counts. `environment` offers `flow`, `vars`,
/// globals, secrets and the resolved `inputs`. A condition that cannot be rendered does not hold, and blocks.
///
/// # Errors
/// The key of a fact that has to be loaded first; load it and evaluate again.
pub fn evaluate_checks(checks: &[Check], environment: &Environment<'_>) -> Result<Vec<FailedCheck>, String> {
    let mut failed = Vec::new();
    for check in checks {
        match check.condition.render_typed(environment) {
            Ok(serde_json::Value::Bool(true)) => {}
            Ok(_) => failed.push(FailedCheck {
                message: check.message.clone(),
                style: check.style,
                behavior: check.behavior,
            }),
            Err(ExpressionError::Needs(key)) => return Err(key),
            Err(_) => failed.push(FailedCheck {
                // The reason may quote what the caller must not see.
                message: format!("the check could not be evaluated: {}", check.message),
                style: CheckStyle::Error,
                behavior: CheckBehavior::BlockExecution,
            }),
        }
    }
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use windhover_expression::{NoServices, Value};

    use super::*;

    #[test]
    fn only_boolean_true_meets_a_check_and_the_strongest_behaviour_counts() {
        // 1.x reference 11, case 7.
        let check = |condition: &str, message: &str, behavior| Check {
            condition: Text::new(condition),
            message: message.to_owned(),
            style: CheckStyle::Info,
            behavior,
        };
        let checks = [
            check("{{ n > 3 }}", "more than 3", CheckBehavior::CreateExecution),
            check("true", "a text", CheckBehavior::FailExecution),
            check("{{ n < 9 }}", "less than 9", CheckBehavior::BlockExecution),
            check("{{ unknown }}", "unknown", CheckBehavior::CreateExecution),
        ];
        let variables = HashMap::from([("n".to_owned(), Value::whole(5))]);
        let failed = evaluate_checks(&checks, &Environment::new(&variables, &NoServices)).expect("no facts");
        let told: Vec<(&str, CheckBehavior)> =
            failed.iter().map(|check| (check.message.as_str(), check.behavior)).collect();
        let unknown = "the check could not be evaluated: unknown";
        assert_eq!(told, [("a text", CheckBehavior::FailExecution), (unknown, CheckBehavior::BlockExecution)]);
        assert_eq!(failed[1].style, CheckStyle::Error);
        assert_eq!(failed.iter().map(|check| check.behavior).max(), Some(CheckBehavior::BlockExecution));
    }
}
