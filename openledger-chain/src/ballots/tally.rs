//! Counting ballots, and finding what is wrong with a count.

use std::collections::{BTreeMap, btree_map::Entry};

use alloy::sol_types::SolValue;
use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{
    Address, B256, Bytes, Error, ErrorKind, Result, U256, decode, encode, keccak256,
    merkle::{Leaf, StandardTree},
    message::{Domain, Signature},
};
use serde_json::Value;

use super::ballot::{SignedBallot, digest};

/// The ballots of one proposal, as they come in.
#[derive(Clone, Debug)]
pub struct BallotBox {
    domain: Domain,
    proposal: U256,
    ballots: BTreeMap<Address, SignedBallot>,
}

impl BallotBox {
    /// Opens a box for the ballots on `proposal` that are signed for `domain`.
    pub const fn new(domain: Domain, proposal: U256) -> Self {
        Self { domain, proposal, ballots: BTreeMap::new() }
    }

    /// Takes a ballot. A voter's first ballot counts: whoever gathers ballots must not be able to choose.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] for a ballot on another proposal, signed for another box, or of a voter
    /// whose ballot is in the box already.
    pub fn add(&mut self, signed: SignedBallot) -> Result<()> {
        let ballot = signed.ballot();
        if ballot.proposal != self.proposal {
            let message =
                format!("a ballot on {}, this is the box of {}", ballot.proposal, self.proposal);
            return Err(Error::new(ErrorKind::Denied, message));
        }
        let signed = SignedBallot::new(*ballot, *signed.signature(), &self.domain)?;
        match self.ballots.entry(ballot.voter) {
            Entry::Occupied(_) => {
                let message = format!("{} has voted already", ballot.voter);
                Err(Error::new(ErrorKind::Denied, message))
            }
            Entry::Vacant(place) => {
                place.insert(signed);
                Ok(())
            }
        }
    }

    /// Returns who voted so far, by ascending address.
    pub fn voters(&self) -> impl Iterator<Item = Address> {
        self.ballots.keys().copied()
    }

    /// Counts the ballots with the weights their voters had at the proposal's snapshot; voters without
    /// weight are left out.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if nobody has weight or the weights pass 2^256, as no token's do.
    pub fn count(&self, weights: &BTreeMap<Address, U256>) -> Result<Tally> {
        let weighed = self.ballots.values().filter_map(|signed| {
            let weight = *weights.get(&signed.ballot().voter)?;
            (weight > U256::ZERO).then_some((signed, weight))
        });
        let (mut totals, mut sum) = (Totals::default(), U256::ZERO);
        let mut ballots = Vec::new();
        for (index, (signed, weight)) in (0..).zip(weighed) {
            let ballot = signed.ballot();
            sum = sum
                .checked_add(weight)
                .ok_or_else(|| Error::invalid("the weights of all ballots pass 2^256"))?;
            totals = totals.with(ballot.support as u8, weight);
            ballots.push(CountedBallot {
                index,
                voter: ballot.voter,
                support: ballot.support as u8,
                weight,
                reason: ballot.reason,
                so_far: totals,
                signature: *signed.signature(),
            });
        }
        Tally::new(ballots, totals)
    }
}

/// Weight by side.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there are these sides")]
pub struct Totals {
    /// For.
    pub for_votes: U256,
    /// Against.
    pub against: U256,
    /// Neither.
    pub abstain: U256,
}

impl Totals {
    /// Returns the totals after one more ballot, as the contract judges them: an unknown side adds
    /// nothing and sums wrap. What that hides is a wrong ballot by itself.
    fn with(self, support: u8, weight: U256) -> Self {
        let mut after = self;
        let side = match support {
            0 => &mut after.against,
            1 => &mut after.for_votes,
            2 => &mut after.abstain,
            _ => return after,
        };
        *side = side.wrapping_add(weight);
        after
    }
}

/// A ballot in a tally: a leaf of its tree, and the signature the leaf names by its hash.
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the leaf is fixed by deployed contracts")]
pub struct CountedBallot {
    /// Its place by ascending voter, from zero.
    pub index: u64,
    /// Who voted.
    pub voter: Address,
    /// How: 0 against, 1 for, 2 abstain.
    pub support: u8,
    /// The voter's votes at the snapshot.
    pub weight: U256,
    /// Digest of a published reason.
    pub reason: B256,
    /// The totals up to this ballot, itself included.
    pub so_far: Totals,
    /// The voter's signature.
    pub signature: Signature,
}

impl Leaf for CountedBallot {
    const ENCODING: &'static [&'static str] = &[
        "uint256", "address", "uint8", "uint256", "bytes32", "bytes32", "uint256", "uint256",
        "uint256",
    ];

    fn abi_encode(&self) -> Vec<u8> {
        let leaf = (
            U256::from(self.index),
            self.voter,
            U256::from(self.support),
            self.weight,
            self.signature_hash(),
            self.reason,
            self.so_far.for_votes,
            self.so_far.against,
            self.so_far.abstain,
        );
        leaf.abi_encode_params()
    }

    fn to_json(&self) -> Vec<Value> {
        vec![
            self.index.to_string().into(),
            self.voter.to_string().into(),
            self.support.into(),
            self.weight.to_string().into(),
            self.signature_hash().to_string().into(),
            self.reason.to_string().into(),
            self.so_far.for_votes.to_string().into(),
            self.so_far.against.to_string().into(),
            self.so_far.abstain.to_string().into(),
        ]
    }

    fn from_json(_: &[Value]) -> Result<Self> {
        // A leaf names its signature by hash only.
        Err(Error::new(ErrorKind::Unsupported, "a tally is read from its body, not from a dump"))
    }
}

