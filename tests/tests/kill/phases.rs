//! What a kill interrupts, and what must hold after it.

use tus_tests::process::{exchange, patch};

use crate::{
    case::{Case, SWEEP, Tally},
    remains::DEAF,
    upload::{BRINGS, Fate, Role, Upload, post},
};

/// A kind of request, in several variants.
pub(crate) struct Phase {
    pub(crate) name: &'static str,
    pub(crate) variants: &'static [fn(Case<'_>) -> Tally],
}

pub(crate) const PHASES: [Phase; 6] = [
    Phase { name: "create", variants: &[create] },
    Phase { name: "creation with upload", variants: &[create_with_some, create_with_all] },
    Phase {
        name: "length declaration",
        variants: &[declare_alone, declare_with_some, declare_with_all],
    },
    Phase { name: "DELETE", variants: &[end_open, end_whole, end_awaited] },
    Phase {
        name: "concatenation",
        variants: &[concat_whole, concat_unfinished, last_part, concat_nothing],
    },
    Phase { name: "finish", variants: &[finish, finish_at_once] },
];

/// What only a server with hooks can be asked for.
pub(crate) const WITH_HOOKS: Phase =
    Phase { name: "finish and hook", variants: &[finish, create_with_all, concat_whole] };

/// What differs where a finish is a copy.
pub(crate) const PLACING: Phase =
    Phase { name: "finish on two file systems", variants: &[finish_at_once, end_whole] };

/// What only a server whose clock can be set ahead can be asked for.
pub(crate) const SWEEPS: Phase = Phase { name: "sweep", variants: &[sweep_told, sweep_untold] };

const SMALL: u64 = 100 << 10;

/// A creation without bytes.
fn create(mut case: Case<'_>) -> Tally {
    let body = case.body(SMALL);
    let head = post(Some(body.len()), Role::Single);
    creation(&mut case, &head, 0, Upload::new("", body, Role::Single));
    case.close()
}

/// A creation that brings some of its bytes.
fn create_with_some(case: Case<'_>) -> Tally {
    create_with(case, false)
}

/// A creation that brings all of its bytes, and so is a finish too.
fn create_with_all(case: Case<'_>) -> Tally {
    create_with(case, true)
}

fn create_with(mut case: Case<'_>, all: bool) -> Tally {
    let body = case.body(SMALL);
    let brought = if all { body.len() } else { case.random.below(body.len() as u64) as usize };
    let head = post(Some(body.len()), Role::Single) + BRINGS;
    creation(&mut case, &head, brought, Upload::new("", body, Role::Single));
    case.close()
}

/// Creates something under fire. If the answer is lost it may be there, at most once, and the
/// client makes another one.
fn creation(case: &mut Case<'_>, head: &str, brings: usize, mut upload: Upload) {
    upload.sent = brings as u64;
    let heard = case.strike(|addr| exchange(addr, head, &upload.body[..brings]));
    match heard {
        Some(answer) => {
            case.created(&answer, upload);
        }
        None => {
            case.stray(upload);
            let another = case.body(SMALL);
            case.create(another, Role::Single, false);
        }
    }
}

/// A PATCH that says how long the upload will be, and nothing else.
fn declare_alone(case: Case<'_>) -> Tally {
    declare(case, |_, told| told)
}

/// One that also brings bytes, but not all.
fn declare_with_some(case: Case<'_>) -> Tally {
    declare(case, |length, told| told + (length - told) / 2)
}

/// One that brings the rest.
fn declare_with_all(case: Case<'_>) -> Tally {
    declare(case, |length, _| length)
}

fn declare(mut case: Case<'_>, end: fn(usize, usize) -> usize) -> Tally {
    let body = case.body(SMALL);
    let at = case.create(body, Role::Single, true);
    let some = case.somewhere(at).min(case.uploads[at].body.len() - 1);
    case.append(at, some);
    let upload = case.uploads[at].clone();
    let (length, told) = (upload.body.len(), upload.told as usize);
    let end = end(length, told);
    let head = format!("{}\r\nUpload-Length: {length}", patch(&upload.path, upload.told));
    let heard = case.strike(|addr| exchange(addr, &head, &upload.body[told..end]));
    let upload = &mut case.uploads[at];
    (upload.sent, upload.declared) = (end as u64, None);
    if let Some(answer) = heard {
        assert_eq!(answer.status, 204, "{answer:?}");
        upload.hear(answer.offset());
        upload.declared = Some(true);
    }
    // What was declared shows, and cannot be taken back.
    case.inspect(at).expect("an upload");
    let upload = &case.uploads[at];
    if upload.declared == Some(true) {
        let other = format!("\r\nUpload-Length: {}", length + 1);
        let answer = case.ask(&(patch(&upload.path, upload.told) + &other), b"");
        assert_eq!(answer.status, 400, "{answer:?}");
    }
    case.close()
}

