//! The inline tasks that the tests use, as the tasks' own crate has them.

use std::time::Duration;

use windhover_engine::{InlineOutcome, InlineTasks, RenderContext};
use windhover_expression::{ExpressionError, condition::is_truthy};
use windhover_flow::{Properties, Task, TaskKind};
use windhover_types::{Label, Level};

pub(crate) struct TestTasks;

impl InlineTasks for TestTasks {
    fn run(&self, task: &Task, context: &dyn RenderContext) -> Result<InlineOutcome, ExpressionError> {
        let TaskKind::Runnable(runnable) = &task.kind else { panic!("only runnable tasks run inline") };
        let environment = context.environment();
        let text = |name: &str| -> Result<Option<String>, ExpressionError> {
            let value =
                runnable.properties.get(name).map(|value: &Properties| value.render(&environment)).transpose()?;
            Ok(value.map(|value| windhover_flow::text_of(&value)))
        };
        let mut outcome = InlineOutcome::default();
        match task.type_name.rsplit('.').next() {
            Some("Log") => outcome.logs.push((Level::Info, text("message")?.unwrap_or_default())),
            Some("Echo") => outcome.logs.push((Level::Info, text("format")?.unwrap_or_default())),
            Some("Return") => outcome.outputs = Some(serde_json::json!({ "value": text("format")? })),
            Some("OutputValues") => {
                let values = runnable.properties.get("values").map(|values| values.render(&environment)).transpose()?;
                outcome.outputs = Some(serde_json::json!({ "values": values }));
            }
            Some("Fail") => match text("condition")? {
                Some(condition) if !is_truthy(&condition) => {}
                _ => outcome.error = Some(text("errorMessage")?.unwrap_or_else(|| "Task failure".to_owned())),
            },
            Some("Exit") => outcome.exit = Some(text("state")?.unwrap_or_default().parse().expect("a state")),
            Some("Labels") => {
                let labels = runnable.properties.get("labels").map(|labels| labels.render(&environment)).transpose()?;
                let labels = labels.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten();
                outcome.labels = labels.map(|(key, value)| Label::new(key, windhover_flow::text_of(value))).collect();
            }
            // All variables that the simulation sets are of its own making: at the top, and texts.
            Some("SetVariables") => {
                let new = runnable.properties.get("variables").map(|new| new.render(&environment)).transpose()?;
                let mut variables = context.variables().clone();
                variables.extend(new.as_ref().and_then(serde_json::Value::as_object).into_iter().flatten().map(owned));
                outcome.variables = Some(variables);
            }
            Some("UnsetVariables") => {
                let gone = runnable.properties.get("variables").map(|gone| gone.render(&environment)).transpose()?;
                let mut variables = context.variables().clone();
                for name in gone.as_ref().and_then(serde_json::Value::as_array).into_iter().flatten() {
                    variables.shift_remove(name.as_str().unwrap_or_default());
                }
                outcome.variables = Some(variables);
            }
            Some("Sleep") => {
                let duration = windhover_flow::parse_duration(&text("duration")?.unwrap_or_default());
                outcome.sleep = Some(duration.unwrap_or(Duration::from_secs(1)));
            }
            other => panic!("{other:?} is not among the tests' tasks"),
        }
        Ok(outcome)
    }
}

fn owned((key, value): (&String, &serde_json::Value)) -> (String, serde_json::Value) {
    (key.clone(), value.clone())
}
