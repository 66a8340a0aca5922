use std::{net::IpAddr, str::FromStr};

/// A peer whose `Forwarded` and `X-Forwarded-*` headers are believed.
///
/// ```
/// use tus_core::TrustedProxy;
///
/// let proxies: TrustedProxy = "10.0.0.0/8".parse().unwrap();
/// assert!(proxies.covers(Some("10.1.2.3".parse().unwrap())));
/// assert!(!proxies.covers(Some("192.168.0.1".parse().unwrap())));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedProxy {
    /// The peers of a unix socket, which have no address.
    Unix,
    /// The addresses that share the first `bits` bits with this one.
    Network {
        /// Any address of the network.
        address: IpAddr,
        /// How many bits count.
        bits: u8,
    },
}

impl TrustedProxy {
    /// Whether a peer is one of these; `None` is a peer without an address.
    pub fn covers(&self, peer: Option<IpAddr>) -> bool {
        match (self, peer.map(|peer| peer.to_canonical())) {
            (Self::Unix, peer) => peer.is_none(),
            (Self::Network { address: IpAddr::V4(net), bits }, Some(IpAddr::V4(peer))) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                net.to_bits() & mask == peer.to_bits() & mask
            }
            (Self::Network { address: IpAddr::V6(net), bits }, Some(IpAddr::V6(peer))) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                net.to_bits() & mask == peer.to_bits() & mask
            }
            (Self::Network { .. }, _) => false,
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, InvalidProxy> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let invalid = || InvalidProxy(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| invalid()))?;
        if bits > most {
            return Err(invalid());
        }
        Ok(Self::Network { address, bits })
    }
}

/// The text is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a proxy; write an address (10.0.0.1), a network (10.0.0.0/8) or unix")]
pub struct InvalidProxy(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_cover_their_addresses_only() {
        let table = [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("0.0.0.0/0", "9.9.9.9", true),
            ("10.0.0.0/9", "10.127.0.1", true),
            ("10.0.0.0/9", "10.128.0.1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1", "127.0.0.1", false),
            ("unix", "127.0.0.1", false),
        ];
        for (proxy, peer, expected) in table {
            let proxy: TrustedProxy = proxy.parse().unwrap();
            assert_eq!(proxy.covers(Some(peer.parse().unwrap())), expected, "{proxy:?} {peer}");
        }
        assert!(TrustedProxy::Unix.covers(None));
        assert!(!"10.0.0.1".parse::<TrustedProxy>().unwrap().covers(None));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "proxy", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0/8"] {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text:?}");
        }
    }
}