/// A DELETE of an upload that has some bytes.
fn end_open(mut case: Case<'_>) -> Tally {
    let body = case.body(SMALL);
    let at = case.create(body, Role::Single, false);
    let some = case.somewhere(at).min(case.uploads[at].body.len() - 1);
    case.append(at, some);
    end(&mut case, at);
    case.close()
}

/// A DELETE of a file that is in its place.
fn end_whole(mut case: Case<'_>) -> Tally {
    let body = case.body(SMALL);
    let at = case.create(body, Role::Single, false);
    case.finish(at);
    case.uploads[at].fate = Fate::Alive;
    end(&mut case, at);
    case.close()
}

/// A DELETE of a part that a final waits for: the final goes with it.
fn end_awaited(mut case: Case<'_>) -> Tally {
    let (first, second) = parts(&mut case, false);
    let (head, upload) = joined(&case, &[first, second]);
    let answer = case.ask(&head, b"");
    let whole = case.created(&answer, upload);
    end(&mut case, first);
    if case.uploads[first].fate == Fate::Ended {
        case.uploads[whole].fate = Fate::PartLost;
        // Whoever was killed before it got there leaves that to the sweep at the start.
        let head = format!("HEAD {} HTTP/1.1", case.uploads[whole].path);
        case.until(|case| matches!(case.ask(&head, b"").status, 404 | 410));
    }
    case.close()
}

/// Ends an upload under fire. If the answer is lost it is whole or gone, never half.
fn end(case: &mut Case<'_>, at: usize) {
    let head = format!("DELETE {} HTTP/1.1", case.uploads[at].path);
    let heard = case.strike(|addr| exchange(addr, &head, b""));
    if let Some(answer) = heard {
        assert_eq!(answer.status, 204, "{answer:?}");
        case.is_gone(at);
        case.restart();
        case.is_gone(at);
    } else if case.inspect(at).is_some() {
        // Its client asks again, or thinks better of it.
        if case.random.below(2) == 0 {
            return;
        }
        assert_eq!(case.ask(&head, b"").status, 204);
        case.is_gone(at);
    }
    case.uploads[at].fate = Fate::Ended;
}

/// Two parts with bytes, the second one whole or not.
fn parts(case: &mut Case<'_>, whole: bool) -> (usize, usize) {
    let bodies = [case.body(SMALL), case.body(SMALL)];
    let [first, second] = bodies.map(|body| case.create(body, Role::Part, false));
    let length = case.uploads[first].body.len();
    case.append(first, length);
    let length = case.uploads[second].body.len();
    case.append(second, if whole { length } else { length / 2 });
    (first, second)
}

/// The head that joins parts, and what is to come of it.
fn joined(case: &Case<'_>, parts: &[usize]) -> (String, Upload) {
    let parts = parts.iter().map(|at| &case.uploads[*at]);
    let paths: Vec<_> = parts.clone().map(|part| part.path.as_str()).collect();
    let head = format!("{}\r\nUpload-Concat: final;{}", post(None, Role::Final), paths.join(" "));
    let body: Vec<_> = parts.flat_map(|part| part.body.iter().copied()).collect();
    (head, Upload::new("", body, Role::Final))
}

/// A final of parts that are whole, one of them twice.
fn concat_whole(mut case: Case<'_>) -> Tally {
    let (first, second) = parts(&mut case, true);
    concat(case, &[first, second, first])
}

/// A final of parts, one of which is still to come.
fn concat_unfinished(mut case: Case<'_>) -> Tally {
    let (first, second) = parts(&mut case, false);
    concat(case, &[second, first])
}

/// A final of nothing but an empty part.
fn concat_nothing(mut case: Case<'_>) -> Tally {
    let empty = case.create(Vec::new(), Role::Part, false);
    concat(case, &[empty])
}

/// Joins parts under fire: the final is absent or whole, the parts are what they were, and the
/// same can be asked for again.
fn concat(mut case: Case<'_>, of: &[usize]) -> Tally {
    let (head, upload) = joined(&case, of);
    match case.strike(|addr| exchange(addr, &head, b"")) {
        Some(answer) => {
            case.created(&answer, upload.clone());
        }
        None => {
            case.stray(upload.clone());
        }
    }
    for at in of {
        case.inspect(*at).expect("a part");
    }
    let answer = case.ask(&head, b"");
    case.created(&answer, upload);
    case.close()
}

