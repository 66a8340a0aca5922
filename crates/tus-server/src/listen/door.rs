//! Who may come in: connections in all and of one address, and requests in all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tus_core::TrustedProxy;

use super::{Peer, Unwelcome};

/// How many connections beyond the bounds are served a refusal at the same time; more of them
/// are closed without a word.
pub(crate) const REFUSED_AT_ONCE: usize = 64;

/// How long the log keeps silent about a crowd that it has told of.
const SILENCE: Duration = Duration::from_secs(60);

/// How many may come in.
#[derive(Clone, Debug)]
pub(crate) struct Capacity {
    /// Connections at once, and requests at once: those of one HTTP/2 connection are many.
    pub(crate) connections: usize,
    /// Connections of one address at once; of one /64 of IPv6, which is what one customer has.
    pub(crate) per_address: Option<usize>,
    /// Peers that bring connections of many others: their addresses are not counted. Nor are
    /// peers without an address.
    pub(crate) proxies: Vec<TrustedProxy>,
}

/// Counts who is in.
#[derive(Debug)]
pub(super) struct Door {
    capacity: Capacity,
    inside: Mutex<Inside>,
    requests: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inside {
    welcome: usize,
    unwelcome: usize,
    by_address: HashMap<IpAddr, usize>,
    told: Option<Instant>,
}

impl Door {
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Self { capacity, inside: Mutex::default(), requests: AtomicUsize::new(0) })
    }

    /// Lets a connection in, to be served or to hear why not; `None` if it is to be closed.
    pub(super) fn enter(self: &Arc<Self>, peer: Peer) -> Option<Pass> {
        let address = self.counted(peer);
        let mut inside = self.inside();
        let of_address = address.and_then(|address| inside.by_address.get(&address).copied());
        let unwelcome = if inside.welcome >= self.capacity.connections {
            Some(Unwelcome::Crowd)
        } else if of_address.zip(self.capacity.per_address).is_some_and(|(n, most)| n >= most) {
            Some(Unwelcome::Address)
        } else {
            None
        };
        if let Some(unwelcome) = unwelcome {
            inside.tell(unwelcome, peer);
            if inside.unwelcome >= REFUSED_AT_ONCE {
                return None;
            }
            inside.unwelcome += 1;
            return Some(Pass { door: self.clone(), address: None, unwelcome: Some(unwelcome) });
        }
        inside.welcome += 1;
        if let Some(address) = address {
            *inside.by_address.entry(address).or_default() += 1;
        }
        Some(Pass { door: self.clone(), address, unwelcome: None })
    }

    /// The address that a connection counts for.
    fn counted(&self, peer: Peer) -> Option<IpAddr> {
        self.capacity.per_address?;
        let address = peer.addr?.ip().to_canonical();
        if self.capacity.proxies.iter().any(|proxy| proxy.covers(Some(address))) {
            return None;
        }
        Some(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // Every change is a single count.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn tell(&mut self, unwelcome: Unwelcome, peer: Peer) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now - told >= SILENCE) {
            self.told = Some(now);
            let connections = self.welcome;
            tracing::warn!(
                connections,
                peer = ?peer.addr,
                why = ?unwelcome,
                "refusing connections; this is told once a minute"
            );
        }
    }
}

/// A connection that is in, until dropped.
#[derive(Debug)]
pub(super) struct Pass {
    door: Arc<Door>,
    address: Option<IpAddr>,
    unwelcome: Option<Unwelcome>,
}

impl Pass {
    /// Why none of its requests is served, if so.
    pub(super) fn unwelcome(&self) -> Option<Unwelcome> {
        self.unwelcome
    }

    /// Lets a request of this connection in, and says why it is not to be served, if so.
    pub(super) fn request(&self) -> (Seat, Option<Unwelcome>) {
        let before = self.door.requests.fetch_add(1, Ordering::Relaxed);
        let crowd = before >= self.door.capacity.connections;
        let unwelcome = self.unwelcome.or(crowd.then_some(Unwelcome::Crowd));
        (Seat(self.door.clone()), unwelcome)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        match self.unwelcome {
            Some(_) => inside.unwelcome -= 1,
            None => inside.welcome -= 1,
        }
        if let Some(address) = self.address
            && let Some(count) = inside.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                inside.by_address.remove(&address);
            }
        }
    }
}

