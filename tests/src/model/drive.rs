//! A sequence of operations, in the service and in the reference.

use std::{sync::atomic::Ordering, time::Duration};

use proptest::prelude::*;
use tokio::time::sleep;
use tus_core::{Phase, UploadId};

use super::{
    Heard, Operation, Reference, Request, Says, State, Tally, Then, Who,
    service::{Done, Service, heard, is},
};
use crate::rig::{Answer, Ask};

/// What all sequences of this process came across.
pub static TALLY: Tally = Tally::new();

/// A sequence under way, in the service and in the reference.
struct Sequence {
    service: Service,
    model: Reference,
}

fn fail<T>(text: impl Into<String>) -> Result<T, TestCaseError> {
    Err(TestCaseError::fail(text.into()))
}

impl Sequence {
    async fn does(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let before = self.model.clone();
        // Nobody is in the midst of something when a process dies in the midst of something.
        if let Operation::Crash { .. } = operation {
            for client in 0..2 {
                let breaks = Operation::GoOn { client, then: Then::Breaks };
                Box::pin(self.does(&breaks)).await?;
            }
            let before = self.model.clone();
            return self.crashes(operation, &before).await;
        }
        let expected = self.model.does(operation);
        let now = self.model.now();
        let ends = expected.iter().any(|one| one.who != Who::Asking);
        let done = self.service.does(operation, &before, now, ends).await;
        match done.map_err(TestCaseError::fail)? {
            Done::Heard(answers) => self.compare(operation, &expected, answers).await?,
            Done::Crashed => return fail("nothing was to crash"),
        }
        self.settle().await?;
        self.is_true(operation).await
    }

    async fn crashes(
        &mut self,
        operation: &Operation,
        before: &Reference,
    ) -> Result<(), TestCaseError> {
        let Operation::Crash { request, .. } = operation else { return Ok(()) };
        let expected = self.model.does(operation);
        let done = self.service.does(operation, before, before.now(), false).await;
        match done.map_err(TestCaseError::fail)? {
            Done::Heard(answers) => self.compare(operation, &expected, answers).await?,
            Done::Crashed => {
                TALLY.add("crashed in mid-request");
                let application = self.service.world.application.clone();
                let made = application.created.load(Ordering::SeqCst);
                let mut heads = Vec::new();
                for number in 1..=made {
                    // A hook that failed is asked again.
                    sleep(Duration::from_secs(2)).await;
                    let head = Ask::head(&format!("/files/u{number}"));
                    heads.push((number, heard(&head.send(&self.service.tus).await, true)));
                }
                // What is recorded is more than what HEAD shows.
                sleep(Duration::from_secs(2)).await;
                let mut found = Vec::new();
                for number in 1..=made {
                    found.push((number, self.found(&format!("u{number}").parse().unwrap()).await));
                }
                let is = |one: &Reference| {
                    (0..one.count()).all(|upload| {
                        let known = found.iter().find(|(number, _)| *number == one.number(upload));
                        known.is_some_and(|(_, found)| *found == Ok(one.state(upload)))
                    })
                };
                let mut maybe = before.crashes(request, made).into_iter();
                match maybe.find_map(|mut one| (one.agrees(&heads) && is(&one)).then_some(one)) {
                    Some(one) => self.model = one,
                    None => return fail(format!("{operation:?} has left {heads:?}, {found:?}")),
                }
            }
        }
        self.settle().await?;
        self.is_true(operation).await
    }

    /// A hook that failed is asked again after a second.
    async fn settle(&mut self) -> Result<(), TestCaseError> {
        if self.model.owes() {
            sleep(Duration::from_secs(2)).await;
        }
        Ok(())
    }

