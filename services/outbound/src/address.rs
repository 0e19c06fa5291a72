//! Which addresses may be called.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;

/// What an address is for. Everything but [`AddressKind::Public`] is refused unless the operator allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKind {
    Public,
    Loopback,
    /// Private networks, carrier-grade NAT, unique local addresses.
    Private,
    LinkLocal,
    /// Where clouds give credentials to their machines.
    Metadata,
    Multicast,
    Unspecified,
    /// Documentation, benchmarks, future use, and forms that hide an IPv4 address inside an IPv6 one.
    Reserved,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Unspecified => "unspecified",
            Self::Reserved => "reserved",
        })
    }
}

/// What the operator allows besides public addresses.
#[derive(Debug, Clone, Default)]
pub struct AddressPolicy {
    allow_private: bool,
    allowed: Vec<IpNet>,
}

impl AddressPolicy {
    /// Public addresses only.
    pub fn public() -> Self {
        Self::default()
    }

    /// Private and loopback addresses as well. Link-local and metadata addresses still need a network of their own in
    /// [`Self::allow`]: nobody who opens the internal network means to hand out the machine's credentials.
    #[must_use]
    pub fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// Networks in CIDR notation (`10.1.0.0/16`, `fd00::/8`) or single addresses.
    ///
    /// # Errors
    /// The text that is neither.
    pub fn allow<'a>(mut self, networks: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        for text in networks {
            let text = text.trim();
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            self.allowed
                .push(network.map_err(|_| format!("`{text}` is neither an address nor a network (10.0.0.0/8)"))?);
        }
        Ok(self)
    }

    /// Whether a connection to `address` may be opened.
    ///
    /// # Errors
    /// What kind of address it is, when it may not.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressKind> {
        let kind = kind_of(address);
        let allowed = match kind {
            AddressKind::Public => true,
            AddressKind::Loopback | AddressKind::Private => self.allow_private,
            _ => false,
        };
        // An IPv4 address in IPv6 clothes is the address inside, for those who allow that one by name.
        let inner = embedded(address).map(IpAddr::V4);
        let named = |address: IpAddr| self.allowed.iter().any(|network| network.contains(&address));
        if allowed || named(address) || inner.is_some_and(named) { Ok(()) } else { Err(kind) }
    }
}

/// What an address is for.
fn kind_of(address: IpAddr) -> AddressKind {
    match address {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

fn kind_of_v4(address: Ipv4Addr) -> AddressKind {
    match address.octets() {
        // Azure's is a public address; the others' are inside of what is refused anyway.
        [169, 254, 169, 254 | 253]
        | [169, 254, 170, 2 | 23]
        | [100, 100, 100, 200]
        | [168, 63, 129, 16]
        | [192, 0, 0, 192] => AddressKind::Metadata,
        [0, 0, 0, 0] => AddressKind::Unspecified,
        [127, ..] => AddressKind::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => AddressKind::Private,
        [169, 254, ..] => AddressKind::LinkLocal,
        [224..=239, ..] => AddressKind::Multicast,
        [0 | 240..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => AddressKind::Reserved,
        _ => AddressKind::Public,
    }
}

fn kind_of_v6(address: Ipv6Addr) -> AddressKind {
    if address.is_unspecified() {
        return AddressKind::Unspecified;
    }
    if address.is_loopback() {
        return AddressKind::Loopback;
    }
    match address.segments() {
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => AddressKind::Metadata,
        [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] => AddressKind::Metadata,
        [first, ..] if first & 0xff00 == 0xff00 => AddressKind::Multicast,
        [first, ..] if first & 0xfe00 == 0xfc00 => AddressKind::Private,
        [first, ..] if first & 0xffc0 == 0xfe80 => AddressKind::LinkLocal,
        // What used to be site-local, documentation, Teredo, and everything outside of global unicast, which holds the
        // IPv4-mapped, the IPv4-compatible and the NAT64 forms.
        [0x2001, 0x0db8, ..] | [0x2001, 0, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => AddressKind::Reserved,
        [0x2000..=0x3fff, ..] => AddressKind::Public,
        _ => AddressKind::Reserved,
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped (`::ffff:a.b.c.d`), NAT64 (`64:ff9b::a.b.c.d`), 6to4.
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(join(high, low))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use AddressKind::{LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved, Unspecified};

    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_refused_by_kind() {
        let table = [
            ("93.184.216.34", Public),
            ("2606:2800:220:1::1", Public),
            ("127.0.0.1", Loopback),
            ("127.8.9.10", Loopback),
            ("::1", Loopback),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.31.255.255", Private),
            ("172.32.0.1", Public),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("100.128.0.1", Public),
            ("fc00::1", Private),
            ("fd12:3456::1", Private),
            ("169.254.1.1", LinkLocal),
            ("fe80::1", LinkLocal),
            ("169.254.169.254", Metadata),
            ("100.100.100.200", Metadata),
            ("168.63.129.16", Metadata),
            ("fd00:ec2::254", Metadata),
            ("224.0.0.1", Multicast),
            ("239.255.255.250", Multicast),
            ("ff02::1", Multicast),
            ("0.0.0.0", Unspecified),
            ("::", Unspecified),
            ("0.1.2.3", Reserved),
            ("255.255.255.255", Reserved),
            ("192.0.2.1", Reserved),
            ("198.18.0.1", Reserved),
            ("fec0::1", Reserved),
            ("2001:db8::1", Reserved),
            ("::ffff:127.0.0.1", Reserved),
            ("::ffff:93.184.216.34", Reserved),
            ("::127.0.0.1", Reserved),
            ("64:ff9b::169.254.169.254", Reserved),
            ("2002:7f00:1::", Reserved),
        ];
        for (text, kind) in table {
            let address = text.parse().expect("the table holds addresses");
            let expected = if kind == Public { Ok(()) } else { Err(kind) };
            assert_eq!(AddressPolicy::public().check(address), expected, "{text}");
        }
    }

    #[test]
    fn the_operator_opens_private_networks_but_not_metadata_by_accident() {
        let policy = AddressPolicy::public().allow_private(true);
        for (text, allowed) in [
            ("10.0.0.1", true),
            ("127.0.0.1", true),
            ("fd12::1", true),
            ("169.254.169.254", false),
            ("fe80::1", false),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(policy.check(text.parse().expect("an address")).is_ok(), allowed, "{text}");
        }
    }

    #[test]
    fn named_networks_are_allowed_in_every_form() {
        let policy = AddressPolicy::public().allow(["10.1.0.0/16", " 169.254.169.254 ", "fd00::/8"]).expect("networks");
        for (text, allowed) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:10.2.0.1", false),
            ("169.254.169.254", true),
            ("fd00:ec2::254", true),
        ] {
            assert_eq!(policy.check(text.parse().expect("an address")).is_ok(), allowed, "{text}");
        }
        assert!(AddressPolicy::public().allow(["intranet"]).is_err_and(|error| error.contains("intranet")));
    }
}
