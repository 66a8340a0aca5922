//! Which digests of a whole upload are asked for, and what they have to be (RUFH, section 8.1).

use crate::model::{Algorithm, Digest, Refusal, Upload, WholeDigest};

/// What is asked for when an upload is made: by its client, and by the application.
pub(crate) fn of_creation(
    told: Option<Algorithm>,
    wanted: Option<Algorithm>,
    expected: Option<&Digest>,
) -> Vec<WholeDigest> {
    let mut digests = Vec::new();
    if let Some(algorithm) = wanted {
        entry(&mut digests, algorithm).told = told == wanted;
    }
    if let Some(expected) = expected {
        expect(&mut digests, expected);
    }
    digests
}

/// What a request newly says that the upload has to be.
///
/// # Errors
///
/// If that contradicts what was said before, or what the upload is.
pub(crate) fn newly_expected(
    upload: &Upload,
    expected: Option<&Digest>,
) -> Result<Option<Digest>, Refusal> {
    let Some(expected) = expected else { return Ok(None) };
    let same = |digest: &&WholeDigest| digest.algorithm == expected.algorithm;
    let known = upload.digests.iter().find(same);
    match known.and_then(|known| known.value.as_ref().or(known.expected.as_ref())) {
        Some(known) if known == expected => Ok(None),
        Some(_) => {
            Err(Refusal::Contradiction("The digest of the upload was said to be another one."))
        }
        None => Ok(Some(expected.clone()).filter(|_| upload.is_open())),
    }
}

/// Notes what the upload has to be.
pub(crate) fn expect(digests: &mut Vec<WholeDigest>, expected: &Digest) {
    entry(digests, expected.algorithm).expected = Some(expected.clone());
}

/// Takes the values for what was asked for and not known yet; `None` if one is not what it has to be, or is not
/// known although it has to be something.
pub(crate) fn conclude(digests: &[WholeDigest], values: &[Digest]) -> Option<Vec<WholeDigest>> {
    let concluded = digests.iter().map(|asked| {
        let value = values.iter().find(|value| value.algorithm == asked.algorithm);
        let value = value.or(asked.value.as_ref());
        let holds = asked.expected.is_none() || asked.expected.as_ref() == value;
        holds.then(|| WholeDigest { state: None, value: value.cloned(), ..asked.clone() })
    });
    concluded.collect()
}

fn entry(digests: &mut Vec<WholeDigest>, algorithm: Algorithm) -> &mut WholeDigest {
    let position = digests.iter().position(|digest| digest.algorithm == algorithm);
    let position = position.unwrap_or_else(|| {
        digests.push(WholeDigest::new(algorithm));
        digests.len() - 1
    });
    // It was found there, or has just been put there.
    #[allow(clippy::indexing_slicing, reason = "the position is that of an entry")]
    &mut digests[position]
}

#[cfg(test)]
mod tests {
    use super::*;
    use Algorithm::{Md5, Sha256, Sha512};

    fn digest(algorithm: Algorithm, byte: u8) -> Digest {
        Digest { algorithm, value: vec![byte; algorithm.size()] }
    }

    #[test]
    fn one_algorithm_is_computed_once_for_everybody() {
        let expected = digest(Sha256, 1);
        let both = of_creation(Some(Sha256), Some(Sha256), Some(&expected));
        let mut asked = WholeDigest::new(Sha256);
        (asked.told, asked.expected) = (true, Some(expected.clone()));
        assert_eq!(both, [asked]);
        // The application wants another one than its client does, who is told none then.
        let two = of_creation(Some(Sha256), Some(Sha512), Some(&expected));
        assert_eq!(two.iter().map(|d| d.algorithm).collect::<Vec<_>>(), [Sha512, Sha256]);
        assert!(two.iter().all(|digest| !digest.told));
        assert_eq!(of_creation(Some(Sha256), None, None), []);
    }

    #[test]
    fn only_what_holds_is_concluded() {
        let asked = of_creation(None, Some(Sha512), Some(&digest(Sha256, 1)));
        let right = [digest(Sha256, 1), digest(Sha512, 2)];
        let concluded = conclude(&asked, &right).unwrap();
        assert_eq!(concluded.iter().filter_map(|d| d.value.clone()).count(), 2);
        assert_eq!(conclude(&asked, &[digest(Sha256, 2), digest(Sha512, 2)]), None);
        // What cannot be computed proves nothing, and was not promised to anybody.
        assert_eq!(conclude(&asked, &[digest(Sha512, 2)]), None);
        assert!(conclude(&asked, &[digest(Sha256, 1)]).is_some());
        assert_eq!(conclude(&[], &[digest(Md5, 1)]), Some(Vec::new()));
    }
}
