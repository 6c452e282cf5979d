// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// A vote in two steps: first everybody commits, then everybody reveals.
///
/// Nobody can follow the crowd, and a commitment names its voter, so a copied one cannot be revealed.
abstract contract Ballots {
    struct Ballot {
        bytes32 commitment;
        uint120 weight;
        /// Weight revealed earlier for the same side: where this voter's part of a pot begins.
        uint120 before;
        bool upheld;
        bool paid;
    }

    struct Sides {
        uint120 upheld;
        uint120 dismissed;
    }

    mapping(uint256 id => mapping(address voter => Ballot)) public ballots;
    mapping(uint256 id => Sides) public sides;

    event Committed(uint256 indexed id, address indexed voter, bytes32 commitment);
    event Revealed(uint256 indexed id, address indexed voter, bool upheld, uint120 weight);

    error CommitmentEmpty();
    error AlreadyCommitted(uint256 id, address voter);
    error AlreadyRevealed(uint256 id, address voter);
    error CommitmentUnmatched(uint256 id, address voter);

    /// What `voter` commits to for a choice and a salt that only the voter knows.
    function commitmentOf(uint256 id, address voter, bool upheld, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), id, voter, upheld, salt));
    }

    function _commit(uint256 id, address voter, bytes32 commitment) internal {
        if (commitment == bytes32(0)) revert CommitmentEmpty();
        Ballot storage b = ballots[id][voter];
        if (b.commitment != bytes32(0)) revert AlreadyCommitted(id, voter);
        b.commitment = commitment;
        emit Committed(id, voter, commitment);
    }

    /// Counts a ballot; `weight` is not zero, which also marks it as revealed.
    function _reveal(uint256 id, address voter, bool upheld, bytes32 salt, uint120 weight) internal {
        Ballot storage b = ballots[id][voter];
        if (b.weight != 0) revert AlreadyRevealed(id, voter);
        if (b.commitment == bytes32(0) || b.commitment != commitmentOf(id, voter, upheld, salt)) {
            revert CommitmentUnmatched(id, voter);
        }
        Sides storage s = sides[id];
        (b.weight, b.upheld, b.before) = (weight, upheld, upheld ? s.upheld : s.dismissed);
        if (upheld) s.upheld += weight;
        else s.dismissed += weight;
        emit Revealed(id, voter, upheld, weight);
    }

    /// A voter's part of `pot`, by weight. The parts of a side are the steps between roundings of a
    /// running sum, so they sum to the pot exactly and do not depend on who asks first.
    function _part(uint256 pot, Ballot memory b, uint256 sideWeight) internal pure returns (uint256) {
        return Math.mulDiv(pot, uint256(b.before) + b.weight, sideWeight) - Math.mulDiv(pot, b.before, sideWeight);
    }
}
