//! Kills by the clock, spread over the time that each kind of request takes.

use tus_tests::process::Random;

use crate::{
    case::{Case, Tally},
    killer::{Aim, Killer},
    phases::Phase,
    site::{LEVELS, Site, Which},
};

/// Kills the server so many times in this phase, its variants and both levels in turn.
pub(crate) fn timed(phase: &Phase, which: Which, kills: u64, random: &mut Random) {
    let site = Site::new(which, LEVELS[0]);
    let turns: Vec<_> =
        phase.variants.iter().flat_map(|run| LEVELS.map(|level| (*run, level))).collect();
    let aim = |_| Killer::Clock(Aim::new(Random(random.draw())));
    let mut killers: Vec<_> = turns.iter().map(aim).collect();
    let (mut tally, mut late) = (Tally::default(), 0);
    for kill in 0..kills + turns.len() as u64 {
        let turn = kill as usize % turns.len();
        let (run, level) = turns[turn];
        let case = Case::new(site.anew(level), &mut killers[turn], Random(random.draw()), &[]);
        tally.add(&run(case));
        late += u64::from(kill < turns.len() as u64);
    }
    println!(
        "kill -9 in {}: {} kills, {late} of them right after the answer, {} before it; {} uploads \
         brought to their end, {} of them unheard of; nothing lost, corrupt, stuck, half or left \
         over ({} drafts beside live records); events told again: {}",
        phase.name, tally.kills, tally.lost, tally.whole, tally.strays, tally.drafts, tally.repeats,
    );
    let fair = (tally.kills - late) / 3;
    assert!(tally.lost >= fair, "only {} kills came before the answer", tally.lost);
}
