//! Executions that come into memory, and those that cannot.

use super::*;

impl Core {
    /// An inbox row that a batch deletes which is not committed yet.
    pub(super) fn is_dealt_with(&self, row: Id) -> bool {
        self.in_flight.contains(&row)
            || self.done_of_late(row)
            || self.open.batch.inbox_done.iter().any(|key| key.id == row)
    }

    /// A row of which somebody has read a moment too early; one that is there once more counts again after that.
    fn done_of_late(&self, row: Id) -> bool {
        self.done.contains(row, Instant::now())
    }

    /// An event that nobody understands is not acknowledged away: its row stays, and its execution waits for an operator.
    pub(super) fn park(&mut self, key: InboxKey, reason: String) {
        let InboxKey { tenant, execution, id } = key;
        if self.unknown.contains(&id) || !self.owns(&tenant, execution) {
            return;
        }
        match self.slots.get(&execution) {
            // It may wait for just this event.
            Some(Slot::Live(live)) if live.status == Status::Idle => drop(self.slots.remove(&execution)),
            // The next sweep brings the row again.
            Some(_) => return,
            None => {}
        }
        self.unknown.insert(id);
        tracing::error!(%tenant, %execution, reason, "an execution is parked: an event for it cannot be read");
        self.open.batch.parked.push(ParkedRow { tenant: tenant.clone(), execution, reason });
        self.open.members.push(Member::without_steps(tenant, execution, self.shards));
    }

    /// Takes an execution out of everything until an operator has looked at it. What waits for it is answered: a worker
    /// whose report cannot be stored would keep its slot for ever.
    pub(super) fn set_aside(&mut self, tenant: Tenant, id: Id, reason: String, waiting: Vec<Pending>) {
        tracing::error!(tenant = %tenant, execution = %id, reason, "an execution is parked");
        let mut member = Member::without_steps(tenant.clone(), id, self.shards);
        for mut pending in waiting {
            answer(pending.waiter.take(), Err(parked(&reason)));
            self.store_failure(&tenant, id, &pending, Failed::Parked { reason: reason.clone() });
            member.applied.push(pending);
        }
        self.open.batch.parked.push(ParkedRow { tenant, execution: id, reason });
        self.open.members.push(member);
    }

    /// An action from elsewhere cannot be tried: its row goes, and its outcome tells why.
    pub(super) fn store_failure(&mut self, tenant: &Tenant, id: Id, pending: &Pending, failed: Failed) {
        let Some(action) = &pending.action else { return };
        let name = (tenant.clone(), action.method.clone(), action.request_id.clone());
        if !self.open.requests.contains_key(&name) {
            let row = act::row(tenant, action, &Stored::Failed(failed), clock::now());
            self.open.add_request(row, action.method.clone(), id);
        }
        self.open.batch.inbox_done.extend(inbox_key(tenant, id, pending));
    }

    /// Puts a stored execution into memory, with events that come before those that wait already.
    pub(super) fn take_up(&mut self, loaded: LoadedRun, first: Vec<Pending>) {
        let LoadedRun { stored, flow } = loaded;
        let StoredRun { execution, open_task_runs, next_seq, next_log, job_lines, parked: set_aside } = stored;
        let (id, tenant) = (execution.id, execution.tenant.clone());
        let shard = shard_of(&tenant, id, self.shards);
        if !self.owns_shard(shard) {
            return;
        }
        let waiting = match self.slots.remove(&id) {
            Some(live @ Slot::Live(_)) => {
                // Something else brought it here before.
                self.slots.insert(id, live);
                first.into_iter().for_each(|pending| self.deliver(tenant.clone(), id, pending));
                return;
            }
            Some(Slot::Loading { tenant: owner, pending }) if owner == tenant => pending,
            Some(Slot::Loading { pending, .. }) => {
                pending.into_iter().for_each(|pending| answer(pending.waiter, Err(not_found(id))));
                Vec::new()
            }
            None => Vec::new(),
        };
        if let Some(reason) = set_aside {
            self.turn_away(tenant, id, waiting, &Failed::Parked { reason });
            return;
        }
        let Some(flow) = flow else {
            self.set_aside(tenant, id, "the revision of its flow is no longer stored".to_owned(), waiting);
            return;
        };
        let mut versions = crate::live::Versions { execution: execution.version, ..Default::default() };
        versions.task_runs.extend(open_task_runs.iter().map(|task_run| (task_run.id, task_run.version)));
        let ended = execution.is_ended();
        let is_partial = open_task_runs.len() < next_seq as usize;
        let run = Run::from_stored(execution, open_task_runs, next_seq);
        let lines_taken = job_lines.into_iter().map(|of| ((of.task_run, of.dispatch), of.lines)).collect();
        let mut live = Live { next_log, versions, lines_taken, is_partial, ..Live::new(run, flow, shard) };
        live.pending.extend(first);
        if !ended {
            live.pending.push_back(Pending::new(Event::Advance));
        }
        live.pending.extend(waiting);
        if !live.pending.is_empty() {
            live.status = Status::Ready;
            self.ready.push(&tenant, Work::Step(id));
            self.slots.insert(id, Slot::Live(Box::new(live)));
        }
    }

