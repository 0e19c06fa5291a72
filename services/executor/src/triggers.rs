//! Flow triggers: evaluated in the transaction of the state change that they listen to.

use std::panic::{AssertUnwindSafe, catch_unwind};

use windhover_engine::NewExecution;
use windhover_flow::TriggerKind;
use windhover_store::WindowOfferRow;
use windhover_types::State;

use crate::{effects::Surroundings, live::Live};

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
            let change = windhover_engine::UpstreamChange { flow: upstream, run: &live.run, to };
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
