// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IERC5805} from "@openzeppelin/contracts/interfaces/IERC5805.sol";
import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {BallotBox} from "../../src/governance/BallotBox.sol";
import {BallotRules} from "../../src/governance/BallotRules.sol";
import {ABSTAIN, AGAINST, FOR, Leaf, Totals, Witness} from "../../src/governance/Leaf.sol";
import {Polls} from "./Polls.sol";

/// A token whose clock counts blocks.
contract BlockToken {
    function CLOCK_MODE() external pure returns (string memory) {
        return "mode=blocknumber&from=default";
    }
}

/// A wallet that agrees to have signed anything.
contract Yes {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4) {
        return this.isValidSignature.selector;
    }
}

contract BallotBoxTest is Polls {
    uint256 private id;
    Leaf[] private leaves;
    bytes[] private signatures;

    function setUp() public override {
        super.setUp();
        for (uint256 key = 1; key <= 5; ++key) enroll(key, 1000);
        votes.mint(address(0xB16), 5000);
        id = openProposal(7);
    }

    /// Ends the voting with these ballots.
    function cast(uint8 a, uint8 b, uint8 c, uint8 d) private {
        uint8[] memory choices = new uint8[](4);
        (choices[0], choices[1], choices[2], choices[3]) = (a, b, c, d);
        closeVoting(id);
        (Leaf[] memory l, bytes[] memory s) = count(id, choices);
        delete leaves;
        delete signatures;
        for (uint256 i = 0; i < l.length; ++i) {
            leaves.push(l[i]);
            signatures.push(s[i]);
        }
    }

    function first(uint256 n) private view returns (Leaf[] memory some) {
        some = new Leaf[](n);
        for (uint256 i = 0; i < n; ++i) some[i] = leaves[i];
    }

    /// Without the leaf at `k`, counted again.
    function without(uint256 k) private view returns (Leaf[] memory some) {
        some = new Leaf[](leaves.length - 1);
        for (uint256 i = 0; i < some.length; ++i) {
            some[i] = leaves[i < k ? i : i + 1];
            some[i].index = i;
        }
        total(some);
    }

    function honest() private returns (uint64) {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        return submit(id, leaves);
    }

    function settle(uint64 tally) private {
        vm.warp(box.tallyOf(tally).settlesAt);
    }

    function assertState(BallotBox.State state) private view {
        assertEq(uint256(box.state(id)), uint256(state), "state");
    }

    function error1(bytes4 selector, uint256 a) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a);
    }

    function error2(bytes4 selector, uint256 a, uint256 b) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a, b);
    }

    function error3(bytes4 selector, uint256 a, uint256 b, uint256 c) private pure returns (bytes memory) {
        return abi.encodeWithSelector(selector, a, b, c);
    }

    // From opening to execution.

    function test_what_ballots_accept_the_timelock_executes_once() public {
        assertState(BallotBox.State.Pending);
        vm.warp(box.proposal(id).snapshot + 1);
        assertState(BallotBox.State.Voting);
        uint64 tally = honest();
        assertState(BallotBox.State.Tallying);
        settle(tally);
        assertState(BallotBox.State.Succeeded);
        queue(7);
        assertState(BallotBox.State.Queued);
        vm.expectRevert();
        this.tryExecute(7);
        vm.warp(block.timestamp + DELAY);
        execute(7);
        assertState(BallotBox.State.Executed);
        assertEq(target.value(), 7, "done");
        vm.expectRevert();
        this.tryExecute(7);
        vm.expectRevert(
            abi.encodeWithSelector(BallotBox.ProposalNotOpen.selector, id, BallotBox.Status.Queued)
        );
        queue(7);
        box.withdrawBond(tally);
        assertEq(money.balanceOf(counter), 1_000_000, "bond back");
    }

    function tryExecute(uint256 value) external {
        execute(value);
    }

    function test_money_sent_to_execute_reaches_the_call() public {
        address[] memory targets = new address[](1);
        uint256[] memory values = new uint256[](1);
        bytes[] memory data = new bytes[](1);
        (targets[0], values[0], data[0]) = (address(target), 3, abi.encodeCall(target.set, (1)));
        vm.prank(proposer);
        id = box.open(targets, values, data, 0);
        uint64 tally = honest();
        settle(tally);
        box.queue(targets, values, data, 0);
        vm.warp(block.timestamp + DELAY);
        vm.deal(address(this), 3);
        box.execute{value: 3}(targets, values, data, 0);
        assertEq(address(target).balance, 3, "paid");
    }

    function test_what_ballots_refuse_is_not_queued() public {
        cast(FOR, AGAINST, AGAINST, ABSTAIN);
        uint64 tally = submit(id, leaves);
        settle(tally);
        assertState(BallotBox.State.Defeated);
        Totals memory totals = Totals(1000, 2000, 1000);
        vm.expectRevert(abi.encodeWithSelector(BallotBox.ProposalDefeated.selector, id, totals, 505));
        queue(7);
        box.withdrawBond(tally);
    }

    function test_a_tie_or_a_missed_quorum_is_a_defeat() public {
        cast(FOR, AGAINST, ABSTAIN, ABSTAIN);
        settle(submit(id, leaves));
        assertState(BallotBox.State.Defeated);
        votes.mint(address(0xB16), 1_000_000);
        id = openProposal(8);
        uint64 tally = honest();
        settle(tally);
        assertState(BallotBox.State.Defeated);
    }

    function test_a_proposal_without_a_tally_dies() public {
        cast(FOR, FOR, FOR, FOR);
        uint40 closesAt = box.proposal(id).closesAt;
        vm.warp(closesAt);
        assertState(BallotBox.State.Tallying);
        vm.warp(closesAt + 1);
        assertState(BallotBox.State.Defeated);
        vm.expectRevert(error2(BallotBox.SubmissionsClosed.selector, id, closesAt));
        this.trySubmit(claimOf(leaves));
        vm.expectRevert(error3(BallotBox.TallyNotFinal.selector, 0, 0, 0));
        queue(7);
    }

    function trySubmit(BallotBox.Claim calldata claim) external {
        submit(id, claim);
    }

    function trySubmit(Leaf[] calldata some) external {
        submit(id, some);
    }

    function test_opening_takes_votes_and_calls() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory data) = calls(9);
        vm.expectRevert(abi.encodeWithSelector(BallotBox.ProposerVotesTooFew.selector, counter, 0, THRESHOLD));
        vm.prank(counter);
        box.open(targets, values, data, 0);
        vm.startPrank(proposer);
        vm.expectRevert(error3(BallotBox.ProposalMalformed.selector, 0, 0, 0));
        box.open(new address[](0), new uint256[](0), new bytes[](0), 0);
        vm.expectRevert(error3(BallotBox.ProposalMalformed.selector, 1, 2, 1));
        box.open(targets, new uint256[](2), data, 0);
        vm.expectRevert(error3(BallotBox.ProposalMalformed.selector, 1, 1, 0));
        box.open(targets, values, new bytes[](0), 0);
        box.open(targets, values, data, 0);
        uint256 same = box.proposalId(targets, values, data, 0);
        vm.expectRevert(error1(BallotBox.ProposalExists.selector, same));
        box.open(targets, values, data, 0);
    }

    function test_ids_name_chain_and_box() public {
        (address[] memory targets, uint256[] memory values, bytes[] memory data) = calls(7);
        BallotBox other = new BallotBox(address(roles), timelock, votes, money, treasury, someRules());
        assertTrue(other.proposalId(targets, values, data, bytes32(uint256(7))) != id, "another box");
        vm.chainId(5);
        assertTrue(box.proposalId(targets, values, data, bytes32(uint256(7))) != id, "another chain");
    }

    function test_an_unknown_proposal_is_unknown() public {
        assertEq(uint256(box.state(1)), uint256(BallotBox.State.Unknown), "state");
        vm.expectRevert(error2(BallotBox.ProposalNotOpen.selector, 1, 0));
        box.submit(1, BallotBox.Claim(0, 0, 0, Totals(0, 0, 0)));
    }

    // Tallies.

    function test_a_tally_comes_after_the_deadline_and_says_something_possible() public {
        uint40 deadline = box.proposal(id).deadline;
        vm.warp(deadline);
        BallotBox.Claim memory claim = BallotBox.Claim("root", 0, 1, Totals(10_101, 0, 0));
        vm.expectRevert(error2(BallotBox.VotingRuns.selector, id, deadline));
        box.submit(id, claim);
        vm.warp(deadline + 1);
        vm.expectRevert(error3(BallotBox.WeightImpossible.selector, id, 10_101, 10_100));
        box.submit(id, claim);
        claim.root = 0;
        vm.expectRevert(error1(BallotBox.ClaimEmpty.selector, id));
        box.submit(id, claim);
        (claim.root, claim.count) = ("root", 0);
        vm.expectRevert(error1(BallotBox.ClaimEmpty.selector, id));
        box.submit(id, claim);
    }

    function test_a_tally_of_more_weight_replaces_and_only_so_often() public {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        uint64 one = submit(id, first(1));
        vm.expectRevert(error3(BallotBox.WeightTooLow.selector, one, 1000, 1000));
        this.trySubmit(first(1));
        uint64 two = submit(id, first(2));
        uint64 three = submit(id, first(3));
        vm.expectRevert(error2(BallotBox.ReplacementsUsed.selector, id, 2));
        this.trySubmit(first(4));
        assertEq(box.proposal(id).tally, three, "stands");
        settle(three);
        box.withdrawBond(one);
        box.withdrawBond(two);
        box.withdrawBond(three);
        assertEq(money.balanceOf(counter), 1_000_000, "all bonds back");
        vm.expectRevert(error2(BallotBox.TallyNotStanding.selector, three, uint256(BallotBox.TallyStatus.Paid)));
        box.withdrawBond(three);
    }

    function test_nothing_replaces_a_tally_after_its_window() public {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        uint64 tally = submit(id, first(2));
        uint40 end = box.tallyOf(tally).settlesAt;
        vm.warp(end - 1);
        tally = submit(id, first(3));
        vm.warp(end);
        assertState(BallotBox.State.Tallying);
        end = box.tallyOf(tally).settlesAt;
        vm.warp(end);
        vm.expectRevert(error2(BallotBox.WindowClosed.selector, tally, end));
        this.trySubmit(first(4));
    }

    function test_a_wrong_tally_does_not_escape_by_being_replaced() public {
        cast(AGAINST, AGAINST, AGAINST, ABSTAIN);
        Leaf[] memory wrong = first(3);
        wrong[0].support = FOR;
        total(wrong);
        uint64 tally = submit(id, wrong);
        uint64 right = submit(id, leaves);
        Witness memory w = witness(wrong, 0);
        vm.prank(watcher);
        box.challengeBallot(tally, w, signatures[0]);
        assertEq(uint256(box.tallyOf(tally).status), uint256(BallotBox.TallyStatus.Lost), "lost");
        assertEq(box.proposal(id).tally, right, "the right one stands");
    }

    function test_a_lost_bond_is_halved_and_the_next_submits() public {
        (uint64 wrong, Leaf[] memory forgery) = forgedSigned();
        vm.warp(box.proposal(id).closesAt + 1); // past the window, but not final: a demand is open
        Witness memory w = witness(forgery, 0);
        vm.expectEmit(address(box));
        emit BallotBox.TallyLost(id, wrong, watcher, BOND / 2);
        vm.prank(watcher);
        box.challengeBallot(wrong, w, signatures[0]);
        assertEq(money.balanceOf(treasury), BOND - BOND / 2, "the other half, and what does not halve");
        assertEq(box.proposal(id).closesAt, block.timestamp + 14 days, "time for another");
        bytes memory gone = error2(BallotBox.TallyNotStanding.selector, wrong, uint256(BallotBox.TallyStatus.Lost));
        vm.expectRevert(gone);
        box.challengeBallot(wrong, w, signatures[0]);
        vm.expectRevert(gone);
        box.withdrawBond(wrong);
        vm.expectRevert(gone);
        box.foreclose(wrong, 1);
        vm.expectRevert(error2(BallotBox.DemandNotOpen.selector, wrong, 0));
        box.reclaim(wrong, 0);
        uint256 before = money.balanceOf(watcher);
        box.reclaim(wrong, 1);
        assertEq(money.balanceOf(watcher), before + DEMAND_BOND, "demand back");
        vm.expectRevert(error2(BallotBox.DemandNotOpen.selector, wrong, 1));
        box.reclaim(wrong, 1);
        cast(FOR, FOR, FOR, FOR);
        uint64 next = submit(id, leaves);
        assertEq(box.proposal(id).tally, next, "the next");
    }

    /// A tally with a ballot that its voter did not sign, and a demand that keeps it open.
    function forgedSigned() private returns (uint64 tally, Leaf[] memory wrong) {
        cast(AGAINST, AGAINST, AGAINST, ABSTAIN);
        wrong = leaves;
        wrong[0].support = FOR;
        total(wrong);
        tally = submit(id, wrong);
        vm.warp(box.tallyOf(tally).settlesAt - 1);
        vm.prank(watcher);
        box.demand(tally, 1);
    }

    function test_a_tally_that_settled_is_past_challenge() public {
        uint64 tally = honest();
        uint40 settlesAt = box.tallyOf(tally).settlesAt;
        vm.expectRevert(error3(BallotBox.TallyNotFinal.selector, tally, settlesAt, 0));
        box.withdrawBond(tally);
        vm.expectRevert(error3(BallotBox.TallyNotFinal.selector, tally, settlesAt, 0));
        queue(7);
        settle(tally);
        bytes memory over = error2(BallotBox.TallyFinal.selector, tally, settlesAt);
        Witness memory w = witness(leaves, 0);
        vm.expectRevert(over);
        box.challengeBallot(tally, w, "");
        vm.expectRevert(over);
        box.challengeOrder(tally, w, w);
        vm.expectRevert(over);
        box.challengeEnds(tally, w);
        vm.expectRevert(error2(BallotBox.WindowClosed.selector, tally, settlesAt));
        box.demand(tally, 0);
    }

    // Challenges.

    function test_what_is_right_is_no_fault() public {
        uint64 tally = honest();
        Witness memory a = witness(leaves, 0);
        Witness memory b = witness(leaves, 1);
        vm.expectRevert(error2(BallotBox.NoFault.selector, tally, 0));
        box.challengeBallot(tally, a, signatures[0]);
        vm.expectRevert(error2(BallotBox.NoFault.selector, tally, 0));
        box.challengeBallot(tally, a, signatures[1]); // a wrong signature, but not the one counted
        vm.expectRevert(error2(BallotBox.NoFault.selector, tally, 1));
        box.challengeOrder(tally, a, b);
        vm.expectRevert(error2(BallotBox.NoFault.selector, tally, 0));
        box.challengeOrder(tally, b, a);
        vm.expectRevert(error2(BallotBox.NoFault.selector, tally, 0));
        box.challengeOrder(tally, a, a);
        vm.expectRevert(error2(BallotBox.NoFault.selector, tally, 0));
        box.challengeEnds(tally, a);
        Witness memory last = witness(leaves, 3);
        vm.expectRevert(error2(BallotBox.NoFault.selector, tally, 3));
        box.challengeEnds(tally, last);
    }

    function test_a_leaf_that_is_not_there_proves_nothing() public {
        uint64 tally = honest();
        Witness memory w = witness(leaves, 1);
        w.leaf.weight += 1;
        bytes memory no = error2(BallotBox.ProofInvalid.selector, tally, 1);
        vm.expectRevert(no);
        box.challengeBallot(tally, w, "");
        vm.expectRevert(no);
        box.challengeEnds(tally, w);
        Witness memory right = witness(leaves, 0);
        vm.expectRevert(no);
        box.challengeOrder(tally, right, w);
        vm.expectRevert(no);
        box.challengeOrder(tally, w, right);
    }

    function test_a_leaf_too_deep_to_show_is_absent() public {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        Witness memory w = Witness({leaf: leaves[0], proof: new bytes32[](33)});
        bytes32 root = hashOf(leaves[0]);
        for (uint256 i = 0; i < 33; ++i) root = Hashes.commutativeKeccak256(root, w.proof[i] = bytes32(i));
        BallotBox.Claim memory claim = BallotBox.Claim(root, 0, 1, Totals(1000, 0, 0));
        uint64 tally = submit(id, claim);
        vm.prank(watcher);
        box.demand(tally, 0);
        vm.expectRevert(error2(BallotBox.ProofInvalid.selector, tally, 0));
        box.answer(tally, w, signatures[0]);
    }

    function test_a_ballot_for_another_proposal_is_a_fault() public {
        uint256 other = openProposal(8);
        closeVoting(other);
        cast(FOR, FOR, AGAINST, ABSTAIN);
        uint64 tally = submit(other, leaves); // the ballots of `id`
        Witness memory w = witness(leaves, 2);
        vm.prank(watcher);
        box.challengeBallot(tally, w, signatures[2]);
        assertEq(box.proposal(other).tally, 0, "lost");
    }

    function test_a_key_signs_whatever_code_its_account_has() public {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        vm.etch(leaves[0].voter, hex"00");
        uint64 tally = submit(id, leaves);
        Witness memory w = witness(leaves, 0);
        vm.expectRevert(error2(BallotBox.NoFault.selector, tally, 0));
        box.challengeBallot(tally, w, signatures[0]);
    }

    function test_a_wallets_ballot_is_a_fault_whatever_the_wallet_says() public {
        address wallet = address(new Yes());
        give(wallet, 1000);
        id = openProposal(8);
        cast(FOR, FOR, AGAINST, ABSTAIN);
        Leaf[] memory alone = first(1);
        (alone[0].voter, alone[0].signatureHash) = (wallet, keccak256("yes"));
        uint64 tally = submit(id, alone);
        Witness memory w = witness(alone, 0);
        vm.prank(watcher);
        box.challengeBallot(tally, w, "yes");
        assertEq(box.proposal(id).tally, 0, "lost");
    }

    // Demands.

    function test_a_demand_is_answered_at_the_demanders_cost() public {
        uint64 tally = honest();
        vm.warp(box.tallyOf(tally).settlesAt - 1);
        vm.startPrank(watcher);
        box.demand(tally, 2);
        vm.expectRevert(error2(BallotBox.DemandExists.selector, tally, 2));
        box.demand(tally, 2);
        vm.expectRevert(error3(BallotBox.IndexOutside.selector, tally, 4, 4));
        box.demand(tally, 4);
        vm.stopPrank();
        uint40 answerBy = uint40(block.timestamp) + 1 days;
        vm.warp(answerBy);
        vm.expectRevert(error3(BallotBox.TallyNotFinal.selector, tally, box.tallyOf(tally).settlesAt, 1));
        box.withdrawBond(tally);
        vm.expectRevert(error3(BallotBox.AnswerDue.selector, tally, 2, answerBy));
        box.foreclose(tally, 2);
        vm.expectRevert(error2(BallotBox.DemandNotOpen.selector, tally, 1));
        this.tryAnswer(tally, 1, signatures[1]);
        vm.expectRevert(error2(BallotBox.BallotInvalid.selector, id, uint160(leaves[2].voter)));
        this.tryAnswer(tally, 2, signatures[1]);
        this.tryAnswer(tally, 2, signatures[2]);
        assertEq(box.tallyOf(tally).settlesAt, block.timestamp + 1 days, "time to look at what was shown");
        assertEq(money.balanceOf(counter), 1_000_000 - BOND + DEMAND_BOND / 2, "half");
        assertEq(money.balanceOf(treasury), DEMAND_BOND - DEMAND_BOND / 2, "half");
        vm.expectRevert(error2(BallotBox.TallyNotLost.selector, tally, uint256(BallotBox.TallyStatus.Standing)));
        box.reclaim(tally, 2);
        settle(tally);
        box.withdrawBond(tally);
    }

    function tryAnswer(uint64 tally, uint256 index, bytes calldata signed) external {
        box.answer(tally, witness(leaves, index), signed);
    }

    function test_an_answer_after_its_time_is_none() public {
        uint64 tally = honest();
        vm.prank(watcher);
        box.demand(tally, 0);
        uint40 answerBy = uint40(block.timestamp) + 1 days;
        vm.warp(answerBy + 1);
        vm.expectRevert(error3(BallotBox.AnswerLate.selector, tally, 0, answerBy));
        this.tryAnswer(tally, 0, signatures[0]);
        box.foreclose(tally, 0);
        assertEq(money.balanceOf(watcher), 1_000_000 + BOND / 2, "to the one who asked");
        assertEq(money.balanceOf(treasury), BOND - BOND / 2, "and the treasury");
    }

    function test_a_fault_shown_late_by_an_answer_can_be_challenged() public {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        Leaf[] memory wrong = leaves;
        wrong[1].forSoFar = 5;
        uint64 tally = submit(id, wrong);
        vm.warp(box.tallyOf(tally).settlesAt - 1);
        vm.prank(watcher);
        box.demand(tally, 1);
        vm.warp(block.timestamp + 1 days);
        box.answer(tally, witness(wrong, 1), signatures[1]);
        vm.warp(block.timestamp + 1 days - 1);
        Witness memory a = witness(wrong, 0);
        Witness memory b = witness(wrong, 1);
        vm.prank(watcher);
        box.challengeOrder(tally, a, b);
    }

    function test_a_voter_left_out_of_a_withheld_tally_finds_its_place_by_asking() public {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        Leaf[] memory some = without(2); // published nowhere
        uint64 tally = submit(id, some);
        uint256 begun = block.timestamp;
        vm.warp(box.tallyOf(tally).settlesAt - 1);
        vm.prank(watcher);
        box.demand(tally, 0);
        vm.warp(block.timestamp + 1 days);
        box.answer(tally, witness(some, 0), signatures[0]);
        for (uint256 k = 1; k < 3; ++k) {
            vm.prank(watcher);
            box.demand(tally, k);
            vm.warp(block.timestamp + 1 days - 1);
            box.answer(tally, witness(some, k), signatures[k == 2 ? 3 : k]);
        }
        assertTrue(block.timestamp > begun + 3 days, "past the first window");
        include(tally, leaves[2], signatures[2], beside(some, 2));
        assertEq(box.tallyOf(tally).included.againstVotes, 1000, "counted");
    }

    function test_a_ballot_without_weight_is_a_fault() public {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        Leaf[] memory padded = new Leaf[](5);
        bytes memory signed = sign(9, id, FOR, "nobody");
        uint256 place;
        while (place < 4 && leaves[place].voter < vm.addr(9)) ++place;
        for (uint256 i = 0; i < 5; ++i) {
            if (i != place) padded[i] = leaves[i < place ? i : i - 1];
            else (padded[i].voter, padded[i].support, padded[i].reason) = (vm.addr(9), FOR, "nobody");
            padded[i].index = i;
        }
        padded[place].signatureHash = keccak256(signed);
        total(padded);
        uint64 tally = submit(id, padded);
        Witness memory w = witness(padded, place);
        vm.prank(watcher);
        box.challengeBallot(tally, w, signed);
        assertEq(box.proposal(id).tally, 0, "lost");
    }

    // Ballots on top.

    function include(uint64 tally, Leaf memory omitted, bytes memory signed, Witness[] memory neighbours) private {
        BallotBox.Ballot memory ballot = BallotBox.Ballot(omitted.voter, omitted.support, omitted.reason);
        box.include(tally, ballot, signed, neighbours);
    }

    function tryInclude(uint64 tally, Leaf calldata omitted, bytes calldata signed, Witness[] calldata w) external {
        include(tally, omitted, signed, w);
    }

    function beside(Leaf[] memory some, uint256 k) private pure returns (Witness[] memory w) {
        if (k == 0 || k == some.length) {
            w = new Witness[](1);
            w[0] = witness(some, k == 0 ? 0 : k - 1);
        } else {
            w = new Witness[](2);
            (w[0], w[1]) = (witness(some, k - 1), witness(some, k));
        }
    }

    function test_an_omitted_ballot_is_put_on_top_wherever_its_voter_stands() public {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        for (uint256 k = 0; k < 4; ++k) {
            Leaf[] memory some = without(k);
            id = openProposal(100 + k);
            uint256 end = box.proposal(id).deadline + 1;
            vm.warp(end);
            uint64 tally = submit(id, some);
            Leaf memory omitted = leaves[k];
            bytes memory signed = sign(keys[k], id, omitted.support, omitted.reason);
            include(tally, omitted, signed, beside(some, k));
            assertTrue(box.isIncluded(tally, omitted.voter), "included");
            Totals memory t = box.tallyOf(tally).included;
            assertEq(t.forVotes, omitted.support == FOR ? 1000 : 0, "for");
            assertEq(t.againstVotes, omitted.support == AGAINST ? 1000 : 0, "against");
            assertEq(t.abstainVotes, omitted.support == ABSTAIN ? 1000 : 0, "abstain");
            vm.expectRevert(error2(BallotBox.BallotNotOmitted.selector, tally, uint160(omitted.voter)));
            this.tryInclude(tally, omitted, signed, beside(some, k));
        }
    }

    function test_meagre_tallies_cannot_shut_voters_out() public {
        cast(AGAINST, FOR, AGAINST, AGAINST);
        Leaf[] memory meagre = new Leaf[](1);
        meagre[0] = leaves[1];
        meagre[0].index = 0;
        total(meagre);
        uint64 tally = submit(id, meagre);
        include(tally, leaves[0], signatures[0], beside(meagre, 0));
        include(tally, leaves[2], signatures[2], beside(meagre, 1));
        vm.expectRevert(error3(BallotBox.WeightTooLow.selector, tally, 3000, 3000));
        this.trySubmit(first(3));
        settle(tally);
        assertState(BallotBox.State.Defeated);
    }

    function test_only_omitted_valid_ballots_go_on_top_of_the_standing_tally() public {
        cast(FOR, FOR, AGAINST, ABSTAIN);
        Leaf[] memory some = without(1);
        uint64 tally = submit(id, some);
        bytes memory counted = error2(BallotBox.BallotNotOmitted.selector, tally, uint160(leaves[0].voter));
        vm.expectRevert(counted);
        this.tryInclude(tally, leaves[0], signatures[0], beside(some, 0)); // is counted
        vm.expectRevert(counted);
        this.tryInclude(tally, leaves[0], signatures[0], beside(some, 1));
        vm.expectRevert(counted);
        this.tryInclude(tally, leaves[0], signatures[0], beside(some, 3));
        vm.expectRevert(counted);
        this.tryInclude(tally, leaves[0], signatures[0], new Witness[](0));
        Witness[] memory apart = new Witness[](2); // not neighbours
        (apart[0], apart[1]) = (witness(some, 0), witness(some, 2));
        vm.expectRevert(error2(BallotBox.BallotNotOmitted.selector, tally, uint160(leaves[1].voter)));
        this.tryInclude(tally, leaves[1], signatures[1], apart);
        Witness[] memory right = beside(some, 1);
        bytes memory invalid = error2(BallotBox.BallotInvalid.selector, id, uint160(leaves[1].voter));
        vm.expectRevert(invalid);
        this.tryInclude(tally, leaves[1], signatures[0], right);
        Leaf memory odd = leaves[1];
        odd.support = 3;
        bytes memory signed = sign(keys[1], id, 3, odd.reason);
        vm.expectRevert(invalid);
        this.tryInclude(tally, odd, signed, right);
        right[0].leaf.weight += 1;
        vm.expectRevert(error2(BallotBox.ProofInvalid.selector, tally, 0));
        this.tryInclude(tally, leaves[1], signatures[1], right);
        uint64 better = submit(id, leaves);
        right = beside(some, 1);
        vm.expectRevert(error2(BallotBox.TallyNotCurrent.selector, tally, better));
        this.tryInclude(tally, leaves[1], signatures[1], right);
        uint40 end = box.tallyOf(better).settlesAt;
        vm.warp(end);
        vm.expectRevert(error2(BallotBox.WindowClosed.selector, better, end));
        this.tryInclude(better, leaves[1], signatures[1], right);
    }

    // Powers.

    function test_the_guardian_cancels_before_execution_and_nobody_else_does() public {
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, proposer));
        vm.prank(proposer);
        box.cancel(id);
        uint64 tally = honest();
        settle(tally);
        queue(7);
        vm.prank(guardian);
        box.cancel(id);
        assertState(BallotBox.State.Canceled);
        vm.warp(block.timestamp + DELAY);
        vm.expectRevert();
        this.tryExecute(7);
        box.withdrawBond(tally);
        vm.prank(guardian);
        vm.expectRevert(error2(BallotBox.ProposalNotOpen.selector, id, uint256(BallotBox.Status.Canceled)));
        box.cancel(id);
    }

    function test_an_open_proposal_can_be_canceled_and_its_tally_judged() public {
        (uint64 wrong, Leaf[] memory forgery) = forgedSigned();
        vm.prank(guardian);
        box.cancel(id);
        assertState(BallotBox.State.Canceled);
        Witness memory w = witness(forgery, 0);
        vm.prank(watcher);
        box.challengeBallot(wrong, w, signatures[0]);
        vm.expectRevert(error2(BallotBox.ProposalNotOpen.selector, id, uint256(BallotBox.Status.Canceled)));
        this.trySubmit(leaves);
    }

    function test_what_was_executed_cannot_be_canceled() public {
        settle(honest());
        queue(7);
        vm.warp(block.timestamp + DELAY);
        execute(7);
        vm.prank(guardian);
        vm.expectRevert(error1(BallotBox.ProposalExecuted.selector, id));
        box.cancel(id);
    }

    function test_what_the_timelock_canceled_is_canceled() public {
        settle(honest());
        queue(7);
        bytes32 operation = box.proposal(id).operation;
        vm.prank(address(box));
        timelock.cancel(operation);
        assertState(BallotBox.State.Canceled);
        vm.prank(guardian);
        box.cancel(id);
        assertState(BallotBox.State.Canceled);
    }

    function test_new_rules_touch_no_open_proposal() public {
        BallotRules memory other = BallotRules(1, 5, 5, 5, 5, 5, 5, 5, 10_000, 0);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, address(this)));
        box.setRules(other);
        uint64 tally = honest();
        vm.prank(address(timelock));
        box.setRules(other);
        assertEq(box.rules().quorumBps, 10_000, "changed");
        settle(tally);
        queue(7);
        box.withdrawBond(tally);
        assertEq(money.balanceOf(counter), 1_000_000, "the bond that was put");
    }

    function test_unsound_rules_are_refused() public {
        BallotRules[8] memory wrong;
        for (uint256 i = 0; i < wrong.length; ++i) wrong[i] = someRules();
        wrong[0].bond = 0;
        wrong[1].demandBond = 0;
        wrong[2].votingPeriod = 0;
        wrong[3].submissionWindow = 0;
        wrong[4].challengeWindow = 0;
        wrong[5].answerWindow = 0;
        wrong[6].quorumBps = 10_001;
        wrong[7].votingDelay = 1 << 25;
        for (uint256 i = 0; i < wrong.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(BallotBox.RulesUnsound.selector, wrong[i]));
            vm.prank(address(timelock));
            box.setRules(wrong[i]);
        }
    }

    function test_a_token_that_counts_blocks_is_refused() public {
        IERC5805 blocks = IERC5805(address(new BlockToken()));
        vm.expectRevert(abi.encodeWithSelector(BallotBox.ClockUnlike.selector, "mode=blocknumber&from=default"));
        new BallotBox(address(roles), timelock, blocks, money, treasury, someRules());
    }
}
