use openledger_kernels::{Heads, PageLayout};
use proptest::prelude::*;

use super::*;
use crate::engine::pages::Rows;

fn cache(pages: usize, keeps: bool) -> Cache {
    let heads = [Heads::new(1, 1, 1), Heads::new(1, 1, 2).with_value_dim(1)];
    let layouts = heads.map(|heads| PageLayout::new(&heads));
    let page: usize = layouts.iter().map(|layout| layout.len() * 4).sum();
    Cache::new(layouts, pages * page, keeps).unwrap()
}

/// A text under way, and what stands for computing it: the mark of a token depends on all before it.
struct Text {
    tenant: &'static str,
    tokens: Vec<u32>,
    table: Table,
}

impl Text {
    fn begin(cache: &mut Cache, tenant: &'static str, tokens: &[u32]) -> Self {
        let mut table = Table::new(Chain::new(Some(tenant), None));
        cache.find(&mut table, tokens);
        Self { tenant, tokens: tokens.to_vec(), table }
    }

    fn mark(&self, at: usize) -> f32 {
        let start = self.tenant.len() as u32;
        let mix = |sum: u32, &token: &u32| (sum ^ token).wrapping_mul(0x0100_0193);
        (self.tokens[..=at].iter().fold(start, mix) >> 8) as f32
    }

    /// Computes up to `more` tokens; `false` if there were no pages for them.
    fn compute(&mut self, cache: &mut Cache, more: usize) -> bool {
        let more = more.min(self.tokens.len() - self.table.len());
        if more == 0 {
            return true;
        }
        if !cache.grow(&mut self.table, more) {
            return false;
        }
        for at in self.table.len()..self.table.len() + more {
            let mark = self.mark(at);
            let page = self.table.pages()[at / PAGE];
            let slot = at % PAGE;
            let layers = [(vec![mark], -mark), (vec![mark; 2], 1.0)];
            for (layer, (keys, value)) in layers.iter().enumerate() {
                let rows = Rows { page, slot, keys, values: &[*value] };
                cache.pool_mut().layer_mut(layer).write(vec![rows]);
            }
        }
        cache.wrote(&mut self.table, more, &self.tokens);
        true
    }

    /// Whether its pages hold what computing it alone would have written.
    fn is_intact(&self, cache: &Cache) -> bool {
        (0..self.table.len()).all(|at| {
            let (page, slot) = (self.table.pages()[at / PAGE], at % PAGE);
            let [first, second] = [0, 1].map(|layer| cache.pool.layer(layer).page(page));
            // Keys lie element by element, 16 tokens each.
            [first[slot], second[slot], second[PAGE + slot]] == [self.mark(at); 3]
        })
    }

