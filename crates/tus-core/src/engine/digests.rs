//! Digests of whole uploads: computed in passing, saved with the record, gone on with by whoever
//! writes next.
//!
//! One invariant: a state in the record that has seen no more than is stored has seen what is
//! stored. Bytes only ever go away by a cut, and before others may come in their place
//! [`resume`] strikes every state that has seen more.

use super::{exchange::refuse_bytes, session::Session, terminate};
use crate::{
    model::{Digest, DigestState, GoneReason, Hasher, Refusal, Upload, WholeDigest},
    protocol::{digests as rules, settle::Settlement},
    store::{StoreError, StoreErrorKind},
};

/// Digests that are being computed, each with the number of bytes that it has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Vec<(Hasher, u64)>);

impl Running {
    /// Goes on from what is saved; from the beginning where nothing is that can be used.
    fn load(digests: &[WholeDigest], stored: u64) -> Self {
        let load = |digest: &WholeDigest| {
            let state = digest.state.as_ref().filter(|state| state.at <= stored);
            let restored = state.and_then(|state| {
                let DigestState { format, at, bytes } = state;
                Some((Hasher::restore(digest.algorithm, (*format, *at), bytes)?, *at))
            });
            restored.unwrap_or_else(|| (Hasher::new(digest.algorithm), 0))
        };
        Self(digests.iter().filter(|digest| digest.value.is_none()).map(load).collect())
    }

    /// Takes over what others have seen.
    fn go_on_from(&mut self, others: Self) {
        for (other, seen) in others.0 {
            let mut same = self.0.iter_mut().filter(|(h, _)| h.algorithm() == other.algorithm());
            if let Some(one) = same.next() {
                *one = (other, seen);
            }
        }
    }

    /// Shows bytes of the upload, the first of which is at `at`; whoever has seen some of them is
    /// shown the rest.
    pub(super) fn show(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        for (hasher, seen) in &mut self.0 {
            let known = seen.checked_sub(at).map(usize::try_from);
            let Some(Ok(known)) = known else { continue };
            if let Some(new) = bytes.get(known..) {
                hasher.update(new);
                *seen = end;
            }
        }
    }

    /// How many bytes all of them have seen.
    fn seen(&self) -> Option<u64> {
        self.0.iter().map(|(_, seen)| *seen).min()
    }

    /// Notes in a record how far they are.
    pub(super) fn save(&self, upload: &mut Upload) {
        for digest in &mut upload.digests {
            let mut found = self.0.iter().filter(|(h, _)| h.algorithm() == digest.algorithm);
            if let Some((hasher, seen)) = found.next() {
                digest.state = Some(DigestState::new(Hasher::FORMAT, *seen, hasher.save()));
            }
        }
    }

    /// Whether a record knows how far they are.
    fn is_saved(&self, upload: &Upload) -> bool {
        upload.digests.iter().all(|digest| {
            let mut found = self.0.iter().filter(|(h, _)| h.algorithm() == digest.algorithm);
            let seen = found.next().map(|(_, seen)| *seen);
            seen.is_none() || seen == digest.state.as_ref().map(|state| state.at)
        })
    }

    /// Reads what is stored and was not seen.
    async fn catch_up(&mut self, session: &Session<'_>) -> Result<(), StoreError> {
        let stored = session.stored.length;
        let Some(from) = self.seen().filter(|seen| *seen < stored) else { return Ok(()) };
        tracing::debug!(upload = %session.upload.id, from, stored, "reads bytes for a digest");
        let mut reader = session.tus.chunks.read(&session.upload.locator, from..stored).await?;
        let mut at = from;
        while let Some(bytes) = reader.next().await? {
            self.show(at, &bytes);
            at += bytes.len() as u64;
        }
        if at == stored {
            return Ok(());
        }
        Err(StoreError::new(StoreErrorKind::Corrupt, "the stored bytes end too early"))
    }
}

