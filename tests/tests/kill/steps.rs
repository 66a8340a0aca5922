//! Kills at the n-th operation on the disk, for every n.

use tus_tests::process::Random;

use crate::{
    case::{Case, Tally},
    killer::{At, Killer},
    phases::Phase,
    site::{LEVELS, Site},
};

/// A request, a level, and the operation to die at.
#[derive(Clone, Copy)]
struct Step {
    run: fn(Case<'_>) -> Tally,
    level: &'static str,
    manner: &'static str,
    nth: u64,
}

/// Kills the server at each operation that each variant of a phase needs, at both levels: before
/// it, within it where it is a write, and after the last one; or at so many of them, drawn at
/// random.
pub(crate) fn each(phase: &Phase, site: &Site, kills: u64, random: &mut Random) {
    let (mut steps, mut tally) = (Vec::new(), Tally::default());
    for run in phase.variants {
        for level in LEVELS {
            let none = Step { run: *run, level, manner: "before", nth: u64::MAX };
            let (_, outlived) = try_one(site, none, random);
            let (all, divisible) = outlived.expect("more operations than it can count");
            let step = |manner, nth| Step { manner, nth, ..none };
            steps.extend((1..=all).map(|nth| step("before", nth)));
            steps.extend((1..=divisible).map(|nth| step("within", nth)));
            steps.push(step("after", all));
        }
    }
    let all = steps.len();
    while (steps.len() as u64) > kills {
        steps.swap_remove(random.below(steps.len() as u64) as usize);
    }
    let mut late = 0;
    for step in &steps {
        let (one, outlived) = try_one(site, *step, random);
        tally.add(&one);
        late += u64::from(outlived.is_some());
    }
    println!(
        "kill at the n-th operation in {}: {} of {all} steps, {} answers lost, {late} kills too \
         late; {} uploads brought to their end, {} of them unheard of; nothing lost, corrupt, \
         stuck, half or left over ({} drafts beside live records); events told again: {}",
        phase.name,
        steps.len(),
        tally.lost,
        tally.whole,
        tally.strays,
        tally.drafts,
        tally.repeats,
    );
    assert!(late <= steps.len() as u64 / 5, "{late} kills came too late");
}

/// One kill, and how many operations there were if it did not come.
fn try_one(site: &Site, step: Step, random: &mut Random) -> (Tally, Option<(u64, u64)>) {
    let Step { run, level, manner, nth } = step;
    let mut killer = Killer::Disk(At { nth, manner, outlived: None });
    let tally = run(Case::new(site.anew(level), &mut killer, Random(random.draw()), &[]));
    match killer {
        Killer::Disk(at) => (tally, at.outlived),
        Killer::Clock(_) => unreachable!("it was made above"),
    }
}
