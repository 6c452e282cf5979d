//! Which pages hold which beginnings of texts.
//!
//! A [`Chain`] names everything up to the end of a page: whose cache, which adapter by content and
//! form, every token. What follows a chain is found by its tokens, in order, so that the neighbours of a text are
//! those that share most of its beginning.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use openledger_core::AdapterId;
use openledger_kernels::PAGE;

use super::pages::PageId;
use crate::{
    AdapterPrecision,
    lease::{Form, Numbers},
};

/// A hash of a tenant, an adapter and all tokens up to a page's end.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Chain([u8; 32]);

impl Chain {
    /// Begins a text.
    pub(super) fn new(tenant: Option<&str>, adapter: Option<Numbers>) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("openledger-serve prefix cache 1");
        // Fixed lengths first, so that no two pairs are written alike.
        let form = match adapter.map(|adapter| adapter.form) {
            None => 0,
            Some(Form::Pairs(AdapterPrecision::F32)) => 1,
            Some(Form::Pairs(AdapterPrecision::Bf16)) => 2,
            Some(Form::Merged) => 3,
        };
        hasher.update(&[form, u8::from(tenant.is_some())]);
        let id = adapter.map(|adapter| adapter.id);
        hasher.update(id.as_ref().map_or(&[0; 32], AdapterId::as_bytes).as_slice());
        hasher.update(tenant.unwrap_or_default().as_bytes());
        Self(hasher.finalize().into())
    }

    /// Goes on by a page of tokens.
    pub(super) fn then(self, tokens: &[u32]) -> Self {
        debug_assert_eq!(tokens.len(), PAGE, "a whole page");
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for token in tokens {
            hasher.update(&token.to_le_bytes());
        }
        Self(hasher.finalize().into())
    }
}

/// What a page holds: the tokens after a chain, a whole page of them or fewer.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    after: Chain,
    tokens: Vec<u32>,
}

/// A page that is kept.
#[derive(Debug)]
struct Kept {
    place: Place,
    /// Pages before it in its text.
    depth: u32,
    /// When the last sequence that held it ended; `None` while one holds it.
    idle_since: Option<u64>,
}

/// Pages by what they hold, and those that nobody uses in the order in which they go.
///
/// The least recently used goes first; of those that became idle together, the last of the text,
/// because what follows a page that is gone cannot be found.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    by_place: BTreeMap<Place, PageId>,
    by_page: HashMap<PageId, Kept>,
    idle: BTreeSet<(u64, Reverse<u32>, PageId)>,
}

impl Prefixes {
    /// Finds the page that shares the longest beginning with `tokens` after a chain, and how many
    /// tokens that is, at least one.
    pub(super) fn longest(&self, after: Chain, tokens: &[u32]) -> Option<(PageId, usize)> {
        let sought = Place { after, tokens: tokens.to_vec() };
        let before = self.by_place.range(..=&sought).next_back();
        let behind = self.by_place.range(&sought..).next();
        before
            .into_iter()
            .chain(behind)
            .filter(|(place, _)| place.after == after)
            .map(|(place, &page)| (page, common(&place.tokens, tokens)))
            .filter(|&(_, shared)| shared > 0)
            .max_by_key(|&(_, shared)| shared)
    }

    /// Returns the page that holds just these tokens after a chain.
    pub(super) fn get(&self, after: Chain, tokens: &[u32]) -> Option<PageId> {
        self.by_place.get(&Place { after, tokens: tokens.to_vec() }).copied()
    }

    /// Keeps a page under what it holds, which no other page may; returns a page that held a
    /// beginning of the same tokens and is kept no longer.
    pub(super) fn insert(
        &mut self,
        after: Chain,
        tokens: &[u32],
        page: PageId,
        depth: usize,
    ) -> Option<PageId> {
        let place = Place { after, tokens: tokens.to_vec() };
        let shorter = self.by_place.range(..&place).next_back().and_then(|(other, &page)| {
            let begins = other.after == after && tokens.starts_with(&other.tokens);
            begins.then_some(page)
        });
        if let Some(shorter) = shorter {
            self.forget(shorter);
        }
        self.by_place.insert(place.clone(), page);
        let depth = u32::try_from(depth).unwrap_or(u32::MAX);
        self.by_page.insert(page, Kept { place, depth, idle_since: None });
        shorter
    }

    /// Whether a page is kept that no sequence holds.
    pub(super) fn is_idle(&self, page: PageId) -> bool {
        self.by_page.get(&page).is_some_and(|kept| kept.idle_since.is_some())
    }

    pub(super) fn holds(&self, page: PageId) -> bool {
        self.by_page.contains_key(&page)
    }

    /// Keeps a page no longer.
    pub(super) fn forget(&mut self, page: PageId) {
        let Some(kept) = self.by_page.remove(&page) else { return };
        self.by_place.remove(&kept.place);
        if let Some(since) = kept.idle_since {
            self.idle.remove(&(since, Reverse(kept.depth), page));
        }
    }

    /// A sequence holds a page again.
    pub(super) fn used(&mut self, page: PageId) {
        let Some(kept) = self.by_page.get_mut(&page) else { return };
        if let Some(since) = kept.idle_since.take() {
            self.idle.remove(&(since, Reverse(kept.depth), page));
        }
    }

    /// No sequence holds a page any more.
    pub(super) fn unused(&mut self, page: PageId, now: u64) {
        let Some(kept) = self.by_page.get_mut(&page) else { return };
        kept.idle_since = Some(now);
        self.idle.insert((now, Reverse(kept.depth), page));
    }

    /// Gives up the page that was used least recently.
    pub(super) fn evict(&mut self) -> Option<PageId> {
        let &(_, _, page) = self.idle.first()?;
        self.forget(page);
        Some(page)
    }

    /// Returns how many pages could be given up.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }
}

/// How many tokens two texts begin with alike.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