    pub(super) fn loaded(&mut self, runs: Vec<LoadedRun>, unreadable: Vec<(Tenant, Id)>, asked: Vec<(Tenant, Id)>) {
        runs.into_iter().for_each(|loaded| self.take_up(loaded, Vec::new()));
        for (tenant, id) in unreadable {
            // What the store keeps for it is brought again by the sweeps.
            for pending in self.stop_loading(&tenant, id).unwrap_or_default() {
                answer(pending.waiter, Err(unreadable_state()));
            }
        }
        // What was asked for and is still not there does not exist; inbox rows for it are dealt with all the same.
        for (tenant, id) in asked {
            let Some(pending) = self.stop_loading(&tenant, id) else { continue };
            let rows: Vec<InboxKey> = pending
                .iter()
                .filter(|pending| pending.action.is_none())
                .filter_map(|pending| inbox_key(&tenant, id, pending))
                .collect();
            if !rows.is_empty() {
                self.open.batch.inbox_done.extend(rows);
                self.open.members.push(Member::without_steps(tenant.clone(), id, self.shards));
            }
            self.turn_away(tenant, id, pending, &Failed::NotFound);
        }
    }

    /// No version of this process will ever read it: it waits for an operator, and whoever waits for it is answered, so
    /// that a worker has its slot again.
    pub(super) fn corrupt(&mut self, tenant: Tenant, id: Id, reason: String) {
        let waiting = self.stop_loading(&tenant, id).unwrap_or_default();
        if !self.owns(&tenant, id) {
            waiting.into_iter().for_each(Pending::send_on);
            return;
        }
        self.corrupt.add(id, Instant::now(), reason.clone());
        self.set_aside(tenant, id, reason, waiting);
    }

    /// There is nothing that these could be applied to.
    pub(super) fn turn_away(&mut self, tenant: Tenant, id: Id, waiting: Vec<Pending>, failed: &Failed) {
        let mut member = Member::without_steps(tenant.clone(), id, self.shards);
        for mut pending in waiting {
            pending.turn_away(failed.error(id));
            if pending.action.is_some() && pending.inbox.is_some() {
                self.store_failure(&tenant, id, &pending, failed.clone());
                member.applied.push(pending);
            }
        }
        if !member.applied.is_empty() {
            self.open.members.push(member);
        }
    }

    /// What waits for an execution that is being loaded, which is no longer waited for.
    pub(super) fn stop_loading(&mut self, of: &Tenant, id: Id) -> Option<Vec<Pending>> {
        match self.slots.remove(&id)? {
            Slot::Loading { tenant, pending } if tenant == *of => {
                self.careful.remove(&id);
                Some(pending)
            }
            other => {
                self.slots.insert(id, other);
                None
            }
        }
    }

    pub(super) fn known(&mut self, id: Id, facts: Vec<(Fact, FactValue)>) {
        let Some(Slot::Live(live)) = self.slots.get_mut(&id) else { return };
        for (_, value) in &facts {
            let FactValue::Outputs(runs) = value else { continue };
            for run in runs {
                live.versions.task_runs.entry(run.id).or_insert(run.version);
            }
        }
        live.facts.extend(facts);
        if live.status == Status::Waiting {
            live.status = Status::Ready;
            self.ready.push(&live.run.execution.tenant, Work::Step(id));
        }
    }

    /// Without its facts an execution cannot go on: it waits for an operator.
    pub(super) fn unreadable(&mut self, tenant: Tenant, id: Id) {
        match self.slots.remove(&id) {
            Some(Slot::Live(live)) if live.status == Status::Waiting && live.run.execution.tenant == tenant => {
                let reason = "what its flow reads cannot be read from the store; the server's log tells why";
                self.set_aside(tenant, id, reason.to_owned(), live.pending.into());
            }
            Some(other) => drop(self.slots.insert(id, other)),
            None => {}
        }
    }
}
