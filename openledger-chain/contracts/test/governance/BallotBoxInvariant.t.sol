// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BallotBox} from "../../src/governance/BallotBox.sol";
import {Leaf, Witness} from "../../src/governance/Leaf.sol";
import {Polls} from "./Polls.sol";

/// Everything that can happen to a ballot box, at random, and the money that should be in it.
contract BallotBoxInvariantTest is Polls {
    uint256 private constant PROPOSALS = 6;

    uint256[] private ids;
    uint64 private tallies;
    mapping(uint64 tally => uint256 mask) private masks;
    mapping(uint64 tally => bool) private wrong;
    mapping(uint256 id => uint256) private executions;
    bool private usurped;
    bool private honestLost;

    function setUp() public override {
        super.setUp();
        for (uint256 key = 1; key <= 4; ++key) enroll(key, 1000 * key);
        for (uint256 i = 0; i < PROPOSALS; ++i) ids.push(openProposal(i));
        closeVoting(ids[0]);
        bytes4[] memory selectors = new bytes4[](12);
        selectors[0] = this.doSubmit.selector;
        selectors[1] = this.doChallenge.selector;
        selectors[2] = this.doDemand.selector;
        selectors[3] = this.doAnswer.selector;
        selectors[4] = this.doForeclose.selector;
        selectors[5] = this.doReclaim.selector;
        selectors[6] = this.doWithdraw.selector;
        selectors[7] = this.doQueue.selector;
        selectors[8] = this.doExecute.selector;
        selectors[9] = this.doCancel.selector;
        selectors[10] = this.doWait.selector;
        selectors[11] = this.doUsurp.selector;
        targetContract(address(this));
        targetSelector(address(this), selectors);
    }

    /// The leaves of the tally that counts the voters in `mask`, all of them in favour.
    function leavesOf(uint256 id, uint256 mask, bool forged)
        private
        view
        returns (Leaf[] memory leaves, bytes[] memory signatures)
    {
        (Leaf[] memory all, bytes[] memory signed) = count(id, ones());
        uint256 n;
        for (uint256 i = 0; i < all.length; ++i) n += (mask >> i) & 1;
        (leaves, signatures) = (new Leaf[](n), new bytes[](n));
        uint256 k;
        for (uint256 i = 0; i < all.length; ++i) {
            if ((mask >> i) & 1 == 0) continue;
            (leaves[k], signatures[k]) = (all[i], signed[i]);
            leaves[k].index = k;
            ++k;
        }
        if (forged) leaves[0].weight -= 1;
        total(leaves);
    }

    function ones() private view returns (uint8[] memory choices) {
        choices = new uint8[](keys.length);
        for (uint256 i = 0; i < choices.length; ++i) choices[i] = 1;
    }

    function pick(uint256 r) private view returns (uint64) {
        return tallies == 0 ? 0 : uint64(1 + r % tallies);
    }

    function doSubmit(uint256 r) external {
        uint256 id = ids[r % PROPOSALS];
        uint256 mask = 1 + (r >> 8) % 15;
        bool forged = (r >> 16) % 3 == 0;
        (Leaf[] memory leaves,) = leavesOf(id, mask, forged);
        uint64 tally = submit(id, leaves);
        (tallies, masks[tally], wrong[tally]) = (tally, mask, forged);
    }

    function doChallenge(uint256 r) external {
        uint64 tally = pick(r);
        (Leaf[] memory leaves, bytes[] memory signatures) =
            leavesOf(box.tallyOf(tally).proposal, masks[tally], wrong[tally]);
        uint256 i = (r >> 64) % leaves.length;
        uint256 k = (r >> 128) % leaves.length;
        (Witness memory a, Witness memory b) = (witness(leaves, i), witness(leaves, k));
        vm.startPrank(watcher);
        try box.challengeOrder(tally, a, b) {} catch {}
        try box.challengeEnds(tally, a) {} catch {}
        try box.challengeBallot(tally, a, signatures[k]) {} catch {}
        vm.stopPrank();
        if (!wrong[tally] && box.tallyOf(tally).status == BallotBox.TallyStatus.Lost && !_foreclosed[tally]) {
            honestLost = true;
        }
    }

    mapping(uint64 tally => bool) private _foreclosed;

    function doDemand(uint256 r) external {
        uint64 tally = pick(r);
        uint256 n = box.tallyOf(tally).count;
        vm.prank(watcher);
        box.demand(tally, n == 0 ? 0 : (r >> 64) % n);
    }

    function doAnswer(uint256 r) external {
        uint64 tally = pick(r);
        (Leaf[] memory leaves, bytes[] memory signatures) =
            leavesOf(box.tallyOf(tally).proposal, masks[tally], wrong[tally]);
        for (uint256 i = 0; i < leaves.length; ++i) {
            try box.answer(tally, witness(leaves, i), signatures[i]) {} catch {}
        }
    }

    function doForeclose(uint256 r) external {
        uint64 tally = pick(r);
        box.foreclose(tally, (r >> 64) % 4);
        _foreclosed[tally] = true;
    }

    function doReclaim(uint256 r) external {
        box.reclaim(pick(r), (r >> 64) % 4);
    }

    function doWithdraw(uint256 r) external {
        box.withdrawBond(pick(r));
    }

    function doQueue(uint256 r) external {
        queue(r % PROPOSALS);
    }

    /// Takes a proposal as far as it goes: waits for its tally, queues, executes.
    function doExecute(uint256 r) external {
        uint256 which = r % PROPOSALS;
        uint256 settlesAt = box.tallyOf(box.proposal(ids[which]).tally).settlesAt;
        if (settlesAt > block.timestamp) vm.warp(settlesAt);
        try this.doQueue(which) {
            vm.warp(block.timestamp + DELAY);
        } catch {}
        execute(which);
        ++executions[ids[which]];
    }

    function doCancel(uint256 r) external {
        if (r % 8 != 0) return;
        vm.prank(guardian);
        box.cancel(ids[(r >> 8) % PROPOSALS]);
    }

    function doWait(uint256 r) external {
        vm.warp(block.timestamp + r % 2 days);
    }

    /// Anybody else tries what is restricted; works never.
    function doUsurp(uint256 r, address who) external {
        if (who == guardian || who == address(timelock)) return;
        vm.startPrank(who);
        try box.cancel(ids[r % PROPOSALS]) {
            usurped = true;
        } catch {}
        try box.setRules(someRules()) {
            usurped = true;
        } catch {}
        vm.stopPrank();
    }

    function invariant_bonds_in_are_bonds_out() public view {
        uint256 held;
        for (uint64 tally = 1; tally <= tallies; ++tally) {
            BallotBox.Tally memory t = box.tallyOf(tally);
            if (t.status == BallotBox.TallyStatus.Standing) held += BOND;
            held += uint256(t.openDemands) * DEMAND_BOND;
        }
        assertEq(money.balanceOf(address(box)), held, "held");
        uint256 out = money.balanceOf(counter) + money.balanceOf(watcher) + money.balanceOf(treasury);
        assertEq(out + held, money.totalSupply(), "out");
    }

    function invariant_nobody_usurps_nothing_executes_twice_no_honest_tally_falls_to_a_challenge() public view {
        assertFalse(usurped, "usurped");
        assertFalse(honestLost, "honest");
        for (uint256 i = 0; i < PROPOSALS; ++i) assertLe(executions[ids[i]], 1, "executed");
    }

    function invariant_votes_counted_are_votes_had() public view {
        for (uint256 i = 0; i < PROPOSALS; ++i) {
            BallotBox.Proposal memory p = box.proposal(ids[i]);
            BallotBox.Tally memory t = box.tallyOf(p.tally);
            assertLe(t.claimed.sum() + t.included.sum(), votes.getPastTotalSupply(p.snapshot), "votes");
        }
    }
}
