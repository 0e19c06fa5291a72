//! Weighted deficit round robin over tenants.

use std::collections::{HashMap, VecDeque};

use windhover_types::Tenant;

/// Tenants with waiting items, in turn, and a list of each.
///
/// Always true: a tenant is in `order` exactly once while it has items, and not otherwise. A tenant that comes new
/// stands at the end, so its first item waits for at most one turn of each other tenant.
#[derive(Debug)]
pub(super) struct Ring<T> {
    lanes: HashMap<Tenant, Lane<T>, ahash::RandomState>,
    order: VecDeque<Tenant>,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    /// What is left of its turn; 0 = the next turn has not begun.
    credit: u32,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { lanes: HashMap::default(), order: VecDeque::new() }
    }
}

impl<T> Ring<T> {
    pub(super) fn push_back(&mut self, tenant: &Tenant, item: T) {
        self.lane(tenant).push_back(item);
    }

    pub(super) fn push_front(&mut self, tenant: &Tenant, item: T) {
        self.lane(tenant).push_front(item);
    }

    fn lane(&mut self, tenant: &Tenant) -> &mut VecDeque<T> {
        let order = &mut self.order;
        let lane = self.lanes.entry(tenant.clone()).or_insert_with(|| {
            order.push_back(tenant.clone());
            Lane { waiting: VecDeque::new(), credit: 0 }
        });
        &mut lane.waiting
    }

    /// The next item; `weight` tells how many items a tenant's turn is worth.
    pub(super) fn pop(&mut self, weight: impl Fn(&Tenant) -> u32) -> Option<T> {
        loop {
            let tenant = self.order.front()?;
            let Some(lane) = self.lanes.get_mut(tenant) else {
                self.order.pop_front();
                continue;
            };
            if lane.credit == 0 {
                lane.credit = weight(tenant).max(1);
            }
            let item = lane.waiting.pop_front();
            lane.credit -= 1;
            if lane.waiting.is_empty() {
                // What it did not use of its turn is not saved up.
                if let Some(tenant) = self.order.pop_front() {
                    self.lanes.remove(&tenant);
                }
            } else if lane.credit == 0 {
                self.order.rotate_left(1);
            }
            if item.is_some() {
                return item;
            }
        }
    }

    /// Takes the first item of the tenant that fits.
    pub(super) fn take(&mut self, tenant: &Tenant, fits: impl Fn(&T) -> bool) -> Option<T> {
        let lane = self.lanes.get_mut(tenant)?;
        let at = lane.waiting.iter().position(fits)?;
        let item = lane.waiting.remove(at);
        if lane.waiting.is_empty() {
            self.lanes.remove(tenant);
            self.order.retain(|other| other != tenant);
        }
        item
    }

    pub(super) fn waiting(&self, tenant: &Tenant) -> usize {
        self.lanes.get(tenant).map_or(0, |lane| lane.waiting.len())
    }

    pub(super) fn tenants(&self) -> impl Iterator<Item = (&Tenant, usize)> {
        self.lanes.iter().map(|(tenant, lane)| (tenant, lane.waiting.len()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tenant(number: usize) -> Tenant {
        Tenant::trusted(&format!("t{number}"))
    }

    proptest! {
        /// Whatever the weights and backlogs: between two items of a waiting tenant's turns, every other tenant gets
        /// at most one turn, and nobody is left out.
        #[test]
        fn a_waiting_tenant_is_delayed_by_at_most_one_turn_of_each_other(
            backlogs in prop::collection::vec(1_usize..60, 2..8),
            weights in prop::collection::vec(1_u32..5, 8),
            popped_before in 0_usize..40,
        ) {
            let weight = |tenant: &Tenant| weights[tenant.as_str()[1..].parse::<usize>().unwrap_or(0)];
            let mut ring = Ring::default();
            for (number, backlog) in backlogs.iter().enumerate().skip(1) {
                for _ in 0..*backlog {
                    ring.push_back(&tenant(number), number);
                }
            }
            for _ in 0..popped_before {
                ring.pop(weight);
            }
            ring.push_back(&tenant(0), 0);
            let mut before = vec![0_u32; backlogs.len()];
            while let Some(number) = ring.pop(weight) {
                if number == 0 {
                    break;
                }
                before[number] += 1;
            }
            for (number, count) in before.iter().enumerate() {
                prop_assert!(*count <= weights[number], "tenant {number} ran {count} before a single job of another");
            }
        }

        #[test]
        fn every_item_comes_out_once_and_in_its_tenants_order(
            pushes in prop::collection::vec((0_usize..4, any::<bool>()), 0..100),
        ) {
            let mut ring = Ring::default();
            let mut expected = vec![VecDeque::new(); 4];
            for (item, (number, front)) in pushes.iter().enumerate() {
                if *front {
                    ring.push_front(&tenant(*number), (*number, item));
                    expected[*number].push_front(item);
                } else {
                    ring.push_back(&tenant(*number), (*number, item));
                    expected[*number].push_back(item);
                }
            }
            while let Some((number, item)) = ring.pop(|_| 2) {
                prop_assert_eq!(Some(item), expected[number].pop_front());
            }
            prop_assert!(expected.iter().all(VecDeque::is_empty));
            prop_assert_eq!(ring.tenants().count(), 0);
        }
    }
}