/// What was known before a request, for one that leaves no trace.
#[derive(Debug)]
pub(super) struct Before {
    digests: Vec<WholeDigest>,
    running: Option<Running>,
}

/// Gets ready to see the bytes of a request.
///
/// What this request is the first to ask for is not read for yet: it may still be refused, and
/// could then ask again, and again.
pub(super) async fn resume(session: &mut Session<'_>) -> Result<Before, Refusal> {
    let stored = session.stored.length;
    let ahead = |digest: &WholeDigest| digest.state.as_ref().is_some_and(|s| s.at > stored);
    if session.upload.digests.iter().any(ahead) {
        let strike = |upload: &mut Upload| {
            upload.digests.iter_mut().filter(|d| ahead(d)).for_each(|d| d.state = None);
        };
        session.update(strike).await?;
    }
    let digests = session.upload.digests.clone();
    session.running = None;
    let mut running = Running::load(&digests, stored);
    if !running.0.is_empty() {
        match running.catch_up(session).await {
            Ok(()) => session.running = Some(running),
            // It is tried again when the upload is whole.
            Err(error) => {
                tracing::warn!(upload = %session.upload.id, %error, "cannot read for a digest");
            }
        }
    }
    Ok(Before { digests, running: session.running.clone() })
}

/// Records how a request was settled, and how far the digests are.
///
/// That is one update; none, if it changes nothing. What completes the upload leaves the digests to
/// [`conclude`], which has them still.
pub(super) async fn settle(
    session: &mut Session<'_>,
    settlement: &Settlement,
    before: Before,
) -> Result<(), Refusal> {
    if !settlement.kept {
        session.running = before.running;
    }
    // What could not be stored after all was seen in vain.
    let stored = session.stored.length;
    if session.running.as_ref().and_then(Running::seen).is_some_and(|seen| seen > stored) {
        session.running = None;
    }
    let running = session.running.clone();
    let record = |upload: &mut Upload| {
        if !settlement.kept {
            upload.digests.clone_from(&before.digests);
        }
        settlement.apply(upload);
        if let Some(running) = &running {
            running.save(upload);
        }
    };
    let undoes = !settlement.kept && session.upload.digests != before.digests;
    if undoes || settlement.changes(&session.upload) {
        return session.update(record).await;
    }
    let saved = running.as_ref().is_none_or(|running| running.is_saved(&session.upload));
    if saved || settlement.completes {
        return Ok(());
    }
    if let Err(refusal) = session.update(record).await {
        // The bytes are as good as ever; those that no saved state has seen are read again.
        tracing::warn!(upload = %session.upload.id, ?refusal, "cannot save how far a digest is");
        session.reload().await?;
    }
    Ok(())
}

/// The digests of an upload whose bytes are all there, if they are what they have to be.
///
/// # Errors
///
/// `WholeDigestMismatch` if they are not: the upload has ended.
pub(super) async fn conclude(session: &mut Session<'_>) -> Result<Vec<WholeDigest>, Refusal> {
    let asked = &session.upload.digests;
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let stored = session.stored.length;
    let mut running = Running::load(asked, stored);
    running.go_on_from(session.running.take().unwrap_or_default());
    let values: Vec<Digest> = match running.catch_up(session).await {
        Ok(()) => running.0.into_iter().map(|(hasher, _)| hasher.finish()).collect(),
        // Better no than maybe, where it has to be something.
        Err(error) if error.kind() == StoreErrorKind::Unsupported => Vec::new(),
        Err(error) => return Err(refuse_bytes(&error, "read", &session.upload.id)),
    };
    if let Some(concluded) = rules::conclude(&session.upload.digests, &values) {
        return Ok(concluded);
    }
    tracing::warn!(upload = %session.upload.id, "the upload has not the digest that it must have");
    let tell = terminate::Tell::Application(Some(stored));
    Box::pin(terminate::end(session, GoneReason::DigestMismatch, tell)).await?;
    Err(Refusal::WholeDigestMismatch)
}
