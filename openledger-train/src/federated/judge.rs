//! Which updates of a round count, and for how much.

use openledger_core::{
    Bytes, ErrorKind,
    message::{LocalUpdate, Signed},
};

use super::{Defence, HeldOut, Matrices, Outcome, Reason, UpdateRecord};

/// Norms are compared from this many updates on: of two, either may be the lie.
const NORMS_FROM: usize = 3;

/// Where a round stands when it closes.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub(super) defence: &'a Defence,
    pub(super) start: &'a Matrices,
    /// What measures, and the loss of the start.
    pub(super) held_out: Option<(&'a dyn HeldOut, f64)>,
}

/// An update on its way through the checks.
struct Case {
    signed: Signed<LocalUpdate>,
    update: Result<Matrices, Reason>,
    norm: Option<f64>,
    loss: Option<f64>,
}

impl Judge<'_> {
    /// Judges what came, sorted by worker; returns the record of each, and the elements and weights of
    /// those that count.
    pub(super) fn judge<'b>(
        &self,
        received: impl Iterator<Item = (&'b Signed<LocalUpdate>, &'b Bytes)>,
    ) -> (Vec<UpdateRecord>, Vec<(Matrices, f64)>) {
        let mut cases: Vec<Case> =
            received.map(|(signed, bytes)| self.read(signed, bytes)).collect();
        self.compare_norms(&mut cases);
        self.try_each(&mut cases);
        let most = self.most_labels(&cases);

        let (mut records, mut counted) = (Vec::new(), Vec::new());
        for Case { signed, update, norm, loss } in cases {
            let labels = signed.unverified().labels.min(most);
            let outcome = match update {
                Ok(update) => {
                    counted.push((update, labels as f64));
                    Outcome::Counted { labels }
                }
                Err(reason) => Outcome::Refused { reason },
            };
            let [norm, loss] = [norm, loss].map(|x| x.map(|x| x as f32).filter(|x| x.is_finite()));
            records.push(UpdateRecord { signed, norm, loss, outcome });
        }
        (records, counted)
    }

    fn read(&self, signed: &Signed<LocalUpdate>, bytes: &[u8]) -> Case {
        let update = self.start.parse_like(bytes).map_err(|e| match e.kind() {
            ErrorKind::Invalid => Reason::NotFinite,
            _ => Reason::Malformed,
        });
        let norm = update.as_ref().ok().map(Matrices::norm);
        Case { signed: signed.clone(), update, norm, loss: None }
    }

    fn compare_norms(&self, cases: &mut [Case]) {
        let norms: Vec<f64> = cases.iter().filter_map(|case| case.norm).collect();
        if norms.len() < NORMS_FROM {
            return;
        }
        let middle = median(norms);
        for case in cases {
            match case.norm {
                Some(norm) if norm > self.defence.norm * middle => {
                    case.update = Err(Reason::TooLarge);
                }
                Some(norm) if norm < self.defence.idle * middle => case.update = Err(Reason::Idle),
                _ => {}
            }
        }
    }

    /// Measures each update alone.
    fn try_each(&self, cases: &mut [Case]) {
        let Some((held_out, before)) = self.held_out else { return };
        for case in &mut *cases {
            let Ok(update) = &case.update else { continue };
            // What cannot be measured is not to be had: no update may stop a round.
            let after = held_out.loss(&self.start.moved(update).to_bytes());
            case.loss = Some(after.unwrap_or(f64::INFINITY));
        }
        // Late in a run every honest update alone may be worse than the start, and their mean better: each is
        // compared with the others as well. Of an even number the lower middle, which one lie cannot raise.
        let mut losses: Vec<f64> = cases.iter().filter_map(|case| case.loss).collect();
        losses.sort_by(f64::total_cmp);
        let middle = losses.get(losses.len().saturating_sub(1) / 2).copied().unwrap_or(before);
        let usual = if middle.is_finite() { middle.max(before) } else { before };
        for case in cases {
            if case.loss.is_some_and(|after| !self.tolerates(usual, after)) {
                case.update = Err(Reason::Worsens);
            }
        }
    }

    /// Returns whether a held-out loss may become `after`.
    pub(super) fn tolerates(&self, before: f64, after: f64) -> bool {
        after <= before + before.abs() * self.defence.worsening
    }

    fn most_labels(&self, cases: &[Case]) -> u64 {
        let claims = cases.iter().filter(|case| case.update.is_ok());
        let claims: Vec<f64> = claims.map(|case| case.signed.unverified().labels as f64).collect();
        match claims.is_empty() {
            true => 0,
            #[expect(clippy::cast_sign_loss, reason = "it is one at least")]
            false => (self.defence.weight * median(claims)).max(1.0) as u64,
        }
    }
}

/// The middle, or the mean of the middle two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let [low, high] = [(values.len() - 1) / 2, values.len() / 2];
    (values[low] + values[high]) / 2.0
}
