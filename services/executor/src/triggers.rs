//! Flow triggers: evaluated in the transaction of the state change that they listen to.

use std::panic::{AssertUnwindSafe, catch_unwind};

use windhover_engine::{Fact, NewExecution};
use windhover_flow::{TriggerKind, secret_inputs};
use windhover_store::WindowOfferRow;
use windhover_types::State;

use crate::{
    effects::Surroundings,
    flows::{Flows, StoredFlow},
    live::Live,
};

/// Whether Flow triggers that listen to the execution may have to seal or open values, and what does so is not at hand:
/// once the step is done nothing can be waited for.
pub(crate) fn need_cipher(live: &Live, flows: &Flows) -> bool {
    if live.run.execution.is_ended() || live.facts.contains_key(&Fact::Cipher) {
        return false;
    }
    let listeners = flows.listeners(&live.run.execution.tenant);
    let seals =
        |listener: &StoredFlow| listener.flow.as_ref().is_ok_and(|flow| secret_inputs(&flow.inputs).next().is_some());
    !listeners.is_empty() && (live.run.execution.marks.sealed || listeners.iter().any(|listener| seals(listener)))
}

/// The executions that this change of state causes; what it brings to windows is added to `offers`. Their ids are derived from the trigger, the execution and the
/// place in its history, so that a batch that is built again makes the same ones.
pub(crate) fn fired(
    live: &Live,
    to: State,
    around: &Surroundings<'_>,
    offers: &mut Vec<WindowOfferRow>,
) -> Vec<NewExecution> {
    let execution = &live.run.execution;
    if to == State::Created {
        return Vec::new();
    }
    let Ok(upstream) = &live.flow.flow else { return Vec::new() };
    let mut created = Vec::new();
    for listener in around.flows.listeners(&execution.tenant).iter() {
        let Ok(flow) = &listener.flow else { continue };
        if listener.namespace == execution.namespace && listener.id == execution.flow_id {
            continue;
        }
        for trigger in flow.triggers.iter().filter(|trigger| !trigger.disabled) {
            let TriggerKind::Flow(kind) = &trigger.kind else { continue };
            let change = windhover_engine::UpstreamChange { flow: upstream, run: &live.run, facts: &live.facts, to };
            let evaluate = || {
                if kind.window.is_none() {
                    return windhover_engine::flow_trigger(&change, flow, listener.revision, trigger, around.env);
                }
                let offer = windhover_engine::window_offer(&change, flow, listener.revision, trigger, around.env)?;
                offers.extend(offer.map(|offer| WindowOfferRow {
                    tenant: execution.tenant.clone(),
                    namespace: listener.namespace.clone(),
                    flow_id: listener.id.clone(),
                    trigger_id: trigger.id.clone(),
                    upstream: execution.id,
                    offer,
                }));
                Ok(None)
            };
            // One trigger that breaks the engine must not end it for everybody.
            match catch_unwind(AssertUnwindSafe(evaluate)) {
                Ok(Ok(Some(new))) => created.push(new),
                Ok(Ok(None)) => {}
                Err(_) => tracing::error!(
                    tenant = %execution.tenant,
                    namespace = %listener.namespace,
                    flow = %listener.id,
                    trigger = %trigger.id,
                    upstream = %execution.id,
                    "a Flow trigger did not fire: the engine failed"
                ),
                Ok(Err(error)) => tracing::warn!(
                    tenant = %execution.tenant,
                    namespace = %listener.namespace,
                    flow = %listener.id,
                    trigger = %trigger.id,
                    upstream = %execution.id,
                    %error,
                    "a Flow trigger did not fire"
                ),
            }
        }
    }
    created
}
