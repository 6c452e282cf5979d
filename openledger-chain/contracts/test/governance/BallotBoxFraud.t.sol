// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BallotBox} from "../../src/governance/BallotBox.sol";
import {Leaf, Totals} from "../../src/governance/Leaf.sol";
import {Polls} from "./Polls.sol";

/// One wrong thing always brings a tally down, and nothing brings down an honest one.
contract BallotBoxFraudTest is Polls {
    uint256 private constant FRAUDS = 22;

    uint256 private id;

    /// Some voters with some weights, and what each choices.
    function poll(uint256 seed, uint256 least) private returns (Leaf[] memory leaves, bytes[] memory signatures) {
        uint256 n = least + uint256(keccak256(abi.encode(seed, "n"))) % 5;
        uint8[] memory choices = new uint8[](n);
        for (uint256 i = 0; i < n; ++i) {
            uint256 r = uint256(keccak256(abi.encode(seed, i)));
            enroll(1 + r % 2 ** 128, 1 + (r >> 128) % 1_000_000);
            choices[i] = uint8((r >> 64) % 3);
        }
        votes.mint(address(0xB16), 2 ** 64); // so that no fraud is refused for more weight than there is
        id = openProposal(7);
        closeVoting(id);
        return count(id, choices);
    }

    function balances() private view returns (uint256) {
        return money.balanceOf(counter) + money.balanceOf(watcher) + money.balanceOf(treasury);
    }

    function testFuzz_an_honest_tally_survives_everything(uint256 seed) public {
        (Leaf[] memory leaves, bytes[] memory signatures) = poll(seed, 1);
        uint256 before = balances();
        uint64 tally = submit(id, leaves);
        assertFalse(attack(tally, leaves, signatures), "fell");
        vm.warp(box.tallyOf(tally).settlesAt);
        box.withdrawBond(tally);
        assertEq(balances(), before, "bonds out");
        assertEq(money.balanceOf(address(box)), 0, "nothing kept");
        uint256 n = leaves.length;
        assertEq(money.balanceOf(treasury), n * (DEMAND_BOND - DEMAND_BOND / 2), "demands paid for");
        assertEq(money.balanceOf(counter), 1_000_000 + n * (DEMAND_BOND / 2), "answers paid for");
    }

    function testFuzz_one_wrong_thing_brings_a_tally_down(uint256 seed, uint256 fraud) public {
        fraud %= FRAUDS;
        (Leaf[] memory leaves, bytes[] memory signatures) = poll(seed, 3);
        BallotBox.Claim memory claim;
        (leaves, signatures, claim) = corrupt(leaves, signatures, fraud, uint256(keccak256(abi.encode(seed, "where"))));
        votes.mint(address(1), 2 ** 200); // after the snapshot: changes nothing
        uint256 before = balances();
        uint64 tally = submit(id, claim);
        assertTrue(attack(tally, leaves, signatures), "stands");
        assertEq(box.proposal(id).tally, 0, "open for the next");
        assertEq(money.balanceOf(address(box)), 0, "nothing kept");
        assertEq(balances(), before, "bonds out");
        assertLe(BOND / 2, money.balanceOf(watcher) + DEMAND_BOND * leaves.length - 1_000_000, "rewarded");
    }

    /// Every kind of fraud, each at every place.
    function test_every_kind_of_fraud_falls_at_every_place() public {
        (Leaf[] memory leaves, bytes[] memory signatures) = poll(1, 4);
        for (uint256 fraud = 0; fraud < FRAUDS; ++fraud) {
            for (uint256 place = 0; place < 4; ++place) {
                Leaf[] memory wrong = abi.decode(abi.encode(leaves), (Leaf[]));
                bytes[] memory signed = abi.decode(abi.encode(signatures), (bytes[]));
                BallotBox.Claim memory claim;
                (wrong, signed, claim) = corrupt(wrong, signed, fraud, place);
                assertTrue(attack(submit(id, claim), wrong, signed), "stands");
            }
        }
    }

    function corrupt(Leaf[] memory leaves, bytes[] memory signatures, uint256 fraud, uint256 r)
        private
        view
        returns (Leaf[] memory, bytes[] memory, BallotBox.Claim memory claim)
    {
        uint256 n = leaves.length;
        uint256 k = r % n;
        Leaf memory leaf = leaves[k];
        bytes32 noise = keccak256(abi.encode(r));
        if (fraud == 0) {
            signatures[k][r % 64] ^= 0x01;
            leaf.signatureHash = keccak256(signatures[k]);
        } else if (fraud == 1) {
            leaf.signatureHash = noise; // of no signature that anybody knows
        } else if (fraud == 2) {
            leaf.support = (leaf.support + 1 + uint8(r % 2)) % 3;
            total(leaves);
        } else if (fraud == 3) {
            leaf.support = 3 + uint8(r % 253);
            total(leaves);
        } else if (fraud == 4) {
            leaf.weight += 1;
            total(leaves);
        } else if (fraud == 5) {
            leaf.weight -= 1;
            total(leaves);
        } else if (fraud == 6) {
            leaf.reason = noise;
        } else if (fraud == 7) {
            leaf.voter = address(uint160(leaf.voter) + 1);
        } else if (fraud == 8) {
            leaf.forSoFar += 1;
        } else if (fraud == 9) {
            leaf.againstSoFar += 1 + uint256(noise) % 100;
        } else if (fraud == 10) {
            unchecked {
                leaf.abstainSoFar -= 1; // wraps where it is zero
            }
        } else if (fraud == 11) {
            for (uint256 i = 0; i < n; ++i) leaves[i].forSoFar += 5; // from the first on
        } else if (fraud == 12) {
            for (uint256 i = k; i < n; ++i) leaves[i].abstainSoFar += 5; // from one on
        } else if (fraud == 13) {
            (leaves, signatures) = twice(leaves, signatures, k, k + 1); // a ballot counted twice
            total(leaves);
        } else if (fraud == 14) {
            (leaves, signatures) = twice(leaves, signatures, k, n); // counted again at the end
            total(leaves);
        } else if (fraud == 15) {
            uint256 other = (k + 1) % n; // two change places
            (leaves[k], leaves[other]) = (leaves[other], leaves[k]);
            (signatures[k], signatures[other]) = (signatures[other], signatures[k]);
            (leaves[k].index, leaves[other].index) = (k, other);
            total(leaves);
        } else if (fraud == 21) {
            leaf.support = 3; // as its voter signed
            signatures[k] = sign(keys[k], id, 3, leaf.reason);
            leaf.signatureHash = keccak256(signatures[k]);
            total(leaves);
        }
        claim = claimOf(leaves);
        if (fraud == 10) claim.totals = claimOf(refreshed(leaves)).totals;
        if (fraud == 16) claim.totals.forVotes += 1;
        if (fraud == 17) claim.count += 1;
        if (fraud == 18) claim.count -= 1;
        if (fraud == 19) {
            // a gap: one index stands twice, the next is missing
            leaves[k].index = (k + 1) % n;
            claim = claimOf(leaves);
        }
        if (fraud == 20) {
            // one more leaf than the claim, which is right without it
            Leaf memory last = leaves[n - 2];
            (claim.count, claim.totals) = (uint32(n - 1), Totals(last.forSoFar, last.againstSoFar, last.abstainSoFar));
        }
        return (leaves, signatures, claim);
    }

    function refreshed(Leaf[] memory leaves) private pure returns (Leaf[] memory copy) {
        copy = abi.decode(abi.encode(leaves), (Leaf[]));
        total(copy);
    }

    /// The `k`th leaf and signature once more at `place`.
    function twice(Leaf[] memory leaves, bytes[] memory signatures, uint256 k, uint256 place)
        private
        pure
        returns (Leaf[] memory more, bytes[] memory signed)
    {
        uint256 n = leaves.length;
        (more, signed) = (new Leaf[](n + 1), new bytes[](n + 1));
        for (uint256 i = 0; i <= n; ++i) {
            uint256 from = i == place ? k : i < place ? i : i - 1;
            more[i] = abi.decode(abi.encode(leaves[from]), (Leaf));
            more[i].index = i;
            signed[i] = signatures[from];
        }
    }
}
