//! Who should have which shards, as every process works it out by itself.

use std::collections::HashSet;

use windhover_store::{ClaimRequest, ExecutorShare, ShardRow};
use windhover_types::Id;

/// What one look has found.
pub(super) struct View<'a> {
    pub(super) me: Id,
    /// Shards that this process works on.
    pub(super) held: &'a [u16],
    /// Those that are alive.
    pub(super) executors: &'a [ExecutorShare],
    pub(super) shards: &'a [ShardRow],
    /// This process may take others for dead.
    pub(super) is_steady: bool,
    /// This process is about to stop.
    pub(super) is_draining: bool,
}

/// What this process does about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Others have what it works on.
    pub(super) is_lost: bool,
    /// Shards are moving, here or between others and here: the next look comes soon.
    pub(super) is_busy: bool,
    /// To hand over, one after another.
    pub(super) release: Vec<u16>,
    pub(super) claim: Option<ClaimRequest>,
}

/// Everybody's share is the same but for one; a shard that an operator wants somewhere goes there beside the share.
/// Nobody gives away what nobody could take.
pub(super) fn plan(view: &View<'_>) -> Plan {
    let owner = |shard: &ShardRow| shard.owner;
    let mine: HashSet<u16> = of(view.shards, |shard| owner(shard) == Some(view.me));
    if view.held.iter().any(|shard| !mine.contains(shard)) {
        return Plan { is_lost: true, ..Plan::default() };
    }
    let others: Vec<&ExecutorShare> =
        view.executors.iter().filter(|other| other.id != view.me && !other.draining).collect();
    let asked_to_drain = view.executors.iter().any(|other| other.id == view.me && other.draining);
    let is_leaving = (view.is_draining || asked_to_drain) && !others.is_empty();
    let takes = |id: Id| others.iter().any(|other| other.id == id) || (id == view.me && !is_leaving);
    let wanted = |shard: &ShardRow| shard.wanted.filter(|id| takes(*id));
    let unpinned: HashSet<u16> = of(view.shards, |shard| wanted(shard).is_none());
    let elsewhere: HashSet<u16> = of(view.shards, |shard| wanted(shard).is_some_and(|id| id != view.me));
    let takers = others.len() + usize::from(!is_leaving);
    let share = if is_leaving { 0 } else { unpinned.len().div_ceil(takers.max(1)) };

    let mut release: Vec<u16> = view.held.iter().copied().filter(|shard| elsewhere.contains(shard)).collect();
    let counted: Vec<u16> = view.held.iter().copied().filter(|shard| unpinned.contains(shard)).collect();
    release.extend(counted.iter().skip(share));
    if is_leaving {
        release = view.held.to_vec();
    }

    let is_live = |id: Id| view.executors.iter().any(|other| other.id == id);
    let is_free = |shard: &ShardRow| match shard.owner {
        None => true,
        // Handed over in the middle of an error: still this process's in the store.
        Some(id) if id == view.me => !view.held.contains(&shard.shard),
        Some(id) => view.is_steady && !is_live(id),
    };
    let is_for_me = |shard: &&ShardRow| match wanted(shard) {
        Some(id) => id == view.me,
        None => counted.len() < share,
    };
    let claims = !is_leaving && view.shards.iter().filter(|shard| is_free(shard)).any(|shard| is_for_me(&shard));
    let is_crowded = |other: &&ExecutorShare| usize::from(other.shards) > if other.draining { 0 } else { share };
    let waits = !is_leaving
        && counted.len() < share
        && view.executors.iter().filter(|other| other.id != view.me).any(|other| is_crowded(&other));
    let claim = claims
        .then(|| ClaimRequest { limit: Some(u16::try_from(share).unwrap_or(u16::MAX)), take_over: view.is_steady });
    Plan { is_lost: false, is_busy: !release.is_empty() || claims || waits, release, claim }
}

fn of(shards: &[ShardRow], which: impl Fn(&ShardRow) -> bool) -> HashSet<u16> {
    shards.iter().filter(|shard| which(shard)).map(|shard| shard.shard).collect()
}

#[cfg(test)]
mod tests {
    use windhover_types::Timestamp;

    use super::*;

    fn id(number: u8) -> Id {
        Id::new(Timestamp::from_millis(1), [number; 10])
    }