/// The last bytes of the last part that a final waits for, until the final is whole.
fn last_part(mut case: Case<'_>) -> Tally {
    let (first, second) = parts(&mut case, false);
    let (head, upload) = joined(&case, &[first, second]);
    let answer = case.ask(&head, b"");
    let whole = case.created(&answer, upload);
    let part = case.uploads[second].clone();
    let ask = format!("HEAD {} HTTP/1.1", case.uploads[whole].path);
    let mut told = None;
    let rest = &part.body[part.told as usize..];
    case.strike(|addr| {
        let answer = exchange(addr, &patch(&part.path, part.told), rest)?;
        assert_eq!(answer.status, 204, "{answer:?}");
        told = Some(answer.offset());
        loop {
            let answer = exchange(addr, &ask, b"")?;
            if answer.header("upload-offset").is_some() {
                return Ok(answer);
            }
        }
    });
    let part = &mut case.uploads[second];
    part.sent = part.length();
    if let Some(told) = told {
        part.hear(told);
    }
    case.close()
}

/// The last bytes of an upload.
fn finish(mut case: Case<'_>) -> Tally {
    let body = case.body(SMALL);
    let at = case.create(body, Role::Single, false);
    let some = case.somewhere(at).min(case.uploads[at].body.len() - 1);
    case.append(at, some);
    finishing(case, at)
}

/// All bytes of an upload.
fn finish_at_once(mut case: Case<'_>) -> Tally {
    let body = case.body(SMALL);
    let at = case.create(body, Role::Single, false);
    finishing(case, at)
}

fn finishing(mut case: Case<'_>, at: usize) -> Tally {
    let upload = case.uploads[at].clone();
    let rest = &upload.body[upload.told as usize..];
    let heard = case.strike(|addr| exchange(addr, &patch(&upload.path, upload.told), rest));
    let upload = &mut case.uploads[at];
    upload.sent = upload.length();
    if let Some(answer) = heard {
        assert_eq!(answer.status, 204, "{answer:?}");
        upload.hear(answer.offset());
        assert_eq!(upload.told, upload.length());
    }
    case.close()
}

/// A sweep that tells the application what has expired.
fn sweep_told(case: Case<'_>) -> Tally {
    sweep(case, &[])
}

/// A sweep that has nobody to tell.
fn sweep_untold(case: Case<'_>) -> Tally {
    sweep(case, &[DEAF])
}

/// A sweep that finds something of everything: what has expired, what lives on, what is whole.
fn sweep(mut case: Case<'_>, more: &[&str]) -> Tally {
    let after = |hours: u64| {
        let ahead = format!("--ahead={}", hours * 3600);
        more.iter().map(|word| (*word).to_owned()).chain([ahead]).collect()
    };
    let bodies = [(); 5].map(|()| case.body(SMALL));
    let [open, empty, deferred, part, whole] = bodies;
    let length = part.len();
    let open = case.create(open, Role::Single, false);
    let empty = case.create(empty, Role::Single, false);
    let deferred = case.create(deferred, Role::Single, true);
    let part = case.create(part, Role::Part, false);
    for at in [open, deferred] {
        let some = case.somewhere(at).min(case.uploads[at].body.len() - 1);
        case.append(at, some);
    }
    case.append(part, length);
    let whole = case.create(whole, Role::Single, false);
    case.finish(whole);
    let kept = case.body(SMALL);
    // "keep": the application gives it a longer life.
    let head = post(Some(kept.len()), Role::Single).replace("filename", "keep,filename");
    let answer = case.ask(&head, b"");
    let kept = case.created(&answer, Upload::new("", kept, Role::Single));
    let some = case.somewhere(kept).min(case.uploads[kept].body.len() - 1);
    case.append(kept, some);

    case.more = after(2);
    case.restart();
    case.strike(|addr| exchange(addr, SWEEP, b""));
    let expired = [open, empty, deferred, part];
    for at in expired {
        case.uploads[at].fate = Fate::Expired;
        case.is_gone(at);
    }
    case.inspect(whole).expect("what is whole");
    case.inspect(kept).expect("what is alive");
    case.sweep();
    case.finish(kept);
    case.settle();

    case.more = after(4);
    case.restart();
    case.sweep();
    for at in expired {
        case.uploads[at].fate = Fate::Forgotten;
    }
    case.close()
}
