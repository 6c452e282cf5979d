// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// One counted ballot, as a tally commits to it.
///
/// Leaves are numbered from 0 and sorted by voter, each with the totals up to and including it, so
/// that whatever is wrong with a tally is wrong with one leaf or two neighbours.
struct Leaf {
    uint256 index;
    address voter;
    uint8 support;
    uint256 weight;
    /// Keccak-256 of the ballot's signature.
    bytes32 signatureHash;
    bytes32 reason;
    uint256 forSoFar;
    uint256 againstSoFar;
    uint256 abstainSoFar;
}

/// A leaf and its proof as OpenZeppelin's StandardMerkleTree makes it.
struct Witness {
    Leaf leaf;
    bytes32[] proof;
}

/// Votes by what they support.
struct Totals {
    uint256 forVotes;
    uint256 againstVotes;
    uint256 abstainVotes;
}

// As in OpenZeppelin's Governor.
uint8 constant AGAINST = 0;
uint8 constant FOR = 1;
uint8 constant ABSTAIN = 2;

// A tree of 2^32 ballots needs no more; what lies deeper counts as absent.
uint256 constant MAX_PROOF = 32;

/// Whether the leaf is under `root`.
function isUnder(Witness calldata w, bytes32 root) pure returns (bool) {
    return w.proof.length <= MAX_PROOF && MerkleProof.verifyCalldata(w.proof, root, hashOf(w.leaf));
}

function hashOf(Leaf calldata leaf) pure returns (bytes32) {
    return keccak256(bytes.concat(keccak256(abi.encode(leaf))));
}

/// Whether the totals of `leaf` are `before` and its own weight. Sums wrap: a leaf that says
/// anything can then be judged, and where every weight is right none comes near to 2^256.
function continues(Leaf calldata leaf, Totals memory before) pure returns (bool) {
    unchecked {
        return leaf.forSoFar == before.forVotes + (leaf.support == FOR ? leaf.weight : 0)
            && leaf.againstSoFar == before.againstVotes + (leaf.support == AGAINST ? leaf.weight : 0)
            && leaf.abstainSoFar == before.abstainVotes + (leaf.support == ABSTAIN ? leaf.weight : 0);
    }
}

function totalsOf(Leaf calldata leaf) pure returns (Totals memory) {
    return Totals({forVotes: leaf.forSoFar, againstVotes: leaf.againstSoFar, abstainVotes: leaf.abstainSoFar});
}

/// The next leaf, in the only way two neighbours may stand.
function follows(Leaf calldata next, Leaf calldata leaf) pure returns (bool) {
    return next.voter > leaf.voter && continues(next, totalsOf(leaf));
}

function equal(Totals memory a, Totals memory b) pure returns (bool) {
    return a.forVotes == b.forVotes && a.againstVotes == b.againstVotes && a.abstainVotes == b.abstainVotes;
}

function sum(Totals memory t) pure returns (uint256) {
    return t.forVotes + t.againstVotes + t.abstainVotes;
}

/// The neighbour after it, whatever the indices claim.
function precedes(Leaf calldata leaf, Leaf calldata next) pure returns (bool) {
    return next.index > leaf.index && next.index - leaf.index == 1;
}

using {equal, sum} for Totals global;
using {isUnder} for Witness global;
using {continues, follows, hashOf, precedes, totalsOf} for Leaf global;
