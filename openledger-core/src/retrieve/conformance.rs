//! The contract of retrieval, executable: every index runs [`check`].

use std::collections::BTreeSet;

use super::Retrieve;

/// Checks `index` against the contract of [`Retrieve`] with queries of which at least one finds at
/// least two rows.
///
/// # Panics
/// On the first line of the contract that does not hold.
pub async fn check(index: &dyn Retrieve, queries: &[&str]) {
    let mut most = 0;
    for query in queries {
        let found = index.retrieve(query, 64).await.expect("a query is answered");
        most = most.max(found.len());
        assert!(found.len() <= 64, "no more rows than asked for");
        assert!(found.iter().all(|passage| passage.score.is_finite()), "scores are numbers");
        let descends = found.windows(2).all(|pair| pair[0].score >= pair[1].score);
        assert!(descends, "the most relevant comes first: {found:?}");
        let names: BTreeSet<_> = found.iter().map(|passage| passage.row).collect();
        assert_eq!(names.len(), found.len(), "no row comes twice");
        let again = index.retrieve(query, 64).await.expect("a query is answered");
        assert_eq!(again, found, "the same query finds the same");
        for limit in [0, 1] {
            let fewer = index.retrieve(query, limit).await.expect("a query is answered");
            assert!(fewer.len() <= limit, "no more rows than asked for");
        }
    }
    assert!(most >= 2, "none of the queries finds two rows: nothing was checked");
    let nothing = index.retrieve("", 8).await.expect("an empty query is no error");
    assert!(nothing.len() <= 8, "no more rows than asked for");
}
