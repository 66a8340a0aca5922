//! A store of one's own: records in a map that stands for your database, bytes in memory.
//!
//! `cargo run -p example-custom-store` serves it; `cargo test -p example-custom-store` has the
//! conformance suite say whether it keeps its promises.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tus_core::{
    MemoryStore, Revision, Timestamp, Tus, Upload, UploadId,
    store::{Due, MetaStore, StoreError, StoreErrorKind},
};

/// Records with their revisions. Each verb is one statement in SQL; the comments say which.
#[derive(Clone, Debug, Default)]
struct Table(Arc<Mutex<BTreeMap<UploadId, (Upload, u64)>>>);

impl Table {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<UploadId, (Upload, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn error<T>(kind: StoreErrorKind, id: &UploadId) -> Result<T, StoreError> {
    Err(StoreError::new(kind, format!("record {id}")))
}

#[async_trait]
impl MetaStore for Table {
    // INSERT; the primary key makes the second one of two fail.
    async fn create(&self, upload: &Upload) -> Result<Revision, StoreError> {
        let mut rows = self.rows();
        if rows.contains_key(&upload.id) {
            return error(StoreErrorKind::AlreadyExists, &upload.id);
        }
        rows.insert(upload.id.clone(), (upload.clone(), 1));
        Ok(Revision(1))
    }

    // SELECT record, revision WHERE id = …
    async fn load(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
        let row = self.rows().get(id).cloned();
        row.map_or_else(
            || error(StoreErrorKind::NotFound, id),
            |(upload, revision)| Ok((upload, Revision(revision))),
        )
    }

    // UPDATE … SET revision = revision + 1 WHERE id = … AND revision = …; no row is a conflict.
    async fn update(&self, upload: &Upload, expected: Revision) -> Result<Revision, StoreError> {
        match self.rows().get_mut(&upload.id) {
            None => error(StoreErrorKind::NotFound, &upload.id),
            Some((_, revision)) if *revision != expected.0 => {
                error(StoreErrorKind::Conflict, &upload.id)
            }
            Some((row, revision)) => {
                *revision += 1;
                row.clone_from(upload);
                Ok(Revision(*revision))
            }
        }
    }

    // DELETE WHERE id = …
    async fn remove(&self, id: &UploadId) -> Result<(), StoreError> {
        self.rows().remove(id);
        Ok(())
    }

    // SELECT due_at, id WHERE due_at <= … AND (due_at, id) > … ORDER BY due_at, id LIMIT …
    async fn due(
        &self,
        now: Timestamp,
        after: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        let rows = self.rows();
        let due = |(id, (upload, _)): (&UploadId, &(Upload, u64))| {
            upload.due_at().map(|at| Due { at, id: id.clone() })
        };
        let mut found: Vec<Due> = rows.iter().filter_map(due).filter(|due| due.at <= now).collect();
        found.retain(|due| after.is_none_or(|after| due > after));
        found.sort();
        found.truncate(limit);
        Ok(found)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tus = Tus::builder().meta(Table::default()).chunks(MemoryStore::default()).build()?;
    let app = axum::Router::new().merge(tus_axum::routes("/files", tus));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/files", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_table_keeps_the_promises_of_a_meta_store() {
        tus_core::conformance::meta(async || Table::default()).await;
    }
}
