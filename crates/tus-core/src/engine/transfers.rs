use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use crate::model::{Policy, Refusal, UploadId};

/// The requests that bring bytes right now, and whose they are.
///
/// What is counted are uploads, not requests: whoever comes back to an upload whose old connection
/// has silently died is let in, and that one lets go.
#[derive(Debug, Default)]
pub(super) struct Transfers(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: Uploads,
    by_address: HashMap<IpAddr, Uploads>,
    by_owner: HashMap<String, Uploads>,
}

/// Uploads that bytes arrive for, each by the number of its requests.
#[derive(Debug, Default)]
struct Uploads(HashMap<Upload, usize>);

/// An upload, or the request that is about to create one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Upload {
    Known(UploadId),
    New(u64),
}

impl Uploads {
    /// Whether one more fits.
    fn admits(&self, upload: &Upload, most: Option<usize>) -> bool {
        most.is_none_or(|most| self.0.len() < most || self.0.contains_key(upload))
    }

    fn enter(&mut self, upload: &Upload) {
        *self.0.entry(upload.clone()).or_default() += 1;
    }

    fn leave(&mut self, upload: &Upload) {
        if let Some(requests) = self.0.get_mut(upload) {
            *requests -= 1;
            if *requests == 0 {
                self.0.remove(upload);
            }
        }
    }
}

/// The right of one request to bring bytes, until it is dropped.
#[derive(Debug)]
pub(super) struct Transfer {
    transfers: Arc<Transfers>,
    upload: Upload,
    address: Option<IpAddr>,
    owner: Option<String>,
}

impl Transfers {
    /// Lets a request in, with the bytes of an upload or of one that it is about to create.
    ///
    /// # Errors
    ///
    /// `Busy` if there are too many of all, `TooMany` if too many come from this address.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: Option<&UploadId>,
        address: Option<IpAddr>,
        policy: &Policy,
    ) -> Result<Transfer, Refusal> {
        let address = address.map(household);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let upload = match id {
            Some(id) => Upload::Known(id.clone()),
            // The first number that no other request has.
            None => {
                let mut number = counts.all.0.len() as u64;
                while counts.all.0.contains_key(&Upload::New(number)) {
                    number += 1;
                }
                Upload::New(number)
            }
        };
        if !counts.all.admits(&upload, Some(policy.max_transfers)) {
            return Err(Refusal::Busy);
        }
        if let Some(address) = address {
            let most = policy.max_transfers_per_address;
            if counts.by_address.get(&address).is_some_and(|all| !all.admits(&upload, most)) {
                return Err(Refusal::TooMany);
            }
            counts.by_address.entry(address).or_default().enter(&upload);
        }
        counts.all.enter(&upload);
        Ok(Transfer { transfers: Arc::clone(self), upload, address, owner: None })
    }
}

impl Transfer {
    /// Counts it among those of the upload's owner.
    ///
    /// # Errors
    ///
    /// `TooMany` if the owner has too many already.
    pub(super) fn belongs_to(
        &mut self,
        owner: Option<&str>,
        policy: &Policy,
    ) -> Result<(), Refusal> {
        let Some(owner) = owner else { return Ok(()) };
        let mut counts = self.transfers.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = policy.max_transfers_per_owner;
        if counts.by_owner.get(owner).is_some_and(|all| !all.admits(&self.upload, most)) {
            return Err(Refusal::TooMany);
        }
        counts.by_owner.entry(owner.to_owned()).or_default().enter(&self.upload);
        self.owner = Some(owner.to_owned());
        Ok(())
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut counts = self.transfers.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all.leave(&self.upload);
        if let Some(address) = self.address {
            leave(&mut counts.by_address, address, &self.upload);
        }
        if let Some(owner) = self.owner.take() {
            leave(&mut counts.by_owner, owner, &self.upload);
        }
    }
}

/// The address that stands for a client: with IPv6 that is its network, as one client has 2^64.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// Strikes an upload from one of many, and that one too once it has none.
fn leave<K: Eq + Hash>(many: &mut HashMap<K, Uploads>, whose: K, upload: &Upload) {
    if let Entry::Occupied(mut uploads) = many.entry(whose) {
        uploads.get_mut().leave(upload);
        if uploads.get().0.is_empty() {
            uploads.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_counts_as_one_client() {
        for (address, stands_for) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(household(address.parse().unwrap()), stands_for.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn each_bound_holds_and_nothing_is_left_when_all_have_gone() {
        let transfers = Arc::new(Transfers::default());
        let policy = Policy {
            max_transfers: 3,
            max_transfers_per_address: Some(2),
            max_transfers_per_owner: Some(1),
            ..Policy::default()
        };
        let [a, b, c]: [UploadId; 3] = ["a", "b", "c"].map(|id| id.parse().unwrap());
        let (home, away) = (Some([127, 0, 0, 1].into()), Some([127, 0, 0, 2].into()));
        let enter = |id: Option<&UploadId>, address| transfers.enter(id, address, &policy);

        let mut first = enter(Some(&a), home).unwrap();
        first.belongs_to(Some("ann"), &policy).unwrap();
        let mut second = enter(None, home).unwrap();
        assert_eq!(second.belongs_to(Some("ann"), &policy), Err(Refusal::TooMany));
        second.belongs_to(Some("bob"), &policy).unwrap();
        assert_eq!(enter(Some(&b), home).unwrap_err(), Refusal::TooMany);
        // The same upload again: it takes the place of the one that holds it.
        let mut again = enter(Some(&a), home).unwrap();
        again.belongs_to(Some("ann"), &policy).unwrap();
        let third = enter(Some(&b), away).unwrap();
        assert_eq!(enter(Some(&c), None).unwrap_err(), Refusal::Busy);
        drop(third);
        let local = enter(Some(&c), None).unwrap();
        drop((first, second, again, local));

        let counts = transfers.0.lock().unwrap();
        assert!(counts.all.0.is_empty() && counts.by_address.is_empty());
        assert!(counts.by_owner.is_empty());
    }
}
