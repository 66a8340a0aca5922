//! What clients do.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use tus_core::Expiry;

use super::{Client, How, Placing, Plan, Role, Setup};
use crate::process::{Random, bytes};

type Run = Box<dyn Fn(Client) -> Pin<Box<dyn Future<Output = ()>>>>;

/// Something that clients do, and the server that they do it to.
pub struct Scene {
    /// What they do.
    pub name: &'static str,
    /// How the server is set up.
    pub setup: Setup,
    run: Run,
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Scene {
    fn new<F, R>(name: &'static str, setup: Setup, run: F) -> Self
    where
        F: Fn(Client) -> R + 'static,
        R: Future<Output = ()> + 'static,
    {
        Self { name, setup, run: Box::new(move |client| Box::pin(run(client))) }
    }

    /// Has them do it.
    pub async fn play(&self, client: &Client) {
        (self.run)(client.clone()).await;
    }
}

/// So long do uploads live where they expire.
const LIFE: Duration = Duration::from_secs(3600);

fn plan(seed: u64, length: usize) -> Plan {
    Plan {
        body: bytes(seed.wrapping_mul(0x9e37_79b9) | 1, length).into(),
        role: Role::Single,
        is_deferred: false,
        name: "a.bin".to_owned(),
    }
}

fn part(seed: u64, length: usize) -> Plan {
    Plan { role: Role::Partial, ..plan(seed, length) }
}

fn join(client: &Client, parts: &[&str]) -> Plan {
    let bodies = parts.iter().map(|id| client.known(id).plan.body.clone());
    Plan {
        body: bodies.flatten().collect::<Bytes>(),
        role: Role::Final(parts.iter().map(|id| (*id).to_owned()).collect()),
        ..plan(1, 0)
    }
}

fn expiring() -> Setup {
    let mut setup = Setup::default();
    setup.policy.expiry = Some(Expiry::sliding(LIFE));
    setup
}

fn placing(placing: Placing) -> Setup {
    Setup { placing, ..Setup::default() }
}

/// Short sequences, which together do everything that can be done.
pub fn scenes() -> Vec<Scene> {
    let mut scenes = vec![
        Scene::new("a creation and three pieces", Setup::default(), |c| async move {
            let id = c.create(plan(1, 3000), None).await;
            c.reach(&id, 700, How::Whole).await;
            c.reach(&id, 1900, How::Frames(500)).await;
            c.reach(&id, 3000, How::Whole).await;
        }),
        Scene::new("a creation with all its bytes", Setup::default(), |c| async move {
            c.create(plan(2, 2500), Some((2500, How::Whole))).await;
        }),
        Scene::new("a creation with some bytes", Setup::default(), |c| async move {
            let id = c.create(plan(3, 2500), Some((1000, How::Frames(300)))).await;
            c.finish(&id).await;
        }),
        Scene::new("an upload of nothing", Setup::default(), |c| async move {
            let id = c.create(plan(4, 0), None).await;
            c.head(&id).await;
        }),
        Scene::new("a broken connection", Setup::default(), |c| async move {
            let id = c.create(plan(5, 2600), None).await;
            c.send(&id, 1300, How::Broken).await;
            c.finish(&id).await;
        }),
        Scene::new("checksums, right and wrong", Setup::default(), |c| async move {
            let id = c.create(plan(6, 3000), None).await;
            c.reach(&id, 800, How::Checked).await;
            c.send(&id, 1700, How::Wrong).await;
            c.reach(&id, 3000, How::Trailed).await;
        }),
        Scene::new("a length that comes late", Setup::default(), |c| async move {
            let id = c.create(Plan { is_deferred: true, ..plan(7, 2200) }, None).await;
            c.reach(&id, 900, How::Whole).await;
            c.finish(&id).await;
        }),
        Scene::new("a termination", Setup::default(), |c| async move {
            let id = c.create(plan(8, 2000), Some((900, How::Whole))).await;
            c.end(&id).await;
        }),
        Scene::new("a termination of a finished upload", Setup::default(), |c| async move {
            let id = c.create(plan(9, 1500), Some((1500, How::Whole))).await;
            c.end(&id).await;
        }),
        Scene::new("a final of finished parts", Setup::default(), |c| async move {
            let one = c.create(part(10, 1000), Some((1000, How::Whole))).await;
            let two = c.create(part(11, 1300), Some((1300, How::Whole))).await;
            let id = c.create(join(&c, &[&one, &two, &one]), None).await;
            c.finish(&id).await;
        }),
        Scene::new("a final of parts to come", Setup::default(), |c| async move {
            let one = c.create(part(12, 1000), None).await;
            let two = c.create(part(13, 1300), None).await;
            let id = c.create(join(&c, &[&two, &one]), None).await;
            c.finish(&one).await;
            c.finish(&two).await;
            c.finish(&id).await;
        }),
        Scene::new("an expiry", expiring(), |c| async move {
            let id = c.create(plan(14, 2000), Some((700, How::Whole))).await;
            let done = c.create(plan(15, 600), Some((600, How::Whole))).await;
            c.expire(LIFE * 2, &[&id]).await;
            c.head(&done).await;
            c.settle().await;
        }),
        Scene::new("two of one name", Setup::default(), |c| async move {
            let one = c.create(plan(16, 900), Some((900, How::Whole))).await;
            let two = c.create(plan(17, 800), Some((800, How::Whole))).await;
            c.head(&one).await;
            c.head(&two).await;
        }),
        Scene::new("one over another", placing(Placing::Replaces), |c| async move {
            let one = c.create(plan(18, 900), Some((900, How::Whole))).await;
            c.end(&one).await;
            let two = c.create(plan(19, 800), Some((800, How::Whole))).await;
            c.head(&two).await;
        }),
        Scene::new("a sub-folder", placing(Placing::Folders), |c| async move {
            let id = c.create(plan(20, 1100), Some((400, How::Whole))).await;
            c.finish(&id).await;
        }),
        Scene::new("an upload that stays", placing(Placing::Stays), |c| async move {
            let id = c.create(plan(21, 2100), Some((900, How::Whole))).await;
            c.finish(&id).await;
        }),
    ];
    let mut setup = Setup::default();
    setup.policy.remove_used_parts = true;
    scenes.push(Scene::new("a final whose parts are to go", setup, |c| async move {
        let one = c.create(part(22, 1000), Some((1000, How::Whole))).await;
        let two = c.create(part(23, 700), Some((700, How::Whole))).await;
        let id = c.create(join(&c, &[&one, &two]), None).await;
        c.finish(&id).await;
        c.settle().await;
    }));
    // EXDEV: the destination is another file system. EPERM: it knows no links.
    for (name, errno) in [("a copy", 18), ("a move", 1)] {
        let setup = Setup { no_links: Some(errno), ..Setup::default() };
        scenes.push(Scene::new(name, setup, |c| async move {
            let id = c.create(plan(24, 2300), Some((1100, How::Whole))).await;
            c.finish(&id).await;
        }));
    }
    let setup = Setup { in_place: true, ..Setup::default() };
    scenes.push(Scene::new("threads that may block", setup, |c| async move {
        let id = c.create(plan(27, 2100), Some((1200, How::Frames(500)))).await;
        c.finish(&id).await;
    }));
    let setup = Setup { fails: 1, ..Setup::default() };
    scenes.push(Scene::new("an application that fails once", setup, |c| async move {
        let id = c.create(plan(25, 1200), None).await;
        c.finish(&id).await;
    }));
    let setup = Setup { rejects: true, ..Setup::default() };
    scenes.push(Scene::new("an application that refuses", setup, |c| async move {
        let id = c.create(plan(26, 1200), None).await;
        c.finish(&id).await;
    }));
    scenes
}

/// Pieces so large that they are written in other ways.
pub fn large() -> Scene {
    Scene::new("a large piece", Setup::default(), |c| async move {
        let id = c.create(plan(28, 1_000_000), Some((300_000, How::Whole))).await;
        c.reach(&id, 700_000, How::Whole).await;
        c.reach(&id, 900_000, How::Frames(70_000)).await;
        c.finish(&id).await;
    })
}

/// A long sequence at random, of several uploads at once.
pub fn at_random(seed: u64) -> Scene {
    let mut random = Random(seed | 1);
    let pick = random.below(3) as usize;
    let mut setup = Setup {
        placing: [Placing::Places, Placing::Stays, Placing::Folders][pick],
        no_links: [None, None, Some(18), Some(1)][random.below(4) as usize],
        fails: random.below(3) / 2,
        ..Setup::default()
    };
    if random.below(3) == 0 {
        setup.policy.expiry = Some(Expiry::sliding(LIFE));
    }
    setup.policy.remove_used_parts = random.below(4) == 0;
    setup.policy.sync_every = 1000;
    Scene::new("at random", setup, move |c| {
        let random = random.clone();
        async move { improvise(&c, random).await }
    })
}

async fn improvise(c: &Client, mut random: Random) {
    let mut open: Vec<String> = Vec::new();
    let mut parts: Vec<String> = Vec::new();
    let hows = [
        How::Whole,
        How::Frames(333),
        How::Broken,
        How::Checked,
        How::Trailed,
        How::Wrong,
        How::Whole,
    ];
    for _ in 0..6 + random.below(14) {
        let pick = random.draw();
        let how = hows[random.below(hows.len() as u64) as usize];
        match pick % 12 {
            0..=2 => {
                let length = random.below(5000) as usize;
                let is_deferred = random.below(4) == 0;
                let kind = if random.below(3) == 0 { Role::Partial } else { Role::Single };
                let plan = Plan { role: kind, is_deferred, ..plan(random.draw(), length) };
                let first = (random.below(2) == 0 && length > 0)
                    .then(|| (1 + random.below(length as u64), How::Frames(450)))
                    // A deferred length would have to be declared with the last byte.
                    .filter(|(end, _)| !is_deferred || *end < length as u64);
                let is_part = plan.role == Role::Partial;
                let id = c.create(plan, first).await;
                if is_part {
                    parts.push(id.clone())
                }
                open.push(id);
            }
            3..=7 => {
                let Some(id) = some(&open, &mut random) else { continue };
                let known = c.known(&id);
                if known.is_whole || known.is_ended || known.is_missing {
                    continue;
                }
                let rest = known.length() - known.told;
                let end = known.told + random.below(rest + 1);
                c.send(&id, end, how).await;
                c.head(&id).await;
            }
            8 => {
                let Some(id) = some(&open, &mut random) else { continue };
                c.finish(&id).await;
            }
            9 if !parts.is_empty() => {
                let chosen: Vec<_> = (0..1 + random.below(3))
                    .filter_map(|_| some(&parts, &mut random))
                    .filter(|id| !c.known(id).is_missing && !c.known(id).is_ended)
                    .collect();
                if chosen.is_empty() || c.house.setup.policy.remove_used_parts {
                    continue;
                }
                let chosen: Vec<_> = chosen.iter().map(String::as_str).collect();
                // Unfinished parts would have to be finished before they may expire.
                for id in &chosen {
                    c.finish(id).await;
                }
                c.create(join(c, &chosen), None).await;
            }
            10 => {
                let Some(id) = some(&open, &mut random) else { continue };
                if !parts.contains(&id) {
                    c.end(&id).await;
                }
            }
            _ => {
                c.tus.sweep().await;
            }
        }
    }
}

fn some(of: &[String], random: &mut Random) -> Option<String> {
    let index = random.below(of.len().max(1) as u64) as usize;
    of.get(index).cloned()
}
