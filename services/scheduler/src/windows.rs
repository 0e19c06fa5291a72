//! Windows of Flow triggers: takes what changes of state have brought into them, and starts what is complete (flow model
//! reference 6.5 and 7.2, 1.x reference 6.5).

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use serde_json::Value;
use windhover_engine::{Execution, WindowOffer, window_execution};
use windhover_executor::StoredFlow;
use windhover_expression::{Environment, ExpressionError, SharedVariables};
use windhover_flow::{
    Flow, FlowTrigger, InputsError, OpenWindow, Trigger, TriggerKind, WindowSpec, WindowStep, fill_defaults,
};
use windhover_store::{Batch, CommitError, WindowKey, WindowOfferRow, WindowTaken};
use windhover_types::{Error, ErrorKind, JsonMap, Masker, Timestamp};

use crate::{firing::created_row, scheduler::Work};

/// Offers that one look reads.
const PAGE: u64 = 500;

impl Work {
    /// Takes everything that waits; answers whether there was anything.
    pub(crate) async fn take_offers(&self, now: Timestamp) -> Result<bool, Error> {
        let mut any = false;
        loop {
            let offers = self.store.window_offers(PAGE).await?;
            let count = offers.len() as u64;
            any |= count > 0;
            let mut by_trigger: BTreeMap<_, Vec<WindowOfferRow>> = BTreeMap::new();
            for row in offers {
                let key = (row.tenant.clone(), row.namespace.clone(), row.flow_id.clone(), row.trigger_id.clone());
                by_trigger.entry(key).or_default().push(row);
            }
            let mut moved = false;
            for rows in by_trigger.into_values() {
                moved |= !self.take(&rows, now).await?;
            }
            if count < PAGE || moved {
                return Ok(any);
            }
        }
    }

    /// Takes the offers of one trigger, in their order; `false`: another scheduler was first.
    async fn take(&self, rows: &[WindowOfferRow], now: Timestamp) -> Result<bool, Error> {
        let Some(first) = rows.first() else { return Ok(true) };
        let stored = self.flows.get(&first.tenant, &first.namespace, &first.flow_id, None).await?;
        let found = stored.as_ref().and_then(|stored| Listening::of(stored, &first.trigger_id));
        let key = WindowKey {
            tenant: first.tenant.clone(),
            namespace: first.namespace.clone(),
            flow_id: first.flow_id.clone(),
            trigger_id: first.trigger_id.clone(),
            window_id: found.as_ref().map(|found| found.window.id.clone()).unwrap_or_default(),
        };
        let before = self.store.get_window(&key).await?;
        let expected = before.as_ref().map_or(0, |row| row.version);
        // One that another version has written otherwise is over.
        let mut window: Option<OpenWindow> = before.and_then(|row| serde_json::from_str(&row.body).ok());
        let mut executions = Vec::new();
        for row in rows {
            // What nobody listens to any more goes without a trace.
            let Some(found) = &found else { continue };
            let WindowStep { window: after, fires } =
                found.window.take(window.take(), &row.offer.event, self.settings.timezone);
            window = after;
            if let Some(outputs) = fires {
                executions.extend(self.completed(found, row, outputs, now).await);
            }
        }
        let window = window.and_then(|window| Some((serde_json::to_string(&window).ok()?, window.end)));
        let taken = WindowTaken { key, offers: rows.iter().map(|row| row.offer.id).collect(), expected, window };
        self.commit_taken(taken, executions).await
    }

    async fn commit_taken(&self, taken: WindowTaken, mut executions: Vec<Execution>) -> Result<bool, Error> {
        loop {
            let batch = Batch {
                inbox_sent: executions.iter().map(|execution| created_row(execution, self.shards)).collect(),
                new_executions: executions.clone(),
                windows_taken: vec![taken.clone()],
                ..Batch::default()
            };
            let before = executions.len();
            match self.store.create(&batch).await {
                Ok(()) => {
                    let wake = |execution: &Execution| self.wake(&execution.tenant, execution.id);
                    self.wakeups.try_send(executions.iter().map(wake).collect());
                    return Ok(true);
                }
                Err(CommitError::WindowsMoved) => return Ok(false),
                // The same change made them before: the window goes on without another.
                Err(CommitError::Exists { executions: made }) => {
                    executions.retain(|execution| !made.contains(&execution.id));
                }
                Err(CommitError::Data { executions: refused, reason }) => {
                    let key = &taken.key;
                    tracing::error!(
                        tenant = %key.tenant, namespace = %key.namespace, flow = %key.flow_id,
                        trigger = %key.trigger_id, %reason, "the execution of a Flow trigger cannot be stored"
                    );
                    executions.retain(|execution| !refused.contains(&execution.id));
                }
                Err(other) => return Err(unavailable(other)),
            }
            if executions.len() == before {
                let message = "the store refuses what nothing explains";
                return Err(Error::new(ErrorKind::Internal, "INTERNAL", message));
            }
        }
    }