impl CountedBallot {
    /// Returns the hash of the signature, as the leaf has it.
    pub fn signature_hash(&self) -> B256 {
        keccak256(self.signature.as_bytes())
    }
}

/// What somebody says the outcome is: all counted ballots, their tree, the totals.
///
/// Whoever submits one publishes [`body`](Self::body); whoever wants to check it reads that with
/// [`parse`](Self::parse), compares the root with the chain's, takes over the chain's count and totals
/// ([`with_claim`](Self::with_claim)) and looks for [`faults`](Self::faults).
#[derive(Clone, Debug)]
pub struct Tally {
    ballots: Vec<CountedBallot>,
    count: u64,
    totals: Totals,
    tree: StandardTree<CountedBallot>,
}

/// A step of a tally that is wrong, with what proves it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The ballot at this place has a wrong signature, an unknown side or a wrong weight, which none is too.
    Ballot(usize),
    /// The ballots at these places share an index, or are neighbours out of order or whose totals do
    /// not follow from each other.
    Order(usize, usize),
    /// The first or last ballot, or one beyond the count, contradicts the claimed totals.
    Ends(usize),
    /// No ballot has this index, the first of a gap.
    Missing(u64),
}

/// Ballots of one tally that are read.
const BALLOTS: usize = 1 << 20;

impl Tally {
    /// Makes a tally of ballots and totals as somebody claims them; nothing is checked, because the claim
    /// may be another's.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without ballots, [`ErrorKind::Limit`] with more than a million.
    pub fn new(ballots: Vec<CountedBallot>, totals: Totals) -> Result<Self> {
        if ballots.len() > BALLOTS {
            let message = format!("{} ballots, at most {BALLOTS} in a tally", ballots.len());
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let tree = StandardTree::new(ballots.clone())?;
        let count = ballots.len() as u64;
        Ok(Self { ballots, count, totals, tree })
    }

    /// Returns this with the count and the totals that were claimed on chain, which need not be those
    /// of the body.
    #[must_use]
    pub fn with_claim(self, count: u64, totals: Totals) -> Self {
        Self { count, totals, ..self }
    }

    /// Reads a published body.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is none; those of [`new`](Self::new).
    pub fn parse(body: &[u8]) -> Result<Self> {
        let (totals, ballots): (Totals, Vec<CountedBallot>) = decode(body)?;
        Self::new(ballots, totals)
    }

    /// Returns the bytes to publish; their keccak-256 goes on chain with the root.
    pub fn body(&self) -> Bytes {
        encode(&(self.totals, &self.ballots)).into()
    }

    /// Returns the root of the ballots.
    pub fn root(&self) -> B256 {
        self.tree.root()
    }

    /// Returns how many ballots it claims.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the totals it claims.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// Returns the ballots.
    pub fn ballots(&self) -> &[CountedBallot] {
        &self.ballots
    }

    /// Returns the proof of the ballot at `place`.
    pub fn proof(&self, place: usize) -> Vec<B256> {
        self.tree.proof(place)
    }

    /// Finds everything wrong with it, given the weights voters had at the snapshot; nothing for an
    /// honest tally. Whatever is found, the chain finds wrong as well.
    pub fn faults(
        &self,
        domain: &Domain,
        proposal: U256,
        weights: &BTreeMap<Address, U256>,
    ) -> Vec<Fault> {
        let places = 0..self.ballots.len();
        let wrong = places.clone().filter(|&place| {
            let ballot = &self.ballots[place];
            let signed = digest(domain, proposal, ballot.voter, ballot.support, ballot.reason);
            let weight = weights.get(&ballot.voter).copied().unwrap_or_default();
            ballot.signature.recover(signed) != Ok(ballot.voter)
                || ballot.support > 2
                || ballot.weight != weight
                || weight.is_zero()
        });
        let mut faults: Vec<Fault> = wrong.map(Fault::Ballot).collect();

        let mut by_index: Vec<usize> = places.collect();
        by_index.sort_by_key(|&place| self.ballots[place].index);
        let pairs = by_index.windows(2).filter(|pair| {
            let [before, after] = [pair[0], pair[1]].map(|place| &self.ballots[place]);
            let follows = before.so_far.with(after.support, after.weight);
            match before.index.checked_add(1) {
                // Two equal leaves contradict nothing; then another index is missing, or past the last.
                _ if before.index == after.index => before != after,
                Some(next) if next == after.index => {
                    before.voter >= after.voter || follows != after.so_far
                }
                _ => false,
            }
        });
        faults.extend(pairs.map(|pair| Fault::Order(pair[0], pair[1])));

        let count = self.count;
        let ends = by_index.iter().copied().filter(|&place| {
            let ballot = &self.ballots[place];
            let first = Totals::default().with(ballot.support, ballot.weight);
            ballot.index >= count
                || (ballot.index == 0 && first != ballot.so_far)
                || (ballot.index + 1 == count && ballot.so_far != self.totals)
        });
        faults.extend(ends.map(Fault::Ends));
        // The first of each gap: a claim of 2^32 ballots must not take the memory of as many faults.
        let mut expected = 0;
        let present = by_index.iter().map(|&place| self.ballots[place].index);
        for index in present.filter(|&index| index < count).chain([count]) {
            if index > expected {
                faults.push(Fault::Missing(expected));
            }
            expected = expected.max(index.saturating_add(1));
        }
        faults
    }
}