/// A request that is in, until dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Door>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(connections: usize, per_address: Option<usize>, proxies: &[&str]) -> Arc<Door> {
        let proxies = proxies.iter().map(|proxy| proxy.parse().unwrap()).collect();
        Door::new(Capacity { connections, per_address, proxies })
    }

    fn peer(address: &str) -> Peer {
        Peer { addr: Some((address.parse::<IpAddr>().unwrap(), 1).into()) }
    }

    const UNIX: Peer = Peer { addr: None };

    #[test]
    fn as_many_come_in_as_there_is_room_for_and_one_more_when_one_leaves() {
        let door = door(2, None, &[]);
        let first = door.enter(peer("10.0.0.1")).unwrap();
        let second = door.enter(UNIX).unwrap();
        assert_eq!((first.unwelcome(), second.unwelcome()), (None, None));
        let third = door.enter(peer("10.0.0.1")).unwrap();
        assert_eq!(third.unwelcome(), Some(Unwelcome::Crowd));
        drop(first);
        let fourth = door.enter(peer("10.0.0.1")).unwrap();
        assert_eq!(fourth.unwelcome(), None);
        // One that was refused leaves no room behind.
        drop(third);
        assert_eq!(door.enter(UNIX).unwrap().unwelcome(), Some(Unwelcome::Crowd));
    }

    #[test]
    fn so_many_hear_why_and_the_rest_is_closed() {
        let door = door(0, None, &[]);
        let refused: Vec<Pass> = (0..REFUSED_AT_ONCE).map(|_| door.enter(UNIX).unwrap()).collect();
        assert!(door.enter(UNIX).is_none());
        drop(refused);
        assert!(door.enter(UNIX).is_some());
    }

    #[test]
    fn an_address_has_a_bound_of_its_own_and_networks_of_ipv6_count_as_one() {
        let door = door(100, Some(2), &[]);
        let rows = [
            ("10.0.0.1", None),
            ("::ffff:10.0.0.1", None),
            ("10.0.0.1", Some(Unwelcome::Address)),
            ("10.0.0.2", None),
            ("2001:db8::1", None),
            ("2001:db8::2", None),
            ("2001:db8::ffff:0:0:3", Some(Unwelcome::Address)),
            ("2001:db8:0:1::1", None),
        ];
        let passes: Vec<Pass> = rows
            .iter()
            .map(|(address, unwelcome)| {
                let pass = door.enter(peer(address)).unwrap();
                assert_eq!(pass.unwelcome(), *unwelcome, "{address}");
                pass
            })
            .collect();
        drop(passes);
        let inside = door.inside();
        assert_eq!((inside.welcome, inside.unwelcome, inside.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn trusted_proxies_and_unix_sockets_are_not_counted_by_address() {
        let door = door(100, Some(1), &["10.0.0.0/8"]);
        let passes: Vec<Pass> = [peer("10.0.0.1"), peer("10.0.0.1"), peer("10.0.0.1"), UNIX, UNIX]
            .map(|peer| door.enter(peer).unwrap())
            .into();
        assert!(passes.iter().all(|pass| pass.unwelcome().is_none()));
        let _one = door.enter(peer("11.0.0.1")).unwrap();
        let two = door.enter(peer("11.0.0.1")).unwrap();
        assert_eq!(two.unwelcome(), Some(Unwelcome::Address));
    }

    #[test]
    fn requests_of_one_connection_count_as_well() {
        let door = door(2, None, &[]);
        let pass = door.enter(UNIX).unwrap();
        let (first, welcome) = pass.request();
        assert_eq!(welcome, None);
        let (_second, welcome) = pass.request();
        assert_eq!(welcome, None);
        let (third, welcome) = pass.request();
        assert_eq!(welcome, Some(Unwelcome::Crowd));
        drop((first, third));
        assert_eq!(pass.request().1, None);
    }
}
