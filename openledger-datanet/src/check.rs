//! Judging rows one by one.

use std::{fmt, sync::Arc};

use crate::Draft;

/// Judges a row by itself. Implement this, or pass a closure; call [`Checks`].
///
/// # Contract
/// - Pure: the same draft gets the same finding, whatever came before.
/// - The reason of a refusal says what to change, to a person who sees only the row.
///
/// # Examples
/// ```
/// use openledger_datanet::{Checks, Draft, Finding, Origin};
/// use openledger_core::Row;
///
/// let polite = |draft: &Draft| match draft.row.completion().contains("please") {
///     true => Finding::Pass,
///     false => Finding::Refuse("say please".to_owned()),
/// };
/// let checks = Checks::default().with("polite", polite);
/// let draft = Draft::new(Row::passage("Knead the dough.")?, Origin::new("rows.txt", 1));
/// assert_eq!(checks.check(&draft), Finding::Refuse("polite: say please".to_owned()));
/// # Ok::<(), openledger_core::Error>(())
/// ```
pub trait Check: Send + Sync {
    /// Judges `draft`.
    fn check(&self, draft: &Draft) -> Finding;
}

impl<F: Fn(&Draft) -> Finding + Send + Sync> Check for F {
    fn check(&self, draft: &Draft) -> Finding {
        self(draft)
    }
}

/// What a check says of a row.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// Nothing is wrong.
    Pass,
    /// The row stays out, for the reason given.
    Refuse(String),
}

/// Named checks, asked in turn.
#[derive(Clone)]
pub struct Checks(Vec<(&'static str, Arc<dyn Check>)>);

impl Default for Checks {
    /// [`NoControlCharacters`].
    fn default() -> Self {
        Self::none().with("text", NoControlCharacters)
    }
}

impl Checks {
    /// No checks.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// Returns this with one check more.
    #[must_use]
    pub fn with(mut self, name: &'static str, check: impl Check + 'static) -> Self {
        self.0.push((name, Arc::new(check)));
        self
    }

    /// Returns the first refusal with its check's name, or [`Finding::Pass`].
    pub fn check(&self, draft: &Draft) -> Finding {
        let findings = self.0.iter().map(|(name, check)| (name, check.check(draft)));
        findings
            .filter_map(|(name, finding)| match finding {
                Finding::Pass => None,
                Finding::Refuse(reason) => Some(Finding::Refuse(format!("{name}: {reason}"))),
            })
            .next()
            .unwrap_or(Finding::Pass)
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// Refuses control characters other than line breaks and tabs: they are no text.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to configure")]
pub struct NoControlCharacters;

impl Check for NoControlCharacters {
    fn check(&self, draft: &Draft) -> Finding {
        let text = draft.row.prompt().chars().chain(draft.row.completion().chars());
        match text.filter(|c| c.is_control()).find(|c| !matches!(c, '\n' | '\t')) {
            None => Finding::Pass,
            Some(found) => Finding::Refuse(format!("control character {}", found.escape_default())),
        }
    }
}
