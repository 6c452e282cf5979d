//! Receipts out of numbers: the same on every machine.

use openledger_chain::settlement::Claim;
use openledger_core::{
    Address, Amount, B256, DatanetId, DatanetVersion, Receipt, RowId, RowShare, Shares, U256,
    keccak256,
    share::{WHOLE, split},
};

/// How many rows share an answer.
pub(crate) const ROWS: u64 = 8;

/// The `n`-th account.
pub(crate) fn account(n: u64) -> Address {
    Address::from_slice(&keccak256(n.to_be_bytes())[12..])
}

/// What `accounts` accounts claimed before.
pub(crate) fn claims(accounts: u64) -> impl Iterator<Item = Claim> {
    (0..accounts).map(|n| Claim { account: account(n), cumulative: Amount::from(n + 1) })
}

/// The `n`-th receipt: [`ROWS`] rows of as many contributors out of `accounts`, a fee near 1 OPEN.
pub(crate) fn receipt(n: u64, accounts: &[Address]) -> Receipt {
    let mut seed = n;
    let mut draw = |below: u64| {
        // SplitMix64 (Steele et al., 2014).
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed ^ (n << 32);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    };
    let weights: Vec<u64> = (0..ROWS).map(|_| 1 + draw(1_000)).collect();
    let parts = split(WHOLE.into(), &weights).expect("weights above zero");
    let rows = parts.iter().map(|part| {
        let person = usize::try_from(draw(accounts.len() as u64)).expect("an index");
        RowShare {
            row: RowId::from(B256::from(U256::from(draw(u64::MAX)) << 64 | U256::from(n))),
            datanet: DatanetId::from(B256::repeat_byte(1)),
            contributor: accounts[person],
            weight: part.units().to(),
        }
    });
    let datanet = DatanetId::from(B256::repeat_byte(1));
    Receipt {
        model: B256::repeat_byte(2).into(),
        adapter: B256::repeat_byte(3).into(),
        datanets: vec![DatanetVersion { datanet, version: 7, root: B256::repeat_byte(4) }],
        method: "datainf lambda=0.1".to_owned(),
        prompt: B256::from(U256::from(n)),
        output: B256::from(U256::from(n)),
        tokens_in: 200,
        tokens_out: 100,
        shares: Shares::new(rows.collect()).expect("rows differ"),
        fee: Amount::from(1_000_000_000_000_000_000 + draw(1_000_000)),
        payer: accounts[usize::try_from(n % 10_000).expect("an index") % accounts.len()],
        node: Address::repeat_byte(5),
        nonce: U256::from(n),
        deadline: u64::MAX,
    }
}