    /// The execution of a complete set, unless its inputs cannot be rendered.
    async fn completed(
        &self,
        found: &Listening<'_>,
        row: &WindowOfferRow,
        outputs: JsonMap,
        now: Timestamp,
    ) -> Option<Execution> {
        match self.inputs(found, &row.offer, &outputs, now).await {
            Ok(inputs) => {
                let Listening { stored, flow, trigger, .. } = found;
                let new = window_execution(&row.offer, flow, stored.revision, trigger, outputs, inputs);
                Some(windhover_engine::new_execution(&row.tenant, &new, now))
            }
            Err(error) => {
                tracing::warn!(
                    tenant = %row.tenant, namespace = %row.namespace, flow = %row.flow_id, trigger = %row.trigger_id,
                    upstream = %row.upstream, %error, "a Flow trigger did not fire"
                );
                None
            }
        }
    }

    /// With outputs they are all that the inputs see, else the inputs were rendered where the upstream execution is
    /// known.
    async fn inputs(
        &self,
        found: &Listening<'_>,
        offer: &WindowOffer,
        outputs: &JsonMap,
        now: Timestamp,
    ) -> Result<JsonMap, String> {
        // Expressions see what is sealed in them; the execution keeps it sealed.
        let mut shown = Value::Object(outputs.clone());
        let secrets = self.templates.open(&found.stored.tenant, &mut shown).await?;
        let filled = self.filled(found, offer, shown, now).await;
        filled.map_err(|why| Masker::of_all_forms(&secrets).mask(&why))
    }

    async fn filled(
        &self,
        found: &Listening<'_>,
        offer: &WindowOffer,
        outputs: Value,
        now: Timestamp,
    ) -> Result<JsonMap, String> {
        let is_empty = outputs.as_object().is_none_or(JsonMap::is_empty);
        let mut trigger = offer.variables.clone();
        let given = match found.inputs {
            None => JsonMap::new(),
            Some(_) if is_empty => offer.inputs.clone()?,
            Some(inputs) => {
                let only = Value::Object([("outputs".to_owned(), outputs.clone())].into_iter().collect());
                let mut variables = SharedVariables::default();
                for (name, value) in &self.settings.globals {
                    if name == "envs" || name == "globals" {
                        variables.set_json(name, Arc::new(value.clone()));
                    }
                }
                variables.set_json("trigger", Arc::new(only));
                let render = |environment: &Environment<'_>| inputs.render(environment);
                match self.templates.render(found.stored, &variables, now, render).await? {
                    Value::Object(map) => map,
                    _ => return Err("inputs: a map is expected".to_owned()),
                }
            }
        };
        trigger.insert("outputs".to_owned(), outputs);
        let variables = self.templates.variables(found.stored, found.flow, Some(&trigger));
        let fill = |environment: &Environment<'_>| match fill_defaults(&found.flow.inputs, &given, environment) {
            Err(InputsError::Needs(_)) => ControlFlow::Continue(()),
            other => ControlFlow::Break(other.map_err(|error| error.to_string())),
        };
        match self.templates.evaluate_with_mask(found.stored, &variables, now, fill).await {
            Some((Ok(filled), _)) => Ok(filled),
            Some((Err(why), masker)) => Err(masker.mask(&why)),
            None => Err(ExpressionError::Needs("a default".to_owned()).to_string()),
        }
    }
}

/// A trigger with a window, of the newest revision of its flow.
struct Listening<'a> {
    stored: &'a StoredFlow,
    flow: &'a Flow,
    trigger: &'a Trigger,
    window: &'a WindowSpec,
    inputs: Option<&'a windhover_flow::Properties>,
}

impl<'a> Listening<'a> {
    fn of(stored: &'a StoredFlow, trigger_id: &str) -> Option<Self> {
        let flow = stored.flow.as_ref().ok().filter(|flow| !flow.disabled)?;
        let trigger = flow.triggers.iter().find(|trigger| trigger.id == trigger_id && !trigger.disabled)?;
        let TriggerKind::Flow(FlowTrigger { window: Some(window), inputs, .. }) = &trigger.kind else { return None };
        Some(Self { stored, flow, trigger, window, inputs: inputs.as_ref() })
    }
}

fn unavailable(error: CommitError) -> Error {
    let kind = match error {
        CommitError::Unavailable(_) | CommitError::Unknown(_) => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, if kind == ErrorKind::Internal { "INTERNAL" } else { "UNAVAILABLE" }, error.to_string())
}
