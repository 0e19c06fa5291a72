//! What all schedules of an installation have in common.

use windhover_executor::StoredFlow;
use windhover_expression::{Environment, NoServices, SharedVariables, Zone};
use windhover_flow::{Calendar, DatesError, Flow, RecoverMissed, Trigger, TriggerKind};
use windhover_types::{JsonMap, nested_labels};

/// Settings of schedules. The same in all processes: schedulers and gateways compute the same dates.
#[derive(Debug, Clone, Default)]
pub struct ScheduleSettings {
    /// The zone of schedules without a `timezone`. Default: UTC.
    pub timezone: Zone,
    /// What becomes of missed dates where the trigger does not say it (`kestra.plugins.configurations`). Default: ALL.
    pub recover_missed: RecoverMissed,
    /// What conditions and inputs see besides the flow: `envs`, `globals` and the like, by name.
    pub globals: JsonMap,
}

impl ScheduleSettings {
    /// What becomes of dates that this trigger has missed.
    pub fn recover(&self, trigger: &Trigger) -> RecoverMissed {
        let TriggerKind::Schedule(schedule) = &trigger.kind else { return self.recover_missed };
        schedule.recover.unwrap_or(self.recover_missed)
    }

    /// Looks at the dates of a trigger; `None` when it has none. Conditions on dates and lists of dates see the flow and
    /// the globals, and no secrets.
    ///
    /// # Errors
    /// A list of dates that cannot be rendered or read.
    pub fn with_calendar<T>(
        &self,
        stored: &StoredFlow,
        flow: &Flow,
        trigger: &Trigger,
        look: impl FnOnce(&Calendar<'_>) -> T,
    ) -> Result<Option<T>, DatesError> {
        let variables = self.variables(stored, flow);
        let environment = Environment::new(&variables, &NoServices);
        Ok(Calendar::of(trigger, self.timezone, environment)?.as_ref().map(look))
    }

    fn variables(&self, stored: &StoredFlow, flow: &Flow) -> SharedVariables {
        let mut variables = SharedVariables::default();
        let mut set = |name: &str, value: serde_json::Value| variables.set_json(name, value.into());
        for (name, value) in &self.globals {
            set(name, value.clone());
        }
        set(
            "flow",
            serde_json::json!({
                "id": stored.id,
                "namespace": stored.namespace,
                "revision": stored.revision,
                "tenantId": stored.tenant.as_str(),
            }),
        );
        if !flow.namespace_variables.is_empty() {
            set("namespace", flow.namespace_variables.as_ref().clone().into());
        }
        set("vars", flow.variables.clone().into());
        set("labels", nested_labels(&flow.labels).into());
        variables
    }
}