    async fn compare(
        &mut self,
        operation: &Operation,
        expected: &[Heard],
        answers: Vec<(Who, Answer)>,
    ) -> Result<(), TestCaseError> {
        TALLY.note(operation, &answers);
        for one in expected {
            let Some((_, answer)) = answers.iter().find(|(who, _)| *who == one.who) else {
                return fail(format!("{operation:?}: {one:?} is not heard"));
            };
            let is_head = matches!(
                operation,
                Operation::Ask { request: Request::Head { .. }, .. }
                    | Operation::Crash { request: Request::Head { .. }, .. }
            );
            let heard = heard(answer, is_head && one.who == Who::Asking);
            prop_assert!(is(&heard, one), "{:?}: {:?} hears {:?}", operation, one, answer);
        }
        for (who, answer) in &answers {
            let expected = expected.iter().any(|one| one.who == *who);
            prop_assert!(expected, "{:?}: {:?} hears {:?}", operation, who, answer);
        }
        Ok(())
    }

    /// All records and bytes are what they should be, and the promises hold.
    async fn is_true(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        for upload in 0..self.model.count() {
            let id = self.model.id(upload);
            let expected = self.model.state(upload);
            let found = self.found(&id.parse().unwrap()).await;
            prop_assert_eq!(&found, &Ok(expected), "{:?}: {}", operation, id);
        }
        let world = &self.service.world;
        prop_assert!(world.bytes.most_writers() <= 1, "{:?}: two write at once", operation);
        let complaints = world.application.complaints.lock().unwrap().clone();
        prop_assert!(complaints.is_empty(), "{:?}: {:?}", operation, complaints);
        Ok(())
    }

    /// What is recorded and stored of an upload.
    async fn found(&self, id: &UploadId) -> Result<State, String> {
        let world = &self.service.world;
        let Some(record) = world.record(id).await else { return Ok(State::Unknown) };
        let bytes = world.bytes.bytes(&record.locator);
        let durable = world.bytes.durable(&record.locator).map_or(0, |bytes| bytes.len());
        Ok(match (record.phase, bytes) {
            (Phase::Open, Some(bytes)) => {
                State::Open(record.length, bytes, durable, record.awaits_end)
            }
            (Phase::Announced { .. }, Some(bytes)) if bytes.len() == durable => {
                let mut events = world.application.events(id);
                events.dedup();
                if events.len() != usize::from(record.kind != tus_core::Kind::Partial) {
                    return Err(format!("announced as {events:?}"));
                }
                State::Done(bytes, !events.is_empty())
            }
            (Phase::Refused { .. }, None) => State::Refused,
            (Phase::Gone(_), None) => State::Gone,
            (phase, bytes) => return Err(format!("{phase:?} with {bytes:?}, {durable} durable")),
        })
    }

    /// In the end everybody hears what is true, and nothing lies about.
    async fn ends(&mut self) -> Result<(), TestCaseError> {
        for client in 0..2 {
            self.does(&Operation::GoOn { client, then: Then::Breaks }).await?;
        }
        for back in 0..u8::try_from(self.model.count().min(4)).unwrap() {
            let says = if back % 2 == 0 { Says::Tus } else { Says::Later };
            let request = Request::Head { says, upload: back };
            let head = Operation::Ask { request, denied: false, meanwhile: Vec::new() };
            self.does(&head).await?;
        }
        let world = &self.service.world;
        let mut owned = Vec::new();
        for upload in world.all().await.into_values() {
            owned.push(upload.locator.as_str().to_owned());
        }
        let left: Vec<_> =
            world.bytes.locators().into_iter().filter(|at| !owned.contains(at)).collect();
        prop_assert!(left.is_empty(), "bytes that no record names: {:?}", left);
        Ok(())
    }
}

async fn holds(operations: &[Operation]) -> Result<(), TestCaseError> {
    let (service, model) = (Service::new(), Reference::default());
    service.settle().await;
    let mut sequence = Sequence { service, model };
    for operation in operations {
        sequence.does(operation).await?;
    }
    sequence.ends().await
}

/// Lets a sequence happen, in the service and in the reference.
///
/// # Errors
///
/// Where they are at odds.
pub fn run(operations: &[Operation]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(holds(operations))
}
