use std::{fmt, future::Future, sync::Arc};

use super::Tus;
use crate::{
    hooks::{
        Ended, Finished, HookError, HookSet, Hooks, Intent, NewUpload, Progress, RequestContext,
        closure1, closure2,
    },
    model::{Origins, Policy, Reply, Timestamp, Upload},
    store::{ChunkStore, Locker, MemoryLocker, MetaStore},
};

/// Configures a [`Tus`]: stores, policy, and where the application has its say.
///
/// ```
/// use tus_core::{MemoryStore, Rejection, Reply, Tus};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let tus = Tus::builder()
///     .store(MemoryStore::default())
///     .before_create(|_request, new| async move {
///         match new.metadata.filename() {
///             Some(_) => Ok(new),
///             None => Err(Rejection::forbidden("a file name, please").into()),
///         }
///     })
///     .on_finish(|finished| async move {
///         println!("{} has {} bytes", finished.id(), finished.length);
///         Ok(Reply::new())
///     })
///     .build()
///     .unwrap();
/// # }
/// ```
#[derive(Default)]
#[must_use]
pub struct TusBuilder {
    meta: Option<Arc<dyn MetaStore>>,
    chunks: Option<Arc<dyn ChunkStore>>,
    locker: Option<Arc<dyn Locker>>,
    policy: Policy,
    hooks: HookSet,
    clock: Option<Box<dyn Fn() -> Timestamp + Send + Sync>>,
}

pub(crate) struct Parts {
    pub(super) meta: Arc<dyn MetaStore>,
    pub(super) chunks: Arc<dyn ChunkStore>,
    pub(super) locker: Arc<dyn Locker>,
    pub(super) policy: Policy,
    pub(super) hooks: HookSet,
    pub(super) clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// A configuration that cannot work; told at start, never at the first request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A store is missing.
    #[error("no {0} store; call TusBuilder::store, or ::meta and ::chunks")]
    MissingStore(&'static str),
    /// CORS would give every web page the user's credentials.
    #[error(
        "policy.cors: credentials cannot go with any origin; list the origins that may send them"
    )]
    CredentialsForAnyOrigin,
    /// A setting cannot have this value.
    #[error("policy.{setting}: {reason}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong, and the way out.
        reason: &'static str,
    },
}

impl TusBuilder {
    /// Keeps records and bytes in one store.
    pub fn store<S: MetaStore + ChunkStore + Clone>(self, store: S) -> Self {
        self.meta(store.clone()).chunks(store)
    }

    /// Keeps records here.
    pub fn meta(mut self, meta: impl MetaStore) -> Self {
        self.meta = Some(Arc::new(meta));
        self
    }

    /// Keeps bytes here.
    pub fn chunks(mut self, chunks: impl ChunkStore) -> Self {
        self.chunks = Some(Arc::new(chunks));
        self
    }

    /// Says who may write; the default is right where one process serves the stores.
    pub fn locker(mut self, locker: impl Locker) -> Self {
        self.locker = Some(Arc::new(locker));
        self
    }

    /// Says what is allowed.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Gives the application its say in all moments; closures set here take precedence.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks.base = Some(Arc::new(hooks));
        self
    }

    /// See [`Hooks::authorize`].
    pub fn authorize<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(RequestContext, Intent) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HookError>> + Send + 'static,
    {
        self.hooks.authorize = closure2(hook);
        self
    }

    /// See [`Hooks::before_create`].
    pub fn before_create<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(RequestContext, NewUpload) -> R + Send + Sync + 'static,
        R: Future<Output = Result<NewUpload, HookError>> + Send + 'static,
    {
        self.hooks.before_create = closure2(hook);
        self
    }

    /// See [`Hooks::on_progress`].
    pub fn on_progress<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Progress) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.hooks.on_progress = closure1(hook);
        self
    }

    /// See [`Hooks::before_terminate`].
    pub fn before_terminate<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(RequestContext, Arc<Upload>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HookError>> + Send + 'static,
    {
        self.hooks.before_terminate = closure2(hook);
        self
    }

    /// See [`Hooks::on_finish`].
    pub fn on_finish<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Finished) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, HookError>> + Send + 'static,
    {
        self.hooks.on_finish = closure1(hook);
        self
    }

    /// See [`Hooks::on_terminated`].
    pub fn on_terminated<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Ended) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HookError>> + Send + 'static,
    {
        self.hooks.on_terminated = closure1(hook);
        self
    }

    /// See [`Hooks::on_expired`].
    pub fn on_expired<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(Ended) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HookError>> + Send + 'static,
    {
        self.hooks.on_expired = closure1(hook);
        self
    }

    /// Tells the time from this clock instead of the system's, for tests of expiration.
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Makes the service.
    ///
    /// Inside a tokio runtime the sweeper starts at once, else with the first request.
    ///
    /// # Errors
    ///
    /// A configuration that cannot work.
    pub fn build(self) -> Result<Tus, BuildError> {
        check(&self.policy)?;
        Ok(Tus::from_parts(Parts {
            meta: self.meta.ok_or(BuildError::MissingStore("meta"))?,
            chunks: self.chunks.ok_or(BuildError::MissingStore("chunk"))?,
            locker: self.locker.unwrap_or_else(|| Arc::new(MemoryLocker::default())),
            policy: self.policy,
            hooks: self.hooks,
            clock: self.clock.unwrap_or_else(|| Box::new(Timestamp::now)),
        }))
    }
}

fn check(policy: &Policy) -> Result<(), BuildError> {
    if policy.cors.credentials && policy.cors.origins == Origins::Any {
        return Err(BuildError::CredentialsForAnyOrigin);
    }
    let zero = "must be more than zero";
    let table = [
        ("tus", !policy.tus && !policy.rufh, "without tus and without rufh nothing is spoken"),
        (
            "min_append_size",
            policy.max_append_size.is_some_and(|max| max < policy.min_append_size),
            "must not be more than max_append_size",
        ),
        ("max_append_size", policy.max_append_size == Some(0), zero),
        (
            "min_size",
            policy.max_size.is_some_and(|max| max < policy.min_size),
            "must not be more than max_size",
        ),
        ("idle_timeout", policy.idle_timeout.is_zero(), zero),
        ("lease_wait", policy.lease_wait.is_zero(), zero),
        ("hook_timeout", policy.hook_timeout.is_zero(), zero),
        ("handler_timeout", policy.handler_timeout.is_zero(), zero),
        ("sweep_every", policy.sweep_every.is_zero(), zero),
        ("sync_every", policy.sync_every == 0, zero),
        ("min_rate_over", policy.min_rate_over.is_zero(), zero),
        ("max_transfers", policy.max_transfers == 0, zero),
        ("max_transfers_per_owner", policy.max_transfers_per_owner == Some(0), zero),
        ("max_transfers_per_address", policy.max_transfers_per_address == Some(0), zero),
        (
            "max_parts",
            policy.max_parts == 0,
            "must be more than zero; or set concatenation = false",
        ),
        (
            "expiry",
            policy.expiry.is_some_and(|e| e.period.is_zero()),
            "the period must be more than zero",
        ),
    ];
    match table.into_iter().find(|(_, wrong, _)| *wrong) {
        Some((setting, _, reason)) => Err(BuildError::Setting { setting, reason }),
        None => Ok(()),
    }
}

impl fmt::Debug for TusBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TusBuilder").field("policy", &self.policy).finish_non_exhaustive()
    }
}
