//! Slots of a flow that limits its executions (flow model reference 4.11, 1.x reference 4.10): asked for before anything begins, held
//! until everything is over.

use windhover_flow::{Concurrency, ConcurrencyBehavior};
use windhover_types::{Level, State};

use super::{Flowing, Machine};
use crate::{Effect, ExecutionError, Slot, SlotAnswer};

impl Machine<'_> {
    /// Asks for a slot. Whether it may go on at once.
    pub(super) fn has_slot(&mut self) -> bool {
        let Some(Concurrency { limit, behavior }) = self.flow.concurrency else { return true };
        match self.run.execution.marks.slot {
            Slot::Held => true,
            Slot::Asked | Slot::Queued => false,
            Slot::None => {
                self.journal.execution(self.run).marks.slot = Slot::Asked;
                self.effects.push(Effect::TakeSlot { limit, behavior });
                false
            }
        }
    }

    pub(super) fn slot_answered(&mut self, answer: SlotAnswer) -> Flowing {
        let waits = matches!(self.run.execution.marks.slot, Slot::Asked | Slot::Queued)
            && matches!(self.run.execution.current(), State::Created | State::Queued | State::Restarted);
        if !waits {
            if answer == SlotAnswer::Granted && self.run.execution.marks.slot != Slot::Held {
                // It has ended, or went on without it.
                self.effects.push(Effect::GiveSlotBack);
            }
            return Ok(());
        }
        match answer {
            SlotAnswer::Granted => {
                self.journal.execution(self.run).marks.slot = Slot::Held;
                self.start_all()
            }
            SlotAnswer::Queued => {
                self.journal.execution(self.run).marks.slot = Slot::Queued;
                self.set_execution_state(State::Queued);
                Ok(())
            }
            SlotAnswer::Refused => {
                self.journal.execution(self.run).marks.slot = Slot::None;
                match self.flow.concurrency.map(|limit| limit.behavior) {
                    Some(ConcurrencyBehavior::Cancel) => self.conclude(State::Cancelled, false),
                    _ => {
                        let message = "Execution is FAILED due to concurrency limit exceeded".to_owned();
                        self.log(None, Level::Error, message.clone());
                        self.journal.execution(self.run).error = Some(ExecutionError { message, task_run_id: None });
                        self.conclude(State::Failed, false)
                    }
                }
            }
        }
    }

    /// It goes on without a slot, or has ended.
    pub(super) fn give_slot_back(&mut self) {
        if self.run.execution.marks.slot != Slot::None {
            self.journal.execution(self.run).marks.slot = Slot::None;
            self.effects.push(Effect::GiveSlotBack);
        }
    }
}
