//! Settings to a server.

use std::{net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tus_core::{
    Arrival, Cors, Expiry, HookError, InterimMode, MemoryStore, OriginPattern, Policy, Rejection,
    Reply, Tus,
};

use super::{
    clocked::{Clock, ClockedChunks},
    parse::Directive,
};

/// A server, and how requests reach it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) tus: Tus,
    pub(super) clock: Clock,
    pub(super) peer: Option<IpAddr>,
    /// Whether the connection can send interim responses.
    pub(super) interim: bool,
    pub(super) mount: String,
    mount_is_cut_off: bool,
    trailers: bool,
}

#[derive(Debug, Default)]
struct Settings {
    policy: Policy,
    interim: bool,
    mount: Option<String>,
    mount_is_cut_off: bool,
    no_trailers: bool,
    owners: Option<HeaderName>,
    deny: Option<Method>,
    finish: Finish,
}

/// What the application says to a complete upload.
#[derive(Clone, Copy, Debug, Default)]
enum Finish {
    #[default]
    Nothing,
    Reply,
    Reject,
    Fail,
}

/// Why a directive cannot be followed, with its line.
pub(super) type Fault = (usize, String);

impl Server {
    /// Starts a server with these settings; must be called inside a runtime.
    pub(super) fn start(directives: &[Directive]) -> Result<Self, Fault> {
        let mut settings = Settings::default();
        for directive in directives {
            settings.set(directive).map_err(|text| (directive.line, format!("  {text}\n")))?;
        }
        let clock = Clock::new();
        let tus = settings.build(clock.clone()).map_err(|text| {
            (directives.first().map_or(0, |first| first.line), format!("  {text}\n"))
        })?;
        Ok(Self {
            tus,
            clock,
            peer: None,
            interim: settings.interim,
            mount: settings.mount.unwrap_or_else(|| "/files".to_owned()),
            mount_is_cut_off: settings.mount_is_cut_off,
            trailers: !settings.no_trailers,
        })
    }

    /// How a request for this path arrives, and the path that the framework leaves in it.
    pub(super) fn arrival(&self, target: &str) -> (Arrival, String) {
        let mut arrival = Arrival::at(&self.mount).with_peer(self.peer);
        if self.trailers {
            arrival = arrival.with_trailers();
        }
        match target.strip_prefix(&self.mount).filter(|_| self.mount_is_cut_off) {
            Some(tail) => {
                let path = tail.split('?').next().unwrap_or_default().to_owned();
                let left = if tail.starts_with('/') { tail.to_owned() } else { format!("/{tail}") };
                (arrival.with_tail(path), left)
            }
            None => (arrival, target.to_owned()),
        }
    }
}

impl Settings {
    fn set(&mut self, directive: &Directive) -> Result<(), String> {
        let (policy, value) = (&mut self.policy, directive.value.as_str());
        match directive.name.as_str() {
            "max-size" if value == "none" => policy.max_size = None,
            "max-size" => policy.max_size = Some(parse(value)?),
            "min-size" => policy.min_size = parse(value)?,
            "max-append-size" => policy.max_append_size = Some(parse(value)?),
            "min-append-size" => policy.min_append_size = parse(value)?,
            "interim" if value == "none" => self.interim = false,
            "interim" => {
                self.interim = true;
                policy.interim = interim(value)?;
            }
            "interim-every" => policy.interim_every = duration(value)?,
            "max-metadata" => policy.max_metadata = parse(value)?,
            "max-parts" => policy.max_parts = parse(value)?,
            "expire" => policy.expiry = Some(expiry(value)?),
            "download" => policy.download = true,
            "remove-used-parts" => policy.remove_used_parts = true,
            "disable" => *feature(policy, value)? = false,
            "mount" => self.mount = Some(value.to_owned()),
            "mount-cut-off" => self.mount_is_cut_off = true,
            "public-url" => policy.public_url = Some(value.to_owned()),
            "trust" => {
                let proxies = value.split(' ').map(parse).collect::<Result<_, _>>();
                policy.trusted_proxies = proxies?;
            }
            "cors" if value == "off" => policy.cors = Cors::off(),
            "cors" => {
                let origins = value.split(' ').map(parse::<OriginPattern>);
                policy.cors = Cors::origins(origins.collect::<Result<Vec<_>, _>>()?);
            }
            "cors-credentials" => policy.cors.credentials = true,
            "no-trailers" => self.no_trailers = true,
            "owners" => self.owners = Some(parse(value)?),
            "deny" => self.deny = Some(parse(value)?),
            "finish" => self.finish = finish(value)?,
            name => return Err(format!("there is no setting @{name}")),
        }
        Ok(())
    }