    fn end(self, cache: &mut Cache) {
        cache.close(self.table, &self.tokens);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Texts of few different tokens begin alike all the time; whatever is shared, copied, evicted or
    /// taken over, each reads its own marks, and in the end every page is available.
    #[test]
    fn every_text_reads_what_it_would_have_computed(
        pages in 1..12usize,
        keeps in any::<bool>(),
        turns in proptest::collection::vec(
            (0..5u8, any::<bool>(), any::<prop::sample::Index>(), 1..40usize, 0..4u32), 1..120,
        ),
    ) {
        let mut cache = cache(pages, keeps);
        let mut texts: Vec<Text> = Vec::new();
        for (what, other, which, count, pattern) in turns {
            match what {
                0 | 1 => {
                    // Long runs alike, then a difference somewhere.
                    let token = |at: usize| u32::from(at + 3 * pattern as usize >= count) * pattern;
                    let tokens: Vec<u32> = (0..count).map(token).collect();
                    let tenant = if other { "a" } else { "bb" };
                    let lacks = cache.lacks(Chain::new(Some(tenant), None), &tokens);
                    let before = cache.available();
                    let text = Text::begin(&mut cache, tenant, &tokens);
                    let needs = pages_for(tokens.len()) - text.table.pages().len();
                    prop_assert_eq!(lacks, needs + before - cache.available());
                    texts.push(text);
                }
                _ if texts.is_empty() => {}
                2 => {
                    let place = which.index(texts.len());
                    if !texts[place].compute(&mut cache, count) {
                        texts.swap_remove(place).end(&mut cache);
                    }
                }
                3 => {
                    // What was written goes on from a whole text.
                    let place = which.index(texts.len());
                    if texts[place].table.len() == texts[place].tokens.len() {
                        texts[place].tokens.push(pattern);
                    }
                }
                _ => texts.swap_remove(which.index(texts.len())).end(&mut cache),
            }
            for text in &texts {
                prop_assert!(text.is_intact(&cache));
            }
            let mut used: Vec<PageId> =
                texts.iter().flat_map(|text| text.table.pages()).copied().collect();
            used.sort();
            used.dedup();
            prop_assert_eq!(cache.available(), pages - used.len());
        }
        texts.into_iter().for_each(|text| text.end(&mut cache));
        prop_assert_eq!(cache.available(), pages);
        prop_assert!(keeps || cache.idle() == 0);
    }

    /// Alone, a text that fits gets its pages whatever was kept before.
    #[test]
    fn who_is_alone_gets_every_page(
        pages in 1..6usize,
        lengths in proptest::collection::vec(1..97usize, 1..12),
    ) {
        let mut cache = cache(pages, true);
        for length in lengths {
            let tokens = vec![7; length.min(pages * PAGE)];
            let mut text = Text::begin(&mut cache, "a", &tokens);
            prop_assert!(text.compute(&mut cache, length));
            prop_assert!(text.is_intact(&cache));
            text.end(&mut cache);
        }
    }
}

/// Computes a text and ends it; returns how much of it was found.
fn run(cache: &mut Cache, tenant: &'static str, tokens: &[u32]) -> usize {
    let mut text = Text::begin(cache, tenant, tokens);
    let found = text.table.len();
    assert!(text.compute(cache, tokens.len()));
    assert!(text.is_intact(cache));
    text.end(cache);
    found
}

#[test]
fn a_text_is_found_up_to_its_last_token_and_by_its_tenant_alone() {
    let mut cache = cache(20, true);
    let tokens: Vec<u32> = (0..40).collect();
    assert_eq!(run(&mut cache, "a", &tokens), 0);
    assert_eq!(run(&mut cache, "a", &tokens), 39);
    assert_eq!(run(&mut cache, "a", &tokens[..32]), 31);
    assert_eq!(run(&mut cache, "a", &[&tokens[..20], &[99; 9]].concat()), 20);
    assert_eq!(run(&mut cache, "bb", &tokens), 0);
    // Two pages and a part of each tenant, and a branch after 16 tokens.
    assert_eq!((cache.idle(), cache.available()), (7, 20));
}

#[test]
fn two_who_compute_the_same_end_with_the_same_pages() {
    let mut cache = cache(4, true);
    let tokens = vec![1; 32];
    let mut texts = [(); 2].map(|()| Text::begin(&mut cache, "a", &tokens));
    for text in &mut texts {
        assert!(text.compute(&mut cache, 32));
    }
    assert_eq!(texts[0].table.pages(), texts[1].table.pages());
    assert_eq!(cache.available(), 2);
    texts.into_iter().for_each(|text| text.end(&mut cache));
}

#[test]
fn the_end_of_the_longest_unused_goes_first() {
    let mut cache = cache(4, true);
    let [old, new] = [1, 2].map(|token| vec![token; 33]);
    assert_eq!(run(&mut cache, "a", &old[..32]), 0);
    assert_eq!(run(&mut cache, "a", &new[..32]), 0);
    assert_eq!(run(&mut cache, "a", &[3; 16]), 0);
    let found = |cache: &mut Cache, tokens: &[u32]| {
        let text = Text::begin(cache, "a", tokens);
        let found = text.table.len();
        text.end(cache);
        found
    };
    assert_eq!(found(&mut cache, &new), 32);
    assert_eq!(found(&mut cache, &old), 16);
}
