//! Several adapters in one request.

use openledger_model::Combine;

/// Several adapters as one, by name, each with its coefficient.
///
/// The names are aliases or names of a source. What comes out has an id of its own, made of the parts'
/// contents, the coefficients and the method, and is kept and dropped like any adapter.
///
/// Parts are what their names name; of one whose files have left memory, though it is still ready, what
/// its source has now. The id tells.
///
/// # Examples
/// ```
/// use openledger_serve::Compose;
///
/// let both = Compose::sum([("law", 1.0), ("polite", 0.5)]);
/// assert_eq!(both.parts[1].0, "polite");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Compose {
    /// The names and coefficients.
    pub parts: Vec<(String, f64)>,
    /// How they become one.
    pub combine: Combine,
}

impl Compose {
    /// Combines adapters in some way.
    pub fn new<N: Into<String>>(
        combine: Combine,
        parts: impl IntoIterator<Item = (N, f64)>,
    ) -> Self {
        let parts = parts.into_iter().map(|(name, coefficient)| (name.into(), coefficient));
        Self { parts: parts.collect(), combine }
    }

    /// Adds up what adapters add, each times its coefficient: exact.
    pub fn sum<N: Into<String>>(parts: impl IntoIterator<Item = (N, f64)>) -> Self {
        Self::new(Combine::Sum, parts)
    }
}