    /// Eight shards, owned by instances of these numbers (0: nobody).
    fn shards(owners: [u8; 8]) -> Vec<ShardRow> {
        let row = |(shard, owner): (usize, u8)| ShardRow {
            shard: shard as u16,
            owner: (owner > 0).then(|| id(owner)),
            wanted: None,
            last_seq: 0,
        };
        owners.into_iter().enumerate().map(row).collect()
    }

    fn executors(numbers: &[u8], shards: &[ShardRow]) -> Vec<ExecutorShare> {
        let share = |number: &u8| ExecutorShare {
            id: id(*number),
            host: String::new(),
            draining: false,
            shards: shards.iter().filter(|shard| shard.owner == Some(id(*number))).count() as u16,
            heartbeat_at: Timestamp::from_millis(1),
        };
        numbers.iter().map(share).collect()
    }

    fn plan_of(me: u8, executors: &[ExecutorShare], shards: &[ShardRow], is_steady: bool) -> Plan {
        let held: Vec<u16> =
            shards.iter().filter(|shard| shard.owner == Some(id(me))).map(|shard| shard.shard).collect();
        plan(&View { me: id(me), held: &held, executors, shards, is_steady, is_draining: false })
    }

    #[test]
    fn who_comes_gets_a_fair_share_of_who_has_too_much_and_then_nothing_moves() {
        let crowded = shards([1; 8]);
        let both = executors(&[1, 2], &crowded);
        assert_eq!(plan_of(1, &both, &crowded, true).release, [4, 5, 6, 7]);
        let newcomer = plan_of(2, &both, &crowded, true);
        assert!(newcomer.claim.is_none() && newcomer.is_busy, "nothing is free yet, but soon");

        let freed = shards([1, 1, 1, 1, 0, 0, 0, 0]);
        let claim = plan_of(2, &executors(&[1, 2], &freed), &freed, false).claim;
        assert_eq!(claim, Some(ClaimRequest { limit: Some(4), take_over: false }));

        let fair = shards([1, 1, 1, 2, 2, 2, 3, 3]);
        let three = executors(&[1, 2, 3], &fair);
        (1..=3).for_each(|me| assert_eq!(plan_of(me, &three, &fair, true), Plan::default()));
    }

    #[test]
    fn the_dead_lose_their_shards_only_to_those_who_have_been_heard_of_for_a_while() {
        let shards = shards([1, 1, 1, 1, 2, 2, 2, 2]);
        let alone = executors(&[1], &shards);
        assert_eq!(plan_of(1, &alone, &shards, false).claim, None);
        assert_eq!(plan_of(1, &alone, &shards, true).claim, Some(ClaimRequest { limit: Some(8), take_over: true }));
    }

    #[test]
    fn a_drained_executor_gives_everything_away_unless_nobody_could_take_it() {
        let shards = shards([1, 1, 1, 1, 2, 2, 2, 2]);
        let mut both = executors(&[1, 2], &shards);
        both[0].draining = true;
        assert_eq!(plan_of(1, &both, &shards, true).release, [0, 1, 2, 3]);
        assert!(plan_of(2, &both, &shards, true).is_busy, "it waits for all eight");
        assert_eq!(plan_of(1, &both[..1], &shards, false).release, [] as [u16; 0]);
    }

    #[test]
    fn a_shard_that_an_operator_wants_elsewhere_goes_there_beside_the_share() {
        let mut shards = shards([1, 1, 1, 1, 2, 2, 2, 2]);
        shards[0].wanted = Some(id(2));
        let both = executors(&[1, 2], &shards);
        assert_eq!(plan_of(1, &both, &shards, true).release, [0]);
        shards[0].owner = None;
        let both = executors(&[1, 2], &shards);
        assert_eq!(plan_of(1, &both, &shards, true).claim, None);
        assert!(plan_of(2, &both, &shards, true).claim.is_some());
        // Nobody by that name: it is a shard like any other.
        shards[0].wanted = Some(id(9));
        assert!(plan_of(1, &both, &shards, true).claim.is_some());
    }

    #[test]
    fn whoever_works_on_what_is_anothers_is_told_and_takes_up_what_it_has_let_go_in_vain() {
        let shards = shards([1, 1, 1, 1, 2, 2, 2, 2]);
        let both = executors(&[1, 2], &shards);
        let view = |held: &[u16]| {
            let view = View { me: id(1), held, executors: &both, shards: &shards, is_steady: true, is_draining: false };
            plan(&view)
        };
        assert!(view(&[0, 4]).is_lost);
        let again = view(&[0, 1, 2]);
        assert!(!again.is_lost && again.claim.is_some());
    }
}
