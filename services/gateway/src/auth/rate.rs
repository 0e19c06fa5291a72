//! Requests per second of each tenant.

use std::num::NonZeroU32;

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use windhover_proto::reasons;
use windhover_types::{Error, ErrorKind, Tenant};

use crate::error::Result;

/// One bucket per tenant. Keys are tenants that exist, so there are not more buckets than tenants.
pub(crate) struct Rates {
    limiter: Option<DefaultKeyedRateLimiter<Tenant>>,
    clock: DefaultClock,
    per_second: u32,
}

impl Rates {
    /// So many requests per second, in bursts of twice as many; 0: no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        let limiter = NonZeroU32::new(per_second).map(|rate| {
            let burst = NonZeroU32::new(per_second.saturating_mul(2)).unwrap_or(rate);
            RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
        });
        Self { limiter, clock: DefaultClock::default(), per_second }
    }

    /// RATE_LIMITED, with the time after which there is room again.
    pub(crate) fn check(&self, tenant: &Tenant) -> Result<()> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        limiter.check_key(tenant).map_err(|not_until| {
            let after = not_until.wait_time_from(self.clock.now());
            let limit = format!("{} requests per second", self.per_second);
            let message = format!("too many calls in the tenant `{tenant}`: the limit is {limit}");
            Error::new(ErrorKind::ResourceExhausted, reasons::RATE_LIMITED, message)
                .field(format!("tenant:{tenant}"), limit)
                .retry_after(after)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_over_its_rate_is_told_when_to_come_back_and_others_are_not_touched() {
        let rates = Rates::new(1);
        let (loud, quiet) = (Tenant::trusted("loud"), Tenant::trusted("quiet"));
        let refused = (0..5).find_map(|_| rates.check(&loud).err()).unwrap();
        assert_eq!(refused.reason, reasons::RATE_LIMITED);
        assert!(refused.retry_after.is_some_and(|after| !after.is_zero()));
        assert!(rates.check(&quiet).is_ok());
        assert!((0..1_000).all(|_| Rates::new(0).check(&loud).is_ok()));
    }
}
