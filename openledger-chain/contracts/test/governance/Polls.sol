// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Roles} from "../../src/access/Roles.sol";
import {BallotBox} from "../../src/governance/BallotBox.sol";
import {BallotRules} from "../../src/governance/BallotRules.sol";
import {ABSTAIN, AGAINST, FOR, Leaf, Totals, Witness} from "../../src/governance/Leaf.sol";
import {OpenTimelock} from "../../src/governance/OpenTimelock.sol";
import {Test} from "../Test.sol";
import {Trees} from "./Trees.sol";
import {VotesToken} from "./VotesToken.sol";

/// What governance does when it passes something.
contract Target {
    uint256 public value;

    function set(uint256 value_) external payable {
        value = value_;
    }
}

/// A ballot box with its timelock, voters who sign, somebody who counts and somebody who watches.
abstract contract Polls is Test {
    uint128 internal constant BOND = 1001;
    uint128 internal constant DEMAND_BOND = 11;
    uint256 internal constant THRESHOLD = 100;
    uint40 internal constant START = 1_800_000_000;
    uint256 internal constant DELAY = 2 days;

    VotesToken internal votes;
    VotesToken internal money;
    OpenTimelock internal timelock;
    Roles internal roles;
    BallotBox internal box;
    Target internal target;

    address internal treasury = address(0x7EA5);
    address internal guardian = address(0x6AAD);
    address internal proposer = address(0x9909);
    address internal counter = address(0xC0DE);
    address internal watcher = address(0x5EE5);
    uint256[] internal keys;

    function setUp() public virtual {
        vm.warp(START);
        (votes, money, target) = (new VotesToken(), new VotesToken(), new Target());
        address[] memory anybody = new address[](1);
        timelock = new OpenTimelock(DELAY, new address[](0), anybody, address(this));
        roles = new Roles(address(timelock));
        box = new BallotBox(address(roles), timelock, votes, money, treasury, someRules());
        timelock.grantRole(timelock.PROPOSER_ROLE(), address(box));
        timelock.grantRole(timelock.CANCELLER_ROLE(), address(box));
        timelock.renounceRole(timelock.DEFAULT_ADMIN_ROLE(), address(this));
        bytes4[] memory selectors = new bytes4[](1);
        selectors[0] = BallotBox.cancel.selector;
        vm.startPrank(address(timelock));
        roles.setTargetFunctionRole(address(box), selectors, 1);
        roles.grantRole(1, guardian, 0);
        vm.stopPrank();
        give(proposer, THRESHOLD);
        rich(counter);
        rich(watcher);
    }

    function someRules() internal pure returns (BallotRules memory) {
        return BallotRules({
            threshold: THRESHOLD,
            bond: BOND,
            demandBond: DEMAND_BOND,
            votingDelay: 1 days,
            votingPeriod: 7 days,
            submissionWindow: 14 days,
            challengeWindow: 3 days,
            answerWindow: 1 days,
            quorumBps: 500,
            maxReplacements: 2
        });
    }

    function give(address account, uint256 amount) internal {
        votes.mint(account, amount);
        vm.prank(account);
        votes.delegate(account);
    }

    function rich(address account) internal {
        money.mint(account, 1_000_000);
        vm.prank(account);
        money.approve(address(box), type(uint256).max);
    }

    /// Gives somebody with this key votes, and keeps `keys` by address.
    function enroll(uint256 key, uint256 weight) internal {
        give(vm.addr(key), weight);
        keys.push(key);
        for (uint256 i = keys.length - 1; i > 0 && vm.addr(keys[i - 1]) > vm.addr(keys[i]); --i) {
            (keys[i - 1], keys[i]) = (keys[i], keys[i - 1]);
        }
    }

    function calls(uint256 value)
        internal
        view
        returns (address[] memory targets, uint256[] memory values, bytes[] memory data)
    {
        (targets, values, data) = (new address[](1), new uint256[](1), new bytes[](1));
        (targets[0], data[0]) = (address(target), abi.encodeCall(Target.set, (value)));
    }

    /// Opens a proposal to set `value`, a second after the last vote moved.
    function openProposal(uint256 value) internal returns (uint256 id) {
        vm.warp(block.timestamp + 1);
        (address[] memory targets, uint256[] memory values, bytes[] memory data) = calls(value);
        vm.prank(proposer);
        id = box.open(targets, values, data, bytes32(value));
    }

    function queue(uint256 value) internal returns (uint256) {
        (address[] memory targets, uint256[] memory values, bytes[] memory data) = calls(value);
        return box.queue(targets, values, data, bytes32(value));
    }

    function execute(uint256 value) internal {
        (address[] memory targets, uint256[] memory values, bytes[] memory data) = calls(value);
        box.execute(targets, values, data, bytes32(value));
    }

    function closeVoting(uint256 id) internal {
        uint256 end = box.proposal(id).deadline + 1;
        if (end > block.timestamp) vm.warp(end);
    }

    function sign(uint256 key, uint256 id, uint8 support, bytes32 reason) internal view returns (bytes memory) {
        BallotBox.Ballot memory ballot = BallotBox.Ballot({voter: vm.addr(key), support: support, reason: reason});
        return signature(key, box.ballotDigest(id, ballot));
    }

    /// An honest count of the first `choices.length` voters.
    function count(uint256 id, uint8[] memory choices)
        internal
        view
        returns (Leaf[] memory leaves, bytes[] memory signatures)
    {
        leaves = new Leaf[](choices.length);
        signatures = new bytes[](choices.length);
        uint40 snapshot = box.proposal(id).snapshot;
        for (uint256 i = 0; i < choices.length; ++i) {
            signatures[i] = sign(keys[i], id, choices[i], bytes32(i));
            Leaf memory leaf = leaves[i];
            (leaf.index, leaf.voter, leaf.support, leaf.reason) = (i, vm.addr(keys[i]), choices[i], bytes32(i));
            leaf.signatureHash = keccak256(signatures[i]);
            leaf.weight = votes.getPastVotes(leaf.voter, snapshot);
        }
        total(leaves);
    }

    /// Writes the running totals anew.
    function total(Leaf[] memory leaves) internal pure {
        Totals memory t;
        for (uint256 i = 0; i < leaves.length; ++i) {
            Leaf memory leaf = leaves[i];
            if (leaf.support == FOR) t.forVotes += leaf.weight;
            if (leaf.support == AGAINST) t.againstVotes += leaf.weight;
            if (leaf.support == ABSTAIN) t.abstainVotes += leaf.weight;
            (leaf.forSoFar, leaf.againstSoFar, leaf.abstainSoFar) = (t.forVotes, t.againstVotes, t.abstainVotes);
        }
    }

    function hashOf(Leaf memory leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(leaf))));
    }

    function tree(Leaf[] memory leaves) internal pure returns (bytes32[] memory) {
        bytes32[] memory hashes = new bytes32[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) hashes[i] = hashOf(leaves[i]);
        return Trees.build(hashes);
    }

    function witness(Leaf[] memory leaves, uint256 i) internal pure returns (Witness memory) {
        return Witness({leaf: leaves[i], proof: Trees.proof(tree(leaves), hashOf(leaves[i]))});
    }

    function claimOf(Leaf[] memory leaves) internal pure returns (BallotBox.Claim memory) {
        Leaf memory last = leaves[leaves.length - 1];
        return BallotBox.Claim({
            root: tree(leaves)[0],
            body: keccak256(abi.encode(leaves)),
            count: uint32(leaves.length),
            totals: Totals(last.forSoFar, last.againstSoFar, last.abstainSoFar)
        });
    }

    function submit(uint256 id, BallotBox.Claim memory claim) internal returns (uint64) {
        vm.prank(counter);
        return box.submit(id, claim);
    }

    function submit(uint256 id, Leaf[] memory leaves) internal returns (uint64) {
        return submit(id, claimOf(leaves));
    }

    /// Everything that somebody who has the body can try against a tally; whether it fell.
    function attack(uint64 tally, Leaf[] memory leaves, bytes[] memory signatures) internal returns (bool) {
        vm.startPrank(watcher);
        for (uint256 i = 0; i < leaves.length; ++i) {
            Witness memory w = witness(leaves, i);
            bytes memory junk = "junk";
            try box.challengeEnds(tally, w) {} catch {}
            try box.challengeBallot(tally, w, signatures[i]) {} catch {}
            try box.challengeBallot(tally, w, junk) {} catch {}
            for (uint256 k = 0; k < leaves.length; ++k) {
                try box.challengeOrder(tally, w, witness(leaves, k)) {} catch {}
            }
        }
        vm.stopPrank();
        return box.tallyOf(tally).status == BallotBox.TallyStatus.Lost || _outwait(tally, leaves, signatures);
    }

    /// Demands every leaf, answers whatever can be, and takes what is left unanswered.
    function _outwait(uint64 tally, Leaf[] memory leaves, bytes[] memory signatures) private returns (bool) {
        uint256 n = box.tallyOf(tally).count;
        vm.startPrank(watcher);
        for (uint256 i = 0; i < n; ++i) box.demand(tally, i);
        vm.stopPrank();
        for (uint256 i = 0; i < leaves.length; ++i) {
            try box.answer(tally, witness(leaves, i), signatures[i]) {} catch {}
        }
        vm.warp(block.timestamp + 1 days + 1);
        for (uint256 i = 0; i < n; ++i) {
            try box.foreclose(tally, i) {} catch {}
        }
        bool lost = box.tallyOf(tally).status == BallotBox.TallyStatus.Lost;
        for (uint256 i = 0; lost && i < n; ++i) {
            try box.reclaim(tally, i) {} catch {}
        }
        return lost;
    }
}
