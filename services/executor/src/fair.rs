//! Work of many tenants, taken in turn.

use std::collections::{HashMap, VecDeque};

use windhover_types::Tenant;

/// A queue per tenant and a ring of the tenants that have something: each turn takes one item of one tenant, so that a
/// tenant with a million items delays another's single item by at most one round.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    queues: HashMap<Tenant, VecDeque<T>>,
    ring: VecDeque<Tenant>,
    len: usize,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { queues: HashMap::new(), ring: VecDeque::new(), len: 0 }
    }
}

impl<T> FairQueue<T> {
    pub(crate) fn push(&mut self, tenant: &Tenant, item: T) {
        self.len += 1;
        match self.queues.get_mut(tenant) {
            Some(queue) => queue.push_back(item),
            None => {
                self.queues.insert(tenant.clone(), VecDeque::from([item]));
                self.ring.push_back(tenant.clone());
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let tenant = self.ring.pop_front()?;
        let queue = self.queues.get_mut(&tenant)?;
        let item = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&tenant);
        } else {
            self.ring.push_back(tenant);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooding_tenant_delays_another_by_one_turn() {
        let (flood, quiet) = (Tenant::trusted("flood"), Tenant::trusted("quiet"));
        let mut queue = FairQueue::default();
        for item in 0..1_000 {
            queue.push(&flood, ("flood", item));
        }
        queue.push(&quiet, ("quiet", 0));
        assert_eq!(queue.pop(), Some(("flood", 0)));
        assert_eq!(queue.pop(), Some(("quiet", 0)));
        assert_eq!(queue.pop(), Some(("flood", 1)));
    }

    #[test]
    fn items_of_one_tenant_keep_their_order() {
        let tenant = Tenant::main();
        let mut queue = FairQueue::default();
        (0..5).for_each(|item| queue.push(&tenant, item));
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(queue.is_empty());
    }
}