    fn build(&self, clock: Clock) -> Result<Tus, String> {
        let store = MemoryStore::default();
        let chunks = ClockedChunks::new(store.clone(), clock.clone());
        let mut builder = Tus::builder().meta(store).chunks(chunks).policy(self.policy.clone());
        let finish = self.finish;
        builder = builder.clock(move || clock.now()).on_finish(move |finished| async move {
            match finish {
                Finish::Nothing => Ok(Reply::new()),
                Finish::Reply => Ok(thanks(finished.length)),
                Finish::Reject => Err(no_thanks().into()),
                Finish::Fail => Err(std::io::Error::other("a bad day").into()),
            }
        });
        let (owners, deny) = (self.owners.clone(), self.deny.clone());
        let creators = self.owners.clone();
        let builder = builder
            .authorize(move |request, intent| {
                let denied = deny.as_ref() == Some(request.method());
                let user = owners.as_ref().map(|name| user(request.headers(), name));
                let foreign = match (user, intent.owner()) {
                    (Some(user), Some(owner)) => user.as_deref() != Some(owner),
                    _ => false,
                };
                async move {
                    if denied || foreign {
                        return Err(HookError::from(Rejection::forbidden("not_allowed: No.\n")));
                    }
                    Ok(())
                }
            })
            .before_create(move |request, mut new| {
                new.owner = creators.as_ref().and_then(|name| user(request.headers(), name));
                async move { Ok(new) }
            });
        builder.build().map_err(|error| error.to_string())
    }
}

fn user(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn feature<'p>(policy: &'p mut Policy, name: &str) -> Result<&'p mut bool, String> {
    Ok(match name {
        "creation-with-upload" => &mut policy.creation_with_upload,
        "creation-defer-length" => &mut policy.defer_length,
        "checksum" => &mut policy.checksum,
        "termination" => &mut policy.termination,
        "concatenation" => &mut policy.concatenation,
        "tus" => &mut policy.tus,
        "rufh" => &mut policy.rufh,
        "method-override" => &mut policy.method_override,
        _ => return Err(format!("{name:?} cannot be disabled")),
    })
}

fn interim(text: &str) -> Result<InterimMode, String> {
    Ok(match text {
        "auto" => InterimMode::Auto,
        "on" => InterimMode::On,
        "off" => InterimMode::Off,
        _ => return Err("write @interim auto, on, off or none".to_owned()),
    })
}

fn finish(text: &str) -> Result<Finish, String> {
    Ok(match text {
        "reply" => Finish::Reply,
        "reject" => Finish::Reject,
        "fail" => Finish::Fail,
        _ => return Err("write @finish reply, reject or fail".to_owned()),
    })
}

/// What the application adds to the answer for an upload of so many bytes.
fn thanks(length: u64) -> Reply {
    Reply::new()
        .with_header(HeaderName::from_static("x-received"), length.into())
        .with_body(HeaderValue::from_static("text/plain"), "thank you\n")
}

fn no_thanks() -> Rejection {
    Rejection::new(StatusCode::UNPROCESSABLE_ENTITY, "not_wanted: Not that.\n")
}

fn expiry(text: &str) -> Result<Expiry, String> {
    match text.split_once(' ') {
        Some(("fixed", period)) => duration(period).map(Expiry::fixed),
        Some(("sliding", period)) => duration(period).map(Expiry::sliding),
        _ => Err("write @expire fixed 1h, or sliding 1h".to_owned()),
    }
}

/// A duration such as `61s` or `24h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{text:?}: {error}"))
}

/// Anything that parses, with its text in the error.
pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}
